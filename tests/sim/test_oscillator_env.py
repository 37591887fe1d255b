import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from scipy.integrate import solve_ivp

from sim.oscillator_env import OscillatorEnv, OscillatorVectorEnv
from sim.oscillators import damped_matrix, damped_solution, duffing_energy

TASKS = ["damped", "forced", "duffing", "vanderpol"]
IDLE = lambda n: np.zeros((n, 1))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("discrete", [None, 5])
def test_the_single_environment_passes_the_checker(task, discrete):
    check_env(OscillatorEnv(task=task, discrete_actions=discrete), skip_render_check=True)


@pytest.mark.parametrize("task", TASKS)
def test_row_i_of_a_batch_is_the_single_environment_with_seed_s_plus_i_through_resets(task):
    batch = OscillatorVectorEnv(3, task=task, max_episode_steps=7)
    obs, _ = batch.reset(seed=11)
    rng = np.random.default_rng(0)
    singles = [OscillatorEnv(task=task, max_episode_steps=7) for _ in range(3)]
    assert np.array_equal(obs, np.stack([env.reset(seed=11 + i)[0] for i, env in enumerate(singles)]))
    for _ in range(25):
        action = rng.uniform(-1, 1, (3, 1))
        obs, reward, terminated, truncated, info = batch.step(action)
        for i, env in enumerate(singles):
            row, r, term, trunc, _ = env.step(action[i])
            assert (r, term, trunc) == (reward[i], terminated[i], truncated[i])
            if term or trunc:
                assert np.array_equal(info["final_obs"][i], row)
                row, _ = env.reset()
            assert np.array_equal(obs[i], row)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_trajectory_and_another_seed_another(task):
    def play(seed):
        env = OscillatorVectorEnv(4, task=task, max_episode_steps=20)
        rows = [env.reset(seed=seed)[0]]
        rows += [env.step(0.3 * IDLE(4) + np.sin(t))[0] for t in range(50)]
        return np.stack(rows)

    assert np.array_equal(play(3), play(3)) and not np.array_equal(play(3), play(4))
    assert len(np.unique(play(3)[0], axis=0)) == 4  # no two worlds start alike


@pytest.mark.parametrize("task", TASKS)
def test_observations_stay_in_their_space_and_the_reward_is_the_sum_of_its_terms(task):
    env = OscillatorVectorEnv(16, task=task, max_episode_steps=60)
    obs, _ = env.reset(seed=0)
    env.action_space.seed(0)
    assert obs.dtype == np.float32 and len(env.observation_names) == obs.shape[1]
    for t in range(150):
        action = env.action_space.sample() if t < 75 else np.sign(obs[:, 1:2])  # pump as hard as it goes
        obs, reward, _, _, info = env.step(action)
        assert env.observation_space.contains(obs)
        assert reward == pytest.approx(sum(info["reward_terms"].values()), abs=1e-15)
        assert all(np.all(np.isfinite(term)) for term in info["reward_terms"].values())


def test_a_mass_left_alone_moves_as_the_closed_form_says():
    env = OscillatorVectorEnv(5, task="damped")
    _, info = env.reset(seed=1)
    start, omega = info["state"], env.task.parameters["omega"]
    states = [env.step(IDLE(5))[4]["state"] for _ in range(100)]
    for i in range(5):
        truth = damped_solution(np.arange(1, 101) * env.dt, start[i], omega[i], 0.01)
        assert np.stack(states)[:, i] == pytest.approx(truth, abs=1e-9)


def test_an_unforced_double_well_loses_energy_at_every_step():
    env = OscillatorVectorEnv(8, task="duffing")
    env.reset(seed=0)
    env.task.state[:] = np.random.default_rng(0).uniform(-1.5, 1.5, (8, 2))
    energies = [duffing_energy(env.step(IDLE(8))[4]["state"]) for _ in range(200)]
    assert np.diff(energies, axis=0).max() < 1e-3 and np.all(energies[-1] < -0.2)


def test_the_disturbance_of_the_forced_task_pushes_like_an_action_of_the_same_size():
    env = OscillatorVectorEnv(6, task="forced")
    _, info = env.reset(seed=2)
    for _ in range(80):  # cancel it: what is left is the free decay
        _, _, _, _, info = env.step(-env.task.disturbance()[:, None] / env.task.max_force)
    amplitude = np.hypot(info["state"][:, 0], info["state"][:, 1] / env.task.parameters["omega"])
    assert np.all(amplitude < 0.2 * np.exp(-0.05 * 0.9 * 2 * np.pi * 4.0) * 1.1)


