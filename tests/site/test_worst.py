"""The images that a model points into worst come first, with boxes and candidates where they lie in the frame."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.cases.case import Box
from fedmed.reporting import sheets
from fedmed.site import evaluate, partition, worst
from fedmed.training.localisation import Candidate, Located
from tests import boxed, small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOX = (Box(2, 2, 7, 7, 1),)


def image(name: str, boxes: tuple[Box, ...], *candidates: Candidate) -> Located:
    return Located(name, boxes, candidates)


def hit(score: float) -> Candidate:
    return Candidate(1, score, 5.5, 5.5, "hit", 0)


def wrong(score: float) -> Candidate:
    return Candidate(1, score, 15.0, 20.0, "false positive")


@pytest.mark.parametrize(
    ("located", "expected"),
    [
        (image("found", BOX, hit(0.9), wrong(0.2)), 0.2),
        (image("found late", BOX, wrong(0.8), hit(0.5)), 1.8),
        (image("missed", BOX, wrong(0.3)), 1.3),
        (image("missed, nothing else", BOX), 1.0),
        (image("healthy", (), wrong(0.7)), 0.7),
        (image("healthy, silent", ()), 0.0),
    ],
)
def test_how_bad_an_image_is(located: Located, expected: float) -> None:
    assert worst.badness(located) == pytest.approx(expected)


def test_a_strip_has_boxes_and_candidates_in_the_frame(tmp_path: Path) -> None:
    (case,) = boxed.cases(tmp_path, [1])
    recipe = boxed.recipe(data={"image_size": [64, 64]})  # 32 x 24 pixels become 64 x 48, 8 columns of frame before
    points = (wrong(0.8), hit(0.5), wrong(0.3), wrong(0.1))
    (strip,) = worst._strips([(image(case.case, case.label, *points), case)], tmp_path, recipe, {}, None)  # type: ignore[arg-type]
    assert strip.note == "0.80, 0.50 hit, 0.30"
    (panel,) = strip.panels
    reference, first, *others = panel.boxes
    box = case.label[0]  # type: ignore[index]
    assert reference == (8 + 2 * box.x, 2 * box.y, 14, 14, 1)
    assert first == pytest.approx((8 + 30 - 1.92, 40 - 1.92, 3.84, 3.84, 2))
    assert len(others) == 2


def test_evaluate_draws_validation_images_and_never_the_test_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def noted(strips: Callable[..., object], title: str, classes: dict[int, str]) -> object:
        found = list(strips)  # type: ignore[call-overload]
        shown.extend(strip.title for strip in found)
        assert classes == {1: "mark", 2: "candidate"}
        return pages(found, title, classes)

    pages = sheets.pages
    monkeypatch.setattr(sheets, "pages", noted)
    world = small.founded(
        tmp_path, ("aa",), initial=small.unet_initial, recipe=boxed.fields(), patients=boxed.PATIENTS,
        hospital=boxed.write_hospital, channels=("XR",), limits={"min_sites": 1, "max_share": 1.0},
    )  # fmt: skip
    partition.partition(world.site("aa"), small.now())
    made = evaluate.evaluate(world.site("aa"), small.now(), "validation", "cpu", lambda *_: None)
    assert made.worst is not None
    assert made.worst.read_bytes().startswith(b"\x89PNG")
    assert made.worst.stat().st_mode & 0o777 == 0o600
    assert len(shown) == made.body.told.num_cases
    again = evaluate.evaluate(world.site("aa"), small.now(), "validation", "cpu", lambda *_: None)
    assert (again.is_new, again.worst) == (False, None)
    consent: Any = SimpleNamespace(recipe=boxed.recipe())
    nothing: Any = None
    assert evaluate._picture(nothing, consent, nothing, "testing", [], 2) is None
