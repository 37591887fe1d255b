"""The state of a swimming run, played into a walking animal, makes it swim for as long as it lasts."""

import json

import pytest

from agents.policy_zoo import policies
from rnn import edits_from_json

NETWORKS = policies() or [pytest.param("none", marks=pytest.mark.skip(reason="the zoo is empty"))]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_transplanted_gait_lasts_as_long_as_the_transplant(script, tmp_path, name):
    module = script("transplant")
    args = module.Args(policy=f"zoo/{name}", start=4.0, stop=7.0, seconds=10.0, film=False, out=tmp_path)
    parts = module.main(args)["parts"]
    assert [parts[when]["gait"] for when in ("before", "during", "after")] == ["walk", "swim", "walk"]
    assert parts["during"]["frequency"] == pytest.approx(3.2, abs=0.15) and parts["during"]["forward_speed"] > 0.4
    patch = edits_from_json((tmp_path / "patch.json").read_text())
    assert len(patch[0].values) == 300 and patch[0].steps == slice(400, 700)
    assert json.loads((tmp_path / "metrics.json").read_text())["parts"]["after"]["gait"] == "walk"


def test_times_that_do_not_follow_each_other_are_refused(script):
    module = script("transplant")
    with pytest.raises(ValueError, match="start < stop <= seconds"):
        module.main(module.Args(start=5.0, stop=4.0))
