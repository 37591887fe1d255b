"""Networks that run programs: a state machine compiled into an exact recurrent network, a controller one can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnn.cell import Tap, no_tap
from rnn.elman import ElmanCell, ElmanState

__all__ = ["ProgramCell", "StateMachine", "gait_sequencer"]


@dataclass(frozen=True)
class StateMachine:
    """A finite-state controller: in each state it gives a command, and events move it on.

    Attributes:
        commands: the output of every state, numbers in the order of `outputs`.
        transitions: `{(state, event): next state}`; for an event that is not listed the state stays.
        outputs: names of the outputs.
        start: where it begins.
        dwell: `{state: (steps, next state)}`: a state that ends by itself after so many steps.

    Raises:
        ValueError: a name that is no state, or commands of the wrong length.
    """

    commands: Mapping[str, Sequence[float]]
    transitions: Mapping[tuple[str, str], str]
    outputs: Sequence[str]
    start: str
    dwell: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {self.start, *self.dwell, *(s for s, _ in self.transitions), *self.transitions.values()}
        named |= {after for _, after in self.dwell.values()}
        if unknown := named - set(self.commands):
            raise ValueError(f"{sorted(unknown)} have no command; the states are {', '.join(self.commands)}")
        if wrong := [s for s, command in self.commands.items() if len(command) != len(self.outputs)]:
            raise ValueError(f"the commands of {wrong} must have {len(self.outputs)} numbers, one per output")
        if short := [s for s, (steps, _) in self.dwell.items() if steps < 1]:
            raise ValueError(f"{short} must dwell for at least one step")

    @property
    def events(self) -> tuple[str, ...]:
        """All events, "none" first."""
        return ("none", *dict.fromkeys(event for _, event in self.transitions if event != "none"))

    def places(self) -> list[tuple[str, int]]:
        """States, those that dwell once per step of their time: (state, steps spent)."""
        return [(s, n) for s in self.commands for n in range(self.dwell.get(s, (1, s))[0])]

    def next(self, place: tuple[str, int], event: str) -> tuple[str, int]:
        """Where an event leads to."""
        state, spent = place
        if (state, event) in self.transitions:
            return self.transitions[state, event], 0
        if state not in self.dwell:
            return place
        steps, after = self.dwell[state]
        return (state, spent + 1) if spent + 1 < steps else (after, 0)

    def run(self, events: Iterable[str]) -> list[str]:
        """The states after each event, by table look-up.

        >>> gait_sequencer().run(["none", "go", "water", "stop"])
        ['rest', 'walk', 'swim', 'rest']
        """
        place, course = (self.start, 0), []
        for event in events:
            place = self.next(place, event)
            course.append(place[0])
        return course


class ProgramCell(ElmanCell):
    r"""A state machine as a simple recurrent network, exact, with weights that can be read.

    There is one unit per pair of a place and an event, `q = (s, e)`, on when event e is met in place s:

    .. math:: h_q = \mathrm{sat}\Big(g \big(\sum_{q' \to s} h_{q'} + x_e - 1.5\big) + 0.5\Big), \qquad y = C h

    where the sum runs over the pairs that lead to s and `sat` cuts to [0, 1]. Both must be present to exceed 1.5, so
    one unit is on at a time, at exactly 1. The gain g restores the code from disturbances of a sum below `0.5 - 0.5 /
    g`. Unit groups are named by state (`walk`), inputs by event (`on.stop`). The weights are parameters like any
    other: training can start from the program.

    References:
        Computation: Finite and Infinite Machines (Minsky, 1967), for networks of threshold units as automata.

    Args:
        machine: what it does.
        gain: g, above 1.

    >>> cell = ProgramCell(gait_sequencer())
    >>> from rnn.unroll import unroll
    >>> unroll(cell, cell.encode(["none", "go", "stop"])).outputs[:, 0, 0].tolist()  # the left drive
    [0.0, 2.0, 0.0]
    """

    def __init__(self, machine: StateMachine, *, gain: float = 4.0):
        if gain <= 1:
            raise ValueError(f"`gain` must exceed 1, received {gain}")
        self._pairs = [(place, event) for place in machine.places() for event in machine.events]
        super().__init__(len(machine.events), len(self._pairs), squash="saturated")
        self.machine, self.gain = machine, float(gain)
        self.output_size = len(machine.outputs)
        leads_to = [machine.next(place, event) for place, event in self._pairs]
        U = torch.tensor([[float(target == place) for target in leads_to] for place, _ in self._pairs])
        V = torch.tensor([[float(event == heard) for heard in machine.events] for _, event in self._pairs])
        C = torch.tensor([machine.commands[state] for state, _ in leads_to]).T
        assert self.bias is not None
        with torch.no_grad():
            self.weight_hh.copy_(gain * U)
            self.weight_ih.copy_(gain * V)
            self.bias.fill_(0.5 - 1.5 * gain)
        self.C = torch.nn.Parameter(C.float())
        self._leads_to = leads_to
        before = next(i for i, place in enumerate(leads_to) if place == (machine.start, 0))
        self.register_buffer("first", torch.nn.functional.one_hot(torch.tensor(before), len(self._pairs)).float())
        self.first: Tensor

    def initial_state(self, batch: int) -> ElmanState:
        return ElmanState(self.first.expand(batch, -1).clone())

    def forward(self, x: Tensor, state: ElmanState, tap: Tap = no_tap) -> tuple[Tensor, ElmanState]:
        h, state = super().forward(x, state, tap)
        return tap("y", linear(h, self.C)), state

    def encode(self, events: Sequence[str]) -> Tensor:
        """Events as inputs [T, 1, I], one line per event."""
        if unknown := set(events) - set(self.machine.events):
            raise ValueError(f"unknown events {sorted(unknown)}; the events are {', '.join(self.machine.events)}")
        index = torch.tensor([self.machine.events.index(event) for event in events])
        return torch.nn.functional.one_hot(index, self.input_size).to(self.C.dtype)[:, None]

    def decode(self, h: Tensor) -> list[str]:
        """The state that a course of h [T, H] stands for, "?" where it stands for none."""
        on = h > 0.5
        return [self._leads_to[int(row.int().argmax())][0] if int(row.sum()) == 1 else "?" for row in on]

    def groups(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Units by the state they lead to, inputs by event."""
        units = {
            state: tuple(i for i, place in enumerate(self._leads_to) if place[0] == state)
            for state in self.machine.commands
        }
        return {"h": units, "input": {f"on.{event}": (i,) for i, event in enumerate(self.machine.events)}}


