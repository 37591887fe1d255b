"""Settings of fitted Q iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FittedQConfig"]


@dataclass(frozen=True)
class FittedQConfig:
    """Settings. Costs are minimised: `cost = -cost_scale * reward`, plus `failure` where an episode terminates."""

    model: Literal["nfq", "modern", "trees", "random_trees"] = "modern"
    """NFQ of 2005; Adam and a larger network, as NFQ2.0 (Lange et al., 2025); extremely randomised trees, as
    Tree-Based Batch Mode Reinforcement Learning (Ernst et al., 2005); or, from the same paper, totally randomised trees
    that are kept while the values settle."""
    gamma: float = 0.99
    """Discount."""
    cost_scale: float = 0.01
    """Cost of a reward of -1."""
    failure: float = 0.0
    """Cost of a termination, where termination is bad."""
    hints: int = 0
    """Artificial goal patterns with target 0 (hint-to-goal; Riedmiller, 2005)."""
    hint_low: tuple[float, ...] = ()
    """Lower corner of the goal region, in units of the observation."""
    hint_high: tuple[float, ...] = ()
    """Upper corner."""
    unknown: int = 0
    """Candidates per action for patterns with target 0 where nothing was tried yet (`agents.optimism`)."""
    known_within: float = 0.04
    """Distance, in sides of the observation box, within which a pair of state and action counts as tried."""
    hidden: tuple[int, ...] = (64, 64)
    """Units per layer (NFQ: 5, 5)."""
    epochs: int = 20
    """Passes over the data per refit (NFQ: 300, full batches of RProp)."""
    iterations: int = 4
    """Fitted iterations each time."""
    refit: bool = False
    """Start every fit from new weights."""
    lr: float = 2e-3
    """Of Adam (modern)."""
    lr_end: float = 1.0
    """Share of `lr` at which learning ends, falling evenly (modern)."""
    batch: int = 512
    """Transitions per step (modern)."""
    lambda_: float = 0.0
    """Mixing of horizons in the targets (modern): the least of several fitted costs is too low, a step after step, and
    costs that were paid do not err."""
    target_rate: float = 1.0
    """How much of the fitted weights the weights that value and act take on in one pass over the data (modern)."""
    gap: float = 0.0
    """Share of what an action costs more than the cheapest that its target is raised by (modern, NFQ;
    `agents.nfq.NFQConfig`)."""
    mirror_signs: tuple[float, ...] | None = None
    """Signs of the observations in a mirror; with `mirror_actions`, every transition is learned from as its image too
    (modern; see `agents.mirror`)."""
    mirror_actions: tuple[int, ...] | None = None
    """The action that takes the place of each in the mirror."""
    trees: int = 30
    """Trees (trees; per action, random_trees)."""
    leaf: int = 3
    """States per leaf, at least (random_trees)."""
    sweeps: int = 300
    """Fitted iterations on the same trees, at most (random_trees)."""
    settled: float = 1e-4
    """Greatest change of a cost to go at which they end."""
    refit_every: int = 400
    """Environment steps between two refits."""
    epsilon: float = 0.05
    """Share of random actions."""
    hold: int = 1
    """Steps for which a random action is kept up; more than one carries a body further from where it rests."""
    reach: int = 1
    """Steps for which a chosen action is kept up, and over which transitions reach (`agents.held_windows`)."""
    random_steps: int = 400
    """Steps of random actions before the first fit."""
    max_steps: int = 200_000
    """Transitions that are kept, the oldest going first."""

    def __post_init__(self) -> None:
        used = {"lambda_": self.lambda_ > 0, "target_rate": self.target_rate < 1, "lr_end": self.lr_end < 1}
        used |= {"mirror_signs": self.mirror_signs is not None, "mirror_actions": self.mirror_actions is not None}
        used["gap"] = self.gap > 0 and self.model != "nfq"
        if self.model != "modern" and any(used.values()):
            names = ", ".join(name for name, is_used in used.items() if is_used)
            raise ValueError(f"model {self.model!r} does not take {names}; the model 'modern' does")
        if self.lambda_ and self.reach > 1:
            raise ValueError("`lambda_` mixes steps and `reach` joins them; give one of the two")
