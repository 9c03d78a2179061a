"""`fedmed check` as a person and a script meet it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import small

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Fedmed

RECIPE = {**small.RECIPE["data"], "max_excluded": 0.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = small.write_hospital(tmp_path / "data", [f"Nansen{number}" for number in range(6)])
    (data / "labels/Nansen1.nii.gz").unlink()
    small.write_recipe(tmp_path / "recipe.yaml", data=RECIPE)
    return tmp_path


def test_a_check_says_what_is_used_and_where_it_wrote(folder: Path, fedmed: Fedmed) -> None:
    ran = fedmed.ok("check", "data", "--recipe", "recipe.yaml", cwd=folder)
    assert ran.out.startswith("6 found -> 6 readable -> 5 labelled -> 5 used (train 3, val 1, test 1)\n")
    assert "FM-DAT-12  exclude" in ran.out
    assert "6 cases read, 0 unchanged since the last check" in ran.out
    assert "written: check-report/check.html, check-report/check.csv" in ran.out
    assert "Nansen" not in ran.out + ran.err
    assert "torch" not in ran.modules
    again = fedmed.ok("check", "data", "--recipe", "recipe.yaml", cwd=folder)
    assert "0 cases read, 6 unchanged" in again.out
    assert "6 cases read" in fedmed.ok("check", "data", "--recipe", "recipe.yaml", "--again", cwd=folder).out


def test_data_that_cannot_be_used_end_in_6_with_their_report(folder: Path, fedmed: Fedmed) -> None:
    small.write_recipe(folder / "recipe.yaml")
    ran = fedmed.run("check", "data", "--recipe", "recipe.yaml", "--out", "out", cwd=folder)
    assert ran.code == 6
    assert "FM-DAT-09 6 cases found, 5 usable: 16.7% excluded, the recipe allows 5.0%: 1 x FM-DAT-12" in ran.out
    assert ran.next.startswith("repair the cases that are excluded")
    assert "FM-DAT-09" in (folder / "out/check.html").read_text()
    as_json = fedmed.run("check", "data", "--recipe", "recipe.yaml", "--out", "out", "--json", cwd=folder)
    assert as_json.code == 6
    assert as_json.json["report"]["refusal"]["code"] == "FM-DAT-09"


def test_one_object_for_a_script(folder: Path, fedmed: Fedmed) -> None:
    ran = fedmed.ok("check", "data", "--recipe", "recipe.yaml", "--json", cwd=folder)
    report = ran.json["report"]
    assert report["funnel"]["found"] == 6
    assert report["statuses"] == {"ok": 0, "warn": 5, "excluded": 1, "error": 0}
    assert {row["status"] for row in report["rows"]} == {"warn", "excluded"}
    assert report["refusal"] is None
    assert "6 found" in ran.err
    assert "Nansen" not in ran.out
    named = fedmed.ok("check", "data", "--recipe", "recipe.yaml", "--show-ids", "--json", cwd=folder)
    assert "images/Nansen1.nii.gz" in named.out
    assert [path.rpartition("/")[2] for path in named.json["written"]] == ["check-local.html", "check-local.csv"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("check data", "FM-USE-01"),
        ("check data --recipe recipe.yaml -w aa", "FM-USE-01"),
        ("check data --recipe recipe.yaml --out data/x", "FM-USE-01"),
        ("check data --recipe recipe.yaml --preview -1", "FM-USE-01"),
        ("check nowhere --recipe recipe.yaml", "FM-DAT-04"),
        ("check nowhere -w aa", "FM-USE-01"),
        ("check empty --recipe recipe.yaml", "FM-DAT-04"),
        ("check other --recipe recipe.yaml", "FM-DAT-05 no known layout among 2 files (1 .dcm, 1 other);"),
        ("check", "FM-USE-01"),
        ("check -w aa", "FM-SET-01"),
    ],
)
def test_what_cannot_be_checked(words: str, code: str, folder: Path, fedmed: Fedmed) -> None:
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    for name in ("a.dcm", "b.Nansen"):
        (folder / "other" / name).touch()
    ran = fedmed.run(*words.split(), cwd=folder)
    assert ran.err.startswith(code)
    assert "Nansen" not in ran.err
    assert code != "FM-USE-01" or ran.next in ("fedmed check --help", "choose another") or "DATA --recipe" in ran.next
    assert not (folder / "check-report").exists()


def test_a_workspace_is_checked_where_it_is(world: small.Federation, fedmed: Fedmed) -> None:
    ran = fedmed.ok("check", "-w", "aa", cwd=world.root)
    assert "written: aa/reports/check/check.html" in ran.out
    assert (world.site("aa") / "reports/check/check.csv").exists()
    other = fedmed.run("check", "-w", "coordinator", cwd=world.root)
    assert other.err.startswith("FM-SET-05")


@pytest.mark.slow
def test_a_preview_of_volumes(folder: Path, training_fedmed: Fedmed) -> None:
    ran = training_fedmed.ok("check", "data", "--recipe", "recipe.yaml", "--preview", "3", cwd=folder)
    assert "check-report/preview-local-01.png" in ran.out
    assert "for this hospital only" in ran.out
