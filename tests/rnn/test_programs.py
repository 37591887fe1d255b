"""Networks that are something else in disguise: programs, feed-forward networks, modules; and how runs begin."""

import random

import pytest
import torch

from rnn.cell import resolve
from rnn.edits import Clamp, Lesion
from rnn.elman import ElmanCell
from rnn.feedforward import FeedForward, ModuleCell
from rnn.gru import GRUCell
from rnn.initial import LearnedStart, RandomStart, StartEncoder, StartTable, washout
from rnn.lstm import LSTMCell
from rnn.program import ProgramCell, StateMachine, gait_sequencer
from rnn.stateless import ConvolutionCell, FrameCell, WindowCell
from rnn.unroll import unroll


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_compiled_network_does_what_the_table_says_for_random_events():
    machine = gait_sequencer(turn_steps=5)
    cell = ProgramCell(machine)
    rng = random.Random(0)
    events = [rng.choice(machine.events + ("none",) * 6) for _ in range(3000)]
    run = unroll(cell, cell.encode(events), record=("h",))
    states = machine.run(events)
    assert len(set(states)) == 5, "every gait was visited"
    assert cell.decode(run.trace["h"][:, 0]) == states
    commands = torch.tensor([machine.commands[s] for s in states])
    assert torch.equal(run.outputs[:, 0], commands), "exact, not nearly"
    assert torch.equal(run.trace["h"].sum(-1), torch.ones(3000, 1)), "one unit at a time"


def test_a_turn_ends_by_itself_after_its_time():
    machine = gait_sequencer(turn_steps=7)
    course = machine.run(["go", "obstacle"] + ["none"] * 10)
    assert course == ["walk"] + ["turn on land"] * 7 + ["walk"] * 4


def test_the_program_recovers_from_noise_on_its_units():
    machine = gait_sequencer(turn_steps=5)
    cell = ProgramCell(machine, gain=4.0)
    rng = random.Random(1)
    events = [rng.choice(machine.events) for _ in range(200)]
    state, codes = cell.initial_state(1), []
    noise = torch.Generator().manual_seed(0)
    for x in cell.encode(events):
        shift = (torch.rand(state.h.shape, generator=noise) - 0.5) * 0.017  # 42 units: a sum errs by less than 0.375
        _, state = cell(x, state._replace(h=state.h + shift))
        codes.append(state.h)
    assert cell.decode(torch.cat(codes)) == machine.run(events)
    assert set(torch.cat(codes).unique().tolist()) == {0.0, 1.0}


def test_programs_are_steered_by_clamping_events_and_lesioned_by_state():
    cell = ProgramCell(gait_sequencer())
    quiet = cell.encode(["none"] * 30)
    run = unroll(
        cell, quiet, edits=(Clamp("on.none", 0.0, steps=slice(10, 11)), Clamp("on.go", 1.0, steps=slice(10, 11)))
    )
    assert run.outputs[:10].abs().max() == 0 and (run.outputs[10:] == 2).all()
    dead = unroll(cell, cell.encode(["go"] + ["none"] * 9), edits=(Lesion("walk"),))
    assert dead.outputs.abs().max() == 0
    assert len(resolve(cell, "turn in water")[0].units) > 0


def test_impossible_machines_are_refused():
    with pytest.raises(ValueError, match="fly"):
        StateMachine({"a": (0.0,)}, {("a", "up"): "fly"}, ("y",), "a")
    with pytest.raises(ValueError, match="2 numbers"):
        StateMachine({"a": (0.0,)}, {}, ("y", "z"), "a")
    with pytest.raises(ValueError, match="events are"):
        ProgramCell(gait_sequencer()).encode(["jump"])


