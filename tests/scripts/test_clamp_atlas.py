"""The atlas of clamps finds what steers, writes it so that it can be replayed, and goes on after an interruption."""

import csv
import json

import numpy as np
import pytest
import torch

from agents.atlas import Row, atlas_rows, best_levers, edit_of, edits_of, monotone, reach
from agents.directions import directions
from agents.gains import gains
from agents.imitation import build_cell
from agents.motion import Motion
from rnn import edits_from_json, unroll
from rnn.cpg import PhaseCell, drive_input


def invented(**columns):
    """Measures of an untouched animal and some others."""
    count = len(next(iter(columns.values())))
    plain = {
        "forward_speed": 0.6,
        "yaw_rate": 0.0,
        "frequency": 3.2,
        "uprightness": 1.0,
        "gait": 2.0,
        "amplitude": 30.0,
    }
    data = {name: np.full(count, value) for name, value in {**plain, "diverged": 0.0}.items()}
    return {**data, **{name: np.array(values, dtype=float) for name, values in columns.items()}}


def test_every_unit_pair_and_direction_meets_every_dose_and_the_first_row_is_untouched():
    cell = build_cell("gru", 5, Motion.load("both"))
    way = torch.ones(5)
    rows = atlas_rows(cell, [-1.0, 1.0], pairs=[(1, 3)], ways={"drive": way})
    assert len(rows) == 1 + 5 * 2 + 2 + 2 and torch.isnan(rows[0].hold).all()
    assert rows[1].name == "h[0]" and rows[11].name == "h[1]+h[3]" and rows[11].hold[[1, 3]].tolist() == [-1.0, -1.0]
    assert rows[-1].push.tolist() == [1.0] * 5
    (_, opposite) = atlas_rows(cell, [0.5], units=[], opposites=[(0, 2)])
    assert opposite.name == "h[0]-h[2]" and opposite.hold[[0, 2]].tolist() == [0.5, -0.5]
    assert [edit.value for edit in edit_of(opposite, "h", 0)] == [0.5, -0.5]
    with pytest.raises(ValueError, match="units 0 to 4, received 9"):
        atlas_rows(cell, [0.0], units=[9])


def test_a_row_does_the_same_in_the_batch_and_alone_from_its_edits_file():
    from rnn import edits_to_json

    torch.manual_seed(0)
    cell = build_cell("gru", 6, Motion.load("both"))
    rows = atlas_rows(cell, [-0.7, 0.7], units=[2], ways={"turning": directions(cell, 4.0, steps=50)["turning"]})
    xs = drive_input(cell, 4.0, batch=(30, len(rows)))
    together = unroll(cell, xs, edits=edits_of(rows, "h", 5)).outputs
    for i, row in enumerate(rows[1:], 1):
        file = edits_to_json(edit_of(row, "h", 5))
        alone = unroll(cell, xs[:, :1], edits=edits_from_json(file)).outputs
        assert torch.allclose(together[:, i], alone[:, 0], atol=1e-6)
        assert not torch.allclose(together[:, i], together[:, 0], atol=1e-3)


def test_a_gain_leaves_means_alone_scales_swings_and_does_the_same_in_the_batch_and_alone():
    from rnn import edits_to_json

    torch.manual_seed(0)
    cell = build_cell("gru", 6, Motion.load("both"))
    scaled = gains(cell, 4.0)
    rows = atlas_rows(cell, [], quantity="output", units=[], scaled=scaled, scaled_doses=(-1.0, 1.0))
    assert [(row.name, row.dose) for row in rows[3:5]] == [("wave", -1.0), ("wave", 1.0)]
    xs = drive_input(cell, 4.0, batch=(20, len(rows)))
    free, together = unroll(cell, xs).outputs, unroll(cell, xs, edits=edits_of(rows, "output", 0)).outputs
    means = scaled["yaw"].means
    joints = {row.name: row.factor != 1 for row in rows if row.dose == 1.0}
    assert [int(chosen.sum()) for chosen in joints.values()] == [4, 4, 12, 24]
    for i, row in enumerate(rows[1:], 1):
        wanted = means + row.factor * (free[:, 0] - means)
        assert torch.allclose(together[:, i], wanted, atol=1e-5), row.name
        alone = unroll(cell, xs[:, :1], edits=edits_from_json(edits_to_json(edit_of(row, "output", 0)))).outputs
        assert torch.allclose(together[:, i], alone[:, 0], atol=1e-6)
    left, right = rows[2].factor, rows[1].factor
    assert left[8] == left[16] == -1.5 and left[12] == left[20] == 1.5, "yaw of the limbs at a dose of 1"
    assert torch.equal(right[[12, 20, 8, 16]], left[[8, 16, 12, 20]]), "mirrored"
    assert gains(PhaseCell(), 4.0) == {}, "a pattern generator has no joint targets"


