"""What is read all the same, and told with a code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedmed.cases import dicom, find, oddities, pictures, series, stack
from fedmed.settings import DataFolder, Layout

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset


def of_series(root: Path, datasets: list[Dataset], **data: Any) -> list[tuple[str, str]]:
    names, rule = phantoms.save(root, datasets), phantoms.recipe(**data).data
    slices, _ = stack.stacked(dicom.slices(root, names, "case-1 T1", rule), "case-1 T1")
    return oddities.of_series(slices, dicom.read(root, names, "case-1 T1", rule)[0], "case-1 T1")


def of_film(root: Path, one: Dataset) -> list[tuple[str, str]]:
    films.save(root / "a.dcm", one)
    pictures.look("case-1", {"XR": ("a.dcm",)}, root, films.recipe().data)  # it can be read
    (header,) = series.read_header(root, "a.dcm", "case-1 XR")
    return oddities.of_radiograph(header, "case-1 XR")


def test_a_plain_series_and_a_plain_film_have_none(tmp_path: Path) -> None:
    assert of_series(tmp_path / "a", phantoms.slices()) == []
    assert of_film(tmp_path / "b", films.dataset()) == []
    datasets = phantoms.slices()
    for one in datasets:
        one.SpacingBetweenSlices, one.BurnedInAnnotation = "-2.5", "NO"  # some scanners write the direction as a sign
    assert of_series(tmp_path / "c", datasets) == []


def test_positions_win_over_spacing_between_slices(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    for one in datasets[:4]:
        one.SpacingBetweenSlices = "3.3"
    ((code, message),) = of_series(tmp_path, datasets)
    assert code == "FM-DAT-59"
    assert message == (
        "case-1 T1: SpacingBetweenSlices is 3.30 mm in 4 of 10 slices; "
        "by their positions, which count, they lie 2.50 mm apart"
    )


def test_burned_in_text_and_overlays(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    datasets[1].BurnedInAnnotation = datasets[2].BurnedInAnnotation = "YES"
    datasets[3].add_new(0x60020010, "US", 6)
    assert of_series(tmp_path, datasets) == [
        ("FM-DAT-60", "case-1 T1: BurnedInAnnotation is YES in 2 of 10 images"),
        ("FM-DAT-61", "case-1 T1: 1 of 10 images have overlays, which are not read"),
    ]
    one = films.dataset()
    one.BurnedInAnnotation = "YES "
    one.add_new(0x60000010, "US", films.ROWS)
    assert [code for code, _ in of_film(tmp_path, one)] == ["FM-DAT-60", "FM-DAT-61"]


@pytest.mark.parametrize(
    ("intercept", "border", "codes"),
    [
        (-1024, 0, []),  # air
        (0, 0, ["FM-DAT-62"]),  # the intercept was lost
        (-1024, 1100, []),  # the patient fills the image, and there is air in the bowel
        (0, 1100, ["FM-DAT-62"]),
    ],
)
def test_a_ct_without_air(tmp_path: Path, intercept: int, border: int, codes: list[str]) -> None:
    array = np.full((12, 10, 8), 1060, dtype=np.int16)
    array[4:6] = 30
    array[[0, -1]] = array[:, [0, -1]] = border
    datasets = phantoms.slices(array, modality="CT")
    for one in datasets:
        one.RescaleSlope, one.RescaleIntercept = "1", str(intercept)
    found = of_series(tmp_path, datasets, modality="CT")
    assert [code for code, _ in found] == codes
    assert all(f"median of {border + intercept}" in message for _, message in found)


def test_an_mr_needs_no_air(tmp_path: Path) -> None:
    assert of_series(tmp_path, phantoms.slices(phantoms.ramp() + 500)) == []


@pytest.mark.parametrize(
    ("spacing", "detector", "words"),
    [
        (None, None, None),
        ([0.15, 0.15], None, None),
        ([0.15, 0.15], [0.15, 0.15], None),
        ([0.1, 0.1], [0.18, 0.18], None),  # corrected for a magnification of 1.8
        (None, [0.15, 0.15], "PixelSpacing is missing"),
        ([0.5, 0.5], [0.15, 0.15], "0.3 times PixelSpacing"),
        ([0.01, 0.01], [0.15, 0.15], "15 times PixelSpacing"),
        ([0, 0], [0.15, 0.15], None),
    ],
)
def test_spacing_of_a_film(tmp_path: Path, spacing: Any, detector: Any, words: str | None) -> None:
    one = films.dataset()
    if spacing:
        one.PixelSpacing = spacing
    if detector:
        one.ImagerPixelSpacing = detector
    found = of_film(tmp_path, one)
    assert [code for code, _ in found] == (["FM-DAT-63"] if words else [])
    assert all(words in message for _, message in found if words)


def test_the_data_check_tells_them_and_the_recipe_weighs_them(tmp_path: Path) -> None:
    datasets = phantoms.slices()
    for one in datasets:
        one.SpacingBetweenSlices, one.BurnedInAnnotation = "3.3", "YES"
    phantoms.save(tmp_path / "a", datasets)
    folder = DataFolder(root=str(tmp_path), layout=Layout(image={"T1": "{case}/"}))

    def status(**severities: str) -> list[tuple[str, set[str]]]:
        recipe = phantoms.recipe(max_excluded=1, severities={"FM-CHK-07": "ignore", **severities})
        found = find.survey(folder, recipe, pseudonym_key=b"k" * 32, label_map={}).studies
        return [(one.status, {each.code for each in one.judgements if not each.ignored}) for one in found]

    assert status() == [("warn", {"FM-DAT-59", "FM-DAT-60"})]
    assert status(**{"FM-DAT-59": "exclude"})[0][0] == "excluded"
    assert status(**{"FM-DAT-59": "ignore", "FM-DAT-60": "ignore"})[0][0] == "ok"


def test_of_a_film_too(tmp_path: Path) -> None:
    one = films.dataset()
    one.ImagerPixelSpacing = [0.15, 0.15]
    films.save(tmp_path / "a.dcm", one)
    folder = DataFolder(root=str(tmp_path), layout=Layout(image={"XR": "{case}.dcm"}))
    (study,) = find.survey(folder, films.recipe(), pseudonym_key=b"k" * 32, label_map={}).studies
    assert "FM-DAT-63" in {each.code for each in study.judgements}


def test_what_is_no_dicom_has_no_oddities() -> None:
    assert oddities.of_series((), phantoms.ramp().astype(np.float32), "case-1 T1") == []


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")  # that is what it is about
def test_free_text_of_the_header_is_no_code(tmp_path: Path) -> None:
    one = films.dataset()
    one.ImageLaterality, one.ViewPosition, one.BodyPartExamined = "l", "LATERAL", "wrist "
    films.save(tmp_path / "a.dcm", one)
    (header,) = series.read_header(tmp_path, "a.dcm", "case-1")
    assert header.covariates == {"laterality": "L", "view": "LAT", "body_part": "WRIST"}
    one.ImageLaterality, one.ViewPosition, one.BodyPartExamined = "Nansen", "PA Nansen", "Nansen's wrist"
    one.Laterality = "R"
    films.save(tmp_path / "a.dcm", one)
    (header,) = series.read_header(tmp_path, "a.dcm", "case-1")
    assert header.covariates == {"laterality": "R"}
