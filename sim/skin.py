"""The animal's look: a smooth newt drawn over the links as MuJoCo skins. No mass, no contact, no fluid.

A mesh is built in the straight pose, in fractions of the total length with the snout at the origin, and each vertex
follows one or two bodies. Two skins: the animal itself (trunk, tail, limbs, toes, eyes; one painted texture) and the
fin.
"""

from dataclasses import dataclass, field

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim import anatomy
from sim.paint import BODY_PATCH, EYE_PATCH, LIMB_PATCH

__all__ = ["add_skin"]

Array = NDArray[np.float64]

# Along the body: fraction of length, half width, height of the back above and of the belly below the axis.
_PROFILE = np.array(
    [
        [0.000, 0.004, 0.003, 0.003],
        [0.004, 0.015, 0.009, 0.008],
        [0.015, 0.025, 0.016, 0.013],
        [0.040, 0.037, 0.025, 0.020],
        [0.075, 0.045, 0.032, 0.026],
        [0.105, 0.044, 0.034, 0.029],
        [0.145, 0.036, 0.031, 0.030],
        [0.190, 0.041, 0.034, 0.035],
        [0.260, 0.049, 0.039, 0.041],
        [0.350, 0.049, 0.040, 0.042],
        [0.420, 0.042, 0.037, 0.038],
        [0.480, 0.032, 0.034, 0.033],
        [0.560, 0.023, 0.031, 0.028],
        [0.660, 0.018, 0.029, 0.025],
        [0.780, 0.013, 0.025, 0.021],
        [0.880, 0.009, 0.019, 0.015],
        [0.960, 0.005, 0.010, 0.008],
        [1.000, 0.001, 0.001, 0.001],
    ]
)
# Of the fin: fraction of length, height above the back, depth below the belly.
_FIN = np.array(
    [
        [0.44, 0.000, 0.000],
        [0.52, 0.006, 0.001],
        [0.62, 0.014, 0.008],
        [0.74, 0.019, 0.014],
        [0.86, 0.019, 0.015],
        [0.95, 0.012, 0.010],
        [1.00, 0.001, 0.001],
    ]
)
_AROUND, _BLEND = 28, 0.045  # vertices around a cross-section; half width over which two links share the skin


@dataclass
class _Mesh:
    """Vertices in body lengths, texture coordinates, triangles, and which bodies each vertex follows."""

    points: list[Array] = field(default_factory=list)
    texture: list[Array] = field(default_factory=list)
    faces: list[NDArray[np.int64]] = field(default_factory=list)
    weights: dict[str, list[tuple[NDArray[np.int64], Array]]] = field(default_factory=dict)
    size: int = 0

    def add_grid(self, points: Array, texture: Array, weights: dict[str, Array], *, flip: bool = False) -> None:
        """Add a sheet of `points [N, M, 3]` with `texture [N, M, 2]` and per-body weights, each `[N]`."""
        rows, columns = points.shape[:2]
        index = self.size + np.arange(rows * columns).reshape(rows, columns)
        a, b, c, d = (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:])
        order = [(a, b, c), (b, d, c)] if not flip else [(a, c, b), (b, c, d)]
        self.faces += [np.stack(corner, axis=-1).reshape(-1, 3) for corner in order]
        self.points.append(points.reshape(-1, 3))
        self.texture.append(texture.reshape(-1, 2))
        for body, weight in weights.items():
            per_vertex = np.repeat(np.broadcast_to(weight, rows), columns)
            used = per_vertex > 1e-6
            if not used.any():
                continue
            self.weights.setdefault(body, []).append((index.ravel()[used], per_vertex[used]))
        self.size += rows * columns


def add_skin(spec: mujoco.MjSpec, length: float) -> None:
    """Dress the animal of `sim.body` that is already in the specification; materials "newt" and "fin" must exist."""
    animal, fin = _Mesh(), _Mesh()
    _add_trunk(animal)
    for side in (1.0, -1.0):
        _add_eye(animal, side)
    for limb in anatomy.LIMB_NAMES:
        _add_limb(animal, limb)
    _add_fin(fin)
    for name, mesh in (("newt", animal), ("fin", fin)):
        skin = spec.add_skin(name=name, material=name)
        skin.vert = (length * np.concatenate(mesh.points)).ravel()
        skin.texcoord = np.concatenate(mesh.texture).ravel()
        skin.face = np.concatenate(mesh.faces).ravel()
        bodies = list(mesh.weights)
        skin.bodyname = bodies
        skin.bindpos = np.concatenate([length * _origin(body) for body in bodies])
        skin.bindquat = np.tile([1.0, 0.0, 0.0, 0.0], len(bodies))
        skin.vertid = [np.concatenate([ids for ids, _ in mesh.weights[b]]).tolist() for b in bodies]
        skin.vertweight = [np.concatenate([w for _, w in mesh.weights[b]]).tolist() for b in bodies]


