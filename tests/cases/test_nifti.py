"""NIfTI: nibabel's own loader is the oracle of good files; a broken header is never mended in silence."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.cases import geometry, nifti

from . import phantoms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AFFINE = phantoms.expected_affine()


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return nifti.read(path, "case-1 T1")


def image(array: np.ndarray | None = None, kind: type = nibabel.Nifti1Image) -> Any:
    return kind(phantoms.ramp() if array is None else array, AFFINE)


def saved(tmp_path: Path, change: Callable[[Any], None], array: np.ndarray | None = None) -> Path:
    """A NIfTI file whose raw header `change` has edited, as no well-meaning library would."""
    raw = bytearray(image(array).to_bytes())
    header = np.ndarray((), dtype=nibabel.Nifti1Header.template_dtype, buffer=raw)
    change(header)
    (tmp_path / "edited.nii").write_bytes(raw)
    return tmp_path / "edited.nii"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_values_and_affine_equal_nibabels(tmp_path: Path, suffix: str, kind: type, dtype: type) -> None:
    path = tmp_path / f"image{suffix}"
    nibabel.save(image((phantoms.ramp() % 251).astype(dtype), kind), path)
    array, affine = read(path)
    oracle = nibabel.load(path)
    np.testing.assert_array_equal(array, oracle.get_fdata())
    np.testing.assert_array_equal(affine, oracle.affine)
    assert array.dtype == np.float32
    np.testing.assert_allclose(affine, AFFINE, atol=1e-5)


def test_big_endian(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    nibabel.save(nibabel.Nifti1Image(phantoms.ramp(), AFFINE, header), tmp_path / "big.nii.gz")
    assert nibabel.load(tmp_path / "big.nii.gz").header.endianness == ">"
    np.testing.assert_array_equal(read(tmp_path / "big.nii.gz")[0], phantoms.ramp())


def test_slope_is_applied(tmp_path: Path) -> None:
    path = saved(tmp_path, lambda header: [header["scl_slope"].fill(0.5), header["scl_inter"].fill(-7)])
    np.testing.assert_array_equal(read(path)[0], phantoms.ramp() * 0.5 - 7)
    path = saved(tmp_path, lambda header: header["scl_slope"].fill(0))
    np.testing.assert_array_equal(read(path)[0], phantoms.ramp())


def test_an_integer_slope_does_not_overflow(tmp_path: Path) -> None:
    """32000 as int16, times 3: the product is no int16."""
    path = saved(tmp_path, lambda header: [header["scl_slope"].fill(3), header["scl_inter"].fill(10)],
                 np.full(phantoms.SHAPE, 32000, np.int16))  # fmt: skip
    assert np.unique(read(path)[0]).tolist() == [96010.0]


def test_trailing_singleton_axes_go_and_a_fourth_axis_is_refused(tmp_path: Path) -> None:
    nibabel.save(image(phantoms.ramp()[..., None, None]), tmp_path / "one.nii")
    np.testing.assert_array_equal(read(tmp_path / "one.nii")[0], phantoms.ramp())
    nibabel.save(image(np.stack([phantoms.ramp()] * 2, axis=-1)), tmp_path / "two.nii")
    with phantoms.refuses("FM-DAT-20", "4 axes, expected 3"):
        read(tmp_path / "two.nii")
    nibabel.save(image(phantoms.ramp()[..., 0]), tmp_path / "flat.nii")
    with phantoms.refuses("FM-DAT-20", "2 axes"):
        read(tmp_path / "flat.nii")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_nan_and_infinity(tmp_path: Path, value: float) -> None:
    array = phantoms.ramp().astype(np.float64)
    array[1, 2, 3] = value
    nibabel.save(image(array), tmp_path / "image.nii.gz")
    with phantoms.refuses("FM-DAT-22", "1 voxels"):
        read(tmp_path / "image.nii.gz")


@pytest.mark.parametrize("step", [0.0, -1.0, 80.0, np.nan])
def test_spacing_that_cannot_be_true(tmp_path: Path, step: float) -> None:
    with phantoms.refuses("FM-DAT-23", "expected 0.01 to 50 mm"):
        read(saved(tmp_path, lambda header: header["pixdim"].__setitem__(2, step)))


def test_spacing_of_the_affine_and_its_unit(tmp_path: Path) -> None:
    def no_step(header: Any) -> None:
        header["srow_x"], header["qform_code"] = [0, 0, 0, 1], 0
        header["srow_y"], header["srow_z"] = [0, 1, 0, 1], [0, 0, 1, 1]

    with phantoms.refuses("FM-DAT-23"):
        read(saved(tmp_path, no_step))
    with phantoms.refuses("FM-DAT-23", "metres"):
        read(saved(tmp_path, lambda header: header["xyzt_units"].fill(1)))


def test_sform_and_qform_must_agree(tmp_path: Path) -> None:
    both = image()
    both.set_sform(AFFINE, 1)
    both.set_qform(AFFINE, 1)
    nibabel.save(both, tmp_path / "image.nii")
    np.testing.assert_allclose(read(tmp_path / "image.nii")[1], AFFINE, atol=1e-5)
    moved = AFFINE.copy()
    moved[0, 3] += 3
    both.set_qform(moved, 1)
    nibabel.save(both, tmp_path / "image.nii")
    with phantoms.refuses("FM-DAT-18", "3.00 mm apart"):
        read(tmp_path / "image.nii")
    both.set_sform(None, 0)
    nibabel.save(both, tmp_path / "image.nii")
    np.testing.assert_allclose(read(tmp_path / "image.nii")[1], moved, atol=1e-5)


def test_no_orientation(tmp_path: Path) -> None:
    with phantoms.refuses("FM-DAT-19"):
        read(saved(tmp_path, lambda header: [header["sform_code"].fill(0), header["qform_code"].fill(0)]))


def test_shear(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[:3, 2] += sheared[:3, 0] * 0.2
    nibabel.save(nibabel.Nifti1Image(phantoms.ramp(), sheared), tmp_path / "image.nii")
    with phantoms.refuses("FM-DAT-24", "degrees"):
        read(tmp_path / "image.nii")


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_voxels_that_are_no_numbers(tmp_path: Path, dtype: Any) -> None:
    nibabel.save(image(np.zeros(phantoms.SHAPE, dtype=dtype)), tmp_path / "image.nii")
    with phantoms.refuses("FM-DAT-21"):
        read(tmp_path / "image.nii")
    with phantoms.refuses("FM-DAT-21"):
        read(saved(tmp_path, lambda header: header["datatype"].fill(7777)))


def test_a_header_that_promises_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = saved(tmp_path, lambda header: header["dim"].__setitem__(slice(1, 4), 30000))
    with phantoms.refuses("FM-DAT-25", "27000000000000 voxels"):
        read(huge)
    large = saved(tmp_path, lambda header: header["dim"].__setitem__(slice(1, 4), 500))
    (tmp_path / "large.nii.gz").write_bytes(gzip.compress(large.read_bytes()))
    with phantoms.refuses("FM-DAT-17", "more than the file can hold"):
        read(tmp_path / "large.nii.gz")
    monkeypatch.setattr(geometry, "MAX_VOXELS", 419)
    with phantoms.refuses("FM-DAT-25", "420 voxels"):
        read(phantoms.write_nifti(tmp_path / "image.nii", phantoms.ramp()))


@pytest.mark.parametrize(
    ("field", "value"),
    [("sizeof_hdr", 7), ("magic", b"ni1"), ("vox_offset", np.nan), ("vox_offset", 10), ("scl_inter", np.nan)],
)
def test_impossible_headers(tmp_path: Path, field: str, value: Any) -> None:
    with phantoms.refuses("FM-DAT-17"):
        read(saved(tmp_path, lambda header: header[field].fill(value)))


def test_impossible_shapes_and_orientations(tmp_path: Path) -> None:
    for value in ([0] * 8, [3, -1, 6, 10, 1, 1, 1, 1], [9, 7, 6, 10, 1, 1, 1, 1]):
        with phantoms.refuses("FM-DAT-17", "impossible shape"):
            read(saved(tmp_path, lambda header, value=value: header["dim"].__setitem__(slice(None), value)))

    def quaternion(header: Any) -> None:
        header["qform_code"], header["sform_code"], header["quatern_b"] = 1, 0, 3.0

    with phantoms.refuses("FM-DAT-17", "orientation"):
        read(saved(tmp_path, quaternion))
    with phantoms.refuses("FM-DAT-17", "not finite"):
        read(saved(tmp_path, lambda header: header["srow_x"].fill(np.nan)))


def test_truncated_corrupt_empty_and_not_there(tmp_path: Path) -> None:
    whole = gzip.compress(image(np.random.default_rng(0).integers(0, 255, (20, 20, 20), np.uint8)).to_bytes())
    path = tmp_path / "image.nii.gz"
    corrupt = bytearray(whole)
    corrupt[-6] ^= 1  # the checksum alone: no reader that stops behind the last voxel sees it
    for data in (whole[: len(whole) // 2], whole[:-4], bytes(corrupt), b"", b"\x1f\x8b", b"plain text" * 60):
        path.write_bytes(data)
        with phantoms.refuses("FM-DAT-17"):
            read(path)
    (tmp_path / "short.nii").write_bytes(gzip.decompress(whole)[:-1])
    with phantoms.refuses("FM-DAT-17", "the file ends after"):
        read(tmp_path / "short.nii")
    (tmp_path / "long.nii").write_bytes(gzip.decompress(whole) + b"\0" * (2 << 20))
    with phantoms.refuses("FM-DAT-17", "goes on"):
        read(tmp_path / "long.nii")
    with phantoms.refuses("FM-DAT-16"):
        read(tmp_path / "absent.nii")


@given(at=st.integers(0, 600), value=st.integers(0, 255), keep=st.integers(0, 1200))
def test_damage_is_a_code_and_never_a_traceback(tmp_path: Path, at: int, value: int, keep: int) -> None:
    damaged = bytearray(image().to_bytes())
    damaged[at] = value
    (tmp_path / "image.nii").write_bytes(damaged[: keep if keep < 600 else None])
    result, code = phantoms.attempt(lambda: read(tmp_path / "image.nii"))
    assert code.startswith("FM-DAT-") or all(np.isfinite(part).all() for part in result)
