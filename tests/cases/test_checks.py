"""Doubts about cases that can be used: each check on written-out numbers, and what severities make of them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fedmed import recipe as recipes
from fedmed import severities
from fedmed.cases import checks, find
from fedmed.cases.case import Case, Geometry
from fedmed.cases.examined import Examined, Facts
from fedmed.cases.identifiers import Trace
from fedmed.errors import CODES, FedmedError
from fedmed.settings import DataFolder, Layout
from tests import boxed
from tests.coded import code_of

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32
MR = Layout(image={"T1": "images/{case}.nii"}, label="labels/{case}.nii")


def one(number: int, *, group: str = "", patient: str = "", spacing: Any = (1.0, 1.0, 3.0), **facts: Any) -> Examined:
    alias = f"case-{number:016x}"
    case = Case(alias, patient or f"patient-{number}", group, {}, 1, {}, Geometry((9, 9, 9), spacing, "LPS"))
    return Examined(alias, (), case, (), Facts(readable=True, labelled=True, images=str(number), **facts))


def codes(examined: list[Examined], recipe: recipes.Recipe) -> list[tuple[str, str]]:
    return [(alias[-1:], code) for alias, (code, _) in checks.across(examined, recipe)]


def test_a_class_that_never_occurs_here() -> None:
    recipe = films.recipe(labels={1: "fracture", 2: "implant"})
    found = list(checks.across([one(0, group="0"), one(1, group="fracture")], recipe))
    assert found == [("", ("FM-CHK-03", "class 2 (implant) occurs in none of 2 cases"))]
    assert checks.across([one(0, group="0"), one(1, group="fracture")], recipe, frozenset({2})) == []
    assert codes([one(0, group="0"), one(1, group="fracture"), one(2, group="implant")], recipe) == []


def test_inverted_images_of_one_class() -> None:
    def films_of(group: str, inverted: int) -> list[Examined]:
        return [
            one(number, group=group, polarity={"MONOCHROME1" if number < inverted else "MONOCHROME2": 1})
            for number in range(10)
        ]

    ((alias, (code, message)),) = [*checks.polarity([*films_of("0", 1), *films_of("fracture", 4)], films.recipe())]
    assert (alias, code, message) == ("", "FM-CHK-04", "MONOCHROME1 in 10% of 0, 40% of fracture")
    assert [*checks.polarity([*films_of("0", 2), *films_of("fracture", 4)], films.recipe())] == []
    assert [*checks.polarity(films_of("0", 5), films.recipe())] == []


def test_a_spacing_far_from_the_usual() -> None:
    usual = [one(number, spacing=(1.0, 1.0, 3.0)) for number in range(8)]
    ((alias, (code, message)),) = [*checks.odd_spacing([*usual, one(9, spacing=(1.0, 1.0, 6.0))], phantoms.recipe())]
    assert (alias[-1], code) == ("9", "FM-CHK-05")
    assert message == f"{alias}: 6 mm upward, usual is 3 mm"
    assert codes([*usual[:6], one(9, spacing=(1.0, 1.0, 6.0))], phantoms.recipe()) == [], "too few have a usual one"
    assert codes([*usual, one(9, spacing=(1.04, 1.0, 3.0))], phantoms.recipe()) == []
    unknown = [replace(each, case=replace(each.case, geometry=Geometry((9, 9, 1), (0, 0, 0), ""))) for each in usual]  # type: ignore[type-var]
    assert codes(unknown, films.recipe()) == []


def test_intensities_are_compared_in_ct_alone() -> None:
    cases = [one(number, low=-1000 + number, high=300) for number in range(8)] + [one(9, low=24, high=1324)]
    assert codes(cases, phantoms.recipe(modality="CT")) == [("9", "FM-CHK-10"), ("9", "FM-CHK-10")]
    assert codes(cases, phantoms.recipe()) == []


def test_radiographs_that_do_not_say_the_side() -> None:
    cases = [one(number, group="fracture", dicom=1, laterality=number, view=1) for number in range(2)]
    assert [*checks.coverage(cases, films.recipe())] == [
        ("", ("FM-CHK-06", "of 2 DICOM radiographs 1 say the side (Laterality), 2 the view (ViewPosition)"))
    ]
    assert [*checks.coverage(cases[1:], films.recipe())] == []
    assert [*checks.coverage(cases, phantoms.recipe())] == []
    assert [*checks.coverage([one(0)], films.recipe())] == [], "PNG files cannot say it"


def test_the_same_images_twice() -> None:
    same = [replace(one(number, patient=patient), facts=Facts(images="x")) for number, patient in enumerate("aab")]
    assert codes([same[0], same[1], one(3)], phantoms.recipe()) == [("0", "FM-CHK-08"), ("1", "FM-CHK-08")]
    assert codes(same, phantoms.recipe()) == [(alias, "FM-CHK-09") for alias in "012"]
    many = [replace(one(number, patient=str(number)), facts=Facts(images="x")) for number in range(100)]
    told = [message for _, (_, message) in checks.repeated(many, phantoms.recipe())]
    said = [re.sub(r"case-0*([0-9])", r"\1", message) for message in told]
    assert said[0] == "0: the very same images as 1, 2, 3, 4, 5 and 94 more"
    assert said[3] == "3: the very same images as 0, 1, 2, 4, 5 and 94 more"
    assert said[8] == "8: the very same images as 0, 1, 2, 3, 4 and 94 more"


def test_few_cases_of_a_class_in_a_fold() -> None:
    def cases(positives: int) -> list[Case]:
        found = [one(number, group="fracture" if number < positives else "0").case for number in range(20)]
        return [case for case in found if case]

    folds: Any = {"training": cases(0), "validation": cases(4), "testing": cases(5)}
    assert [*checks.of_folds(folds, films.recipe())] == [
        ("FM-CHK-02", "validation: 4 cases of fracture among 20, expected at least 5")
    ]
    assert [*checks.of_folds(folds, films.recipe(), frozenset({1}))] == []
    assert [*checks.of_folds(folds, phantoms.recipe())] == []


def test_the_group_of_an_image_with_boxes_counts_no_class_where_there_are_several() -> None:
    cases = [one(number, group="mark") for number in range(9)]
    folds: Any = {"training": [], "validation": [each.case for each in cases], "testing": []}
    several = boxed.recipe(data={"labels": {1: "mark", 2: "metal"}})
    assert [*checks.of_folds(folds, several)] == [*checks.absent_classes(cases, several)] == []
    single = boxed.recipe(data={"labels": {1: "metal"}})
    assert [code for code, _ in checks.of_folds(folds, single)] == ["FM-CHK-02"]
    assert [code for _, (code, _) in checks.absent_classes(cases, single)] == ["FM-CHK-03"]


def test_identifiers_are_told_of_all_cases_in_counts() -> None:
    broken = Examined("case-1", (), None, (), Facts(trace=Trace(files=3, private=2, keywords={"PatientName": 3})))
    assert [*checks.across([broken], phantoms.recipe())] == [
        ("", ("FM-IDN-01", "1 tags of the basic confidentiality profile hold a value in some file")),
        ("", ("FM-IDN-02", "2 of 3 files hold private tags")),
    ]


def niftis(root: Path) -> DataFolder:
    """Two patients with one image under two names each, and a third whose mask is missing."""
    for index in range(4):
        phantoms.write_nifti(root / f"images/{index}.nii", phantoms.ramp() + index // 2)
        phantoms.write_nifti(root / f"labels/{index}.nii", phantoms.mask())
    phantoms.write_nifti(root / "images/5.nii", phantoms.ramp())
    return DataFolder(root=str(root), layout=MR)


def judged(folder: DataFolder, **severities_: str) -> list[str]:
    said = {code.replace("_", "-"): severity for code, severity in severities_.items()}
    recipe = phantoms.recipe(max_excluded=1, severities=said)
    return sorted(each.status for each in find.survey(folder, recipe, pseudonym_key=KEY, label_map={}).studies)


def test_severities_give_the_status(tmp_path: Path) -> None:
    folder = niftis(tmp_path)
    assert judged(folder) == ["excluded", "warn", "warn", "warn", "warn"]
    assert judged(folder, FM_CHK_07="ignore") == ["excluded", "warn", "warn", "warn", "warn"]
    assert judged(folder, FM_CHK_07="ignore", FM_CHK_09="ignore") == ["excluded", "ok", "ok", "ok", "ok"]
    assert judged(folder, FM_CHK_09="exclude") == ["excluded"] * 5
    assert judged(folder, FM_CHK_09="error", FM_DAT_12="error") == ["error"] * 5


def test_what_is_ignored_is_counted(tmp_path: Path) -> None:
    recipe = phantoms.recipe(max_excluded=1, severities={"FM-CHK-09": "ignore", "FM-CHK-07": "ignore"})
    seen = find.survey(niftis(tmp_path), recipe, pseudonym_key=KEY, label_map={})
    assert seen.ignored == {"FM-CHK-09": 4, "FM-CHK-07": 4}


def test_partition_obeys_the_same_severities(tmp_path: Path) -> None:
    folder = niftis(tmp_path)

    def found(**said: str) -> find.Found:
        recipe = phantoms.recipe(max_excluded=1, severities={**said})
        return find.find(folder, recipe, pseudonym_key=KEY, label_map={})

    assert len(found().cases) == 4
    assert code_of(lambda: found(**{"FM-CHK-09": "exclude"})) == "FM-DAT-08"
    with pytest.raises(FedmedError) as caught:
        found(**{"FM-CHK-09": "error", "FM-DAT-12": "error"})
    assert (caught.value.code, caught.value.message) == (
        "FM-CHK-01",
        "errors by the recipe's severities: 4 x FM-CHK-09, 1 x FM-DAT-12",
    )
    assert "images/5.nii" in caught.value.local


@pytest.mark.parametrize(
    ("code", "may"),
    [
        ("FM-CHK-05", ("ignore", "warn", "exclude", "error")),
        ("FM-CHK-02", ("ignore", "warn", "error")),
        ("FM-IDN-01", ("ignore", "warn", "error")),
        ("FM-DAT-36", ("exclude", "error")),
        ("FM-DAT-68", ("ignore", "warn", "exclude", "error")),
        ("FM-DAT-43", ()),
        ("FM-CHK-01", ()),
        ("FM-RES-01", ()),
        ("FM-XYZ-99", ()),
    ],
)
def test_a_recipe_may_say(code: str, may: tuple[str, ...]) -> None:
    assert severities.allowed(code) == may
    for severity in ("ignore", "warn", "exclude", "error"):
        data = {**phantoms.recipe().model_dump(by_alias=True)}
        data["data"]["severities"] = {code: severity}
        assert (code_of(lambda: recipes.parse(data, "r")) == "ok") == (severity in may), severity  # noqa: B023


def test_every_doubt_is_a_code_and_warns_by_default() -> None:
    doubts = {*severities.DOUBTS, *severities.OF_THE_FOLDER}
    assert doubts <= set(CODES)
    assert {code for code in CODES if code.startswith("FM-CHK")} - {"FM-CHK-01"} <= doubts
    assert {severities.default(code) for code in doubts} == {"warn"}
    assert severities.default("FM-DAT-36") == "exclude"