@pytest.mark.parametrize("kind", [ElmanCell, LSTMCell, GRUCell])
def test_over_finite_time_a_recurrent_network_is_a_feed_forward_one(kind):
    torch.manual_seed(0)
    cell = kind(2, 4).double()
    xs = normal(9, 3, 2)
    weight = normal(9, 3, 4, seed=1)
    (unroll(cell, xs, path="loop").outputs * weight).sum().backward()
    recurrent = {name: p.grad.clone() for name, p in cell.named_parameters()}
    cell.zero_grad()
    shared = FeedForward(cell, 9)
    assert torch.equal(shared(xs), unroll(cell, xs, path="loop").outputs)
    (shared(xs) * weight).sum().backward()
    cell_grads = {name: p.grad.clone() for name, p in cell.named_parameters()}
    cell.zero_grad()
    apart = FeedForward(cell, 9, shared=False)
    (apart(xs) * weight).sum().backward()
    for name, grad in recurrent.items():
        assert torch.allclose(cell_grads[name], grad, atol=1e-12)
        steps = apart.contributions(name)
        assert steps.shape == (9, *grad.shape) and torch.allclose(steps.sum(0), grad, atol=1e-12)
    with pytest.raises(ValueError, match="depth"):
        shared(xs[:5])
    with pytest.raises(ValueError, match="shared=False"):
        shared.contributions("bias")


def test_any_module_is_a_step_and_its_parameters_do_not_grow_with_time():
    torch.manual_seed(0)
    f = torch.nn.Sequential(torch.nn.Linear(2 + 4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1 + 4))
    cell = ModuleCell(f, 2, 4, output_size=1).double()
    xs = normal(20, 3, 2)
    h, ys = torch.zeros(3, 4, dtype=torch.float64), []
    for x in xs:
        y, h = f(torch.cat([x, h], -1)).split([1, 4], -1)
        ys.append(y)
    assert torch.equal(unroll(cell, xs).outputs, torch.stack(ys))
    count = sum(p.numel() for p in cell.parameters())
    assert count == sum(p.numel() for p in FeedForward(cell, 50).parameters())
    elman = ModuleCell(torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh()), 2, 4)
    assert elman.output_size == 4 and unroll(elman, xs.float()).outputs.shape == (20, 3, 4)
    with pytest.raises(ValueError, match="last layer"):
        ModuleCell(torch.nn.Linear(6, 3), 2, 4)


def test_a_window_and_a_convolution_see_so_far_and_no_further():
    for cell, reach in (
        (WindowCell(1, 3, window=5), 5),
        (ConvolutionCell(1, 3, layers=3, kernel=2), 8),
        (FrameCell(1, 3), 1),
    ):
        xs = normal(20, 1, 1).float().requires_grad_()
        (g,) = torch.autograd.grad(unroll(cell, xs).outputs[15].sum(), xs)
        assert (g.flatten() != 0).nonzero().flatten().tolist() == list(range(16 - reach, 16))


@pytest.mark.parametrize("offset", [False, True])
def test_a_layer_without_memory_runs_all_frames_at_once_and_starts_standardised(offset):
    torch.manual_seed(0)
    xs = torch.rand(30, 5, 2) + 3.0
    cell = FrameCell(2, 7, squash="relu", offset=offset)
    cell.standardise(xs)
    z = xs @ cell.weight.T + cell.bias
    assert z.mean((0, 1)).abs().max() < 1e-5 and torch.allclose(z.std((0, 1)), torch.ones(7), atol=0.01)
    fast, loop = unroll(cell, xs, path="scan"), unroll(cell, xs, path="loop")
    torch.testing.assert_close(fast.outputs, loop.outputs)
    torch.testing.assert_close(fast.state.h, loop.state.h)
    assert (fast.outputs.mean((0, 1)).abs().max() < 1e-5) == offset
    with pytest.raises(ValueError, match="never change"):
        cell.standardise(torch.ones(4, 2))


def test_an_orthogonal_cell_that_starts_near_the_identity_sums_up():
    from rnn.orthogonal import OrthogonalCell

    torch.manual_seed(0)
    cell = OrthogonalCell(2, 16, max_phase=1e-4, gain=0.1)
    xs = torch.randn(50, 3, 2)
    assert torch.allclose(unroll(cell, xs).outputs[-1], xs.sum(0) @ cell.weight_ih.T, atol=0.02)
    with pytest.raises(ValueError, match="max_phase"):
        OrthogonalCell(2, 4, max_phase=4.0)


