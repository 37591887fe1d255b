"""Records: what is read, what is refused, and that nothing is lost between loading and cutting."""

import numpy as np
import pytest
import scipy.io
import torch

from rnn.data import Record, Scaling, check_training, cut, split
from rnn.loading import load_records, without_gaps


def wave(T=200, dt=0.1):
    t = np.arange(T) * dt
    return np.sin(t), np.cos(0.7 * t)


@pytest.mark.parametrize("form", ["npz", "csv", "semicolons", "mat"])
def test_the_same_record_comes_back_from_every_format(tmp_path, form):
    u, y = wave()
    u2 = np.stack([u, u**2], 1)
    path = tmp_path / f"record.{'csv' if form == 'semicolons' else form}"
    if form == "npz":
        np.savez(path, u=u2, y=y, dt=0.1)
    elif form == "mat":
        scipy.io.savemat(path, {"u": u2, "y": y, "dt": 0.1})
    else:
        mark = ";" if form == "semicolons" else ","
        table = np.column_stack([np.arange(200) * 0.1, u2, y])
        np.savetxt(path, table, delimiter=mark, header=mark.join(["t", "u0", "u1", "y"]), comments="", fmt="%.17g")
    options = {"time": "t"} if form in ("csv", "semicolons") else {}
    (record,) = load_records(path, **options)
    assert record.sizes == (2, 1) and record.dt == pytest.approx(0.1)
    assert np.array_equal(record.u, u2) and np.array_equal(record.y[:, 0], y)


def test_columns_are_chosen_by_number_and_trials_become_records(tmp_path):
    rows = np.column_stack(
        [np.repeat([0, 1], 50), np.tile(np.arange(50) * 0.2, 2), np.arange(100.0), -np.arange(100.0)]
    )
    np.savetxt(tmp_path / "tracked.txt", rows, header=" x v")
    records = load_records(tmp_path / "tracked.txt", outputs=["x"], inputs=["3"], time="1", trial="0")
    assert [len(r) for r in records] == [50, 50]
    assert records[1].y[0, 0] == 50 and records[1].u[0, 0] == -50 and records[1].dt == pytest.approx(0.2)


def test_sections_of_an_archive_become_records_and_an_unforced_system_has_no_inputs(tmp_path):
    np.savez(tmp_path / "a.npz", y_0=np.arange(30.0), y_1=np.arange(20.0), dt=0.5)
    records = load_records(tmp_path / "a.npz")
    assert [(len(r), *r.sizes) for r in records] == [(30, 0, 1), (20, 0, 1)]
    np.savez(tmp_path / "b.npz", u=np.zeros((30, 0)), y=np.arange(30.0), dt=0.5)
    assert load_records(tmp_path / "b.npz")[0].sizes == (0, 1)


def test_missing_samples_are_filled_in_and_long_gaps_cut():
    t = np.delete(np.arange(100) * 0.1, [20, 21, 50])
    (filled,) = without_gaps(Record(None, np.sin(t), 0.1), t)
    assert len(filled) == 100 and np.abs(filled.y[:, 0] - np.sin(np.arange(100) * 0.1)).max() < 1e-4
    t = np.delete(np.arange(100) * 0.1, np.arange(40, 50))
    assert [len(r) for r in without_gaps(Record(None, np.sin(t), 0.1), t)] == [40, 50]


@pytest.mark.parametrize(
    ("u", "y", "dt", "told"),
    [
        (np.zeros(10), np.zeros(11), 0.1, "u has 10 samples and y has 11"),
        (np.zeros(10), np.r_[np.zeros(4), np.nan, np.zeros(5)], 0.1, r"y\[4, 0\] is nan"),
        (np.r_[np.inf, np.zeros(9)], np.zeros(10), 0.1, r"u\[0, 0\] is inf"),
        (np.zeros(10), np.zeros(10), 0.0, "dt is 0"),
        (np.zeros(0), np.zeros(0), 0.1, "needs samples"),
        (np.zeros((2, 3, 4)), np.zeros(2), 0.1, "have shape"),
        (["a"] * 3, np.zeros(3), 0.1, "are not numbers"),
    ],
)
def test_broken_records_are_refused_with_the_reason(u, y, dt, told):
    with pytest.raises(ValueError, match=told):
        Record(u, y, dt)


