"""The salamander environments keep Gymnasium's and SB3's contracts, and their own data sheet."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

import sim
from sim import anatomy
from sim.randomise import Randomisation
from sim.salamander_env import SalamanderEnv, SalamanderVectorEnv
from sim.salamander_tasks import TASKS
from sim.sb3 import SB3VecEnv, make_sb3

IDS = [name for name in sim.ENVIRONMENTS if name.startswith("salamander/")]


def test_importing_sim_registers_and_loads_neither_engine_nor_torch():
    code = (
        "import sys, sim, gymnasium; assert not {'mujoco', 'torch', 'stable_baselines3'} & set(sys.modules); "
        "assert all(name in gymnasium.registry for name in sim.ENVIRONMENTS)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("control", ["muscle", "joint"])
@pytest.mark.parametrize("name", IDS)
def test_every_environment_passes_the_checkers_of_gymnasium_and_sb3(name, control):
    from stable_baselines3.common.env_checker import check_env as check_sb3

    env = gymnasium.make(name, control=control, normalise_actions=True)
    check_env(env.unwrapped, skip_render_check=True)
    check_sb3(env.unwrapped)
    raw = gymnasium.make(name, control=control)
    with warnings.catch_warnings():  # physical units are what they only recommend against
        warnings.filterwarnings("ignore", message=".*(symmetric and normalized).*")
        check_env(raw.unwrapped, skip_render_check=True)
        check_sb3(raw.unwrapped)
    assert raw.action_space.shape == ((48,) if control == "muscle" else (24,))


@pytest.mark.parametrize("name", IDS)
def test_rewards_are_the_sum_of_their_terms_and_observations_keep_their_bounds(name):
    envs = gymnasium.make_vec(f"sim:{name}", num_envs=3)
    assert isinstance(envs, SalamanderVectorEnv)
    obs, _ = envs.reset(seed=0)
    assert len(envs.observation_names) == obs.shape[1] == len(set(envs.observation_names))
    envs.action_space.seed(0)
    for _ in range(30):
        obs, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(obs) and obs.dtype == np.float32
        assert np.allclose(reward, sum(info["reward_terms"].values()))
        assert all(value.shape == (3,) and np.isfinite(value).all() for value in info["reward_terms"].values())
        assert not info["diverged"].any()
    envs.close()


@pytest.mark.parametrize("task", TASKS)
def test_row_i_of_any_batch_is_the_single_environment_of_seed_plus_i(task):
    actions = np.random.default_rng(0).uniform(0, 1, (8, 2, 48)).astype(np.float32)
    options = {"task": task, "reset_noise": 0.05, "randomise": Randomisation(mass=(0.9, 1.1), drag=(0.5, 1.5))}
    envs = SalamanderVectorEnv(2, **options)
    rows = [envs.reset(seed=7)[0], *(envs.step(action)[0] for action in actions)]
    for i in range(2):
        env = SalamanderEnv(**options)
        alone = [env.reset(seed=7 + i)[0], *(env.step(action[i])[0] for action in actions)]
        assert np.array_equal(np.stack(rows)[:, i], np.stack(alone))
    assert not np.array_equal(rows[0][0], rows[0][1])


def test_a_time_limit_truncates_and_the_world_starts_anew_in_the_same_step():
    envs = gymnasium.make_vec("salamander/Swim-v0", num_envs=2, max_episode_steps=4)
    first, _ = envs.reset(seed=0)
    for t in range(1, 9):
        obs, _, terminated, truncated, info = envs.step(np.full((2, 48), 0.3))
        assert not terminated.any() and truncated.all() == (t % 4 == 0)
        if truncated.any():
            assert np.array_equal(obs, first)
            assert not np.array_equal(info["final_obs"][0], obs[0]) and info["_final_obs"].all()
            assert info["final_info"]["reward_terms"]["headway"].shape == (2,)
            assert info["time"][0] == pytest.approx(0.04)
        else:
            assert "final_obs" not in info
    single = gymnasium.make("salamander/Swim-v0", max_episode_steps=3)
    single.reset(seed=0)
    assert [single.step(np.zeros(48))[3] for _ in range(3)] == [False, False, True]


def test_without_autoreset_ended_worlds_wait_for_a_masked_reset():
    envs = SalamanderVectorEnv(2, autoreset_mode=AutoresetMode.DISABLED, max_episode_steps=3)
    with pytest.raises(ValueError, match="reset"):
        envs.step(np.zeros((2, 48)))
    envs.reset(seed=0)
    envs.step(np.zeros((2, 48)))
    envs.reset(options={"reset_mask": np.array([True, False])})
    for _ in range(2):
        obs, _, _, truncated, _ = envs.step(np.zeros((2, 48)))
    assert truncated.tolist() == [False, True]
    with pytest.raises(ValueError, match=r"worlds \[1\]"):
        envs.step(np.zeros((2, 48)))
    again, _ = envs.reset(options={"reset_mask": truncated})
    assert np.array_equal(again[0], obs[0]) and not np.array_equal(again[1], obs[1])
    envs.step(np.zeros((2, 48)))
    for wrong in (np.array([True]), np.array([1, 0])):
        with pytest.raises(ValueError, match="reset_mask"):
            envs.reset(options={"reset_mask": wrong})


def test_a_world_that_diverges_ends_alone_with_a_finite_last_observation():
    envs = SalamanderVectorEnv(3, task="walk", terminate=False)
    calm = SalamanderVectorEnv(3, task="walk", terminate=False)
    for env in (envs, calm):
        env.reset(seed=0)
        env.step(np.full((3, 48), 0.2))
    envs.salamander.batch.bind("qvel")[1, 8] = 1e12
    for t in range(3):
        (obs, reward, terminated, truncated, info), expected = (e.step(np.full((3, 48), 0.2)) for e in (envs, calm))
        assert np.array_equal(obs[[0, 2]], expected[0][[0, 2]])
        assert info["diverged"].tolist() == terminated.tolist() == [False, t == 0, False]
        assert np.isfinite(obs).all() and np.isfinite(reward).all()
        if t == 0:
            assert np.isfinite(info["final_obs"][1]).all() and reward[1] == 0
            assert info["final_info"]["diverged"][1]


def test_turning_over_ends_an_episode_unless_asked_otherwise():
    for terminate in (True, False):
        env = SalamanderEnv(task="walk", terminate=terminate)
        env.reset(seed=0)
        env.salamander.batch.bind("qpos")[0, 3:7] = 0, 1, 0, 0  # on its back
        assert env.step(np.zeros(48))[2] is terminate


def test_the_shore_ends_at_the_line_with_its_prize():
    env = SalamanderEnv(task="shore")
    obs, _ = env.reset(seed=0)
    goal = obs[env.observation_names.index("goal.distance")]
    assert goal == pytest.approx(5.5 + 0.39, abs=0.05)  # the centre of mass is behind the snout
    env.salamander.batch.bind("qpos")[0, 0:3] = goal * 0.1 + 0.002, 0.0, -0.02
    _, reward, terminated, _, info = env.step(np.zeros(48))
    assert terminated and info["reward_terms"]["arrived"] == 10 and reward > 10


@pytest.mark.parametrize("kind", ["fixed", "moving"])
def test_steering_sees_where_the_target_is_and_a_reached_one_is_replaced(kind):
    env = SalamanderEnv(task="steer", task_options={"target": kind})
    env.reset(seed=0)
    see = lambda obs: obs[[env.observation_names.index(f"target.{k}") for k in ("cos", "sin", "distance")]]
    task, body = env.batch.task, env.salamander
    assert np.linalg.norm(task.target[0] - body.centre_of_mass()[0, :2]) == pytest.approx(0.3)
    for offset, expected in [((0.2, 0.0), (1, 0, 2)), ((0.0, 0.2), (0, 1, 2)), ((0.0, -0.1), (0, -1, 1))]:
        task.target[0] = body.centre_of_mass()[0, :2] + offset
        obs, *_ = env.step(np.zeros(48))
        assert np.allclose(see(obs), expected, atol=0.1)
    task.target[0] = body.centre_of_mass()[0, :2] + 0.01
    *_, info = env.step(np.zeros(48))
    assert info["reward_terms"]["reached"] == (kind == "fixed")
    obs, *_ = env.step(np.zeros(48))
    assert see(obs)[2] == pytest.approx(3.0, abs=0.1) if kind == "fixed" else see(obs)[2] < 0.3
    with pytest.raises(ValueError, match="target"):
        SalamanderEnv(task="steer", task_options={"target": "none"})


def test_named_observations_are_what_their_names_say():
    env = SalamanderEnv(task="walk", control="joint")
    env.reset(seed=0)
    for _ in range(20):
        obs, *_ = env.step(anatomy.WALK_REST)
    value = dict(zip(env.observation_names, obs, strict=True))
    body = env.salamander
    assert value["joint_angle.limb.hind.left.knee"] == pytest.approx(body.joint_angles()[0, 19], abs=1e-6)
    assert value["joint_velocity.axis.1"] == pytest.approx(0.1 * body.joint_velocities()[0, 0], abs=1e-6)
    assert value["up.z"] > 0.95 and value["heading.cos"] > 0.99
    assert value["submerged.link.0"] == 0 and value["touch.fore.left"] > 0.02


def test_normalised_actions_reach_the_same_muscles():
    raw, normal = SalamanderEnv(), SalamanderEnv(normalise_actions=True)
    share = np.random.default_rng(0).uniform(0, 1, 48)
    raw.reset(seed=0), normal.reset(seed=0)
    a, b = raw.step(share * anatomy.MAX_ACTIVATION), normal.step(2 * share - 1)
    assert np.allclose(a[0], b[0], atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_actions_and_settings_are_refused(bad):
    envs = SalamanderVectorEnv(2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="finite"):
        envs.step(np.full((2, 48), bad))
    with pytest.raises(ValueError, match="shape"):
        envs.step(np.zeros((2, 24)))
    envs.step(np.zeros((2, 48)))
    for wrong in ({"task": "fly"}, {"max_episode_steps": 0}, {"autoreset_mode": "NextStep"}, {"render_mode": "human"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SalamanderVectorEnv(1, **wrong)


def test_a_stored_environment_continues_bit_for_bit():
    make = lambda: SalamanderVectorEnv(2, task="steer", task_options={"target": "moving"}, max_episode_steps=8)
    envs, other = make(), make()
    envs.reset(seed=0)
    actions = np.random.default_rng(0).uniform(0, 1, (14, 2, 48))
    for action in actions[:5]:
        envs.step(action)
    other.set_state(envs.get_state())
    for action in actions[5:]:
        one, two = envs.step(action), other.step(action)
        assert all(np.array_equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))


def test_sb3_learns_on_the_batch_and_is_told_how_episodes_end():
    from stable_baselines3 import PPO

    envs = make_sb3("salamander/Walk-v0", 2, max_episode_steps=5)
    assert np.abs(envs.action_space.high).max() == 1
    envs.seed(3)
    first = envs.reset()
    for t in range(1, 6):
        obs, reward, done, infos = envs.step(np.zeros((2, 48), dtype=np.float32))
        assert done.all() == (t == 5) and "upright" in infos[0]["reward_terms"]
    assert infos[0]["TimeLimit.truncated"] and infos[0]["terminal_observation"].shape == (70,)
    assert np.array_equal(obs, first)
    assert envs.get_attr("num_envs") == [2, 2] and envs.env_is_wrapped(gymnasium.Wrapper) == [False, False]
    PPO("MlpPolicy", envs, n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(16)
    with pytest.raises(ValueError, match="SAME_STEP"):
        SB3VecEnv(SalamanderVectorEnv(1, autoreset_mode=AutoresetMode.DISABLED))
    envs.close()


@pytest.mark.render
def test_a_picture_shows_the_animal_before_its_world():
    from sim.render import NoGL

    env = SalamanderEnv(task="walk", render_mode="rgb_array", width=160, height=120)
    env.reset(seed=0)
    try:
        picture = env.render()
    except NoGL as error:
        pytest.skip(str(error))
    assert picture.shape == (120, 160, 3) and picture.dtype == np.uint8
    centre, corner = picture[50:70, 60:100].astype(float), picture[-20:, :40].astype(float)
    assert np.abs(centre.mean(axis=(0, 1)) - corner.mean(axis=(0, 1))).max() > 5
    env.close()


@pytest.mark.slow
def test_processes_over_the_single_environment_give_the_same_rows():
    several = gymnasium.make_vec("sim:salamander/Walk-v0", 2, vectorization_mode="async")
    assert isinstance(several, AsyncVectorEnv)
    envs = gymnasium.make_vec("sim:salamander/Walk-v0", 2)
    assert np.array_equal(several.reset(seed=0)[0], envs.reset(seed=0)[0])
    action = np.full((2, 48), 0.3, dtype=np.float32)
    for _ in range(5):
        assert np.array_equal(several.step(action)[0], envs.step(action)[0])
    several.close()


def test_starts_are_spread_over_a_square_by_each_worlds_own_seed():
    env = SalamanderVectorEnv(16, task="walk", world="rough", reset_spread=2.0, threads=1)
    snouts = []
    for seed in (3, 3, 4):
        env.reset(seed=seed)
        snouts.append(env.salamander.qpos()[:, :2] / env.salamander.length)
    np.testing.assert_array_equal(snouts[0], snouts[1])
    np.testing.assert_array_equal(snouts[0][1:], snouts[2][:-1])
    assert 1.0 < np.abs(snouts[0]).max() <= 2.0 and len(np.unique(snouts[0])) == 32
    with pytest.raises(ValueError, match="reset_spread is in body lengths"):
        SalamanderVectorEnv(1, reset_spread=-1.0)


def test_progress_adds_up_to_the_way_by_which_the_target_came_nearer():
    env = SalamanderVectorEnv(2, task="steer", task_options={"reward": "progress"}, threads=1)
    obs, _ = env.reset(seed=0)
    before, total = obs[:, -1].copy(), np.zeros(2)
    rng, action = np.random.default_rng(0), np.zeros((2, 48))
    for step in range(60):
        action[:, :16] = 0.5 * (1 + np.sin(0.2 * step - np.arange(16) // 2 * 0.8 + np.pi * (np.arange(16) % 2)))
        obs, _, _, _, info = env.step(action + 0.05 * rng.random((2, 48)))
        total += info["reward_terms"]["progress"] / 10.0
    np.testing.assert_allclose(total, before - obs[:, -1], atol=0.02)
    assert np.abs(total).min() > 0.05
    assert set(info["reward_terms"]) == {"progress", "reached", "upright", "economy"}
    with pytest.raises(ValueError, match="reward must be 'task' or 'progress'"):
        SalamanderVectorEnv(1, task="steer", task_options={"reward": "gold"})
