"""The files of the radiographs: DICOM or PNG, and each hospital's tables of labels and boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from dicom_radiograph import write_radiograph
from PIL import Image
from xray_film import expose, to_pixels
from xray_hospitals import TASK, Exam, XrayHospital, exams_of, person
from xray_patients import draw
from xray_phantom import extent

if TYPE_CHECKING:
    from pathlib import Path

    from xray_film import Pose


def write_patient(out: Path, hospital: XrayHospital, number: int, seed: int) -> None:
    """The patient's images. The tables beside them always list the whole hospital."""
    folder = out / TASK / hospital.name
    exams = exams_of(hospital, seed)
    for exam in exams:
        if exam.number == number and number != hospital.no_image:
            limb, pose, size, rng = draw(hospital, exam, seed)
            grey = expose(rng, hospital.film, limb, pose, size)
            path = folder / _name(hospital, exam)
            path.parent.mkdir(parents=True, exist_ok=True)
            if hospital.device is None:
                Image.fromarray(np.round(grey * 255).astype(np.uint8)).save(path, optimize=True)
            else:
                _write_dicom(path, hospital, exam, seed, grey, pose)
            if number == hospital.bad_file:  # as when a copy was interrupted: the pixels end half-way
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    write_table(folder / "labels.csv", hospital, exams, seed)
    write_boxes(folder / "boxes.csv", hospital, exams, seed)


def write_table(path: Path, hospital: XrayHospital, exams: list[Exam], seed: int) -> None:
    rows = ["path,label,patient,age,sex,view"]
    for exam in exams:
        if exam.number != hospital.no_row:
            age, sex = person(hospital, exam.number, seed)
            who = patient_id(hospital, exam.number)
            rows.append(f"{_name(hospital, exam)},{exam.label},{who},{age},{sex},{exam.view}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(rows) + "\n").encode())


def write_boxes(path: Path, hospital: XrayHospital, exams: list[Exam], seed: int) -> None:
    """A row for each broken bone, and one with empty cells for a wrist without a fracture."""
    rows = ["path,x,y,width,height,label,patient"]
    for exam in exams:
        if exam.number != hospital.no_row:
            who = patient_id(hospital, exam.number)
            found = boxes_of(hospital, exam, seed)
            cells = [f"{x0},{y0},{x1 - x0},{y1 - y0},1" for x0, y0, x1, y1 in found] or [",,,,"]
            rows += [f"{_name(hospital, exam)},{each},{who}" for each in cells]
    path.write_bytes(("\n".join(rows) + "\n").encode())


def boxes_of(hospital: XrayHospital, exam: Exam, seed: int) -> list[tuple[int, int, int, int]]:
    """Left, upper, right and lower edges in whole pixels, as far as the film reaches.

    From the side two broken bones lie behind each other: a reader frames them as one.
    """
    limb, pose, size, _ = draw(hospital, exam, seed)
    found = []
    for broken in limb.breaks:
        start, stop, inner, outer = extent(limb.bones[broken.bone], broken)
        corners = np.array([[start, start, stop, stop], [inner, outer, inner, outer]])
        columns, rows = to_pixels(hospital.film, pose, size, *corners)
        left, top = max(0, int(columns.min())), max(0, int(rows.min()))
        right, bottom = min(size[1], int(np.ceil(columns.max()))), min(size[0], int(np.ceil(rows.max())))
        found.append((left, top, right, bottom))
    if len(found) == 2 and _overlap(*found) > 0.5:
        one, two = found
        return [(min(one[0], two[0]), min(one[1], two[1]), max(one[2], two[2]), max(one[3], two[3]))]
    return found


def _overlap(one: tuple[int, int, int, int], two: tuple[int, int, int, int]) -> float:
    """As a share of the smaller box."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (one, two)]
    return max(0, width) * max(0, height) / min(areas)


def patient_id(hospital: XrayHospital, number: int) -> str:
    return f"{hospital.name.upper()}-{7000 + 11 * number}"


def _name(hospital: XrayHospital, exam: Exam) -> str:
    return f"images/{exam.case}.{'png' if hospital.device is None else 'dcm'}"


def _write_dicom(path: Path, hospital: XrayHospital, exam: Exam, seed: int, grey: np.ndarray, pose: Pose) -> None:
    age, sex = person(hospital, exam.number, seed)
    about = {
        "id": patient_id(hospital, exam.number),
        "uid": f"{seed}|{TASK}|{hospital.name}|{exam.number}",
        "case": exam.case,
        "study": exam.study,
        "age": age,
        "sex": sex,
        "view": exam.view,
        "side": pose.side,
        "orientation": _orientation(exam.view, pose),
        "spacing": hospital.film.spacing,
    }
    syntax = hospital.syntaxes[exam.number % len(hospital.syntaxes)]
    write_radiograph(path, grey, about, hospital.device, syntax, hospital.voi[exam.number % len(hospital.voi)])


def _orientation(view: str, pose: Pose) -> list[str]:
    """Where the film's rows and columns go in the patient, the arm hanging: F is towards the fingers."""
    fingers_up = np.cos(pose.turn) > 0
    across = "LR" if view == "PA" else ("AP" if pose.mirror > 0 else "PA")
    return [across[0], "H"] if fingers_up else [across[1], "F"]
