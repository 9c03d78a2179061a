"""What `partition` shows: bars that need no colour, values that stay on the screen, options that exclude each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.cli.partition import WIDTH, bars
from fedmed.site.partition import Share
from tests.cases import films

if TYPE_CHECKING:
    from pathlib import Path

    from tests import small
    from tests.command import Fedmed


def share(site: str, **groups: int) -> Share:
    return Share(site, {}, groups)


def test_bars_are_as_long_as_a_site_has_cases() -> None:
    lines = bars([share("site-1", q1=30, q2=10), share("site-2", q1=0, q2=20)])
    assert lines[0] == "# q1   + q2"
    first, second = lines[1:]
    assert (first.count("#"), first.count("+")) == (51, 17)
    assert second == "site-2  " + "+" * 34 + "  20"
    assert len(first) == WIDTH


def test_bars_without_groups() -> None:
    assert bars([Share("st-olav", {}, {"": 3})]) == ["st-olav  " + "#" * 68 + "  3"]
    assert bars([Share("st-olav", {}, {})]) == ["st-olav    0"]


@given(st.lists(st.lists(st.integers(0, 100_000), min_size=33, max_size=33), min_size=1, max_size=4))
def test_bars_are_narrow_ascii_and_leave_no_class_out(counts: list[list[int]]) -> None:
    shares = [
        share(f"hospital-with-a-long-name-00000{n}", **{f"c{g:02d}": count for g, count in enumerate(each)})
        for n, each in enumerate(counts)
    ]
    lines = bars(shares)
    for line in lines:
        assert len(line) <= WIDTH
        assert line.isascii()
    for line, each in zip(lines[-len(shares) :], counts, strict=True):
        bar = line[34:].rpartition("  ")[0]
        assert len(set(bar)) == sum(count > 0 for count in each)


@pytest.fixture(scope="module")
def wards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA and recipe.yaml: six patients on two wards, one of which has a hostile name."""
    root = tmp_path_factory.mktemp("wards")
    lines = ["path,label,patient,ward"]
    for index in range(6):
        films.save(root / f"data/images/{index}.dcm", films.dataset(films.film() + index))
        ward = "Nordpavillon" if index % 3 else chr(27) + "[2J" + "x" * 99
        lines.append(f"images/{index}.dcm,{index % 2},{index},{ward}")
    (root / "data/labels.csv").write_text("\n".join(lines))
    (root / "recipe.yaml").write_text(films.recipe().model_dump_json(by_alias=True))
    return root


@pytest.mark.slow
def test_values_are_shown_and_not_handed_on(wards: Path, fedmed: Fedmed, tmp_path: Path) -> None:
    words = ("partition", wards / "data", "--recipe", wards / "recipe.yaml", "--how", "column", "--by", "ward")
    ran = fedmed.ok(*words, "--out", tmp_path / "a")
    assert "site-1 = \\x1b[2Jxxx" in ran.out
    assert "x" * 60 not in ran.out
    assert "site-2 = Nordpavillon" in ran.out
    assert "cases by fold, and by class" in ran.out
    assert "# 0   + fracture" in ran.out
    ran = fedmed.ok(*words, "--out", tmp_path / "b", "--sites", "2", "--json")
    assert "Nordpavillon" not in json.dumps(ran.json)
    assert "site-2 = Nordpavillon" in ran.err
    assert fedmed.run(*words, "--out", tmp_path / "c", "--sites", "3").code == 6
    for name in ("partition.csv", "partition.png", "site-1/cases.json"):
        data = (tmp_path / "b" / name).read_bytes()
        assert b"Nordpavillon" not in data.replace(b'"ward": "Nordpavillon"', b"")


@pytest.mark.parametrize(
    "words",
    [
        "--how column",
        "--how header",
        "--by ward",
        "--how iid --by ward",
        "--how column --by ward --alpha 1",
        "-w somewhere",
        "--workspace .",
        "--leave-out Nord",
        "--strength 1",
        "--how folders --shift noise",
        "--how folders --sites 3",
    ],
)
def test_options_that_would_be_ignored(words: str, wards: Path, fedmed: Fedmed, tmp_path: Path) -> None:
    ran = fedmed.run(
        *("partition", wards / "data", "--recipe", wards / "recipe.yaml", "--out", tmp_path / "a"), *words.split()
    )
    assert ran.code == 2
    assert "FM-USE-01" in ran.err
    assert not (tmp_path / "a").exists()


def test_a_real_site_has_a_bar(world: small.Federation, fedmed: Fedmed) -> None:
    ran = fedmed.ok("partition", "-w", "aa", cwd=world.root)
    assert "# q1   + q2   o q3   . q4\naa  ##" in ran.out
