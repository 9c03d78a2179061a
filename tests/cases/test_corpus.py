"""Real files: pydicom's own test files through the reader (benchmarks/dicom_corpus.py), and damaged ones."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmed.cases import dicom, geometry

TOP = Path(__file__).parents[2]
CORPUS = TOP.parent / "shared" / "data" / "dicom_corpus"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the files in ../shared/data are not on this machine")


@pytest.fixture(scope="module")
def corpus() -> Any:
    spec = importlib.util.spec_from_file_location("dicom_corpus", TOP / "benchmarks" / "dicom_corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(corpus: Any, rows: list[dict[str, str]]) -> set[str]:
    """The syntaxes of which a file was decoded."""
    found = [corpus.outcome(CORPUS, row) for row in rows]
    assert [row for row in found if {row["pixels"], row["case"]} & {corpus.CRASHED, corpus.DIFFERENT}] == []
    refused = [row["path"] for row in found if row["pixels"] != corpus.EQUAL and row["pydicom"] == "ok"]
    assert refused == [], "pydicom decodes them with the same decoders"
    return {row["syntax"] for row in found if row["pixels"] == corpus.EQUAL}


def test_one_file_of_every_syntax_and_kind(corpus: Any) -> None:
    """The smallest of each."""
    smallest: dict[tuple[str, ...], dict[str, str]] = {}
    for row in sorted(corpus.index(), key=lambda row: int(row["bytes"])):
        smallest.setdefault((row["TransferSyntax"], row["pixels"][:12]), row)
    assert len(smallest) >= 20
    decoded = check(corpus, list(smallest.values()))
    assert len(decoded) >= 13
    assert {"RLE Lossless", "JPEG Baseline (Process 1)", "Explicit VR Big Endian"} <= decoded


def test_a_real_enhanced_ct_equals_simpleitk() -> None:
    sitk = pytest.importorskip("SimpleITK")
    name = "pydicom-data/eCT_Supplemental.dcm"
    image = sitk.ReadImage(str(CORPUS / name))
    array, affine = dicom.read(CORPUS, [name], "case-1")
    same, distance = geometry.onto(array, affine, image.GetSize(), itk_affine(image), 0.1)
    assert same is not None
    assert distance < 1e-6
    np.testing.assert_array_equal(same, sitk.GetArrayFromImage(image).transpose(2, 1, 0))


def itk_affine(image: Any) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return geometry.lps_to_ras(affine)


@pytest.mark.slow
def test_all_files(corpus: Any) -> None:
    rows = corpus.index()
    assert len(rows) == 276
    assert len(check(corpus, rows)) >= 14


@pytest.mark.slow
def test_mutations_of_the_files(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/dicom_mutations.py", "--count", "300", "--work", str(tmp_path)]
    done = subprocess.run([*command, "--results", str(tmp_path)], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "dicom_mutations.json").read_text())
    assert found["mutations"] == 300
    assert found["failures"] == []
    assert found["reads"]["equal or other pixels"] > 20, "most mutations must reach the pixels"
