"""Fetch the public recordings that benchmarks and examples use.

    python scripts/download_data.py --out data

Question: where do the measured oscillators and newts come from? Each file is fetched from the public repository that
keeps it, pinned to a commit, and checked by its SHA-256. Nothing of it belongs to this project; cite the papers named
below where results are shown. Needs a network; about 5 MB.
"""

from __future__ import annotations

import hashlib
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

from rnn.checkpoint import write_atomically

GITHUB = "https://raw.githubusercontent.com"
LIPSON = "erwincoumans/tiny-differentiable-simulator"
NEWT = "AlexPazzaglia/SalamandraSNN", "fb162404325030375843e3695b6a96f651db9ae9"
CYCLES = "experimental_data/salamander_kinematics_karakasiliotis"
SCHMIDT = "tracked oscillators (Schmidt, Lipson, Science 2009)"
KARAKASILIOTIS = "mean joint cycles of the newt (Karakasiliotis et al., 2016)"


class Source(NamedTuple):
    """Where a file is kept, how its SHA-256 begins, and whose it is."""

    repository: str
    commit: str
    path: str
    sha256: str
    what: str


def _tracked(name: str, commit: str, sha256: str) -> Source:
    return Source(LIPSON, commit, f"data/schmidt-lipson-exp-data/{name}", sha256, SCHMIDT)


FILES: dict[str, Source] = {
    "silverbox/SNLS80mV.mat": Source(
        "antonior92/sysid-neuralnet",
        "8da23c9810f738aececa6058a53e40e9a621e5bc",
        "data/SilverboxFiles/SNLS80mV.mat",
        "5c7413a52255af0c",
        "electronic Duffing oscillator (Wigren, Schoukens, ECC 2013)",
    ),
    **{
        f"schmidt_lipson/{name}": _tracked(name, commit, sha256)
        for name, commit, sha256 in (
            ("real_linear_h_1.txt", "996bec11186aff7eac990f0576b9f6908d0bcafd", "bf11e50703376b82"),
            ("real_linear_a_1.txt", "2202b51fdf36cfa17c2f0d6ad9172ecf6c40e773", "6e656e34c61ab573"),
            ("real_double_linear_h_1.txt", "56e4e686cefc854828260448691845de9e626919", "b258df76a9a6f3dd"),
            ("real_double_pend_h_1.txt", "56e4e686cefc854828260448691845de9e626919", "9ea97ad3b1c6b83b"),
            ("real_pend_h_1.txt", "2202b51fdf36cfa17c2f0d6ad9172ecf6c40e773", "45d92988198b89a5"),
            ("real_pend_a_1.txt", "2202b51fdf36cfa17c2f0d6ad9172ecf6c40e773", "fa2c8acd5f91a315"),
            ("real_pend_circle_1.txt", "c815623770e60d6294e61270a6f8fb1fa41ca613", "f94e70da1acdb503"),
        )
    },
    **{
        f"salamander/{gait}_data_karakasiliotis{kind}.csv": Source(
            *NEWT, f"{CYCLES}/{gait}/data_karakasiliotis{kind}.csv", sha256, KARAKASILIOTIS
        )
        for gait, kind, sha256 in (
            ("swimming", "", "483d3a3d7c4b5b67"),
            ("swimming", "_processed", "7a14a4eecb8afd4b"),
            ("walking", "", "7d7d3bf2bc029964"),
            ("walking", "_processed", "146af3f6a1bb094e"),
        )
    },
}


@dataclass(frozen=True)
class Args:
    """Options of the download."""

    out: Path = Path("data")
    """folder for the files"""
    only: tuple[str, ...] = ()
    """some of silverbox, schmidt_lipson, salamander; all by default"""
    timeout: float = 30.0
    """seconds to wait for an answer"""


def main(args: Args) -> list[Path]:
    """Fetch what is missing; returns the files that are there. One that fails does not stop the others."""
    there, failed = [], []
    for name, source in FILES.items():
        path = args.out / name
        if args.only and name.split("/")[0] not in args.only:
            continue
        if not path.is_file():
            address = f"{GITHUB}/{source.repository}/{source.commit}/{source.path}"
            try:
                with urllib.request.urlopen(address, timeout=args.timeout) as answer:
                    content = answer.read()
                if not hashlib.sha256(content).hexdigest().startswith(source.sha256):
                    raise OSError("the content is not the one that this project was tested with; nothing was kept")
                write_atomically(path, content)
                print(f"{path}: {source.what}")
            except OSError as error:  # among them all of urllib's
                failed.append(f"{name} from {address}: {error}")
                continue
        there.append(path)
    if failed:
        print("not fetched:\n  " + "\n  ".join(failed), file=sys.stderr)
    return there


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    wanted = [name for name in FILES if not arguments.only or name.split("/")[0] in arguments.only]
    sys.exit(0 if len(main(arguments)) == len(wanted) else 1)
