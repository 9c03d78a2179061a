"""The sample data is what its script makes, and holds the traps it promises."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

SAMPLE_DATA = Path(__file__).resolve().parent.parent / "sample_data"
MR = SAMPLE_DATA / "mr-tumour"
# One of each kind: uncompressed and turned, the missing slice, RLE, JPEG-LS, NIfTI, without a label.
REMADE = ("st-olav/p002", "st-olav/p009", "north-bay/p002", "north-bay/p003", "lakeside/p001", "lakeside/p005")


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample_data")
    only = [word for case in REMADE for word in ("--only", f"mr-tumour/{case}")]
    script = SAMPLE_DATA / "make_sample_data.py"
    subprocess.run([sys.executable, str(script), "--out", str(out), *only], check=True, timeout=120)
    return out / "mr-tumour"


@pytest.mark.parametrize("case", REMADE)
def test_the_script_makes_the_committed_bytes(remade: Path, case: str) -> None:
    hospital, name = case.split("/")
    made = sorted(p.relative_to(remade) for p in (remade / hospital).rglob("*") if p.is_file() and name in str(p))
    kept = sorted(p.relative_to(MR) for p in (MR / hospital).rglob("*") if p.is_file() and name in str(p))
    assert made == kept
    for path in made:
        ours, theirs = (remade / path).read_bytes(), (MR / path).read_bytes()
        if path.suffix == ".gz":  # not every zlib packs alike (zlib-ng); what is packed is the same
            assert ours[:8] == theirs[:8] == b"\x1f\x8b\x08\0\0\0\0\0"  # no name, no time
            ours, theirs = gzip.decompress(ours), gzip.decompress(theirs)
        assert ours == theirs, path


def test_counts_and_size() -> None:
    assert len(list((MR / "st-olav/dicom").iterdir())) == 17
    assert len(list((MR / "north-bay/dicom").iterdir())) == 16
    assert len(list((MR / "lakeside/images").iterdir())) == 17
    assert sum(path.stat().st_size for path in MR.rglob("*") if path.is_file()) < 5_000_000


def test_one_case_has_no_label() -> None:
    images, labels = ({p.name for p in (MR / "lakeside" / kind).iterdir()} for kind in ("images", "labels"))
    assert images - labels == {"p005.nii.gz"}


@pytest.mark.parametrize("hospital", ["st-olav", "north-bay"])
def test_dicom_and_masks_share_a_grid_and_one_series_misses_a_slice(hospital: str) -> None:
    uneven = []
    for folder in sorted((MR / hospital / "dicom").iterdir()):
        slices = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())]
        row, column = np.array(slices[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
        along = [float(np.cross(row, column) @ np.array(ds.ImagePositionPatient, dtype=float)) for ds in slices]
        order = np.argsort(along)
        assert list(order) != sorted(order)  # a file's name does not tell its place
        if np.ptp(np.diff(np.array(along)[order])) > 0.01:
            uneven.append(folder.name)
            continue
        mask = nib.load(MR / hospital / "masks" / f"{folder.name}.nii.gz")
        assert mask.shape == (slices[0].Columns, slices[0].Rows, len(slices))
        lps = np.diag([-1, -1, 1, 1]) @ mask.affine
        for k in (0, len(slices) - 1):
            expected = np.array(slices[order[k]].ImagePositionPatient, dtype=float)
            np.testing.assert_allclose((lps @ [0, 0, k, 1])[:3], expected, atol=1e-3)
        np.testing.assert_allclose(lps[:3, 0] / slices[0].PixelSpacing[1], row, atol=1e-5)
        np.testing.assert_allclose(lps[:3, 1] / slices[0].PixelSpacing[0], column, atol=1e-5)
    assert uneven == (["p009"] if hospital == "st-olav" else [])


def test_uids_are_unique_and_derived() -> None:
    series, instances = set(), []
    for path in MR.rglob("*.dcm"):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        assert ds.SOPInstanceUID.startswith("2.25.")
        assert ds.SOPInstanceUID.is_valid
        assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
        series.add(ds.SeriesInstanceUID)
        instances.append(ds.SOPInstanceUID)
    assert len(series) == 33
    assert len(instances) == len(set(instances)) == 17 * 24 - 1 + 16 * 22


def test_every_mask_has_a_tumour() -> None:
    for path in [*MR.glob("*/masks/*.nii.gz"), *MR.glob("*/labels/*.nii.gz")]:
        values = np.unique(np.asarray(nib.load(path).dataobj))
        assert values.tolist() == [0, 1], path
