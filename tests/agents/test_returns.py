"""Returns against numbers worked by hand, and against each other."""

import pytest
import torch

from agents.returns import lambda_returns, n_step_returns, rescale, td_errors, unrescale

generator = torch.Generator().manual_seed(0)
R, V = torch.randn(6, 3, generator=generator), torch.randn(6, 3, generator=generator)
D = torch.full((6, 3), 0.9)
D[2, 1] = 0.0


def monte_carlo():
    target, out = V[-1], []
    for t in reversed(range(6)):
        target = R[t] + D[t] * target
        out.append(target)
    return torch.stack(out[::-1])


def test_all_rewards_make_the_n_step_and_the_lambda_return_the_monte_carlo_return():
    assert torch.allclose(n_step_returns(R, D, V, 6)[0], monte_carlo())
    assert torch.allclose(lambda_returns(R, D, V, 1.0)[0], monte_carlo())


def test_one_reward_is_the_temporal_difference_target():
    assert torch.allclose(n_step_returns(R, D, V, 1)[0], R + D * V)
    assert torch.allclose(lambda_returns(R, D, V, 0.0)[0], R + D * V)


def test_the_lambda_return_is_the_weighted_sum_of_the_n_step_returns():
    lam = 0.7
    steps = [n_step_returns(R[:, :1], D[:, :1], V[:, :1], n)[0][0] for n in range(1, 7)]
    mixed = sum((1 - lam) * lam**k * g for k, g in enumerate(steps[:-1])) + lam**5 * steps[-1]
    assert torch.allclose(lambda_returns(R[:, :1], D[:, :1], V[:, :1], lam)[0][0], mixed)


def test_nothing_is_carried_over_a_truncation_and_only_returns_that_would_are_invalid():
    cut = torch.zeros(6, 3, dtype=torch.bool)
    cut[3, 0] = True
    _, valid = n_step_returns(R, D, V, 2, cut)
    assert valid[:, 0].tolist() == [True, True, False, False, True, True]
    changed = V.clone()
    changed[3:, 0] = 100.0  # values of another episode
    a, ok = lambda_returns(R, D, V, 0.9, cut)
    b, _ = lambda_returns(R, D, changed, 0.9, cut)
    assert torch.equal(a[:3, 0], b[:3, 0]) and ok[:, 0].tolist() == [True, True, True, False, True, True]


def test_a_termination_before_the_cut_keeps_the_return_valid():
    cut, discount = torch.zeros(6, 3, dtype=torch.bool), D.clone()
    cut[3, 1], discount[2, 1] = True, 0.0
    assert n_step_returns(R, discount, V, 3, cut)[1][:3, 1].all()


@pytest.mark.parametrize("x", [-1e4, -1.0, 0.0, 1e-3, 7.0, 1e5])
def test_rescaling_is_undone(x):
    x = torch.tensor(x, dtype=torch.float64)
    assert torch.allclose(unrescale(rescale(x)), x, rtol=1e-6, atol=1e-9)


def test_the_error_is_that_of_the_action_taken():
    q = torch.tensor([[[1.0, 5.0]]])
    assert td_errors(q, torch.tensor([[1]]), torch.tensor([[7.0]])).item() == 2.0


def test_a_trace_that_is_cut_at_an_exploratory_action_bootstraps_there():
    share = torch.full_like(R, 0.8)
    share[1] = 0.0  # the action after the second step was not greedy
    cut, _ = lambda_returns(R, D, V, share)
    assert torch.allclose(cut[1], R[1] + D[1] * V[1])
    assert torch.allclose(cut[0], R[0] + D[0] * (0.2 * V[0] + 0.8 * cut[1]))
    assert torch.equal(cut[2:], lambda_returns(R, D, V, 0.8)[0][2:])
