"""The mirror image of what happened: a body that is the same on both sides learns from it as from what was lived."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.replay import Sequences

__all__ = ["Mirror", "mirrored", "with_image"]


class Mirror:
    """Left and right exchanged.

    Args:
        signs: -1 for every observation that points to a side, 1 for the others, [D].
        actions: which action takes the place of each, [K].

    Raises:
        ValueError: other than D signs of 1 and -1, or the exchange of actions is not undone by itself.

    >>> mirror = Mirror((1.0, -1.0), (0, 2, 1), 2, 3)
    >>> mirror.obs(torch.tensor([[3.0, 4.0]])).tolist(), mirror.action(torch.tensor([0, 1])).tolist()
    ([[3.0, -4.0]], [0, 2])
    """

    def __init__(
        self, signs: tuple[float, ...] | None, actions: tuple[int, ...] | None, obs_size: int, num_actions: int
    ):
        if signs is None or actions is None:
            raise ValueError("`mirror_signs` and `mirror_actions` are given together, or neither")
        if len(signs) != obs_size or {abs(s) for s in signs} != {1.0}:
            raise ValueError(f"`mirror_signs` takes a 1 or -1 for each of {obs_size} observations, received {signs}")
        if sorted(actions) != list(range(num_actions)) or [actions[a] for a in actions] != list(range(num_actions)):
            raise ValueError(
                f"`mirror_actions` names the image of each of {num_actions} actions, and the image of the image is the "
                f"action itself; received {actions}"
            )
        self.signs, self.order = torch.tensor(signs), torch.tensor(actions)

    def obs(self, obs: Tensor) -> Tensor:
        """Images of observations [..., D]."""
        return obs * self.signs.to(obs)

    def action(self, action: Tensor) -> Tensor:
        """Images of actions, any shape."""
        return self.order.to(action.device)[action]


def mirrored(data: Sequences, mirror: Mirror, flip: Tensor, fresh: list[Tensor]) -> Sequences:
    """Sequences of which those with `flip` [B] are replaced by their images.

    The state stored before a sequence belongs to what was lived, so an image starts from the `fresh` one, tensors
    [B, ...], and the burn-in has to warm it up. Rewards and endings are the same on both sides.

    See also: On Learning Symmetric Locomotion (Abdolhosseini et al., 2019), https://doi.org/10.1145/3359566.3360070.
    """
    like = lambda part: flip.reshape(-1, *[1] * (part.dim() - 1))
    return data._replace(
        obs=torch.where(flip[None, :, None], mirror.obs(data.obs), data.obs),
        before=torch.where(flip[None], mirror.action(data.before), data.before),
        action=torch.where(flip[None], mirror.action(data.action), data.action),
        state=[torch.where(like(kept), new, kept) for kept, new in zip(data.state, fresh, strict=True)],
    )


def with_image(tape: Sequences, mirror: Mirror) -> Sequences:
    """A tape [T, N] and its image beside it, [T, 2 N]."""
    twice = lambda part: torch.cat([part, part], 1)
    return tape._replace(
        obs=torch.cat([tape.obs, mirror.obs(tape.obs)], 1),
        first=twice(tape.first),
        before=torch.cat([tape.before, mirror.action(tape.before)], 1),
        earned=twice(tape.earned),
        action=torch.cat([tape.action, mirror.action(tape.action)], 1),
        reward=twice(tape.reward),
        terminated=twice(tape.terminated),
        truncated=twice(tape.truncated),
        weight=torch.cat([tape.weight, tape.weight]),
    )
