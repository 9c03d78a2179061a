"""pydicom's own test files through fedmed's reader: the same pixels as pydicom's, or one coded line.

    python benchmarks/dicom_corpus.py

Each file is read twice: its stored pixels, frame by frame, compared number by number with what pydicom makes of them
with every decoder installed; and as a hospital's case, from the folder to the image a network would see. A traceback
or a difference ends in exit status 1. Half a minute.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedmed.cases import find, pixels
from fedmed.errors import FedmedError
from fedmed.recipe import Classification, Segmentation
from fedmed.settings import DataFolder, Layout

TOP = Path(__file__).resolve().parents[1]
CORPUS = TOP.parent / "shared" / "data" / "dicom_corpus"
RESULTS = TOP / "benchmarks" / "results"
VOLUMES = ("MR", "CT", "PT")
EQUAL, DIFFERENT, CRASHED = "equal pixels", "DIFFERENT PIXELS", "TRACEBACK"


def main() -> int:
    if not CORPUS.is_dir():
        print("the files are not there: ../shared/data/dicom_corpus")
        return 1
    rows = [outcome(CORPUS, row) for row in index()]
    RESULTS.joinpath("dicom_corpus.json").write_text(json.dumps(rows, indent=1) + "\n")
    RESULTS.joinpath("dicom_corpus.md").write_text(table(rows))
    bad = [row for row in rows if {row["pixels"], row["case"]} & {DIFFERENT, CRASHED}]
    print(f"{len(rows)} files, {sum(row['pixels'] == EQUAL for row in rows)} equal, {len(bad)} failures")
    for row in bad:
        print(json.dumps(row))
    return 1 if bad else 0


def index() -> list[dict[str, str]]:
    with (CORPUS / "index_all_decoders.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def outcome(corpus: Path, listed: dict[str, str]) -> dict[str, str]:
    """What fedmed makes of a file, what pydicom here makes of it, and what it made of it with every decoder."""
    path = corpus / listed["path"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, message = as_pixels(path)
        case, said = as_case(path, listed["Modality"])
        pydicoms = reference(path)[1]
    row = {"path": listed["path"], "syntax": listed["TransferSyntax"], "pixels": found, "message": message}
    return row | {"case": case, "case_message": said, "pydicom": pydicoms, "index": listed["pixels"][:100]}


def as_pixels(path: Path) -> tuple[str, str]:
    """(EQUAL, ""), or a code and its message; DIFFERENT or CRASHED are failures."""
    try:
        _, frames = pixels.read(path, "file")
        ours = list(frames)
    except FedmedError as error:
        return error.code, error.message
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return CRASHED, repr(error)
    theirs, _ = reference(path)
    if theirs is None:
        return EQUAL, "read by fedmed alone"
    if ours[0].shape == theirs.shape:
        theirs = theirs[None]
    same = len(ours) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    return (EQUAL, "") if same else (DIFFERENT, f"{len(ours)} frames of {ours[0].shape}, pydicom {theirs.shape}")


def reference(path: Path) -> tuple[np.ndarray | None, str]:
    """pydicom's stored values, or why it has none."""
    try:
        data = pydicom.dcmread(path, force=True)
        if "TransferSyntaxUID" not in data.file_meta:  # without it pydicom decodes nothing
            implicit, little = data.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return pixel_array(data, raw=True), "ok"
    except Exception as error:  # noqa: BLE001 - whatever it says
        return None, f"{type(error).__name__}: {error}".splitlines()[0][:100]


def as_case(path: Path, kind: str) -> tuple[str, str]:
    """The same file as the only one of a case: `ok`, or the code for which it is left out."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "one").mkdir()
        shutil.copyfile(path, Path(folder) / "one" / path.name)
        return of_folder(Path(folder), kind)


def of_folder(root: Path, kind: str) -> tuple[str, str]:
    """Every folder below the root as a case: of a volume where the modality says so, else of a radiograph."""
    recipe = segmentation(kind) if kind in VOLUMES else classification()
    folder = DataFolder(root=str(root), layout=Layout(image={"A": "{case}/"}))
    try:
        found = find.survey(folder, recipe, pseudonym_key=b"k" * 32, label_map={})
    except FedmedError as error:
        return error.code, error.message
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return CRASHED, repr(error)
    (one,) = found.studies
    if one.case is not None:
        return "ok", ""
    first = next(each for each in one.judgements if each.severity in ("exclude", "error"))
    return first.code, first.message


def segmentation(kind: str) -> Segmentation:
    return Segmentation.model_validate(
        {
            **common(),
            "task": "segmentation",
            "data": {**data(kind), "spacing": (1, 1, 1), "series": {"min_slices": 2}},
            "network": {"name": "UNet", "channels": (8, 16), "strides": (2,)},
            "training": {**training(), "patch_size": (32, 32, 32)},
        }
    )


def classification() -> Classification:
    return Classification.model_validate(
        {
            **common(),
            "task": "classification",
            "data": {**data("XR"), "image_size": (64, 64)},
            "network": {"name": "DenseNet121"},
            "training": training(),
        }
    )


def common() -> dict[str, Any]:
    return {"schema": 1, "name": "corpus", "seed": 1}


def data(kind: str) -> dict[str, Any]:
    return {"modality": kind, "channels": ("A",), "labels": {1: "finding"}, "max_excluded": 1}


def training() -> dict[str, Any]:
    return {"batch_size": 1, "local_steps": 1, "optimizer": {"client_lr": 0.001}}


def table(rows: list[dict[str, str]]) -> str:
    by_syntax: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        by_syntax[row["syntax"]][row["pixels"]] += 1
    columns = sorted(
        {outcome for counts in by_syntax.values() for outcome in counts}, key=lambda name: (name[:2] == "FM", name)
    )
    lines = [
        "# pydicom's test files through fedmed's reader",
        "",
        f"{len(rows)} files. Stored pixels, frame by frame, beside those of pydicom {pydicom.__version__} with the",
        "same decoders; a code is one line on the screen. Made by `python benchmarks/dicom_corpus.py`.",
        "",
        "| transfer syntax | files | " + " | ".join(columns) + " |",
        "|---|---:|" + "---:|" * len(columns),
    ]
    for syntax, counts in sorted(by_syntax.items()):
        cells = " | ".join(str(counts[name] or "") for name in columns)
        lines.append(f"| {syntax} | {sum(counts.values())} | {cells} |")
    total = Counter(row["pixels"] for row in rows)
    lines.append(f"| all | {len(rows)} | " + " | ".join(str(total[name]) for name in columns) + " |")
    lines += ["", "Why there are no pixels, where there are none:", "", "| code | files | message |", "|---|---:|---|"]
    said = Counter((row["pixels"], row["message"].removeprefix("file: ")) for row in rows if row["pixels"] != EQUAL)
    lines += [f"| {code} | {count} | {message} |" for (code, message), count in sorted(said.items())]
    kept = [row for row in rows if "ok" in (row["pydicom"], row["index"]) and row["pixels"] != EQUAL]
    lines += ["", f"Files that pydicom decodes, given every decoder there is, and fedmed refuses: {len(kept)}.", ""]
    lines += [f"- `{row['path']}`: {row['pixels']} {row['message']}" for row in kept]
    lines += ["", "Each file as the only one of a case, of a volume where it is MR or CT, else of a radiograph:", ""]
    lines += ["| outcome | files |", "|---|---:|"]
    lines += [f"| {code} | {count} |" for code, count in sorted(Counter(row["case"] for row in rows).items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
