"""A network that learned the newt's motion is one more controller: it can be stored, edited, recorded and steered."""

import json
import math

import numpy as np
import pytest
import torch

from agents.experiment import live, make_worlds
from agents.imitation import Imitation, Imitator, build_cell, free_run, imitate
from agents.learned import AngleMotor, make_learned
from agents.motion import Motion, gait_of
from agents.policy_zoo import ZOO, load_policy, policies, save_policy
from agents.reproduction import bands_held, contraction, in_the_body, reproduce
from agents.schedule import Schedule
from rnn import Clamp, edits_from_json
from rnn.cell import quantities, unit_labels
from sim.reference import recorded_cycle, swim_sweep_checks

CONFIG = {"cell": "gru", "hidden": 6, "data": "both", "dt": 0.01}


@pytest.fixture
def policy(tmp_path):
    torch.manual_seed(3)
    cell = build_cell("gru", 6, Motion.load("both"))
    return save_policy(tmp_path / "tiny", cell, CONFIG), cell


def test_the_motion_is_the_recorded_one_in_both_gaits_up_to_a_phase():
    motion = Motion.load("recorded")
    for gait, drive, joints in (("walk", 2.0, 24), ("swim", 3.9, 8)):
        ours = motion.cycle(gait, drive, samples=200)[:, :joints].numpy()
        animal = recorded_cycle(gait)(np.arange(200) / 200)
        ours, animal = ours - ours.mean(0), animal - animal.mean(0)
        gains = [np.sum(np.roll(animal, k, 0) * ours) / np.sum(animal**2) for k in range(200)]
        best = np.roll(animal, int(np.argmax(gains)), 0)
        assert max(gains) == pytest.approx(1.0, abs=0.09), "its amplitude, raised by what the muscles lose"
        assert np.sqrt(np.mean((ours - max(gains) * best) ** 2)) < math.radians(1.3)


def test_the_phase_goes_as_fast_as_the_law_says_and_stands_still_at_rest():
    motion = Motion.load("simulated")
    drives = torch.tensor([0.5, 2.0, 4.0, 2.0])
    limb = torch.tensor([0.0, 0.0, 0.0, 4.0])
    state = motion.start(torch.zeros(4), drives, drives, limb)
    course, _ = motion.follow(*(d.expand(300, -1) for d in (drives, drives, limb)), state)
    rate = (course.phase[-1] - course.phase[99]) / 2.0
    assert torch.allclose(rate, torch.tensor([0.0, 0.90, 3.21, 1.93]), atol=0.01)
    assert gait_of(drives, drives, limb).tolist() == [0, 1, 2, 2]


def test_more_drive_on_the_left_bends_the_motion_to_the_left_and_mirrored_drives_mirror_it():
    motion = Motion.load("both")
    left, right = (motion.cycle("swim", 4.0, half=h).mean(0)[:8] for h in (0.6, -0.6))
    straight = motion.cycle("swim", 4.0).mean(0)[:8]
    assert (left > straight + 0.01).all()
    assert torch.allclose(left - straight, straight - right, atol=0.005)


def test_a_turn_on_land_has_twice_the_yaw_and_half_the_bend_that_the_phase_network_commands():
    told, learned = Motion.load("simulated"), Motion.load("both")
    odd = lambda motion: motion.cycle("walk", 2.2, half=0.5) - motion.cycle("walk", 2.2, half=-0.5)
    yaw, others = slice(8, 24, 4), [j for j in range(8, 24) if j % 4]
    assert torch.allclose(odd(learned)[:, yaw], 2 * odd(told)[:, yaw], atol=1e-5)
    assert torch.allclose(odd(learned)[:, others], odd(told)[:, others], atol=1e-5)
    assert torch.allclose(odd(learned)[:, :8].mean(0), 0.5 * odd(told)[:, :8].mean(0), atol=1e-5)
    assert odd(told)[:, yaw].abs().max() > 0.2


