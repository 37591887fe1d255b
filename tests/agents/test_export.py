"""Exported steps against torch over 200 steps: numpy alone for every cell, ONNX where it is installed."""

import importlib.util

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.cpg_policy import CpgActor
from agents.double_forms import elu, gelu
from agents.export import CellStep, DoubleStep, PolicyStep, export_numpy, export_onnx, step_inputs
from agents.export_check import export_checked, probes, run_onnx
from agents.numpy_runner import NumpyRunner
from agents.policies import RecurrentPolicy
from agents.spinal_actor import SpinalActor
from rnn.cpg import LeakyCell, PhaseCell, RateCell, drive_input
from rnn.models import CELLS, make_cell
from rnn.stack import Stack

MISSING = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
NAMES = [name for name, (module, *_) in CELLS.items() if importlib.util.find_spec(module)]


GENERATORS = {
    "phase": lambda: PhaseCell(segments=4),
    "leaky neurons": LeakyCell,
    "rate neurons": RateCell,
    "actor": lambda: CpgActor(3, PhaseCell(segments=2, limbs=()), feedback=0.1),
    "spinal actor": lambda: SpinalActor(3, drive=2.0),
}


def build(name):
    torch.manual_seed(0)
    if name in GENERATORS:
        return GENERATORS[name]()
    if name == "stack":
        return Stack([make_cell("gru", 3, 5), make_cell("lstm", 5, 4)])
    return make_cell(name, 3, 8)


def torch_course(step, xs):
    """Outputs of a step over time, the state carried by hand."""
    _, *state = step_inputs(step)
    outputs = []
    with torch.no_grad():
        for x in xs:
            y, *state = step(x[None], *state)
            outputs.append(y[0].numpy())
    return np.array(outputs)


def inputs(step, steps=200):
    cell = getattr(step, "cell", None)
    if isinstance(cell, PhaseCell | LeakyCell | RateCell):  # a drive that rises through walking to swimming
        return torch.cat([drive_input(cell, float(d)) for d in torch.linspace(1.5, 4.5, steps)])
    return 0.5 * torch.randn(steps, step.inputs, generator=torch.Generator().manual_seed(1))


def written(step, precision):
    return step if precision == "single" else DoubleStep(step)


@pytest.mark.parametrize("name", [*NAMES, *GENERATORS, "stack"])
def test_every_cell_written_for_numpy_follows_torch_over_200_steps(name, tmp_path):
    step = CellStep(build(name).eval())
    xs = inputs(step)
    found = export_checked(step, tmp_path, "numpy", xs=xs)
    runner = NumpyRunner(tmp_path)
    ours, theirs = np.array([runner(x.numpy()) for x in xs]), torch_course(written(step, found.precision), xs)
    assert found.holds and np.abs(ours - theirs).max() == pytest.approx(found.difference) and found.difference <= 1e-5
    runner.reset()
    np.testing.assert_array_equal(runner(xs[0].numpy()), ours[0])


def test_a_cell_that_misses_in_single_precision_is_written_in_double(tmp_path):
    """Its activity grows to 30, where numbers in single precision are 2e-6 apart, and no step forgets an error."""
    torch.manual_seed(0)
    step = CellStep(make_cell("orthogonal", 3, 64))
    check = lambda precision: export_checked(step, tmp_path, "numpy", xs=inputs(step), precision=precision)
    single, double = check("single"), check("double")
    assert not single.holds and single.difference > 1e-5
    assert double.holds and check("auto") == double
    runner = NumpyRunner(tmp_path)
    assert {part.dtype for part in runner.state} == {np.dtype("float64")}
    assert runner(inputs(step)[0].numpy()).dtype == np.float32
    assert step.cell.weight_ih.dtype == torch.float32  # what was given is as it was


def test_an_export_of_what_is_not_a_number_holds_in_no_precision(tmp_path):
    step = CellStep(build("gru"))
    torch.nn.init.constant_(step.cell.weight_ih, np.nan)
    found = export_checked(step, tmp_path, "numpy")
    assert not found.holds and np.isnan(found.difference)


@pytest.mark.parametrize("wrong", [{"form": "onxn"}, {"form": "numpy", "precision": "half"}])
def test_unknown_forms_and_precisions_are_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match="received '(onxn|half)'"):
        export_checked(CellStep(build("gru")), tmp_path, **wrong)


def test_policies_are_compared_on_observations_like_those_they_have_seen():
    policy = RecurrentPolicy(2, spaces.Discrete(2), hidden=4)
    policy.scale.update(torch.tensor([5.0, -1.0]) + torch.randn(1000, 2) * torch.tensor([0.1, 30.0]))
    xs = probes(PolicyStep(policy), 1000)
    torch.testing.assert_close(xs.mean(0), policy.scale.mean, atol=3.0, rtol=0.1)
    torch.testing.assert_close(xs.std(0), policy.scale.var.sqrt(), atol=0.0, rtol=0.1)


