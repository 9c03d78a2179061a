"""What hospitals' DICOM is really like: padding, unused bits, character sets, private tags, directories, PET."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.decoders import JPEGExtended12BitDecoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from fedmed.cases import dicom, dicomfile, find, pictures, reading, series
from fedmed.settings import DataFolder, Layout

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.cases.case import Case

KEY = b"k" * 32


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return dicom.read(folder, sorted(file.name for file in folder.iterdir()), "case-1 T1")


def cases(root: Path) -> list[Case]:
    folder = DataFolder(root=str(root), layout=Layout(image={"T1": "{case}/"}))
    return find.find(folder, phantoms.recipe(max_excluded=0), pseudonym_key=KEY, label_map={}).cases


# --- pixels -----------------------------------------------------------------------------------------------------------


def test_unused_bits_of_unsigned_pixels(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    for index, one in enumerate(datasets):
        stored = phantoms.ramp()[:, :, index].T.astype("<u2") | 0xA000  # an old overlay above the 12 bits
        one.PixelData = np.ascontiguousarray(stored).tobytes()
    phantoms.save(tmp_path, datasets)
    np.testing.assert_array_equal(read(tmp_path)[0], phantoms.ramp())


@pytest.mark.parametrize(("modality", "value"), [("CT", -1000), ("MR", 0), ("PT", 0)])
@pytest.mark.parametrize("written", [-2000, 63536])
def test_padding_in_a_volume(tmp_path: Path, modality: str, value: int, written: int) -> None:
    """Outside of the reconstructed circle: air in a CT, and 0, which is outside of the patient, in all else."""
    wanted = phantoms.ramp()
    wanted[:2, :2] = -2000
    datasets = phantoms.slices(wanted, modality=modality)
    for one in datasets:
        one.Modality, one.BitsStored, one.HighBit, one.PixelRepresentation = modality, 16, 15, 1
        one.RescaleSlope, one.RescaleIntercept = "2", "-10"
        one.add_new(0x00280120, "SS" if written < 0 else "US", written)
    phantoms.save(tmp_path, datasets)
    expected = wanted * 2 - 10
    expected[:2, :2] = value
    np.testing.assert_array_equal(read(tmp_path)[0], expected)


def test_pet_is_rescaled_slice_by_slice(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    for index, one in enumerate(datasets):
        one.Modality, one.SOPClassUID = "PT", "1.2.840.10008.5.1.4.1.1.128"
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
        one.RescaleSlope, one.RescaleIntercept = f"{0.25 * (index + 1)}", "0"
    names = phantoms.save(tmp_path, datasets)
    rule = phantoms.recipe(modality="PT").data
    volume = reading.read_files("case-1", {"T1": tuple(names)}, None, tmp_path, rule, {})
    np.testing.assert_allclose(volume.image[0], phantoms.ramp() * 0.25 * np.arange(1, 11), rtol=1e-6)
    assert len(series.choose(series.scan(tmp_path, names, "case-1"), rule, "case-1")) == 10
    outside = {modality: phantoms.recipe(modality=modality).data.zero_is_outside for modality in ("MR", "PT", "CT")}
    assert outside == {"MR": True, "PT": True, "CT": False}
    with phantoms.refuses("FM-DAT-30"):
        series.choose(series.scan(tmp_path, names, "case-1"), phantoms.recipe().data, "case-1")


@pytest.mark.parametrize("photometric", ["PALETTE COLOR", "RGB", "YBR_FULL"])
def test_a_volume_in_colour(tmp_path: Path, photometric: str) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        one.PhotometricInterpretation = photometric
        one.SamplesPerPixel = 1 if photometric.startswith("PALETTE") else 3
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-40"):
        read(tmp_path)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_films_in_uncompressed_syntaxes(tmp_path: Path, syntax: str) -> None:
    one = films.dataset()
    one.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
        one["PixelData"].VR = "OW"
    films.save(tmp_path / "a.dcm", one)
    (found,) = pictures.read(films.case("a.dcm"), tmp_path, films.recipe().data, {}).slices[0]
    levels = films.film().astype(float)
    np.testing.assert_allclose(found, (levels - levels.min()) / np.ptp(levels), atol=1e-6)


def test_big_endian_without_a_meta_group(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    for index, one in enumerate(datasets):
        del one.file_meta
        one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
        one["PixelData"].VR = "OW"
        one.save_as(tmp_path / f"IM{index}", implicit_vr=False, little_endian=False)
    np.testing.assert_array_equal(read(tmp_path)[0], phantoms.ramp())


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_a_deflated_file_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = films.dataset(np.zeros((2048, 2048), int))
    one.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    films.save(tmp_path / "a.dcm", one)
    data = films.recipe().data
    with phantoms.refuses("FM-DAT-26"):  # 8 MiB of zeros are no bomb
        pictures.read(films.case("a.dcm"), tmp_path, data, {})
    monkeypatch.setattr(dicomfile, "MIN_INFLATED", 1 << 20)
    with phantoms.refuses("FM-DAT-25", "deflated"):
        pictures.read(films.case("a.dcm"), tmp_path, data, {})


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phantoms.save(tmp_path, phantoms.slices())
    monkeypatch.setattr(dicomfile, "MAX_BYTES", 500)
    with phantoms.refuses("FM-DAT-25", "expected at most 500"):
        read(tmp_path)


def test_more_frames_than_the_header_says(tmp_path: Path) -> None:
    """Two slices in one file, of which one would be silently lost."""
    datasets = phantoms.slices()
    datasets[3].PixelData += datasets[4].PixelData
    phantoms.save(tmp_path, datasets)
    with phantoms.refuses("FM-DAT-33", "more frames"):
        read(tmp_path)


@pytest.mark.parametrize("codec", [RLELossless, JPEGLSLossless], ids=lambda uid: uid.keyword)
def test_more_compressed_frames_than_the_header_says(tmp_path: Path, codec: str) -> None:
    one = films.dataset(np.concatenate([films.film(), films.film()]))
    one.NumberOfFrames, one.Rows = 2, films.ROWS
    one.compress(codec)
    one.NumberOfFrames = 1
    films.save(tmp_path / "a.dcm", one)
    with phantoms.refuses("FM-DAT-33", "more frames"):
        pictures.read(films.case("a.dcm"), tmp_path, films.recipe().data, {})


def test_a_file_without_pixels(tmp_path: Path) -> None:
    one = films.dataset()
    del one.PixelData
    films.save(tmp_path / "a.dcm", one)
    with phantoms.refuses("FM-DAT-65", "no pixels"):
        pictures.read(films.case("a.dcm"), tmp_path, films.recipe().data, {})


def test_jpeg_of_twelve_bits_names_its_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = films.dataset()
    one.compress(JPEGLSLossless)
    one.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    films.save(tmp_path / "a.dcm", one)
    monkeypatch.setattr(JPEGExtended12BitDecoder, "_available", {"gdcm": None})
    with phantoms.refuses("FM-DAT-34", "JPEG Extended", "needs pylibjpeg-libjpeg"):
        pictures.read(films.case("a.dcm"), tmp_path, films.recipe().data, {})


# --- headers ----------------------------------------------------------------------------------------------------------


def write_patient(folder: Path, identity: str, charset: Any) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        one.SpecificCharacterSet, one.PatientID, one.PatientName = charset, identity, "X"
    phantoms.save(folder, datasets)


@pytest.mark.parametrize(
    ("identity", "charsets"),
    [
        ("Frøya Ås 12", ("ISO_IR 100", "ISO_IR 192", "GB18030")),
        ("Жуков 7", ("ISO_IR 144", "ISO_IR 192", "GB18030")),
        ("山田7", (["", "ISO 2022 IR 87"], "ISO_IR 192", "GBK")),
    ],
)
def test_one_patient_in_several_character_sets(tmp_path: Path, identity: str, charsets: tuple[Any, ...]) -> None:
    for index, charset in enumerate(charsets):
        write_patient(tmp_path / f"study-{index}", identity, charset)
    write_patient(tmp_path / "other", "somebody else", "ISO_IR 192")
    found = cases(tmp_path)
    assert len(found) == len(charsets) + 1
    assert len({case.patient for case in found}) == 2


def test_letters_put_together_from_two(tmp_path: Path) -> None:
    write_patient(tmp_path / "a", "Frøya \u00c5s", "ISO_IR 192")
    write_patient(tmp_path / "b", "Frøya A\u030as ", "ISO_IR 192")
    assert len({case.patient for case in cases(tmp_path)}) == 1


@pytest.mark.parametrize("charset", ["ISO_IR 999", "UTF8", ["ISO 2022 IR 87", "ISO 2022 IR 149"], "\\\\"])
def test_a_broken_character_set_never_stops(tmp_path: Path, charset: Any) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        one.PatientID, one.SeriesDescription = "p1", "T1"
    phantoms.save(tmp_path / "a", datasets)
    broken = "\\".join(charset) if isinstance(charset, list) else charset
    for path in sorted((tmp_path / "a").iterdir()):
        data = path.read_bytes()
        at = data.index(b"\x08\x00\x16\x00")  # SOPClassUID: the character set stands before it
        text = broken.encode() + b" " * (len(broken) % 2)
        tag = b"\x08\x00\x05\x00CS" + len(text).to_bytes(2, "little") + text
        path.write_bytes(data[:at] + tag + data[at:])
    (case,) = cases(tmp_path)
    np.testing.assert_array_equal(reading.read(case, tmp_path, phantoms.recipe().data, {}).image[0], phantoms.ramp())


def test_private_tags_are_left_alone(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        block = one.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", bytes(range(256)) * 8)
        block.add_new(0x20, "UN", b"Nansen^F")
        inner = Dataset()
        inner.PatientName = "Nansen^F"
        block.add_new(0x30, "SQ", [inner])
    phantoms.save(tmp_path / "a", datasets)
    (case,) = cases(tmp_path)
    assert "Nansen" not in repr(case)
    np.testing.assert_array_equal(reading.read(case, tmp_path, phantoms.recipe().data, {}).image[0], phantoms.ramp())


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_a_directory_is_never_followed(tmp_path: Path) -> None:
    """Neither by its name nor by its content, and least of all out of the data folder."""
    root = tmp_path / "data"
    phantoms.save(root / "a", phantoms.slices())
    phantoms.save(tmp_path / "secret", phantoms.slices())
    directory = films.dataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.SOPClassUID = MediaStorageDirectoryStorage
    record = Dataset()
    record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["..", "..", "secret", "000.dcm"]
    directory.DirectoryRecordSequence = [record]
    for name in ("DICOMDIR", "dicomdir", "index.dcm"):
        films.save(root / "a" / name, directory)
    (case,) = cases(root)
    assert case.image["T1"] == tuple(f"a/{index:03d}.dcm" for index in range(10))


# --- side, view and body part of a radiograph -------------------------------------------------------------------------


def write_film(path: Path, **tags: str) -> None:
    one = films.dataset(films.film() + len(path.name))
    for keyword, value in tags.items():
        setattr(one, keyword, value)
    films.save(path, one)


def covariates(root: Path, **layout: Any) -> list[dict[str, Any]]:
    channels = tuple(layout.get("image", {"XR": ""}))
    folder = DataFolder(root=str(root), layout=Layout(**{"image": {"XR": "{case}.dcm"}, **layout}))
    recipe = films.recipe(max_excluded=0, channels=channels)
    return [dict(case.covariates) for case in find.find(folder, recipe, pseudonym_key=KEY, label_map={}).cases]


def test_codes_of_a_film_become_covariates(tmp_path: Path) -> None:
    write_film(tmp_path / "a.dcm", ImageLaterality="R", ViewPosition="PA", BodyPartExamined="WRIST")
    write_film(tmp_path / "b.dcm", Laterality="L", PatientName="Nansen^F", ViewPosition="NANSEN")
    found = covariates(tmp_path)
    assert sorted(map(len, found)) == [1, 3]
    assert {"laterality": "R", "view": "PA", "body_part": "WRIST"} in found
    assert {"laterality": "L"} in found


def test_the_table_of_labels_wins(tmp_path: Path) -> None:
    write_film(tmp_path / "a.dcm", ImageLaterality="R", ViewPosition="PA")
    (tmp_path / "labels.csv").write_text("path,label,view,age\na.dcm,1,oblique,50\n")
    assert covariates(tmp_path, labels="labels.csv") == [{"laterality": "R", "view": "oblique", "age": 50}]


def test_two_views_of_one_case(tmp_path: Path) -> None:
    write_film(tmp_path / "a_AP.dcm", ImageLaterality="R", ViewPosition="AP")
    write_film(tmp_path / "a_LAT.dcm", ImageLaterality="R", ViewPosition="LL", BodyPartExamined="KNEE")
    found = covariates(tmp_path, image={"AP": "{case}_AP.dcm", "LAT": "{case}_LAT.dcm"})
    assert found == [{"laterality": "R", "body_part": "KNEE"}]
