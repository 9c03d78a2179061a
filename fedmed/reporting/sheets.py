"""Contact sheets: many small pictures on pages of PNG, each with its outlines, the letters of its sides and a caption.

A page is drawn as soon as it is full, so that memory does not grow with the number of pictures.
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

COLUMNS, ROWS = 6, 4  # panels of a page
SIDE = 1.9  # inches of a panel
DARKEST, BRIGHTEST = 1, 99  # percent: shown as black and white
COLOURS = ("#ffb000", "#3ddc97", "#5ac8fa", "#ff5c8a", "#c792ea", "#f5f543", "#ff8f4d", "#9bb7ff")


@dataclass(frozen=True)
class Panel:
    """An image [row, column], row 0 at the top, with the classes of its pixels where it is outlined.

    `aspect` is the height of a pixel by its width; `sides` are letters at the left, right, top and bottom, or nothing;
    `boxes` are (left, top, width, height, class) in pixels.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8] | None = None
    aspect: float = 1.0
    sides: tuple[str, str, str, str] = ("", "", "", "")
    boxes: tuple[tuple[float, float, float, float, int], ...] = ()


@dataclass(frozen=True)
class Strip:
    """The panels of one case, side by side, and two lines below them."""

    title: str
    note: str
    panels: tuple[Panel, ...]


def pages(strips: Iterable[Strip], title: str, classes: Mapping[int, str]) -> Iterator[bytes]:
    """PNG pages. All strips have as many panels as the first, at most COLUMNS."""
    iterator = iter(strips)
    first = next(iterator, None)
    if first is None:
        return
    across = max(1, COLUMNS // len(first.panels))
    everything = itertools.chain([first], iterator)
    while page := list(itertools.islice(everything, across * ROWS)):
        yield _page(page, across, title, classes)


def _page(strips: Sequence[Strip], across: int, title: str, classes: Mapping[int, str]) -> bytes:
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second; without pyplot, which would want a screen

    width, rows = len(strips[0].panels), -(-len(strips) // across)
    figure = Figure(figsize=(SIDE * width * across, (SIDE + 0.42) * rows + 0.5), facecolor="white")
    top = 1 - 0.5 / figure.get_figheight()
    figure.text(0.008, 1 - 0.14 / figure.get_figheight(), title, fontsize=10, va="top", color="#1b2733")
    _legend(figure, classes)
    places = figure.subplots(
        rows,
        width * across,
        squeeze=False,
        gridspec_kw={"left": 0.006, "right": 0.994, "top": top, "bottom": 0.42 / figure.get_figheight()}
        | {"wspace": 0.03, "hspace": 0.42 / SIDE},
    )
    for axes in places.flat:
        axes.set_axis_off()
    for number, strip in enumerate(strips):
        row, column = divmod(number, across)
        for offset, panel in enumerate(strip.panels):
            _draw(places[row, column * width + offset], panel)
        _caption(places[row, column * width], strip)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110, metadata={"Software": None})
    return data.getvalue()


def _draw(axes: Any, panel: Panel) -> None:
    low, high = np.percentile(panel.image, (DARKEST, BRIGHTEST))
    shown = {"vmin": low, "vmax": high if high > low else low + 1}
    axes.imshow(panel.image, cmap="gray", aspect=panel.aspect, interpolation="antialiased", **shown)
    for label in range(1, int(panel.mask.max()) + 1) if panel.mask is not None else ():
        _outline(axes, np.asarray(panel.mask == label), colour(label))
    for left, upper, width, height, label in panel.boxes:
        corners = (left, left + width, left + width, left, left), (upper, upper, upper + height, upper + height, upper)
        axes.plot(*(np.asarray(values) - 0.5 for values in corners), color=colour(label), linewidth=1.2)
    height, width = panel.image.shape
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    _letters(axes, panel.sides)


def _outline(axes: Any, inside: NDArray[np.bool_], colour_: str) -> None:
    """Around pixels; what touches the border is closed along it."""
    if inside.any():
        padded = np.pad(inside.astype(np.float32), 1)
        down, across = (np.arange(size) - 1 for size in padded.shape)
        axes.contour(across, down, padded, [0.5], colors=[colour_], linewidths=1.0)


def _letters(axes: Any, sides: tuple[str, str, str, str]) -> None:
    places = (
        *((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center")),
        *((0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom")),
    )
    for letter, (x, y, across, along) in zip(sides, places, strict=True):
        box = {"boxstyle": "square,pad=0.15", "facecolor": "black", "alpha": 0.55, "linewidth": 0}
        if letter:
            axes.text(
                *(x, y, letter), transform=axes.transAxes, ha=across, va=along, fontsize=7, color="white", bbox=box
            )


def _caption(axes: Any, strip: Strip) -> None:
    for text, line, colour_ in ((strip.title, 3, "#1b2733"), (strip.note, 13, "#5b6b7b")):
        axes.annotate(text, (0, 0), (0, -line), "axes fraction", "offset points", va="top", fontsize=7, color=colour_)


def _legend(figure: Any, classes: Mapping[int, str]) -> None:
    right = 0.992
    for number, name in sorted(classes.items(), reverse=True):
        text = figure.text(
            right, 1 - 0.14 / figure.get_figheight(), name, fontsize=9, ha="right", va="top", color="white",
            bbox={"boxstyle": "round,pad=0.25", "facecolor": "#1b2733", "edgecolor": colour(number), "linewidth": 1.6},
        )  # fmt: skip
        right -= (len(text.get_text()) * 0.075 + 0.28) / figure.get_figwidth()


def colour(label: int) -> str:
    """Bright on grey, told apart in most kinds of colour blindness; from the ninth class on they come again."""
    return COLOURS[(label - 1) % len(COLOURS)]
