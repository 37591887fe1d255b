"""Anatomy to MuJoCo: links, joints, Ekeberg muscles or position servos, feet. Exports MJCF.

python -m sim.body --out salamander.xml --world pool --length 0.1
"""

import argparse
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim import anatomy
from sim.anatomy import JOINT_NAMES, LIMB_NAMES, LINK_NAMES

__all__ = ["BodyParameters", "Control", "add_body", "joint_gains", "main"]

Control = Literal["muscle", "joint"]

TISSUE_DENSITY = 1055.0
"""Density of flesh and bone without the lungs, kg/m^3; skeletal muscle has 1060 ("Muscle architecture in relation
to function", Gans, 1982)."""
WATER_DENSITY = 1000.0
"""kg/m^3."""
LUNGS = (1, 2, 3)
"""Links that hold the lungs: the trunk."""
LUNG_MASS = 0.01
"""Mass of the lungs as a part of their link's."""
SERVO_STIFFNESS = 10.0
"""Servo gain kp as a multiple of the muscle's beta: about 47 Hz, which tracks cycles of 4 Hz to a degree or two and
still lets a foot give way to the ground. The joint is damped by this factor's square root times delta: critically, as
with
muscles."""
SERVO_STRENGTH = np.array([1.0] * 8 + [2.0] * 16)
"""Largest torque of the servos, `[24]`, in units of the muscles' alpha."""


