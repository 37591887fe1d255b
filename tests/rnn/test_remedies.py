"""Remedies against vanishing and exploding gradients that act on weights, and what noise while training is good for."""

import pytest
import torch
from torch.nn.utils.parametrizations import spectral_norm

from rnn.cell import map_state
from rnn.data import Sections
from rnn.fit import Training, fit
from rnn.model import Model
from rnn.models import make_cell
from rnn.remedies import recurrent_weights, rescale_spectral_radius, spectral_radius, start_sensitivity


@pytest.mark.parametrize(("name", "blocks"), [("elman", 1), ("gru", 3), ("lstm", 4), ("linear", 1)])
def test_every_recurrent_block_gets_the_radius_asked_for(name, blocks):
    torch.manual_seed(0)
    cell = make_cell(name, 2, 12)
    with torch.no_grad():
        for weight in recurrent_weights(cell).values():
            weight.copy_(torch.randn_like(weight))
    before = rescale_spectral_radius(cell, 0.95)
    assert all(radius > 1 for radius in before.values())
    for weight in recurrent_weights(cell).values():
        radii = [spectral_radius(block) for block in weight.detach().split(12)]
        assert radii == pytest.approx([0.95] * blocks, rel=1e-4)


def test_only_radii_above_are_lowered_and_cells_without_recurrence_are_refused():
    torch.manual_seed(0)
    cell = make_cell("elman", 2, 12)
    rescale_spectral_radius(cell, 0.5)
    rescale_spectral_radius(cell, 0.9, only_above=True)
    assert spectral_radius(cell.weight_hh) == pytest.approx(0.5, rel=1e-4)
    rescale_spectral_radius(cell, 0.3, only_above=True)
    assert spectral_radius(cell.weight_hh) == pytest.approx(0.3, rel=1e-4)
    with pytest.raises(ValueError, match="no recurrent weight matrix"):
        rescale_spectral_radius(make_cell("frame", 2, 4))
    with pytest.raises(ValueError, match="is positive"):
        rescale_spectral_radius(cell, 0.0)


def test_a_radius_below_one_allows_the_transient_growth_that_a_bounded_singular_value_forbids():
    shear = torch.tensor([[0.9, 5.0], [0.0, 0.8]])
    assert spectral_radius(shear) == pytest.approx(0.9)
    powers = [torch.linalg.matrix_power(shear, n) for n in range(1, 60)]
    norms = torch.stack([torch.linalg.matrix_norm(power, 2) for power in powers])
    assert norms.max() > 10 and norms[-1] < 0.2  # up to 13.5 before it decays
    layer = torch.nn.Linear(2, 2, bias=False)
    layer.weight.data.copy_(shear)
    bounded = spectral_norm(layer, n_power_iterations=50).weight.detach()
    assert torch.linalg.matrix_norm(bounded, 2) == pytest.approx(1.0, rel=1e-3)
    assert spectral_radius(bounded) < 0.3  # far less than is needed for stability


def test_the_radius_is_held_down_while_training():
    torch.manual_seed(0)
    held, free = (Model(make_cell("elman", 1, 8), 1) for _ in range(2))
    for model, after_step in ((held, hold), (free, None)):
        rescale_spectral_radius(model.cell, 0.95)
        fit(model, lagged(20, 8), settings=Training(iterations=10, lr=0.01, check_every=5), after_step=after_step)
    assert spectral_radius(held.cell.weight_hh) <= 0.7 + 1e-4
    assert spectral_radius(free.cell.weight_hh) > 0.8


def hold(model):
    rescale_spectral_radius(model.cell, 0.7, only_above=True)


def lagged(T, B):
    """The answer is the input two steps ago."""
    us = torch.randn(T, B, 1, generator=torch.Generator().manual_seed(1))
    ys = torch.cat([torch.zeros(2, B, 1), us[:-2]])
    return Sections(us, ys, torch.ones(T, B, dtype=torch.bool))


def test_the_sensitivity_to_the_start_is_the_size_of_the_derivative():
    torch.manual_seed(0)
    model = Model(make_cell("linear", 1, 3, output_size=1), 1).double()
    us = torch.zeros(6, 400, 1, dtype=torch.float64)
    found = start_sensitivity(model, us)
    state = model.cell.initial_state(1)
    leaves = []
    map_state(lambda leaf: leaves.append(leaf) or leaf, state)
    exact = []
    for t in range(6):
        run = lambda h, t=t: model(us[: t + 1, :1], type(state)(h)).outputs[t, 0]
        exact.append(torch.autograd.functional.jacobian(run, leaves[0]).norm())
    assert torch.allclose(found, torch.stack(exact), rtol=0.1)  # an average over random directions


def test_noise_and_random_starts_while_training_make_a_network_forget_where_it_began():
    late = {}
    for name, extra in {"plain": {}, "noise": {"noise": 0.2}, "starts": {"random_start": 1.0}}.items():
        torch.manual_seed(0)
        model = Model(make_cell("elman", 1, 12), 1)
        rescale_spectral_radius(model.cell, 0.98)
        data = lagged(20, 16)
        fit(model, data, settings=Training(iterations=80, lr=0.02, seed=0, **extra))
        late[name] = float(start_sensitivity(model, data.us)[8:].mean())
    assert late["noise"] < 0.8 * late["plain"] and late["starts"] < 0.8 * late["plain"]
