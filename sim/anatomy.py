"""The newt's body plan: names, lengths, masses, joints, muscles. Tables only, no physics.

Conventions, in this order everywhere:

- 9 axial links from `link.0` (head) to `link.8` (tail tip); 8 spine joints `axis.1` .. `axis.8`; 4 limbs
  `fore.left`, `fore.right`, `hind.left`, `hind.right`, each with yaw, pitch, roll and elbow (hind: knee).
- The animal faces +x, its left is +y, up is +z.
- **Spine:** a positive angle bends the body to the animal's LEFT (concave left: the part behind the joint swings
  to +y), which is a yaw about -z in a chain that runs from head to tail. Muscle `axis.i.left` pulls it positive.
- **Limbs:** at zero the limb points straight sideways. Positive angles, mirrored on the right side, turn: yaw
  backwards (about +z on the left), pitch upwards (about +x on the left), then roll about +y, which takes a forearm
  that is bent forwards down to the ground, and elbow or knee bending the forearm forwards.
- With these signs recorded joint cycles of *Pleurodeles waltl* can be played without any change of sign.

Lengths are fractions of the total length or metres at `NOMINAL_LENGTH`, as stated beside each table; `sim.body`
scales them. Figures are those of the model `salamandra_v4` in AlexPazzaglia/SalamandraSNN (MIT), which belongs to
"Balancing central control and sensory feedback produces adaptable and robust locomotor patterns in a spiking,
neuromechanical model of the salamander spinal cord" (Pazzaglia et al., 2025); the recorded cycles stored there are
of "From cineradiography to biorobots" (Karakasiliotis et al., 2016).
"""

import numpy as np

__all__ = [
    "ARMATURE",
    "AXIAL_MUSCLES",
    "FOOT_NAMES",
    "FOOT_RADIUS",
    "GIRDLES",
    "JOINT_LIMITS",
    "JOINT_NAMES",
    "JOINT_X",
    "LIMB_JOINTS",
    "LIMB_MASSES",
    "LIMB_MUSCLE",
    "LIMB_NAMES",
    "LIMB_RADIUS",
    "LIMB_SEGMENT",
    "LINK_CENTRES",
    "LINK_EXTENTS",
    "LINK_MASSES",
    "LINK_NAMES",
    "MAX_ACTIVATION",
    "MUSCLE_GAMMA",
    "MUSCLE_NAMES",
    "NOMINAL_LENGTH",
    "SWIM_REST",
    "WALK_REST",
    "joint_index",
]

NOMINAL_LENGTH = 0.1
"""Total length, m, that the tables in absolute units below belong to."""

LINK_NAMES = tuple(f"link.{i}" for i in range(9))
LIMB_NAMES = ("fore.left", "fore.right", "hind.left", "hind.right")
FOOT_NAMES = tuple(f"foot.{limb}" for limb in LIMB_NAMES)


def _limb_joints(limb: str) -> tuple[str, ...]:
    last = "elbow" if limb.startswith("fore") else "knee"
    return tuple(f"limb.{limb}.{joint}" for joint in ("yaw", "pitch", "roll", last))


LIMB_JOINTS = {limb: _limb_joints(limb) for limb in LIMB_NAMES}
"""The four joint names of each limb."""

JOINT_NAMES = tuple(f"axis.{i}" for i in range(1, 9)) + tuple(j for limb in LIMB_NAMES for j in LIMB_JOINTS[limb])
"""24 joints: the order of every joint array and of the recorded kinematics."""

MUSCLE_NAMES = tuple(
    f"{joint}.{side}"
    for joint in JOINT_NAMES
    for side in (("left", "right") if joint.startswith("axis") else ("plus", "minus"))
)
"""48 muscles: muscle 2k pulls joint k positive (spine: to the left), muscle 2k + 1 negative."""

# --- Axis, fractions of the total length; x runs from the snout (0) to the tail tip (1) ---------------------------
JOINT_X = np.array([0.150, 0.257, 0.364, 0.471, 0.578, 0.685, 0.792, 0.900])
"""Spine joints along the body, fraction of total length, `[8]`."""

_BOUNDARIES = np.concatenate([[0.0], JOINT_X, [1.0]])
LINK_CENTRES = 0.5 * (_BOUNDARIES[:-1] + _BOUNDARIES[1:])
"""Link centres along the straight body, fraction of total length, `[9]`."""

