"""Exported steps against torch over 200 steps: numpy alone for every cell, ONNX where it is installed."""

import copy
import importlib.util

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.cpg_policy import CpgActor
from agents.export import CellStep, PolicyStep, export_numpy, export_onnx, step_inputs
from agents.numpy_runner import NumpyRunner
from agents.policies import RecurrentPolicy
from rnn.cpg import LeakyCell, PhaseCell, RateCell, drive_input
from rnn.models import CELLS, make_cell
from rnn.stack import Stack

MISSING = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
NAMES = [name for name, (module, *_) in CELLS.items() if importlib.util.find_spec(module)]


GENERATORS = {
    "phase": lambda: PhaseCell(segments=4),
    "leaky neurons": LeakyCell,
    "rate neurons": RateCell,
    "actor": lambda: CpgActor(3, PhaseCell(segments=2, limbs=()), feedback=0.1),
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


@pytest.mark.parametrize("name", [*NAMES, *GENERATORS, "stack"])
def test_the_numpy_runner_follows_torch_over_200_steps_for_every_cell(name, tmp_path):
    step = CellStep(build(name).eval())
    xs = inputs(step)
    runner = NumpyRunner(export_numpy(step, tmp_path))
    ours, theirs = np.array([runner(x.numpy()) for x in xs]), torch_course(step, xs)
    # Two runs in single precision, each as far from double precision as torch is, may differ by a few times as much.
    rounding = np.abs(theirs - torch_course(copy.deepcopy(step).double(), xs.double())).max()
    assert rounding < 1e-4
    np.testing.assert_allclose(ours, theirs, atol=max(1e-5, 4 * rounding), rtol=1e-5)
    runner.reset()
    np.testing.assert_array_equal(runner(xs[0].numpy()), ours[0])


@pytest.mark.parametrize(
    "space",
    [spaces.Discrete(3, start=2), spaces.MultiDiscrete([2, 3]), spaces.Box(np.float32([-2, 0]), np.float32([2, 1]))],
)
def test_an_exported_policy_takes_the_actions_of_the_policy(space, tmp_path):
    torch.manual_seed(0)
    policy = RecurrentPolicy(4, space, hidden=8, previous_action=True)
    torch.nn.init.normal_(policy.head.linear.weight)
    policy.scale.update(torch.randn(100, 4))
    runner = NumpyRunner(export_numpy(PolicyStep(policy), tmp_path))
    state, first = policy.initial_state(1), torch.ones(1, dtype=torch.bool)
    for x in torch.randn(50, 4):
        state = policy.act(x[None], state, first, explore=False)
        first = torch.zeros(1, dtype=torch.bool)
        ours = runner(x.numpy())
        assert np.allclose(ours.reshape(np.shape(policy.to_env(state)[0])), policy.to_env(state)[0], atol=1e-5)


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.filterwarnings("ignore")
def test_onnx_of_a_continuous_policy_that_hears_its_last_action_loads_and_follows_torch(tmp_path):
    import onnxruntime

    torch.manual_seed(0)
    policy = RecurrentPolicy(4, spaces.Box(-2, 2, (2,)), hidden=8, previous_action=True)
    torch.nn.init.normal_(policy.head.linear.weight)
    step = PolicyStep(policy)
    session = onnxruntime.InferenceSession(str(export_onnx(step, tmp_path / "policy.onnx")))
    names, state = [i.name for i in session.get_inputs()], [part.numpy() for part in step_inputs(step)[1:]]
    xs, outputs = torch.randn(50, 4), []
    for x in xs:
        y, *state = session.run(None, dict(zip(names, [x[None].numpy(), *state], strict=True)))
        outputs.append(y[0])
    np.testing.assert_allclose(np.array(outputs), torch_course(step, xs), atol=1e-5)


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


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*NAMES, *GENERATORS, "stack"])
def test_onnx_follows_torch_over_200_steps_for_every_cell(name, tmp_path):
    import onnxruntime

    step = CellStep(build(name).eval())
    session = onnxruntime.InferenceSession(str(export_onnx(step, tmp_path / "cell.onnx")))
    xs = inputs(step)
    _, *fresh = step_inputs(step)
    state, outputs = [part.numpy() for part in fresh], []
    names = [i.name for i in session.get_inputs()]
    for x in xs:
        y, *state = session.run(None, dict(zip(names, [x[None].numpy(), *state], strict=True)))
        outputs.append(y[0])
    truth = torch_course(step, xs)
    # As above: what rounding alone makes of 200 steps of an oscillator is no fault of the export.
    rounding = np.abs(truth - torch_course(copy.deepcopy(step).double(), xs.double())).max()
    assert rounding < 1e-4
    np.testing.assert_allclose(np.array(outputs), truth, atol=max(1e-5, 4 * rounding), rtol=1e-5)


@pytest.mark.parametrize("name", ["gru", "leaky neurons"])
def test_a_step_in_double_precision_starts_in_double_precision(name):
    step = CellStep(build(name)).double()
    parts = step_inputs(step)
    assert {part.dtype for part in (*parts, *step(*parts))} == {torch.float64}


def test_a_folder_that_holds_no_export_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no exported controller"):
        NumpyRunner(tmp_path)
