"""The fast paths give the numbers of the loop: outputs, states, recordings and gradients."""

import pytest
import torch

from rnn.cell import Cell, map_state
from rnn.edits import Add, Clamp, Lesion, Noise
from rnn.fused import Episodes
from rnn.models import make_cell
from rnn.unroll import unroll

CLAMPS = {
    "none": (),
    "input": (Clamp("input[0]", 1.0, steps=slice(5, 9)), Noise("input[1]", 0.2, steps=slice(20, 30))),
    "h": (Clamp("h[1]", 0.4, steps=slice(12, 32)), Lesion("h[3]", steps=slice(20, 50))),
    "h by row": (Clamp("h[0:2]", [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]),),
    "c": (Clamp("c[2]", 1.5, steps=slice(9, 46)), Clamp("h[2]", -0.3, steps=slice(24, 62))),
}


def leaves(state) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    map_state(lambda v: found.append(v) or v, state)
    return found


def everything(cell: Cell, path: str, resets, edits, record, dtype=torch.float64) -> list[torch.Tensor]:
    """Outputs, states, recordings, and gradients with respect to inputs, initial states and parameters."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
    xs = draw(70, 3, 2).requires_grad_()
    state = map_state(lambda v: (0.3 * draw(*v.shape)).requires_grad_(), cell.initial_state(3))
    run = unroll(cell, xs, state, start=2, resets=resets, edits=edits, record=record, path=path)
    parts = [run.outputs, *leaves(run.state), *run.trace.values()]
    loss = sum((draw(*part.shape) * part).sum() for part in parts)
    wanted = [xs, *leaves(state), *cell.parameters()]
    grads = torch.autograd.grad(loss, wanted, allow_unused=True)
    return parts + [torch.zeros_like(p) if g is None else g for p, g in zip(wanted, grads, strict=True)]


def some_resets(rate: float) -> torch.Tensor | None:
    return torch.rand(70, 3, generator=torch.Generator().manual_seed(5)) < rate if rate else None


@pytest.mark.parametrize("rate", [0.0, 0.04, 0.4])
@pytest.mark.parametrize("clamps", list(CLAMPS))
@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_the_fused_path_equals_the_loop(name, clamps, rate):
    if clamps == "c" and name != "lstm":
        pytest.skip("only the LSTM has c")
    torch.manual_seed(0)
    cell = make_cell(name, 2, 5).double()
    if name == "gru" and clamps.startswith("h") and rate:
        with pytest.raises(ValueError, match="while rows are reset"):
            everything(cell, "fused", some_resets(rate), CLAMPS[clamps], ("h",))
        path = "auto"
    else:
        path = "fused"
    loop = everything(cell, "loop", some_resets(rate), CLAMPS[clamps], ("h", "input"))
    fast = everything(cell, path, some_resets(rate), CLAMPS[clamps], ("h", "input"))
    for a, b in zip(loop, fast, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_the_kernel_of_the_float32_lstm_that_auto_takes_agrees_too():
    torch.manual_seed(0)
    cell = make_cell("lstm", 2, 5)
    loop = everything(cell, "loop", some_resets(0.1), CLAMPS["c"], ("h",), torch.float32)
    fast = everything(cell, "auto", some_resets(0.1), CLAMPS["c"], ("h",), torch.float32)
    assert not all(torch.equal(a, b) for a, b in zip(loop, fast, strict=True)), "auto took the loop"
    for a, b in zip(loop, fast, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rate", [0.0, 0.04, 0.4])
@pytest.mark.parametrize(
    ("name", "settings", "record"),
    [
        ("linear", {"dynamics": "damped", "hidden_size": 6}, ("h", "y")),
        ("lru", {}, ("h", "y")),
        ("linoss", {}, ("position", "velocity", "y")),
        ("linoss", {"scheme": "implicit"}, ()),
    ],
)
def test_the_scan_path_equals_the_loop(name, settings, record, rate):
    torch.manual_seed(0)
    cell = make_cell(name, 2, **{"hidden_size": 5, **settings}).double()
    loop = everything(cell, "loop", some_resets(rate), CLAMPS["input"], record)
    fast = everything(cell, "scan", some_resets(rate), CLAMPS["input"], record)
    for a, b in zip(loop, fast, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("settings", [{"residual": True, "norm": True}, {"skip": True}])
def test_a_stack_run_layer_by_layer_equals_the_loop(settings):
    torch.manual_seed(0)
    cell = make_cell("lru", 2, 5, layers=3, **settings).double()
    loop = everything(cell, "loop", some_resets(0.1), (), ())
    fast = everything(cell, "layers", some_resets(0.1), (), ())
    for a, b in zip(loop, fast, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-10)


def test_what_a_fast_path_cannot_do_is_refused_or_left_to_the_loop():
    cell = make_cell("lstm", 2, 5)
    xs = torch.randn(20, 3, 2)
    some_rows = Clamp("h[0]", [0.1, float("nan"), 0.2])
    twice = (Clamp("h[0]", 0.1), Clamp("h", 0.2))
    for edits, record in (((Add("h[0]", 0.1),), ()), ((some_rows,), ()), ((), ("forget",)), (twice, ())):
        with pytest.raises(ValueError, match="cannot be taken"):
            unroll(cell, xs, edits=edits, record=record, path="fused")
        loop, auto = (unroll(cell, xs, edits=edits, record=record, path=p) for p in ("loop", "auto"))
        assert torch.equal(loop.outputs, auto.outputs)
    with pytest.raises(ValueError, match="loop and fused"):
        unroll(cell, xs, path="scan")
    with pytest.raises(ValueError, match="choose one of"):
        unroll(cell, xs, path="quick")


def test_function_transforms_and_second_derivatives_pass_through_auto():
    cell = make_cell("lstm", 2, 5)
    xs = torch.randn(12, 1, 2)
    jacobian = torch.func.jacrev(lambda x: unroll(cell, x).outputs[-1, 0])(xs)
    assert jacobian.shape == (5, 12, 1, 2) and jacobian[:, 0].abs().sum() > 0
    cell = make_cell("lru", 2, 5).double()
    xs = xs.double().requires_grad_()
    (g,) = torch.autograd.grad(unroll(cell, xs).outputs.tanh().sum(), xs, create_graph=True)
    (fast,) = torch.autograd.grad(g.square().sum(), xs)
    (g,) = torch.autograd.grad(unroll(cell, xs, path="loop").outputs.tanh().sum(), xs, create_graph=True)
    (loop,) = torch.autograd.grad(g.square().sum(), xs)
    assert torch.allclose(fast, loop, rtol=1e-9, atol=1e-12)


def test_episodes_side_by_side_lose_and_mix_nothing():
    resets = torch.rand(30, 6, generator=torch.Generator().manual_seed(0)) < 0.15
    layout = Episodes(resets)
    stamp = torch.arange(30)[:, None] * 100 + torch.arange(6)
    assert torch.equal(layout.scatter(layout.gather(stamp)), stamp)
    assert len(layout.rows) == 6 + int(resets[1:].sum())
    born = torch.zeros(6, dtype=torch.long)
    for t in range(30):  # the age of an episode, counted row by row
        born = torch.where(resets[t], t, born)
        assert torch.equal(layout.offset[t], t - born)
