"""The written-out sequence of phase oscillators: the same numbers and gradients as one step after another."""

import pytest
import torch

from rnn.cpg import PhaseCell
from rnn.cpg.phase_sequence import phase_sequence
from rnn.unroll import unroll


def gradients(cell, xs, state, resets, run):
    cell.zero_grad()
    xs = xs.clone().requires_grad_()
    state = type(state)(*(part.clone().requires_grad_() for part in state))
    ys, after = run(xs, state)
    torch.manual_seed(1)  # the same weights of the sum for both ways
    total = (ys * torch.randn_like(ys)).sum() + sum((part * torch.randn_like(part)).sum() for part in after[:3])
    total.backward()
    names = [name for name, p in cell.named_parameters() if p.grad is not None]
    inner = {name: part.grad for name, part in zip(state._fields, state, strict=True)}
    return ys, after, {"xs": xs.grad, **inner, **{name: cell.get_parameter(name).grad.clone() for name in names}}


@pytest.mark.parametrize("limbs", [(), ("fore.left", "fore.right", "hind.left", "hind.right")])
@pytest.mark.parametrize("with_resets", [False, True])
def test_values_and_gradients_equal_those_of_the_loop(limbs, with_resets):
    torch.manual_seed(0)
    cell = PhaseCell(3, limbs, dt=0.02, substeps=3, feedback_gain=0.7).double()
    B, T, N = 4, 9, cell.num_oscillators
    xs = torch.randn(T, B, cell.input_size, dtype=torch.double) + 2.5
    state = cell.initial_state(B)
    state = state._replace(
        phase=torch.randn(B, N).double(),
        amplitude=torch.rand(B, N).double(),
        rate=torch.randn(B, N).double(),
        sent=torch.rand(B, N).double(),
    )
    resets = torch.rand(T, B) < 0.25 if with_resets else None
    fresh = cell.initial_state(B)
    plain = gradients(cell, xs, state, resets, lambda x, s: unroll(cell, x, s, resets=resets, path="loop")[:2])
    fast = gradients(cell, xs, state, resets, lambda x, s: phase_sequence(cell, x, s, resets, fresh))
    torch.testing.assert_close(fast[0], plain[0], rtol=1e-10, atol=1e-10)
    for a, b in zip(fast[1], plain[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert set(plain[2]) == set(fast[2]) and {"bias", "coupling", "nu0", "feedback_gain"} <= set(fast[2])
    for name, grad in plain[2].items():
        if grad is None:  # what a reset at the first step threw away
            continue
        assert name == "sent" or grad.abs().max() > 0, name
        torch.testing.assert_close(fast[2][name], grad, rtol=1e-8, atol=1e-9, msg=name)
