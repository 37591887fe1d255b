"""Central pattern generators of the salamander: phase oscillators, leaky-integrator neurons, rate neurons."""

from rnn.cpg.leaky import LeakyCell
from rnn.cpg.phase import PhaseCell
from rnn.cpg.rate import RateCell
from rnn.cpg.wiring import drive_input

__all__ = ["LeakyCell", "PhaseCell", "RateCell", "drive_input"]
