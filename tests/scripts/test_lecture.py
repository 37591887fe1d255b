"""The lectures' figures: the printed numbers are those of the lectures, and a drawing needs no more than its table."""

import pytest


@pytest.fixture(scope="module")
def lecture(script):
    return script("lecture")


@pytest.fixture(scope="module")
def tables(lecture, tmp_path_factory):
    out = tmp_path_factory.mktemp("lectures")
    ids = ("H1", "H2", "H3", "H11", "H12", "H27", "H34", "H35", "H36")
    return out, {i: lecture.main(lecture.Args(id=i, out=out))[i] for i in ids}


def test_the_numbers_are_those_of_the_lectures(tables):
    _, found = tables
    expected = {
        ("H2", "r_2"): 1.1429, ("H2", "r_3"): 1.1293, ("H2", "r_4"): 1.0625, ("H2", "extremum 2"): -0.8037,
        ("H2", "extremum 3"): 0.5698, ("H2", "backward: modulus"): 0.9759, ("H2", "backward: period, steps"): 28.56,
        ("H2", "symplectic: period, steps"): 28.04, ("H3", "peak gain"): 4.5826, ("H3", "at, rad per step"): 0.2187,
        ("H11", "logistic, step 3"): 0.651, ("H11", "logistic, step 100"): 0.65905,
        ("H11", "tanh from 0.5, step 100"): 0.119, ("H35", "largest difference of gradients"): 0.0,
    }  # fmt: skip
    for (figure, name), value in expected.items():
        assert found[figure].numbers[name] == pytest.approx(value, abs=5e-3 if value > 5 else 1e-3), (figure, name)


def test_contributions_of_the_steps_sum_to_the_gradient(tables):
    numbers = tables[1]["H12"].numbers
    for loss in ("loss at the last step", "loss at every step"):
        whole = numbers[f"{loss}: dJ/dU by backpropagation through time"]
        assert numbers[f"{loss}: sum of the contributions"] == pytest.approx(whole, rel=1e-12)


def test_a_figure_is_drawn_again_from_its_table_alone(lecture, tables):
    out, found = tables
    for name in ("H2", "H12", "H34"):
        table = found[name]
        (out / f"{name}.png").unlink()
        again = lecture.main(lecture.Args(id=name, out=out, redraw=True))[name]
        assert again.rows == table.rows and again.numbers == pytest.approx(table.numbers, nan_ok=True)
        assert (out / f"{name}.png").stat().st_size > 5000


def test_every_figure_is_listed_once_and_unknown_ones_are_refused(lecture, tmp_path, capsys):
    lecture.main(lecture.Args(list=True))
    listed = capsys.readouterr().out
    for number in (1, 2, 3, 4, 5, 10, 11, 12, 27, 28, 33, 34, 35, 36, 37):
        assert f"H{number} " in listed
    with pytest.raises(SystemExit, match="H2"):
        lecture.main(lecture.Args(id="H99", out=tmp_path))
    with pytest.raises(FileNotFoundError, match="without --redraw"):
        lecture.main(lecture.Args(id="H1", out=tmp_path, redraw=True))
