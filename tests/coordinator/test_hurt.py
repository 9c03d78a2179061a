"""Who is worse off with the common model: told at the coordinator and at the site, never more than the files say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from fedmed.cli.app import app
from fedmed.coordinator import aggregate, evaluate
from fedmed.reporting import hurt
from fedmed.site import compared, desk
from tests import small

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.coordinator.aggregate import Aggregated
    from fedmed.exchange.bodies_reports import Report


def send(world: small.Federation, dice: Mapping[str, float]) -> None:
    for name, value in dice.items():
        small.seal_update(world.site(name), 0.01, dice=value)
    world.carry()


def play(world: small.Federation, dice: Mapping[str, float]) -> Aggregated:
    send(world, dice)
    made = aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    return made


FIRST = {"aa": 0.8, "bb": 0.5, "cc": 0.6}


@pytest.mark.parametrize(
    ("value", "before", "is_hurt"),
    [(0.78, 0.8, False), (0.779, 0.8, True), (0.9, 0.8, False), (None, 0.8, False), (0.1, None, False)],
)
def test_a_fall_by_more_than_two_hundredths(value: float | None, before: float | None, is_hurt: bool) -> None:
    assert bool(hurt.fell("aa", "dice", 4, value, before, "model r0000")) == is_hurt


def test_what_is_watched_and_who_is_worst() -> None:
    assert hurt.watched(["hd95", "dice", "sensitivity"]) == "dice"
    assert hurt.watched(["hd95"]) is None
    assert hurt.worst({"aa": 0.5, "bb": None, "cc": 0.4}) == "cc"
    assert hurt.worst({"aa": 0.5, "bb": None}) == "", "one alone is no worst"
    assert hurt.worst({"aa": 0.50, "bb": 0.49}) == "", "nor is one of two that are alike"


def test_aggregate_compares_with_the_best_model_before(world: small.Federation) -> None:
    first = play(world, FIRST).watched
    assert first
    assert [(each.site, each.value, each.best) for each in first.sites] == [(n, v, None) for n, v in FIRST.items()]
    assert (first.round, first.worst, first.hurt) == (0, "bb", [])
    second = play(world, {"aa": 0.75, "bb": 0.49, "cc": 0.48}).watched
    assert second
    assert [(each.best, each.best_round) for each in second.sites] == [(v, 0) for v in FIRST.values()]
    assert second.worst == "cc"
    assert [(each.site, each.value, each.before, each.than) for each in second.hurt] == [
        ("aa", 0.75, 0.8, "model r0000"),
        ("cc", 0.48, 0.6, "model r0000"),
    ]


def test_the_screen_names_them(world: small.Federation) -> None:
    play(world, FIRST)
    send(world, {"aa": 0.75, "bb": 0.49, "cc": 0.6})
    shown = CliRunner().invoke(app, ["aggregate", "-w", str(world.coordinator)]).output
    assert "warning: aa may be hurt: dice 0.750 of the global model on 1 cases, 0.800 of model r0000" in shown
    assert "bb (worst)" in shown
    assert shown.count("warning") == 1


def test_the_table_of_reports_names_who_had_a_better_model(world: small.Federation) -> None:
    small.seal_report(world.site("aa"), mean=0.7, n=4, alone=0.75)
    small.seal_report(world.site("bb"), mean=0.7, n=4, alone=0.71)
    small.seal_report(world.site("cc"), mean=0.6, n=4)
    world.carry()
    table = evaluate.evaluate(world.coordinator, small.now(), "validation")
    assert [(each.site, each.value, each.before) for each in table.hurt] == [("aa", 0.7, 0.75)]
    assert table.worst == "cc"
    shown = CliRunner().invoke(app, ["evaluate", "-w", str(world.coordinator)]).output
    assert "warning: aa may be hurt: dice 0.700 of the global model on 4 cases, 0.750 of its own local-only" in shown
    assert "cc (worst)" in shown


def test_a_site_hears_it_of_itself(world: small.Federation) -> None:
    play(world, FIRST)

    def told(body: Report) -> list[str]:
        with desk.opened(world.site("aa"), small.now()) as site:
            consent, arrivals = desk.receive(site, desk.require_approved(site), small.now(), "evaluate")
            found = compared.hurt_by(site, consent, desk.newest_model(site, arrivals), body)
        return [each.than for each in found]

    assert told(small.report(4, "validation", 0.7, 0.75)) == ["its own local-only model", "model r0000"]
    assert told(small.report(4, "validation", 0.79, 0.8)) == []
    assert told(small.report(4, "testing", 0.7, 0.7)) == [], "other cases are not compared"
    assert told(small.report(4, "testing", None, 0.7)) == []
