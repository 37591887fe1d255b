"""Learned dynamics: scales, open loop against the loop, known systems found, uncertainty, latent models."""

import pytest
import torch

from rnn.dynamics import RecurrentDynamics, Standardiser, fit, horizon, open_loop_error
from rnn.ensemble import Ensemble
from rnn.model_body import BodyMismatch
from rnn.rssm import RSSM, balanced_kl, symexp, symlog, two_hot, two_hot_mean


def pendulums(steps, count, seed, *, hide_velocity=False):
    """Damped linear oscillators pushed at random: x'' = -x - 0.1 x' + u, in exact steps of 0.3 s."""
    generator = torch.Generator().manual_seed(seed)
    A = torch.linalg.matrix_exp(torch.tensor([[0.0, 1.0, 0.0], [-1.0, -0.1, 1.0], [0.0, 0.0, 0.0]]) * 0.3)
    actions = torch.empty(steps, count, 1).uniform_(-1, 1, generator=generator)
    state = torch.empty(count, 2).normal_(generator=generator)
    states = [state]
    for u in actions:
        state = torch.cat([state, u], 1) @ A[:2].T
        states.append(state)
    obs = torch.stack(states)
    return (obs[..., :1] if hide_velocity else obs), actions


def test_an_entry_that_never_varies_keeps_its_scale():
    scale = Standardiser(2).fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert scale(torch.tensor([1.0, 6.0])).tolist() == [-1.0, 1.0]


def test_horizon_is_the_first_step_that_is_too_wrong_and_nan_is_wrong():
    error = torch.tensor([[0.0, 0.0, 0.5], [0.1, float("nan"), 0.0], [0.1, 0.0, 0.0]])
    assert horizon(error).tolist() == [3, 1, 0]


@pytest.mark.parametrize("cell", ["gru", "lstm", "linear", "elman"])
def test_the_open_loop_uses_measurements_while_they_last_and_then_its_own(cell):
    torch.manual_seed(0)
    model = RecurrentDynamics(2, 1, cell=cell, hidden=5)
    torch.nn.init.normal_(model.readout.weight)
    obs, actions = pendulums(10, 3, 0)
    predicted = model.simulate(obs[:4], actions)
    other = obs.clone()
    other[4:] = 99.0
    torch.testing.assert_close(predicted, model.simulate(other[:4], actions))
    state = model.begin(obs[0])
    for t in range(3):
        state, _ = model.step(state._replace(obs=obs[t]), actions[t])
    state, first = model.step(state._replace(obs=obs[3]), actions[3])
    torch.testing.assert_close(predicted[0], first)
    torch.testing.assert_close(predicted[1], model.step(state, actions[4])[1])


def test_a_linear_system_is_predicted_for_many_periods_where_the_last_value_fails_at_once():
    torch.manual_seed(0)
    obs, actions = pendulums(60, 64, 1)
    model = RecurrentDynamics(2, 1, cell="linear", hidden=4)
    fit(model, obs, actions, warmup=2, stages={1: 150, 10: 150}, batch=64, learning_rate=1e-2)
    truth, pushes = pendulums(200, 8, 2)
    with torch.no_grad():
        error = open_loop_error(model.simulate(truth[:2], pushes), truth[2:], truth.std((0, 1)))
    last = open_loop_error(truth[1:2].expand_as(truth[2:]), truth[2:], truth.std((0, 1)))
    period = 2 * torch.pi / 0.3  # steps
    assert horizon(error).float().mean() > 5 * period > 4 * horizon(last).float().mean()


@pytest.mark.parametrize(("cell", "layers"), [("gru", ()), ("lstm", (6,)), ("elman", (6, 5))])
def test_one_step_ahead_on_the_fast_path_equals_stepping_with_measured_readings(cell, layers):
    torch.manual_seed(0)
    obs, actions = pendulums(12, 3, 0)
    model = RecurrentDynamics(2, 1, cell=cell, hidden=5, layers=layers)
    model.fit_scales(obs, actions)
    torch.nn.init.normal_((model.readout[-1] if layers else model.readout).weight)
    state, errors = model.begin(obs[0]), []
    for t, action in enumerate(actions):
        state, ahead = model.step(state._replace(obs=obs[t]), action)
        errors.append((ahead - obs[t + 1]) / model.change_scale.std)
    torch.testing.assert_close(model.one_step_loss(obs, actions, 4), torch.stack(errors)[4:].square().mean())


