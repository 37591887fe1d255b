"""The body plan is consistent with itself and with the recorded animal."""

import csv

import numpy as np

from sim import anatomy


def test_the_links_tile_the_body_and_weigh_with_the_limbs_three_grams():
    edges = np.concatenate([[0.0], anatomy.JOINT_X, [1.0]])
    assert np.allclose(anatomy.LINK_CENTRES, 0.5 * (edges[1:] + edges[:-1]))
    assert (np.diff(edges) > 0).all()
    total = anatomy.LINK_MASSES.sum() + 4 * sum(anatomy.LIMB_MASSES)
    assert abs(total - 3.02e-3) < 0.01e-3
    ellipsoids = np.pi / 6 * anatomy.LINK_EXTENTS.prod(axis=1) * anatomy.NOMINAL_LENGTH**3
    assert (anatomy.LINK_MASSES / ellipsoids < 1600).all()  # between an ellipsoid and a cylinder of that size


def test_joints_stand_in_the_order_of_the_recorded_cycle(data_folder):
    with open(data_folder / "salamander" / "walking_data_karakasiliotis_processed.csv") as file:
        header = next(csv.reader(file))[1:]
    words = {"Left": "left", "Right": "right", "Shoulder": "fore", "Elbow": "fore", "Hip": "hind", "Knee": "hind"}
    for column, name in zip(header, anatomy.JOINT_NAMES, strict=True):
        if column.startswith("Axis"):
            assert name == f"axis.{column.split()[1]}"
            continue
        side, joint = column.split()
        part = joint.split("-")[-1].lower()
        assert name == f"limb.{words[joint.split('-')[0]]}.{words[side]}.{part}"


def test_the_resting_posture_is_the_mean_of_the_recorded_walk(data_folder):
    with open(data_folder / "salamander" / "walking_data_karakasiliotis_processed.csv") as file:
        rows = list(csv.reader(file))[1:]
    mean = np.array([[float(v) for v in row[1:]] for row in rows]).mean(axis=0)
    assert np.abs(mean[8:] - np.degrees(anatomy.WALK_REST[8:])).max() < 1.0
    assert np.abs(mean[:8]).max() < 1.0


def test_left_and_right_are_built_alike():
    rest, muscles = anatomy.WALK_REST, np.array(anatomy.MUSCLE_NAMES).reshape(24, 2)
    for fore_hind in ("fore", "hind"):
        left, right = (
            [anatomy.joint_index(j) for j in anatomy.LIMB_JOINTS[f"{fore_hind}.{side}"]] for side in ("left", "right")
        )
        assert np.array_equal(rest[left], rest[right])
    assert all(name.endswith((".left", ".plus")) for name in muscles[:, 0])
    assert all(name.endswith((".right", ".minus")) for name in muscles[:, 1])
    assert len(set(anatomy.MUSCLE_NAMES)) == 48
