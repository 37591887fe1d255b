"""Films of Q learners: a task that draws pictures is filmed, one that draws none says so."""

import numpy as np
import pytest

from agents.q_films import film_agent


class Still:
    """Always the middle one of five actions."""

    def initial_state(self, batch):
        return ()

    def act(self, obs, state, *, step, first):
        return np.full(len(obs), 2), ()


def test_a_task_without_pictures_says_why_there_is_no_film(tmp_path):
    said = film_agent(Still(), "oscillator/Damped-v0", tmp_path / "film.mp4", hide=True)
    assert "no film of oscillator/Damped-v0" in said and not (tmp_path / "film.mp4").exists()


def test_an_episode_of_a_task_with_pictures_becomes_a_film(tmp_path):
    try:
        film = film_agent(Still(), "InvertedPendulum-v5", tmp_path / "film.mp4", hide=False)
    except Exception as error:  # no OpenGL on this machine
        if "gl" not in f"{type(error).__name__} {error}".lower():
            raise
        pytest.skip(f"no rendering here: {error}")
    assert film.stat().st_size > 1000
