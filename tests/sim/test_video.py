"""Films: what is on the screen is what is in the traces, and a film always comes out."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim import video
from sim.anatomy import LINK_CENTRES, SWIM_REST
from sim.drawn import DrawnView
from sim.encode import Mp4Writer, WebpWriter, find_ffmpeg
from sim.footage import Footage, describe_edit
from sim.hud import Hud
from sim.ink import EDIT, LEFT, RIGHT
from sim.render import GL_REMEDY, NoGL, RenderedView, choose_backend, open_context
from sim.strip import Strip, area_mean

SMALL = {"width": 480, "height": 360}


def swimmer(seconds: float = 2.0, dt: float = 0.01, speed: float = 0.5, units: int = 8, length: float = 0.1) -> dict:
    """Traces of a made-up animal that undulates at 2 Hz, moves along +x, and steps with its feet at duty 0.7."""
    time = dt * (1 + np.arange(round(seconds / dt)))
    T = len(time)
    phase = 2 * np.pi * (2.0 * time[:, None] - np.arange(units) / units)
    left, right = 1 + np.cos(phase), 1 - np.cos(phase)
    drive = np.full((T, 4), 4.0)
    x = speed * length * time[:, None] - length * LINK_CENTRES
    y = 0.05 * length * np.sin(2 * np.pi * (2.0 * time[:, None] - LINK_CENTRES))
    links = np.stack([x, y, np.zeros_like(x)], -1)
    stance = (2.0 * time[:, None] + np.array([0.0, 0.5, 0.5, 0.0])) % 1.0 < 0.7
    sides = [f"body.{side}[{i}]" for side in ("left", "right") for i in range(units)]
    root = np.stack([x[:, 0] + 0.065 * length, y[:, 0], *np.zeros((1, T)), *np.eye(4)[:1].T.repeat(T, 1)], 1)
    return {
        "time": time,
        "link_positions": links,
        "heading": np.zeros(T),
        "foot_contact": stance,
        "foot_positions": links[:, [1, 1, 4, 4]] + 0.1 * length * np.array([[0, 1, 0], [0, -1, 0]] * 2),
        "neurons": np.concatenate([left, right, drive], 1),
        "neuron_names": np.array([*sides, *(f"drive.{s}[{i}]" for s in ("left", "right") for i in (0, 1))]),
        "drive": drive,
        "clamped": np.zeros((T, 2 * units + 4), bool),
        "submerged": np.ones((T, 9)),
        "qpos": np.concatenate([root, np.tile(SWIM_REST, (T, 1))], 1),
        "world": "pool",
        "controller": "phase",
        "length": length,
    }


def clamp_first_unit(traces: dict, start: int = 50, stop: int = 100) -> dict:
    """The same traces with `body.left[0]` held at 0 from one step to another."""
    clamped, neurons = traces["clamped"].copy(), traces["neurons"].copy()
    clamped[start:stop, 0], neurons[start:stop, 0] = True, 0.0
    edit = {"kind": "clamp", "address": "body.left[0]", "start": start, "stop": stop, "value": 0.0}
    return {**traces, "clamped": clamped, "neurons": neurons, "edits": json.dumps([edit])}


def is_colour(image: np.ndarray, colour: tuple[int, int, int], tolerance: int = 3) -> np.ndarray:
    return (np.abs(image.astype(int) - colour) <= tolerance).all(-1)


# --- Footage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.5, -0.3, 0.0])
def test_speed_is_the_displacement_over_time_in_body_lengths(speed):
    footage = Footage.load(swimmer(speed=speed))
    assert np.allclose(footage.speed[60:-60], speed, atol=0.01)


def test_an_edit_acts_from_its_first_step_until_before_its_last():
    footage = Footage.load(clamp_first_unit(swimmer(), 50, 100))
    active = np.array([bool(footage.active(t)) for t in footage.time])
    assert np.array_equal(active, footage.clamped.any(1))


def test_an_edit_without_an_end_lasts_to_the_end():
    edits = json.dumps([{"kind": "lesion", "address": "limb.*", "start": 150, "stop": None, "rows": None}])
    footage = Footage.load({**swimmer(), "edits": edits})
    assert [e.label for e in footage.active(footage.time[-1])] == ["lesion limb.*"]
    assert not footage.active(footage.time[149])


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"kind": "scale", "address": "h", "factor": 0.5}, "scale h \u00d7 0.5"),
        ({"kind": "noise", "address": "h[2]", "std": 0.1, "seed": 0}, "noise h[2] \u00b1 0.1"),
        ({"kind": "add", "address": "h", "value": -2.0}, "add h + -2"),
        ({"kind": "clamp", "address": "h", "value": [1.0, None]}, "clamp h = [2 values]"),
        ({"kind": "patch", "address": "c", "values": [[1.0]]}, "patch c"),
    ],
)
def test_edits_are_named_by_what_they_do(edit, words):
    assert describe_edit(edit) == words


def test_the_gait_is_told_from_motion_and_bearing_feet():
    traces = swimmer()
    still = {**traces, "link_positions": np.repeat(traces["link_positions"][:1], len(traces["time"]), 0)}
    afloat = {**traces, "foot_contact": np.zeros_like(traces["foot_contact"])}
    ashore = {**traces, "submerged": np.zeros_like(traces["submerged"])}
    stranded = {**afloat, "submerged": ashore["submerged"]}
    for case, gait in ((still, "rest"), (afloat, "swim"), (ashore, "walk"), (stranded, "slither")):
        assert set(Footage.load(case).gait) == {gait}


def test_a_diverged_run_is_shown_until_where_it_stopped():
    traces = swimmer()
    traces["link_positions"][120:] = np.nan
    footage = Footage.load(traces)
    assert np.array_equal(footage.link_positions[150], footage.link_positions[119])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"link_positions": None}, "needs `link_positions`"),
        ({"drive": np.zeros((7, 4))}, "one row per time"),
        ({"neuron_names": np.array(["a"])}, "pass one each"),
        ({"time": np.zeros(200)}, "rising"),
        ({"link_positions": np.full((200, 9, 3), np.nan)}, "diverged in its first step"),
    ],
)
def test_traces_that_make_no_film_are_refused_with_the_reason(change, message):
    traces = {key: value for key, value in {**swimmer(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        Footage.load(traces)


def test_a_run_folder_and_its_traces_file_are_the_same_footage(tmp_path):
    np.savez(tmp_path / "traces.npz", **swimmer())
    a, b = Footage.load(tmp_path), Footage.load(tmp_path / "traces.npz")
    assert np.array_equal(a.neurons, b.neurons) and a.neuron_names == b.neuron_names
    with pytest.raises(FileNotFoundError, match="run folder"):
        Footage.load(tmp_path / "absent")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_damaged_traces_file_is_named(tmp_path, content):
    (tmp_path / "traces.npz").write_bytes(content)
    with pytest.raises(ValueError, match="traces.npz is no traces file"):
        Footage.load(tmp_path)


# --- The time strip and the display -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 40, 333])
def test_resampling_keeps_the_mean(count):
    values = np.random.default_rng(0).normal(size=(40, 3))
    assert np.allclose(area_mean(values, count).mean(0), values.mean(0))


def test_footfall_bars_cover_the_duty_factor():
    traces = swimmer()
    strip = Strip(Footage.load(traces), 240, rate=200.0)
    (band,) = [b for b in strip.bands if b.title == "feet"]
    for foot, colour in enumerate((LEFT, RIGHT, LEFT, RIGHT)):
        row = strip.image[band.top + foot * band.height // 4 + 2]
        assert is_colour(row, colour).mean() == pytest.approx(traces["foot_contact"][:, foot].mean(), abs=0.02)


@pytest.mark.parametrize("units", [2, 9, 40, 170])
def test_every_unit_is_in_the_raster_however_many_there_are(units):
    strip = Strip(Footage.load(swimmer(units=units)), 240, rate=100.0)
    shown = {int(unit) for row in strip.rows if row >= 0 for unit in strip.row_units[row]}
    assert shown == set(range(2 * units))


def test_a_clamped_unit_is_outlined_while_it_is_clamped_and_only_then():
    strip = Strip(Footage.load(clamp_first_unit(swimmer(), 50, 100)), 240, rate=100.0)
    rows = [r for r in range(strip.raster.height) if 0 in strip.row_units[strip.rows[r]]]
    raster = strip.image[strip.raster.top : strip.raster.top + strip.raster.height]
    marked = is_colour(raster, EDIT)
    middle = marked[:, 60:90].all(1)
    assert middle[rows[0]] and middle[rows[-1]] and middle.sum() == 2
    assert not marked[:, :48].any() and not marked[:, 103:].any()


def test_the_cursor_is_where_the_moment_is_drawn():
    footage = Footage.load(swimmer())
    hud = Hud(footage, 960, 540, 296)
    frame = np.zeros((540, 960, 3), np.uint8)
    for time in (0.3, 1.0, 1.7):
        hud.draw(frame, time)
        columns = np.flatnonzero(is_colour(frame[330:500], (235, 239, 244)).all(0))
        assert abs(columns[0] - (hud.GUTTER + hud.span * (time - footage.time[0]) / 2.0)) <= 2


def test_a_run_longer_than_the_window_slides_under_the_cursor():
    footage = Footage.load(swimmer(seconds=30.0))
    hud = Hud(footage, 960, 540, 296, window=5.0)
    frame = np.zeros((540, 960, 3), np.uint8)
    columns = []
    for time in (10.0, 15.0):
        hud.draw(frame, time)
        columns.append(np.flatnonzero(is_colour(frame[330:500], (235, 239, 244)).all(0))[0])
    assert columns[0] == columns[1]


def test_the_bracket_stands_beside_clamped_units_while_they_are_clamped():
    hud = Hud(Footage.load(clamp_first_unit(swimmer(), 50, 100)), 960, 540, 296)
    frame = np.zeros((540, 960, 3), np.uint8)
    seen = []
    for time in (0.3, 0.75, 1.5):
        hud.draw(frame, time)
        seen.append(bool(is_colour(frame[300:450, hud.GUTTER - 5], EDIT).any()))
    assert seen == [False, True, False]


def test_a_run_without_network_feet_or_drive_still_has_a_display():
    full = swimmer()
    bare = {key: full[key] for key in ("time", "link_positions")}
    for extra in ({}, {"joint_angles": np.random.default_rng(0).normal(size=(200, 24))}):
        hud = Hud(Footage.load({**bare, **extra}), 960, 540, 296)
        hud.draw(np.zeros((540, 960, 3), np.uint8), 1.0)


def test_a_frame_too_small_to_read_is_refused():
    with pytest.raises(ValueError, match="at least 480 x 300"):
        Hud(Footage.load(swimmer()), 320, 200, 110)


# --- The drawn view -----------------------------------------------------------------------------------------------


def test_the_drawn_animal_looks_the_same_one_grid_cell_further_on():
    here, there = swimmer(), swimmer()
    for key in ("link_positions", "foot_positions"):
        there[key] = there[key] + np.array([0.05, -0.1, 0.0])
    frames = np.zeros((2, 240, 480, 3), np.uint8)
    for frame, traces in zip(frames, (here, there), strict=True):
        DrawnView(Footage.load(traces), 480, 240).draw(frame, 1.0)
    assert np.abs(frames[0].astype(int) - frames[1]).mean() < 0.1 < frames[0].std()


def test_active_units_light_their_own_side():
    traces = swimmer()
    traces["neurons"][:, :8], traces["neurons"][:, 8:16] = 1.0, 0.0
    frame = np.zeros((240, 480, 3), np.uint8)
    traces["foot_contact"][:] = False
    DrawnView(Footage.load(traces), 480, 240).draw(frame, 1.0)
    assert is_colour(frame, LEFT, 12).sum() > 20 and not is_colour(frame, RIGHT, 12).any()


# --- Files --------------------------------------------------------------------------------------------------------


def probe(path: Path) -> tuple[int, tuple[int, int]]:
    """Number of frames and size of a film."""
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(path))
    size = next(reader)["size"]
    reader.close()
    return imageio_ffmpeg.count_frames_and_secs(str(path))[0], size


def test_a_film_has_a_frame_for_each_thirtieth_of_a_second_and_a_small_copy(tmp_path):
    path = video.film(swimmer(), tmp_path / "new" / "film.mp4", camera="drawn", webp=True, progress=False, **SMALL)
    assert probe(path) == (60, (480, 360))
    with Image.open(path.with_suffix(".webp")) as image:
        assert (image.n_frames, image.size) == (30, (480, 360))
    assert sorted(p.name for p in path.parent.iterdir()) == ["film.mp4", "film.webp"]


def test_slow_motion_of_a_part_has_as_many_frames_as_it_takes(tmp_path):
    path = video.film(
        swimmer(), tmp_path / "f.mp4", camera="drawn", start=0.5, stop=1.0, speed=0.5, progress=False, **SMALL
    )
    assert probe(path)[0] == 30


def test_without_ffmpeg_the_film_is_an_animated_webp(tmp_path, monkeypatch, capsys):
    def none() -> str:
        raise RuntimeError("no ffmpeg was found; apt-get install ffmpeg")

    monkeypatch.setattr(video, "find_ffmpeg", none)
    path = video.film(swimmer(seconds=1.0), tmp_path / "film.mp4", camera="drawn", progress=False, **SMALL)
    assert path.suffix == ".webp" and "apt-get install ffmpeg" in capsys.readouterr().err
    with Image.open(path) as image:
        assert image.n_frames == 15


def test_without_opengl_the_film_is_drawn_and_says_so_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    video.film(swimmer(seconds=0.5), tmp_path / "film.mp4", progress=False, **SMALL)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "MUJOCO_GL" in said
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr("sim.render._loads", lambda *names: False)
    if choose_backend_works_without_libraries():
        pytest.skip("this platform brings its own OpenGL")
    with pytest.raises(NoGL, match="libegl1 libgl1"):
        choose_backend()


def choose_backend_works_without_libraries() -> bool:
    import sys

    return not sys.platform.startswith("linux")


def test_a_window_system_is_never_opened_without_a_display(monkeypatch):
    if choose_backend_works_without_libraries():
        pytest.skip("only Linux can lack a display")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    with pytest.raises(NoGL, match="display"):
        choose_backend()


def test_an_interrupted_film_leaves_the_older_one(tmp_path, monkeypatch):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"older")
    paint, calls = video._Screen.paint, iter(range(100))

    def interrupt(self, time):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return paint(self, time)

    monkeypatch.setattr(video._Screen, "paint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        video.film(swimmer(), path, camera="drawn", webp=True, progress=False, **SMALL)
    assert path.read_bytes() == b"older" and [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


def test_a_failing_encoder_is_reported_with_its_own_words(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.encode.find_ffmpeg", lambda: shutil.which("false") or "false")
    with pytest.raises(RuntimeError, match="ffmpeg"), Mp4Writer(tmp_path / "a.mp4", 64, 64, 30) as writer:
        for _ in range(100):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_the_small_animation_stays_as_small_as_it_was_asked_to_be(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (12, 90, 160, 3), dtype=np.uint8)
    sizes, frames, lengths = [], [], []
    for limit in (10**9, 60_000, 25_000):
        with WebpWriter(tmp_path / "a.webp", 10, max_bytes=limit) as writer:
            for frame in noise:
                writer.write(frame)
        sizes.append((tmp_path / "a.webp").stat().st_size)
        assert sizes[-1] <= limit
        with Image.open(tmp_path / "a.webp") as image:
            frames.append(image.n_frames)
            image.seek(1)
            image.load()
            lengths.append(image.n_frames * image.info["duration"])
    assert sizes[0] > 60_000 and frames[0] == 12 > frames[2] and set(lengths) == {1200}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera": "moon"}, "the cameras are"),
        ({"width": 481}, "even"),
        ({"fps": 0.0}, "positive"),
        ({"start": 5.0}, "the run lasts from"),
    ],
)
def test_impossible_films_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        video.film(swimmer(), tmp_path / "new" / "film.mp4", progress=False, **{"camera": "drawn", **SMALL, **options})
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="choose another place"):
        video.film(swimmer(), tmp_path / "file" / "film.mp4", camera="drawn", progress=False, **SMALL)


def test_the_bundled_ffmpeg_runs():
    assert subprocess.run([find_ffmpeg(), "-version"], capture_output=True, check=False).returncode == 0


# --- The rendered view --------------------------------------------------------------------------------------------


@pytest.fixture
def opengl():
    """Skips where no off-screen context can be opened."""
    try:
        context, _ = open_context(64, 64)
    except NoGL as error:
        pytest.skip(f"{error} ({GL_REMEDY})")
    context.free()


rendered = [pytest.mark.render, pytest.mark.xdist_group("gl"), pytest.mark.usefixtures("opengl")]


class TestRendered:
    pytestmark = rendered

    @pytest.mark.parametrize("camera", ["follow", "top", "side"])
    def test_a_moment_looks_the_same_whenever_it_is_rendered(self, camera):
        view = RenderedView(Footage.load(swimmer()), 240, 120, camera)
        frames = np.zeros((3, 120, 240, 3), np.uint8)
        for frame, time in zip(frames, (0.5, 1.2, 0.5), strict=True):
            view.draw(frame, time)
        steps = view.data.time
        view.close()
        assert np.array_equal(frames[0], frames[2]) and (frames[0] != frames[1]).any() and frames[0].std() > 3
        assert steps == 0.0  # nothing was simulated

    def test_the_animal_is_in_the_middle_of_the_picture_from_above(self):
        traces = swimmer(speed=3.0)
        far = {**traces, "world": "pool"}
        view = RenderedView(Footage.load(far), 240, 120, "top", activity=False)
        view.option.geomgroup[:] = [0, 0, 0, 1, 0, 0]  # only the physical body
        view.option.skingroup[:] = 0
        frame = np.zeros((120, 240, 3), np.uint8)
        view.draw(frame, 1.5)
        background = frame[2, 2].astype(int)
        view.close()
        body = np.argwhere(np.abs(frame - background).max(-1) > 12)
        assert len(body) > 50 and np.abs(body.mean(0) - [60, 120]).max() < 15

    def test_positions_of_another_body_are_refused(self):
        traces = swimmer()
        with pytest.raises(ValueError, match="another version of the body"):
            RenderedView(Footage.load({**traces, "qpos": traces["qpos"][:, :-1]}), 240, 120)

    def test_the_script_films_a_run_folder_from_the_side(self, tmp_path):
        from scripts.film import Args, main

        np.savez(tmp_path / "traces.npz", **clamp_first_unit(swimmer(seconds=1.5)))
        path = main(Args(run=tmp_path, camera="side", out=tmp_path / "side.mp4", fps=10, width=480, height=360))
        assert probe(path)[0] == 15
