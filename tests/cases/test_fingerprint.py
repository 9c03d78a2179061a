"""Fingerprints measured from files, held against the same numbers worked out from the arrays themselves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

from fedmed import fingerprint as numbers
from fedmed import pooling
from fedmed.cases import fingerprint
from fedmed.cases.case import Case, Geometry
from fedmed.errors import FedmedError
from fedmed.fingerprint import Cell, Share
from tests import boxed, radiographs
from tests.training.conftest import tiny_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.recipe import Segmentation

SHAPE = (6, 5, 4)


def recipe(modality: str = "MR", channels: tuple[str, ...] = ("MR",), **data: Any) -> Segmentation:
    labels = {1: "liver", 2: "tumour"}
    top = {"modality": modality, "channels": list(channels), "labels": labels, "spacing": [1, 1, 1], **data}
    return tiny_recipe(top={"data": top})


def write(root: Path, name: str, seed: int, channels: tuple[str, ...] = ("MR",), affine: Any = None) -> Case:
    """Random grey values with a border of zeros; classes 1 and, in every other case, 2."""
    random = np.random.RandomState(seed)
    label = np.zeros(SHAPE, np.uint8)
    label[2:4, 1:3, 1:3] = 1
    label[3, 1, 1] = 1 + seed % 2
    affine = np.diag([1.0, 2.0, 4.0, 1.0]) if affine is None else affine
    for channel in channels:
        image = (random.gamma(3, 20 * (seed + 1), SHAPE) + 1).astype(np.float32)
        image[0] = 0
        nibabel.save(nifti(image, affine), root / f"{name}-{channel}.nii.gz")
    nibabel.save(nifti(label, affine), root / f"{name}-label.nii.gz")
    image_ = {channel: (f"{name}-{channel}.nii.gz",) for channel in channels}
    return Case(name, name, "", image_, f"{name}-label.nii.gz", {}, Geometry(SHAPE, (1, 2, 4), "RAS"))


def nifti(array: Any, affine: Any) -> nibabel.Nifti1Image:
    made = nibabel.Nifti1Image(array, affine)
    made.header.set_xyzt_units("mm")
    return made


def arrays(root: Path, cases: list[Case], channel: str = "MR") -> list[tuple[Any, Any]]:
    found = []
    for case in cases:
        image, label = (np.asarray(nibabel.load(root / path).dataobj) for path in (case.image[channel][0], case.label))
        found.append((image, label))
    return found


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    return [write(tmp_path, f"case-{seed}", seed) for seed in range(7)]


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_grey_values_case_by_case(tmp_path: Path, cases: list[Case], modality: str) -> None:
    found = fingerprint.measure(cases, recipe(modality), tmp_path, {}).channels["MR"]
    inside = [image[label > 0] if modality == "CT" else image[image != 0] for image, label in arrays(tmp_path, cases)]
    mean = np.mean([each.mean(dtype=np.float64) for each in inside])
    square = np.mean([(each.astype(np.float64) ** 2).mean() for each in inside])
    assert found.n == 7
    assert found.mean == pytest.approx(mean, rel=1e-9)
    assert found.sd == pytest.approx(np.sqrt(square - mean**2), rel=1e-7)
    assert found.low == pytest.approx(np.mean([np.percentile(each, 0.5) for each in inside]), rel=1e-9)
    assert found.high == pytest.approx(np.mean([np.percentile(each, 99.5) for each in inside]), rel=1e-9)


def test_three_sites_pooled_are_all_cases_in_one_place(tmp_path: Path, cases: list[Case]) -> None:
    whole = fingerprint.measure(cases, recipe(), tmp_path, {})
    parts = [fingerprint.measure(cases[a:b], recipe(), tmp_path, {}) for a, b in ((0, 1), (1, 3), (3, 7))]
    pooled = pooling.pool(parts)
    one, other = pooled.channels["MR"], whole.channels["MR"]
    assert [one.n, one.mean, one.sd] == pytest.approx([other.n, other.mean, other.sd], rel=1e-12)
    assert [one.low, one.high] == pytest.approx([other.low, other.high], rel=1e-12)
    assert (pooled.num_cases, pooled.spacing, pooled.shape, pooled.classes) == (
        whole.num_cases, whole.spacing, whole.shape, whole.classes,
    )  # fmt: skip


def test_classes_count_cases_and_voxels(tmp_path: Path, cases: list[Case]) -> None:
    found = fingerprint.measure(cases, recipe(), tmp_path, {}).classes
    assert found == {1: Share(7, 7.0 * 8 - 3), 2: Share(3, 3.0)}
    mapped = fingerprint.measure(cases, recipe(), tmp_path, {1: 1, 2: 1}).classes
    assert mapped == {1: Share(7, 56.0), 2: Share(0, 0.0)}


def test_each_channel_has_numbers_of_its_own(tmp_path: Path) -> None:
    both = ("T1", "T2")
    cases = [write(tmp_path, f"case-{seed}", seed, both) for seed in range(2)]
    found = fingerprint.measure(cases, recipe(channels=both), tmp_path, {}).channels
    for channel in both:
        inside = [image[image != 0].mean(dtype=np.float64) for image, _ in arrays(tmp_path, cases, channel)]
        assert found[channel].mean == pytest.approx(np.mean(inside), rel=1e-9)
    assert found["T1"].mean != found["T2"].mean


def test_spacing_and_shape_lie_along_the_axes_of_the_recipe(tmp_path: Path) -> None:
    # stored as S, L, P with 3, 1 and 2 mm: along R, A, S that is 1, 2 and 3 mm, and 5, 4 and 6 voxels
    affine = np.array([[0, -1.0, 0, 0], [0, 0, -2.0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    found = fingerprint.measure([write(tmp_path, "case-0", 0, affine=affine)], recipe(), tmp_path, {})
    assert [pooling.median(each) for each in found.spacing] == pytest.approx([1, 2, 3], rel=0.0101)
    assert [pooling.median(each) for each in found.shape] == pytest.approx([5, 4, 6], rel=0.0101)


def test_a_ct_without_a_labelled_voxel_has_no_part_in_the_grey_values(tmp_path: Path, cases: list[Case]) -> None:
    nibabel.save(nifti(np.zeros(SHAPE, np.uint8), np.diag([1.0, 2.0, 4.0, 1.0])), tmp_path / str(cases[0].label))
    found = fingerprint.measure(cases, recipe("CT"), tmp_path, {})
    assert (found.num_cases, found.channels["MR"].n) == (7, 6)
    empty = fingerprint.measure(cases[:1], recipe("CT"), tmp_path, {}).channels["MR"]
    assert (empty.n, empty.low) == (0, None)


def test_pictures_count_all_grey_values_and_cases_by_class(tmp_path: Path) -> None:
    kinds = [0, 1, 0, 0, 1]
    cases = radiographs.cases(tmp_path / "films", kinds)
    rule = radiographs.recipe()
    found = fingerprint.measure(cases, rule, tmp_path / "films", {})
    assert found.classes == {0: Share(3, 0.0), 1: Share(2, 0.0)}
    assert found.channels["XR"].n == 5
    from fedmed.cases import pictures  # noqa: PLC0415

    slices = [pictures.read(case, tmp_path / "films", rule.data, {}).slices for case in cases]
    assert found.channels["XR"].mean == pytest.approx(np.mean([each.mean(dtype=np.float64) for each in slices]))
    assert found.channels["XR"].high == pytest.approx(np.mean([np.percentile(each, 99.5) for each in slices]))
    rows, columns = slices[0].shape[2:]
    assert found.shape[1].cells == (Cell(numbers.bin_of(rows), numbers.bin_of(rows), 5),)
    assert found.shape[0].cells == (Cell(numbers.bin_of(columns), numbers.bin_of(columns), 5),)


def test_images_with_boxes_count_for_every_class_that_they_show(tmp_path: Path) -> None:
    cases = boxed.cases(tmp_path, [0, 1, 2, 2])
    two = cases[3].label
    assert isinstance(two, tuple)
    cases[3] = dataclasses.replace(cases[3], label=(two[0], two[1]._replace(label=7)))
    found = fingerprint.measure(cases, boxed.recipe(data={"labels": {1: "one", 2: "two"}}), tmp_path, {1: 1, 7: 2})
    assert found.classes == {0: Share(1, 0.0), 1: Share(3, 0.0), 2: Share(1, 0.0)}
    assert found.channels["XR"].n == 4
    with pytest.raises(FedmedError, match="no boxes"):
        fingerprint.measure([radiographs.case("case-00", 1)], boxed.recipe(), tmp_path, {})


def test_progress_and_what_cannot_be_measured(tmp_path: Path, cases: list[Case]) -> None:
    seen: list[tuple[int, int]] = []
    fingerprint.measure(cases[:2], recipe(), tmp_path, {}, lambda *at: seen.append(at))
    assert seen == [(1, 2), (2, 2)]
    for given, code in (
        ([], "FM-TRN-04"),
        ([Case("c", "p", "", cases[0].image, None, {}, cases[0].geometry)], "FM-TRN-03"),
    ):
        with pytest.raises(FedmedError) as caught:
            fingerprint.measure(given, recipe(), tmp_path, {})
        assert caught.value.code == code
    film = radiographs.case("case-00", None)
    with pytest.raises(FedmedError, match="no class"):
        fingerprint.measure([film], radiographs.recipe(), tmp_path, {})
