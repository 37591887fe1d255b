import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from sim.oscillator_env import OscillatorEnv, OscillatorVectorEnv
from sim.wrappers import Delay, Dropout, Hide, HideVelocity, Noise, observation_names


class Counting(gym.Env):
    """Readings [episode, step, step + 0.5]; ends after `length` steps: shows where a reading comes from."""

    def __init__(self, length=5, named=True):
        self.observation_space, self.action_space = Box(-1e5, 1e5, (3,)), gym.spaces.Discrete(2)
        self.length, self.episode = length, 0
        if named:
            self.observation_names = ("episode", "step", "late_rate")

    def _obs(self):
        return np.array([self.episode, self.count, self.count + 0.5], dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.count = self.episode + 1, 0
        return self._obs(), {}

    def step(self, action):
        self.count += 1
        return self._obs(), 1.0, self.count >= self.length, False, {}


def sync(*lengths, mode=AutoresetMode.SAME_STEP):
    return SyncVectorEnv([lambda n=n: Counting(n) for n in lengths], autoreset_mode=mode)


def play(env, steps):
    obs, _ = env.reset(seed=0)
    rows = [obs]
    for _ in range(steps):
        rows.append(env.step(env.action_space.sample())[0])
    return np.stack(rows)


def test_hidden_readings_are_zero_or_left_out_for_single_and_vector_alike():
    for make, zero in [(Counting, (3,)), (lambda: sync(5, 3), (2, 3))]:
        kept = play(Hide(make(), "step"), 4)
        assert kept.shape[1:] == zero and np.all(kept[..., 1] == 0) and np.all(kept[1:, ..., 2] > 0)
        short = Hide(make(), ["step", "late_*"], drop=True)
        assert short.observation_names == ("episode",) and play(short, 4).shape[-1] == 1
        assert short.observation_space.contains(play(short, 2)[-1])


def test_wrappers_stack_and_names_follow_what_is_left():
    env = Delay(Hide(Hide(OscillatorVectorEnv(2, task="forced"), "velocity", drop=True), "reference.sin", drop=True), 2)
    assert observation_names(env) == ("position", "reference.cos")
    assert env.reset(seed=0)[0].shape == (2, 2)


def test_a_delay_shows_the_reading_of_k_steps_ago_and_the_first_one_until_then():
    rows = play(Delay(Counting(20), 3), 8)
    assert rows[:, 1].tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5]
    partial = play(Delay(Counting(20), 3, "step"), 8)
    assert partial[:, 1].tolist() == rows[:, 1].tolist() and partial[:, 2].tolist() == [t + 0.5 for t in range(9)]


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_each_world_of_a_batch_is_delayed_as_it_would_be_alone_across_its_own_resets(mode):
    lengths, steps = (4, 7), 20
    batch = Delay(sync(*lengths, mode=mode), 2)
    rows = play(batch, steps)
    for i, length in enumerate(lengths):
        single, alone, over = Delay(Counting(length), 2), [], False
        alone.append(single.reset(seed=0)[0])
        for _ in range(steps):
            if over and mode == AutoresetMode.NEXT_STEP:
                obs, over = single.reset()[0], False
            else:
                obs, _, over, _, _ = single.step(0)
                if over and mode == AutoresetMode.SAME_STEP:
                    obs, over = single.reset()[0], False
            alone.append(obs)
        assert np.array_equal(rows[:, i], np.stack(alone))


def test_the_final_observation_passes_through_the_sensors_of_the_episode_that_ends():
    env = Hide(Delay(sync(4, 9), 2), "late_rate", drop=True)
    env.reset(seed=0)
    for _ in range(4):
        obs, _, _, _, info = env.step(np.zeros(2, int))
    assert info["final_obs"][0].tolist() == [1, 2] and info["final_obs"][1] is None  # delayed by two, as step 4 - 2
    assert obs.tolist() == [[2, 0], [1, 2]]


def test_a_masked_reset_restarts_the_sensors_of_those_worlds_only():
    env = Delay(sync(4, 9, mode=AutoresetMode.DISABLED), 2)
    env.reset(seed=0)
    for _ in range(4):
        before = env.step(np.zeros(2, int))[0]
    after, _ = env.reset(options={"reset_mask": np.array([True, False])})
    assert after[0].tolist() == [2, 0, 0.5] and np.array_equal(after[1], before[1])
    obs = env.step(np.zeros(2, int))[0]
    assert obs[:, 1].tolist() == [0, 3]  # world 1 has lost no step of its delay


def test_noise_has_its_size_is_fresh_each_step_and_its_bias_lasts_an_episode():
    env = Noise(sync(50, 50), 0.2, ["step"], bias=5.0)
    rows = play(env, 49)
    noise = rows[:, :, 1] - np.arange(50)[:, None]
    assert np.array_equal(rows[:, :, 2], np.arange(50)[:, None] + np.full((1, 2), 0.5))  # others stay clean
    assert noise.std(axis=0) == pytest.approx(0.2, rel=0.35)
    assert np.abs(np.diff(noise, axis=0)).min() > 0 and abs(noise[:, 0].mean() - noise[:, 1].mean()) > 0.5
    longer = play(Noise(sync(10_000), 0.2), 3000)[:, 0, 1] - np.arange(3001)
    assert longer.mean() == pytest.approx(0, abs=0.02) and longer.std() == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("wrap", [lambda e: Noise(e, 0.3), lambda e: Dropout(e, 0.2, 3)])
