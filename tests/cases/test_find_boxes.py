"""From radiographs and a table of boxes to cases: what has a finding, what has none, and what nobody can say."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fedmed.cases import content, datalist, paths
from fedmed.cases.case import Box
from fedmed.cases.find import Found, find
from fedmed.cases.layout import detect_layout, studies
from fedmed.errors import FedmedError
from fedmed.recipe import Localisation
from fedmed.settings import DataFolder, Layout

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

PNG = Layout(image={"XR": "images/{case}.png"}, boxes="boxes.csv")
BOTH = Layout(image={"XR": "images/{case}.png"}, boxes="boxes.csv", labels="labels.csv")
HEADER = "path,x,y,width,height,label,patient"
TWO = {"labels": {1: "fracture", 2: "metal"}}


def recipe(**data: Any) -> Localisation:
    fields = films.recipe(**data).model_dump(mode="json", by_alias=True)
    chosen = {name: fields[name] for name in ("schema", "name", "seed", "data")}
    training = {name: fields["training"][name] for name in ("batch_size", "local_steps", "optimizer")}
    network = {"name": "UNet", "channels": (4, 8), "strides": (2,)}
    return Localisation.model_validate({**chosen, "task": "localisation", "network": network, "training": training})


def look(root: Path, layout: Layout = PNG, label_map: dict[int, int] | None = None, **data: Any) -> Found:
    folder = DataFolder(root=str(root), layout=layout)
    chosen = recipe(**{"max_excluded": 1, **data})
    return find(folder, chosen, pseudonym_key=b"k" * 32, label_map=label_map or {})


def write(root: Path, name: str, *lines: str, header: str = HEADER) -> None:
    (root / name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def film(root: Path, name: str) -> str:
    """16 columns, 24 rows."""
    path = root / f"images/{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((films.film() // 16).astype(np.uint8)).save(path)
    return f"images/{name}.png"


def codes(found: Found) -> list[str]:
    return sorted(one.code for one in found.excluded)


def hospital(root: Path, count: int = 6) -> Path:
    """images/Nansen0.png, ...; every second with a box, two images a patient."""
    paths_ = [film(root, f"Nansen{number}") for number in range(count)]
    cells = [f"{number},2,4.5,6,1" if number % 2 else ",,,," for number in range(count)]
    write(root, "boxes.csv", *(f"{path},{cells[n]},P{n // 2}" for n, path in enumerate(paths_)))
    return root


def test_boxes_groups_and_patients(tmp_path: Path) -> None:
    found = look(hospital(tmp_path))
    by_path = {case.image["XR"][0]: case for case in found.cases}
    assert by_path["images/Nansen3.png"].label == (Box(3, 2, 4.5, 6, 1),)
    assert by_path["images/Nansen2.png"].label == ()
    assert [by_path[f"images/Nansen{n}.png"].group for n in (2, 3)] == ["0", "fracture"]
    assert by_path["images/Nansen3.png"].patient == by_path["images/Nansen2.png"].patient
    assert len({case.patient for case in found.cases}) == 3
    assert (found.excluded, found.notes) == ([], [])


def test_the_group_is_the_first_class_and_label_map_counts(tmp_path: Path) -> None:
    path = film(tmp_path, "a")
    write(tmp_path, "boxes.csv", f"{path},1,2,3,4,20,", f"{path},1,8,3,4,10,", f"{path},1,12,3,4,30,")
    (case,) = look(tmp_path, label_map={10: 1, 20: 2, 30: 0}, **TWO).cases
    assert case.group == "fracture"
    assert isinstance(case.label, tuple)
    assert [box.label for box in case.label] == [20, 10, 30], "at rest in the hospital's own numbers"
    (case,) = look(tmp_path, label_map={10: 0, 20: 0, 30: 0}, **TWO).cases
    assert case.group == "0"
    assert codes_of_all(tmp_path, label_map={10: 1}) == ["FM-DAT-28"]


def codes_of_all(root: Path, layout: Layout = PNG, **changed: Any) -> list[str]:
    """Where no case is usable: the codes in the message."""
    with pytest.raises(FedmedError) as caught:
        look(root, layout, **changed)
    assert caught.value.code == "FM-DAT-08"
    return [word.rstrip(",") for word in caught.value.message.split() if word.startswith("FM-")]


def test_each_fault_excludes_its_case_alone(tmp_path: Path) -> None:
    names = [film(tmp_path, f"Nansen{number}") for number in range(8)]
    rows = ["1,2,3,4,1,", ",,,,,", "14,2,9,4,1,", "1,2,0,4,1,", "1,2,x,4,1,", "1,2,3,4,5,"]
    lines = [f"{name},{row}" for name, row in zip(names, rows, strict=False)]
    astray = ["images/Amundsen.png,1,2,3,4,1,", "images/Amundsen.png,5,2,3,4,1,"]
    write(tmp_path, "boxes.csv", *lines, f"{names[6]},1,2,3,4,1,", f"{names[6]},,,,,,", *astray, lines[0])
    found = look(tmp_path)
    assert codes(found) == ["FM-BOX-02", "FM-BOX-04", "FM-BOX-05", "FM-BOX-06", "FM-BOX-07", "FM-DAT-28"]
    assert len(found.cases) == 2
    assert found.notes == [
        "1 images that the table of boxes names are not there (FM-BOX-03)",
        "1 rows of the table of boxes only repeat another",
        "2 cases do not say who the patient is: each counts as a patient of its own",
    ]
    assert [line.split() for line in found.local] == [["FM-BOX-03", "images/Amundsen.png"]]
    assert "Nansen" not in " ".join(one.message for one in found.excluded)


def test_a_table_of_labels_says_what_has_no_finding_and_must_agree(tmp_path: Path) -> None:
    names = [film(tmp_path, f"n{number}") for number in range(7)]
    write(tmp_path, "boxes.csv", *(f"{names[n]},1,2,3,4,1,P{n}" for n in (0, 1, 5, 6)))
    labels = ["0,1,P0", "1,0,P1", "2,0,P2", "3,1,P3", "4,,P4", "5,1,Q5"]
    lines = [*(f"{names[int(line[0])]}{line[1:]},A" for line in labels), "images/gone.png,1,,A"]
    write(tmp_path, "labels.csv", *lines, header="path,label,patient,scanner")
    found = look(tmp_path, BOTH)
    assert codes(found) == ["FM-BOX-02", "FM-BOX-07", "FM-BOX-08", "FM-BOX-09"]
    assert [line.split() for line in found.local] == [["FM-DAT-51", "images/gone.png"]]
    by_path = {case.image["XR"][0]: case for case in found.cases}
    assert by_path.keys() == {names[0], names[2], names[6]}, "the last one stands in the table of boxes alone"
    assert by_path[names[2]].label == ()
    assert dict(by_path[names[2]].covariates) == {"scanner": "A"}
    assert len({case.patient for case in found.cases}) == 3


def test_a_box_on_a_picture_that_exif_turns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    levels = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (16, 1))
    for name, orientation in (("up", 1), ("lying", 6), ("lying-without", 6)):
        data = io.BytesIO()
        Image.fromarray(levels).save(data, "JPEG")
        (tmp_path / f"images/{name}.jpg").write_bytes(films.with_orientation(data.getvalue(), orientation))
    write(tmp_path, "boxes.csv", *(f"images/{name}.jpg,1,2,3,4,1," for name in ("up", "lying")))
    with (tmp_path / "boxes.csv").open("a", encoding="utf-8") as table:
        table.write("images/lying-without.jpg,,,,,,\n")
    found = look(tmp_path, Layout(image={"XR": "images/{case}.jpg"}, boxes="boxes.csv"))
    assert codes(found) == ["FM-BOX-10"]
    assert len(found.cases) == 2


def test_dicom_is_never_turned(tmp_path: Path) -> None:
    films.save(tmp_path / "images/a.dcm", films.dataset())
    write(tmp_path, "boxes.csv", "images/a.dcm,9,20,7,4,1,")
    (case,) = look(tmp_path, Layout(image={"XR": "images/{case}.dcm"}, boxes="boxes.csv")).cases
    assert case.label == (Box(9, 20, 7, 4, 1),)


def test_cases_json_keeps_boxes_and_content_counts_them(tmp_path: Path) -> None:
    root = hospital(tmp_path / "data", 8)
    found, path = look(root), tmp_path / "cases.json"
    written = datalist.build(found, recipe())
    datalist.save(path, written)
    read = datalist.load(path)
    cases = [case for fold in ("training", "validation", "testing") for case in datalist.cases(read, fold)]
    assert sorted(cases, key=lambda case: case.case) == found.cases
    content.check(cases, root, lambda *_: None)
    with_box = next(case for case in cases if case.label)
    for label in ((), (Box(3, 2, 4.5, 6.5, 1),)):
        with phantoms.refuses("FM-DAT-46"):
            content.check([replace(with_box, label=label)], root, lambda *_: None)
    data = json.loads(path.read_text())
    entry = next(entry for entry in data["training"] if entry["label"])
    assert entry["label"][0][1:] == [2.0, 4.5, 6.0, 1]
    for bad in (
        [[float("nan"), 2, 3, 4, 1]],
        [[1, 2, 0, 4, 1]],
        [[-1, 2, 3, 4, 1]],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 1.5]],
    ):
        entry["label"] = bad
        path.write_text(json.dumps(data))
        with phantoms.refuses("FM-DAT-03", "label"):
            datalist.load(path)


def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    with phantoms.refuses("FM-DAT-53", "localisation needs boxes, got labels"):
        look(tmp_path, Layout(image={"XR": "{case}.png"}, labels="labels.csv"))
    folder = DataFolder(root=str(tmp_path), layout=Layout(image={"XR": "{case}.png"}, boxes="boxes.csv"))
    with phantoms.refuses("FM-DAT-53", "classification needs labels, got boxes"):
        find(folder, films.recipe(), pseudonym_key=b"k", label_map={})
    with pytest.raises(ValueError, match="not both"):
        Layout(image={"XR": "{case}.png"}, label="{case}.nii", boxes="boxes.csv")
    with pytest.raises(ValueError, match=r"\.csv file below"):
        Layout(image={"XR": "{case}.png"}, boxes="../boxes.csv")


def test_classes_are_found_beside_boxes_that_they_do_not_need(tmp_path: Path) -> None:
    hospital(tmp_path)
    write(tmp_path, "labels.csv", *(f"images/Nansen{n}.png,{n % 2}" for n in range(6)), header="path,label")
    (tmp_path / "boxes.csv").write_text("broken")
    folder = DataFolder(root=str(tmp_path), layout=BOTH)
    found = find(folder, films.recipe(), pseudonym_key=b"k", label_map={})
    assert {case.label for case in found.cases} == {0, 1}


def test_layouts_with_boxes_are_recognised(tmp_path: Path) -> None:
    hospital(tmp_path)
    assert detect_layout(tmp_path, ["XR"]) == detect_layout(tmp_path, ["XR"], task="localisation") == PNG
    with phantoms.refuses("FM-DAT-05", "labels: 'labels.csv'"):
        detect_layout(tmp_path, ["XR"], task="classification")
    write(tmp_path, "labels.csv", "images/Nansen0.png,0", header="path,label")
    assert detect_layout(tmp_path, ["XR"]) == detect_layout(tmp_path, ["XR"], task="localisation") == BOTH
    assert detect_layout(tmp_path, ["XR"], task="classification").boxes is None
    (tmp_path / "boxes.csv").write_text("who,what\nNansen,1\n")
    assert detect_layout(tmp_path, ["XR"]).boxes is None, "a table of something else is no obstacle"
    with phantoms.refuses("FM-BOX-01"):
        detect_layout(tmp_path, ["XR"], task="localisation")
    (tmp_path / "boxes.csv").unlink()
    with phantoms.refuses("FM-DAT-05", "boxes: 'boxes.csv'"):
        detect_layout(tmp_path, ["XR"], task="localisation")


def test_the_table_of_boxes_is_no_image(tmp_path: Path) -> None:
    for name in ("IM1", "boxes.csv", "labels.csv"):
        (tmp_path / name).touch()
    layout = Layout(image={"XR": "{case}"}, boxes="boxes.csv", labels="labels.csv")
    assert [study.case for study in studies(paths.walk(tmp_path), layout)[0]] == ["IM1"]