def gait_sequencer(turn_steps: int = 50) -> StateMachine:
    """Rest, walk, swim and turn, as drives on the two sides of a salamander's spinal cord.

    Drives between 1 and 3 make the model of "From swimming to walking with a salamander robot driven by a spinal cord
    model" (Ijspeert et al., 2007) walk, between 3 and 5 swim; a difference between the sides turns it.

    Args:
        turn_steps: control steps that a turn lasts.
    """
    gaits = ("rest", "walk", "swim", "turn on land", "turn in water")
    transitions = {(gait, "stop"): "rest" for gait in gaits}
    transitions |= {("rest", "go"): "walk", ("rest", "water"): "swim"}
    transitions |= {("walk", "water"): "swim", ("swim", "land"): "walk"}
    transitions |= {("walk", "obstacle"): "turn on land", ("swim", "obstacle"): "turn in water"}
    transitions |= {("turn on land", "water"): "turn in water", ("turn in water", "land"): "turn on land"}
    return StateMachine(
        commands={
            "rest": (0.0, 0.0),
            "walk": (2.0, 2.0),
            "swim": (4.0, 4.0),
            "turn on land": (1.5, 2.5),
            "turn in water": (3.5, 4.5),
        },
        transitions=transitions,
        outputs=("drive.left", "drive.right"),
        start="rest",
        dwell={"turn on land": (turn_steps, "walk"), "turn in water": (turn_steps, "swim")},
    )
