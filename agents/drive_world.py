"""Salamanders under drives, read ten times a second: what a model of the animal is learned from and plans with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from agents.body_mirror import sense_mirror
from agents.motor import SpinalMotor
from rnn.cell import map_state
from rnn.cpg import PhaseCell, drive_input
from sim.anatomy import JOINT_NAMES, LIMB_NAMES, LINK_NAMES
from sim.arena import get_world, ground_height
from sim.salamander import Salamander
from sim.salamander_tasks import GRAVITY

__all__ = [
    "BODY",
    "CLEARANCE",
    "READINGS",
    "SUBMERGED",
    "DriveWorlds",
    "RandomDrives",
    "drives_of",
    "log",
    "mirrored",
    "path",
    "scatter",
]

Array = NDArray[np.float64]

STATIONS = (0, 4, 8)
"""Axial links under which the ground is felt: head, pelvis, end of the tail."""
REACH = 0.15
"""Height up to which it is, BL: some four times the height at which the belly drags (0.04 BL)."""
BODY = "newt under drives"
"""What a model of it is of (`rnn.dynamics.Body`)."""
READINGS = (
    *(f"joint_angle.{name}" for name in JOINT_NAMES),
    *(f"up.{axis}" for axis in "xyz"),
    *(f"touch.{limb}" for limb in LIMB_NAMES),
    *(f"submerged.{link}" for link in LINK_NAMES),
    *(f"clearance.{LINK_NAMES[k]}" for k in STATIONS),
    *("ahead", "left", "turn"),
)
"""Joint angles (rad), the vertical in the trunk's frame, force on each foot (body weights), submerged part of each
axial link, height of three links above the ground as far as it is felt (BL), and the displacement since the last
reading in the trunk's frame at that time (BL, BL, rad)."""
TOUCH = [k for k, name in enumerate(READINGS) if name.startswith("touch")]
"""Readings of the loads on the feet."""
SUBMERGED = [k for k, name in enumerate(READINGS) if name.startswith("submerged")]
"""Readings of how deep the animal is in the water. A swimmer that drags its belly is as wet as one that floats."""
CLEARANCE = [k for k, name in enumerate(READINGS) if name.startswith("clearance")]
"""Readings of how near the ground is."""
SHALLOWS = (-0.6, 1.3)
"""From the waterline into the water, BL: from dry ground to where the feet just reach the bottom."""


SWITCHES = (((1.0, 0.0), -1.75 / 2.25), ((1.0, 0.0), 0.25 / 2.25), ((2.25, 1.0), -1.75), ((2.25, -1.0), -1.75))
"""Directions and bounds in the actions at which something begins: mean drives of 1, where the animal no longer rests,
and of 3, above which it swims; and a drive of 1 on the left, and on the right, below which that side is still
(`rnn.cpg.phase.DriveLaw`)."""


def drives_of(actions: ArrayLike) -> tuple[Array, Array]:
    """Left and right drive [B] of actions [B, 2] in [-1, 1]: mean drive 0.5 to 5, and half of left minus right, +-1.

    >>> drives_of([[1.0, 0.0], [0.0, 0.5]])
    (array([5.  , 3.25]), array([5.  , 2.25]))
    """
    a = np.clip(np.asarray(actions, dtype=float), -1, 1)
    mean = 2.75 + 2.25 * a[:, 0]
    return mean + a[:, 1], mean - a[:, 1]


def path(readings: Tensor, position: Tensor, heading: Tensor) -> tuple[Tensor, Tensor]:
    """Positions [K, N, 2] (BL) and headings [K, N] (rad) that displacements lead to, from where the animals are.

    Args:
        readings: [K, N, D], in the order of `READINGS`.
        position: [N, 2].
        heading: [N].

    >>> once = torch.zeros(2, 1, len(READINGS)); once[..., -3], once[..., -1] = 1.0, torch.pi / 2
    >>> path(once, torch.zeros(1, 2), torch.zeros(1))[0].round().flatten().tolist()  # ahead, a quarter turn, ahead
    [1.0, 0.0, 1.0, 1.0]
    """
    after = heading + readings[..., -1].cumsum(0)
    before = torch.cat([heading[None], after[:-1]])
    ahead, left = readings[..., -3], readings[..., -2]
    x = before.cos() * ahead - before.sin() * left
    y = before.sin() * ahead + before.cos() * left
    return position + torch.stack([x, y], -1).cumsum(0), after


