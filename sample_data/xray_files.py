"""The files of the radiographs: DICOM or PNG, and each hospital's table of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from dicom_radiograph import write_radiograph
from PIL import Image
from xray_film import expose
from xray_hospitals import TASK, Exam, XrayHospital, exams_of, person
from xray_patients import draw

if TYPE_CHECKING:
    from pathlib import Path

    from xray_film import Pose


def write_patient(out: Path, hospital: XrayHospital, number: int, seed: int) -> None:
    """The patient's images. The table beside them always lists the whole hospital."""
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


def write_table(path: Path, hospital: XrayHospital, exams: list[Exam], seed: int) -> None:
    rows = ["path,label,patient,age,sex,view"]
    for exam in exams:
        if exam.number != hospital.no_row:
            age, sex = person(hospital, exam.number, seed)
            who = patient_id(hospital, exam.number)
            rows.append(f"{_name(hospital, exam)},{exam.label},{who},{age},{sex},{exam.view}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(rows) + "\n").encode())


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
