"""What `status` says at the coordinator, without changing a byte."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from fedmed.cli.app import app
from fedmed.coordinator import aggregate, desk, evaluate, status
from fedmed.exchange.statement import from_time, to_time
from tests import small

if TYPE_CHECKING:
    from pathlib import Path


def look(world: small.Federation) -> status.Status:
    before = {path: path.read_bytes() for path in world.coordinator.rglob("*") if path.is_file()}
    found = status.status(world.coordinator, small.now())
    after = {path: path.read_bytes() for path in world.coordinator.rglob("*") if path.is_file()}
    assert after == before
    return found


def test_before_the_start(tmp_path: Path) -> None:
    found = look(small.joined(tmp_path, limits={"title": "Gliomas"}))
    assert (found.title, found.round, found.fingerprint, found.next) == ("Gliomas", -1, "", "fedmed start")
    assert [each.site for each in found.sites] == ["aa", "bb"]


def test_a_strategy_may_need_more_sites_than_the_limits(tmp_path: Path) -> None:
    sites, recipe = ("aa", "bb", "cc"), {"strategy": {"name": "krum", "f": 1}}
    found = look(small.joined(tmp_path, sites, recipe=recipe, patients=small.PATIENTS[:1]))
    assert found.next == "put the join files of more sites into inbox/: krum needs 5, admitted are 3"


def test_a_round_from_nobody_to_everybody(world: small.Federation) -> None:
    assert look(world).next == "wait for aa, bb, cc"
    opened = desk.peek(world.coordinator).record.newest("model")
    assert opened
    ends = to_time(from_time(opened.created) + timedelta(days=14))
    assert look(world).deadline == ends
    assert f"deadline {ends}: from then on" in CliRunner().invoke(app, ["status", "-w", str(world.coordinator)]).output
    for name, next_ in (
        ("bb", "wait for aa, cc"),
        ("aa", "wait for cc; fedmed aggregate --close -w HERE goes on without"),
        ("cc", "fedmed aggregate"),
    ):
        small.seal_update(world.site(name))
        world.carry()
        found = look(world)
        assert (found.round, found.next) == (0, next_)
        assert {each.verdict.outcome for each in found.waiting} <= {"accepted", "not-for-me"}
    aggregate.aggregate(world.coordinator, small.now())
    found = look(world)
    assert (found.round, found.next) == (1, "wait for aa, bb, cc")
    assert not [each for each in found.waiting if each.verdict.outcome == "accepted"]


def test_why_a_site_is_missing(world: small.Federation) -> None:
    small.seal_update(world.site("aa"))
    world.carry()
    path = world.coordinator / "inbox" / "update-r0000-aa.fedmed"
    path.write_bytes(path.read_bytes()[:-2000])
    found = look(world)
    assert found.next == "wait for aa, bb, cc"
    assert [(each.path.name, each.verdict.code) for each in found.waiting if each.path == path] == [
        (path.name, "FM-WAI-04")
    ]
    assert found.sites[0].reason == "no update of this round has arrived"


def test_behind_the_last_model(world: small.Federation) -> None:
    for _ in range(2):
        for name in world.sites:
            small.seal_update(world.site(name))
        world.carry()
        aggregate.aggregate(world.coordinator, small.now())
        world.carry()
    assert (look(world).next, look(world).deadline) == ("wait for the reports of aa, bb, cc", "")
    small.seal_report(world.site("bb"), mean=0.5, n=4)
    world.carry()
    assert look(world).next == "fedmed evaluate"
    assert look(world).reported == [], "that was one on validation cases"
    small.seal_report(world.site("bb"), mean=0.5, n=4, split="testing")
    world.carry()
    assert look(world).next == "fedmed evaluate --split test", "it lies in the inbox"
    evaluate.evaluate(world.coordinator, small.now(), "testing")
    assert look(world).reported == ["bb"]
    told = CliRunner().invoke(app, ["status", "-w", str(world.coordinator)]).output
    assert re.search(r"site +report on the test fold\naa +missing *\nbb +here *\ncc +missing", told)
    assert "no update of this round" not in told


def test_the_pool_is_weighted_by_cases_and_names_who_is_missing(world: small.Federation) -> None:
    for name, mean, n in (("aa", 0.5, 1), ("bb", 0.8, 3)):
        small.seal_report(world.site(name), mean=mean, n=n)
    world.carry()
    table = evaluate.evaluate(world.coordinator, small.now(), "validation")
    assert table.missing == ["cc"]
    assert [(row.metric, row.n, float(row.mean or "nan")) for row in table.pooled["global"]] == [("dice", 4, 0.725)]
    assert table.pooled["alone"] == []
    small.seal_report(world.site("aa"), mean=0.9, n=1)  # the later report of a site counts
    world.carry()
    table = evaluate.evaluate(world.coordinator, small.now(), "validation")
    assert [float(row.mean or "nan") for row in table.pooled["global"]] == [0.825]