@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_half_of_the_units_see_the_edge_between_the_gaits_and_no_gate_does(name):
    torch.manual_seed(0)
    cell = build_cell(name, 20, Motion.load("both"))
    blocks = cell.core.weight_ih.detach().unflatten(0, (-1, 20))[..., :3]
    edge = blocks[min(2, len(blocks) - 1), :10]
    at_three = torch.tensor([[0.4, -0.4, 0.0], [-0.6, -0.6, 0.3]])  # mean 3; mean 2.4 and limb offset 0.6
    assert torch.allclose(edge @ at_three.T, torch.zeros(10, 2), atol=1e-4)
    plain = 4 / 20**0.5
    assert blocks[:, 10:].abs().max() <= plain < edge.abs().max()
    assert all(block[:10].abs().max() <= plain for k, block in enumerate(blocks[:-1]) if k != 2)


def test_muscles_hold_the_joints_at_the_targets():
    """The fixed point of an Ekeberg joint, alpha (L - R) = beta (gamma + L + R) phi with alpha / beta = pi / 2."""
    q = torch.zeros(3, 24)
    q[:, :8] = torch.tensor([[-0.6], [0.1], [1.0]])
    spine = AngleMotor("muscle")(q)[:, :16].unflatten(1, (8, 2))
    left, right = spine.unbind(2)
    assert (spine >= 0).all()
    assert torch.allclose(math.pi / 2 * (left - right) / (1 + left + right), q[:, :8], atol=1e-5)


def test_a_stored_network_comes_back_bit_for_bit_with_a_card(policy):
    folder, cell = policy
    again, card = load_policy(folder)
    drives = torch.tensor([[4.0, 4.0, 0.0]])
    assert torch.equal(free_run(again, drives, 40).outputs, free_run(cell, drives, 40).outputs)
    assert card["cell"] == "gru" and "gru network of 6 units" in (folder / "README.md").read_text()
    assert json.loads((folder / "config.json").read_text())["hidden"] == 6


def test_an_unknown_network_and_one_for_another_body_are_refused(policy, tmp_path):
    with pytest.raises(ValueError, match="there is no trained network 'zoo/newt_grv'.*learn_motion"):
        load_policy("zoo/newt_grv")
    fish = save_policy(tmp_path / "fish", policy[1], {**CONFIG, "joints": ["tail.1", "tail.2"]})
    with pytest.raises(ValueError, match="another body: it moves 2 joints, this one has 24"):
        load_policy(fish)
    (policy[0] / "network.safetensors").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="damaged"):
        load_policy(policy[0])


def test_drives_and_every_unit_can_be_clamped_and_are_recorded(policy):
    edits = [Clamp("h[2]", 0.5, steps=slice(10, 20)), Clamp("drive.left", 4.6, steps=slice(5, None))]
    controller = make_learned(str(policy[0]), Schedule.constant(4.0), edits=edits)
    env = make_worlds("pool")
    recorder = live(env, controller, 0.3, progress=None)
    traces = recorder.traces()
    names = traces["neuron_names"].tolist()
    h, left = traces["neurons"][:, names.index("h[2]")], traces["neurons"][:, names.index("drive.left[0]")]
    assert np.all(h[10:20] == 0.5) and not np.any(h[:10] == 0.5) and not np.any(h[20:] == 0.5)
    assert left[4] == 4.0 and np.all(left[5:] == np.float32(4.6))
    assert traces["clamped"][12].sum() == 3 and traces["drive"].shape == (30, 4)
    assert len(edits_from_json(str(traces["edits"]))) == 2
    assert {"input", "encoded", "update", "h", "output"} <= set(quantities(controller.cell))
    assert unit_labels(controller.cell, "output")[0] == "axis.1"


def test_what_the_body_feels_reaches_the_network_only_in_closed_loop(policy):
    env = make_worlds("pool")
    angles = np.full((1, 24), 0.2)
    feel = make_learned(str(policy[0]), Schedule.constant(4.0), feedback=lambda: angles)
    deaf = make_learned(str(policy[0]), Schedule.constant(4.0))
    assert feel.input(0, 1)[0, 8:].tolist() == pytest.approx([-0.2] * 8 + [0.2] * 8)
    assert torch.count_nonzero(deaf.input(0, 1)[0, 8:]) == 0
    env.close()