def test_levers_are_the_best_sound_rows_of_each_goal():
    blank = torch.zeros(1)
    rows = [Row("untouched", float("nan"), blank)] + [Row(f"h[{i}]", 1.0, blank) for i in range(6)]
    measured = invented(
        forward_speed=[0.6, 0.9, 1.5, 0.2, -0.1, 0.01, 0.6],
        yaw_rate=[0.0, 0.0, 0.0, 30.0, 0.0, 0.0, -50.0],
        uprightness=[1.0, 1.0, 0.1, 1.0, 1.0, 1.0, 1.0],
        gait=[2, 2, 2, 2, 2, 1, 2],
    )
    best = {}
    for lever in best_levers(rows, measured):
        best.setdefault(lever.goal, lever.name)
    assert best == {
        "faster": "h[0]", "slower": "h[2]", "left": "h[2]", "right": "h[5]", "stop": "h[4]", "backwards": "h[3]",
        "walk": "h[4]",
    }, "the fast one that rolls over does not count, and an animal that swims need not be made to"  # fmt: skip


def test_the_longest_monotone_stretch_of_doses_is_found():
    rows = [Row("untouched", float("nan"), torch.zeros(1))]
    rows += [Row("h[0]", d, torch.zeros(1)) for d in (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)]
    found = monotone(rows, invented(yaw_rate=[0, 5, -10, -2, 3, 20, 18]), "yaw_rate")
    assert found["h[0]"]["doses"] == [-1.0, 0.0, 1.0, 2.0] and found["h[0]"]["span"] == 30.0
    assert monotone(rows, invented(yaw_rate=[0, 1, 0, 1, 0, 1, 0]), "yaw_rate") == {}


def test_a_dose_of_a_direction_counts_from_the_untouched_animal():
    push = torch.ones(1)
    rows = [Row("untouched", float("nan"), torch.zeros(1))]
    rows += [Row("turning", d, torch.zeros(1), push) for d in (1.0, -1.0, 2.0, -2.0)]
    found = monotone(rows, invented(yaw_rate=[1, 20, -18, 40, -38]), "yaw_rate")["turning"]
    assert found["doses"] == [-2, -1, 0, 1, 2] and found["values"] == [-38, -18, 1, 20, 40] and found["whole"]


def test_reach_tells_units_from_directions_and_leaves_out_what_stops_or_tumbles():
    blank, push = torch.zeros(1), torch.ones(1)
    doses = (-2.0, -1.0, 1.0, 2.0)
    rows = [Row("untouched", float("nan"), blank)]
    rows += [Row("h[0]", d, blank) for d in doses] + [Row("turning", d, blank, push) for d in doses]
    told = reach(
        rows,
        invented(
            yaw_rate=[0, -10, -5, 5, 30, -50, -22, 21, 60],
            forward_speed=[0.6, 0.01, 0.2, 0.3, 0.4, 0.5, 0.55, 0.65, 0.7],
            uprightness=[1, 1, 1, 1, 1, 0.1, 1, 1, 1],
        ),
    )
    assert told["turning"]["unit"]["low"] == -10 and told["turning"]["unit"]["high"] == 30
    turning = told["turning"]["direction"]
    assert (turning["low"], turning["high"], turning["from"], turning["whole"]) == (-22, 60, -1.0, False)
    assert "unit" not in told["speed"], "three doses at which it still goes are too few"
    assert told["speed"]["direction"]["ratio"] == pytest.approx(0.7 / 0.55)


