"""Pictures of tables, as PNG bytes. Actors write them; matplotlib is loaded only here and only when one is drawn."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARKS = ("o", "s", "^", "D", "v")  # told apart without colour


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
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120, metadata={"Software": None})
    return data.getvalue()
