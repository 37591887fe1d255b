"""The three tasks of 2005: conservation, equilibria, symmetry, known optima, and Gymnasium's contract."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sim  # noqa: F401 (registers the ids)
from sim.nfq_tasks import CartPoleRegulator, MountainCar, Pole

IDS = ("nfq/Pole-v0", "nfq/MountainCar-v0", "nfq/CartPoleRegulator-v0")


def roll(task, state, action, steps, rng=None):
    for _ in range(steps):
        state = task.step(state, np.full(len(state), action), rng or np.random.default_rng(0))
    return state


def test_the_pole_falls_at_the_rate_of_its_linearisation_and_alike_to_both_sides():
    task = Pole(noise=0.0, substeps=200)
    theta = 1e-5
    after = roll(task, np.array([[theta, 0.0], [-theta, 0.0]]), 1, 5)
    rate = np.sqrt(task.gravity / (4 * task.length / 3 - task.mass * task.length / (task.mass + task.cart)))
    assert np.isclose(after[0, 0], theta * np.cosh(rate * 0.5), rtol=1e-2)
    assert np.allclose(after[0], -after[1])


def test_random_episodes_of_the_pole_last_about_as_long_as_published():
    task, rng = Pole(), np.random.default_rng(0)
    state, alive, steps = task.start(rng, 2000), np.ones(2000, dtype=bool), np.zeros(2000)
    while alive.any():
        state = task.step(state, rng.integers(3, size=2000), rng)
        steps += alive
        alive &= ~task.failed(state)
    assert 5 < steps.mean() < 10  # "about six"; masses and length are not printed, and these give 8.9


def test_the_car_on_the_hill_conserves_energy_without_a_motor():
    task = MountainCar(substeps=200)
    coasting = type("Coasting", (MountainCar,), {"forces": (0.0, 0.0)})(substeps=200)

    def energy(state):
        p, v = state[0]
        height = p * p + p if p < 0 else p / np.sqrt(1 + 5 * p * p)
        slope = 2 * p + 1 if p < 0 else (1 + 5 * p * p) ** -1.5
        return 0.5 * (1 + slope**2) * v * v + task.gravity * height

    state = np.array([[-0.85, 0.0]])
    levels = [energy(state := coasting.step(state, np.array([0]), None)) for _ in range(40)]
    assert np.ptp(levels) < 0.02 * abs(min(levels))


def test_the_car_is_too_weak_for_the_hill_but_swinging_reaches_the_goal():
    task = MountainCar()
    straight = state = np.array([[-0.5, 0.0]])
    for _ in range(40):
        straight = task.step(straight, np.array([1]), None)
        assert not task.reached(straight)[0]
    for _ in range(60):  # push the way it rolls, after starting backwards
        state = task.step(state, (state[:, 1] > 0).astype(int), None)
        if task.reached(state)[0]:
            break
    assert task.reached(state)[0] and not task.failed(state)[0]


def test_the_regulator_pushed_left_mirrors_the_regulator_pushed_right():
    task = CartPoleRegulator()
    start = np.array([[0.3, 0.1, 0.05, -0.2]])
    assert np.allclose(roll(task, start, 1, 20), -roll(task, -start, 0, 20))


def test_the_regulator_steps_as_gymnasiums_cart_pole():
    peer = gymnasium.make("CartPole-v1").unwrapped
    peer.reset(seed=0)
    peer.state = np.array([0.1, -0.2, 0.03, 0.4])
    ours = CartPoleRegulator().step(peer.state[None].copy(), np.array([1]), None)
    peer.step(1)
    assert np.allclose(ours[0], peer.state)


def test_a_goal_costs_nothing_a_failure_all_and_the_rest_a_little():
    task = CartPoleRegulator()
    states = np.array([[0.05, 0, 0.1, 0], [0.0501, 0, 0, 0], [2.41, 0, 0, 0], [0, 0, 0.71, 0]])
    assert task.cost(states).tolist() == [0.0, 0.01, 1.0, 1.0]
    rng = np.random.default_rng(0)
    for goal in (task, MountainCar()):
        assert goal.reached(goal.goal_states(rng, 50)).all()
    with pytest.raises(NotImplementedError, match="no goal"):
        Pole().goal_states(rng, 1)


@pytest.mark.filterwarnings("ignore:.*Box.*:UserWarning")
@pytest.mark.parametrize("name", IDS)
def test_a_registered_task_keeps_the_contract_and_repeats_itself(name):
    check_env(gymnasium.make(name).unwrapped, skip_render_check=True)
    runs = []
    for _ in range(2):
        env = gymnasium.make_vec(name, 3)
        obs, _ = env.reset(seed=4)
        rng, seen = np.random.default_rng(0), [obs]
        ended = 0
        for _ in range(130):
            obs, reward, terminated, truncated, info = env.step(rng.integers(env.single_action_space.n, size=3))
            assert np.isfinite(obs).all() and not (terminated & truncated).any()
            done = terminated | truncated
            ended += done.sum()
            for row in np.flatnonzero(done):
                final = info["final_obs"][row][None].astype(float)
                assert truncated[row] or env.task.failed(final)[0] or env.task.reached(final)[0]
            seen.append(obs)
        assert ended
        runs.append(np.stack(seen))
    assert np.array_equal(*runs)


def test_wrong_actions_and_names_are_refused():
    env = gymnasium.make_vec("nfq/Pole-v0", 2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="0 to 2"):
        env.step(np.array([0, 3]))
    with pytest.raises(ValueError, match="the tasks are"):
        gymnasium.make_vec("nfq/Pole-v0", 2, task="swing")
