"""The results of `q_family.py` as a page."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["report"]


def report(stored: dict[str, Any]) -> str:
    """The results as a page."""
    lines = ["# Q family", "", "Written by `python benchmarks/q_family.py`. CPU-seconds are per seed, one thread.", ""]
    for part in stored.values():
        lines += [f"## {part['heading']}", "", f"`{part['command']}`", ""]
        lines += nfq_rows(part["table"]) if "table" in part else q_rows(part)
        if part.get("so_far"):
            lines += ["", "Under way, or stopped: the command was not finished, these seeds were."]
        if "references" in part:
            lines += ["", "Without learning: " + ", ".join(f"{k} {v}" for k, v in part["references"].items()) + "."]
        lines.append("")
    return "\n".join(lines)


def nfq_rows(data: dict[str, Any]) -> list[str]:
    if "rows" in data:
        head = ["| random episodes | transitions | last iterate | chosen iterate | paper |", "|---|---|---|---|---|"]
        paper = {str(k): v for k, v in data["paper"]["success_percent"].items()}
        body = [
            f"| {n} | {row['transitions']:.0f} | {row['last']} of {data['runs']} | {row['chosen']} of {data['runs']} "
            f"| {paper.get(str(n), '')} % |"
            for n, row in sorted(data["rows"].items(), key=lambda item: int(item[0]))
        ]
        note = f"A random episode lasts {data['steps_per_random_episode']:.1f} steps (paper: about 6). "
        return [*head, *body, "", note + f"The call that finished it took {data['cpu_seconds']} CPU-s."]
    paper = data["paper"]
    target = paper.get("steps_to_goal", paper.get("cost"))
    episodes = [f[0] for f in data["first_success"] if f]
    names = ("mean_episodes", "mean_cycles", "best_policy", "mean_best_policy")
    rounded = {name: data[name] and round(data[name], 1) for name in names}
    return [
        f"Succeeded: {data['succeeded']} of {data['runs']} runs; of these, episodes to the first success: mean "
        f"{rounded['mean_episodes']} ({min(episodes, default=0)} to {max(episodes, default=0)}), "
        f"paper {paper['episodes']}; cycles {rounded['mean_cycles']}, paper {paper['cycles']}. Best policy "
        f"{rounded['best_policy']}, mean of the runs' best {rounded['mean_best_policy']}, paper {target}. "
        + optimum_said(data)
        + f"{data['cpu_seconds']} CPU-s for all."
    ]


def optimum_said(data: dict[str, Any]) -> str:
    """What no policy of the model can beat, where it is known."""
    if "optimum" not in data:
        return ""
    said = f"The optimum from these starts is {data['optimum']:.1f}"
    if "optimum_even" not in data:
        return said + ". "
    if "best_policy_even" in data:
        even = data["best_policy_even"]
        said += f" (as many spread evenly, by which no policy was chosen: {data['optimum_even']:.1f}, the best policy "
        said += f"{'fails from some' if even is None else f'{even:.1f}'})"
    else:
        said += f" ({data['optimum_even']:.1f} from as many that are spread evenly)"
    return said + f"; the mean over so many drawn starts varies by {data['draw']:.1f}, a standard deviation. "


def q_rows(part: dict[str, Any]) -> list[str]:
    goal = any("reached_goal" in row for row in part["summary"].values())
    lines = [
        "| variant | seeds | final policy (worst, best seed) | best checkpoint | CPU-s | reached | steps | CPU-s |"
        + (" goal |" if goal else ""),
        "|---|---|---|---|---|---|---|---|" + ("---|" if goal else ""),
    ]
    for name, row in part["summary"].items():
        spread = [f"{values[0]} ({values[1]} to {values[2]})" for values in (row["final"], row["best"])]
        steps = " to ".join(str(v) for v in row.get("steps_to_threshold", ["-"]))
        cpu = " to ".join(str(v) for v in row.get("cpu_seconds_to_threshold", ["-"]))
        total = float(np.round(row["cpu_seconds"][0], 1))
        reached = f"{row['reached_threshold']} of {row['seeds']}"
        name = "fitted Q" if part["results"][0]["agent"] == "fitted_q" else name  # it has no memory to be named after
        lines.append(f"| {name} | {row['seeds']} | {spread[0]} | {spread[1]} | {total} | {reached} | {steps} | {cpu} |")
        if goal:
            lines[-1] += " {} % ({} to {}) |".format(*[round(100 * v) for v in row["reached_goal"]])
    return lines
