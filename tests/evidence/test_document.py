"""EVIDENCE.md says what evidence.json holds, and the driver goes on where it was killed."""

from __future__ import annotations

import argparse
import importlib
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not part of this copy", allow_module_level=True)


@pytest.fixture
def evidence(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("evidence")


def test_the_document_is_made_of_the_figures(evidence: Any) -> None:
    report = evidence.evidence_report
    assert len(evidence.TITLES) == len(evidence.SECTIONS)
    assert report.DOCUMENT.read_text("utf-8") == report.document(evidence.TITLES, report.load(report.RESULTS))


def test_what_was_never_run_whole_says_so(evidence: Any) -> None:
    figures = {"columns": ["a|b"], "rows": [["1|2"]], "sentences": ["one", "two"], "holds": False}
    entry = {"tried": "t", "whole": False, "date": "d", "commit": "c", "seconds": 1, "machine": {"system": "s"}}
    text = evidence.evidence_report.document({"x": "X", "y": "Y"}, {"x": {**entry, "figures": figures}})
    assert "A small part only" in text
    assert "| X | **no** | d, a small part only |\n| Y |  | never |" in text
    assert "## Y\n\nNever run." in text
    assert "| a&#124;b |\n| --- |\n| 1&#124;2 |\n\none\n\ntwo\n" in text


def test_a_killed_run_goes_on(evidence: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evidence, "WORK", tmp_path)
    evidence.evidence_report.save(tmp_path / "swaps-quick-d" / "slices.json", {"0": {"seconds": 3, "result": KEPT}})
    section = next(each for each in evidence.SECTIONS if each.name == "swaps")
    found = evidence.run(section, quick=True, code=evidence.Code("c", "d"))
    rows = {what: tried for what, tried, _ in found["figures"]["rows"]}
    assert rows["a kept slice"] == "1,000,000"
    assert int(rows["statement"]) > 10
    assert (found["whole"], found["figures"]["holds"], found["commit"]) == (False, True, "c")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (None, False),
        ({"whole": True, "code": "d"}, True),
        ({"whole": False, "code": "d"}, False),
        ({"whole": True, "code": "e"}, False),
    ],
)
def test_what_was_run_whole_on_this_code_is_done(evidence: Any, entry: dict[str, Any] | None, expected: bool) -> None:
    assert evidence._is_done(entry, evidence.Code("c", "d")) is expected
    assert not evidence._is_done(entry, evidence.Code("unknown", "d"))


KEPT = {"tried": {"a kept slice": 1_000_000}, "accepted": []}


def test_a_section_that_cannot_be_run_stops_no_other(
    evidence: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does a small part take the place of a whole run."""
    whole = evidence.Section(
        "good",
        "Good",
        "",
        lambda _: [1],
        lambda part: part,
        lambda _: evidence.evidence_files.Figures([], [], [], holds=True),
    )
    cases = {"empty": (lambda _: [], None), "bad": (lambda _: [1], lambda done: done["x"])}
    faulty = [evidence.Section(name, "", "", slices, str, figures) for name, (slices, figures) in cases.items()]
    monkeypatch.setattr(evidence, "SECTIONS", [*faulty, whole])
    monkeypatch.setattr(evidence, "TITLES", {"empty": "", "bad": "", "good": "Good"})
    monkeypatch.setattr(evidence, "RESULTS", tmp_path / "evidence.json")
    monkeypatch.setattr(evidence, "WORK", tmp_path / "work")
    monkeypatch.setattr(evidence, "ProcessPoolExecutor", Here)
    found: dict[str, Any] = {}
    for quick in (False, True):
        options = argparse.Namespace(quick=quick, again=True, only=None, processes=1)
        evidence.run_all(options, found)
    assert list(found) == ["good"]
    assert found["good"]["whole"] is True
    assert evidence.load(tmp_path / "evidence.json") == found
    printed = capsys.readouterr().out
    assert "empty: not run: there is nothing to try" in printed
    assert "bad: FAILED" in printed
    assert "good: holds" in printed


class Here:
    """A pool that does the work here and now."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*arguments))
        return future
