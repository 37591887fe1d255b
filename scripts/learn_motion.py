"""Can a recurrent network learn how the newt moves, and then move it?

Fits one network to the newt's swimming and walking in free run, with pushes of its state, so that the motion becomes
its attractor, and solves its readout for the rhythm that it keeps; then lets it run free for a thousand cycles, and in
the body, and prints how near it stays. Two to three minutes of CPU time.

    python scripts/learn_motion.py --cell gru
    python scripts/learn_motion.py --cell lstm --data recorded --hidden 48
    python scripts/learn_motion.py --cell elman --seed 3 --zoo newt_elman

Look for: outputs on top of the recording in both gaits (motion.png), a largest Floquet multiplier below 1 (a push
fades), every band of the living animal held. The network that is left in the run folder goes into the other scripts:
`python scripts/locomotion.py --policy RUN/policy`.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from agents.imitation import SETTINGS, Imitation, build_cell, free_run, imitate
from agents.learned import LearnedCell
from agents.motion import Motion
from agents.policy_zoo import ZOO, load_policy, save_policy
from agents.reproduction import LEVELS, bands_held, contraction, in_the_body, reproduce
from agents.runs import Run


@dataclass(frozen=True)
class Args:
    """Fit a network to the newt's motion; see the top of this file for examples."""

    cell: str = "gru"
    """Any cell of `rnn.models` (gru, lstm, elman, leaky, orthogonal, lru, oscillator, esn ...), or a pattern generator
    (phase, rate), of which only the readout is learned."""
    data: Literal["both", "recorded", "simulated"] = "both"
    """The recorded newt's joint cycles; what the phase network commands the simulated animal with; or the recorded
    spine with the limbs of the simulated animal, which walks better."""
    hidden: int = 80
    """Units."""
    iterations: int | None = None
    """Training sections of one second; by default what suits the cell (`agents.imitation.SETTINGS`)."""
    rows: int = 48
    """Animals in a batch."""
    kick: float = 0.4
    """Greatest push of the state in training."""
    lr: float | None = None
    """Learning rate; by default what suits the cell."""
    seed: int = 0
    """Of weights and draws."""
    cycles: int = 1000
    """Length of the free run that is compared with the motion."""
    seconds: float = 8.0
    """Time in the body; 0 for none."""
    policy: str | None = None
    """Measure this trained network instead of training one."""
    zoo: str | None = None
    """Also store the network as zoo/NAME."""
    out: Path | None = None
    """Run folder; by default runs/learn_motion/<stamp>_seed<k>."""


def main(args: Args) -> dict:
    """Build, learn, measure, save."""
    torch.manual_seed(args.seed)
    motion = Motion.load(args.data)
    asked = {"iterations": args.iterations, "lr": args.lr}
    chosen = {**SETTINGS.get(args.cell, {}), **{key: value for key, value in asked.items() if value is not None}}
    settings = Imitation(rows=args.rows, kick=args.kick, seed=args.seed, **chosen)
    with Run(args.out, args) if args.out else Run.new("learn_motion", args, seed=args.seed) as run:
        if args.policy:
            cell, card = load_policy(args.policy)
            motion = Motion.load(card["data"])
        else:
            cell = build_cell(args.cell, args.hidden, motion)
            seconds = learn(run, cell, motion, settings)
            card = {"name": args.zoo or args.cell, "cell": args.cell, "hidden": args.hidden, "data": args.data}
            card |= {"dt": 0.01, "seconds": seconds, "training": asdict(settings)}
            save_policy(run.folder / "policy", cell, card)
        measured = measure(cell, motion, args)
        run.save_json("metrics.json", measured)
        card["measured"] = summary(measured)
        save_policy(run.folder / "policy", cell, card)
        if args.zoo:
            save_policy(ZOO / args.zoo, cell, card)
        draw(cell, motion, run.folder / "motion.png")
        print("\n".join(f"{key:>44}  {value}" for key, value in card["measured"].items()))
        print(f"written to {run.folder}: policy/, motion.png, metrics.json")
        return measured


