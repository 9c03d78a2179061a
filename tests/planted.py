"""Hospitals in whose files everything that may name a patient does: two dozen kinds of it, each with its own word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset

from tests.cases import phantoms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROOT = "1.2.826.0.1.3680043.8.498"
OF_VOLUMES = {
    "PatientName": "Fridtjofsen",
    "PatientID": "PID-81726354",
    "OtherPatientIDs": "OPID-5544332",
    "PatientBirthDate": "18611010",
    "PatientAddress": "Lysakerveien",
    "AccessionNumber": "ACC998877",
    "InstitutionName": "Rikshospitalet",
    "ReferringPhysicianName": "Henvisersen",
    "StudyID": "STUD4711",
    "StudyInstanceUID": f"{ROOT}.11111",
    "SeriesInstanceUID": f"{ROOT}.22222",
    "SOPInstanceUID": f"{ROOT}.33333",
    "FrameOfReferenceUID": f"{ROOT}.44444",
    "DeviceSerialNumber": "DSN-556677",
    "PatientComments": "fetter av ordfører Kommentarsen",
    "SeriesDescription": "aksial hos Beskrivelsen",
    "private tag": "Privatmannen",
    "nested tag": "ACC-NESTED-12",
    "overlay comment": "Overleggsen",
    "folder name": "Grimsdalen_Ola",
    "file name": "Fjæreholmen",
    "NIfTI descrip": "skannet av Hodesen",
    "NIfTI extension": "Utvidelsen",
}
OF_FILMS = {
    "file name": "Tåkeheimen",
    "CSV patient column": "Pasientsen-77",
    "CSV other column": "Vaktmesterboligen",
    "CSV free text": "bror av Fritekstsen",
    "PNG text": "Tekstbitsen",
    "EXIF": "Kamerasen",
}


def volumes(folder: Path, patients: Sequence[str], seed: int = 0) -> Path:
    """dicom/NAME_PATIENT/ with ten slices, and masks/NAME_PATIENT.nii.gz."""
    random = np.random.RandomState(seed)
    for number, patient in enumerate(patients):
        name = f"{OF_VOLUMES['folder name']}_{patient}"
        array = (phantoms.ramp() + random.randint(0, 99, phantoms.SHAPE)).astype(np.int16)
        datasets = phantoms.slices(array, oblique=False)
        for index, one in enumerate(datasets):
            _plant(one, number, index)
        phantoms.save(folder / "dicom" / name, datasets, name=f"{OF_VOLUMES['file name']}{{}}.dcm".format)
        mask = nibabel.Nifti1Image(phantoms.mask(), phantoms.expected_affine(oblique=False))
        mask.header.set_xyzt_units("mm")
        mask.header["descrip"] = OF_VOLUMES["NIfTI descrip"].encode()
        words = OF_VOLUMES["NIfTI extension"].encode()
        mask.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", words))
        (folder / "masks").mkdir(exist_ok=True)
        nibabel.save(mask, folder / "masks" / f"{name}.nii.gz")
    return folder


def _plant(one: Dataset, number: int, index: int) -> None:
    one.SpecificCharacterSet = "ISO_IR 192"
    for keyword, word in OF_VOLUMES.items():
        if keyword.isalpha() and keyword[0].isupper() and keyword != "EXIF":
            suffix = f".{number}" if keyword.endswith("UID") and keyword != "SOPInstanceUID" else ""
            setattr(one, keyword, word + suffix)
    one.PatientID = f"{OF_VOLUMES['PatientID']}{number}"
    one.PatientName = f"{OF_VOLUMES['PatientName']}^{number}"
    one.SOPInstanceUID = f"{OF_VOLUMES['SOPInstanceUID']}.{number}.{index}"
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.private_block(0x0009, "PLANTED", create=True).add_new(1, "LO", OF_VOLUMES["private tag"])
    item = Dataset()
    item.AccessionNumber = OF_VOLUMES["nested tag"]
    one.RequestAttributesSequence = [item]
    one.add_new(0x60004000, "LT", OF_VOLUMES["overlay comment"])
    one.add_new(0x60000010, "US", 1)
    one.add_new(0x60003000, "OW", b"\1\0")


def films(folder: Path, patients: Sequence[str], seed: int = 0) -> Path:
    """images/NAME_PATIENT.png, every other one with JPEG inside, and labels.csv."""
    random = np.random.RandomState(seed)
    (folder / "images").mkdir(parents=True)
    lines = ["path,label,patient,ward,remark"]
    exif, text = Image.Exif(), PngInfo()
    exif[0x010E] = OF_FILMS["EXIF"]
    text.add_text("Author", OF_FILMS["PNG text"])
    for number, patient in enumerate(patients):
        path = f"images/{OF_FILMS['file name']}_{patient}.png"
        levels = random.randint(60, 100, (16, 16))
        levels[2:4, 1:9] += 120 * (number % 4 > 1)
        picture = Image.fromarray(levels.astype(np.uint8), "L")
        if number % 2:
            picture.save(folder / path, "JPEG", exif=exif)
        else:
            picture.save(folder / path, pnginfo=text)
        cells = (OF_FILMS["CSV patient column"] + patient, OF_FILMS["CSV other column"], OF_FILMS["CSV free text"])
        lines.append(f"{path},{int(number % 4 > 1)},{','.join(cells)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def told(words: dict[str, str], data: bytes) -> list[str]:
    """The kinds of which a word stands in some bytes, as it is or in part, whatever the case, as UTF-8 or UTF-16."""
    lower = data.lower()
    texts = (lower, lower.decode("utf-8", "ignore").lower().encode())
    return [
        kind
        for kind, word in words.items()
        for part in {word, word.split()[-1]}
        if any(part.lower().encode(code) in text for code in ("utf-8", "utf-16-le", "utf-16-be") for text in texts)
        or part.encode("ascii", "backslashreplace").lower() in lower
    ]
