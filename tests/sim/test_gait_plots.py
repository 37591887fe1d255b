import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sim.anatomy import JOINT_X, LINK_CENTRES
from sim.gait import Trajectory, gait_metrics
from sim.gait_plots import draw_displacement, draw_footfalls, draw_kymograph, plot_gait
from sim.reference import DISPLACEMENT

TIME = np.arange(0, 4, 0.01)
PICTURES = ["joint_angles", "footfalls", "displacement", "kymograph", "path"]


@pytest.fixture(scope="module")
def swimmer():
    spine = 0.4 * np.cos(2 * np.pi * (3.0 * TIME[:, None] - 1.1 * JOINT_X))
    links = np.zeros((400, 9, 3))
    links[:, :, 0] = 0.06 * TIME[:, None] - 0.1 * LINK_CENTRES
    links[:, :, 1] = 0.01 * np.sin(2 * np.pi * (3.0 * TIME[:, None] - LINK_CENTRES))
    contact = (TIME[:, None] - [0.0, 0.5, 0.25, 0.75]) % 1 < 0.6
    angles = np.concatenate([spine, np.zeros((400, 16))], axis=1)
    return Trajectory(TIME, angles, links, contact, np.zeros(400))


def test_all_pictures_are_written_and_show_something(swimmer, tmp_path):
    files = plot_gait(swimmer, tmp_path / "plots")
    assert [f.stem for f in files] == PICTURES
    for file in files:
        pixels = np.asarray(Image.open(file).convert("L"))
        assert pixels.shape == (440, 770) and (pixels < 200).mean() > 0.01


def test_a_still_animal_and_a_recording_of_a_few_steps_can_be_drawn(swimmer, tmp_path):
    still = Trajectory(
        TIME, np.zeros((400, 24)), swimmer.link_positions[:1].repeat(400, 0), np.zeros((400, 4)), TIME * 0
    )
    assert len(plot_gait(still, tmp_path / "still")) == 5
    assert len(plot_gait(swimmer.between(0, 0.2), tmp_path / "short", start=0.0)) == 5


def test_the_footfall_bars_are_the_stances(swimmer):
    axes = Figure().add_subplot()
    draw_footfalls(axes, swimmer)
    bars = [c.get_paths() for c in axes.collections]
    assert [len(foot) for foot in bars] == [4, 5, 4, 5]  # both right feet stand at the start
    first = bars[2][0].get_extents()
    assert (first.x0, first.x1) == (pytest.approx(0.25), pytest.approx(0.85))


def test_the_displacement_plot_shows_the_animals_profiles_and_the_kymograph_the_angles(swimmer):
    axes = Figure().add_subplot()
    draw_displacement(axes, swimmer, gait_metrics(swimmer))
    drawn = [line.get_ydata() for line in axes.get_lines()]
    assert all(any(np.array_equal(p.amplitude, y) for y in drawn) for p in DISPLACEMENT["swim"])
    axes = Figure().add_subplot()
    draw_kymograph(axes, swimmer)
    drawn = np.asarray(axes.get_images()[0].get_array())
    assert drawn[[0, -1]] == pytest.approx(np.degrees(swimmer.spine()).T[[0, -1]])  # first and last joint


def test_pictures_can_be_chosen_and_unknown_ones_are_named(swimmer, tmp_path):
    assert [f.name for f in plot_gait(swimmer, tmp_path, only=["path"])] == ["path.png"]
    with pytest.raises(ValueError, match="received phase"):
        plot_gait(swimmer, tmp_path, only=["phase"])
