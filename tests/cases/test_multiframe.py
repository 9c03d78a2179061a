"""Enhanced multi-frame files: the same volume as the single-frame series, or the same refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from fedmed.cases import dicom, find, pictures, pixels, reading, series
from fedmed.settings import DataFolder, Layout

from . import films, frames, phantoms

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

KEY = b"k" * 32


def read(folder: Path, **data: object) -> tuple[np.ndarray, np.ndarray]:
    names = sorted(file.name for file in folder.iterdir())
    return dicom.read(folder, names, "case-1 T1", phantoms.recipe(**data).data)


def save(folder: Path, *files: Dataset) -> Path:
    phantoms.save(folder, list(files))
    return folder


@pytest.mark.parametrize("oblique", [False, True])
def test_the_same_volume_as_single_frames(tmp_path: Path, oblique: bool) -> None:
    slices = phantoms.slices(oblique=oblique)
    array, affine = read(save(tmp_path, frames.enhanced(frames.shuffled(slices))))
    np.testing.assert_array_equal(array, phantoms.ramp())
    np.testing.assert_allclose(affine, phantoms.expected_affine(oblique=oblique), atol=1e-9)


@pytest.mark.parametrize("codec", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.keyword)
def test_compressed_frames(tmp_path: Path, codec: str) -> None:
    wanted = phantoms.ramp((48, 40, 9)) % 4096
    one = frames.enhanced(frames.shuffled(phantoms.slices(wanted)))
    one.compress(codec)
    np.testing.assert_array_equal(read(save(tmp_path, one))[0], wanted)


def test_slope_and_intercept_of_every_frame(tmp_path: Path) -> None:
    one = frames.enhanced(modality="PT")
    for index, frame in enumerate(one.PerFrameFunctionalGroupsSequence):
        rescale = frame.PixelValueTransformationSequence[0]
        rescale.RescaleSlope, rescale.RescaleIntercept = str(1 + index / 4), str(-index)
    one.RescaleSlope, one.RescaleIntercept = "9", "9"  # of nobody
    index = np.arange(phantoms.SHAPE[2])
    array, _ = read(save(tmp_path, one), modality="PT")
    np.testing.assert_allclose(array, phantoms.ramp() * (1 + index / 4) - index, rtol=1e-6)


def test_a_rescale_that_all_frames_share(tmp_path: Path) -> None:
    one = frames.enhanced(modality="CT")
    for frame in one.PerFrameFunctionalGroupsSequence:
        del frame.PixelValueTransformationSequence
    rescale = frames.item(RescaleSlope="2", RescaleIntercept="-1024")
    one.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [rescale]
    np.testing.assert_array_equal(read(save(tmp_path, one), modality="CT")[0], phantoms.ramp() * 2 - 1024)


def test_only_one_frame_is_decoded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All frames of an enhanced file at once would be a second copy of the volume."""
    alive: list[int] = []
    plain = pixels.frames

    def watched(*args: object) -> object:
        for values in plain(*args):
            alive.append(values.shape)
            yield values

    monkeypatch.setattr(pixels, "frames", watched)
    read(save(tmp_path, frames.enhanced()))
    assert alive == [(6, 7)] * 10


def test_two_files_share_a_volume(tmp_path: Path) -> None:
    slices = phantoms.slices()
    first, second = frames.enhanced(slices[::2]), frames.enhanced(slices[1::2])
    second.SeriesInstanceUID = first.SeriesInstanceUID
    np.testing.assert_array_equal(read(save(tmp_path, first, second))[0], phantoms.ramp())


def test_gaps_tilt_and_two_time_points(tmp_path: Path) -> None:
    slices = phantoms.slices()
    with phantoms.refuses("FM-DAT-36", "1 slices missing"):
        read(save(tmp_path / "gap", frames.enhanced([*slices[:4], *slices[5:]])))
    with phantoms.refuses("FM-DAT-35", "20 slices lie at 10 positions"):
        read(save(tmp_path / "echoes", frames.enhanced([*slices, *phantoms.slices()])))
    for index, one in enumerate(slices):
        one.ImagePositionPatient[0] += index
    with phantoms.refuses("FM-DAT-38"):
        read(save(tmp_path / "tilt", frames.enhanced(slices)))


