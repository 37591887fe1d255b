"""How to train, and what training did: the settings and the result of `rnn.fit.fit`."""

from __future__ import annotations

from dataclasses import dataclass, field

from rnn.data import Sections
from rnn.model import Model
from rnn.rtrl import METHODS

__all__ = ["Diverged", "Fitted", "Training"]


class Diverged(UserWarning):
    """Training diverged and was stopped; the best weights were kept."""


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        optimiser: "adam", "momentum", "sgd", "rprop" (whole data set at a time), "lbfgs" or "lm"
            (Levenberg-Marquardt, for some hundreds of parameters and squared errors).
        lr: learning rate (first step of "rprop"); without effect on "lbfgs" and "lm".
        decay: "cosine" to a hundredth of the learning rate, or "none". warm_up: iterations of linear rise.
        iterations: passes over a batch.
        batch: sections per iteration, drawn anew each time; None takes all.
        loss: "simulation" (free run) or "teacher" (measured outputs fed back; needs a model with feedback).
        reduction: "mean" over steps or "sum" over time.
        washout: steps at the start of each section that do not count.
        truncation: steps after which the gradient is cut and the weights are stepped (truncated BPTT); None: never.
        method: "bptt", or an online method of `rnn.rtrl`.
        start: "model" (its own initial state) or "free" (one state per section, learned beside the weights).
        clip_norm, clip_value, normalise: see `rnn.optimise.clip`.
        noise: standard deviation of noise added to the cell's activity at every step.
        random_start: standard deviation of noise added to the initial state.
        weight_decay: as in AdamW.
        check_every: iterations between checks of the held-out loss.
        patience: checks without a better held-out loss before training stops; None: never.
        target: stop when the watched loss is no larger; None: never.
        seconds: stop after so much time; None: never.
        seed: of batches and noise.
    """

    optimiser: str = "adam"
    lr: float = 3e-3
    decay: str = "cosine"
    warm_up: int = 0
    iterations: int = 1000
    batch: int | None = None
    loss: str = "simulation"
    reduction: str = "mean"
    washout: int = 0
    truncation: int | None = None
    method: str = "bptt"
    start: str = "model"
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    normalise: bool = False
    noise: float = 0.0
    random_start: float = 0.0
    weight_decay: float = 0.0
    check_every: int = 20
    patience: int | None = None
    target: float | None = None
    seconds: float | None = None
    seed: int = 0

    def check(self, model: Model, sections: Sections) -> None:
        """Refuse settings that contradict each other, the model or the data.

        Raises:
            ValueError: with the rule, what was received and the remedy.
        """
        if self.method != "bptt" and self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; the methods are 'bptt', {', '.join(METHODS)}")
        if self.loss not in ("simulation", "teacher"):
            raise ValueError(f"unknown loss {self.loss!r}; the losses are 'simulation' and 'teacher'")
        if self.start not in ("model", "free"):
            raise ValueError(f"unknown start {self.start!r}; the starts are 'model' and 'free'")
        if self.loss == "teacher" and not model.feedback:
            raise ValueError("teacher forcing feeds measured outputs back: build the model with feedback=True")
        if self.method != "bptt" and (model.start != "zero" or model.feedback or self.start == "free"):
            raise ValueError("online methods start from the cell's own state and do not feed outputs back")
        longest = int(sections.mask.sum(0).max())
        if longest <= self.washout:
            raise ValueError(
                f"the longest section has {longest} steps, the washout takes {self.washout}: nothing is left to learn "
                "from; take a shorter washout or longer sections"
            )
        if self.truncation is not None and self.truncation < 1:
            raise ValueError(f"the truncation must be at least one step, received {self.truncation}")


@dataclass
class Fitted:
    """What training did: the model (with its best weights), the best loss, its course, and why it stopped."""

    model: Model
    best_loss: float
    iterations: int
    seconds: float
    stopped: str
    history: list[dict[str, float]] = field(default_factory=list)
