"""The simulated animal: symmetric, reproducible, converging with the step, and alone in its own trouble."""

import csv

import numpy as np
import pytest

from sim import anatomy
from sim.arena import WORLDS, ground_height
from sim.body import BodyParameters
from sim.randomise import Randomisation
from sim.salamander import Salamander

MIRROR_MUSCLES = [
    anatomy.MUSCLE_NAMES.index(
        name.replace(".left", ".?").replace(".right", ".left").replace(".?", ".right")
        if name.startswith("axis")
        else name.replace("left", "?").replace("right", "left").replace("?", "right")
    )
    for name in anatomy.MUSCLE_NAMES
]


def _wave(time: float, frequency: float = 3.0) -> np.ndarray:
    """Activations of a travelling wave along the spine, limbs at rest, `[48]`."""
    phase = 2 * np.pi * (frequency * time - np.arange(8) / 8)
    action = np.zeros(48)
    grow = np.linspace(0.06, 0.28, 8)  # the amplitude rises from 5 to 21 degrees
    action[0:16:2], action[1:16:2] = grow * (1 + np.cos(phase)), grow * (1 - np.cos(phase))
    return action


def _random(newt: Salamander, rng: np.random.Generator) -> np.ndarray:
    if newt.control == "muscle":
        return rng.uniform(0, 1, newt.action_shape) * anatomy.MAX_ACTIVATION
    return rng.uniform(-1, 1, newt.action_shape) * anatomy.JOINT_LIMITS


def _recorded(folder, name: str) -> np.ndarray:
    with open(folder / "salamander" / f"{name}_data_karakasiliotis_processed.csv") as file:
        rows = list(csv.reader(file))[1:]
    cycle = np.radians(np.array([[float(v) for v in row[1:]] for row in rows]))
    return cycle - (cycle[-1] - cycle[0]) * (np.arange(len(cycle)) / (len(cycle) - 1) - 0.5)[:, None]  # closed


def _play(newt: Salamander, cycle: np.ndarray, frequency: float, seconds: float) -> tuple[float, float]:
    """Stride along the path, BL per cycle, after a second of settling, and the least uprightness."""
    steps, start, upright = round(seconds / newt.dt), np.zeros(3), 1.0
    for t in range(steps):
        row = cycle[int((t * newt.dt * frequency) % 1 * len(cycle))]
        newt.step(row if len(row) == 24 else np.concatenate([row, anatomy.SWIM_REST[8:]]))
        if t * newt.dt < 1.0:
            start = newt.centre_of_mass()[0]
        upright = min(upright, newt.uprightness()[0])
    travelled = np.linalg.norm(newt.centre_of_mass()[0, :2] - start[:2]) / newt.length
    assert newt.centre_of_mass()[0, 0] > start[0]
    return travelled / ((seconds - 1.0) * frequency), upright


def test_the_recorded_swimming_cycle_swims_as_far_per_cycle_as_the_animal(data_folder):
    newt = Salamander(1, world="pool", control="joint", threads=1)
    stride, upright = _play(newt, _recorded(data_folder, "swimming"), 3.17, 4.0)
    assert 0.18 < stride < 0.28
    assert upright > 0.95


def test_the_recorded_walking_cycle_walks_forward_without_falling(data_folder):
    newt = Salamander(1, world="land", control="joint", threads=1)
    stride, upright = _play(newt, _recorded(data_folder, "walking"), 0.9, 5.0)
    assert 0.08 < stride < 0.2
    assert upright > 0.9


@pytest.mark.parametrize("world, seconds", [("pool", 2.0), ("land", 0.5)])
def test_mirrored_actions_give_a_mirrored_path(world, seconds):
    newt, rng = Salamander(2, world=world, threads=1), np.random.default_rng(0)
    speed, phase = rng.uniform(1, 4, 48), rng.uniform(0, 6, 48)
    for t in range(int(seconds / newt.dt)):
        action = 0.15 * anatomy.MAX_ACTIVATION * (1 + np.sin(speed * t * newt.dt + phase))
        newt.step(np.stack([action, action[MIRROR_MUSCLES]]))
    path, mirrored = newt.link_positions()
    difference = np.abs(path * [1, -1, 1] - mirrored).max()
    # In order, not together, the contact solver's last sweeps visit the feet: that breaks the symmetry a little.
    assert difference < (5e-4 if world == "land" else 1e-6)
    assert np.abs(path[:, 1]).max() > max(20 * difference, 1e-3)  # it did leave the line of symmetry