@dataclass(frozen=True)
class BodyParameters:
    """What may differ from one salamander to the next.

    Masses scale with `length` cubed. Muscle constants, armature and servo gains scale with `length` to the fifth, as
    rotational inertias and hydrodynamic torques at a given frequency do: an animal of any size then has the same 15 Hz
    muscles and swims with the same strides per body length. (Against gravity, which scales with the fourth power,
    larger
    animals are correspondingly stronger.)
    """

    length: float = 0.1
    """Total length, m."""
    density: float = 900.0
    """Mean density with air in the lungs, kg/m^3; below 1000 it floats. The mass does not change, its volume does."""
    muscle_strength: float = 1.0
    """Multiplies alpha, the active torque; stiffness and damping stay."""
    foot_friction: float = 1.0
    """Coulomb friction of the feet, no unit."""
    belly_friction: float = 0.1
    """Coulomb friction of trunk and tail, no unit."""
    armature: float = anatomy.ARMATURE
    """Armature of the limb joints at 0.1 m, kg m^2."""
    fluid: tuple[float, float, float, float, float] = (0.5, 0.25, 1.5, 1.0, 1.0)
    """Ellipsoid drag: blunt, slender, angular drag; Kutta and Magnus lift; MuJoCo's defaults."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not np.all(np.isfinite(getattr(self, field.name))):
                raise ValueError(f"{field.name} must be finite; received {getattr(self, field.name)}")
        if not 0.02 <= self.length <= 2.0:
            raise ValueError(f"length is the total length in metres, 0.02 to 2; received {self.length}")
        if not 300.0 <= self.density <= 3000.0:
            raise ValueError(f"density is in kg/m^3, 300 to 3000 (900 floats); received {self.density}")
        for name in ("muscle_strength", "foot_friction", "belly_friction", "armature"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative; received {getattr(self, name)}")
        if len(self.fluid) != 5 or min(self.fluid) < 0:
            raise ValueError(f"fluid takes 5 coefficients, none negative; received {self.fluid}")

    @property
    def scale(self) -> float:
        """Length relative to the animal of the tables."""
        return self.length / anatomy.NOMINAL_LENGTH


def joint_gains(parameters: BodyParameters) -> NDArray[np.float64]:
    """Muscle constants alpha (N m), beta (N m/rad), delta (N m s/rad) of all joints, `[24, 3]`, scaled to the length.

    >>> joint_gains(BodyParameters(length=0.2))[23].round(10).tolist()
    [0.0096, 0.0064, 0.00016]
    """
    gains = np.concatenate([anatomy.AXIAL_MUSCLES, np.tile(anatomy.LIMB_MUSCLE, (16, 1))])
    gains[:, 0] *= parameters.muscle_strength
    return gains * parameters.scale**5


def add_body(spec: mujoco.MjSpec, parameters: BodyParameters, control: Control, *, water: bool) -> None:
    """Add the animal to a specification, at the origin, facing +x, with its actuators and touch sensors.

    Each axial link is an ellipsoid, each limb two capsules and a foot. Only links and feet touch the ground; links and
    limbs feel water. The lungs are light bodies fixed inside the trunk that carry the air's share of the buoyancy,
    above the centre of mass, so that a floating animal rights itself.

    Raises:
        ValueError: `control` is neither "muscle" nor "joint".
    """
    if control not in ("muscle", "joint"):
        raise ValueError(f"control must be 'muscle' or 'joint'; received {control!r}")
    links = _add_axis(spec, parameters)
    for limb in LIMB_NAMES:
        _add_limb(spec, links, limb, parameters)
    _add_lungs(links, parameters)
    if water:
        _set_buoyancy(spec, parameters)
    gains = joint_gains(parameters)
    for k, name in enumerate(JOINT_NAMES):
        if control == "muscle":
            _add_muscle_pair(spec, spec.joint(name), gains[k], k)
        else:
            _add_servo(spec, spec.joint(name), gains[k], k)


def _geom(body: mujoco.MjsBody, name: str, parameters: BodyParameters, **options: object) -> mujoco.MjsGeom:
    """A physical geom: hidden under the skin (group 3), in no contact and no fluid unless asked for."""
    settings: dict[str, object] = dict(contype=0, conaffinity=0, group=3, condim=3, solref=[0.01, 1.0])
    if options.pop("in_water", False):
        settings |= dict(fluid_ellipsoid=1, fluid_coefs=list(parameters.fluid))
    return body.add_geom(name=name, rgba=[0.35, 0.32, 0.2, 1.0], **(settings | options))


def _add_axis(spec: mujoco.MjSpec, parameters: BodyParameters) -> list[mujoco.MjsBody]:
    L, masses = parameters.length, anatomy.LINK_MASSES * parameters.scale**3
    masses[list(LUNGS)] *= 1 - LUNG_MASS
    starts = np.concatenate([[0.0], anatomy.JOINT_X])
    links: list[mujoco.MjsBody] = []
    for i, name in enumerate(LINK_NAMES):
        parent = links[-1] if links else spec.worldbody
        step = starts[i] - starts[i - 1] if i else 0.0
        link = parent.add_body(name=name, pos=[-step * L, 0.0, 0.0])
        if i == 0:
            link.add_freejoint(name="root")
        else:
            limit = float(anatomy.JOINT_LIMITS[i - 1])
            _hinge(link, f"axis.{i}", [0.0, 0.0, -1.0], limit)
        _geom(
            link,
            name,
            parameters,
            type=mujoco.mjtGeom.mjGEOM_ELLIPSOID,
            pos=[-(anatomy.LINK_CENTRES[i] - starts[i]) * L, 0.0, 0.0],
            size=0.5 * L * anatomy.LINK_EXTENTS[i],
            mass=float(masses[i]),
            contype=1,
            friction=[parameters.belly_friction, 0.0, 0.0],
            in_water=True,
        )
        links.append(link)
    return links


def _hinge(body: mujoco.MjsBody, name: str, axis: list[float], limit: float) -> mujoco.MjsJoint:
    return body.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=axis,
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        range=[-limit, limit],
        solref_limit=[0.01, 1.0],
    )


def _add_limb(spec: mujoco.MjSpec, links: list[mujoco.MjsBody], limb: str, parameters: BodyParameters) -> None:
    girdle, side_name = limb.split(".")
    side = 1.0 if side_name == "left" else -1.0
    s = parameters.scale
    link, behind, sideways, up = anatomy.GIRDLES[girdle]
    frame_x = anatomy.JOINT_X[link - 1] * anatomy.NOMINAL_LENGTH
    segment, radius, foot = (s * v for v in (anatomy.LIMB_SEGMENT, anatomy.LIMB_RADIUS, anatomy.FOOT_RADIUS))
    masses = [m * s**3 for m in anatomy.LIMB_MASSES]
    axes = [[0, 0, side], [side, 0, 0], [0, 1.0, 0], [0, 0, -side]]
    names = anatomy.LIMB_JOINTS[limb]
    upper = links[link].add_body(name=f"limb.{limb}.upper", pos=[s * (frame_x - behind), s * side * sideways, s * up])
    lower = upper.add_body(name=f"limb.{limb}.lower", pos=[0, side * segment, 0])
    for k, body in enumerate((upper, upper, upper, lower)):
        limit = float(anatomy.JOINT_LIMITS[anatomy.joint_index(names[k])])
        _hinge(body, names[k], axes[k], limit).armature = parameters.armature * s**5
    for body, mass in ((upper, masses[0]), (lower, masses[1])):
        _geom(
            body,
            body.name,
            parameters,
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[0, 0, 0, 0, side * segment, 0],
            size=[radius, 0, 0],
            mass=mass,
            in_water=True,
        )
    tip = [0, side * segment, 0]
    _geom(
        lower,
        f"foot.{limb}",
        parameters,
        pos=tip,
        size=[foot, 0, 0],
        mass=masses[2],
        contype=1,
        friction=[parameters.foot_friction, 0.0, 0.0],
    )
    lower.add_site(name=f"foot.{limb}", pos=tip, size=[1.1 * foot, 0, 0], group=3)
    spec.add_sensor(
        name=f"touch.{limb}",
        type=mujoco.mjtSensor.mjSENS_TOUCH,
        objtype=mujoco.mjtObj.mjOBJ_SITE,
        objname=f"foot.{limb}",
    )


def _add_lungs(links: list[mujoco.MjsBody], parameters: BodyParameters) -> None:
    """A light body fixed inside each trunk link, halfway between its centre and its back, that holds the link's air.

    Its geom is nearly a point: a body without an ellipsoid would be given drag by the engine's other fluid model.
    """
    L, starts = parameters.length, anatomy.JOINT_X
    for i in LUNGS:
        behind = (anatomy.LINK_CENTRES[i] - starts[i - 1]) * L
        up = 0.25 * anatomy.LINK_EXTENTS[i, 2] * L
        lungs = links[i].add_body(name=f"lungs.{i}", pos=[-behind, 0, up])
        mass = LUNG_MASS * anatomy.LINK_MASSES[i] * parameters.scale**3
        _geom(lungs, f"lungs.{i}", parameters, size=[0.001 * L, 0, 0], mass=float(mass), in_water=True)


def _set_buoyancy(spec: mujoco.MjSpec, parameters: BodyParameters) -> None:
    r"""Gravity compensation of the submerged body: water displaced over own mass, \(\rho_w / \rho\).

    Every link with its lungs has the mean density, so that bending the body shifts weight and lift alike; in the
    trunk the flesh has the density of tissue, and the lungs displace the rest. Limbs have the density of tissue.
    """
    tissue = max(TISSUE_DENSITY, parameters.density)
    mass = {b.name: sum(g.mass for g in b.geoms) for b in spec.bodies if b.name != "world"}
    displaced = {name: m / (parameters.density if name.startswith("link") else tissue) for name, m in mass.items()}
    for i in LUNGS:
        flesh, lungs = f"link.{i}", f"lungs.{i}"
        displaced[flesh] = mass[flesh] / tissue
        displaced[lungs] = (mass[flesh] + mass[lungs]) / parameters.density - displaced[flesh]
    for name, m in mass.items():
        spec.body(name).gravcomp = WATER_DENSITY * displaced[name] / m


def _add_muscle_pair(spec: mujoco.MjSpec, joint: mujoco.MjsJoint, gains: NDArray[np.float64], index: int) -> None:
    r"""An antagonist pair whose torques add up to Ekeberg's muscle ("A combined neuronal and mechanical model of fish
    swimming", Ekeberg, 1993), evaluated inside the engine:

    \[\tau = \alpha (M_+ - M_-) + \beta (M_+ + M_- + \gamma)(\phi_0 - \phi) - \delta \dot\phi\]

    Each muscle is an actuator of affine gain \(\pm\alpha + \beta\phi_0 - \beta\phi\); the passive part is the joint's.
    """
    alpha, beta, delta = (float(g) for g in gains)
    rest = float(anatomy.WALK_REST[index])
    joint.stiffness[0], joint.damping[0], joint.springref = beta * anatomy.MUSCLE_GAMMA, delta, rest
    for sign, name in zip((1.0, -1.0), anatomy.MUSCLE_NAMES[2 * index : 2 * index + 2], strict=True):
        actuator = spec.add_actuator(
            name=name,
            target=joint.name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            gaintype=mujoco.mjtGain.mjGAIN_AFFINE,
            ctrllimited=mujoco.mjtLimited.mjLIMITED_TRUE,
            ctrlrange=[0.0, float(anatomy.MAX_ACTIVATION[2 * index])],
        )
        actuator.gainprm[:3] = sign * alpha + beta * rest, -beta, 0.0


def _add_servo(spec: mujoco.MjSpec, joint: mujoco.MjsJoint, gains: NDArray[np.float64], index: int) -> None:
    r"""A position servo of limited torque: \(\tau = k_p (q^* - q)\) within its strength, and joint damping.

    The damping is the joint's, since the engine integrates that implicitly even where the servo is saturated.
    """
    alpha, beta, delta = (float(g) for g in gains)
    kp, strength, limit = SERVO_STIFFNESS * beta, float(SERVO_STRENGTH[index]) * alpha, anatomy.JOINT_LIMITS[index]
    joint.damping[0] = math.sqrt(SERVO_STIFFNESS) * delta
    actuator = spec.add_actuator(
        name=f"servo.{joint.name}",
        target=joint.name,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        ctrllimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        ctrlrange=[-float(limit), float(limit)],
        forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        forcerange=[-strength, strength],
    )
    actuator.gainprm[0] = kp
    actuator.biasprm[:3] = 0.0, -kp, 0.0


def main(arguments: list[str] | None = None) -> None:
    """Write the model and its pictures as MJCF; there all is under water or dry, since MJCF knows no water surface."""
    from sim.arena import WORLDS, build_spec

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--world", choices=sorted(WORLDS), default="pool")
    parser.add_argument("--length", type=float, default=0.1, help="total length, m")
    parser.add_argument("--control", choices=("muscle", "joint"), default="muscle")
    args = parser.parse_args(arguments)
    spec = build_spec(args.world, BodyParameters(length=args.length), control=args.control)
    spec.compile()
    try:
        args.out.write_text(spec.to_xml())
        for name, picture in spec.assets.items():
            (args.out.parent / name).write_bytes(picture)
    except OSError as error:
        raise SystemExit(f"--out must be in a folder that can be written to: {error}") from error
    print(f"wrote {args.out}, and beside it {', '.join(sorted(spec.assets))}")


if __name__ == "__main__":
    main()
