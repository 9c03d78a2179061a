"""fedmed/docs/EVIDENCE.md, made of benchmarks/results/evidence.json alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed import files

if TYPE_CHECKING:
    from collections.abc import Mapping

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "benchmarks" / "results" / "evidence.json"
DOCUMENT = TOP / "fedmed" / "docs" / "EVIDENCE.md"
INTRO = """# Evidence

What fedmed claims about its files, tried out. Every figure below was written by `make evidence`, which runs all of this
again; a quick version of each section is among the tests. Each section says when it was run, and on what.
"""
ELSEWHERE = """
## Measured elsewhere

What secure aggregation costs: `benchmarks/results/masking.md`. What differential privacy costs in the metric:
`benchmarks/results/privacy.md`, by `benchmarks/privacy.py`.
"""


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def save(path: Path, value: Mapping[str, Any]) -> None:
    """At once or not at all: a run may be killed while it writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write(titles: Mapping[str, str], found: Mapping[str, Any]) -> None:
    DOCUMENT.write_text(document(titles, found), "utf-8")


def document(titles: Mapping[str, str], found: Mapping[str, Any]) -> str:
    """Sections in the order of `titles`; one that was never run whole says so."""
    parts = [INTRO, *overview(titles, found)]
    for name, title in titles.items():
        parts += ["", f"## {title}", ""] + (section(found[name]) if name in found else ["Never run."])
    return "\n".join([*parts, ELSEWHERE])


def overview(titles: Mapping[str, str], found: Mapping[str, Any]) -> list[str]:
    lines = ["| section | holds | run |", "|---|---|---|"]
    for name, title in titles.items():
        entry = found.get(name)
        how = "never" if not entry else f"{entry['date']}{'' if entry['whole'] else ', a small part only'}"
        holds = "" if not entry else "yes" if entry["figures"]["holds"] else "**no**"
        lines.append(f"| {title} | {holds} | {how} |")
    return lines


def section(entry: Mapping[str, Any]) -> list[str]:
    figures, machine = entry["figures"], entry["machine"]
    lines = [entry["tried"], ""]
    if not entry["whole"]:
        lines += ["**A small part only: this section was never run whole.**", ""]
    lines += [_row(figures["columns"]), _row("---" for _ in figures["columns"]), *map(_row, figures["rows"]), ""]
    for sentence in figures["sentences"]:
        lines += [sentence, ""]
    versions = ", ".join(f"{name} {version}" for name, version in machine.items() if name != "system")
    took = f"{entry['seconds']:,} s of one core"
    return [*lines, f"Run on {entry['date']} at commit `{entry['commit']}`, {took}: {machine['system']}; {versions}."]


def _row(cells: Any) -> str:
    return f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in cells)} |"