def _swum(timestep: float, seconds: float = 2.0, integrator: str = "discrete") -> float:
    newt = Salamander(1, world="pool", timestep=timestep, integrator=integrator, threads=1)
    for t in range(round(seconds / newt.dt)):
        newt.step(_wave(t * newt.dt))
    return float(newt.centre_of_mass()[0, 0]) / newt.length


def test_halving_the_step_converges():
    coarse, middle, fine = (_swum(timestep) for timestep in (0.005, 0.0025, 0.00125))
    assert (coarse - middle) / (middle - fine) == pytest.approx(2.0, rel=0.2)  # a scheme of first order
    assert abs(coarse - fine) < 0.08 * fine
    assert fine > 0.2


@pytest.mark.slow
def test_speeds_hardly_depend_on_the_step(data_folder):
    swims, cycle = {}, _recorded(data_folder, "swimming")
    for timestep in (0.0005, 0.001, 0.002, 0.005):
        newt = Salamander(1, world="pool", control="joint", timestep=timestep, threads=1)
        swims[timestep] = _play(newt, cycle, 3.17, 7.0)[0]
    assert swims[0.002] == pytest.approx(swims[0.001], rel=0.02)
    assert swims[0.005] == pytest.approx(swims[0.002], rel=0.05)
    cycle = _recorded(data_folder, "walking")
    walks = {}
    for timestep in (0.0005, 0.001, 0.002):
        newt = Salamander(1, world="land", control="joint", timestep=timestep, threads=1)
        walks[timestep] = _play(newt, cycle, 0.9, 9.0)[0]
    assert walks[0.002] == pytest.approx(walks[0.0005], rel=0.1)


def test_each_row_moves_as_a_single_world_would_on_any_number_of_threads():
    rng = np.random.default_rng(3)
    actions = rng.uniform(0, 1, (15, 3, 48)) * anatomy.MAX_ACTIVATION

    def run(rows: list[int], threads: int) -> np.ndarray:
        newt = Salamander(len(rows), world="shore", threads=threads)
        newt.reset(position=np.array([[0.0, 0.0], [0.18, 0.0], [0.6, 0.1]])[rows])
        for action in actions:
            newt.step(action[rows])
        return newt.qpos()

    together = run([0, 1, 2], 2)
    assert np.array_equal(together, np.concatenate([run([row], 1) for row in range(3)]))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("control", ["muscle", "joint"])
def test_every_world_survives_random_actions(world, control):
    _survive(world, control, seconds=3.0, worlds=2)


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("control", ["muscle", "joint"])
def test_every_world_survives_ten_minutes_of_random_actions(world, control):
    _survive(world, control, seconds=600.0, worlds=2)


def _survive(world: str, control: str, seconds: float, worlds: int) -> None:
    newt, rng = Salamander(worlds, world=world, control=control, threads=1), np.random.default_rng(1)
    for _ in range(round(seconds / newt.dt)):
        newt.step(_random(newt, rng))
        assert not newt.diverged.any()
    assert not newt.batch.warning[..., 1].any()
    assert np.isfinite(newt.qpos()).all()
    position = newt.link_positions()
    buried = ground_height(world, newt.length, position[..., :2]) - position[..., 2]
    assert buried.max() < 0.1 * newt.length