def _origin(body: str) -> Array:
    """Origin of a body's frame in the straight pose, body lengths."""
    if body.startswith("link."):
        link = int(body.removeprefix("link."))
        return np.array([-anatomy.JOINT_X[link - 1] if link else 0.0, 0.0, 0.0])
    _, girdle, side_name, part = body.split(".")
    side = 1.0 if side_name == "left" else -1.0
    _, behind, sideways, up = anatomy.GIRDLES[girdle]
    reach = anatomy.LIMB_SEGMENT if part == "lower" else 0.0
    return np.array([-behind, side * (sideways + reach), up]) / anatomy.NOMINAL_LENGTH


def _smooth(x: Array, table: Array, column: int) -> Array:
    """Interpolate a profile and round its corners; the ends stay."""
    fine = np.linspace(0, 1, 401)
    values = np.interp(fine, table[:, 0], table[:, column])
    kernel = np.hanning(21) / np.hanning(21).sum()
    soft = np.convolve(np.pad(values, 10, mode="edge"), kernel, mode="valid")
    keep = np.clip(np.minimum(fine, 1 - fine) / 0.03, 0, 1)
    return np.interp(x, fine, keep * soft + (1 - keep) * values)


def _link_weights(x: Array) -> dict[str, Array]:
    """Which links a cross-section at fraction `x` of the length follows: two of them close to a joint."""
    after = [np.clip((x - joint) / (2 * _BLEND) + 0.5, 0, 1) for joint in anatomy.JOINT_X]
    after = [w * w * (3 - 2 * w) for w in after]
    steps = [np.ones_like(x), *after, np.zeros_like(x)]
    return {name: steps[i] - steps[i + 1] for i, name in enumerate(anatomy.LINK_NAMES)}


def _patch(u: Array, v: Array, patch: tuple[float, float]) -> Array:
    """Texture coordinates inside a vertical strip of the picture."""
    return np.stack(np.broadcast_arrays(patch[0] + u * (patch[1] - patch[0]), v), axis=-1)


def _add_trunk(mesh: _Mesh) -> None:
    x = np.concatenate([np.array([0.0, 0.002, 0.004, 0.008, 0.015, 0.025]), np.linspace(0.04, 1.0, 90)])
    around = np.linspace(0, 2 * np.pi, _AROUND + 1)  # 0 at the belly, pi at the back; up the left side first
    width, back, belly = (_smooth(x, _PROFILE, k)[:, None] for k in (1, 2, 3))
    y = width * np.sign(np.sin(around)) * np.abs(np.sin(around)) ** 0.9
    z = np.where(np.cos(around) < 0, -np.cos(around) * back, -np.cos(around) * 0.95 * belly)
    points = np.stack(np.broadcast_arrays(-x[:, None], y, z), axis=-1)
    mesh.add_grid(points, _patch(x[:, None], around / (2 * np.pi), BODY_PATCH), _link_weights(x), flip=True)


def _add_fin(mesh: _Mesh) -> None:
    x = np.linspace(_FIN[0, 0], 1.0, 60)
    up = np.linspace(0, 1, 5)
    for column, edge, sign in ((1, 2, 1.0), (2, 3, -1.0)):
        rise, base = np.interp(x, _FIN[:, 0], _FIN[:, column]), _smooth(x, _PROFILE, edge)
        z = sign * (base[:, None] * (0.8 + 0.2 * up) + rise[:, None] * up)
        for side in (1.0, -1.0):
            y = side * 0.0025 * (1 - up) * np.minimum(1, _smooth(x, _PROFILE, 1) / 0.01)[:, None]
            points = np.stack(np.broadcast_arrays(-x[:, None], y, z), axis=-1)
            texture = np.stack(np.broadcast_arrays(x[:, None], up), axis=-1)
            mesh.add_grid(points, texture, _link_weights(x), flip=side * sign > 0)


def _ellipsoid(centre: Array, axes: Array, pole: Array, rows: int = 9, columns: int = 14) -> tuple[Array, Array]:
    """Points `[rows, columns + 1, 3]` of an ellipsoid, rows from the pole on, and their polar angle over pi."""
    a = np.cross(pole, [0.3, 0.2, 0.93])
    a /= np.linalg.norm(a)
    b = np.cross(pole, a)
    theta, phi = np.linspace(0, np.pi, rows)[:, None, None], np.linspace(0, 2 * np.pi, columns + 1)[:, None]
    unit = np.cos(theta) * pole + np.sin(theta) * (np.cos(phi) * a + np.sin(phi) * b)
    return centre + axes * unit, np.broadcast_to(theta[..., 0] / np.pi, (rows, columns + 1))


