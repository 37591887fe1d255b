"""The scripts that move the animal leave what they promise, and refuse what they cannot do."""

import json

import numpy as np
import pytest

from agents.runs import load_traces
from sim.anatomy import JOINT_NAMES


@pytest.fixture(scope="module")
def swim(script, tmp_path_factory):
    module = script("locomotion")
    out = tmp_path_factory.mktemp("swim")
    metrics = module.main(module.Args(seconds=4.0, film=False, out=out))
    return out, metrics


def test_traces_hold_what_is_documented(swim):
    out, _ = swim
    t = load_traces(out)
    assert t["time"][0] == pytest.approx(0.01) and t["time"].shape == (400,)
    assert t["joint_names"].tolist() == list(JOINT_NAMES)
    for name, shape in {
        "joint_angles": (400, 24), "link_positions": (400, 9, 3), "foot_contact": (400, 4), "heading": (400,),
        "neurons": (400, len(t["neuron_names"])), "drive": (400, 4), "submerged": (400, 9), "qpos": (400, 31),
    }.items():  # fmt: skip
        assert t[name].shape == shape, name
    assert json.loads(str(t["edits"])) == [] and str(t["world"]) == "pool"
    assert {"body.left[0]", "limb.hind.right", "drive.left[1]"} <= set(t["neuron_names"].tolist())
    head, tail = t["link_positions"][0, 0], t["link_positions"][0, 8]
    assert head[0] > tail[0], "the animal faces +x, head first"


def test_metrics_plots_and_settings_are_written(swim):
    out, metrics = swim
    stored = json.loads((out / "metrics.json").read_text())
    assert stored["gait"] == "swim" and stored["frequency"] == pytest.approx(metrics["frequency"])
    assert (out / "plots" / "kymograph.png").stat().st_size > 1000
    assert json.loads((out / "meta.json").read_text())["status"] == "done"
    assert "drive: 4.0" in (out / "config.yaml").read_text()


def test_the_same_seed_gives_the_same_run(script, swim, tmp_path):
    module = script("locomotion")
    module.main(module.Args(seconds=1.0, film=False, out=tmp_path))
    again, first = load_traces(tmp_path), load_traces(swim[0])
    assert np.array_equal(again["joint_angles"], first["joint_angles"][:100])


def test_one_drive_schedule_leads_into_the_water_and_out_again(script, tmp_path):
    module = script("locomotion")
    schedule = "0=2 10=2 10=4 13=4 13=4.9/3.1 18=4.9/3.1 18=4 26=4 26=2 36=2"
    metrics = module.main(module.Args(world="shore", seconds=36.0, drive_schedule=schedule, film=False, out=tmp_path))
    traces = load_traces(tmp_path)
    wet = traces["submerged"].mean(1)
    assert wet[0] == 0 and wet[1200:2300].min() > 0.7 and wet[-1] < 0.2, "dry, swimming, dry"
    assert [p["gait"] for p in metrics["stretches"]] == ["walk", "swim", "swim", "swim", "walk"]
    assert abs(metrics["stretches"][-1]["forward_speed"]) > 0.1 and traces["uprightness"].min() > 0.8


@pytest.mark.parametrize("world", ["rough", "channel"])
def test_other_worlds_are_crossed_forwards(script, tmp_path, world):
    module = script("locomotion")
    drive = 2.0 if world == "rough" else 4.5
    metrics = module.main(module.Args(world=world, drive=drive, seconds=5.0, current=0.02, film=False, out=tmp_path))
    assert metrics["forward_speed"] > 0.05 and not metrics["diverged"]


def test_clamps_steer_and_are_marked_in_the_traces(script, tmp_path):
    module = script("steer")
    clamps = ("drive.left@1:3=4.6", "drive.right@1:3=3.4")
    module.main(module.Args(seconds=3.0, clamp=clamps, film=False, out=tmp_path))
    t = load_traces(tmp_path)
    names = t["neuron_names"].tolist()
    column = names.index("drive.left[0]")
    assert np.all(t["neurons"][100:, column] == np.float32(4.6)) and np.all(t["neurons"][:100, column] == 4)
    assert t["clamped"][150, column] and not t["clamped"][50].any()
    assert [e["address"] for e in json.loads(str(t["edits"]))] == ["drive.left", "drive.right"]
    assert np.unwrap(t["heading"])[-50:].mean() > 0.2


