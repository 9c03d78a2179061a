"""One study looked at: every fault of every part in one run, headers once, and no word of a patient's in a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fedmed.cases import dicomfile, find, identifiers
from fedmed.settings import DataFolder, Layout

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.recipe import Recipe

KEY = b"k" * 32
TWO = {"T1": "images/{case}_T1.nii", "T2": "images/{case}_T2.nii"}


def survey(root: Path, layout: Layout, recipe: Recipe) -> find.Survey:
    return find.survey(DataFolder(root=str(root), layout=layout), recipe, pseudonym_key=KEY, label_map={})


def test_every_part_of_a_case_tells_its_own_fault(tmp_path: Path) -> None:
    broken = phantoms.ramp().astype(np.float32)
    broken[0, 0, 0] = np.nan
    phantoms.write_nifti(tmp_path / "images/Nansen_T1.nii", broken)
    phantoms.write_nifti(tmp_path / "images/Nansen_T2.nii", np.zeros(phantoms.SHAPE, np.int16))
    seen = survey(tmp_path, Layout(image=TWO, label="labels/{case}.nii"), phantoms.recipe(channels=("T1", "T2")))
    (study,) = seen.studies
    assert [(one.code, one.part, one.severity) for one in study.judgements] == [
        ("FM-DAT-22", "T1", "exclude"),
        ("FM-DAT-26", "T2", "exclude"),
        ("FM-DAT-12", "label", "exclude"),
    ]
    assert study.status == "excluded"
    assert not study.examined.facts.readable
    assert all("Nansen" in one.local and "Nansen" not in one.message for one in study.judgements)


def test_what_only_two_parts_show_together_stays_one_fault(tmp_path: Path) -> None:
    phantoms.write_nifti(tmp_path / "images/a_T1.nii", phantoms.ramp())
    phantoms.write_nifti(tmp_path / "images/a_T2.nii", phantoms.ramp((7, 6, 9)))
    seen = survey(tmp_path, Layout(image=TWO), phantoms.recipe(channels=("T1", "T2")))
    assert [(one.code, one.part) for one in seen.studies[0].judgements] == [("FM-DAT-27", "")]


def test_a_label_alone_leaves_the_case_readable(tmp_path: Path) -> None:
    phantoms.write_nifti(tmp_path / "images/a.nii", phantoms.ramp())
    phantoms.write_nifti(tmp_path / "labels/a.nii", phantoms.mask() * 7)
    layout = Layout(image={"T1": "images/{case}.nii"}, label="labels/{case}.nii")
    (study,) = survey(tmp_path, layout, phantoms.recipe()).studies
    assert [(one.code, one.part) for one in study.judgements] == [("FM-DAT-28", "label")]
    assert (study.examined.facts.readable, study.examined.facts.labelled) == (True, False)


def test_both_the_picture_and_its_row_are_at_fault(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"no picture")
    (tmp_path / "labels.csv").write_text("path,label\nimages/a.png,7\n")
    layout = Layout(image={"XR": "images/{case}.png"}, labels="labels.csv")
    (study,) = survey(tmp_path, layout, films.recipe()).studies
    assert [(one.code, one.part) for one in study.judgements] == [("FM-DAT-48", "XR"), ("FM-DAT-28", "label")]


def test_headers_are_seen_once_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    parse = dicomfile.parse

    def counting(stream: Any, *words: Any, **options: Any) -> Any:
        if options.get("specific_tags", ()) is None:
            seen.append(stream)
        return parse(stream, *words, **options)

    monkeypatch.setattr(dicomfile, "parse", counting)
    datasets = phantoms.slices()
    datasets[0].PixelData = datasets[0].PixelData[:-9]  # a fault, so that each part is looked at by itself
    phantoms.save(tmp_path / "dicom/a", datasets)
    (tmp_path / "dicom/a/notes.txt").write_text("no image")
    layout = Layout(image={"T1": "dicom/{case}/"}, label="masks/{case}.nii")
    (study,) = survey(tmp_path, layout, phantoms.recipe()).studies
    facts = study.examined.facts
    assert [one.code for one in study.judgements] == ["FM-DAT-33", "FM-DAT-12"]
    assert len(seen) == facts.dicom == facts.trace.files == 10
    assert (facts.ignored, facts.polarity) == (1, {"MONOCHROME2": 10})
    assert facts.trace.keywords["PatientName"] == 10


def test_who_the_patient_is_unknown(tmp_path: Path) -> None:
    phantoms.write_nifti(tmp_path / "images/a.nii", phantoms.ramp())
    (study,) = survey(tmp_path, Layout(image={"T1": "images/{case}.nii"}), phantoms.recipe()).studies
    assert [(one.code, one.severity) for one in study.judgements] == [("FM-CHK-07", "warn")]
    assert study.examined.facts.unnamed
    assert (study.examined.facts.low, study.examined.facts.high) == pytest.approx((4.19, 414.81))


# --- identifiers ------------------------------------------------------------------------------------------------------


def test_the_basic_profile_is_the_whole_table() -> None:
    profile = identifiers.basic_profile()
    assert len(profile) == 652 + 3 * 16, "and overlays and curves of every group"
    assert profile[0x60024000] == "OverlayComments"
    assert profile[0x00100010] == "PatientName"
    assert {"PatientID", "AccessionNumber", "SOPInstanceUID", "DeviceSerialNumber"} <= set(profile.values())
    assert {"Rows", "PixelSpacing", "Modality", "PixelData", "SOPClassUID"} & set(profile.values()) == set()


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")  # two blanks for a date are what is tried here
def test_tags_private_tags_and_nested_ones_are_counted(tmp_path: Path) -> None:
    one = phantoms.slices()[0]
    one.PatientComments, one.StudyID, one.PatientBirthDate = "of Oslo", "", "  "
    one.add_new(0x00091001, "LO", "Nansen")
    item = pydicom.Dataset()
    item.AccessionNumber = "A-1"
    one.RequestAttributesSequence = [item]
    for implicit in (False, True):
        (name,) = phantoms.save(tmp_path, [one]) if not implicit else [_implicit(tmp_path, one)]
        trace = identifiers.of_dicom(pydicom.dcmread(tmp_path / name, stop_before_pixels=True), name)
        assert {"PatientComments", "AccessionNumber", "RequestAttributesSequence", "PatientID"} <= set(trace.keywords)
        assert {"StudyID", "PatientBirthDate", "Rows"} & set(trace.keywords) == set()
        assert (trace.private, trace.burned_in, trace.names) == (1, 0, 0)


def _implicit(folder: Path, one: pydicom.Dataset) -> str:
    one.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    one.save_as(folder / "implicit.dcm", implicit_vr=True, little_endian=True, enforce_file_format=True)
    return "implicit.dcm"


@pytest.mark.parametrize(
    ("change", "risk"),
    [
        ({}, 0),
        ({"BurnedInAnnotation": "YES"}, 1),
        ({"Modality": "US"}, 1),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, 0),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, 1),
    ],
)
def test_text_may_be_burned_in(change: dict[str, str], risk: int) -> None:
    one = phantoms.slices()[0]
    for name, value in change.items():
        setattr(one, name, value)
    assert identifiers.of_dicom(one, "a.dcm").burned_in == risk


def test_an_overlay_is_a_risk() -> None:
    one = phantoms.slices()[0]
    one.add_new(0x60020010, "US", 4)
    assert identifiers.of_dicom(one, "a.dcm").burned_in == 0
    one.add_new(0x60023000, "OW", b"\1\0")
    assert identifiers.of_dicom(one, "a.dcm").burned_in == 1


@pytest.mark.parametrize(
    ("path", "patient", "name", "found"),
    [
        ("Nansen_Fridtjof/1.dcm", "77", "Nansen^Fridtjof", 1),
        ("a/NANSEN.dcm", "77", "Nansen^F", 1),
        ("a/00-12-34.dcm", "001234", "X", 1),
        ("a/77.dcm", "77", "Li^Bo", 0),
        ("images/1.dcm", "", "", 0),
    ],
)
def test_names_in_paths(path: str, patient: str, name: str, found: int) -> None:
    one = phantoms.slices()[0]
    one.PatientID, one.PatientName = patient, name
    assert identifiers.of_dicom(one, path).names == found


def test_words_in_nifti_headers_and_pictures(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(phantoms.ramp(), np.eye(4))
    image.header["descrip"] = b"scan of Nansen"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Nansen"))
    nibabel.save(image, tmp_path / "a.nii")
    text = PngInfo()
    text.add_text("Author", "Nansen")
    Image.new("L", (9, 9)).save(tmp_path / "a.png", pnginfo=text, dpi=(72, 72))
    Image.new("L", (9, 9)).save(tmp_path / "plain.png", dpi=(72, 72))
    exif = Image.Exif()
    exif[0x010E] = "Nansen"
    Image.new("L", (9, 9)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("L", (9, 9)).save(tmp_path / "plain.jpg", dpi=(72, 72))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")

    def texts(name: str) -> list[str]:
        return sorted(identifiers.of_other(tmp_path, name, "case-1").texts)

    assert texts("a.nii") == ["descrip", "extension"]
    assert (texts("a.png"), texts("plain.png")) == (["text"], [])
    assert (texts("a.jpg"), texts("plain.jpg")) == (["EXIF"], [])
    assert texts("broken.png") == []
    trace = identifiers.together(identifiers.of_other(tmp_path, name, "") for name in ("a.nii", "a.png", "a.jpg"))
    assert dict(identifiers.doubts(trace)) == {
        "FM-IDN-05": "4 kinds of text beside the image in NIfTI files or pictures: EXIF in 1, descrip in 1, "
        "extension in 1, text in 1"
    }


def test_a_case_that_the_recipes_spacing_makes_too_large_is_told_before_training(tmp_path: Path) -> None:
    phantoms.write_nifti(tmp_path / "a.nii", phantoms.ramp())
    (study,) = survey(
        tmp_path, Layout(image={"T1": "{case}.nii"}), phantoms.recipe(spacing=(0.001, 0.001, 0.001))
    ).studies
    (told,) = study.judgements
    assert (told.code, told.severity) == ("FM-DAT-25", "exclude")
    assert " at 0.001 x 0.001 x 0.001 mm: " in told.message


def test_every_kind_of_risk_is_told() -> None:
    trace = identifiers.Trace(files=9, keywords={"PatientID": 9}, private=1, burned_in=2, names=3, texts={"EXIF": 4})
    said = [(code, message.split()[0]) for code, message in identifiers.doubts(trace)]
    assert said == [("FM-IDN-01", "1"), ("FM-IDN-02", "1"), ("FM-IDN-03", "2"), ("FM-IDN-04", "3"), ("FM-IDN-05", "1")]


def test_a_header_that_cannot_be_read_to_its_end_is_counted() -> None:
    assert identifiers.UNREADABLE.files == 1
    assert "FM-IDN-01" in dict(identifiers.doubts(identifiers.UNREADABLE))


def test_a_file_of_a_series_is_parsed_for_its_header_and_for_its_pixels_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[Any] = []
    parse = dicomfile.parse

    def counting(stream: Any, *words: Any, **options: Any) -> Any:
        parsed.append(stream)
        return parse(stream, *words, **options)

    monkeypatch.setattr(dicomfile, "parse", counting)
    phantoms.save(tmp_path / "dicom/a", phantoms.slices())
    (study,) = survey(tmp_path, Layout(image={"T1": "dicom/{case}/"}), phantoms.recipe()).studies
    assert study.is_usable
    assert len(parsed) == 20
