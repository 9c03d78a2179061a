"""Small recipes that no benchmark trains, each trained once on cases made from the sample hospitals' MR volumes."""

import csv
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom.uid import CTImageStorage

from fedmed import pooling
from fedmed import recipe as recipes
from fedmed.cases import datalist, find, layout, reading
from fedmed.cases import fingerprint as measuring
from fedmed.reporting import discrimination
from fedmed.settings import DataFolder
from fedmed.training import fit, networks, scoring

TOP = Path(__file__).parents[2]
MR = TOP / "sample_data" / "mr-tumour"
CPU = torch.device("cpu")
KEY = b"a key of the tests' own".ljust(32)
CT_SCANNER = {
    "SOPClassUID": CTImageStorage, "Modality": "CT", "SeriesDescription": "head", "counts_down": True,
    "RescaleSlope": "1", "RescaleIntercept": "-1024", "RescaleType": "HU",
}  # fmt: skip


@pytest.fixture(scope="module")
def writers():
    """The writers of the sample data."""
    sys.path.insert(0, str(TOP / "sample_data"))
    try:
        yield import_module("dicom_series").write_series, import_module("mr_hospitals").write_nifti
    finally:
        sys.path.remove(str(TOP / "sample_data"))


def load(name):
    return recipes.load(TOP / "recipes" / name)


def found_in(folder, recipe):
    found = layout.detect_layout(folder, recipe.data.channels, task=recipe.task)
    return find.find(DataFolder(root=str(folder), layout=found), recipe, pseudonym_key=KEY, label_map={})


def volumes(hospital):
    """Every usable case of a sample hospital: a name, grey values, affine and mask."""
    recipe = load("tumour-segmentation-mr.small.yaml")
    for number, case in enumerate(found_in(MR / hospital, recipe).cases):
        volume = reading.read(case, MR / hospital, recipe.data, {})
        yield f"p{number:03d}", volume.image[0], volume.affine, volume.label


def trained(recipe, cases, root, steps, numbers=None):
    start, _ = networks.initial_params(recipe)
    fitted = fit.fit(
        recipe, start, datalist.cases(cases, "training"), root=root, label_map={}, site="a", round=0, rounds=1,
        attempt=1, num_steps=steps, device=CPU, preprocessing=numbers,
    )  # fmt: skip
    return start, fitted.params


def hounsfield(image):
    """Air at -1000, the brightest tissue at 400, and the order of all others as it was."""
    top = np.percentile(image, 99.5)
    return np.rint(np.clip(image / top, 0, 1) * 1400 - 1000).astype(np.int16)


@pytest.mark.slow
@pytest.mark.parametrize(("hospital", "as_dicom"), [("st-olav", True), ("lakeside", False)])
def test_tumours_in_ct(tmp_path, writers, hospital, as_dicom):
    write_series, write_nifti = writers
    for name, image, affine, mask in volumes(hospital):
        levels = hounsfield(image)
        if as_dicom:
            patient = {"id": name, "uid": name, "sex": "F", "age": "050Y"}
            names = list(range(1, levels.shape[2] + 1))
            write_series(tmp_path / "dicom" / name, levels + 1024, affine, patient, CT_SCANNER, "plain", names)
        else:
            write_nifti(tmp_path / "images" / f"{name}.nii.gz", levels, affine)
        write_nifti(tmp_path / ("masks" if as_dicom else "labels") / f"{name}.nii.gz", mask, affine)

    recipe = load("tumour-segmentation-ct.small.yaml")
    cases = datalist.build(found_in(tmp_path, recipe), recipe)
    training, validation = (datalist.cases(cases, fold) for fold in ("training", "validation"))
    lowest = reading.read(training[0], tmp_path, recipe.data, {}).image.min()
    assert lowest == -1000, "the rescale intercept is applied"
    numbers = pooling.fitted(measuring.measure(training, recipe, tmp_path, {}), recipe)
    start, params = trained(recipe, cases, tmp_path, 60, numbers)

    def dice(weights):
        scored = scoring.evaluate(
            recipe, weights, validation, root=tmp_path, label_map={}, device=CPU, preprocessing=numbers
        )
        return np.mean([row.value for each in scored for row in each.rows if row.metric == "dice"])

    before, after = dice(start), dice(params)
    print(f"{hospital} as CT: dice {before:.3f} before, {after:.3f} behind 60 steps")
    assert after > 0.25 > 2 * before


def slabs(image, mask, number):
    """Of an odd patient the slices around the tumour, of an even one as many without any of it."""
    with_tumour = mask.any(axis=(0, 1))
    first, last = np.flatnonzero(with_tumour)[[0, -1]]
    above = mask.shape[2] - 1 - last
    if number % 2:
        middle = (first + last) // 2
        start = min(max(middle - 3, 0), mask.shape[2] - 8)
        return image[:, :, start : start + 8], start, 1
    if max(above, first) < 8:
        return None
    start = last + 1 if above >= first else first - 8
    return image[:, :, start : start + 8], start, 0


@pytest.mark.slow
def test_tumours_by_slices_of_mr(tmp_path, writers):
    _, write_nifti = writers
    rows: list[dict[str, object]] = []
    for number, (name, image, affine, mask) in enumerate(volumes("lakeside")):
        slab = slabs(image, mask, number)
        if slab is None:
            continue
        part, start, label = slab
        moved = affine.copy()
        moved[:3, 3] += affine[:3, 2] * start
        write_nifti(tmp_path / "images" / f"{name}.nii.gz", part.astype(np.int16), moved)
        rows.append({"path": f"images/{name}.nii.gz", "label": label, "patient": name})
    with (tmp_path / "labels.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, ["path", "label", "patient"])
        writer.writeheader()
        writer.writerows(rows)

    recipe = load("tumour-classification-mr.small.yaml")
    cases = datalist.build(found_in(tmp_path, recipe), recipe)
    assert len({row["label"] for row in rows}) == 2
    begin, params = trained(recipe, cases, tmp_path, 100)

    def auroc(weights):
        everyone = [case for fold in ("training", "validation", "testing") for case in datalist.cases(cases, fold)]
        rated = scoring.evaluate(recipe, weights, everyone, root=tmp_path, label_map={}, device=CPU)
        assert len(rated) == len(rows), "one answer a patient"
        truth = np.array([each.truth == 1 for each in rated])
        return discrimination.auroc(truth, np.array([each.probabilities[1] for each in rated]))

    before, after = auroc(begin), auroc(params)
    print(f"slices of MR: {len(rows)} patients, auroc {before:.3f} before, {after:.3f} behind 100 steps")
    assert after > max(0.75, before + 0.2)
