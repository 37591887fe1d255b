"""Does a stored policy act the same outside torch?

    python -m scripts.export --policy runs/ppo/checkpoints --out runs/ppo/export

Writes `policy.onnx` (state as input and output; needs onnx and onnxscript) and a folder `numpy/` for
`agents.numpy_runner`, which needs numpy alone, and compares both with torch over 200 steps. Seconds. The largest
difference should be below 1e-5.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from agents.export import PolicyStep, export_numpy, export_onnx, step_inputs
from agents.numpy_runner import NumpyRunner
from agents.recurrent_ppo import RecurrentPPO


@dataclass
class Args:
    policy: Path
    """Folder that a recurrent PPO learner was saved to."""
    out: Path = Path("export")
    """Where the exports go."""
    steps: int = 200
    """Steps of the comparison, on random observations."""
    onnx: bool = True
    """Write ONNX too, where its packages are installed."""
    double: bool = False
    """ONNX in double precision: for pattern generators, which amplify rounding."""


def main(args: Args) -> dict[str, float]:
    """The largest difference of each export from torch."""
    step = PolicyStep(RecurrentPPO.load(args.policy).network.eval())
    xs = torch.randn(args.steps, step.inputs, generator=torch.Generator().manual_seed(0))
    truth = _course(step, xs)
    runner = NumpyRunner(export_numpy(step, args.out / "numpy"))
    found = {"numpy": _difference(truth, [runner(x.numpy()) for x in xs])}
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if args.onnx and not missing:
        import onnxruntime

        if args.double:
            step, xs = step.double(), xs.double()
            truth = _course(step, xs)
        session = onnxruntime.InferenceSession(str(export_onnx(step, args.out / "policy.onnx")))
        names, outputs = [i.name for i in session.get_inputs()], []
        parts = [part.numpy() for part in step_inputs(step)[1:]]
        for x in xs:
            y, *parts = session.run(None, dict(zip(names, [x[None].numpy(), *parts], strict=True)))
            outputs.append(y[0])
        found["onnx"] = _difference(truth, outputs)
    elif args.onnx:
        print(f"no ONNX: {', '.join(missing)} not installed (pip install 'salamander-lab[export]')")
    for name, difference in found.items():
        print(f"{name}: largest difference from torch over {args.steps} steps {difference:.2e}")
    return found


def _course(step: PolicyStep, xs: torch.Tensor) -> list[np.ndarray]:
    """Actions over time in torch, the state carried by hand."""
    _, *state = step_inputs(step)
    actions = []
    with torch.no_grad():
        for x in xs:
            y, *state = step(x[None], *state)
            actions.append(y[0].numpy())
    return actions


def _difference(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return float(np.abs(np.array(a, dtype=float) - np.array(b, dtype=float)).max())


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
