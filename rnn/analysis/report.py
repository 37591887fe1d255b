"""A report: sections of sentences, numbers and figures, as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnn.analysis.result import Result

__all__ = ["Section", "draw", "page"]


@dataclass
class Section:
    """A part of the report: a heading, sentences, numbers, and figures."""

    title: str
    text: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Result] = field(default_factory=dict)


def draw(section: Section, name: str, result: Result, out: Path) -> tuple[str, Path]:
    """Draw a result into a file named after its section."""
    stem = "".join(c if c.isalnum() else "_" for c in f"{section.title}_{name}".lower())
    path = out / f"{stem}.png"
    result.plot(path)
    return name, path


def page(name: str, sections: list[tuple[Section, list[tuple[str, Path]]]]) -> str:
    """The report, with its figures inside."""
    body = [f"<h1>Inside the network {html.escape(name)}</h1>"]
    for section, images in sections:
        body.append(f"<h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)}</p>")
        if section.numbers:
            rows = "".join(
                f"<tr><td>{html.escape(str(key))}</td><td>{html.escape(_plain(value))}</td></tr>"
                for key, value in section.numbers.items()
            )
            shown = "open" if len(section.numbers) < 9 else ""
            body.append(f"<details {shown}><summary>numbers</summary><table>{rows}</table></details>")
        for figure, path in images:
            data = base64.b64encode(path.read_bytes()).decode()
            body.append(f'<figure><img alt="{html.escape(figure)}" src="data:image/png;base64,{data}"></figure>')
    style = (
        "body{font-family:system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;line-height:1.5}"
        "img{max-width:100%}figure{margin:1rem 0}td{padding:.1rem 1rem .1rem 0;vertical-align:top}"
        "h2{border-top:1px solid #ccc;padding-top:1rem}"
    )
    head = f'<meta charset="utf-8"><title>{html.escape(name)}</title><style>{style}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>'


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_plain(v) for v in value)
    return str(value)
