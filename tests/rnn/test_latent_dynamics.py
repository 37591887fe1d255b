import pytest
import torch

from rnn.dynamics import BodyMismatch, open_loop_error
from rnn.latent_dynamics import LatentDynamics
from rnn.open_loop import coverage


def swings(B, T, seed):
    """A lightly damped oscillator under random pushes, [T + 1, B, 2] and [T, B, 1]."""
    g = torch.Generator().manual_seed(seed)
    pushes = torch.randn(T, B, 1, generator=g)
    x, xs = torch.randn(B, 2, generator=g), []
    A = 0.99 * torch.tensor([[0.9, -0.436], [0.436, 0.9]])
    for u in pushes:
        xs.append(x)
        x = x @ A.T + 0.1 * u
    return torch.stack([*xs, x]), pushes


def test_measurements_are_used_while_they_last_and_courses_part_afterwards():
    torch.manual_seed(0)
    model = LatentDynamics(2, 1, hidden=8, groups=2, classes=4)
    obs, pushes = swings(3, 12, 0)
    courses = model.simulate(obs[:5], pushes, samples=6)
    assert courses.shape == (6, 8, 3, 2) and courses.std(0).max() > 0
    seen = []
    model.core.observe = lambda state, action, o, inner=model.core.observe, **kw: (
        seen.append(o),
        inner(state, action, o, **kw),
    )[1]
    model.simulate(obs[:5], pushes)
    torch.testing.assert_close(torch.stack(seen), model.obs_scale(obs[:5]))
    once, twice = (model.step(model.begin(obs[0]), pushes[0])[1] for _ in range(2))
    assert torch.equal(once, twice)  # what a planner compares actions by does not depend on luck


@pytest.mark.slow
def test_an_oscillator_is_foretold_better_than_by_its_last_reading_and_with_honest_intervals():
    torch.manual_seed(0)
    obs, pushes = swings(64, 80, 1)
    held, more = swings(32, 60, 2)
    model = LatentDynamics(2, 1, hidden=48, groups=6, classes=8)
    losses = model.fit(obs, pushes, steps=300, section=32)
    assert sum(losses[-20:]) < 0.2 * sum(losses[:20])
    courses, truth, std = model.simulate(held[:6], more, samples=20), held[6:], obs.std((0, 1))
    error = open_loop_error(courses.mean(0), truth, std)[:10].square().mean().sqrt()
    last = open_loop_error(held[5:6].expand_as(truth), truth, std)[:10].square().mean().sqrt()
    assert error < 0.3 * last
    assert 0.6 < coverage(courses, truth)[5:20].mean() <= 1


def test_what_does_not_fit_is_refused():
    model, (obs, pushes) = LatentDynamics(2, 1, hidden=4, groups=1, classes=2), swings(3, 12, 0)
    with pytest.raises(BodyMismatch, match="2 readings"):
        model.simulate(torch.zeros(3, 2, 5), pushes)
    with pytest.raises(BodyMismatch, match="2 readings"):
        model.begin(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="shorten"):
        model.fit(obs, pushes, section=64)
    with pytest.raises(ValueError, match="precision"):
        LatentDynamics(2, 1, precision=0.0)
    with pytest.raises(ValueError, match="obs has .* not finite"):
        model.fit(obs * torch.nan, pushes, section=8, steps=1)
    with pytest.raises(FloatingPointError, match="learning rate"):
        model.fit(obs, pushes, torch.full(pushes.shape[:2], torch.nan), section=8, steps=1)