def mirrored(readings: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """What the image of an animal in a mirror reads [..., D] and does [..., A]: left is right, which nature allows.

    Actions are two, and after them, if any, angles that are asked of the joints, 24 at a time.

    >>> once = torch.zeros(len(READINGS)); once[READINGS.index("touch.fore.left")] = 1.0
    >>> image, action = mirrored(once, torch.tensor([0.2, 0.7]))
    >>> READINGS[int(image.argmax())], action.tolist()
    ('touch.fore.right', [0.20000000298023224, -0.699999988079071])
    """
    image, joints = sense_mirror(READINGS), sense_mirror(READINGS[: len(JOINT_NAMES)])
    does = [actions[..., :2] * actions.new_tensor([1.0, -1.0])]
    for angles in actions[..., 2:].split(len(JOINT_NAMES), -1) if actions.shape[-1] > 2 else ():
        does.append(joints.of(angles))
    return image.of(readings), torch.cat(does, -1)


class DriveWorlds:
    """B salamanders whose muscles follow a spinal network; what acts sets two numbers, ten times a second.

    Args:
        num_worlds: B.
        world: "pool", "land", "shore" ...
        hold: control steps (10 ms) between readings.
        threads: of the physics.

    >>> worlds = DriveWorlds(2, world="land", threads=1)
    >>> worlds.start().shape, worlds.step(np.zeros((2, 2))).shape
    ((2, 46), (2, 46))
    """

    def __init__(self, num_worlds: int, *, world: str = "pool", hold: int = 10, threads: int = 1):
        self.num_worlds, self.world, self.hold = num_worlds, world, hold
        self.body = Salamander(num_worlds, world=world, threads=threads)
        self.cell, self.motor = PhaseCell(dt=self.body.dt).eval(), SpinalMotor()
        self.state: Any = self.cell.initial_state(num_worlds)
        self.trace: list[dict[str, Array]] | None = None
        """Set to a list to keep the generalised coordinates of every control step (for films)."""

    def start(self, position: ArrayLike = (0.0, 0.0), heading: ArrayLike = 0.0) -> Array:
        """Put the animals at rest, snout at `position` (BL, [2] or [B, 2]); readings [B, D]."""
        self.body.reset(position=np.asarray(position, dtype=float) * self.body.length, heading=heading)
        self.state = self.cell.initial_state(self.num_worlds)
        return self._read(*self.pose())

    def pose(self) -> tuple[Array, Array]:
        """Centre of mass [B, 2] (BL) and heading [B] (rad): the truth, which no reading tells."""
        return self.body.centre_of_mass()[:, :2] / self.body.length, self.body.heading()

    @torch.inference_mode()
    def step(self, actions: ArrayLike) -> Array:
        """Act [B, 2] for the time of a reading; readings [B, D] at its end.

        Raises:
            ValueError: the wrong number of actions.
            FloatingPointError: the physics of a world diverged.
        """
        if np.shape(actions) != (self.num_worlds, 2):
            raise ValueError(f"actions have shape ({self.num_worlds}, 2), received {np.shape(actions)}")
        left, right = drives_of(actions)
        x = drive_input(self.cell, torch.as_tensor(left), torch.as_tensor(right), batch=self.num_worlds)
        before = self.pose()
        for _ in range(self.hold):
            y, self.state = self.cell(x, self.state)
            self.body.step(self.motor(y).numpy())
            if self.trace is not None:
                self.trace.append(self._moment(y, left, right))
        if self.body.diverged.any():
            raise FloatingPointError(f"worlds {np.flatnonzero(self.body.diverged).tolist()} diverged; start them anew")
        return self._read(*before)

    def _moment(self, y: Tensor, left: Array, right: Array) -> dict[str, Array]:
        """What a film needs of this step: the body, the activity of the axial oscillators, the drives."""
        return {
            "qpos": self.body.qpos().copy(),
            "link_positions": self.body.link_positions().copy(),
            "neurons": y[:, : 2 * self.cell.segments].numpy().copy(),
            "drive": np.stack([left, left, right, right], 1),
        }

    def _read(self, position: Array, heading: Array) -> Array:
        body, (now, after) = self.body, self.pose()
        step, cos, sin = now - position, np.cos(heading), np.sin(heading)
        ahead, left = cos * step[:, 0] + sin * step[:, 1], cos * step[:, 1] - sin * step[:, 0]
        turn = np.remainder(after - heading + np.pi, 2 * np.pi) - np.pi
        touch = body.touch() / (body.mass * GRAVITY)
        moved = np.stack([ahead, left, turn], 1)
        parts = [body.joint_angles(), body.vertical(), touch, body.submerged(), self.clearance(), moved]
        return np.concatenate(parts, 1)

    def clearance(self) -> Array:
        """Height of head, pelvis and tail above the ground [B, 3], BL, at most `REACH`."""
        place = self.body.link_positions()[:, STATIONS]
        height = place[..., 2] - ground_height(self.world, self.body.length, place[..., :2])
        return np.minimum(height / self.body.length, REACH)

    def get_state(self) -> dict[str, Any]:
        """Everything that the future depends on."""
        return {"body": self.body.get_state(), "cell": self.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Return to a state that worlds of the same number gave."""
        self.body.set_state(state["body"])
        self.state = state["cell"]

    def become(self, other: DriveWorlds, row: int) -> None:
        """Make every world a copy of one world of another."""
        state = other.get_state()

        def copies(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: copies(part) for key, part in value.items()}
            return np.repeat(value[row : row + 1], self.num_worlds, 0)

        cell = map_state(
            lambda part: part[row : row + 1].repeat(self.num_worlds, *[1] * (part.dim() - 1)), state["cell"]
        )
        self.set_state({"body": copies(state["body"]), "cell": cell})


class RandomDrives:
    """Drives drawn anew every now and then, kept for 0.3 to 2.5 s: half of the time straight ahead, and now and then at
    the ends of the range, which is where plans often end.

    Args:
        num_worlds: B.
        rng: source.
    """

    def __init__(self, num_worlds: int, rng: np.random.Generator):
        self.rng, self.left = rng, np.zeros(num_worlds, dtype=int)
        self.now = np.zeros((num_worlds, 2))

    def __call__(self) -> Array:
        """The actions of the next tenth of a second, [B, 2]."""
        for row in np.flatnonzero(self.left == 0):
            mean, turn = np.clip(self.rng.uniform(-1.2, 1.2, 2), -1, 1)
            self.now[row] = mean, 0.0 if self.rng.random() < 0.5 else turn
            self.left[row] = self.rng.integers(3, 26)
        self.left -= 1
        return self.now.copy()


def scatter(world: str, num_worlds: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Positions [B, 2] (BL) and headings [B] to begin with, any way round.

    On a shore from land and from water, and every second animal from the shallows, where swimming and walking change
    over: what a drive does there is neither what it does on land nor in the deep.
    """
    x = np.zeros(num_worlds)
    if world == "shore":
        x += get_world(world).waterline + rng.uniform(-1.5, 3.0, num_worlds)
        shallow = get_world(world).waterline + rng.uniform(*SHALLOWS, num_worlds)
        x[::2] = shallow[::2]
    return np.stack([x, np.zeros(num_worlds)], 1), rng.uniform(-np.pi, np.pi, num_worlds)


def log(world: str, num_worlds: int, steps: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Readings [T + 1, B, D] and actions [T, B, 2] under random drives."""
    rng = np.random.default_rng(seed)
    worlds, drives = DriveWorlds(num_worlds, world=world), RandomDrives(num_worlds, rng)
    readings, actions = [worlds.start(*scatter(world, num_worlds, rng))], []
    for _ in range(steps):
        actions.append(drives())
        readings.append(worlds.step(actions[-1]))
    return tuple(torch.as_tensor(np.array(part), dtype=torch.float32) for part in (readings, actions))  # type: ignore[return-value]