def test_the_shaken_mass_follows_the_continuous_disturbance_and_not_a_delayed_one():
    env = OscillatorVectorEnv(4, task="forced")
    _, info = env.reset(seed=3)
    start, p = info["state"], env.task.parameters
    states = np.stack([env.step(IDLE(4))[4]["state"] for _ in range(60)])
    for i in range(4):
        shake = lambda t, i=i: sum(
            p[f"shake.{k}"][i] * np.sin(p[f"rate.{k}"][i] * t + p[f"phase.{k}"][i]) for k in (1, 2)
        )
        field = lambda t, s, i=i, shake=shake: damped_matrix(p["omega"][i], 0.05) @ s + [0.0, shake(t)]
        truth = solve_ivp(field, (0, 3), start[i], rtol=1e-8, atol=1e-10).y[:, -1]
        scale = np.abs(states[:, i]).max(axis=0)
        assert states[-1, i] / scale == pytest.approx(truth / scale, abs=0.02)


def test_a_world_that_leaves_its_range_on_its_last_step_is_terminated_and_not_truncated():
    env = OscillatorVectorEnv(2, task="damped", max_episode_steps=3)
    env.reset(seed=0)
    env.step(IDLE(2)), env.step(IDLE(2))
    env.task.state[0] = [9.0, 0.0]
    _, _, terminated, truncated, _ = env.step(IDLE(2))
    assert terminated.tolist() == [True, False] and truncated.tolist() == [False, True]


def mean_reward(task, policy, steps=300, worlds=32):
    env = OscillatorVectorEnv(worlds, task=task)
    obs, _ = env.reset(seed=0)
    total = 0.0
    for _ in range(steps):
        obs, reward, _, _, _ = env.step(policy(env, obs)[:, None])
        total += reward.mean()
    return total / steps


def damp(env, obs):
    return np.clip(-0.6 * obs[:, 1], -1, 1)


def track(env, obs):
    x, v, c, s = obs.T
    rate = env.task.parameters["reference"]
    wanted = (env.task.parameters["omega"] ** 2 - rate**2) * c
    return (wanted + 60 * (c - x) + 10 * (-rate * s - v) - env.task.disturbance()) / env.task.max_force


def swing(env, obs):
    x, v, target = obs.T
    there = x * target > 0.3
    return np.where(there, np.clip(-3 * v, -1, 1), np.sign(v + 1e-9))


def entrain(env, obs):
    x, v, c, s = obs.T
    return np.clip(np.sin(np.arctan2(-v / 6.283, x) - np.arctan2(s, c)) * x, -1, 1)


@pytest.mark.parametrize(
    ("task", "policy"), [("damped", damp), ("forced", track), ("duffing", swing), ("vanderpol", entrain)]
)
def test_a_simple_controller_solves_the_task_far_better_than_doing_nothing_or_anything(task, policy):
    rng = np.random.default_rng(0)
    nothing = mean_reward(task, lambda env, obs: np.zeros(len(obs)))
    anything = mean_reward(task, lambda env, obs: rng.uniform(-1, 1, len(obs)))
    assert mean_reward(task, policy) > max(nothing, anything) + 0.2


def test_no_constant_force_climbs_the_barrier():
    env = OscillatorVectorEnv(16, task="duffing")
    env.reset(seed=0)
    env.task.state[:] = [-1.0, 0.0]
    for _ in range(300):
        _, _, _, _, info = env.step(np.ones((16, 1)))
        assert np.all(info["state"][:, 0] < 0)


def test_worlds_are_truncated_by_their_own_count_and_terminated_when_out_of_range():
    env = OscillatorVectorEnv(2, task="damped", max_episode_steps=10)
    obs, _ = env.reset(seed=0)
    for step in range(1, 31):
        if step == 14:
            env.task.state[0] = [5.0, 0.0]
        last = obs
        obs, _, terminated, truncated, info = env.step(IDLE(2))
        assert terminated.tolist() == [step == 14, False]
        assert truncated.tolist() == [step in (10, 24), step in (10, 20, 30)]  # world 0 counts anew from its early end
        ended = terminated | truncated
        assert ("final_obs" in info) == ended.any()
        if ended.any():
            assert np.array_equal(info["_final_obs"], ended)
            assert [o is not None for o in info["final_obs"]] == ended.tolist()
            assert info["time"][ended] == pytest.approx(0) and np.all(info["final_info"]["time"][ended] > 0)
    assert not np.array_equal(obs, last)