LINK_EXTENTS = np.array(
    [  # length, width, height; the head's length is stretched from 0.11 so that it reaches from snout to neck
        [0.15, 0.08, 0.07],
        [0.10, 0.10, 0.08],
        [0.11, 0.10, 0.08],
        [0.12, 0.09, 0.08],
        [0.12, 0.06, 0.07],
        [0.12, 0.05, 0.06],
        [0.11, 0.04, 0.06],
        [0.11, 0.03, 0.06],
        [0.11, 0.03, 0.06],
    ]
)
"""Full extents (x, y, z) of the links, fraction of total length, `[9, 3]`. The tail is taller than wide."""

LINK_MASSES = 1e-6 * np.array([331.0, 514.0, 630.0, 528.0, 267.0, 209.0, 157.0, 119.0, 75.0])
"""Link masses, kg at the nominal length, `[9]`; they scale with length cubed."""

# --- Limbs, metres and kilograms at the nominal length -----------------------------------------------------------
GIRDLES = {"fore": (1, 0.0150, 0.004, -0.002), "hind": (3, 0.0461, 0.003, -0.002)}
"""Per girdle: link that carries it, distance behind the snout, sideways offset (left +), height, m."""

LIMB_SEGMENT = 0.005
"""Length of upper and lower limb, m."""
LIMB_RADIUS = 0.001
"""Radius of the limb capsules, m."""
FOOT_RADIUS = 0.0012
"""Radius of the foot sphere, m."""
LIMB_MASSES = (19.9e-6, 19.9e-6, 7.2e-6)
"""Masses of upper limb, lower limb, foot, kg."""

# --- Muscles (Ekeberg 1993), at the nominal length; torque and inertia both scale with length to the fifth -------
AXIAL_MUSCLES = np.array(
    [  # alpha N m, beta N m/rad, delta N m s/rad: f_n = 15 Hz, critically damped, pi/4 at full one-sided activation
        [2.531e-4, 1.612e-4, 4.384e-6],
        [1.379e-3, 8.786e-4, 2.229e-5],
        [3.246e-3, 2.068e-3, 4.880e-5],
        [3.082e-3, 1.963e-3, 4.685e-5],
        [3.074e-3, 1.958e-3, 4.385e-5],
        [1.299e-3, 8.274e-4, 1.910e-5],
        [2.642e-4, 1.682e-4, 4.179e-6],
        [1.402e-5, 8.932e-6, 2.404e-7],
    ]
)
"""Gain alpha, stiffness gain beta and damping delta of the 8 spine joints, `[8, 3]`."""

LIMB_MUSCLE = (3.0e-4, 2.0e-4, 5.0e-6)
"""alpha (N m), beta (N m/rad), delta (N m s/rad) of every limb joint."""

MUSCLE_GAMMA = 1.0
"""Passive stiffness as a multiple of beta, no unit."""

MAX_ACTIVATION = np.array([1.0] * 16 + [4.0] * 32)
"""Largest activations, `[48]`; the engine clamps to [0, this]. 1 is full one-sided activation; the limbs' antagonists
may co-contract more strongly. Spines driven harder than 1.25 at random throw the dry animal about so fast (its joints
then
turn by more than half a radian per 2 ms step) that the integration fails."""

ARMATURE = 3e-8
"""Extra rotational inertia of the limb joints, kg m^2: keeps the 5 mm limbs integrable at a 2 ms step."""

JOINT_LIMITS = np.radians(np.array([90.0] * 8 + [120.0] * 16))
"""Joint range is plus and minus this, rad, `[24]`. The recorded elbows reach 103 degrees."""

# --- Postures, rad [24] ------------------------------------------------------------------------------------------
_FORE_WALK, _HIND_WALK = (-31.6, -8.1, 48.8, 82.1), (-11.7, -7.5, 49.4, 52.1)
WALK_REST = np.radians(np.array([0.0] * 8 + [*_FORE_WALK, *_FORE_WALK, *_HIND_WALK, *_HIND_WALK]))
"""Mean of the recorded walking cycle, left and right averaged: standing. Also the muscles' rest angles phi_0."""

SWIM_REST = np.radians(np.array([0.0] * 8 + [70.0, 0.0, 0.0, 0.0] * 4))
"""Limbs folded back along the body by 70 degrees, as animals swim."""


def joint_index(name: str) -> int:
    """Position of a joint in `JOINT_NAMES`.

    Raises:
        ValueError: No joint has this name.

    >>> joint_index("limb.hind.right.knee")
    23
    """
    if name not in JOINT_NAMES:
        raise ValueError(f"a joint is named as in sim.anatomy.JOINT_NAMES, e.g. 'axis.3'; received {name!r}")
    return JOINT_NAMES.index(name)
