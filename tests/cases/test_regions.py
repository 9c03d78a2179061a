"""One number, one meaning: masks whose regions are numbered otherwise than in the other cases are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from fedmed.cases import regions
from fedmed.cases.find import survey
from fedmed.settings import DataFolder, Layout

from . import phantoms, segs, structures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LABELS = {1: "tumour", 2: "edema"}


def study(root: Path, case: str, names: Sequence[str], **options: object) -> None:
    image = phantoms.slices(oblique=False)
    phantoms.save(root / "dicom" / case, image)
    outlines = {number: structures.outlines(voxels, image) for number, voxels in segs.two().items()}
    mask = structures.structure_set(outlines, image[0], names=names)
    mask.save_as(root / "dicom" / case / "RS.dcm", enforce_file_format=True)


def codes(root: Path, label_map: dict[int, int] | None = None) -> dict[str, list[str]]:
    layout = Layout(image={"T1": "dicom/{case}/"}, label="dicom/{case}/")
    seen = survey(
        DataFolder(root=str(root), layout=layout),
        phantoms.recipe(labels=LABELS, max_excluded=1),
        pseudonym_key=b"k",
        label_map=label_map or {},
    )
    told = {}
    for each in seen.studies:
        messages = [one.message for one in each.judgements if one.code == "FM-DAT-74"]
        assert not any("gtv" in message.lower() or "Nansen" in message for message in messages)
        told[each.examined.paths[0].split("/")[1]] = [message.split(": ", 1)[1] for message in messages]
    return told


def test_a_number_that_means_something_else_in_one_case(tmp_path: Path) -> None:
    for case in "abc":
        study(tmp_path, case, ["GTV", "Edema"])
    study(tmp_path, "d", ["gtv_", " EDEMA"])
    study(tmp_path, "e", ["Body", "Edema"])
    told = codes(tmp_path)
    said = "what its mask numbers 1 is called otherwise than in most of 5 cases"
    assert told == {"a": [], "b": [], "c": [], "d": [], "e": [said]}
    assert codes(tmp_path, {1: 0, 2: 2}) == {case: [] for case in "abcde"}, "nobody learns from region 1"


def test_names_of_segments_and_of_nothing(tmp_path: Path) -> None:
    image = phantoms.slices()
    mask = segs.segmentation(segs.frames(segs.two(), image), image[0])
    mask.save_as(tmp_path / "plain.dcm", enforce_file_format=True)
    assert regions.names(tmp_path, "plain.dcm", {}, "case-1 label") == {}
    items = []
    for number, name in ((1, "Tumour core"), (2, "")):
        item = Dataset()
        item.SegmentNumber, item.SegmentLabel = number, name
        items.append(item)
    mask.SegmentSequence = items
    mask.save_as(tmp_path / "named.dcm", enforce_file_format=True)
    found = regions.names(tmp_path, "named.dcm", {}, "case-1 label")
    assert list(found) == [1]
    assert "umour" not in str(found)
    assert regions.names(tmp_path, "named.dcm", {1: 0}, "case-1 label") == {}
    phantoms.write_nifti(tmp_path / "mask.nii", phantoms.mask())
    assert regions.names(tmp_path, "mask.nii", {}, "case-1 label") == {}


def test_who_is_in_the_minority() -> None:
    by_case = {"a": {1: "x", 2: "y"}, "b": {1: "x"}, "c": {1: "z", 2: "y"}, "d": {2: "w"}, "e": {}}
    assert regions.otherwise(by_case) == {"c": [1], "d": [2]}


def test_damage_is_a_code(tmp_path: Path) -> None:
    """A ROI number that is no number; the case was refused before, by the reader."""
    study(tmp_path, "a", ["GTV", "Edema"])
    path = tmp_path / "dicom/a/RS.dcm"
    number = bytes.fromhex("0630 2200") + b"IS" + bytes.fromhex("0200") + b"1 "
    data = path.read_bytes()
    assert number in data
    path.write_bytes(data.replace(number, number[:-2] + b"x "))
    with phantoms.refuses("FM-DAT-33"):
        regions.names(tmp_path, "dicom/a/RS.dcm", {}, "case-1 label")