@pytest.mark.parametrize("world", WORLDS)
def test_every_start_is_on_the_ground_or_afloat_and_at_peace(world):
    newt = Salamander(1, world=world, control="joint", threads=1)
    pose = newt.joint_angles()
    newt.step(pose)
    assert np.abs(newt.velocity()[0, :2]).max() < 0.2  # settles, is not thrown
    for _ in range(30):
        newt.step(pose)
    position = newt.link_positions()
    height = position[..., 2] - ground_height(world, newt.length, position[..., :2])
    assert (height > 0).all()
    assert newt.foot_contact().any() or newt.submerged().mean() > 0.8
    assert newt.uprightness()[0] > 0.95
    if WORLDS[world].water and world != "shore":
        assert not newt.foot_contact().any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_is_refused_and_nothing_moves(bad):
    newt = Salamander(2, world="land", threads=1)
    before, action = newt.qpos(), np.zeros((2, 48))
    action[1, 7] = bad
    with pytest.raises(ValueError, match="finite"):
        newt.step(action)
    assert np.array_equal(before, newt.qpos()) and (newt.time == 0).all()


@pytest.mark.parametrize("shape", [(2, 24), (48,), (3, 48), (2, 48, 1)])
def test_an_action_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"shape \(2, 48\)"):
        Salamander(2, threads=1).step(np.zeros(shape))


def test_wrong_starts_and_settings_are_refused_by_name():
    newt = Salamander(2, threads=1)
    for wrong, rule in [
        ({"mask": np.array([1, 0])}, "mask"),
        ({"pose": "sit"}, "pose"),
        ({"pose": np.zeros(8)}, "pose"),
        ({"position": (0.0,)}, "position"),
        ({"position": (0.0, np.nan)}, "finite"),
        ({"noise": 0.1}, "rng"),
    ]:
        with pytest.raises(ValueError, match=rule):
            newt.reset(**wrong)
    for settings, rule in [
        ({"num_worlds": 0}, "num_worlds"),
        ({"timestep": 0.003}, "multiple"),
        ({"world": "x"}, "world"),
    ]:
        with pytest.raises(ValueError, match=rule):
            Salamander(**settings)
    with pytest.raises(ValueError, match="link"):
        newt.push((0, 0, 1), "tail")


def test_a_world_that_diverges_leaves_the_others_alone():
    def run(blow_up: bool) -> tuple[np.ndarray, np.ndarray]:
        newt, rng = Salamander(3, world="land", threads=2), np.random.default_rng(0)
        for t in range(20):
            if blow_up and t == 5:
                newt.batch.bind("qvel")[1, 10] = 1e12
            newt.step(_random(newt, rng))
            if t == 5:
                diverged = newt.diverged.copy()
                newt.reset(newt.diverged)
        return newt.qpos(), diverged

    (calm, none), (shaken, one) = run(False), run(True)
    assert not none.any() and one.tolist() == [False, True, False]
    assert np.array_equal(calm[[0, 2]], shaken[[0, 2]])
    assert np.isfinite(shaken).all()


def test_a_masked_reset_touches_only_its_worlds():
    newt, rng = Salamander(3, world="pool", threads=1), np.random.default_rng(0)
    for _ in range(10):
        newt.step(_random(newt, rng))
    before = [newt.qpos(), newt.link_positions(), newt.submerged(), newt.velocity()]
    newt.reset(np.array([False, True, False]), heading=1.0)
    after = [newt.qpos(), newt.link_positions(), newt.submerged(), newt.velocity()]
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old[[0, 2]], new[[0, 2]])
    assert newt.time.tolist() == pytest.approx([0.1, 0.0, 0.1])
    assert newt.heading()[1] == pytest.approx(1.0) and not newt.velocity()[1].any()


def test_a_stored_state_continues_bit_for_bit():
    ranges = Randomisation(mass=(0.8, 1.2), strength=(0.8, 1.2), foot_friction=(0.5, 1.5), drag=(0.5, 1.5))
    make = lambda: Salamander(2, world="shore", randomise=ranges, threads=1)
    newt, rng = make(), np.random.default_rng(0)
    newt.reset(rng=1, position=np.array([[0.0, 0.0], [0.4, 0.0]]))
    for _ in range(10):
        newt.step(_random(newt, rng))
    state, actions = newt.get_state(), [_random(newt, rng) for _ in range(10)]
    copy = make()
    copy.set_state(state)
    for body in (newt, copy):
        for action in actions:
            body.step(action)
    for name in ("qpos", "link_positions", "submerged", "velocity", "yaw_rate", "touch", "muscle_power"):
        assert np.array_equal(getattr(newt, name)(), getattr(copy, name)()), name
    with pytest.raises(ValueError, match="shape"):
        Salamander(3, world="shore", threads=1).set_state(state)


