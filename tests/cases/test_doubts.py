"""What the data check warns of: labels that can be used and look odd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.cases import doubts, reading

from . import phantoms, segs

if TYPE_CHECKING:
    from pathlib import Path

DATA = phantoms.recipe(labels={1: "tumour", 2: "edema"}).data


def of(mask: np.ndarray) -> list[tuple[str, str]]:
    return doubts.of_mask(mask.astype(np.uint8), DATA, "case-1 label")


def inner(**boxes: tuple[slice, slice, slice]) -> np.ndarray:
    """[X, Y, Z] = [7, 6, 10] with class 1 in box `one`, class 2 in box `two`."""
    mask = np.zeros(phantoms.SHAPE, np.uint8)
    for number, name in enumerate(("one", "two"), start=1):
        if name in boxes:
            mask[boxes[name]] = number
    return mask


BOX = (slice(2, 4), slice(2, 4), slice(3, 6))


def test_a_sound_mask_has_no_doubts() -> None:
    assert of(inner(one=BOX, two=(slice(4, 6), slice(2, 4), slice(3, 6)))) == []
    assert of(inner(one=(slice(1, -1),) * 3)) == [], "one voxel away from every border"


def test_an_empty_mask() -> None:
    assert of(inner()) == [("FM-DAT-68", "case-1 label: no voxel of any class")]


def test_one_voxel_alone() -> None:
    one = (slice(3, 4), slice(3, 4), slice(3, 4))
    assert of(inner(one=one)) == [("FM-DAT-69", "case-1 label: one voxel alone of class 1 (tumour)")]
    two = (slice(1, 2), slice(1, 2), slice(1, 2))
    assert of(inner(one=one, two=two)) == [
        ("FM-DAT-69", "case-1 label: one voxel alone of class 1 (tumour), 2 (edema)")
    ]
    assert of(inner(one=(slice(3, 5), slice(3, 4), slice(3, 4)))) == []


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [slice(None, 2), slice(-2, None)])
def test_a_class_at_each_border(axis: int, end: slice) -> None:
    box = list(BOX)
    box[axis] = end
    message = "case-1 label: class 2 (edema) touches the border of the image"
    assert of(inner(two=tuple(box))) == [("FM-DAT-70", message)]


def off(tmp_path: Path, mm: float, tolerance: float = 0.1) -> tuple[list[tuple[str, str]], str]:
    """Doubts about a label whose grid lies `mm` along the columns from that of its image, or the code of a refusal."""
    affine = phantoms.expected_affine()
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 0] / 0.8 * mm
    phantoms.write_nifti(tmp_path / "t1.nii", phantoms.ramp(), affine)
    phantoms.write_nifti(tmp_path / "mask.nii", inner(one=BOX)[:, ::-1], turned(moved))
    data = phantoms.recipe(grid_tolerance=tolerance).data
    volume, code = phantoms.attempt(
        lambda: reading.read_files("case-1", {"T1": ("t1.nii",)}, "mask.nii", tmp_path, data, {})
    )
    return (doubts.of_label(volume, data, "case-1 label"), "") if volume else ([], code)


def turned(affine: np.ndarray) -> np.ndarray:
    """The same grid with its second axis running the other way."""
    turned = affine.copy()
    turned[:3, 3] += 5 * affine[:3, 1]
    turned[:3, 1] *= -1
    return turned


def test_a_grid_that_is_off_within_the_tolerance(tmp_path: Path) -> None:
    """The shortest edge is 0.8 mm: refused beyond 0.08 mm, doubted from 0.0008 mm on."""
    assert off(tmp_path, 0.0) == ([], "")
    assert off(tmp_path, 0.0007) == ([], "")
    (found,), code = off(tmp_path, 0.02)
    said = "corners of the label's grid lie up to 0.02 mm from the image's (7 x 6 x 10 of 0.8 x 1.2 x 2.5 mm"
    assert found[0] == "FM-DAT-67"
    assert said in found[1]
    assert found[1].endswith("accepted up to 0.08 mm")
    assert code == ""
    assert off(tmp_path, 0.09) == ([], "FM-DAT-29")


def test_the_tolerance_is_the_recipes(tmp_path: Path) -> None:
    assert off(tmp_path, 0.09, tolerance=0.2)[1] == ""
    assert off(tmp_path, 0.02, tolerance=0.02) == ([], "FM-DAT-29")
    assert off(tmp_path, 0.0007, tolerance=0.02)[0][0][0] == "FM-DAT-67"


@pytest.mark.parametrize(("mm", "codes"), [(0.0, []), (0.02, ["FM-DAT-67"])])
def test_a_segmentation_is_off_too(tmp_path: Path, mm: float, codes: list[str]) -> None:
    image = phantoms.slices()
    names = tuple(phantoms.save(tmp_path, image))
    for one in image:
        phantoms.move(one, mm)
    mask = segs.segmentation(segs.frames({1: inner(one=BOX) == 1}, image), image[0])
    mask.save_as(tmp_path / "mask.dcm", enforce_file_format=True)
    volume = reading.read_files("case-1", {"T1": names}, "mask.dcm", tmp_path, DATA, {})
    assert [code for code, _ in doubts.of_label(volume, DATA, "case-1 label")] == codes


def test_no_label_no_doubt(tmp_path: Path) -> None:
    phantoms.write_nifti(tmp_path / "t1.nii", phantoms.ramp())
    volume = reading.read_files("case-1", {"T1": ("t1.nii",)}, None, tmp_path, DATA, {})
    assert doubts.of_label(volume, DATA, "case-1 label") == []