def _add_eye(mesh: _Mesh, side: float) -> None:
    pole = np.array([0.25, 0.80 * side, 0.55])
    points, u = _ellipsoid(
        np.array([-0.052, 0.0315 * side, 0.0205]), np.full(3, 0.0105), pole / np.linalg.norm(pole), 13, 18
    )
    mesh.add_grid(points, _patch(u, np.full_like(u, 0.5), EYE_PATCH), {"link.0": np.ones(len(points))}, flip=True)


def _add_limb(mesh: _Mesh, limb: str) -> None:
    upper, lower = f"limb.{limb}.upper", f"limb.{limb}.lower"
    side = 1.0 if limb.endswith("left") else -1.0
    stout = 1.0 if limb.startswith("fore") else 1.15
    segment, root = anatomy.LIMB_SEGMENT / anatomy.NOMINAL_LENGTH, _origin(upper)
    along = np.linspace(-0.2, 2.0, 30)  # in segments: 0 the shoulder, 1 the elbow, 2 the wrist
    radius = stout * np.interp(along, [-0.2, 0.0, 0.5, 1.0, 1.35, 2.0], [0.012, 0.0165, 0.014, 0.0115, 0.0125, 0.0075])
    around = np.linspace(0, 2 * np.pi, 13)
    ring = np.stack([side * np.sin(around), np.zeros(13), np.cos(around)], axis=-1)
    centre = root + np.outer(segment * along, [0.0, side, 0.0])
    bend = np.clip((along - 0.75) / 0.5, 0, 1)
    v = np.broadcast_to(around / (2 * np.pi), (30, 13))
    u = np.broadcast_to((along[:, None] + 0.2) / 2.5, (30, 13))
    mesh.add_grid(
        centre[:, None] + radius[:, None, None] * ring, _patch(u, v, LIMB_PATCH), {upper: 1 - bend, lower: bend}
    )
    _add_foot(mesh, limb, lower, root + [0.0, 2 * side * segment, 0.0], side)


def _add_foot(mesh: _Mesh, limb: str, lower: str, wrist: Array, side: float) -> None:
    """A flat palm and splayed toes, level when the animal stands at rest."""
    turn = _standing(limb, side)  # from the lower limb's frame to the world
    forward, out, up = (turn.T @ axis for axis in (np.eye(3)[0], np.eye(3)[1] * side, np.eye(3)[2]))
    toes, spread, reach = (4, 38.0, 0.024) if limb.startswith("fore") else (5, 50.0, 0.028)
    down = anatomy.FOOT_RADIUS / anatomy.NOMINAL_LENGTH
    palm = wrist - 0.55 * down * up
    ones = np.ones
    unit, u = _ellipsoid(np.zeros(3), np.ones(3), np.array([0.0, 0.0, 1.0]))
    points = palm + unit @ np.stack([0.012 * forward, 0.011 * out, 0.006 * up])
    mesh.add_grid(points, _patch(0.5 + 0.5 * u, u, LIMB_PATCH), {lower: ones(len(points))}, flip=side > 0)
    axis = 0.85 * forward + 0.5 * out
    axis /= np.linalg.norm(axis)
    across = np.cross(up, axis)
    t = np.linspace(0, 1, 6)
    around = np.linspace(0, 2 * np.pi, 8)
    for angle in np.radians(np.linspace(-spread, spread, toes)):
        ray = np.cos(angle) * axis + np.sin(angle) * across
        length = reach * (1 - 0.25 * abs(angle) / np.radians(spread))
        centre = palm + np.outer(length * t, ray) - np.outer(0.35 * down * t, up)
        radius = 0.0042 * np.array([1.0, 0.9, 0.8, 0.8, 0.7, 0.05])
        ring = np.outer(np.cos(around), up) + np.outer(np.sin(around), np.cross(ray, up))
        points = centre[:, None] + radius[:, None, None] * ring
        uv = _patch(np.broadcast_to(0.8 + 0.2 * t[:, None], (6, 8)), np.zeros((6, 8)), LIMB_PATCH)
        mesh.add_grid(points, uv, {lower: ones(6)})


def _standing(limb: str, side: float) -> Array:
    """Rotation of the lower limb at rest on land, from its own frame to that of the trunk, `[3, 3]`."""
    rest = anatomy.WALK_REST
    yaw, pitch, roll, last = (rest[anatomy.joint_index(name)] for name in anatomy.LIMB_JOINTS[limb])

    def about(axis: int, angle: float) -> Array:
        i, j = (axis + 1) % 3, (axis + 2) % 3
        matrix = np.eye(3)
        matrix[[i, j], [i, j]] = np.cos(angle)
        matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
        return matrix

    return about(2, side * yaw) @ about(0, side * pitch) @ about(1, roll) @ about(2, -side * last)
