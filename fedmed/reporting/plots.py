"""Pictures of tables, as PNG bytes. Actors write them; matplotlib is loaded only here and only when one is drawn."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

MARKS = ("o", "s", "^", "D", "v")  # told apart without colour
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")


def groups(*, title: str, groups: Sequence[str], values: Mapping[str, Sequence[Sequence[float]]], axis: str) -> bytes:
    """A dot for each value and a bar at their mean: `values` has, by series, one list of values a group."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second; without pyplot, which would want a screen

    figure = Figure(figsize=(1.6 + 1.3 * len(groups), 3.6), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / max(1, len(values))
    for number, (series, lists) in enumerate(values.items()):
        places = [place + (number - (len(values) - 1) / 2) * width for place in range(len(groups))]
        colour = f"C{number}"
        across = [place for place, found in zip(places, lists, strict=True) for _ in found]
        up = [value for found in lists for value in found]
        axes.scatter(across, up, s=14, marker=MARKS[number % len(MARKS)], color=colour, label=series)
        means = [(place, sum(found) / len(found)) for place, found in zip(places, lists, strict=True) if found]
        for place, mean in means:
            axes.hlines(mean, place - width / 2.4, place + width / 2.4, colors=colour, linewidth=2)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(axis)
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    return _png(figure)


def stacks(*, title: str, names: Sequence[str], panels: Mapping[str, Mapping[str, Sequence[int]]]) -> bytes:
    """Panels side by side, in each a bar for each name: `panels` has, by panel and series, one number a name.

    Series are told apart without colour.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    longest = max(map(len, panels.values()), default=0)
    height = max(1.6 + 0.3 * len(names), 1.2 + 0.2 * longest)
    figure = Figure(figsize=(5.2 * len(panels), height), layout="constrained")
    for number, (panel, series) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), number)
        left = [0] * len(names)
        for index, (label, counts) in enumerate(series.items()):
            hatch = HATCHES[index % len(HATCHES)]
            axes.barh(range(len(names)), counts, left=left, label=label, hatch=hatch, edgecolor="white", linewidth=0.5)
            left = [start + count for start, count in zip(left, counts, strict=True)]
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel(panel)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(title, fontsize=10)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120, metadata={"Software": None})
    return data.getvalue()