def test_a_sweep_gives_dose_and_response(script, tmp_path):
    module = script("steer")
    rows = module.main(module.Args(seconds=3.0, sweep="drive.*=3.2:4.8:3", out=tmp_path))["sweep"]
    assert [row["dose"] for row in rows] == pytest.approx([3.2, 4.0, 4.8])
    assert np.all(np.diff([row["frequency"] for row in rows]) > 0.3)
    assert (tmp_path / "sweep.png").is_file() and len((tmp_path / "sweep.csv").read_text().splitlines()) == 4


def test_edits_from_a_file_are_applied(script, tmp_path):
    module = script("steer")
    file = tmp_path / "cut.json"
    file.write_text('[{"kind": "lesion", "address": "body.left", "start": 100}]')
    module.main(module.Args(seconds=2.0, edits=file, film=False, out=tmp_path / "run"))
    t = load_traces(tmp_path / "run")
    left = [i for i, name in enumerate(t["neuron_names"].tolist()) if name.startswith("body.left")]
    assert np.all(t["neurons"][110:, left] == 0) and t["neurons"][50:100, left].max() > 0.3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"clamp": ("drive.lift=4",)}, "drive.left"),
        ({"clamp": ("drive.left@9:=4",)}, "run lasts"),
        ({"clamp": ("drive.left",)}, "ADDRESS"),
        ({"sweep": "drive.left=3:4"}, "COUNT"),
        ({"drive_schedule": "soon=4"}, "TIME=DRIVE"),
        ({"seconds": 0.0}, "at least one control step"),
    ],
)
def test_bad_requests_say_what_is_wrong(script, tmp_path, options, complaint):
    module = script("steer")
    with pytest.raises((ValueError, KeyError), match=complaint):
        module.main(module.Args(**{"seconds": 2.0, "film": False, "out": tmp_path / "run", **options}))


def test_a_folder_that_cannot_be_written_is_refused(script, tmp_path):
    (tmp_path / "file").write_text("")
    module = script("locomotion")
    with pytest.raises(ValueError, match="cannot be written"):
        module.main(module.Args(seconds=1.0, out=tmp_path / "file" / "run"))


def test_ctrl_c_keeps_the_traces_so_far(script, tmp_path, monkeypatch):
    from agents.controller import NetworkController

    act, calls = NetworkController.act, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 150:
            raise KeyboardInterrupt
        return act(self, *args, **kwargs)

    monkeypatch.setattr(NetworkController, "act", interrupted)
    module = script("locomotion")
    metrics = module.main(module.Args(seconds=5.0, out=tmp_path))
    assert metrics["interrupted"] and load_traces(tmp_path)["time"].shape == (149,)
    assert json.loads((tmp_path / "meta.json").read_text())["status"] == "interrupted"


def test_recorded_cycles_move_the_body_as_they_move_the_animal(script, tmp_path):
    module = script("replay")
    swim = module.main(module.Args(seconds=4.0, film=False, out=tmp_path / "swim"))
    assert 0.18 <= swim["stride"] <= 0.28
    walk = module.main(
        module.Args(gait="walk", world="land", frequency=0.9, seconds=6.0, film=False, out=tmp_path / "walk")
    )
    assert walk["forward_speed"] > 0.05
    assert load_traces(tmp_path / "walk")["uprightness"].min() > 0.9


def test_a_missing_or_malformed_csv_is_named(script, tmp_path):
    module = script("replay")
    with pytest.raises((ValueError, OSError), match="nowhere.csv"):
        module.main(module.Args(kinematics=tmp_path / "nowhere.csv", out=tmp_path / "run"))
    (tmp_path / "bad.csv").write_text("time,Axis 1\n0,spine\n")
    with pytest.raises(ValueError):
        module.main(module.Args(kinematics=tmp_path / "bad.csv", out=tmp_path / "run"))


@pytest.mark.parametrize("name", ["locomotion", "steer", "replay", "demo"])
def test_help_teaches(script, name, capsys):
    import tyro

    module = script(name)
    with pytest.raises(SystemExit) as stop:
        tyro.cli(module.Args, description=module.__doc__, args=["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "python scripts/" in text and "--out" in text
