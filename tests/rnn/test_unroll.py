"""What must hold for any cell run over time, shown on a small named one."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rnn import Add, Cell, Clamp, ClampBoard, EditPlan, Lesion, Noise, Patch, Scale, no_tap, unroll
from rnn.cell import map_state, resolve, unit_labels


class PairState(NamedTuple):
    h: Tensor
    fast: Tensor


class Pair(Cell):
    """A tanh network with a fast trace, named in two groups of three."""

    def __init__(self) -> None:
        super().__init__()
        self.input_size, self.output_size = 2, 6
        self.inner, self.outer = nn.Linear(6, 6), nn.Linear(2, 6)

    def initial_state(self, batch: int) -> PairState:
        return PairState(self.zeros(batch, 6), self.zeros(batch, 6))

    def groups(self):
        return {"h": {"limb.left": (0, 1, 2), "limb.right": (3, 4, 5)}, "input": {"drive": (0,), "bias": (1,)}}

    def forward(self, x, state, tap=no_tap):
        x = tap("input", x)
        fast = tap("fast", 0.5 * state.fast + self.outer(x))
        h = tap("h", torch.tanh(self.inner(state.h) + fast))
        return h, PairState(h, fast)


@pytest.fixture
def cell() -> Pair:
    torch.manual_seed(0)
    return Pair().double()


@pytest.fixture
def xs() -> Tensor:
    return torch.randn(12, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_two_halves_equal_the_whole(cell, xs):
    whole = unroll(cell, xs)
    first = unroll(cell, xs[:5])
    second = unroll(cell, xs[5:], first.state, start=5)
    assert torch.equal(whole.outputs, torch.cat([first.outputs, second.outputs]))


def test_a_reset_equals_a_fresh_start(cell, xs):
    resets = torch.zeros(12, 4, dtype=torch.bool)
    resets[7, 2] = True
    run = unroll(cell, xs, resets=resets)
    assert torch.allclose(run.outputs[7:, 2], unroll(cell, xs[7:]).outputs[:, 2], atol=1e-14)
    assert torch.equal(run.outputs[:, 0], unroll(cell, xs).outputs[:, 0])


def test_a_batch_row_equals_a_single_run(cell, xs):
    assert torch.allclose(unroll(cell, xs).outputs[:, 3:], unroll(cell, xs[:, 3:]).outputs, atol=1e-14)


def test_an_empty_set_of_edits_and_recording_change_nothing(cell, xs):
    before = {name: value.clone() for name, value in cell.state_dict().items()}
    run = unroll(cell, xs, record=("h", "fast", "input"))
    assert torch.equal(run.outputs, unroll(cell, xs).outputs)
    assert torch.equal(run.trace["h"], run.outputs) and torch.equal(run.trace["input"], xs)
    assert all(torch.equal(before[name], value) for name, value in cell.state_dict().items())


def test_a_clamped_unit_stays_put_and_the_trace_records_it(cell, xs):
    edits = (Clamp("h[4]", 0.8, steps=slice(3, 9)),)
    run = unroll(cell, xs, edits=edits, record=("h",))
    free = unroll(cell, xs)
    assert torch.all(run.trace["h"][3:9, :, 4] == 0.8) and torch.equal(run.outputs, run.trace["h"])
    assert torch.equal(run.outputs[:3], free.outputs[:3])
    others = [0, 1, 2, 3, 5]
    assert torch.equal(run.outputs[3, :, others], free.outputs[3, :, others]), "a clamp acts on others one step later"
    assert not torch.allclose(run.outputs[4, :, others], free.outputs[4, :, others])


def test_steps_of_edits_count_from_the_start_of_the_rollout(cell, xs):
    edits = (Clamp("h", 0.3, steps=slice(103, 104)),)
    run = unroll(cell, xs, start=100, edits=edits)
    assert torch.all(run.outputs[3] == 0.3) and not torch.any(run.outputs[4] == 0.3)


def test_one_value_per_row_edits_each_row_by_itself(cell, xs):
    nan = float("nan")
    run = unroll(cell, xs, edits=(Clamp("h[0]", [0.1, 0.2, nan, 0.4]),))
    free = unroll(cell, xs)
    for row, value in ((0, 0.1), (1, 0.2), (3, 0.4)):
        assert torch.all(run.outputs[:, row, 0] == value)
    assert torch.equal(run.outputs[:, 2], free.outputs[:, 2])


def test_one_pass_lesions_every_unit_in_its_own_row(cell):
    xs = torch.ones(8, 6, 2, dtype=torch.float64)
    table = torch.full((6, 6), float("nan"), dtype=torch.float64)
    table.fill_diagonal_(0.0)
    run = unroll(cell, xs, edits=(Clamp("h", table),))
    for unit in range(6):
        alone = unroll(cell, xs[:, :1], edits=(Lesion(f"h[{unit}]"),))
        assert torch.allclose(run.outputs[:, unit], alone.outputs[:, 0], atol=1e-14)


def test_a_patch_transplants_another_runs_course(cell, xs):
    donor = unroll(cell, xs.flip(0), record=("fast",))
    run = unroll(cell, xs, edits=(Patch("fast", donor.trace["fast"]),), record=("fast",))
    assert torch.equal(run.trace["fast"], donor.trace["fast"])
    assert torch.allclose(run.outputs, donor.outputs, atol=1e-14), "the network hears its input only through `fast`"


def test_add_scale_and_noise_do_what_they_say(cell, xs):
    free = unroll(cell, xs[:1], record=("fast",))
    for edit, expected in (
        (Add("fast", 0.5), free.trace["fast"] + 0.5),
        (Scale("fast", -2.0), free.trace["fast"] * -2.0),
    ):
        assert torch.allclose(unroll(cell, xs[:1], edits=(edit,), record=("fast",)).trace["fast"], expected)
    noisy = unroll(cell, torch.zeros(400, 8, 2).double(), edits=(Noise("input", 0.3, seed=4),), record=("input",))
    assert abs(noisy.trace["input"].std().item() - 0.3) < 0.01
    again = unroll(cell, torch.zeros(400, 8, 2).double(), edits=(Noise("input", 0.3, seed=4),), record=("input",))
    assert torch.equal(noisy.trace["input"], again.trace["input"])


def test_gradients_pass_through_edits_and_stop_at_clamps(cell, xs):
    value = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    unroll(cell, xs, edits=(Clamp("limb.left", value),)).outputs[-1].sum().backward()
    assert value.grad is not None and value.grad.abs() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in cell.parameters())
    cell.zero_grad()
    unroll(cell, xs, edits=(Clamp("h", 0.1),)).outputs.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in cell.parameters())


def test_addresses_name_groups_quantities_and_patterns(cell):
    assert resolve(cell, "limb.right[1:3]")[0].units == (4, 5)
    assert resolve(cell, "h[-1]")[0].units == (5,)
    assert resolve(cell, "fast.limb.right") == [("fast", (3, 4, 5))]
    assert {target.units for target in resolve(cell, "limb.*")} == {(0, 1, 2), (3, 4, 5)}
    assert resolve(cell, "drive") == [("input", (0,))]
    assert unit_labels(cell)[3] == "limb.right[0]"
    assert unit_labels(cell, "input") == ["drive", "bias"]


def test_unknown_addresses_list_near_matches(cell):
    with pytest.raises(KeyError, match="limb.left"):
        resolve(cell, "limb.lift")
    with pytest.raises(IndexError, match="3 units"):
        resolve(cell, "limb.left[3]")
    with pytest.raises(KeyError, match="NAME"):
        unroll(cell, torch.zeros(2, 1, 2).double(), edits=(Clamp("h[[", 1.0),))


def test_wrong_shapes_are_refused_with_the_remedy(cell, xs):
    with pytest.raises(ValueError, match="time first"):
        unroll(cell, xs[0])
    with pytest.raises(ValueError, match=r"shape \(12, 4\)"):
        unroll(cell, xs, resets=torch.zeros(4, dtype=torch.bool))


def test_the_board_acts_live_and_its_history_replays_the_run(cell, xs):
    board = ClampBoard(cell)
    state, live = None, []
    for t in range(12):
        if t == 2:
            board.set("limb.left[1]", 0.7)
        if t == 5:
            board.set("h[5]", mode="silence")
            board.set("limb.left[1]", -0.2)
        if t == 9:
            board.clear()
        run = unroll(cell, xs[t : t + 1], state, start=t, edits=board)
        state = run.state
        live.append(run.outputs)
    replay = unroll(cell, xs, edits=board.history())
    assert torch.equal(torch.cat(live), replay.outputs)
    assert torch.all(replay.outputs[2:5, :, 1] == 0.7) and torch.all(replay.outputs[5:9, :, 5] == 0)
    with pytest.raises(KeyError):
        board.set("nobody", 1.0)


def test_a_plan_made_once_equals_edits_resolved_anew(cell, xs):
    edits = (Clamp("limb.left", 0.1, steps=slice(2, 4)), Lesion("limb.right[0]", steps=slice(6, None)))
    plan = EditPlan(cell, edits, record=("h",))
    state, parts = None, []
    for t in range(12):
        run = unroll(cell, xs[t : t + 1], state, start=t, edits=plan)
        state = run.state
        parts.append(run.trace["h"])
    assert torch.equal(torch.cat(parts), unroll(cell, xs, edits=edits, record=("h",)).trace["h"])


def test_map_state_keeps_the_structure():
    state = (PairState(torch.ones(2), torch.zeros(2)), PairState(torch.ones(1), torch.ones(1)))
    doubled = map_state(lambda v: 2 * v, state)
    assert isinstance(doubled[1], PairState) and doubled[0].h.tolist() == [2.0, 2.0]
