"""A live clamp board: one thread-safe set of edits that scripts, schedules and a live page write to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rnn.cell import Cell
from rnn.edits import Add, Clamp, Edit, EditPlan, Lesion, Scale

__all__ = ["ClampBoard"]


class ClampBoard:
    """Edits that change while a network runs; every change is stamped with the step at which it took effect.

    Writers (any thread) call `set` and `clear`. The control loop calls `plan` once per step. What was done is
    `history()`: ordinary edits with steps, so a live session can be replayed and filmed afterwards.

    Args:
        cell: the cell whose addresses are written; a wrong address is refused when it is set.

    >>> from rnn.linear import MovingAverage
    >>> board = ClampBoard(MovingAverage(1, decay=0.5))
    >>> board.set("h[0]", 1.0); _ = board.plan(step=3); board.clear("h[0]"); _ = board.plan(step=5)
    >>> board.history()[0].steps
    slice(3, 5, None)
    """

    MODES: ClassVar[dict[str, Callable[[str, float], Edit]]] = {
        "hold": Clamp,
        "add": Add,
        "scale": Scale,
        "silence": lambda address, _: Lesion(address),
    }

    def __init__(self, cell: Cell):
        self._cell = cell
        self._lock = threading.Lock()
        self._wanted: dict[str, Edit] = {}
        self._plan = EditPlan(cell)
        self._changed = False
        self._running: dict[str, tuple[int, Edit]] = {}
        self._done: list[Edit] = []
        self._last_step = 0

    def set(self, address: str, value: float = 0.0, mode: str = "hold") -> None:
        """Hold, add to, scale or silence the units at an address from the next step on.

        Raises:
            KeyError: no such address. ValueError: no such mode.
        """
        if mode not in self.MODES:
            raise ValueError(f"unknown mode {mode!r}; the modes are {', '.join(self.MODES)}")
        edit = self.MODES[mode](address, value)
        EditPlan(self._cell, (edit,))
        with self._lock:
            self._wanted[address] = edit
            self._changed = True

    def clear(self, address: str | None = None) -> None:
        """Let go of one address, or of all."""
        with self._lock:
            for key in [address] if address is not None else list(self._wanted):
                self._wanted.pop(key, None)
            self._changed = True

    def plan(self, step: int) -> EditPlan:
        """The edits in force at this step; to be called by the one control loop, once per step."""
        with self._lock:
            self._last_step = step
            if self._changed:
                self._changed = False
                for address, (start, edit) in list(self._running.items()):
                    if self._wanted.get(address) is not edit:
                        self._done.append(replace(edit, steps=slice(start, step)))
                        del self._running[address]
                for address, edit in self._wanted.items():
                    self._running.setdefault(address, (step, edit))
                self._plan = EditPlan(self._cell, tuple(self._wanted.values()))
            return self._plan

    def history(self) -> list[Edit]:
        """All that was done, as edits with their steps, in order of time; edits in force have no end."""
        with self._lock:
            running = [replace(edit, steps=slice(start, None)) for start, edit in self._running.values()]
            return sorted(self._done + running, key=lambda e: e.steps.start if e.steps else 0)
