"""The built body: muscles follow their equation, nothing that is only looked at changes what moves."""

import mujoco
import numpy as np
import pytest

from sim import anatomy
from sim.arena import WORLDS, build_spec
from sim.body import BodyParameters, joint_gains, main


@pytest.fixture(scope="module")
def land() -> mujoco.MjModel:
    return build_spec("land", look=False).compile()


def _addresses(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    joints = [model.joint(name) for name in anatomy.JOINT_NAMES]
    return np.array([j.qposadr[0] for j in joints]), np.array([j.dofadr[0] for j in joints])


@pytest.mark.parametrize("length", [0.1, 0.17])
def test_muscle_torque_equals_the_formula_of_ekeberg(length):
    parameters = BodyParameters(length=length)
    model = build_spec("land", parameters, look=False).compile()
    data, (q, v), rng = mujoco.MjData(model), _addresses(model), np.random.default_rng(0)
    alpha, beta, delta = joint_gains(parameters).T
    for _ in range(5):
        phi, speed = rng.uniform(-1, 1, 24), rng.uniform(-20, 20, 24)
        plus, minus = rng.uniform(0, anatomy.MAX_ACTIVATION.reshape(24, 2)).T
        data.qpos[q], data.qvel[v] = phi, speed
        data.ctrl[0::2], data.ctrl[1::2] = plus, minus
        mujoco.mj_forward(model, data)
        torque = data.qfrc_actuator[v] + data.qfrc_passive[v]
        stretch = anatomy.WALK_REST - phi
        gamma = anatomy.MUSCLE_GAMMA
        expected = alpha * (plus - minus) + beta * (plus + minus + gamma) * stretch - delta * speed
        assert np.allclose(torque, expected, rtol=1e-12, atol=1e-18)


def test_full_one_sided_activation_bends_a_weightless_spine_by_an_eighth_of_a_turn(land):
    data, (q, _) = mujoco.MjData(land), _addresses(land)
    land.opt.gravity[2], data.qpos[2] = 0.0, 1.0
    data.ctrl[4] = 1.0  # axis.3.left alone
    mujoco.mj_step(land, data, 500)
    land.opt.gravity[2] = -9.81
    alpha, beta, _ = joint_gains(BodyParameters())[2]
    assert data.qpos[q[2]] == pytest.approx(alpha / (2 * beta), rel=1e-3)
    assert data.qpos[q[2]] == pytest.approx(np.pi / 4, rel=0.01)
    others = np.delete(data.qpos[q[:8]], 2)
    assert np.abs(others).max() < 1e-3


def test_a_positive_spine_angle_bends_the_body_to_its_left(land):
    data, (q, _) = mujoco.MjData(land), _addresses(land)
    data.qpos[q[:8]] = 0.2
    mujoco.mj_kinematics(land, data)
    assert data.body("link.8").xpos[1] > 0.01  # the tail is at +y, the animal's left
    data.qpos[q[:8]], yaws = 0.0, [q[anatomy.joint_index(f"limb.fore.{side}.yaw")] for side in ("left", "right")]
    data.qpos[yaws] = 0.5
    mujoco.mj_kinematics(land, data)
    left, right = data.site("foot.fore.left").xpos, data.site("foot.fore.right").xpos
    assert np.allclose(left * [1, -1, 1], right)
    assert left[0] < data.body("limb.fore.left.upper").xpos[0]  # backwards


def test_masses_scale_with_the_cube_and_stiffness_with_the_fifth_power_of_the_length(land):
    big = build_spec("land", BodyParameters(length=0.2), look=False).compile()
    assert np.allclose(big.body_mass, 8 * land.body_mass)
    assert np.allclose(big.jnt_stiffness, 32 * land.jnt_stiffness)
    assert np.allclose(big.actuator_gainprm, 32 * land.actuator_gainprm)
    assert land.body_mass.sum() == pytest.approx(3.018e-3, rel=1e-6)


@pytest.mark.parametrize("world", WORLDS)
def test_what_is_only_looked_at_has_no_mass_no_contact_and_no_water(world):
    bare, dressed = (build_spec(world, look=look).compile() for look in (False, True))
    assert dressed.nskin == 2 and dressed.ntex >= 4 and bare.nskin == bare.ntex == 0
    assert np.array_equal(bare.body_mass, dressed.body_mass)
    assert np.array_equal(bare.body_inertia, dressed.body_inertia)
    touching = (dressed.geom_contype | dressed.geom_conaffinity) > 0
    names = {dressed.geom(g).name for g in np.flatnonzero(touching)}
    assert names == {bare.geom(g).name for g in np.flatnonzero((bare.geom_contype | bare.geom_conaffinity) > 0)}
    seen = [g for g in range(dressed.ngeom) if not touching[g] and dressed.geom_bodyid[g] == 0]
    assert not dressed.geom_fluid[seen].any()
    paths = []
    for model in (bare, dressed):
        data = mujoco.MjData(model)
        data.qpos[2], data.ctrl[:] = 0.02, 0.3
        mujoco.mj_step(model, data, 50)
        paths.append(data.qpos.copy())
    assert np.array_equal(*paths)


@pytest.mark.parametrize("world", WORLDS)
def test_the_jacobian_is_dense_and_there_is_no_viscosity(world):
    model = build_spec(world, look=False).compile()
    assert model.opt.jacobian == mujoco.mjtJacobian.mjJAC_DENSE
    assert model.opt.viscosity == 0
    assert model.nv == 30  # the GPU engine's fast factorisation ends at 32
    wet = np.flatnonzero(model.body_mass)
    assert (model.body_gravcomp[wet] > 0).all() == WORLDS[world].water


@pytest.mark.parametrize("world, control", [("pool", "muscle"), ("rough", "joint"), ("shore", "muscle")])
def test_exported_mjcf_loads_again_with_equal_dynamics(world, control):
    spec = build_spec(world, control=control)
    model = spec.compile()
    again = mujoco.MjModel.from_xml_string(spec.to_xml(), assets=spec.assets)
    ends = []
    for m in (model, again):
        data = mujoco.MjData(m)
        data.qpos[2], data.ctrl[:] = 0.012, np.linspace(0, 0.5, m.nu)
        mujoco.mj_step(m, data, 15)
        ends.append(np.concatenate([data.qpos, data.qvel]))
    assert np.allclose(*ends, rtol=1e-4, atol=1e-5)  # MJCF keeps about six digits
    assert np.abs(ends[0][7:31]).max() > 0.01


def test_the_command_writes_a_model_with_its_pictures(tmp_path, capsys):
    main(["--out", str(tmp_path / "newt.xml"), "--world", "pool", "--length", "0.15"])
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "newt.xml"))
    assert model.body_mass.sum() == pytest.approx(3.018e-3 * 1.5**3, rel=1e-3)
    assert "newt.png" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="written"):
        main(["--out", str(tmp_path / "nowhere" / "newt.xml")])


@pytest.mark.parametrize(
    "wrong, rule",
    [
        ({"length": 0.0}, "length"),
        ({"length": -0.1}, "length"),
        ({"length": float("nan")}, "finite"),
        ({"density": 0.0}, "density"),
        ({"density": float("inf")}, "finite"),
        ({"muscle_strength": -1.0}, "muscle_strength"),
        ({"foot_friction": -0.1}, "foot_friction"),
        ({"fluid": (0.5, 0.25, 1.5, 1.0)}, "5 coefficients"),
        ({"fluid": (0.5, 0.25, -1.5, 1.0, 1.0)}, "none negative"),
    ],
)
def test_impossible_bodies_are_refused_by_name(wrong, rule):
    with pytest.raises(ValueError, match=rule):
        BodyParameters(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"world": "desert"}, {"control": "brain"}, {"timestep": 0.0}, {"integrator": "magic"}]
)
def test_unknown_worlds_controls_and_steps_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        build_spec(**wrong, look=False)


def test_a_current_needs_water():
    with pytest.raises(ValueError, match="none"):
        build_spec("land", current=(0.1, 0, 0), look=False)