def test_randomised_physics_is_drawn_per_world_within_its_ranges_and_acts():
    ranges = Randomisation(mass=(0.7, 1.3), strength=(0.5, 2.0), belly_friction=(0.5, 2.0))
    newt = Salamander(4, world="pool", randomise=ranges, threads=1)
    newt.reset(rng=0)
    masses = np.array([newt.batch.get_model(w).body_mass.sum() for w in range(4)]) / newt.mass
    assert len(set(masses.round(6))) == 4 and (0.7 <= masses).all() and (masses <= 1.3).all()
    gains = [newt.batch.get_model(w).actuator_gainprm[:2] for w in range(4)]
    halves = np.array([0.5 * (g[0, 0] - g[1, 0]) for g in gains])
    sums = np.array([g[0, 0] + g[1, 0] for g in gains])
    assert (0.5 <= halves / anatomy.AXIAL_MUSCLES[0, 0]).all() and halves.std() > 0 and np.ptp(sums) < 1e-12
    for _ in range(200):
        newt.step(np.zeros((4, 48)))
    depth = -newt.centre_of_mass()[:, 2]
    assert (np.diff(depth[np.argsort(masses)]) > 0).all()  # the heavier, the deeper
    with pytest.raises(ValueError, match="mass"):
        Randomisation(mass=(1.2, 0.8))


def test_an_animal_of_twice_the_length_swims_the_same_strides_per_body_length():
    strides = []
    for length in (0.1, 0.2):
        # Of the density of water: buoyancy and weight, which scale otherwise, cancel.
        newt = Salamander(1, world="pool", body=BodyParameters(length=length, density=1000.0), threads=1)
        newt.reset(position=(0.0, 0.0, -0.5 * length), pose="walk")
        for t in range(150):
            newt.step(_wave(t * newt.dt))
        strides.append(newt.centre_of_mass()[0, 0] / length)
    assert strides[1] == pytest.approx(strides[0], rel=0.02)


def test_measurements_agree_with_each_other():
    newt = Salamander(1, world="pool", threads=1)
    newt.reset(pose=np.zeros(24), position=(0.05, 0.02, -0.03), heading=0.7)
    ahead = np.array([np.cos(0.7), np.sin(0.7), 0.0])
    behind = (np.array([0.05, 0.02, -0.03]) - newt.link_positions()[0]) @ ahead / newt.length
    assert np.allclose(behind, anatomy.LINK_CENTRES)
    assert newt.heading()[0] == pytest.approx(0.7) and newt.uprightness()[0] == pytest.approx(1.0)
    for t in range(30):
        before, heading = newt.centre_of_mass(), newt.heading()
        newt.step(_wave(t * newt.dt))
    assert np.allclose(newt.velocity(), (newt.centre_of_mass() - before) / newt.dt)
    assert newt.yaw_rate() == pytest.approx((newt.heading() - heading) / newt.dt)
    along = np.array([np.cos(newt.heading()[0]), np.sin(newt.heading()[0]), 0.0])
    assert newt.forward_speed()[0] == pytest.approx(newt.velocity()[0] @ along)
    assert np.allclose(np.linalg.norm(newt.link_orientations(), axis=-1), 1.0)
    assert newt.vertical()[0, 2] == newt.uprightness()[0]
    assert newt.muscle_power()[0] > 0


def test_standing_feet_carry_the_weight_and_a_push_moves_the_animal():
    newt = Salamander(2, world="land", control="joint", threads=1)
    for _ in range(100):
        newt.step(np.tile(anatomy.WALK_REST, (2, 1)))
    assert newt.foot_contact().all()
    assert newt.touch().sum(axis=1) == pytest.approx(newt.mass * 9.81, rel=0.05)
    newt.push(np.array([[0.0, 0.06, 0.0], [0.0, 0.0, 0.0]]))
    for _ in range(10):
        newt.step(np.tile(anatomy.WALK_REST, (2, 1)))
    assert newt.velocity()[0, 1] > 0.05 > abs(newt.velocity()[1, 1])