def test_a_bounded_model_stays_within_what_was_seen_and_is_not_asked_to_hit_a_stop_from_within():
    torch.manual_seed(0)
    obs, actions = pendulums(20, 16, 0)
    obs = obs.clamp(-1, 1)
    model = RecurrentDynamics(2, 1, cell="elman", hidden=5, bounded=True)
    model.fit_scales(obs, actions)
    at = obs[1:].abs() == 1.0
    model.readout.bias.data = (obs.sign()[1:][at][0] * 50.0).expand(2).clone()  # far beyond one of the stops
    ahead = model.step(model.begin(obs[0]), actions[0])[1]
    assert (ahead.abs() == 1.0).all()
    error = (model.readout.bias - model.change_scale(obs[1:] - obs[:-1])).detach()
    beyond = at & (error.sign() == obs[1:].sign())
    expected = torch.where(beyond, 0.0, error).square().mean()
    torch.testing.assert_close(model.one_step_loss(obs, actions, 0), expected)
    assert 0.1 < beyond.float().mean() < 0.9


def test_learning_one_step_ahead_finds_a_hidden_velocity():
    torch.manual_seed(0)
    obs, actions = pendulums(60, 64, 1, hide_velocity=True)
    model = RecurrentDynamics(1, 1, cell="linear", hidden=4)
    losses = fit(model, obs, actions, warmup=5, stages={5: 20}, one_step=200, section=20, batch=64, learning_rate=1e-2)
    assert len(losses) == 220 and losses[199] < 0.02 < 0.2 < losses[0]


def test_the_ensemble_deals_each_row_to_its_member_and_finds_a_linear_map():
    torch.manual_seed(0)
    model = Ensemble(2, 1, members=3, hidden=24)
    obs, actions = pendulums(40, 20, 3)
    rows = (obs[:-1].reshape(-1, 2), actions.reshape(-1, 1), obs[1:].reshape(-1, 2))
    model.fit(*rows, steps=300, batch=128, learning_rate=5e-3)
    mean, std = model.spread(rows[0][:7], rows[1][:7])
    state, following = model.step(model.begin(rows[0][:7]), rows[1][:7])
    torch.testing.assert_close(following, torch.stack([mean[k % 3, k] for k in range(7)]))
    assert (following - rows[2][:7]).abs().max() < 0.1
    far = torch.full((7, 2), 8.0)
    assert model.spread(far, rows[1][:7])[0].std(0).mean() > 3 * mean.std(0).mean()


def test_the_ensemble_learns_how_noisy_the_world_is():
    torch.manual_seed(0)
    x = torch.rand(2000, 1) * 2 - 1
    noise = torch.where(x > 0, 0.5, 0.02) * torch.randn(2000, 1)
    model = Ensemble(1, 1, members=2, hidden=24)
    model.fit(x, torch.zeros(2000, 1), x + noise, steps=500, learning_rate=5e-3)
    _, std = model.spread(torch.tensor([[0.5], [-0.5]]), torch.zeros(2, 1))
    assert std[:, 0].mean() == pytest.approx(0.5, rel=0.25) and std[:, 1].mean() < 0.1


def test_a_model_refuses_another_body():
    model = RecurrentDynamics(3, 1, body="newt")
    model.check("newt", 3, 1)
    with pytest.raises(
        BodyMismatch, match=r"trained on 'newt' \(3 readings, 1 action\), asked about 'eel' \(3 readings"
    ):
        model.check("eel", 3, 1)
    with pytest.raises(BodyMismatch, match=r"asked about 'newt' \(3 readings, 2 actions\)"):
        model.check("newt", 3, 2)
    with pytest.raises(BodyMismatch, match="knows 1 actions, received 2"):
        model.step(model.begin(torch.zeros(2, 3)), torch.zeros(2, 2))
    for other in (model, Ensemble(3, 1)):
        with pytest.raises(BodyMismatch, match="3 readings"):
            other.begin(torch.zeros(2, 4))


