"""The sample data is what its script makes, and holds the traps it promises."""

from __future__ import annotations

import csv
import gzip
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from scipy.stats import rankdata

SAMPLE_DATA = Path(__file__).resolve().parent.parent / "sample_data"
MR = SAMPLE_DATA / "mr-tumour"
XRAY = SAMPLE_DATA / "xray-fracture"
XRAY_HOSPITALS = {"st-olav": "dcm", "north-bay": "dcm", "lakeside": "png"}
# Uncompressed, JPEG-LS with a table, RLE, the file that breaks off, PNG, a row without an image.
XRAY_REMADE = ("st-olav/p001", "north-bay/p001", "north-bay/p002", "north-bay/p031", "lakeside/p001", "lakeside/p044")
# One of each kind: uncompressed and turned, the missing slice, RLE, JPEG-LS, NIfTI, without a label.
REMADE = ("st-olav/p002", "st-olav/p009", "north-bay/p002", "north-bay/p003", "lakeside/p001", "lakeside/p005")


TABLES = [f"table-{kind}/{hospital}" for kind in ("heart", "survival") for hospital in XRAY_HOSPITALS]


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cases = [*(f"mr-tumour/{case}" for case in REMADE), *(f"xray-fracture/{case}" for case in XRAY_REMADE)]
    return made_again(tmp_path_factory.mktemp("sample_data"), cases)


@pytest.fixture(scope="module")
def tables_remade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_again(tmp_path_factory.mktemp("sample_tables"), TABLES)


def made_again(out: Path, cases: list[str]) -> Path:
    only = [word for case in cases for word in ("--only", case)]
    script = SAMPLE_DATA / "make_sample_data.py"
    subprocess.run([sys.executable, str(script), "--out", str(out), *only], check=True, timeout=120)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("case", REMADE)
def test_the_script_makes_the_committed_bytes(remade: Path, case: str) -> None:
    hospital, name = case.split("/")
    remade = remade / "mr-tumour"
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


# The radiographs.


def rows_of(hospital: str) -> list[dict[str, str]]:
    with (XRAY / hospital / "labels.csv").open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


@pytest.mark.slow
@pytest.mark.parametrize("case", XRAY_REMADE)
def test_the_script_makes_the_committed_radiographs(remade: Path, case: str) -> None:
    hospital, name = case.split("/")
    ours, theirs = remade / "xray-fracture" / hospital, XRAY / hospital
    made = {path.name for path in ours.glob(f"images/{name}*")}
    assert made == {path.name for path in theirs.glob(f"images/{name}*")}
    assert bool(made) == (case != "lakeside/p044")
    for path in made:
        if path.endswith(".png"):  # not every zlib packs alike (zlib-ng); the picture is the same
            pictures = [Image.open(folder / "images" / path) for folder in (ours, theirs)]
            assert pictures[0].info == pictures[1].info == {}  # no time, no software
            np.testing.assert_array_equal(*map(np.asarray, pictures))
        else:
            assert (ours / "images" / path).read_bytes() == (theirs / "images" / path).read_bytes()
    for table in ("labels.csv", "boxes.csv"):
        assert (ours / table).read_bytes() == (theirs / table).read_bytes()


def test_radiographs_and_their_tables_agree_but_for_the_stated_faults() -> None:
    for hospital, suffix in XRAY_HOSPITALS.items():
        files = {f"images/{path.name}" for path in (XRAY / hospital / "images").iterdir()}
        rows = rows_of(hospital)
        named = [row["path"] for row in rows]
        assert len(named) == len(set(named))
        assert {Path(name).suffix for name in files} == {f".{suffix}"}
        faulty = hospital == "lakeside"
        assert files - set(named) == ({"images/p017a.png"} if faulty else set())
        assert set(named) - files == ({"images/p044a.png"} if faulty else set())
        assert list(rows[0]) == ["path", "label", "patient", "age", "sex", "view"]
        assert len({row["patient"] for row in rows}) >= 60
        assert {row["label"] for row in rows} == {"0", "1"}
    shares = [np.mean([int(row["label"]) for row in rows_of(hospital)]) for hospital in XRAY_HOSPITALS]
    assert shares[1] < shares[0] < shares[2]


def test_some_patients_have_two_radiographs_and_not_always_one_label() -> None:
    for hospital in XRAY_HOSPITALS:
        labels: dict[str, list[str]] = {}
        for row in rows_of(hospital):
            labels.setdefault(row["patient"], []).append(row["label"])
        pairs = [pair for pair in labels.values() if len(pair) == 2]
        assert len(pairs) >= 20
        assert 5 <= sum(len(set(pair)) == 2 for pair in pairs) < len(pairs)


