"""`check`: the report is written whatever it says, agrees with `partition`, and names nobody."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedmed.cases import datalist
from fedmed.preprocessing import Intensity, Preprocessing
from fedmed.reporting import check as pages
from fedmed.site import check, partition, virtual
from tests import radiographs, small, tables
from tests.cases import phantoms
from tests.coded import code_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedmed.site.check import Checked


def silent(*_: Any) -> None:
    """Nobody watches."""


def run(data: Path | None, root: Path, recipe: Path | None = None, out: Path | None = None, **options: Any) -> Checked:
    return check.check(data, root, recipe, out, small.now(), options=check.Options(**options), progress=silent)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """DATA of eight patients, one of them broken and one without a mask, and recipe.yaml that allows that."""
    patients = [f"Nansen{number}" for number in range(8)]
    data = small.write_hospital(tmp_path / "data", patients)
    (data / "images/Nansen0.nii.gz").write_bytes(b"no image")
    (data / "labels/Nansen1.nii.gz").unlink()
    small.write_recipe(tmp_path / "recipe.yaml", data={**small.RECIPE["data"], "max_excluded": 0.5})
    return tmp_path


def test_the_funnel_and_every_finding(folder: Path) -> None:
    found = run(folder / "data", folder, folder / "recipe.yaml", folder / "out")
    report = found.report
    assert str(report.funnel) == "8 found -> 7 readable -> 6 labelled -> 6 used (train 4, val 1, test 1)"
    assert report.statuses == {"ok": 0, "warn": 6, "excluded": 2, "error": 0}
    assert [(count.code, count.severity, count.cases) for count in report.counts] == [
        ("FM-DAT-12", "exclude", 1),
        ("FM-DAT-17", "exclude", 1),
        ("FM-CHK-07", "warn", 6),
    ]
    assert report.refusal is None
    assert found.read == 8
    assert sorted(row.fold for row in report.rows) == ["", "", "test", "train", "train", "train", "train", "val"]
    assert [path.name for path in found.written] == ["check.html", "check.csv"]
    for path in found.written:
        text = path.read_text("utf-8-sig")
        assert "Nansen" not in text
        assert "FM-DAT-12" in text
        assert path.stat().st_mode & 0o777 == 0o600
    assert run(folder / "data", folder, folder / "recipe.yaml", folder / "out").read == 0


def test_above_the_limit_everything_is_still_written(folder: Path) -> None:
    small.write_recipe(folder / "recipe.yaml")
    report = run(folder / "data", folder, folder / "recipe.yaml", folder / "out").report
    assert report.refusal is not None
    assert (report.refusal.code, report.refusal.next[:6]) == ("FM-DAT-09", "repair")
    assert report.funnel.used == 6
    assert "Cannot be used as it is" in (folder / "out/check.html").read_text()


def test_nothing_usable_is_told_too(folder: Path) -> None:
    for path in (folder / "data/images").iterdir():
        path.write_bytes(b"")
    report = run(folder / "data", folder, folder / "recipe.yaml", folder / "out").report
    assert report.refusal is not None
    assert report.refusal.code == "FM-DAT-08"
    assert str(report.funnel) == "8 found -> 0 readable -> 0 labelled -> 0 used (train 0, val 0, test 0)"
    assert len(report.rows) == 8


def test_files_are_named_only_when_asked_for_and_then_in_red(folder: Path) -> None:
    found = run(folder / "data", folder, folder / "recipe.yaml", folder / "out", show_ids=True)
    assert [path.name for path in found.written] == ["check-local.html", "check-local.csv"]
    page = found.written[0].read_text()
    assert "images/Nansen0.nii.gz" in page
    assert 'class="banner">LOCAL' in page
    rows = list(csv.DictReader(io.StringIO(found.written[1].read_text("utf-8-sig"))))
    assert {row["files"] for row in rows if row["code"] == "FM-DAT-17"} == {
        "images/Nansen0.nii.gz labels/Nansen0.nii.gz"
    }


def test_aliases_are_the_same_from_check_to_check_and_cannot_be_guessed(folder: Path) -> None:
    def aliases(out: str) -> set[str]:
        return {row.case for row in run(folder / "data", folder, folder / "recipe.yaml", folder / out).report.rows}

    assert aliases("a") == aliases("a")
    assert not aliases("a") & aliases("b")
    assert (folder / "a/pseudonym.key").stat().st_mode & 0o777 == 0o600


def test_a_report_does_not_lie_among_the_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for out in (folder / "data", folder / "data/deep/out"):
        assert code_of(lambda: run(folder / "data", folder, folder / "recipe.yaml", out)) == "FM-USE-01"  # noqa: B023
        assert not (folder / "data/deep").exists()
    monkeypatch.chdir(folder / "data")
    assert code_of(lambda: run(folder / "data", folder, folder / "recipe.yaml")) == "FM-USE-01"
    assert code_of(lambda: run(folder / "data", folder)) == "FM-USE-01"


def test_a_workspace_checks_its_own_folder_by_what_was_approved(world: small.Federation) -> None:
    root = world.site("aa")
    found = run(None, root)
    cases = datalist.load(root / "cases.json")
    folds = {entry.case: fold for fold, entries in _folds(cases) for entry in entries}
    assert {row.case: row.fold for row in found.report.rows} == folds
    assert found.written[0] == root / "reports/check/check.html"
    assert run(None, root).read == 0
    log = (root / "logs/shareable.log").read_text()
    assert "FM-CHK-07 warn: case-" in log
    assert "p01" not in log
    assert "p01" in (root / "logs/local.log").read_text()


def _folds(cases: datalist.Datalist) -> list[tuple[str, Any]]:
    return [("train", cases.training), ("val", cases.validation), ("test", cases.testing)]


def test_before_approval_a_workspace_needs_a_recipe(tmp_path: Path) -> None:
    world = small.founded(tmp_path, ("aa", "bb"), approved=False)
    assert code_of(lambda: run(None, world.site("aa"))) == "FM-TRU-07"
    assert run(None, world.site("aa"), world.root / "recipe.yaml").report.funnel.used == 5


def test_fitted_numbers_are_those_of_the_recipe_that_was_approved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another recipe, tried in the workspace, would be shown as nobody ever trains by it."""
    world = small.founded(tmp_path, ("aa", "bb"))
    root = world.site("aa")
    numbers = Preprocessing(channels={"T1": Intensity(mean=7, sd=3)})
    monkeypatch.setattr(check.numbers, "current", lambda _: numbers)
    own, _ = check._in_workspace(root, world.root / "recipe.yaml", None)
    small.write_recipe(tmp_path / "other.yaml", name="other-recipe")
    other, _ = check._in_workspace(root, tmp_path / "other.yaml", None)
    assert (own.preprocessing, other.preprocessing) == (numbers, None)