def test_a_row_that_goes_on_is_compared_in_its_own_phase():
    torch.manual_seed(0)
    motion = Motion.load("both")
    imitator = Imitator(build_cell("gru", 4, motion), motion, Imitation(rows=5))
    drives = torch.tensor([2.0, 2.0, 4.0, 4.0, 4.0])
    state = motion.start(torch.linspace(0, 0.8, 5), drives, drives, torch.zeros(5))
    course, _ = motion.follow(*(d.expand(200, -1) for d in (drives, drives, torch.zeros(5))), state)
    ahead = torch.tensor([0.1, -0.2, 0.3, -0.45, 0.0])
    found = imitator._shift(motion.angles(course, ahead), motion.angles(course), course, motion.series(course))
    assert torch.allclose(found, ahead, atol=0.035)


def test_learning_lowers_the_loss_and_is_the_same_for_the_same_seed():
    motion, losses = Motion.load("both"), []
    for _ in range(2):
        torch.manual_seed(1)
        cell = build_cell("gru", 12, motion)
        courses: list[float] = []
        imitator = Imitator(cell, motion, Imitation(rows=16, steps=40, seed=5))
        optimiser = torch.optim.Adam(imitator.parameters(), lr=0.01)
        for _ in range(25):
            optimiser.zero_grad()
            loss = imitator.section(push=0.0)
            loss.backward()
            optimiser.step()
            courses.append(float(loss.detach()))
        losses.append(courses)
    assert losses[0] == losses[1]
    assert np.mean(losses[0][-5:]) < 0.6 * np.mean(losses[0][:5])


def test_a_loss_that_is_not_a_number_stops_training_with_a_remedy():
    motion = Motion.load("both")
    cell = build_cell("gru", 4, motion)
    with torch.no_grad():
        cell.readout.bias[0] = math.nan
    with pytest.raises(ValueError, match="lower the learning rate"):
        imitate(cell, motion, Imitation(iterations=1, rows=2, steps=5))


NETWORKS = policies() or [pytest.param("none", marks=pytest.mark.skip(reason="the zoo is empty"))]


@pytest.mark.parametrize("name", NETWORKS)
class TestZoo:
    def test_it_keeps_the_motion_and_forgets_a_push(self, name):
        cell, card = load_policy(f"zoo/{name}")
        motion = Motion.load(card["data"])
        for gait, drive in (("swim", 4.0), ("walk", 2.0)):
            kept = reproduce(cell, motion, gait, cycles=1000)
            assert kept.phase_error < 0.05 and abs(kept.drift) < 0.02, kept
            assert kept.amplitude_error < 0.10, "of the recorded amplitude, in every joint"
            assert kept.frequency == pytest.approx(kept.wanted, rel=0.03)
            assert contraction(cell, drive)["multiplier"] < 0.9
        assert sum(p.stat().st_size for p in (ZOO / name).iterdir()) < 300_000

    @pytest.mark.slow
    def test_it_swims_and_walks_inside_every_band_open_and_closed_loop(self, name):
        cell, _ = load_policy(f"zoo/{name}")
        for gait, world, drive in (("swim", "pool", 4.0), ("walk", "land", 2.0)):
            for closed in (False, True):
                sides = [(drive, drive), (drive + 0.6, drive - 0.6), (drive - 0.6, drive + 0.6)]
                straight, left, right = in_the_body(cell, world, sides, closed=closed)
                assert bands_held(straight, gait)[2] == []
                assert left.yaw_rate > 2 and right.yaw_rate < -2, "towards the more driven side, on land as in water"
                assert left.yaw_rate - right.yaw_rate > 10

    @pytest.mark.slow
    def test_it_covers_the_frequencies_and_strides_of_the_animal_over_swimming_drives_from_3_to_5(self, name):
        cell, _ = load_policy(f"zoo/{name}")
        runs = in_the_body(cell, "pool", [(d, d) for d in (3.01, 3.5, 4.0, 4.5, 5.0)])
        assert [row.label for row in swim_sweep_checks(runs) if not row.passed] == []
        assert all(bands_held(run, "swim")[2] == [] for run in runs)
