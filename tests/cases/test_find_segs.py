"""DICOM segmentations as the masks of a site: a file, a folder, or the folder of the series itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.cases import content, datalist, dicom, reading, series
from fedmed.cases.find import Found, find
from fedmed.cases.layout import detect_layout
from fedmed.errors import FedmedError
from fedmed.settings import DataFolder, Layout

from . import phantoms, segs

if TYPE_CHECKING:
    from pathlib import Path

SAME = Layout(image={"T1": "dicom/{case}/"}, label="dicom/{case}/")
APART = Layout(image={"T1": "dicom/{case}/"}, label="masks/{case}/")


def study(root: Path, name: str, mask: str, size: int = 2) -> None:
    image = phantoms.slices(oblique=False, patient=f"Nansen^{name}")
    phantoms.save(root / "dicom" / name, image)
    label = segs.segmentation(segs.frames({1: phantoms.mask(size=size)}, image), image[0])
    (root / mask).parent.mkdir(parents=True, exist_ok=True)
    label.save_as(root / mask, enforce_file_format=True)


def look(root: Path, layout: Layout, **data: object) -> Found:
    data = {"max_excluded": 1, **data}
    folder = DataFolder(root=str(root), layout=layout)
    return find(folder, phantoms.recipe(**data), pseudonym_key=b"k", label_map={})


@pytest.mark.parametrize(
    ("layout", "mask"),
    [
        (SAME, "dicom/a/seg.dcm"),
        (SAME, "dicom/a/deep/IM7"),
        (APART, "masks/a/IM7"),
        (Layout(image=SAME.image, label="masks/{case}.dcm"), "masks/a.dcm"),
        (Layout(image=SAME.image, label="dicom/{case}/seg.dcm"), "dicom/a/seg.dcm"),
    ],
)
def test_the_label_is_the_path_of_the_segmentation(tmp_path: Path, layout: Layout, mask: str) -> None:
    study(tmp_path, "a", mask)
    found = look(tmp_path, layout)
    assert found.excluded == []
    assert found.notes == []
    (case,) = found.cases
    assert case.label == mask
    assert len(case.image["T1"]) == 10
    assert case.covariates["foreground_mm3"] == pytest.approx(12 * 0.8 * 1.2 * 2.5)
    volume = reading.read(case, tmp_path, phantoms.recipe().data, {})
    np.testing.assert_array_equal(volume.label, phantoms.mask())
    assert case.content == content.digest(case, tmp_path)
    data = (tmp_path / mask).read_bytes()
    (tmp_path / mask).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert case.content != content.digest(case, tmp_path)


def test_the_series_is_found_as_if_no_segmentation_lay_there(tmp_path: Path) -> None:
    study(tmp_path, "a", "dicom/a/seg.dcm")
    names = sorted(f"dicom/a/{file.name}" for file in (tmp_path / "dicom/a").iterdir())
    scan = series.scan(tmp_path, names, "case-1 T1")
    assert (len(scan.slices), scan.segmentations, scan.ignored) == (10, ("dicom/a/seg.dcm",), 0)
    with pytest.raises(FedmedError) as refused:
        series.choose(scan, phantoms.recipe(modality="CT").data, "case-1 T1")
    assert refused.value.message.endswith("among 10 of 7 x 6 axial (another modality)")
    chosen = series.choose(scan, phantoms.recipe(series={"min_slices": 2}).data, "case-1 T1")
    assert dicom.read(tmp_path, [one.path for one in chosen], "case-1 T1")[0].shape == phantoms.SHAPE
    found = look(tmp_path, Layout(image=SAME.image))
    assert (found.cases[0].label, found.notes) == (None, [])


def test_none_or_several_segmentations_in_a_folder_and_other_files(tmp_path: Path) -> None:
    for name in "abc":
        study(tmp_path, name, f"masks/{name}/seg.dcm")
    (tmp_path / "masks/a/seg.dcm").rename(tmp_path / "masks/b/other.dcm")
    (tmp_path / "masks/a/notes.txt").write_text("none yet")
    phantoms.save(tmp_path / "masks/c", phantoms.slices()[:2])
    found = look(tmp_path, APART)
    assert {one.code: one.message.split(": ", 1)[1] for one in found.excluded} == {
        "FM-DAT-12": "0 DICOM masks in the folder for label, expected 1",
        "FM-DAT-13": "2 DICOM masks in the folder for label, expected 1",
    }
    assert [case.label for case in found.cases] == ["masks/c/seg.dcm"]
    assert found.notes == ["3 files in DICOM folders are no DICOM image and were left alone"]


def test_through_the_list_of_cases(tmp_path: Path) -> None:
    for index in range(4):
        study(tmp_path, f"c{index}", f"dicom/c{index}/seg.dcm", size=index + 1)
    found = look(tmp_path, SAME)
    listed = datalist.build(found, phantoms.recipe())
    datalist.save(tmp_path / "cases.json", listed)
    again = datalist.load(tmp_path / "cases.json")
    back = [case for fold in ("training", "validation", "testing") for case in datalist.cases(again, fold)]
    assert sorted(back, key=lambda case: case.case) == found.cases
    assert [case.group for case in sorted(found.cases, key=lambda case: str(case.label))] == ["q1", "q2", "q3", "q4"]


@pytest.mark.parametrize("folder", ["segmentations", "seg", "rtstruct"])
def test_known_layouts(tmp_path: Path, folder: str) -> None:
    study(tmp_path, "a", f"{folder}/a.dcm")
    layout = detect_layout(tmp_path, ["T1"])
    assert layout == Layout(image=SAME.image, label=f"{folder}/{{case}}.dcm")
    assert len(look(tmp_path, layout).cases) == 1


def test_one_folder_for_two_channels_is_no_second_channel(tmp_path: Path) -> None:
    study(tmp_path, "a", "dicom/a/seg.dcm")
    layout = Layout(image={"T1": "dicom/{case}/", "T2": "dicom/{case}/"}, label="dicom/{case}/")
    with phantoms.refuses("FM-DAT-08", "1 x FM-DAT-11"):
        look(tmp_path, layout, channels=("T1", "T2"))