def test_when_sensors_go_blank_the_stateless_model_fails_and_state_carries_through():
    """The phase of a known oscillation is to be told while the input is covered for 12 of 40 steps."""
    torch.manual_seed(0)

    def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        g = torch.Generator().manual_seed(seed)
        phase = torch.rand(48, generator=g) * 6.28
        t = torch.arange(40.0)[:, None]
        clean = torch.stack([torch.sin(0.5 * t + phase), torch.cos(0.5 * t + phase)], -1)
        seen = clean.clone()
        seen[20:32] = 0.0
        return seen, clean

    blind = {}
    for name, cell in (("gru", GRUCell(2, 24)), ("window", WindowCell(2, 24, window=4)), ("frame", FrameCell(2, 24))):
        readout = torch.nn.Linear(24, 2)
        optimiser = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=0.02)
        for step in range(100):
            xs, ys = draw(step)
            optimiser.zero_grad()
            (readout(unroll(cell, xs).outputs) - ys).square().mean().backward()
            optimiser.step()
        xs, ys = draw(10_000)
        with torch.no_grad():
            blind[name] = (readout(unroll(cell, xs).outputs) - ys)[24:32].square().mean().item()
    assert blind["gru"] < 0.1 and blind["window"] > 0.4 and blind["frame"] > 0.4  # 0.5: knowing nothing


def test_learned_random_and_free_starts_are_what_runs_begin_with():
    torch.manual_seed(0)
    cell = LSTMCell(2, 3).double()
    learned = LearnedStart(cell)
    with torch.no_grad():
        learned.start[1].copy_(normal(1, 3))
    xs, resets = normal(12, 2, 2), torch.zeros(12, 2, dtype=torch.bool)
    resets[6] = True
    for path in ("loop", "fused"):
        run = unroll(learned, xs, resets=resets, path=path)
        again = unroll(cell, xs[6:], learned.initial_state(2)).outputs
        assert torch.allclose(run.outputs[6:], again, atol=1e-12)
        learned.zero_grad()
        run.outputs.sum().backward()
        assert learned.start[1].grad.abs().sum() > 0
    noisy = RandomStart(cell, std=0.5)
    assert not torch.equal(noisy.initial_state(2).c, noisy.initial_state(2).c)
    assert noisy.initial_state(4000).c.std().item() == pytest.approx(0.5, rel=0.05)
    assert noisy.eval().initial_state(2).c.abs().sum() == 0
    assert resolve(noisy, "forget[1]") == resolve(cell, "forget[1]")
    table = StartTable(cell, 5)
    table(torch.tensor([3, 3])).c.sum().backward()
    assert table.table[1].grad[3].tolist() == [2, 2, 2] and table.table[1].grad[[0, 1, 2, 4]].abs().sum() == 0
    assert not {id(p) for p in table.parameters()} & {id(p) for p in cell.parameters()}


def test_an_encoder_reads_the_start_from_the_first_samples_and_washout_forgets_it():
    torch.manual_seed(0)
    cell = GRUCell(2, 3).double()
    encoder = StartEncoder(cell, features=3, window=5).double()
    samples = normal(9, 4, 3).requires_grad_()
    (g,) = torch.autograd.grad(encoder(samples).h.sum(), samples)
    assert (g[:5] != 0).all() and (g[5:] == 0).all()
    with pytest.raises(ValueError, match="longer"):
        encoder(samples[:3])
    xs = normal(400, 1, 2)
    far = cell.initial_state(1)._replace(h=torch.full((1, 3), 0.9, dtype=torch.float64))
    assert torch.allclose(washout(cell, xs).h, washout(cell, xs, far).h, atol=1e-9)
    assert not washout(cell, xs).h.requires_grad
