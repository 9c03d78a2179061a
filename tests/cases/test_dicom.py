"""Each DICOM trap of the data design is one fixture and one behaviour; SimpleITK is the oracle of geometry."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.pixels.decoders import JPEGLSLosslessDecoder
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from fedmed.cases import dicom, geometry, series, stack

from . import phantoms

HEAD = Path(__file__).parents[3] / "shared" / "data" / "head_mr_dicom" / "dicoms"
CODECS = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return dicom.read(folder, sorted(file.name for file in folder.iterdir()), "case-1 T1")


def choose(folder: Path, **data: object) -> list[series.Slice]:
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    scan = series.scan(folder, names, "case-1 T1")
    return series.choose(scan, phantoms.recipe(**data).data, "case-1 T1")


def itk(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """SimpleITK's array [x, y, z] and its affine turned to RAS."""
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), geometry.lps_to_ras(affine)


@pytest.mark.parametrize("oblique", [False, True])
def test_order_values_and_affine(tmp_path: Path, oblique: bool) -> None:
    names = phantoms.save(tmp_path, phantoms.slices(oblique=oblique), name=lambda i: f"{(i * 7) % 10}.dcm")
    array, affine = read(tmp_path)
    np.testing.assert_array_equal(array, phantoms.ramp())
    assert array.dtype == np.float32
    np.testing.assert_allclose(affine, phantoms.expected_affine(oblique=oblique), atol=1e-9)
    values, oracle = itk([str(tmp_path / name) for name in names])
    np.testing.assert_array_equal(array, values)
    np.testing.assert_allclose(affine, oracle, atol=1e-6)


