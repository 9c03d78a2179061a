"""Damaged and odd segmentations give a code, never a traceback; and so does whatever else a real corpus holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.cases import canvas, dicomseg, geometry

from . import phantoms, segs

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "dicom_corpus"


@given(at=st.integers(0, 5000), value=st.integers(0, 255), keep=st.integers(0, 5000))
def test_damage_is_a_code_and_never_a_traceback(tmp_path: Path, at: int, value: int, keep: int) -> None:
    image = phantoms.slices()
    segs.segmentation(segs.frames(segs.two(), image), image[0]).save_as(tmp_path / "mask.dcm", enforce_file_format=True)
    damaged = bytearray((tmp_path / "mask.dcm").read_bytes())
    damaged[at % len(damaged)] = value
    (tmp_path / "mask.dcm").write_bytes(damaged[: len(damaged) - (keep % len(damaged) if keep % 2 else 0)])
    grid = canvas.Grid(phantoms.SHAPE, phantoms.expected_affine(), image[0].FrameOfReferenceUID)
    data = phantoms.recipe(labels={1: "tumour", 2: "edema"}).data
    mask, code = phantoms.attempt(lambda: dicomseg.read(tmp_path, "mask.dcm", grid, data, {}, "case-1 label"))
    assert code.startswith("FM-DAT-") or mask[0].max() <= 2


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the DICOM corpus in ../shared/data is not on this machine")
def test_every_file_of_a_real_corpus_is_read_or_refused_with_a_code() -> None:
    """Three slices of a liver in eleven encodings, and some hundred files that are no segmentation."""
    first = np.array([-235.2, -226.8, -128.69])
    read_as: dict[str, list[int]] = {}
    refused: dict[str, str] = {}
    for path in sorted(path for path in CORPUS.rglob("*") if path.is_file()):
        side = 510 if "nonbyte" in path.name else 512
        affine = np.diag([0.810547, 0.810547, 1.0, 1.0])
        affine[:3, 3] = first
        grid = canvas.Grid((side, side, 3), geometry.lps_to_ras(affine), None)
        name = str(path.relative_to(CORPUS))
        mask, code = phantoms.attempt(
            lambda name=name, grid=grid: dicomseg.read(CORPUS, name, grid, phantoms.recipe().data, {}, "case-1 label")
        )
        if code:
            refused[path.stem] = code
        else:
            read_as[path.stem] = mask[0].sum(axis=(0, 1)).tolist()
    names = ("liver", "liver_expb", "liver_j2k", "liver_nonbyte_aligned", "liver_nonbyte_aligned_j2k")
    assert read_as == {name: [36233, 35645, 35220] for name in names}
    livers = {name: code for name, code in refused.items() if name.startswith("liver")}
    no_decoder = ("liver_deflate", "liver_rle", "liver_nonbyte_aligned_deflate", "liver_nonbyte_aligned_rle")
    one_frame = ("liver_1frame", "liver_expb_1frame")
    assert livers == dict.fromkeys(no_decoder, "FM-DAT-34") | dict.fromkeys(one_frame, "FM-DAT-33")
    assert set(refused.values()) <= {"FM-DAT-33", "FM-DAT-34", "FM-DAT-54"}