def test_a_push_along_a_direction_of_a_linear_network_is_the_change_of_its_drive():
    cell = build_cell("elman", 6, Motion.load("both"), squash="identity")
    way = directions(cell, 4.0, quantity="h", steps=20)
    weight = cell.core.weight_ih
    assert torch.allclose(way["turning"], weight[:, 0] - weight[:, 1], atol=1e-5)
    assert torch.allclose(way["drive"], weight[:, 0] + weight[:, 1], atol=1e-5)
    assert torch.allclose(way["limb"], weight[:, 2] / 2, atol=1e-5)
    assert torch.allclose(way["gait"], way["drive"], atol=1e-5)
    row = Row("turning", 1.0, torch.full((6,), torch.nan), way["turning"])
    pushed = unroll(cell, drive_input(cell, 4.0, batch=(20, 1)), edits=edit_of(row, "h", 0)).outputs
    driven = unroll(cell, drive_input(cell, 5.0, 3.0, batch=(20, 1))).outputs
    assert torch.allclose(pushed[1:], driven[1:], atol=1e-4), "from the second step on, as h is pushed after it is read"


def test_the_turning_direction_of_the_phase_network_is_left_against_right():
    way = directions(PhaseCell(), 4.0, quantity="activity", steps=300)["turning"]
    assert (way[:8] > 0).all() and (way[8:16] < 0).all() and torch.allclose(way[:8], -way[8:16], atol=0.02)


def test_an_interrupted_atlas_goes_on_and_gives_the_same(script, tmp_path, monkeypatch):
    module = script("clamp_atlas")
    settings = dict(units="0:2", doses=(0.0, 0.9), way_doses=(1.0,), seconds=1.0, onset=0.2, settle=0.2, chunk=3)
    whole = module.main(module.Args(out=tmp_path / "whole", **settings))
    count = {"left": 1}

    def once(*args, **options):
        if not count["left"]:
            raise KeyboardInterrupt
        count["left"] -= 1
        return run_rows(*args, **options)

    run_rows = module.run_rows
    monkeypatch.setattr(module, "run_rows", once)
    with pytest.raises(KeyboardInterrupt):
        module.main(module.Args(out=tmp_path / "part", **settings))
    assert len(list((tmp_path / "part" / "chunks").glob("*.npz"))) == 1
    count["left"] = 2
    again = module.main(module.Args(out=tmp_path / "part", **settings))
    assert count["left"] == 0 and again == whole
    for name in ("atlas.png", "responses.png", "paths.png", "directions.png"):
        assert (tmp_path / "part" / name).stat().st_size > 5_000
    with (tmp_path / "part" / "atlas.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == [
            "untouched",
            *["body.left[0]"] * 2,
            *["body.left[1]"] * 2,
            *("turning", "drive", "limb", "gait"),
        ]
    for lever in again["levers"]:
        assert edits_from_json((tmp_path / "part" / lever["file"]).read_text())
    assert json.loads((tmp_path / "part" / "atlas.json").read_text())["rows"] == 9
    with pytest.raises(ValueError, match="other settings"):
        module.main(module.Args(out=tmp_path / "part", **{**settings, "chunk": 2}))


def test_wrong_units_and_quantities_are_refused_before_anything_is_simulated(script, tmp_path):
    module = script("clamp_atlas")
    with pytest.raises(ValueError, match="no quantity 'cell'"):
        module.main(module.Args(quantity="cell", out=tmp_path / "a"))
    with pytest.raises(ValueError, match="units 0 to 19"):
        module.main(module.Args(units="25", out=tmp_path / "a"))
    assert not (tmp_path / "a").exists()
