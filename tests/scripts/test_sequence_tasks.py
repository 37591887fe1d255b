"""Tasks that need memory: their definitions, and what the scripts leave behind."""

import csv
import math

import pytest
import torch

from rnn.objectives import cross_entropy, reduce_steps
from rnn.tasks import SYMBOLS, adding, copying, copying_baseline, digits, late_answer, temporal_order


def generator():
    return torch.Generator().manual_seed(0)


def test_the_answer_to_adding_is_the_sum_of_the_two_marked_values():
    us, ys, mask = adding(50, 200, generator())
    assert (us[..., 1].sum(0) == 2).all() and (us[:25, :, 1].sum(0) == 1).all()
    assert torch.allclose(ys[-1, :, 0], (us[..., 0] * us[..., 1]).sum(0))
    assert mask.sum() == 200 and mask[-1].all()
    always_one = (ys[-1, :, 0] - 1).square().mean().item()
    assert always_one == pytest.approx(1 / 6, rel=0.2)


def test_copying_asks_for_the_symbols_after_the_delay_and_guessing_costs_the_baseline():
    us, labels, mask = copying(30, 100, generator())
    assert us.shape == (50, 100, 10) and (us.argmax(-1)[:10] == labels[-10:]).all()
    assert (us.argmax(-1)[39] == SYMBOLS + 1).all() and (labels[:40] == SYMBOLS).all()
    guess = torch.zeros(50, 100, 9)
    guess[:40, :, SYMBOLS] = 100.0
    guess[40:, :, SYMBOLS] = -100.0
    assert reduce_steps(cross_entropy(guess, labels), mask).item() == pytest.approx(copying_baseline(30), rel=1e-5)


def test_temporal_order_and_late_answers_are_where_they_are_said_to_be():
    us, labels, _ = temporal_order(100, 50, generator())
    seen = us.argmax(-1)
    for row in range(50):
        (places,) = torch.nonzero(seen[:, row] >= 4, as_tuple=True)
        first, second = places.tolist()
        assert 10 <= first < 20 and 50 <= second < 60
        assert labels[-1, row] == 2 * (seen[first, row] - 4) + (seen[second, row] - 4)
    us, labels, _ = late_answer(20, 40, generator())
    assert ((us[0, :, 0] > 0).long() == labels[-1]).all() and us[1:-1, :, 0].std() < 0.3


@pytest.mark.parametrize("make, steps", [(adding, 1), (temporal_order, 9), (copying, 0), (late_answer, 0)])
def test_tasks_too_short_to_be_posed_are_refused(make, steps):
    with pytest.raises(ValueError, match=f"received {steps}"):
        make(steps, 4, generator())
    assert make(steps + 1, 4, generator()).us.isfinite().all()


def test_digits_by_row_and_pixel_are_the_same_images_and_splits_do_not_overlap():
    by_row, by_pixel = digits(), digits(by="pixel")
    assert by_row[0].us.shape == (8, 1348, 8) and by_pixel[1].us.shape == (64, 449, 1)
    assert torch.equal(by_row[1].us.transpose(0, 1).flatten(1), by_pixel[1].us[..., 0].T)


def test_the_script_solves_a_short_delay_with_a_gated_cell_and_writes_its_curves(script, tmp_path):
    module = script("sequence_tasks")
    args = module.Args(
        task="late_answer",
        cells=("gru", "frame"),
        delay=12,
        hidden=12,
        iterations=300,
        lr=1e-2,
        out=tmp_path,
        table=tmp_path / "all.csv",
        quiet=True,
    )
    gru, frame = module.main(args)
    assert gru["solved"] and gru["accuracy"] > 0.97
    assert not frame["solved"] and frame["loss"] == pytest.approx(math.log(2), abs=0.05)
    with (tmp_path / "summary.csv").open() as file:
        assert [row["cell"] for row in csv.DictReader(file)] == ["gru", "frame"]
    assert (tmp_path / "curves.png").stat().st_size > 5000
    module.keep(tmp_path / "all.csv", {**gru, "solved": False})  # done again: in place of the older row
    table = (tmp_path / "all.md").read_text()
    assert "| late_answer | 12 | gru | 0 of 1 |" in table and "| late_answer | 12 | frame | 0 of 1 |" in table
    with pytest.raises(ValueError, match="unknown cell 'gruu'"):
        module.main(module.Args(cells=("gruu",), out=tmp_path))
    with pytest.raises(ValueError, match="the tasks are"):
        module.main(module.Args(task="sorting", out=tmp_path))


@pytest.mark.parametrize("cell", ["lru", "orthogonal"])
def test_ten_symbols_are_copied_over_sixty_blanks_by_cells_whose_gradients_last(script, tmp_path, cell):
    module = script("sequence_tasks")
    args = module.Args(cells=(cell,), delay=60, hidden=64, iterations=300, seeds=(7,), out=tmp_path, quiet=True)
    (row,) = module.main(args)
    assert row["solved"] and row["accuracy"] > 0.9


def test_the_ground_is_felt_from_the_joints_and_memory_helps(script, tmp_path):
    module = script("motion_sequences")
    args = module.Args(task="phase", cells=("gru", "frame"), rows=60, seconds=2.0, iterations=60, hidden=24,
                       noise=0.3, out=tmp_path, quiet=True)  # fmt: skip
    gru, frame = module.main(args)
    assert gru["accuracy"] > frame["accuracy"] > 0.3  # a guess is right in a quarter
    assert (tmp_path / "phase.png").exists()


@pytest.mark.parametrize("task", ["ground", "order", "score", "continue"])
def test_every_setting_of_motion_sequences_runs_and_measures(script, tmp_path, task):
    module = script("motion_sequences")
    args = module.Args(
        task=task, cells=("gru",), rows=16, seconds=3.0, iterations=4, hidden=8, out=tmp_path, quiet=True
    )
    (row,) = module.main(args)
    numbers = [value for value in row.values() if isinstance(value, float)]
    assert len(numbers) >= 2 and all(math.isfinite(value) for value in numbers)
    assert (tmp_path / f"{task}.png").exists()


def test_all_tasks_and_seeds_fill_one_table_with_medians(script, tmp_path):
    module = script("motion_sequences")
    table = tmp_path / "table.csv"
    args = module.Args(task="all", cells=("frame",), seeds=(3, 4), rows=16, seconds=2.0, iterations=2, hidden=4,
                       out=tmp_path / "out", table=table, quiet=True)  # fmt: skip
    rows = module.main(args)
    assert [(row["task"], row["seed"]) for row in rows] == [(task, seed) for seed in (3, 4) for task in module.TASKS]
    first, second = (row["accuracy"] for row in rows if row["task"] == "phase")
    low, high = sorted((first, second))
    lines = table.with_suffix(".md").read_text().splitlines()
    line = next(line for line in lines if "| phase | accuracy | 2 |" in line)
    assert f"{(low + high) / 2:.3g} ({low:.3g} to {high:.3g}, 2)" in line
    with pytest.raises(ValueError, match="score, continue and all"):
        module.main(module.Args(task="dance", out=tmp_path))
