"""Does a stored policy act the same outside torch?

    python -m scripts.export --policy runs/ppo --out runs/ppo/export

Writes `policy.onnx` (state as input and output; needs onnx and onnxscript) and a folder `numpy/` for
`agents.numpy_runner`, which needs numpy alone, and runs both beside torch over 200 steps of random observations like
those that the policy has seen. What is further than 1e-5 from torch in single precision is written in double precision
inside (observation and action stay single) and compared with torch in double. Ends with an error if that is not enough
either. Seconds.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from agents.export import DoubleStep, PolicyStep
from agents.export_check import BOUND, Parity, course, export_checked, probes
from agents.recurrent_ppo import RecurrentPPO


@dataclass
class Args:
    policy: Path
    """Run folder of `scripts.train_ppo`, or the folder that a recurrent PPO learner was saved to."""
    out: Path = Path("export")
    """Where the exports go."""
    steps: int = 200
    """Steps of the comparison."""
    onnx: bool = True
    """Write ONNX too, where its packages are installed."""
    precision: str = "auto"
    """"single", "double", or "auto": double where single misses the bound."""


def main(args: Args) -> dict[str, Parity]:
    """What was written, and how far it is from torch."""
    if args.steps < 1:
        raise ValueError(f"`steps` is at least 1, received {args.steps}")
    if args.out.is_file():
        raise ValueError(f"--out {args.out} is a file; choose a folder")
    inside = args.policy / "checkpoints"
    step = PolicyStep(RecurrentPPO.load(inside if inside.is_dir() else args.policy).network.eval())
    xs = probes(step, args.steps)
    forms = {"numpy": args.out / "numpy"}
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if args.onnx and missing:
        print(f"no ONNX: {', '.join(missing)} not installed (pip install 'salamander-lab[export]')")
    elif args.onnx:
        for name in ("torch.onnx", "onnx_ir"):
            logging.getLogger(name).setLevel(logging.ERROR)
        forms["onnx"] = args.out / "policy.onnx"
    found = {}
    for form, path in forms.items():
        found[form] = export_checked(step, path, form, xs=xs, precision=args.precision)
        precision, difference, _ = found[form]
        print(f"{path}: {precision} precision, largest difference from torch over {args.steps} steps {difference:.1e}")
    if any(one.precision == "double" for one in found.values()):
        rounding = abs(course(step, xs) - course(DoubleStep(step), xs)).max()
        print(f"torch in single precision is {rounding:.1e} from torch in double")
    if missed := [f"{forms[form]} ({one.difference:.1e})" for form, one in found.items() if not one.holds]:
        raise ValueError(f"further than {BOUND:g} from torch: {', '.join(missed)}; do not rely on them")
    return found


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