def test_boxes_agree_with_labels_and_lie_on_the_film() -> None:
    for hospital in XRAY_HOSPITALS:
        boxed: dict[str, list[tuple[int, ...]]] = {}
        with (XRAY / hospital / "boxes.csv").open(newline="", encoding="utf-8") as table:
            for row in csv.DictReader(table):
                cells = [row[name] for name in ("x", "y", "width", "height", "label")]
                boxed.setdefault(row["path"], []).extend([tuple(map(int, cells))] if any(cells) else [])
        labelled = {row["path"]: row["label"] for row in rows_of(hospital)}
        assert {path: str(int(bool(found))) for path, found in boxed.items()} == labelled
        assert sum(len(found) > 1 for found in boxed.values()) >= 10
        for path in sorted(labelled)[::10]:
            if labelled[path] == "1" and path != "images/p031a.dcm":
                rows, columns = grey_of(XRAY / hospital / path).shape
                for x, y, width, height, label in boxed[path]:
                    assert 0 <= x < x + width <= columns
                    assert 0 <= y < y + height <= rows
                    assert label == 1
                    assert width * height < 0.15 * rows * columns


def test_every_pixel_of_a_cut_lies_in_a_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cut through the bone, found by the phantom's own arithmetic at every pixel, in all poses of a limb."""
    monkeypatch.syspath_prepend(str(SAMPLE_DATA))
    import xray_files  # noqa: PLC0415 - the scripts are no package
    import xray_phantom  # noqa: PLC0415
    from xray_hospitals import HOSPITALS, exams_of  # noqa: PLC0415
    from xray_patients import draw  # noqa: PLC0415

    checked = 0
    for hospital in HOSPITALS:
        for exam in exams_of(hospital, 2026)[::4]:
            limb, pose, (rows, columns), _ = draw(hospital, exam, 2026)
            film = hospital.film
            steps = [(np.arange(n) + 0.5 - n / 2) * mm for n, mm in zip((rows, columns), film.spacing, strict=True)]
            down, right = np.meshgrid(*steps, indexing="ij")
            v = np.cos(pose.turn) * down + np.sin(pose.turn) * right + pose.v
            u = pose.mirror * (np.cos(pose.turn) * right - np.sin(pose.turn) * down) + pose.u
            boxes = xray_files.boxes_of(hospital, exam, 2026)
            assert bool(boxes) == bool(exam.label)
            for broken in limb.breaks:
                bone = limb.bones[broken.bone]
                inside = np.abs(u - xray_phantom.middle(bone, v)) < xray_phantom.half_width(bone, v)
                cut = inside & (np.abs(xray_phantom._cut(bone, broken, v, u)) < 0.5)
                y, x = np.nonzero(cut)
                boxed = [(x >= x0) & (x < x1) & (y >= y0) & (y < y1) for x0, y0, x1, y1 in boxes]
                assert np.any(boxed, axis=0).all(), (hospital.name, exam.case)
                checked += len(y)
    assert checked > 500


def test_the_radiographs_are_small() -> None:
    assert sum(path.stat().st_size for path in XRAY.rglob("*") if path.is_file()) < 5_000_000
    assert sum(path.stat().st_size for path in SAMPLE_DATA.rglob("*") if path.suffix != ".pyc") < 12_000_000


@pytest.mark.filterwarnings("ignore:End of file reached")  # of the file that breaks off
def test_radiographs_carry_the_tags_that_readers_get_wrong() -> None:
    for row in rows_of("st-olav"):
        ds = pydicom.dcmread(XRAY / "st-olav" / row["path"])
        assert (ds.Modality, ds.PhotometricInterpretation) == ("DX", "MONOCHROME2")
        assert "PixelSpacing" in ds
        assert "WindowCenter" in ds
        assert ds.pixel_array.max() < 4096
    syntaxes, tables, broken = set(), 0, []
    for row in rows_of("north-bay"):
        ds = pydicom.dcmread(XRAY / "north-bay" / row["path"], stop_before_pixels=True)
        assert (ds.Modality, ds.PhotometricInterpretation) == ("CR", "MONOCHROME1")
        assert "PixelSpacing" not in ds
        assert ds.ImagerPixelSpacing[0] != ds.ImagerPixelSpacing[1]
        syntaxes.add(ds.file_meta.TransferSyntaxUID.name)
        tables += "VOILUTSequence" in ds
        try:
            pixels = pydicom.dcmread(XRAY / "north-bay" / row["path"]).pixel_array
        except (AttributeError, ValueError, RuntimeError, EOFError):
            broken.append(row["path"])
            continue
        assert np.median(pixels[40:70, 25:50]) < np.median(pixels[:, :3])  # bone is dark as stored
    assert syntaxes == {"RLE Lossless", "JPEG-LS Lossless Image Compression"}
    assert 20 < tables < 60
    assert broken == ["images/p031a.dcm"]
    sizes = {Image.open(path).size for path in (XRAY / "lakeside/images").iterdir()}
    assert {width > height for width, height in sizes} == {True, False}