def learn(run: Run, cell: LearnedCell, motion: Motion, settings: Imitation) -> float:
    """Train, and log the loss."""
    with tqdm(total=settings.iterations, desc="learning", leave=False) as bar:

        def report(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(loss=f"{loss:.3f}")
            run.log(step=step, loss=loss)

        return imitate(cell, motion, settings, report=report)


def measure(cell: LearnedCell, motion: Motion, args: Args) -> dict:
    """Free run, pushes, and the body, for both gaits."""
    data: dict = {}
    for gait, (drive, world) in LEVELS.items():
        data[gait] = {"free": reproduce(cell, motion, gait, cycles=args.cycles).to_dict(), **contraction(cell, drive)}
        if args.seconds > 0:
            for loop in ("open", "closed"):
                sides = [(drive, drive), (drive + 0.6, drive - 0.6), (drive - 0.6, drive + 0.6)]
                straight, left, right = in_the_body(cell, world, sides, seconds=args.seconds, closed=loop == "closed")
                held, of, missed = bands_held(straight, gait)
                turning = {"left": left.yaw_rate, "right": right.yaw_rate}
                data[gait][loop] = {"held": held, "of": of, "missed": missed, **straight.to_dict(), "turning": turning}
    return data


def summary(measured: dict) -> dict[str, float | str]:
    """The lines of the card."""
    lines: dict[str, float | str] = {}
    for gait, data in measured.items():
        free = data["free"]
        lines[f"{gait}: frequency, network and motion, Hz"] = f"{free['frequency']:.3f}, {free['wanted']:.3f}"
        lines[f"{gait}: greatest phase error after {free['cycles']:.0f} cycles"] = f"{free['phase_error']:.4f} cycle"
        lines[f"{gait}: greatest amplitude error"] = f"{100 * free['amplitude_error']:.1f} %"
        lines[f"{gait}: angle error, rms"] = f"{math.degrees(free['angle_error']):.2f} degrees"
        lines[f"{gait}: largest Floquet multiplier"] = f"{data['multiplier']:.3f}"
        for loop in ("open", "closed"):
            if loop in data:
                body = data[loop]
                turn = body["turning"]
                text = f"{body['held']} of {body['of']} bands, {body['speed']:.2f} BL/s, {body['frequency']:.2f} Hz, "
                text += f"turning {turn['left']:.0f} and {turn['right']:.0f} deg/s at +-0.6"
                lines[f"{gait}: in the body, {loop} loop"] = text
    return lines


def draw(cell: LearnedCell, motion: Motion, path: Path) -> None:
    """Two seconds of both gaits, network over motion, and the frequency over drive."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 5), layout="constrained", width_ratios=(2, 2, 1.3))
    joints = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 19]
    for axis, gait in zip(axes, ("swim", "walk"), strict=False):
        drive = LEVELS[gait][0]
        angles = np.degrees(free_run(cell, torch.tensor([[drive, drive, 0.0]]), 800).outputs[:, 0].numpy())
        goal = np.degrees(motion.cycle(gait, drive, samples=512).numpy())
        window = angles[-200:] if gait == "swim" else angles[-300:]
        time = np.arange(len(window)) * 0.01
        lead = _lead(window, goal, motion.frequency(gait, drive))
        course = goal[((time * motion.frequency(gait, drive) + lead) % 1 * 512).astype(int)]
        for k, joint in enumerate(joints):
            axis.plot(time, course[:, joint] / 60 - k, color="0.7", lw=3, label="motion" if k == 0 else None)
            axis.plot(time, window[:, joint] / 60 - k, color="#b5532a", lw=1, label="network" if k == 0 else None)
        axis.set(xlabel="time (s)", title=f"{gait}, drive {drive:g}", yticks=[-k for k in range(len(joints))])
        axis.set_yticklabels([_name(joint) for joint in joints])
    axes[0].legend(loc="upper right", fontsize="small")
    _draw_law(axes[2], cell, motion)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_law(axis, cell: LearnedCell, motion: Motion) -> None:
    from sim.rhythm import fundamental_frequency

    levels = torch.linspace(0.4, 5.0, 47)
    runs = free_run(cell, torch.stack([levels, levels, 0 * levels], 1), 1200).outputs[600:].double().numpy()
    axis.plot(levels, [fundamental_frequency(runs[:, i], 0.01) for i in range(len(levels))], ".", color="#b5532a")
    for gait, low, high in (("walk", 1.0, 3.0), ("swim", 3.0, 5.0)):
        axis.plot([low, high], [motion.frequency(gait, d) for d in (low, high)], color="0.7", lw=3, zorder=0)
    axis.set(xlabel="drive", ylabel="frequency (Hz)", title="rest, walk, swim")


def _lead(window: np.ndarray, goal: np.ndarray, frequency: float) -> float:
    shifts = np.arange(0, 512, 4)
    index = (np.arange(len(window)) * 0.01 * frequency * 512).astype(int)
    errors = [np.mean((goal[(index + s) % 512] - window) ** 2) for s in shifts]
    return float(shifts[int(np.argmin(errors))] / 512)


def _name(joint: int) -> str:
    from sim.anatomy import JOINT_NAMES

    return JOINT_NAMES[joint]


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, KeyError) as error:
        sys.exit(f"error: {error.args[0] if error.args else error}")