def test_without_autoreset_the_last_observation_stays_and_a_masked_reset_touches_no_other_world():
    env = OscillatorVectorEnv(3, task="forced", max_episode_steps=4, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    env.step(IDLE(3))
    env.reset(options={"reset_mask": np.array([False, True, False])})
    for _ in range(3):
        obs, _, _, truncated, info = env.step(IDLE(3))
    assert truncated.tolist() == [True, False, True] and "final_obs" not in info
    with pytest.raises(ValueError, match=r"worlds \[0, 2\] have ended"):
        env.step(IDLE(3))
    again, info = env.reset(options={"reset_mask": truncated})
    assert np.array_equal(again[1], obs[1]) and not np.array_equal(again[[0, 2]], obs[[0, 2]])
    assert info["time"] == pytest.approx([0, 3 * env.dt, 0])
    env.step(IDLE(3))


def test_discrete_actions_are_evenly_spaced_forces():
    forces = OscillatorVectorEnv(5, task="damped", discrete_actions=5)
    free = OscillatorVectorEnv(5, task="damped")
    forces.reset(seed=0), free.reset(seed=0)
    a = forces.step(np.arange(5))
    b = free.step(np.linspace(-1, 1, 5)[:, None])
    assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
    beyond = OscillatorVectorEnv(5, task="damped")
    beyond.reset(seed=0)
    assert np.array_equal(beyond.step(np.linspace(-1, 1, 5)[:, None] * [[9], [1], [1], [1], [9]])[0], b[0])  # clipped


def test_gymnasium_makes_both_kinds_from_one_registration():
    name = "test/Oscillator-v0"
    gym.register(
        name,
        entry_point="sim.oscillator_env:OscillatorEnv",
        vector_entry_point="sim.oscillator_env:OscillatorVectorEnv",
        max_episode_steps=6,
        kwargs={"task": "vanderpol"},
    )
    try:
        single, batch = gym.make(name, discrete_actions=3), gym.make_vec(name, num_envs=4)
        assert isinstance(batch.unwrapped, OscillatorVectorEnv)
        assert single.unwrapped.observation_names == batch.unwrapped.observation_names
        single.reset(seed=0), batch.reset(seed=0)
        ends = [(single.step(1)[3], batch.step(IDLE(4))[3].all()) for _ in range(6)]
        assert ends == [(False, False)] * 5 + [(True, True)]
        checked = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec(name, num_envs=4))
        checked.reset(seed=0)
        infos = [checked.step(IDLE(4))[4] for _ in range(6)]
        assert infos[-1]["episode"]["l"].tolist() == [6] * 4
    finally:
        gym.registry.pop(name)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"task": "pendulum"}, "task must be one of damped"),
        ({"num_envs": 0}, "num_envs"),
        ({"max_episode_steps": 0}, "max_episode_steps"),
        ({"discrete_actions": 1}, "discrete_actions"),
        ({"randomise": 1.0}, "randomise"),
        ({"autoreset_mode": AutoresetMode.NEXT_STEP}, "autoreset_mode"),
    ],
)
def test_impossible_settings_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        OscillatorVectorEnv(**kwargs)


def test_bad_actions_masks_and_seeds_are_refused_and_move_nothing():
    env = OscillatorVectorEnv(3, task="duffing")
    with pytest.raises(ValueError, match="never reset"):
        env.step(IDLE(3))
    env.reset(seed=0)
    before = env.task.state.copy()
    for action, message in [
        (np.zeros(3), r"shape \(3, 1\)"),
        ([[0], [np.nan], [0]], "world 1"),
        (np.full((3, 1), np.inf), "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            env.step(action)
    assert np.array_equal(env.task.state, before)
    choose = OscillatorVectorEnv(3, discrete_actions=3)
    choose.reset(seed=0)
    for action, message in [(np.zeros(3), "integers"), ([0, 1, 3], "0 .. 2"), ([0, -1, 1], "0 .. 2")]:
        with pytest.raises(ValueError, match=message):
            choose.step(np.asarray(action))
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": np.ones(2, bool)})
    with pytest.raises(ValueError, match="list of seeds"):
        env.reset(seed=[1, 2])