def test_two_hot_weights_have_the_mean_they_stand_for():
    bins = torch.linspace(-6, 6, 41)
    x = symlog(torch.tensor([-300.0, -1.0, 0.0, 0.123, 55.0]))
    weights = two_hot(x, bins)
    assert ((weights > 0).sum(-1) <= 2).all()
    torch.testing.assert_close(weights @ bins, x)
    torch.testing.assert_close(symexp(two_hot_mean((weights + 1e-9).log(), bins)), symexp(x), rtol=1e-3, atol=1e-3)


def test_balanced_divergence_moves_the_prior_and_the_posterior_at_their_own_rates_and_spares_free_nats():
    q = torch.tensor([[[0.7, 0.3]]]).log().requires_grad_()
    p = torch.tensor([[[0.2, 0.8]]]).log().requires_grad_()
    exact = (0.7 * torch.tensor(0.7 / 0.2).log() + 0.3 * torch.tensor(0.3 / 0.8).log()).item()
    loss, plain = balanced_kl(q, p, free=0.1, balance=0.2)
    assert plain.item() == pytest.approx(exact) and loss.item() == pytest.approx(1.2 * exact, rel=1e-5)
    loss.backward()
    assert p.grad.flatten().tolist() == pytest.approx([-0.7, -0.3])  # d KL / d log p = -q, not weighed by balance
    assert q.grad[0, 0, 0].item() == pytest.approx(0.2 * 0.7 * (torch.tensor(0.7 / 0.2).log().item() + 1), rel=1e-4)
    q.grad = p.grad = None
    balanced_kl(q, p, free=10.0)[0].backward()
    assert not p.grad.any() and not q.grad.any()


def test_the_latent_model_forgets_at_resets_and_learns_a_reward_it_sees():
    torch.manual_seed(0)
    model = RSSM(2, 1, hidden=32, groups=4, classes=4)
    obs, actions = torch.randn(6, 3, 2), torch.randn(6, 3, 1)
    first = torch.zeros(6, 3, dtype=torch.bool)
    first[3] = True
    torch.manual_seed(1)
    with torch.no_grad():
        _, whole, _ = model.run(obs, actions, first)
        zeroed = actions.clone()
        zeroed[3] = 0.0
        _, late, _ = model.run(obs[3:], zeroed[3:])
    torch.testing.assert_close(whole[3], late[0])

    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    signs = torch.randint(0, 2, (8, 16)) * 2.0 - 1
    seen = torch.stack([signs, -signs], -1)
    losses = []
    for _ in range(120):
        parts = model.loss(seen, torch.zeros(8, 16, 1), 5 * signs, torch.ones(8, 16))
        loss = parts["obs"] + parts["reward"] + parts["continues"] + parts["kl"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(parts["reward"].item())
    assert losses[-1] < 0.3 < losses[0]
    with torch.no_grad():
        states, _, _ = model.run(seen, torch.zeros(8, 16, 1))
        _, reward, going = model.decode(states[-1])
    assert (reward - 5 * signs[-1]).abs().mean() < 1.0 and (going > 0.9).all()


def test_stress_weighs_increments_and_what_they_add_up_to():
    still = torch.zeros(4, 1, 2)
    still[1:, 0, 1] = torch.tensor([0.0, 1.0, 1.0])  # the second reading is an increment; a new model predicts zero
    still[2:, 0, 0] = 2.0
    reading, increment, total = (4 + 4) / 2, (1 + 1) / 2, (1 + 4) / 2
    for stress in (1.0, 3.0):
        model = RecurrentDynamics(2, 1, hidden=2, sums=[1], stress=stress)
        found = model.loss(still, torch.zeros(3, 1, 1), 2).item()
        assert found == pytest.approx((reading + stress * (increment + total)) / (1 + 2 * stress))
