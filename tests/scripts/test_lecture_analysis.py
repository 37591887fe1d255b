"""The lectures' figures that open networks: their numbers are those of the mathematics."""

import math

import pytest


@pytest.fixture(scope="module")
def tables(script, tmp_path_factory):
    lecture, out = script("lecture"), tmp_path_factory.mktemp("opened")
    return {i: lecture.main(lecture.Args(id=i, out=out))[i] for i in ("H14", "H16", "H20", "H22")}


def test_a_non_normal_matrix_grows_to_thirteen_and_a_half(tables):
    numbers = tables["H14"].numbers
    assert numbers["peak of ||D^k||"] == pytest.approx(13.5, abs=0.05) and numbers["spectral radius"] < 1


def test_an_open_forget_gate_makes_a_running_sum(tables):
    numbers = tables["H16"].numbers
    expected = math.tanh(1) + math.tanh(0.5) + math.tanh(-1)
    assert numbers["f = 1.0: c at the end"] == pytest.approx(expected, abs=1e-5)
    assert abs(numbers["f = 0.7: c at the end"]) < 1e-3


def test_conditioning_of_a_normal_matrix_is_the_ratio_of_its_eigenvalues(tables):
    numbers = tables["H20"].numbers
    assert numbers["condition at lag 30, normal"] == pytest.approx((0.98 / 0.7) ** 30, rel=1e-9)
    assert numbers["condition at lag 30, skewed"] > numbers["condition at lag 30, normal"]
    assert numbers["valley, momentum 0.9: last loss"] < 1e-3 * numbers["valley, momentum 0.0: last loss"]


def test_the_logistic_unit_folds_at_the_taught_places_and_clipping_tames_the_cliff(tables):
    numbers = tables["H22"].numbers
    assert numbers["fold 1: b"] == pytest.approx(-2.656, abs=1e-3)
    assert numbers["fold 2: b"] == pytest.approx(-2.344, abs=1e-3)
    assert numbers["plain: longest step"] > 10 * numbers["clipped at 0.1: longest step"]
    assert numbers["clipped at 0.1: last loss"] < 0.1 * numbers["plain: last loss"]


FIGURES = "H7 H8 H9 H13 H15 H17 H18 H19 H21 H23 H24 H26 H29 H30 H31 H32 H38 H39"


@pytest.mark.slow
@pytest.mark.parametrize("figure", FIGURES.split())
def test_figures_are_computed_and_drawn(script, tmp_path, figure):
    lecture = script("lecture")
    table = lecture.main(lecture.Args(id=figure, out=tmp_path))[figure]
    assert all(math.isfinite(value) for value in table.numbers.values())
    assert (tmp_path / f"{figure}.png").stat().st_size > 5000