def test_seeded_sensors_repeat_and_noise_stays_within_the_bounds_of_the_space(wrap):
    make = lambda: wrap(OscillatorVectorEnv(3, task="duffing", max_episode_steps=20))
    still = lambda env, seed: np.stack([env.reset(seed=seed)[0]] + [env.step(np.zeros((3, 1)))[0] for _ in range(50)])
    assert np.array_equal(still(make(), 1), still(make(), 1)) and not np.array_equal(still(make(), 1), still(make(), 2))
    env = make()
    assert all(env.single_observation_space.contains(row) for row in still(env, 0).reshape(-1, 3))


def test_random_failures_come_as_often_and_last_as_long_as_asked():
    probability, steps = 0.05, 4
    env = Dropout(sync(*[10_000] * 4), probability, steps)
    env.reset(seed=0)
    dark = np.stack([env.step(np.zeros(4, int))[4]["dropped"] for _ in range(2000)])
    assert dark.mean() == pytest.approx(steps * probability / (1 - probability + steps * probability), rel=0.08)
    for series in dark.reshape(2000, -1).T:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], series, [0]]).astype(int))).reshape(-1, 2)
        lengths = np.diff(edges, axis=1)[:-1]
        assert np.all(lengths % steps == 0)  # a sensor may fail again at once
    assert np.corrcoef(dark[:, 0, 0], dark[:, 0, 1])[0, 1] < 0.2  # each by itself
    env = Dropout(sync(10_000), probability, steps, together=True)
    env.reset(seed=0)
    dark = np.stack([env.step(np.zeros(1, int))[4]["dropped"] for _ in range(300)])
    assert dark.any() and np.array_equal(dark.any(axis=-1), dark.all(axis=-1))


def test_a_blackout_at_a_given_step_blanks_every_episode_of_every_world_there():
    rows = play(Dropout(sync(10, 6), steps=3, names="step", at=2), 12)
    truth = lambda n: [0 if 2 <= (t % n) < 5 else t % n for t in range(13)]
    assert rows[:, 0, 1].tolist() == truth(10) and rows[:, 1, 1].tolist() == truth(6)
    held = play(Dropout(Counting(20), steps=3, at=2, hold=True), 7)
    assert held[:, 1].tolist() == [0, 1, 1, 1, 1, 5, 6, 7]


@pytest.mark.parametrize(
    ("name", "kept"),
    [("CartPole-v1", [0, 2]), ("MountainCar-v0", [0]), ("Pendulum-v1", [0, 1]), ("Acrobot-v1", [0, 1, 2, 3])],
)
def test_known_environments_lose_exactly_their_velocities(name, kept):
    env, plain = HideVelocity(gym.make(name)), gym.make(name)
    obs, truth = env.reset(seed=3)[0], plain.reset(seed=3)[0]
    for action in [env.action_space.sample() for _ in range(5)]:
        obs, truth = env.step(action)[0], plain.step(action)[0]
    assert np.array_equal(obs[kept], truth[kept])
    assert np.all(np.delete(obs, kept) == 0) and np.all(np.delete(truth, kept) != 0)
    batch = HideVelocity(gym.make_vec(name, num_envs=2, vectorization_mode="sync"), drop=True)
    assert batch.reset(seed=0)[0].shape == (2, len(kept))


def test_velocities_are_found_by_name_and_environments_without_any_are_refused():
    assert HideVelocity(OscillatorEnv(task="vanderpol"), drop=True).observation_names == (
        "position",
        "reference.cos",
        "reference.sin",
    )
    assert HideVelocity(Counting(), drop=True).observation_names == ("episode", "step")
    with pytest.raises(ValueError, match="no velocities are known"):
        HideVelocity(Counting(named=False))


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
@pytest.mark.parametrize(
    "wrap",
    [
        HideVelocity,
        lambda e: HideVelocity(e, drop=True),
        lambda e: Delay(e, 2),
        lambda e: Noise(e, 0.1),
        lambda e: Dropout(e, 0.1),
    ],
)
def test_wrapped_environments_pass_the_checker(wrap):
    check_env(wrap(OscillatorEnv(task="duffing")), skip_render_check=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Hide(Counting(), "speed"), "no reading is called 'speed'; there are episode, step"),
        (lambda: Hide(Counting(named=False), "step"), "no observation_names"),
        (lambda: Hide(Counting(), 3), "indices 0 .. 2"),
        (lambda: Hide(Counting(), []), "no readings were chosen"),
        (lambda: Delay(Counting(), 0), "at least 1"),
        (lambda: Noise(Counting(), -0.1), "std must be >= 0"),
        (lambda: Noise(Counting(), [0.1, 0.2]), "one for each of 3 readings"),
        (lambda: Dropout(Counting(), 1.5), "probability"),
        (lambda: Dropout(Counting(), 0.5, 0), "steps must be at least 1"),
    ],
)
def test_impossible_settings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_readings_that_are_no_vector_and_things_that_are_no_environment_are_refused():
    env = Counting()
    env.observation_space = Dict({"a": env.observation_space})
    with pytest.raises(ValueError, match=r"Box \[O\]"):
        Delay(env, 1)
    with pytest.raises(TypeError, match="Gymnasium environment"):
        Delay(3, 1)
