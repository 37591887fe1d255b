"""The benchmark of policies through muscles sets the start and rules beside what it learns, and goes on."""

from benchmarks import muscle_policies
from scripts import train_salamander


def test_a_learned_policy_stands_beside_the_start_and_a_rule_and_is_not_learned_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(muscle_policies, "WORLDS", 2)
    monkeypatch.setitem(train_salamander.WORLDS, "muscle", 4)
    few = {"steps": 256, "seconds": 0.9, "runs": tmp_path / "runs", "out": tmp_path}
    muscle_policies.main(muscle_policies.Args(cells=["oscillators"], seeds=[3], **few))
    runs = muscle_policies.main(muscle_policies.Args(cells=["oscillators"], seeds=[3], **few))
    ahead = {run["policy"]: run["ahead"] for run in runs}
    assert len(runs) == 4 and ahead["idle"] < 0 < 0.1 < ahead["fixed pattern generator"]  # it sinks back a little
    assert ahead[muscle_policies.START] > 0.05
    assert runs[-1]["course"][-1][0] == 256
    table = (tmp_path / "muscle_policies.md").read_text()
    assert "| swim | oscillators | 256 | 1 |" in table and "waves per body " in table