def test_functions_of_their_own_for_double_precision_are_torchs_to_the_last_digits():
    x = torch.linspace(-40, 40, 100_001, dtype=torch.float64)
    assert (gelu(x) - torch.nn.functional.gelu(x)).abs().max() < 1e-14
    assert (elu(x, 0.7) - torch.nn.functional.elu(x, 0.7)).abs().max() < 1e-15
    with pytest.raises(ValueError, match="exact GELU"):
        gelu(x, "tanh")


@pytest.mark.parametrize(
    "space",
    [spaces.Discrete(3, start=2), spaces.MultiDiscrete([2, 3]), spaces.Box(np.float32([-2, 0]), np.float32([2, 1]))],
)
def test_an_exported_policy_takes_the_actions_of_the_policy(space, tmp_path):
    torch.manual_seed(0)
    policy = RecurrentPolicy(4, space, hidden=8, previous_action=True)
    torch.nn.init.normal_(policy.head.linear.weight)
    policy.scale.update(torch.randn(100, 4))
    double = DoubleStep(PolicyStep(policy))
    assert {part.dtype for part in double(*step_inputs(double))[1:]} == {torch.float64}
    runner = NumpyRunner(export_numpy(PolicyStep(policy), tmp_path))
    state, first = policy.initial_state(1), torch.ones(1, dtype=torch.bool)
    for x in torch.randn(50, 4):
        state = policy.act(x[None], state, first, explore=False)
        first = torch.zeros(1, dtype=torch.bool)
        ours = runner(x.numpy())
        assert np.allclose(ours.reshape(np.shape(policy.to_env(state)[0])), policy.to_env(state)[0], atol=1e-5)


@needs_onnx
def test_onnx_of_a_continuous_policy_that_hears_its_last_action_loads_and_follows_torch(tmp_path):
    torch.manual_seed(0)
    policy = RecurrentPolicy(4, spaces.Box(-2, 2, (2,)), hidden=8, previous_action=True)
    torch.nn.init.normal_(policy.head.linear.weight)
    step, xs = PolicyStep(policy), torch.randn(50, 4)
    ours = run_onnx(export_onnx(step, tmp_path / "policy.onnx"), step, xs)
    np.testing.assert_allclose(ours, torch_course(step, xs), atol=1e-5)


def test_an_exported_controller_balances_a_pole_by_itself(tmp_path):
    """The whole loop without torch: a hand-made rule in the weights of a memoryless policy, pushed to numpy."""
    policy = RecurrentPolicy(4, spaces.Discrete(2), cell="frame", hidden=4, layers=(), normalise=False)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
        rule = torch.tensor([0.0, 0.1, 1.0, 0.3])
        weight = next(p for p in policy.actor_cell.parameters() if p.dim() == 2)
        weight[0] = rule
        policy.head.linear.weight[1, 0] = 1.0
    runner = NumpyRunner(export_numpy(PolicyStep(policy), tmp_path))
    env = gymnasium.make("CartPole-v1")
    obs, _ = env.reset(seed=0)
    for _ in range(200):
        obs, _, terminated, _, _ = env.step(int(runner(obs)[0]))
        assert not terminated


@needs_onnx
@pytest.mark.parametrize("name", [*NAMES, *GENERATORS, "stack"])
def test_every_cell_written_as_onnx_follows_torch_over_200_steps(name, tmp_path):
    step = CellStep(build(name).eval())
    xs = inputs(step)
    found = export_checked(step, tmp_path / "cell.onnx", "onnx", xs=xs)
    step = written(step, found.precision)
    ours = run_onnx(tmp_path / "cell.onnx", step, xs)
    assert found.holds and np.abs(ours - torch_course(step, xs)).max() <= 1e-5


@needs_onnx
@pytest.mark.parametrize("name", ["transformer", "linear_attention", "leaky neurons"])
def test_onnx_in_double_precision_keeps_the_digits_of_its_numbers(name, tmp_path):
    """Functions that onnxruntime has in single precision only, and numbers that torch's exporter would round."""
    step = CellStep(build(name).double().eval())
    xs = inputs(step).double()
    ours = run_onnx(export_onnx(step, tmp_path / "cell.onnx"), step, xs)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, torch_course(step, xs), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", ["gru", "leaky neurons"])
def test_a_step_in_double_precision_starts_in_double_precision(name):
    step = CellStep(build(name)).double()
    parts = step_inputs(step)
    assert {part.dtype for part in (*parts, *step(*parts))} == {torch.float64}


def test_a_folder_that_holds_no_export_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no exported controller"):
        NumpyRunner(tmp_path)