def broken(data: Path) -> None:
    (data / "images/p01.nii.gz").write_bytes(b"")


def unlabelled(data: Path) -> None:
    (data / "labels/p02.nii.gz").unlink()


def repeated(data: Path) -> None:
    (data / "images/p03.nii.gz").write_bytes((data / "images/p04.nii.gz").read_bytes())


def coarse(data: Path) -> None:
    phantoms.write_nifti(data / "images/p05.nii.gz", np.arange(1000.0).reshape(10, 10, 10), np.diag([9.0, 9, 9, 1]))
    phantoms.write_nifti(data / "labels/p05.nii.gz", np.ones((10, 10, 10), np.uint8), np.diag([9.0, 9, 9, 1]))


def gone(data: Path) -> None:
    for path in (data / "images").iterdir():
        path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("change", [broken, unlabelled, repeated, coarse, gone])
@pytest.mark.parametrize(
    "severity",
    [
        {},
        pytest.param({"FM-CHK-09": "exclude", "FM-CHK-05": "exclude"}, marks=pytest.mark.slow),
        pytest.param({"FM-CHK-09": "error"}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("limit", [0.05, 0.5])
def test_check_and_partition_never_disagree(
    change: Callable[[Path], None], severity: dict[str, str], limit: float, tmp_path: Path
) -> None:
    """The same folder and recipe: the same code, or the same cases in the same folds."""
    data = small.write_hospital(tmp_path / "data", [f"p{number:02d}" for number in range(1, 11)])
    change(data)
    fields = {**small.RECIPE["data"], "max_excluded": limit, "severities": severity}
    recipe = small.write_recipe(tmp_path / "recipe.yaml", data=fields)
    checked: list[Any] = []
    code = code_of(lambda: checked.append(run(data, tmp_path, recipe, tmp_path / "out").report))
    if checked and checked[0].refusal:
        code = checked[0].refusal.code
    others = {"sites": 2, "sizes": None, "alpha": None, "seed": None}
    made: list[Any] = []
    divided = code_of(lambda: made.append(virtual.virtual_sites(data, recipe, tmp_path / "v", how="iid", **others)))  # type: ignore[arg-type]
    assert divided == code
    if made:
        total = sum(sum(share.counts.values()) for share in made[0].partitioned.shares)
        assert total == checked[0].funnel.used
        excluded = {count.code: count.cases for count in checked[0].counts if count.severity == "exclude"}
        assert made[0].partitioned.excluded == excluded


def test_a_fold_with_few_positives_stops_both_where_the_recipe_says_so(tmp_path: Path) -> None:
    fields = radiographs.fields(data={"severities": {"FM-CHK-02": "error"}})
    hospital = {"hospital": radiographs.write_hospital, "channels": ("XR",), "patients": radiographs.PATIENTS}
    world = small.founded(tmp_path, recipe=fields, **hospital)
    refusal = run(None, world.site("aa")).report.refusal
    assert refusal is not None
    assert refusal.code == "FM-CHK-01"
    assert code_of(lambda: partition.partition(world.site("aa"), small.now())) == "FM-CHK-01"
    assert not (world.site("aa") / "cases.json").exists()


# --- the page and the table -------------------------------------------------------------------------------------------


def told(message: str = "case-1: two slices", severity: str = "exclude") -> pages.Told:
    return pages.Told("FM-DAT-36", severity, "T1", message, "export the series again")


def report(rows: tuple[pages.Row, ...], **changed: Any) -> pages.Report:
    fields: dict[str, Any] = {
        "recipe": "phantom",
        "digest": "0" * 64,
        "version": "1",
        "made": "2026-01-01T00:00:00Z",
        "funnel": pages.Funnel(3, 2, 2, 2, 1, 1, 0),
        "statuses": {"ok": 1, "warn": 1, "excluded": 1, "error": 0},
        "counts": (pages.Count("FM-DAT-36", "exclude", 1, "slices are missing", "export the series again"),),
        "folder": (told(severity="warn"),),
        "notes": ("2 <files> are odd",),
        "ignored": {"FM-CHK-05": 4},
        "identifiers": pages.Identifiers(3, {"PatientName": 3}, {"EXIF": 1}, 1, 0, 2),
        "refusal": None,
        "rows": rows,
    }
    return pages.Report(**{**fields, **changed})


def test_the_page_is_one_file_that_opens_offline() -> None:
    rows = (pages.Row("case-1", "patient-1", "", "excluded", (told(),)), pages.Row("case-2", "p", "train", "ok", ()))
    page = pages.to_html(report(rows, sheets=(b"\x89PNG",))).decode()
    for text in ("<script", "http://", "https://", "url(", "<link", "@import"):
        assert text not in page, text
    assert "2 &lt;files&gt; are odd" in page
    assert "data:image/png;base64,iVBORw==" in page
    assert page.count("1 less") == 1
    assert '<td><code>PatientName</code></td><td class="n">3</td>' in page
    assert "4 findings of <code>FM-CHK-05</code> are not shown" in page
    assert "Can be used." in page
    assert page.index("</code> T1: two slices<br>") < page.index("<code>case-2</code>"), "the alias stands there once"


def test_the_page_says_once_what_to_do_about_a_warning() -> None:
    rows = tuple(pages.Row(f"case-{n}", "", "train", "warn", (told(f"case-{n} T1: odd", "warn"),)) for n in range(9))
    page = pages.to_html(report((*rows, pages.Row("case-x", "", "", "excluded", (told(),))))).decode()
    assert page.count("</code> T1: odd</div>") == 9
    assert page.count("export the series again") == 2, "by its code, and beside the case that is left out"


def test_a_table_is_not_said_to_be_searched() -> None:
    none = pages.Identifiers(0, {}, {}, 0, 0, 0)
    page = pages.to_html(report((), identifiers=none)).decode()
    assert "tables are not searched" in page
    assert "files looked at" not in page


def test_a_hostile_message_is_text() -> None:
    rows = (pages.Row("case-1", "", "", "excluded", (told("<img src=x onerror=alert(1)>"),), ("a<b>.dcm",)),)
    page = pages.to_html(report(rows, local=True)).decode()
    assert "<img src=x" not in page
    assert "a&lt;b&gt;.dcm" in page


def test_a_long_page_says_what_it_leaves_out() -> None:
    rows = tuple(pages.Row(f"case-{n}", "", "", "ok", ()) for n in range(pages.MOST_ROWS))
    bad = pages.Row("case-bad", "", "", "error", (told(),))
    page = pages.to_html(report((*rows, bad))).decode()
    assert f"the first {pages.MOST_ROWS} of {pages.MOST_ROWS + 1}" in page
    assert "case-bad" in page


def test_the_table_runs_no_formula() -> None:
    rows = (pages.Row("case-1", "p", "", "excluded", (told("=1+1"), told()), ("=cmd()",)),)
    lines = list(csv.reader(io.StringIO(pages.to_csv(report(rows, local=True)).decode("utf-8-sig"))))
    assert lines[0][-1] == "files"
    assert [line[7] for line in lines[1:]] == ["'=1+1", "case-1: two slices"]
    assert [line[9] for line in lines[1:]] == ["'=cmd()"] * 2
    plain = pages.to_csv(report((replace(rows[0], files=()),)))
    assert plain.decode("utf-8-sig").splitlines()[0].endswith(",message,remedy")


def test_rows_of_a_table_are_checked_too(tmp_path: Path) -> None:
    data = tables.write_hospital(tmp_path / "data")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(tables.tabular().model_dump_json(by_alias=True))
    found = run(data, tmp_path, recipe, tmp_path / "out")
    funnel = found.report.funnel
    assert funnel.found == funnel.used + found.report.statuses["excluded"] == found.read
    assert funnel.used > 0
    assert code_of(lambda: run(data, tmp_path, recipe, tmp_path / "out", preview=1)) == "FM-USE-01"


@pytest.mark.parametrize("normalisation", ["site", "federated"])
def test_no_preview_before_there_are_the_numbers_that_images_go_through(folder: Path, normalisation: str) -> None:
    """Not an empty sheet, as if no case could be read."""
    data = {**small.RECIPE["data"], "max_excluded": 0.5, "normalisation": normalisation}
    small.write_recipe(folder / "recipe.yaml", data=data)
    assert run(folder / "data", folder, folder / "recipe.yaml", folder / "out").report.funnel.used == 6
    found = code_of(lambda: run(folder / "data", folder, folder / "recipe.yaml", folder / "out", preview=2))
    assert found == "FM-NRM-02"


def test_a_folder_that_was_there_keeps_its_rights(folder: Path) -> None:
    (folder / "mine").mkdir(mode=0o755)
    (folder / "mine").chmod(0o755)
    run(folder / "data", folder, folder / "recipe.yaml", folder / "mine")
    run(folder / "data", folder, folder / "recipe.yaml", folder / "new")
    assert (folder / "mine").stat().st_mode & 0o777 == 0o755
    assert (folder / "new").stat().st_mode & 0o777 == 0o700
