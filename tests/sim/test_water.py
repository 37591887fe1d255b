"""Water with a surface: buoyancy, drag, current; and no trace of it in the dry."""

import mujoco
import numpy as np
import pytest

from sim import anatomy
from sim.salamander import Salamander
from sim.water import submerged_fraction

DRY = -np.inf


def _momenta(newt: Salamander, world: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Velocity of the centre of mass and angular momentum about it, from the engine's own sums."""
    model, data = newt.batch.get_model(world), newt.batch.get_data(world)
    mujoco.mj_forward(model, data)
    mujoco.mj_subtreeVel(model, data)
    return data.subtree_linvel[1].copy(), data.subtree_angmom[1].copy()


def _energy(newt: Salamander, world: int = 0) -> float:
    """Kinetic, elastic and gravitational energy, with the wholly submerged body's buoyancy as a potential, J."""
    model, data = newt.batch.get_model(world), newt.batch.get_data(world)
    mujoco.mj_forward(model, data)
    mujoco.mj_energyPos(model, data)
    mujoco.mj_energyVel(model, data)
    lift = model.body_gravcomp * model.body_mass * 9.81
    return float(data.energy.sum() - lift @ data.xipos[:, 2])


def _throw(newt: Salamander, scale: float, seed: int = 0) -> None:
    """Give every joint and the body a random velocity."""
    rng = np.random.default_rng(seed)
    newt.batch.bind("qvel")[:] = scale * rng.normal(size=30) * np.r_[0.05, 0.05, 0.05, np.ones(27)]


def test_the_submerged_fraction_of_a_tilted_ellipsoid_equals_a_count_of_random_points():
    rng = np.random.default_rng(0)
    axes = np.array([0.3, 1.0, 2.0])
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    points = rng.normal(size=(200_000, 3))
    points *= (rng.uniform(size=len(points)) ** (1 / 3) / np.linalg.norm(points, axis=1))[:, None]
    height = (axes * points) @ turn[2]
    half = np.sqrt(((axes * turn[2]) ** 2).sum())
    for surface in (-0.8, -0.2, 0.0, 0.5, 1.1):
        counted = (height < surface).mean()
        assert submerged_fraction(np.array(surface), half) == pytest.approx(counted, abs=0.005)


def test_a_dry_body_in_free_flight_keeps_its_momentum():
    """In a world with water, high above it: what is left is the integrator's error, which halves with the step."""
    errors = []
    for timestep in (0.002, 0.001):
        newt = Salamander(1, world="pool", timestep=timestep, threads=1)
        newt.reset(position=(0.0, 0.0, 2.0), pose="walk")
        _throw(newt, 0.3)
        velocity, spin = _momenta(newt)
        for _ in range(20):
            newt.step(np.zeros(48))
        gained, turned = _momenta(newt)
        gained = gained - velocity - [0, 0, -9.81 * 0.2]
        errors.append((np.linalg.norm(gained), np.linalg.norm(turned - spin)))
        assert np.linalg.norm(gained) < 3e-3 * np.linalg.norm(velocity)
        assert np.linalg.norm(turned - spin) < 3e-3 * np.linalg.norm(spin)
        assert not newt.submerged().any()
    assert np.allclose(np.array(errors[0]) / errors[1], 2.0, rtol=0.2)


def test_muscles_cannot_push_off_from_air():
    """Nor do they change the momentum of a dry body, up to the first-order error of the step."""
    drift = []
    for timestep in (0.001, 0.0005):
        newt = Salamander(1, world="pool", timestep=timestep, threads=1)
        newt.reset(position=(0.0, 0.0, 2.0))
        action = np.tile([0.6, 0.1], 24)
        for _ in range(10):
            newt.step(action)
        drift.append(_momenta(newt)[0] - [0, 0, -0.981])
    assert np.linalg.norm(2 * drift[1] - drift[0]) < 0.2 * np.linalg.norm(drift[0])
    assert np.linalg.norm(drift[1]) < 0.05  # m/s, of feet at more than 1 m/s


def test_a_passive_body_in_still_water_only_loses_energy():
    newt = Salamander(1, world="pool", threads=1)
    newt.reset(position=(0.0, 0.0, -0.08), pose="walk")
    _throw(newt, 5.0)
    newt.step(np.zeros(48))
    energies = []
    for _ in range(60):
        energies.append(_energy(newt))
        newt.step(np.zeros(48))
    assert (newt.submerged() == 1.0).all()
    losses = -np.diff(energies)
    assert (losses > -1e-4 * losses.max()).all()
    assert losses.sum() > 1e-6


def test_a_passive_body_floats_level_with_its_back_out_and_displaces_its_own_weight():
    newt = Salamander(1, world="pool", threads=1)
    for _ in range(500):
        newt.step(np.zeros(48))
    water, model = newt.water, newt.batch.model
    assert water is not None
    weight = model.body_mass[1 : 1 + water.fraction.shape[1]]
    displaced = float((water.fraction[0] * water.full_buoyancy[0]) @ weight)
    assert displaced == pytest.approx(newt.mass, rel=1e-3)
    assert newt.uprightness()[0] > 0.99
    assert (newt.submerged() > 0.6).all() and newt.submerged()[0, 1:4].max() < 1.0
    assert abs(newt.velocity()[0, 2]) < 1e-4  # the sampled buoyancy feeds no bobbing


def test_a_rolled_animal_rights_itself_and_a_bent_one_hardly_rolls():
    newt = Salamander(2, world="pool", control="joint", threads=1)
    bent = anatomy.SWIM_REST.copy()
    bent[:8] = 0.35
    newt.reset(pose=np.stack([anatomy.SWIM_REST, bent]))
    roll = np.radians(70)
    newt.batch.bind("qpos")[0, 3:7] = np.cos(roll / 2), np.sin(roll / 2), 0, 0
    for _ in range(400):
        newt.step(np.stack([anatomy.SWIM_REST, bent]))
    assert (newt.uprightness() > 0.98).all()


def test_drag_grows_with_the_square_of_the_flow():
    drags = []
    for speed in (0.05, 0.1):
        newt = Salamander(1, world="pool", current=(0.0, speed, 0.0), threads=1)
        newt.reset(position=(0, 0, -0.05))
        newt.step(np.zeros(48))
        newt.batch.bind("qvel")[:] = 0.0
        data, model = newt.batch.get_data(0), newt.batch.get_model(0)
        mujoco.mj_forward(model, data)
        drags.append(data.qfrc_fluid[1])
    assert drags[1] == pytest.approx(4 * drags[0], rel=1e-2)
    assert drags[0] > 0


def test_a_body_that_drifts_with_the_current_moves_as_in_still_water():
    flow = np.array([0.07, -0.03, 0.0])
    wave = 0.4 * (1 + np.cos(np.arange(48)))
    ends = []
    for current in (np.zeros(3), flow):
        newt = Salamander(1, world="pool", current=current, threads=1)
        newt.reset(position=(0, 0, -0.08))
        newt.batch.bind("qvel")[:, :3] = current
        for _ in range(40):
            newt.step(wave)
        ends.append(newt.link_positions()[0] - current * (newt.time[0] - 0.002))
    assert np.allclose(*ends, atol=1e-7)
    assert np.abs(ends[0][0, :2]).max() > 1e-3


def test_one_batch_holds_water_and_air_and_each_world_moves_as_it_would_alone():
    def drop(levels: list[float]) -> np.ndarray:
        newt = Salamander(len(levels), world="pool", threads=2)
        newt.water_level[:] = levels
        newt.reset(position=(0, 0, -0.03), pose="walk")
        for _ in range(15):
            newt.step(np.full((len(levels), 48), 0.2))
        return newt.qpos()

    together = drop([0.0, DRY, -0.02])
    assert np.array_equal(together, np.concatenate([drop([level]) for level in (0.0, DRY, -0.02)]))
    fallen = -0.03 - together[:, 2]
    assert fallen[1] == pytest.approx(0.5 * 9.81 * 0.15**2, rel=0.1)
    assert fallen[0] < 0.02 < fallen[1]


def test_the_barrier_flows_only_between_its_ends_and_currents_can_be_changed():
    newt = Salamander(3, world="pool", control="joint", barrier=(0.2, 0.4, 0.3), threads=1)
    newt.reset(position=np.array([[0.0, 0.0], [0.4, 0.0], [0.7, 0.0]]))
    still = np.tile(anatomy.SWIM_REST, (3, 1))
    for _ in range(20):
        newt.step(still)
    speed = newt.velocity()[:, 0]
    assert speed[1] < -0.02 and abs(speed[0]) < 1e-4 and abs(speed[2]) < 1e-4
    newt.set_current((0.0, 0.2, 0.0))
    for _ in range(20):
        newt.step(still)
    assert (newt.velocity()[:, 1] > 0.02).all()
    with pytest.raises(ValueError, match="water"):
        Salamander(1, world="land").set_current((0.1, 0, 0))
    with pytest.raises(ValueError, match="start < stop"):
        Salamander(1, world="pool", barrier=(0.4, 0.2, 0.3))
