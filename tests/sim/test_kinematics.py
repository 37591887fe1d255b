import numpy as np
import pytest

from sim.anatomy import JOINT_NAMES
from sim.kinematics import COLUMN_JOINTS, JointCycle, load_cycle

HEADER = ["time", *COLUMN_JOINTS]
PHASE = np.arange(200) / 200
TABLE = np.c_[PHASE, 10 + 5 * np.cos(2 * np.pi * (PHASE[:, None] - np.arange(24) / 24))]


def write(path, table=TABLE, header=HEADER):
    lines = [",".join(header)] if header else []
    path.write_text("\n".join(lines + [",".join(map(repr, map(float, row))) for row in table]) + "\n")
    return path


def test_columns_are_the_joints_in_the_order_of_the_anatomy():
    assert tuple(COLUMN_JOINTS.values()) == JOINT_NAMES


def test_a_table_in_degrees_becomes_a_periodic_function_in_radians(tmp_path):
    cycle = load_cycle(write(tmp_path / "walk.csv"))
    assert cycle.joint_names == JOINT_NAMES
    phase = np.linspace(-2, 3, 501)
    truth = np.radians(10 + 5 * np.cos(2 * np.pi * (phase[:, None] - np.arange(24) / 24)))
    assert cycle(phase) == pytest.approx(truth, abs=1e-4)
    assert cycle.at(phase / 3.17, 3.17) == pytest.approx(truth, abs=1e-4)
    assert cycle(0.3).shape == (24,) and cycle(np.zeros((2, 5))).shape == (2, 5, 24)


def test_the_order_of_the_columns_and_a_missing_clock_do_not_matter(tmp_path):
    shuffled = np.random.default_rng(0).permutation(np.arange(1, 25))
    table, names = TABLE[:, shuffled], [HEADER[i] for i in shuffled]
    assert np.array_equal(
        load_cycle(write(tmp_path / "a.csv", table, names)).angles, load_cycle(write(tmp_path / "b.csv")).angles
    )


def test_files_without_header_are_read_in_the_standard_order(tmp_path):
    bare = load_cycle(write(tmp_path / "bare.csv", header=None))
    assert np.array_equal(bare.angles, load_cycle(write(tmp_path / "named.csv")).angles)
    assert load_cycle(write(tmp_path / "spine.csv", TABLE[:, :9], header=None)).joint_names == JOINT_NAMES[:8]


def test_a_cycle_that_does_not_close_is_closed_without_a_jump():
    phase = np.arange(1000) / 1000
    open_end = JointCycle(np.stack([np.sin(2 * np.pi * phase) + 0.2 * phase] * 8, axis=1), JOINT_NAMES[:8])
    fine = open_end(np.linspace(0, 2, 20001))
    assert np.abs(np.diff(fine, axis=0)).max() < 2.1 * (2 * np.pi + 0.2) / 10000
    assert open_end(phase[:900]) == pytest.approx(open_end.angles[:900])  # untouched but for the last tenth


@pytest.mark.parametrize("name", ["swimming_data_karakasiliotis", "walking_data_karakasiliotis"])
@pytest.mark.parametrize("suffix", ["", "_processed"])
def test_the_recorded_files_load_with_and_without_header_lines(name, suffix, data_folder):
    cycle = load_cycle(data_folder / "salamander" / f"{name}{suffix}.csv")
    assert cycle.angles.shape == (1000, 24 if "walking" in name else 8)
    assert np.degrees(np.ptp(cycle.angles[:, 5]) / 2) == pytest.approx(19.0 if "walking" in name else 31.5, abs=0.2)
    joined = cycle(np.linspace(0.85, 1.05, 201))
    assert np.degrees(np.abs(np.diff(joined, axis=0)).max()) < 1.5  # no joint jumps where the cycle closes


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no joint cycle at"):
        load_cycle(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("time,Axis 1\n", "0 rows of angles"),
        ("1,2,3\n1,2,3\n1,2,3\n1,2,3\n", "9 or 25 columns"),
        ("time,Axis 1,Axis 9\n" + "0,1,2\n" * 5, "unknown columns 'Axis 9'"),
        ("time,Axis 1\n" + "".join(f"{i},1\n" for i in range(5)), "no column for axis.2, axis.3"),
        ("Axis 1,axis.1\n" + "1,2\n" * 5, "occurs twice"),
        (",".join(HEADER[:9]) + "\n" + "0,1,2,3,4,5,6,7,8\n" * 5, "even steps"),
        (",".join(HEADER[1:9]) + "\n" + "1,2,3,4,5,6,7,8\n" * 4 + "1,2,3,4,nan,6,7,8\n", "line 6, column 'Axis 5'"),
        (",".join(HEADER[1:9]) + "\n" + "1,2,3,4,5,6,7,8\n" * 4 + "1,2,3,4,,6,7,8\n", "line 6, column 'Axis 5'"),
        (",".join(HEADER[1:9]) + "\n" + "1,2,3,4,5,6,7,8\n" * 4 + "1,2,3\n", "line 6: 3 values for 8 columns"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line_and_column(tmp_path, text, message):
    path = tmp_path / "cycle.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_cycle(path)


def test_binary_files_and_impossible_frequencies_are_refused(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x93numpy")
    with pytest.raises(ValueError, match="not a text file"):
        load_cycle(tmp_path / "x.csv")
    cycle = JointCycle(np.zeros((4, 8)), JOINT_NAMES[:8])
    for frequency in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="positive"):
            cycle.at(0.0, frequency)
