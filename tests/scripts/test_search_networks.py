"""The searches for the neuron networks' numbers run, improve and store what the cells can read."""

import copy
import json

import numpy as np
import pytest
import torch

from rnn import Clamp, unroll
from rnn.cpg import LeakyCell, RateCell
from rnn.cpg.neurons import stored_parameters
from rnn.cpg.search import Knob, evolve


@pytest.mark.parametrize("name, cell", [("evolve_leaky", LeakyCell), ("tune_rate", RateCell)])
def test_a_short_search_stores_numbers_that_make_a_network(script, name, cell, tmp_path):
    search = script(name)
    args = search.Args(out=tmp_path / "numbers.json", stages=("segment",), generations=2, population=5)
    search.main(args)
    stored = json.loads(args.out.read_text())
    assert stored["loss"]["segment"] >= 0 and "--seed 1" in stored["command"]
    cell(segments=3, limbs=(), parameters=stored)
    for make_knobs, _ in search.STAGES.values():
        for knob in make_knobs(stored):
            knob.write(stored, knob.read(stored))
    cell(parameters=stored)


@pytest.mark.parametrize("network", ["leaky", "rate"])
def test_candidates_on_the_body_are_the_networks_of_their_own_numbers(script, network):
    search = script("tune_on_body")
    stored = stored_parameters(network)
    other = copy.deepcopy(stored)
    for knob in search.knobs(network, other):
        knob.write(other, 0.45)
    newts = [search.Newt(4.0, 4.0), search.Newt(4.4, 3.6), search.Newt(2.0, 2.0, noisy=True)]
    make, written = search.CELLS[network]
    cells = [make(parameters=p) for p in (stored, other)]
    edits = search.edits(cells, written, newts, search.Args())
    start = lambda batch: make(parameters=stored).initial_state(batch)
    run = lambda cell, batch, edits: (
        unroll(cell, cell.zeros(60, batch, cell.input_size), start(batch), edits=edits).outputs
    )
    together = run(make(parameters=stored), 6, edits)
    for c, cell in enumerate(cells):
        for row, newt in enumerate(newts):
            drives = [Clamp("drive.left", newt.left), Clamp("drive.right", newt.right)]
            alone = run(cell, 1, drives)[:, 0]
            assert torch.allclose(together[:, 3 * c + row], alone, atol=1e-5) != newt.noisy


def test_the_search_finds_a_known_minimum_and_survives_losses_that_are_not_numbers():
    knobs = [Knob(("a",), 0.01, 10.0, log=True), Knob(("b", 0), -5.0, 5.0)]

    def loss(candidates):
        values = [np.log(c["a"] / 0.5) ** 2 + (c["b"][0] - 2) ** 2 for c in candidates]
        return np.array([np.nan, *values[1:]])

    start = {"a": 3.0, "b": [-3.0]}
    best, value = evolve(start, knobs, loss, generations=60, population=12, seed=1)
    assert value < 1e-4
    assert best["a"] == pytest.approx(0.5, rel=0.05) and best["b"][0] == pytest.approx(2.0, abs=0.05)
    assert start == {"a": 3.0, "b": [-3.0]}
