"""Central pattern generators of the salamander: phase oscillators, leaky-integrator neurons, rate neurons."""

from rnn.cpg.phase import PhaseCell
from rnn.cpg.wiring import drive_input

__all__ = ["PhaseCell", "drive_input"]
