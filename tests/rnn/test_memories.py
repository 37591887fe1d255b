"""Hopfield networks, attention and hidden Markov models, against brute force and each other."""

import importlib.util
import itertools

import numpy as np
import pytest
import torch

from rnn.attention import (
    AttentionPooling,
    LinearAttentionCell,
    TransformerCell,
    attend,
    attention_weights,
    causal_mask,
    positions,
)
from rnn.hmm import CategoricalHMM, GaussianHMM, HMMFilter, fit_hmm
from rnn.hopfield import BinaryHopfield, ModernHopfield, crosstalk_errors, damaged
from rnn.unroll import unroll


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def signs(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)).double() * 2 - 1


def test_damaged_patterns_are_completed_and_the_energy_never_rises():
    patterns = signs(8, 200)
    memory = BinaryHopfield(patterns)
    recall = memory.recall(damaged(patterns, 0.2))
    assert torch.equal(recall.states, patterns)
    assert (recall.energies.diff(dim=0) <= 1e-9).all() and (recall.energies[-1] < recall.energies[0]).all()
    assert torch.equal(memory.W, memory.W.T) and torch.diagonal(memory.W).abs().max() == 0


def test_each_single_update_lowers_the_energy_or_keeps_it_even_with_a_bias():
    memory = BinaryHopfield(signs(6, 30), bias=0.3 * normal(30))
    state = signs(1, 30, seed=4)
    for i in range(30):
        before = memory.energy(state)
        field = state @ memory.W[:, i] - memory.b[i]
        state[:, i] = torch.where(field == 0, state[:, i], torch.sign(field))
        assert memory.energy(state) <= before + 1e-12


def test_a_hopfield_update_written_out_in_numpy_agrees():
    patterns = signs(3, 12)
    memory = BinaryHopfield(patterns)
    X, s = patterns.numpy(), signs(1, 12, seed=9).numpy()[0]
    W = sum(np.outer(x, x) for x in X) / 12
    np.fill_diagonal(W, 0)
    field = W @ s
    both = np.where(field == 0, s, np.sign(field))
    got = memory.recall(torch.tensor(s)[None], sweeps=1, synchronous=True).states[0].numpy()
    assert np.array_equal(got, both)


def test_the_negative_of_a_pattern_is_remembered_too_and_opposites_end_synchronous_updates_in_a_cycle():
    pattern = signs(1, 40)
    assert torch.equal(BinaryHopfield(pattern).recall(-pattern).states, -pattern)
    pair = BinaryHopfield(torch.tensor([[1.0, 1.0]]))
    flip = torch.tensor([[1.0, -1.0]])
    assert torch.equal(pair.recall(flip, sweeps=1, synchronous=True).states, -flip), "a cycle of two"
    settled = pair.recall(flip).states
    assert settled[0, 0] == settled[0, 1], "one after the other they agree"


def test_recall_breaks_down_near_a_load_of_0_138():
    errors = crosstalk_errors(500, torch.tensor([0.05, 0.10, 0.20]))
    assert errors[0] < 1e-3 and errors[1] < 0.02 and errors[2] > 0.15
    with pytest.raises(ValueError, match="bits"):
        BinaryHopfield(torch.tensor([[0.0, 1.0]]))


def test_the_modern_update_is_attention_with_patterns_as_keys_and_values():
    X, xi = normal(7, 5), normal(3, 5, seed=1)
    for beta in (0.5, 4.0):
        softmax = np.exp(beta * (xi @ X.T).numpy())
        softmax /= softmax.sum(1, keepdims=True)
        assert np.allclose(ModernHopfield(X, beta=beta)(xi).numpy(), softmax @ X.numpy(), atol=1e-12)
        assert torch.equal(ModernHopfield(X, beta=beta)(xi), attend(xi, X, X, beta=beta))
    layer = torch.nn.functional.scaled_dot_product_attention(xi[None], X[None], X[None])[0]
    assert torch.allclose(ModernHopfield(X, beta=5**-0.5)(xi), layer, atol=1e-12)


def test_modern_memories_are_reached_in_one_step_their_energy_falls_and_many_more_fit():
    X = torch.nn.functional.normalize(normal(400, 64), dim=1)  # far more patterns than 0.138 x 64
    memory = ModernHopfield(X, beta=60.0)
    noisy = X + 0.05 * normal(400, 64, seed=2)
    assert (memory(noisy) - X).norm(dim=1).max() < 0.05
    energies = torch.stack([memory.energy(memory(noisy, steps)) for steps in range(4)])
    assert (energies.diff(dim=0) <= 1e-12).all()


