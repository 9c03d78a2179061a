"""Contact sheets show what the model will see: the fixed chain, the right way up, with the mask or the class."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fedmed.cases.case import Box, Case, Geometry
from fedmed.preprocessing import Intensity, Preprocessing
from fedmed.reporting import sheets
from fedmed.site import check, preview
from tests import boxed, radiographs, small
from tests.cases import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

GRID = Geometry((1, 1, 1), (1.0, 1.0, 1.0), "")


def silent(*_: Any) -> None:
    """Nobody watches."""


def strips(case: Case, root: Path, recipe: Any, **notes: str) -> list[sheets.Strip]:
    return list(preview.strips([case], root, recipe, {}, None, notes, silent))


def test_planes_of_a_volume_stand_upright_with_their_mask(tmp_path: Path) -> None:
    """One bright voxel at the right, front and head of the patient, labelled, in a file stored LPI."""
    array = np.zeros((10, 12, 14), np.float32)
    array[2:, 3:, 4:] = 1 + np.random.RandomState(0).rand(8, 9, 10)  # nothing is outside in the corner
    array[1, 1, 1] = 9  # stored L, P, I: index 1 is near the right, the front and the head
    label = np.zeros(array.shape, np.uint8)
    label[1, 1, 1] = 1
    affine = np.diag([-1.0, -1.0, -1.0, 1.0])
    phantoms.write_nifti(tmp_path / "a.nii", array, affine)
    phantoms.write_nifti(tmp_path / "m.nii", label, affine)
    case = Case("case-0123456789abcdef", "p", "", {"T1": ("a.nii",)}, "m.nii", {}, GRID)
    (strip,) = strips(case, tmp_path, phantoms.recipe(), **{case.case: "train"})
    assert (strip.title, strip.note) == ("case-01234567  10 x 12 x 14 voxels", "train")
    axial, coronal, sagittal = strip.panels
    assert [panel.sides for panel in strip.panels] == [
        ("L", "R", "A", "P"),
        ("L", "R", "S", "I"),
        ("P", "A", "S", "I"),
    ]
    assert [panel.image.shape for panel in strip.panels] == [(12, 10), (14, 10), (14, 12)]
    for panel, (row, column) in ((axial, (1, 8)), (coronal, (1, 8)), (sagittal, (1, 10))):
        assert panel.mask is not None
        assert np.argwhere(panel.mask).tolist() == [[row, column]]
        assert np.unravel_index(panel.image.argmax(), panel.image.shape) == (row, column)


def test_other_channels_get_one_plane_and_pixels_their_proportions(tmp_path: Path) -> None:
    for name in ("a", "b"):
        phantoms.write_nifti(tmp_path / f"{name}.nii", phantoms.ramp() + ord(name), np.diag([1.0, 2.0, 3.0, 1.0]))
    case = Case("case-0123456789abcdef", "p", "", {"T1": ("a.nii",), "T2": ("b.nii",)}, None, {}, GRID)
    recipe = phantoms.recipe(channels=("T1", "T2"), spacing=(1, 2, 3))
    (strip,) = strips(case, tmp_path, recipe)
    assert [panel.aspect for panel in strip.panels] == [2, 3, 1.5, 2]
    assert all(panel.mask is None for panel in strip.panels)


def test_pixels_have_the_proportions_of_the_federations_spacing(tmp_path: Path) -> None:
    phantoms.write_nifti(tmp_path / "a.nii", phantoms.ramp(), np.diag([1.0, 2.0, 3.0, 1.0]))
    case = Case("case-0123456789abcdef", "p", "", {"T1": ("a.nii",)}, None, {}, GRID)
    recipe = phantoms.recipe(spacing="federated", normalisation="federated")
    numbers = Preprocessing(channels={"T1": Intensity(mean=0, sd=1)}, spacing=(1, 2, 3))
    (strip,) = preview.strips([case], tmp_path, recipe, {}, numbers, {}, silent)
    assert [panel.aspect for panel in strip.panels] == pytest.approx([2, 3, 1.5])


def test_a_radiograph_has_its_class_and_the_size_of_the_recipe(tmp_path: Path) -> None:
    films.save(tmp_path / "a.dcm", films.dataset())
    for label, said in ((1, "1 fracture"), (0, "0 none"), (None, "no label")):
        (strip,) = strips(replace(films.case("a.dcm"), label=label), tmp_path, films.recipe())
        assert strip.title == f"case-1  {said}"
        assert [panel.image.shape for panel in strip.panels] == [(32, 32)]
    bright = np.argwhere(strip.panels[0].image > strip.panels[0].image.max() - 0.1).mean(axis=0)
    assert (bright < 16).all(), "the marker is at the top left"


def test_a_radiograph_has_its_boxes_in_the_frame_that_the_model_sees(tmp_path: Path) -> None:
    marker, bar = Box(1, 1, 2, 3, 1), Box(9, 21, 7, 3, 2)
    films.save(tmp_path / "a.dcm", films.dataset())
    recipe = boxed.recipe(data={"labels": {1: "fracture", 2: "metal"}})
    for label, said, count in (((marker, bar, bar), "1 fracture, 2 metal", 3), ((), "none", 0), (None, "no label", 0)):
        (strip,) = strips(replace(films.case("a.dcm"), label=label), tmp_path, recipe)
        assert strip.title == f"case-1  {said}"
        (panel,) = strip.panels
        assert len(panel.boxes) == count
        if count:
            x, y, width, height, label_ = map(int, panel.boxes[0])
            bright = panel.image[y : y + height, x : x + width].mean()
            assert (bright > panel.image.mean() + 1, label_) == (True, 1), "24 x 16 pixels became 32 x 21"


def test_slices_of_a_volume_say_where_their_sides_lie(tmp_path: Path) -> None:
    phantoms.write_nifti(tmp_path / "a.nii", phantoms.ramp())
    recipe = films.recipe(modality="MR", channels=("T1",), slices={"axcodes": "LPS", "middle": 1.0})
    (strip,) = strips(films.case("a.nii", label=1, channels=("T1",)), tmp_path, recipe)
    assert [panel.sides for panel in strip.panels] == [("R", "L", "A", "P")] * 3
    assert strip.panels[0].image.mean() != strip.panels[2].image.mean()


def test_who_cannot_be_read_any_more_is_left_out(tmp_path: Path) -> None:
    assert strips(films.case("gone.dcm"), tmp_path, films.recipe()) == []


def pixels(page: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page)).convert("RGB")).astype(int)


def is_of(page: bytes, label: int) -> np.ndarray:
    """Pixels in the colour of a class."""
    red, green, blue = (int(sheets.colour(label)[at : at + 2], 16) for at in (1, 3, 5))
    return np.asarray(np.abs(pixels(page) - (red, green, blue)).sum(axis=-1) < 24)


def test_an_outline_lies_around_the_mask() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:20, :20] = 1
    panel = sheets.Panel(np.random.RandomState(0).rand(40, 40).astype(np.float32), mask)
    (page,) = sheets.pages([sheets.Strip("case-1", "train", (panel,))], "a title", {})
    rows, columns = np.nonzero(is_of(page, 1))
    height, width = pixels(page).shape[:2]
    assert len(rows) > 100
    assert columns.max() < width * 0.2, "one panel of six across, its left half"
    assert rows.min() < height * 0.3 < rows.max() < height * 0.62


def test_boxes_and_the_legend_are_drawn_in_the_colour_of_their_class() -> None:
    image = np.random.RandomState(0).rand(30, 30).astype(np.float32)
    boxed = sheets.Panel(image, boxes=((5, 5, 10, 10, 2),))
    (page,) = sheets.pages([sheets.Strip("a", "b", (boxed,))], "t", {})
    (plain,) = sheets.pages([sheets.Strip("a", "b", (sheets.Panel(image),))], "t", {})
    (named,) = sheets.pages([sheets.Strip("a", "b", (sheets.Panel(image),))], "t", {2: "fracture"})
    assert is_of(page, 2).sum() > 50
    assert is_of(plain, 2).sum() == 0
    assert is_of(named, 2).sum() > 20


def test_letters_are_drawn() -> None:
    black = sheets.Panel(np.zeros((30, 30), np.float32))
    (plain,) = sheets.pages([sheets.Strip("", "", (black,))], "", {})
    (lettered,) = sheets.pages([sheets.Strip("", "", (replace(black, sides=("L", "R", "A", "P")),))], "", {})
    assert (pixels(plain) != pixels(lettered)).any()


@pytest.mark.slow
@pytest.mark.parametrize(("panels", "count", "expected"), [(1, 24, 1), (1, 25, 2), (3, 8, 1), (3, 9, 2), (6, 5, 2)])
def test_pages_are_full_before_the_next_begins(panels: int, count: int, expected: int) -> None:
    panel = sheets.Panel(np.eye(4, dtype=np.float32))
    assert len([*sheets.pages([sheets.Strip("a", "b", (panel,) * panels)] * count, "t", {})]) == expected
    assert [*sheets.pages([], "t", {})] == []


def test_a_preview_is_on_the_page_and_marked_local(tmp_path: Path) -> None:
    data = radiographs.write_hospital(tmp_path / "data", radiographs.PATIENTS[:6])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(radiographs.recipe().model_dump_json(by_alias=True))
    seen: list[str] = []
    found = check.check(
        data, tmp_path, recipe, tmp_path / "out", small.now(),
        options=check.Options(preview=4), progress=lambda what, *_: seen.append(what),
    )  # fmt: skip
    assert [path.name for path in found.written] == ["check-local.html", "check-local.csv", "preview-local-01.png"]
    page = found.written[0].read_text()
    assert "LOCAL: this page shows images of patients." in page
    assert page.count("data:image/png;base64,") == 1
    assert seen.count("drawing cases") == 4
    assert found.written[2].stat().st_mode & 0o777 == 0o600
    assert not found.report.names_files
    check.check(data, tmp_path, recipe, tmp_path / "out", small.now(), options=check.Options(), progress=silent)
    assert not (tmp_path / "out/preview-local-01.png").exists(), "it is not of this check"