def test_several_stacks_in_one_file(tmp_path: Path) -> None:
    """A localizer of three slices beside the series, and two series of ten."""
    series_, localizer = frames.enhanced(), frames.enhanced(phantoms.slices(phantoms.ramp()[:, :, :3], oblique=False))
    one = frames.stacked(series_, localizer)
    array, affine = read(save(tmp_path / "localizer", one))
    np.testing.assert_array_equal(array, phantoms.ramp())
    np.testing.assert_allclose(affine, phantoms.expected_affine(), atol=1e-9)
    two = frames.stacked(frames.enhanced(), frames.enhanced(phantoms.slices(oblique=False)))
    with phantoms.refuses("FM-DAT-31", "2 series fit", "10 of 7 x 6 oblique", "10 of 7 x 6 axial"):
        read(save(tmp_path / "two", two))
    slabs = frames.stacked(frames.enhanced(), frames.enhanced())  # of one orientation: two stacks all the same
    with phantoms.refuses("FM-DAT-31"):
        read(save(tmp_path / "slabs", slabs))


def test_a_case_keeps_paths_of_files(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        one = frames.enhanced()
        one.PatientID = patient
        save(tmp_path / "dicom" / patient, one)
    recipe = phantoms.recipe(max_excluded=0)
    folder = DataFolder(root=str(tmp_path), layout=Layout(image={"T1": "dicom/{case}/"}))
    cases = find.find(folder, recipe, pseudonym_key=KEY, label_map={}).cases
    assert sorted(case.image["T1"] for case in cases) == [("dicom/p1/000.dcm",), ("dicom/p2/000.dcm",)]
    assert {case.geometry.shape for case in cases} == {phantoms.SHAPE}
    assert all(len(case.content) == 64 for case in cases)
    np.testing.assert_array_equal(reading.read(cases[0], tmp_path, recipe.data, {}).image[0], phantoms.ramp())


def test_without_positions(tmp_path: Path) -> None:
    one = frames.enhanced()
    del one.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    with phantoms.refuses("FM-DAT-39", "ImagePositionPatient", "1 of 10 slices"):
        read(save(tmp_path / "one", one))
    for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        delattr(one, keyword)
    with phantoms.refuses("FM-DAT-32", "10 frames in 1 files without functional groups"):
        read(save(tmp_path / "cine", one))


def test_groups_that_do_not_match_the_frames(tmp_path: Path) -> None:
    one = frames.enhanced()
    del one.PerFrameFunctionalGroupsSequence[-1]
    with phantoms.refuses("FM-DAT-33", "10 frames, and functional groups for 9"):
        read(save(tmp_path, one))


@pytest.mark.parametrize("codec", [None, RLELossless, JPEGLSLossless], ids=["native", "RLE", "JPEG-LS"])
def test_far_more_pixels_declared_than_are_there(tmp_path: Path, codec: str | None) -> None:
    """Nothing of the declared size is ever allocated: 2 GiB here."""
    one = frames.enhanced(phantoms.slices(phantoms.ramp((40, 48, 8))))
    if codec:
        one.compress(codec)
    one.Rows = one.Columns = 8000
    save(tmp_path, one)
    before = peak()
    assert phantoms.attempt(lambda: read(tmp_path))[1] in {"FM-DAT-33", "FM-DAT-66"}  # GDCM gives up on it
    assert peak() - before < 300 << 20
    one.Rows = one.Columns = 65535
    with phantoms.refuses("FM-DAT-25"):
        read(save(tmp_path, one))


def peak() -> int:
    resource = pytest.importorskip("resource")
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) << 10


def test_a_multi_frame_film_is_refused(tmp_path: Path) -> None:
    one = frames.enhanced()
    one.Modality = "DX"
    films.save(tmp_path / "a.dcm", one)
    with phantoms.refuses("FM-DAT-32", "10 frames"):
        pictures.read(films.case("a.dcm"), tmp_path, films.recipe().data, {})


def test_parametric_map_of_floats(tmp_path: Path) -> None:
    """PS3.3 A.75: values as they are, without rescale."""
    one = frames.enhanced()
    wanted = phantoms.ramp().astype(np.float32) / 8
    for keyword in ("PixelData", "PixelRepresentation", "BitsStored", "HighBit"):
        delattr(one, keyword)
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.30"
    one.BitsAllocated, one.FloatPixelPaddingValue = 32, float(wanted[1, 2, 3])
    one.FloatPixelData = wanted.T.astype("<f4").tobytes()
    for frame in one.PerFrameFunctionalGroupsSequence:
        del frame.PixelValueTransformationSequence
    wanted[1, 2, 3] = 0
    np.testing.assert_array_equal(read(save(tmp_path, one))[0], wanted)


def test_headers_of_the_frames(tmp_path: Path) -> None:
    save(tmp_path, frames.enhanced())
    found = series.read_header(tmp_path, "000.dcm", "case-1")
    assert [one.frame for one in found] == list(range(10))
    assert {(one.frames, one.stack, one.gap) for one in found} == {(1, "1", 2.5)}
