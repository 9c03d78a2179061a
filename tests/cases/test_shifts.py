"""Hospitals that differ in their images: the same each time, as strong as asked for, and part of what is learned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.cases import content, pictures, reading, shifts
from fedmed.cases.case import Case, Geometry, Shift

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

GRID = Geometry((1, 1, 1), (1.0, 1.0, 1.0), "RAS")


def apply(image: np.ndarray, shift: Shift, *, outside: bool = False, bounded: bool = False) -> np.ndarray:
    return shifts.apply(image.astype(np.float32), shift, "case-1", zero_is_outside=outside, bounded=bounded)


def test_what_each_site_does() -> None:
    noise = [shifts.of_site("noise", 0.8, 7, number, 4) for number in (1, 2, 3, 4)]
    assert [each.amount for each in noise] == [0.2, 0.4, 0.6, 0.8]
    assert {(each.kind, each.seed) for each in noise} == {("noise", 7)}
    assert [shifts.of_site("intensity", 0.5, 7, number, 3).amount for number in (1, 2, 3)] == [-0.5, 0.0, 0.5]
    assert shifts.of_site("intensity", 0.5, 7, 1, 1).amount == 0.5


def test_noise_is_in_proportion_to_the_image_and_repeats() -> None:
    image = np.random.RandomState(0).randn(2, 40, 40, 40) * np.array([1, 50]).reshape(2, 1, 1, 1)
    shifted = apply(image, Shift("noise", 0.5, 7))
    added = shifted - image.astype(np.float32)
    np.testing.assert_allclose(added.std(axis=(1, 2, 3)), [0.5, 25], rtol=0.03)
    assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.02, "each channel has noise of its own"
    np.testing.assert_array_equal(shifted, apply(image, Shift("noise", 0.5, 7)))
    for other in (Shift("noise", 0.5, 8), Shift("noise", 0.6, 7)):
        assert not np.array_equal(shifted, apply(image, other))
    other_case = shifts.apply(
        image.astype(np.float32), Shift("noise", 0.5, 7), "case-2", zero_is_outside=False, bounded=False
    )
    assert not np.array_equal(shifted, other_case)


def test_intensity_keeps_order_and_range_and_outlives_a_z_score() -> None:
    image = np.array([[0.0, 0.0, 25, 50, 100]])
    np.testing.assert_allclose(
        apply(image, Shift("intensity", float(np.log(2)), 7)), [[0, 0, 6.25, 25, 100]], rtol=1e-5
    )
    np.testing.assert_array_equal(apply(image, Shift("intensity", 0.0, 7)), image)
    shifted = apply(image, Shift("intensity", 0.4, 7))
    assert (np.diff(shifted[0, 1:]) > 0).all()
    score = [(each - each.mean()) / each.std() for each in (image, shifted)]
    assert np.abs(score[0] - score[1]).max() > 0.1


def test_zeros_outside_stay_and_bounded_values_stay_within() -> None:
    image = np.array([[0.0, 0.0, 0.2, 0.9, 1.0]] * 2)
    shifted = apply(image, Shift("noise", 3.0, 7), outside=True, bounded=True)
    np.testing.assert_array_equal(shifted[:, :2], 0)
    assert shifted.min() >= 0
    assert shifted.max() <= 1
    assert not np.array_equal(shifted[:, 2:], image[:, 2:])
    for flat in (np.zeros((1, 4)), np.full((1, 4), 5.0)):
        for kind in ("noise", "intensity"):
            np.testing.assert_array_equal(apply(flat, Shift(kind, 1.0, 7), outside=True), flat)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["noise", "intensity"])
def test_the_readers_apply_it_and_files_and_masks_stay(tmp_path: Path, kind: str) -> None:
    phantoms.write_nifti(tmp_path / "a.nii", phantoms.ramp())
    phantoms.write_nifti(tmp_path / "m.nii", phantoms.mask())
    films.save(tmp_path / "x.dcm", films.dataset(films.film()))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    shift = Shift(kind, 0.7, 7)  # type: ignore[arg-type]
    volume = Case("case-1", "patient-1", "", {"T1": ("a.nii",)}, "m.nii", {}, GRID)
    plain, shifted = (
        reading.read(each, tmp_path, phantoms.recipe().data, {}) for each in (volume, replace(volume, shift=shift))
    )
    assert not np.array_equal(plain.image, shifted.image)
    assert plain.label is not None
    np.testing.assert_array_equal(plain.label, shifted.label)
    film = replace(volume, image={"XR": ("x.dcm",)}, label=1)
    data = films.recipe().data
    one, other = (pictures.read(each, tmp_path, data, {}) for each in (film, replace(film, shift=shift)))
    assert one.slices.shape == other.slices.shape
    assert not np.array_equal(one.slices, other.slices)
    assert 0 <= other.slices.min() <= other.slices.max() <= 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    digests = {content.digest(replace(volume, shift=each), tmp_path) for each in (None, shift, replace(shift, seed=8))}
    assert len(digests) == 3, "another shift is another data set"
