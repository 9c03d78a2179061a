"""The one reader: channels and label meet on one grid in the patient, without resampling, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from fedmed.cases import dicom, reading
from fedmed.cases.case import Case, Geometry, Volume

from . import phantoms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

AFFINE = phantoms.expected_affine()


def read(
    root: Path, label_map: Mapping[int, int] | None = None, label: str | None = "label.nii", **data: object
) -> Volume:
    image = {"T1": ("t1.nii",), "T2": ("t2.nii",)}
    case = Case("case-1", "patient-1", "", image, label, {}, Geometry(phantoms.SHAPE, phantoms.SPACING, "RAS"))
    return reading.read(case, root, phantoms.recipe(**data).data, label_map or {})


def study(root: Path, label: np.ndarray | None = None, affine: np.ndarray = AFFINE) -> None:
    phantoms.write_nifti(root / "t1.nii", phantoms.ramp(), AFFINE)
    phantoms.write_nifti(root / "label.nii", phantoms.mask() if label is None else label, affine)


def test_image_affine_and_label(tmp_path: Path) -> None:
    study(tmp_path)
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.image, phantoms.ramp()[None])
    np.testing.assert_array_equal(volume.label, phantoms.mask())
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    assert (volume.image.dtype, volume.affine.dtype, volume.label.dtype) == (np.float32, np.float64, np.uint8)
    assert read(tmp_path, label=None).label is None


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL", "IRP"])
def test_a_label_in_another_axis_order_is_turned_without_loss(tmp_path: Path, codes: str) -> None:
    """As a mask drawn on a converted copy of the DICOM series comes back."""
    names = phantoms.save(tmp_path / "series", phantoms.slices())
    mask = nibabel.Nifti1Image(phantoms.mask(), AFFINE)
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(codes))
    nibabel.save(mask.as_reoriented(turn), tmp_path / "label.nii.gz")
    image = {"T1": tuple(f"series/{name}" for name in names)}
    volume = reading.read_files("case-1", image, "label.nii.gz", tmp_path, phantoms.recipe().data, {})
    np.testing.assert_array_equal(volume.image[0], dicom.read(tmp_path / "series", names, "")[0])
    np.testing.assert_array_equal(volume.label, phantoms.mask())


def test_channels_come_in_the_recipes_order_on_the_grid_of_the_first(tmp_path: Path) -> None:
    study(tmp_path)
    second = nibabel.Nifti1Image(phantoms.ramp() + 5, AFFINE)
    nibabel.save(nibabel.as_closest_canonical(second), tmp_path / "t2.nii")
    volume = read(tmp_path, channels=("T1", "T2"))
    np.testing.assert_array_equal(volume.image, np.stack([phantoms.ramp(), phantoms.ramp() + 5]))
    turned = read(tmp_path, channels=("T2", "T1"))
    np.testing.assert_allclose(turned.affine, nibabel.as_closest_canonical(second).affine, atol=1e-5)
    np.testing.assert_array_equal(turned.image[0], nibabel.as_closest_canonical(second).get_fdata())


def test_another_grid_is_refused_with_both_geometries(tmp_path: Path) -> None:
    moved, stretched = AFFINE.copy(), AFFINE.copy()
    moved[0, 3] += 0.1  # more than a tenth of .8 mm
    stretched[:3, 2] *= 1.05
    for affine, words in ((moved, "up to 0.10 mm"), (stretched, "2.62 mm")):
        study(tmp_path, affine=affine)
        with phantoms.refuses("FM-DAT-29", words, "expected 7 x 6 x 10 of 0.8 x 1.2 x 2.5 mm"):
            read(tmp_path)
    study(tmp_path, phantoms.mask((7, 6, 9)))
    with phantoms.refuses("FM-DAT-29", "7 x 6 x 9"):
        read(tmp_path)
    study(tmp_path)
    phantoms.write_nifti(tmp_path / "t2.nii", phantoms.ramp(), moved)
    with phantoms.refuses("FM-DAT-27", "case-1 T2"):
        read(tmp_path, channels=("T1", "T2"))


def test_a_grid_within_the_tolerance_counts_as_the_same(tmp_path: Path) -> None:
    near = AFFINE.copy()
    near[0, 3] += 0.07
    study(tmp_path, affine=near)
    np.testing.assert_array_equal(read(tmp_path).label, phantoms.mask())


def test_label_values(tmp_path: Path) -> None:
    label = phantoms.mask() * 4
    study(tmp_path, label)
    with phantoms.refuses("FM-DAT-28", "value 4, expected 0 to 1"):
        read(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, {4: 1}).label, phantoms.mask())
    assert read(tmp_path, {4: 0}).label.max() == 0
    with phantoms.refuses("FM-DAT-28", "value 4 is not in label_map"):
        read(tmp_path, {1: 1})
    study(tmp_path, label.astype(np.float32) * 0.3)
    with phantoms.refuses("FM-DAT-28", "value 1.2, expected whole numbers"):
        read(tmp_path)


@pytest.mark.parametrize(("stored", "slope"), [(3, 1 / 3), (200, 0.005), (1, 1.0), (-2, -0.5)])
def test_a_mask_saved_with_a_scale_factor(tmp_path: Path, stored: int, slope: float) -> None:
    """As exports do that scale everything: 1 comes back as 0.99999994 and is 1."""
    study(tmp_path, phantoms.mask().astype(np.int16) * stored)
    raw = bytearray((tmp_path / "label.nii").read_bytes())
    header = np.ndarray((), dtype=nibabel.Nifti1Header.template_dtype, buffer=raw)
    header["scl_slope"], header["scl_inter"] = slope, 0
    (tmp_path / "label.nii").write_bytes(raw)
    assert nibabel.load(tmp_path / "label.nii").get_fdata().max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(read(tmp_path).label, phantoms.mask())


def test_empty_images_missing_channels_and_ways_out(tmp_path: Path) -> None:
    study(tmp_path)
    with phantoms.refuses("FM-DAT-11", "FLAIR"):
        read(tmp_path, channels=("T1", "FLAIR"))
    phantoms.write_nifti(tmp_path / "t1.nii", np.full(phantoms.SHAPE, 3, np.int16), AFFINE)
    with phantoms.refuses("FM-DAT-26", "every voxel is 3"):
        read(tmp_path)
    outside = phantoms.write_nifti(tmp_path / "Nansen.nii", phantoms.ramp(), AFFINE)
    root = tmp_path / "root"
    study(root)
    (root / "t1.nii").unlink()
    (root / "t1.nii").symlink_to(outside)
    with phantoms.refuses("FM-DAT-15"):
        read(root)
    (root / "t1.nii").unlink()
    with phantoms.refuses("FM-DAT-16"):
        read(root)
