"""Whole sequences of phase oscillators, forward and backward written out: the fast way on a CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnn.cpg.phase import PhaseCell, PhaseState
from rnn.fused import TooHard

__all__ = ["phase_sequence"]


def phase_sequence(
    cell: PhaseCell, xs: Tensor, state: PhaseState, resets: Tensor | None = None, fresh: PhaseState | None = None
) -> tuple[Tensor, PhaseState]:
    """Outputs [T, B, O] and final state over inputs [T, B, I]; equal to stepping the cell, in value and gradient.

    What does not depend on the state (drive laws, the coupling matrix, the outputs from phases and amplitudes) is done
    for all steps at once; the loop over time runs in numpy, and backward is its adjoint, as in `rnn.sequence`.

    Args:
        cell: the oscillators.
        xs: inputs.
        state: before the first step.
        resets: where rows start anew, before the step [T, B]; they then take the rows of `fresh`.
        fresh: the state of fresh rows.

    Raises:
        TooHard: the cell is not on a CPU.

    >>> cell = PhaseCell(segments=2, limbs=())
    >>> ys, state = phase_sequence(cell, torch.ones(5, 3, cell.input_size), cell.initial_state(3))
    >>> ys.shape
    torch.Size([5, 3, 4])
    """
    if xs.device.type != "cpu":
        raise TooHard("it is written for a CPU")
    T, B = xs.shape[:2]
    flat = xs.reshape(T * B, -1)
    nu, target = cell._follow_drive(flat)
    h, N = cell.dt / cell.substeps, cell.num_oscillators
    stretch = cell.stretch(flat)
    pull = nn.functional.pad(cell.feedback_gain * h * stretch, (0, N - stretch.shape[1]))
    mixing = cell._mixing(cell.coupling.unsqueeze(0), cell.bias.unsqueeze(0))[0]
    fresh_state = None if fresh is None or resets is None else tuple(part.detach() for part in fresh[:3])
    constants = cell.substeps, h, cell.profile.rate / 2, cell.dt
    shape = T, B, N
    phase, r, rate = _Phases.apply(
        (2 * math.pi * h * nu).reshape(shape),
        target.reshape(shape),
        pull.reshape(shape),
        mixing,
        *state,
        resets,
        fresh_state,
        constants,
    )
    cosine = torch.cos(phase)
    n = 2 * cell.segments
    body = r[..., :n] * (1 + cosine[..., :n])
    limb = r[..., n:]
    y = torch.cat((body, limb * cosine[..., n:], limb * torch.sin(phase[..., n:])), -1)
    return y, PhaseState(phase[-1], r[-1], rate, torch.ones_like(rate))


class _Phases(torch.autograd.Function):
    """Phases and amplitudes [T, B, N], and the last rates [B, N]; the equations stand in `PhaseCell`."""

    @staticmethod
    def forward(
        ctx: Any,
        turn: Tensor,
        target: Tensor,
        pull: Tensor,
        mixing: Tensor,
        phase0: Tensor,
        r0: Tensor,
        rate0: Tensor,
        sent0: Tensor,
        resets: Tensor | None,
        fresh: tuple[Tensor, Tensor, Tensor] | None,
        constants: tuple[int, float, float, float],
    ) -> tuple[Tensor, Tensor, Tensor]:
        (S, h, b, dt), (T, B, N) = constants, turn.shape
        advance, R, tug, M = (x.detach().numpy() for x in (turn, target, pull, mixing))
        phase, r, rate, share = (x.detach().numpy() for x in (phase0, r0, rate0, sent0))
        decay = math.exp(-b * dt)
        out_phase, out_r = np.empty((T, B, N), M.dtype), np.empty((T, B, N), M.dtype)
        sines, got = np.empty((T, S, B, 2 * N), M.dtype), np.empty((T, S, B, 2 * N), M.dtype)
        starts = [] if resets is None else resets.any(1).tolist()
        for t in range(T):
            if starts and starts[t]:
                rows = resets[t].numpy()[:, None]  # type: ignore[index]
                phase, r, rate = (
                    np.where(rows, x.numpy(), old)
                    for x, old in zip(fresh, (phase, r, rate), strict=True)  # type: ignore[arg-type]
                )
                share = np.where(rows, 1.0, share).astype(M.dtype)
            e = r - R[t]
            slope = rate + b * e
            r = R[t] + (e + slope * dt) * decay
            rate = (rate - b * slope * dt) * decay
            strength = r * share * h if t == 0 else r * h
            for s in range(S):
                sine, cosine = sines[t, s, :, :N], sines[t, s, :, N:]
                np.sin(phase, out=sine)
                np.cos(phase, out=cosine)
                both = np.concatenate((sine * strength, cosine * strength), -1)
                g = np.matmul(both, M, out=got[t, s])
                phase = phase + advance[t] + cosine * g[:, :N] - sine * (g[:, N:] + tug[t])
            phase = np.remainder(phase + math.pi, 2 * math.pi) - math.pi
            out_phase[t], out_r[t] = phase, r
        ctx.kept = sines, got, out_r, sent0.detach().numpy(), tug, M, resets, starts, constants
        return torch.from_numpy(out_phase), torch.from_numpy(out_r), torch.from_numpy(np.asarray(rate, M.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        sines, got, out_r, share0, tug, M, resets, starts, (S, h, b, dt) = ctx.kept
        T, B, N = out_r.shape
        g_phase, g_r, g_rate = (g.numpy() for g in grads)
        decay = math.exp(-b * dt)
        d_turn, d_target, d_pull = (np.zeros((T, B, N), M.dtype) for _ in range(3))
        d_got = np.empty((T, S, B, 2 * N), M.dtype)
        lam, mu, nu = np.zeros((B, N), M.dtype), np.zeros((B, N), M.dtype), g_rate  # of phase, amplitude, rate
        d_share = np.zeros((B, N), M.dtype)
        MT = np.ascontiguousarray(M.T)
        sent = np.empty_like(d_got)
        for t in range(T - 1, -1, -1):
            lam = lam + g_phase[t]
            mu = mu + g_r[t]
            first = share0 if t == 0 else 1.0
            if t == 0 and starts and starts[0]:
                first = np.where(resets[0].numpy()[:, None], 1.0, share0)
            strength = out_r[t] * first * h
            d_strength = np.zeros((B, N), M.dtype)
            for s in range(S - 1, -1, -1):
                sine, cosine = sines[t, s, :, :N], sines[t, s, :, N:]
                g1, g2 = got[t, s, :, :N], got[t, s, :, N:] + tug[t]
                d_turn[t] += lam
                up, down = lam * cosine, -lam * sine
                d_got[t, s, :, :N], d_got[t, s, :, N:] = up, down
                d_pull[t] += down
                back = d_got[t, s] @ MT
                sent[t, s, :, :N], sent[t, s, :, N:] = sine * strength, cosine * strength
                d_strength += back[:, :N] * sine + back[:, N:] * cosine
                lam = lam - (lam * sine) * g1 - up * g2 + strength * (back[:, :N] * cosine - back[:, N:] * sine)
            mu = mu + h * first * d_strength
            if t == 0:
                d_share = h * out_r[0] * d_strength
            # r = R + k ((1 + b dt) e + dt rate), rate' = k ((1 - b dt) rate - b^2 dt e), e = r_before - R
            d_e = decay * ((1 + b * dt) * mu - b * b * dt * nu)
            d_target[t] = mu - d_e
            mu, nu = d_e, decay * (dt * mu + (1 - b * dt) * nu)
            if starts and starts[t]:
                keep = ~resets[t].numpy()[:, None]
                lam, mu, nu = lam * keep, mu * keep, nu * keep
                d_share = d_share * keep if t == 0 else d_share
        d_mixing = sent.reshape(-1, 2 * N).T @ d_got.reshape(-1, 2 * N)
        arrays = d_turn, d_target, d_pull, d_mixing, lam, mu, nu, d_share
        return *(torch.from_numpy(np.ascontiguousarray(x, M.dtype)) for x in arrays), None, None, None