def test_nothing_is_learned_from_constants_strangers_or_too_few_samples():
    u, y = wave()
    good = Record(u, y, 0.1)
    with pytest.raises(ValueError, match="output 0 of flat is constant"):
        check_training([Record(u, np.ones(200), 0.1, "flat")])
    with pytest.raises(ValueError, match="other has"):
        check_training([good, Record(np.stack([u, u], 1), y, 0.1, "other")])
    with pytest.raises(ValueError, match="resample"):
        check_training([good, Record(u, y, 0.2)])
    with pytest.raises(ValueError, match="at least 300"):
        check_training([good], 300)
    with pytest.raises(ValueError, match="no record"):
        check_training([])
    assert check_training([Record(np.ones(200), y, 0.1)]) == ["input 0 is constant (1) and tells nothing"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.xlsx", b"", "is not known; the formats are"),
        ("a.npz", b"PK broken", "damaged or no npz"),
        ("a.mat", b"MATLAB? no", "damaged or no MATLAB"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"t,speed\n0,1\n1,2\n", "which columns are outputs.*t, speed"),
        ("a.csv", b"y\n1\n2,3\n", "row 1 has 2 columns"),
        ("a.csv", b"y\n1\ntwo\n", "could not convert"),
    ],
)
def test_unreadable_files_are_refused_with_a_remedy(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=told):
        load_records(tmp_path / name, dt=1.0)


def test_missing_files_names_and_sampling_times_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_records(tmp_path / "none.npz")
    np.savez(tmp_path / "a.npz", y=np.arange(5.0))
    with pytest.raises(ValueError, match="sampling time; give `dt`"):
        load_records(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="has no 'z'; it has y"):
        load_records(tmp_path / "a.npz", outputs=["z"], dt=1.0)


def test_an_archive_of_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", y=np.array([{"evil": 1}], dtype=object), dt=1.0)
    with pytest.raises(ValueError, match="save numbers, not objects"):
        load_records(tmp_path / "a.npz")


def test_scaling_is_undone_exactly_and_constants_keep_their_size():
    u, y = wave()
    record = Record(np.stack([u, np.full_like(u, 3.0)], 1), 50 * y + 7, 0.1)
    scaling = Scaling.of([record])
    scaled = scaling.scale(record)
    assert scaled.y.std() == pytest.approx(1) and (scaled.u[:, 1] == 0).all()
    assert np.allclose(scaling.unscale(scaled.y), record.y)


def test_sections_cover_every_sample_once_and_padding_is_masked():
    records = [Record(None, np.arange(1.0, 24.0), 1.0), Record(None, np.arange(100.0, 110.0), 1.0)]
    sections = cut(records, 10, dtype=torch.float64)
    assert sections.mask.sum(0).tolist() == [10, 10, 3, 10]
    assert sections.ys[..., 0][sections.mask].sum() == sum(r.y.sum() for r in records)
    assert (sections.ys[..., 0][~sections.mask] == 0).all()
    short = sections.pick([2])
    assert short.us.shape == (3, 1, 0) and short.ys[:, 0, 0].tolist() == [21, 22, 23]


def test_sections_whose_last_step_alone_counts_keep_what_comes_before_it():
    sections = cut([Record(np.arange(6.0), np.arange(6.0), 1.0)] * 2)
    mask = torch.zeros_like(sections.mask)
    mask[4] = True
    picked = sections._replace(mask=mask).pick([1])
    assert picked.us[:, 0, 0].tolist() == [0, 1, 2, 3, 4] and picked.mask[:, 0].tolist() == [False] * 4 + [True]


def test_held_out_data_is_the_end_of_each_record_or_the_last_records():
    one = [Record(None, np.arange(100.0), 1.0)]
    train, valid = split(one, 0.3)
    assert train[0].y[-1, 0] == 69 and valid[0].y[0, 0] == 70
    train, valid = split(one * 10, 0.2)
    assert (len(train), len(valid)) == (8, 2)