def test_at_small_beta_patterns_merge_into_metastable_averages():
    X = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.0]], dtype=torch.float64)
    sharp = ModernHopfield(X, beta=400.0).fixed_points(X)
    middle = ModernHopfield(X, beta=8.0).fixed_points(X)
    single = ModernHopfield(X, beta=0.1).fixed_points(X)
    assert [len(f) for f in (sharp, middle, single)] == [3, 2, 1]
    assert min((f - X[:2].mean(0)).norm() for f in middle) < 0.02, "the average of the two neighbours"
    assert (single[0] - X.mean(0)).norm() < 0.05, "near the average of all"


def test_attention_is_order_invariant_until_positions_or_a_mask_are_given():
    x, order = normal(6, 4), torch.randperm(6, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(attend(x, x, x)[order], attend(x[order], x[order], x[order]))
    placed = x + positions(torch.arange(6.0, dtype=torch.float64), 4)
    moved = x[order] + positions(torch.arange(6.0, dtype=torch.float64), 4)
    assert not torch.allclose(attend(placed, placed, placed)[order], attend(moved, moved, moved))
    w = attention_weights(x, x, causal_mask(6))
    assert torch.equal(w.triu(1), torch.zeros_like(w)) and torch.allclose(w.sum(1), torch.ones(6, dtype=torch.float64))


def test_pooling_ignores_order_and_padding():
    torch.manual_seed(0)
    pool = AttentionPooling(3, queries=2, hidden_size=4).double()
    xs = normal(5, 2, 3)
    mask = torch.ones(5, 2, dtype=torch.bool)
    mask[3:, 1] = False
    other = xs.clone()
    other[3:, 1] = 99.0
    assert torch.allclose(pool(xs, mask), pool(other, mask)) and torch.allclose(pool(xs), pool(xs[[4, 2, 0, 1, 3]]))
    assert pool(xs).shape == (2, pool.output_size)


def test_linear_attention_is_attention_with_another_kernel():
    torch.manual_seed(0)
    cell = LinearAttentionCell(3, 4).double()
    xs = normal(8, 1, 3)
    run = unroll(cell, xs, record=("query", "key", "value"))
    q, k, v = (run.trace[n][:, 0] for n in ("query", "key", "value"))
    weights = (q @ k.T) * causal_mask(8)
    taken = weights @ v / weights.sum(1, keepdim=True)
    assert torch.allclose(run.outputs[:, 0], taken @ cell.weight_out.T + xs[:, 0] @ cell.weight_skip.T, atol=1e-12)


def test_a_transformer_forgets_beyond_its_context_and_equals_itself_stepped():
    torch.manual_seed(0)
    cell = TransformerCell(2, 8, context=4, blocks=1).double()
    xs = normal(12, 2, 2).requires_grad_()
    loop, scan = unroll(cell, xs, path="loop"), unroll(cell, xs, path="scan")
    assert torch.allclose(loop.outputs, scan.outputs, atol=1e-12)
    (g,) = torch.autograd.grad(scan.outputs[9, 0, 0], xs)
    assert (g[:, 0].abs().sum(-1) > 0).nonzero().flatten().tolist() == [6, 7, 8, 9]


@pytest.fixture
def coin() -> CategoricalHMM:
    """A fair die and a loaded one, with three faces."""
    model = CategoricalHMM(2, 3).double()
    model.log_pi = torch.tensor([0.7, 0.3], dtype=torch.float64).log()
    model.log_A = torch.tensor([[0.9, 0.1], [0.3, 0.7]], dtype=torch.float64).log()
    model.log_B = torch.tensor([[0.4, 0.3, 0.3], [0.05, 0.15, 0.8]], dtype=torch.float64).log()
    return model


def brute_force(model, xs):
    """Joint probability of every course of states."""
    pi, A, b = model.log_pi.exp(), model.log_A.exp(), model.emission(xs[:, None])[:, 0].exp()
    return {
        z: float(
            pi[z[0]]
            * b[0, z[0]]
            * np.prod([float(A[i, j] * b[t + 1, j]) for t, (i, j) in enumerate(zip(z, z[1:], strict=False))])
        )
        for z in itertools.product(range(len(pi)), repeat=len(xs))
    }


def test_forward_backward_and_viterbi_equal_brute_force(coin):
    xs = torch.tensor([2, 2, 0, 1, 2, 2])
    joint = brute_force(coin, xs)
    total = sum(joint.values())
    seen = coin.posterior(xs[:, None])
    assert coin(xs[:, None]).exp().item() == pytest.approx(total, rel=1e-12)
    for t in range(6):
        for k in range(2):
            share = sum(p for z, p in joint.items() if z[t] == k) / total
            assert seen.states[t, 0, k].item() == pytest.approx(share, rel=1e-10)
    moves = sum(p * sum(a == 0 and b == 1 for a, b in zip(z, z[1:], strict=False)) for z, p in joint.items()) / total
    assert seen.transitions[0, 0, 1].item() == pytest.approx(moves, rel=1e-10)
    course, value = coin.viterbi(xs[:, None])
    best = max(joint, key=joint.get)
    assert tuple(course[:, 0].tolist()) == best and value.exp().item() == pytest.approx(joint[best], rel=1e-12)


def test_ragged_rows_equal_shorter_sequences(coin):
    xs, _ = coin.sample(9, 3)
    lengths = torch.tensor([9, 4, 1])
    seen = coin.posterior(xs, lengths)
    course, value = coin.viterbi(xs, lengths)
    for row, n in enumerate(lengths.tolist()):
        alone = coin.posterior(xs[:n, row : row + 1])
        assert torch.allclose(seen.log_likelihood[row], alone.log_likelihood[0])
        assert torch.allclose(seen.states[:n, row], alone.states[:, 0]) and seen.states[n:, row].abs().sum() == 0
        assert torch.allclose(seen.transitions[row], alone.transitions[0])
        z, v = coin.viterbi(xs[:n, row : row + 1])
        assert (
            torch.equal(course[:n, row], z[:, 0]) and torch.allclose(value[row], v[0]) and (course[n:, row] == -1).all()
        )


def test_the_log_likelihood_of_long_sequences_does_not_underflow(coin):
    xs, _ = coin.sample(5000, 1)
    assert -6000 < coin(xs).item() < -4000


def test_baum_welch_never_loses_likelihood_and_recovers_the_dice(coin):
    xs, _ = coin.sample(80, 300)
    torch.manual_seed(1)
    model = CategoricalHMM(2, 3).double()
    course = fit_hmm(model, xs, iterations=150, tolerance=1e-2)
    assert np.all(np.diff(course) >= -1e-8)
    order = model.log_B[:, 2].argsort()  # the labels may be swapped
    assert torch.allclose(model.log_B.exp()[order], coin.log_B.exp(), atol=0.05)
    assert torch.allclose(model.log_A.exp()[order][:, order], coin.log_A.exp(), atol=0.06)


def test_a_gaussian_model_recovers_its_states():
    torch.manual_seed(0)
    truth = GaussianHMM(2, 2).double()
    truth.mean = torch.tensor([[-1.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    truth.var = torch.full((2, 2), 0.2, dtype=torch.float64)
    truth.log_A = torch.tensor([[0.95, 0.05], [0.1, 0.9]], dtype=torch.float64).log()
    xs, zs = truth.sample(300, 10)
    model = GaussianHMM(2, 2).double()
    course = fit_hmm(model, xs, iterations=60)
    assert np.all(np.diff(course) >= -1e-6)
    order = model.mean[:, 0].argsort()
    assert torch.allclose(model.mean[order], truth.mean, atol=0.05) and torch.allclose(
        model.var[order], truth.var, atol=0.05
    )
    decoded = torch.argsort(order)[model.viterbi(xs)[0]]
    assert (decoded == zs).double().mean() > 0.97
    with pytest.raises(ValueError, match="NaN"):
        fit_hmm(model, torch.full((4, 1, 2), torch.nan))


def test_the_filter_is_a_cell_whose_belief_is_the_forward_recursion(coin):
    xs, _ = coin.sample(12, 3)
    cell = HMMFilter(coin)
    run = unroll(cell, torch.nn.functional.one_hot(xs, 3).double())
    for t in range(12):
        alone = coin.posterior(xs[: t + 1]).states[t]
        assert torch.allclose(run.outputs[t], alone, atol=1e-12)
    gaussian = GaussianHMM(3, 2).double()
    ys = normal(6, 2, 2)
    assert torch.allclose(unroll(HMMFilter(gaussian), ys).outputs[-1], gaussian.posterior(ys).states[-1], atol=1e-10)


@pytest.mark.skipif(not importlib.util.find_spec("hmmlearn"), reason="hmmlearn is not installed (make peers)")
def test_hmmlearn_finds_the_same_likelihood_course_and_posterior(coin):
    from hmmlearn.hmm import CategoricalHMM as Peer

    peer = Peer(n_components=2)
    peer.n_features = 3
    peer.startprob_, peer.transmat_ = coin.log_pi.exp().numpy(), coin.log_A.exp().numpy()
    peer.emissionprob_ = coin.log_B.exp().numpy()
    xs, _ = coin.sample(50, 1)
    X = xs.numpy()
    seen = coin.posterior(xs)
    assert peer.score(X) == pytest.approx(seen.log_likelihood.item(), abs=1e-8)
    assert np.allclose(peer.predict_proba(X), seen.states[:, 0].numpy(), atol=1e-8)
    value, course = peer.decode(X)
    assert value == pytest.approx(coin.viterbi(xs)[1].item(), abs=1e-8)
    assert np.array_equal(course, coin.viterbi(xs)[0][:, 0].numpy())
