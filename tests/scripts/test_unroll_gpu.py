"""The benchmark of paths on a GPU: what it says without one, and that it measures what it says."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from rnn.models import make_cell


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "unroll_gpu.py"
    spec = importlib.util.spec_from_file_location("unroll_gpu", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_it_says_so_and_writes_nothing(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.main(bench.Args(out=tmp_path)) == []
    assert "no GPU here" in capsys.readouterr().out and not any(tmp_path.iterdir())


def test_a_trial_on_the_cpu_measures_every_way_but_the_graph_and_draws_the_table_up(bench, tmp_path):
    args = bench.Args(device="cpu", steps=(16,), batch=2, inputs=4, hidden=6, repeats=1, out=tmp_path)
    rows = bench.main(args)
    assert len(rows) == 3 * 2 * 4 and all(row["ms"] > 0 for row in rows)
    assert {row["way"] for row in rows} == {"loop", "fused", "scan"}
    assert len(json.loads((tmp_path / "unroll_gpu.json").read_text())["rows"]) == len(rows)
    assert "| lru | 16 | scan |" in (tmp_path / "unroll_gpu.md").read_text()
    with pytest.raises(ValueError, match="the cells are lstm"):
        bench.main(bench.Args(device="cpu", cells=("lstmm",), out=tmp_path))
    with pytest.raises(ValueError, match="leave 'graph' out"):
        bench.runner(make_cell("gru", 4, 6), torch.zeros(3, 2, 4), "graph", False, False)


@pytest.mark.parametrize("name", ["lstm", "gru", "lru"])
def test_what_is_timed_has_the_gradients_of_the_loop_with_and_without_clamps(bench, name):
    torch.manual_seed(0)
    cell, xs = make_cell(name, 4, 6).double(), torch.randn(16, 2, 4, dtype=torch.float64)
    for clamped in (False, True):
        grads = []
        for way in bench.WAYS[name][:2]:
            cell.zero_grad()
            bench.runner(cell, xs, way, clamped, True)()
            grads.append(torch.cat([p.grad.flatten() for p in cell.parameters()]))
        assert torch.allclose(*grads, atol=1e-9) and grads[0].abs().max() > 0