def test_slices_stored_from_the_other_end(tmp_path: Path) -> None:
    phantoms.save(tmp_path, phantoms.slices()[::-1])
    array, affine = read(tmp_path)
    np.testing.assert_array_equal(array, phantoms.ramp())
    np.testing.assert_allclose(affine, phantoms.expected_affine(), atol=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(not HEAD.is_dir(), reason="the real head MR in ../shared/data is not on this machine")
def test_real_head_mr_equals_simpleitk() -> None:
    ordered = [one.path for one in stack.stacked(choose(HEAD), "case-1 T1")[0]]
    array, affine = dicom.read(HEAD, ordered, "case-1 T1")
    values, oracle = itk([str(HEAD / name) for name in ordered])
    np.testing.assert_array_equal(array, values)
    np.testing.assert_allclose(affine, oracle, atol=1e-6)


def test_slope_and_intercept_of_every_slice(tmp_path: Path) -> None:
    datasets = phantoms.slices(modality="CT")
    for index, one in enumerate(datasets):
        one.RescaleSlope, one.RescaleIntercept = str(1 + index / 4), str(-1024 + index)
    phantoms.save(tmp_path, datasets)
    index = np.arange(phantoms.SHAPE[2])
    np.testing.assert_allclose(read(tmp_path)[0], phantoms.ramp() * (1 + index / 4) - 1024 + index, rtol=1e-6)


def test_signed_pixels_and_unused_bits(tmp_path: Path) -> None:
    wanted = phantoms.ramp() - 200
    datasets = phantoms.slices()
    for index, one in enumerate(datasets):
        one.PixelRepresentation = 1
        stored = (wanted[:, :, index].T.astype(np.int16).view(np.uint16) & 0x0FFF) | 0x5000  # an old overlay on top
        one.PixelData = np.ascontiguousarray(stored).tobytes()
    names = phantoms.save(tmp_path, datasets)
    np.testing.assert_array_equal(read(tmp_path)[0], wanted)
    np.testing.assert_array_equal(itk([str(tmp_path / name) for name in names])[0], wanted)


@pytest.mark.parametrize("codec", CODECS, ids=lambda uid: uid.keyword)
def test_compressed(tmp_path: Path, codec: str) -> None:
    wanted = phantoms.ramp((48, 40, 4)) % 4096
    datasets = phantoms.slices(wanted)
    for one in datasets:
        one.compress(codec)
    phantoms.save(tmp_path, datasets)
    np.testing.assert_array_equal(read(tmp_path)[0], wanted)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_uncompressed_syntaxes(tmp_path: Path, syntax: str) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        one.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
            one["PixelData"].VR = "OW"
    phantoms.save(tmp_path, datasets)
    np.testing.assert_array_equal(read(tmp_path)[0], phantoms.ramp())


@pytest.mark.parametrize("implicit", [False, True])
def test_without_preamble_meta_group_or_suffix(tmp_path: Path, implicit: bool) -> None:
    for index, one in enumerate(phantoms.slices()):
        del one.file_meta
        one.save_as(tmp_path / f"IM{index}", implicit_vr=implicit, little_endian=True)
    assert len(choose(tmp_path)) == 10
    np.testing.assert_array_equal(read(tmp_path)[0], phantoms.ramp())


def test_monochrome1_is_turned_for_mr_and_not_for_ct(tmp_path: Path) -> None:
    for modality, wanted in (("MR", 4095 - phantoms.ramp()), ("CT", phantoms.ramp())):
        datasets = phantoms.slices(modality=modality)
        for one in datasets:
            one.PhotometricInterpretation = "MONOCHROME1"
        phantoms.save(tmp_path / modality, datasets)
        np.testing.assert_array_equal(read(tmp_path / modality)[0], wanted)


def test_missing_slice(tmp_path: Path) -> None:
    phantoms.save(tmp_path, [one for index, one in enumerate(phantoms.slices()) if index not in (4, 5)])
    with phantoms.refuses("FM-DAT-36", "4 slices, then a step of 7.50 mm where 2.50 mm", "2 slices missing"):
        read(tmp_path)


@pytest.mark.parametrize(("index", "mm"), [(4, 0.2), (9, 1.0)])
def test_uneven_slices(tmp_path: Path, index: int, mm: float) -> None:
    datasets = phantoms.slices()
    phantoms.move(datasets[index], mm)
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-37", f"{index} slices", "2.50 mm"):
        read(tmp_path)


def test_slices_that_drift(tmp_path: Path) -> None:
    datasets = phantoms.slices(phantoms.ramp((7, 6, 60)))
    for index, one in enumerate(datasets):
        phantoms.move(one, 0.015 * abs(index - 30))
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-37", "off an even grid"):
        read(tmp_path)


def test_rounded_positions_are_even_enough(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        one.ImagePositionPatient = [round(float(value), 2) for value in one.ImagePositionPatient]
    phantoms.save(tmp_path, datasets)
    np.testing.assert_array_equal(read(tmp_path)[0], phantoms.ramp())


def test_duplicate_positions(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    phantoms.save(tmp_path, [*datasets, datasets[3], datasets[4]])
    with phantoms.refuses("FM-DAT-35", "12 slices lie at 10 positions"):
        read(tmp_path)


def test_gantry_tilt(tmp_path: Path) -> None:
    datasets = phantoms.slices(oblique=False)
    for index, one in enumerate(datasets):
        one.ImagePositionPatient[1] += index * 2.5 * np.tan(np.radians(10))
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-38", "3.97 mm over 22.5 mm (10.0 degrees)"):
        read(tmp_path)


def test_two_series_are_listed_and_not_guessed(tmp_path: Path) -> None:
    other = phantoms.slices(phantoms.ramp((9, 6, 8)), oblique=False)
    phantoms.save(tmp_path / "a", phantoms.slices())
    phantoms.save(tmp_path / "b" / "deep", other)
    with phantoms.refuses("FM-DAT-31", "2 series fit", "10 of 7 x 6 oblique (MR)", "8 of 9 x 6 axial (MR)"):
        choose(tmp_path)
    for one in other:
        one.SeriesDescription = "FLAIR Nansen"
    phantoms.save(tmp_path / "b" / "deep", other)
    assert len(choose(tmp_path, series={"description": "t1*"})) == 10
    assert len(choose(tmp_path, series={"min_slices": 9})) == 10
    with phantoms.refuses("FM-DAT-30", "at least 40 slices", "10 of 7 x 6 oblique"):
        choose(tmp_path, series={"min_slices": 40})
    with phantoms.refuses("FM-DAT-30", "another modality"):
        choose(tmp_path, modality="CT")


def test_localizer_of_three_planes_in_the_same_series(tmp_path: Path) -> None:
    datasets = phantoms.slices(oblique=False)
    planes = phantoms.slices(phantoms.ramp((7, 6, 3)), oblique=False)
    for one, plane in zip(planes, ([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1]), strict=True):
        one.SeriesInstanceUID, one.ImageOrientationPatient = datasets[0].SeriesInstanceUID, plane
        one.Rows, one.Columns = one.Columns, one.Rows
    phantoms.save(tmp_path, datasets + planes)
    assert len(choose(tmp_path)) == 10
    with phantoms.refuses("FM-DAT-41"):
        read(tmp_path)


def test_other_files_are_counted_and_left_alone(tmp_path: Path) -> None:
    phantoms.save(tmp_path, phantoms.slices())
    (tmp_path / "notes.txt").write_text("\x08\x00 starts like a data set")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "empty").touch()
    names = sorted(file.name for file in tmp_path.iterdir())
    scan = series.scan(tmp_path, names, "case-1 T1")
    assert (len(scan.slices), scan.ignored) == (10, 3)


def test_a_file_that_should_be_dicom_and_is_not(tmp_path: Path) -> None:
    phantoms.save(tmp_path, phantoms.slices())
    (tmp_path / "009.dcm").write_bytes(b"")
    with phantoms.refuses("FM-DAT-33", "header"):
        choose(tmp_path)
    with phantoms.refuses("FM-DAT-33"):
        read(tmp_path)


def test_multi_frame_and_colour(tmp_path: Path) -> None:
    one = phantoms.slices()[0]
    one.NumberOfFrames = 10
    one.PixelData = phantoms.ramp().T.astype("<u2").tobytes()
    phantoms.save(tmp_path / "enhanced", [one])
    with phantoms.refuses("FM-DAT-32", "10 frames in 1 files"):
        choose(tmp_path / "enhanced")
    with phantoms.refuses("FM-DAT-32"):
        read(tmp_path / "enhanced")
    datasets = phantoms.slices()
    for one in datasets:
        one.SamplesPerPixel, one.PhotometricInterpretation = 3, "RGB"
    phantoms.save(tmp_path / "colour", datasets)
    with phantoms.refuses("FM-DAT-40", "3 samples"):
        choose(tmp_path / "colour")


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry(tmp_path: Path, keyword: str) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        delattr(one, keyword)
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-39", keyword, "10 of 10"):
        read(tmp_path)


def test_unusable_orientation_spacing_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        one.ImageOrientationPatient = [1, 0, 0, 0.5, 0.5, 0]
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-39", "unit vectors"):
        read(tmp_path)
    datasets = phantoms.slices()
    datasets[2].PixelSpacing = [1.3, 0.8]
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-41", "PixelSpacing"):
        read(tmp_path)
    for one in datasets:
        one.PixelSpacing = [0, 0.8]
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-23"):
        read(tmp_path)
    phantoms.save(tmp_path, phantoms.slices())
    monkeypatch.setattr(geometry, "MAX_VOXELS", 100)
    with phantoms.refuses("FM-DAT-25", "420 voxels"):
        read(tmp_path)


def test_float_pixels_with_nan(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        one.BitsAllocated = one.BitsStored = 32
        one.HighBit = 31
        del one.PixelData, one.PixelRepresentation
        one.FloatPixelData = np.full(42, np.nan, dtype="<f4").tobytes()
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-22"):
        read(tmp_path)


@pytest.mark.parametrize("codec", [None, *CODECS], ids=lambda uid: uid.keyword if uid else "native")
def test_truncated_pixels(tmp_path: Path, codec: str | None) -> None:
    random = np.random.default_rng(0)
    datasets = phantoms.slices(random.integers(0, 4095, (64, 64, 8)))
    if codec:
        for one in datasets:
            one.compress(codec)
    phantoms.save(tmp_path, datasets)
    whole = (tmp_path / "003.dcm").read_bytes()
    (tmp_path / "003.dcm").write_bytes(whole[: len(whole) * 2 // 3])
    with phantoms.refuses("FM-DAT-33"):
        read(tmp_path)


def test_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        one.compress(JPEGLSLossless)
    phantoms.save(tmp_path, datasets)
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_unavailable", {"pyjpegls": ("numpy", "pyjpegls>=1.2")})
    with phantoms.refuses("FM-DAT-34", "JPEG-LS Lossless", "pyjpegls"):
        read(tmp_path)


def test_a_syntax_that_nobody_decodes(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    phantoms.save(tmp_path, datasets)
    for one in datasets:
        one.compress(RLELossless)
        one.file_meta.TransferSyntaxUID = MPEG2MPML
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-34", "no decoder reads MPEG2"):
        read(tmp_path)


@given(at=st.integers(0, 1500), value=st.integers(0, 255), keep=st.integers(0, 1500))
def test_damage_is_a_code_and_never_a_traceback(tmp_path: Path, at: int, value: int, keep: int) -> None:
    phantoms.save(tmp_path, phantoms.slices(phantoms.ramp((7, 6, 3))))
    damaged = bytearray((tmp_path / "001.dcm").read_bytes())
    damaged[at % len(damaged)] = value
    (tmp_path / "001.dcm").write_bytes(damaged[: len(damaged) - (keep % 40 if keep % 2 else 0)])
    result, code = phantoms.attempt(lambda: read(tmp_path))
    assert code.startswith("FM-DAT-") or all(np.isfinite(part).all() for part in result)


def test_an_odd_value_is_not_shown_by_a_warning(tmp_path: Path) -> None:
    """pydicom quotes it, and it may be anything that stood in the file."""
    one = phantoms.slices(phantoms.ramp((7, 6, 3)))[0]
    for keyword in ("Rows", "SOPClassUID", "Modality"):
        delattr(one, keyword)
    phantoms.save(tmp_path, [one])
    path = next(tmp_path.glob("*.dcm"))
    data = path.read_bytes()
    said = bytes(one.file_meta.MediaStorageSOPClassUID, "ascii")
    path.write_bytes(data.replace(said, b"Nansen".ljust(len(said)), 1))
    with warnings.catch_warnings(), phantoms.refuses("FM-DAT-33", "the header"):
        warnings.simplefilter("error")
        series.read_header(tmp_path, path.name, "case-1")