def test_radiographs_name_nobody() -> None:
    instances = []
    for hospital in ("st-olav", "north-bay"):
        for row in rows_of(hospital):
            ds = pydicom.dcmread(XRAY / hospital / row["path"], stop_before_pixels=True)
            assert ds.PatientID == row["patient"]
            assert re.fullmatch(rf"{hospital.upper()}-7\d\d\d", row["patient"])
            assert ds.PatientName == f"Phantom^{row['patient']}"
            assert (int(ds.PatientAge[:3]), ds.PatientSex, ds.ViewPosition) == (
                int(row["age"]), row["sex"], row["view"],
            )  # fmt: skip
            assert not ds.PatientBirthDate
            assert ds.SOPInstanceUID.startswith("2.25.")
            assert ds.SOPInstanceUID.is_valid
            instances.append(ds.SOPInstanceUID)
    assert len(instances) == len(set(instances))


def grey_of(path: Path) -> np.ndarray:
    """As shown: bone bright."""
    if path.suffix == ".png":
        return np.asarray(Image.open(path)) / 255
    ds = pydicom.dcmread(path)
    grey = ds.pixel_array / 4095
    return 1 - grey if ds.PhotometricInterpretation == "MONOCHROME1" else grey


@pytest.mark.slow
def test_no_simple_number_tells_a_fracture() -> None:
    numbers, labels = [], []
    for hospital in XRAY_HOSPITALS:
        for row in rows_of(hospital):
            if row["path"] in ("images/p031a.dcm", "images/p044a.png"):
                continue
            grey = grey_of(XRAY / hospital / row["path"])
            labels.append(int(row["label"]))
            shown = (grey - grey.mean()) / grey.std()
            numbers.append([
                number
                for image, cuts in ((grey, np.arange(0.05, 1, 0.1)), (shown, np.arange(-1.5, 2.5, 0.25)))
                for number in (
                    image.mean(), image.std(), image.max(), image.min(),
                    *np.percentile(image, [5, 10, 25, 50, 75, 90, 95]),
                    *((image > cut).mean() for cut in cuts),
                )
            ])  # fmt: skip
    truth = np.array(labels, dtype=bool)
    positives, negatives = truth.sum(), (~truth).sum()
    for number in np.array(numbers).T:
        above = rankdata(number)[truth].sum() - positives * (positives + 1) / 2
        auroc = above / (positives * negatives)
        assert max(auroc, 1 - auroc) < 0.65


# The tables.


@pytest.mark.parametrize("table", TABLES)
def test_the_script_makes_the_committed_tables(tables_remade: Path, table: str) -> None:
    assert (tables_remade / table / "patients.csv").read_bytes() == (SAMPLE_DATA / table / "patients.csv").read_bytes()


def cells_of(table: str) -> list[dict[str, str]]:
    text = (SAMPLE_DATA / table / "patients.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter=";" if "north-bay" in table else ","))


def test_the_tables_are_small_and_name_nobody() -> None:
    assert sum(path.stat().st_size for path in SAMPLE_DATA.glob("table-*/*/*")) < 50_000
    for table in TABLES:
        hospital = table.partition("/")[2].upper()
        names = [row["patient"] for row in cells_of(table)]
        assert names == [f"{hospital}-{8001 + place}" for place in range(len(names))]


def test_hospitals_with_tables_differ() -> None:
    heart, survival = ([cells_of(table) for table in TABLES if kind in table] for kind in ("heart", "survival"))
    assert [len(rows) for rows in heart] == [len(rows) for rows in survival] == [90, 70, 60]
    ill = [np.mean([row["num"] > "0" for row in rows]) for rows in heart]
    assert ill[1] < 0.5 < ill[0] < ill[2] < 0.8
    gaps = [{cell for row in rows for cell in row.values() if not cell or not cell[0].isalnum()} for rows in heart]
    assert gaps == [{"?", ""}, {""}, set()]
    assert any(row["trestbps"] == "NA" for row in heart[2])
    died = [sum(row["E"] == "1" for row in rows) for rows in survival]
    assert died[0] > died[1] > died[2] >= 8
