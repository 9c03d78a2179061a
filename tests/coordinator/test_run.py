"""What is due at the coordinator; and `run`, that closes rounds and pools the last reports, and then nothing twice."""

from __future__ import annotations

import csv
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.coordinator import agenda, aggregate, desk, run, start
from fedmed.exchange import intake, workspace
from fedmed.exchange.ledger import Ledger
from tests import small
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def due(world: small.Federation, **later: float) -> tuple[str, str]:
    """The step that is due, and what is waited for."""
    found = run.plan(world.coordinator, small.now() + timedelta(**later)).due
    return found.step, found.waiting


def do(world: small.Federation, **later: float) -> run.Standing:
    return run.run(world.coordinator, lambda: small.now() + timedelta(**later), quiet, lambda _: None)


def send(world: small.Federation, *names: str) -> None:
    for name in names:
        small.seal_update(world.site(name))
    world.carry()


def finish(world: small.Federation) -> None:
    for _ in range(2):
        send(world, *world.sites)
        do(world)
        world.carry()


def report(world: small.Federation, *names: str, mean: float = 0.5, split: Any = "testing") -> None:
    for name in names:
        small.seal_report(world.site(name), mean=mean, n=2, split=split)
    world.carry()


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file but the logs, with the time it was last written."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "logs"]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def pooled(world: small.Federation) -> list[dict[str, str]]:
    with (world.coordinator / "reports" / "pooled-r0002-testing.csv").open() as file:
        return list(csv.DictReader(file))


def test_before_the_start_a_person_is_waited_for(tmp_path: Path) -> None:
    world = small.joined(tmp_path, limits={"min_sites": 3})
    assert due(world) == ("", "the join files of the sites")
    small.write_hospital(tmp_path / "data-cc")
    from fedmed.site import join  # noqa: PLC0415 - no other test here needs it

    join.init(tmp_path / "cc", "cc", tmp_path / "data-cc", small.now())
    shutil.copy(tmp_path / "cc" / "outbox" / "join-cc.fedmed", world.coordinator / "inbox")
    assert due(world) == ("", "a person who admits the sites whose join files lie in the inbox")
    before = files_of(world.coordinator)
    assert do(world).due.next.startswith("fedmed admit ")
    assert files_of(world.coordinator).items() >= before.items()
    (world.coordinator / "inbox" / "join-cc.fedmed").unlink()
    draft = world.coordinator / "federation.yaml"
    draft.write_text(draft.read_text().replace("min_sites: 3", "min_sites: 2"))
    assert due(world) == ("", "a person who starts the federation when all sites are admitted")
    start.start(world.coordinator, small.numpy_initial, small.now())
    assert due(world)[1].startswith("round 0: 0 of at least 2 sites are in")


def test_a_round_is_closed_once_when_all_are_in(world: small.Federation) -> None:
    send(world, "aa", "bb")
    assert due(world)[1].startswith("round 0: 2 of 3 sites are in; not in: cc")
    assert do(world).done == []
    assert {known.sender for known in desk.peek(world.coordinator).record.of("update")} == {"aa", "bb"}, "taken in"
    send(world, "cc")
    assert due(world) == ("aggregate", "")
    found = do(world)
    assert [(each.step, each.result.round) for each in found.done] == [("aggregate", 1)]
    assert found.due.waiting.startswith("round 1: 0 of at least 2")
    before = files_of(world.coordinator)
    assert do(world).done == []
    assert files_of(world.coordinator) == before


def test_a_slow_site_is_dropped_by_the_deadline_and_by_nothing_else(world: small.Federation) -> None:
    send(world, "aa", "bb")
    assert do(world, days=13.9).done == []
    assert due(world, days=14.1) == ("aggregate", "")
    assert [each.step for each in do(world, days=14.1).done] == ["aggregate"]


def test_below_min_sites_no_deadline_helps(world: small.Federation) -> None:
    send(world, "aa")
    assert do(world, days=100).done == []


def test_reports_are_pooled_when_all_are_there_and_again_when_one_is_corrected(world: small.Federation) -> None:
    finish(world)
    assert due(world) == ("", "the reports on the test fold of aa, bb, cc")
    report(world, "aa", "bb")
    report(world, "cc", split="validation")
    assert due(world) == ("", "the reports on the test fold of cc")
    assert do(world).done == []
    report(world, "cc")
    assert due(world) == ("evaluate", "")
    found = do(world)
    assert [each.step for each in found.done] == ["evaluate"]
    assert found.due == agenda.Due("fedmed evaluate --split test")
    assert [(row["site"], row["n"]) for row in pooled(world)] == [
        ("aa", "2"),
        ("bb", "2"),
        ("cc", "2"),
        ("pooled", "6"),
    ]

    before = files_of(world.coordinator)
    assert do(world).done == []
    assert due(world) == ("", "")
    assert files_of(world.coordinator) == before

    report(world, "bb", mean=0.8)
    assert due(world) == ("evaluate", "")
    assert [each.step for each in do(world).done] == ["evaluate"]
    assert float(pooled(world)[-1]["mean"]) == pytest.approx(0.6)
    report(world, "cc", split="validation")
    assert do(world).done == []


def test_reports_that_another_command_took_in_are_pooled_too(world: small.Federation) -> None:
    finish(world)
    report(world, *world.sites)
    with desk.opened(world.coordinator, small.now()) as found:
        intake.receive_all(found, desk.terms(desk.started(found)), small.now(), "aggregate")
    assert due(world) == ("evaluate", "")
    assert [each.step for each in do(world).done] == ["evaluate"]


def test_a_run_that_ends_before_the_table_is_noted_makes_it_again(
    world: small.Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(world)
    report(world, *world.sites)

    def power_cut(_: Any) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "_as_csv", power_cut)
        with pytest.raises(KeyboardInterrupt):
            do(world)
    assert [each.step for each in do(world).done] == ["evaluate"]
    assert len(pooled(world)) == 4


def test_an_update_that_stands_out_waits_for_a_person(world: small.Federation) -> None:
    for name, value in (("aa", 0.1), ("bb", 0.1), ("cc", 50.0)):
        small.seal_update(world.site(name), value)
    world.carry()
    found = do(world)
    assert found.done == []
    assert "cc (held" in found.due.waiting
    assert "--include cc" in found.due.next
    again = do(world)
    assert (again.done, again.due) == ([], found.due)
    small.seal_update(world.site("cc"), 0.1)
    world.carry()
    with desk.opened(world.coordinator, small.now()) as opened:  # taken in, and then the power failed
        intake.receive_all(opened, desk.terms(desk.started(opened)), small.now(), "aggregate")
    assert [each.step for each in do(world).done] == ["aggregate"]


def test_a_damaged_update_is_not_waited_for_in_a_loop(world: small.Federation) -> None:
    send(world, *world.sites)
    path = world.coordinator / "inbox" / "update-r0000-bb.fedmed"
    data = bytearray(path.read_bytes())
    data[data.rindex(b"b.bias")] ^= 1
    path.write_bytes(data)
    found = do(world, hours=1)
    assert found.done == []
    assert "bb" in found.due.waiting
    assert [each.verdict.code for each in found.arrivals if each.path == path] == ["FM-TRU-10"]


def test_a_file_that_a_person_must_decide_about_ends_the_waiting_and_no_work(world: small.Federation) -> None:
    small.seal_update(world.site("bb"), moment=small.now() + timedelta(days=3))
    send(world, "aa")
    assert code_of(lambda: do(world)) == "FM-TIM-02"
    assert code_of(lambda: due(world)) == "FM-TIM-02"
    send(world, "cc")
    aggregate.aggregate(world.coordinator, small.now(), close=True)
    assert do(world).due.waiting.startswith("round 1"), "what is held is of a round that is over"


def test_a_restored_coordinator_stops(world: small.Federation, tmp_path: Path) -> None:
    backup = shutil.copytree(world.coordinator, tmp_path / "backup")
    send(world, *world.sites)
    do(world)
    world.carry()
    small.seal_update(world.site("aa"))
    shutil.copy(world.site("aa") / "outbox" / "update-r0001-aa.fedmed", backup / "inbox")
    restored = small.Federation(tmp_path / "nowhere", world.sites)
    shutil.copytree(backup, restored.coordinator)
    assert code_of(lambda: due(restored)) == "FM-TRU-06"
    assert code_of(lambda: do(restored)) == "FM-TRU-06"


def test_a_federation_that_is_over_by_its_date(world: small.Federation) -> None:
    assert code_of(lambda: due(world, days=731)) == "FM-TIM-01"
    assert code_of(lambda: do(world, days=731)) == "FM-TIM-01"


def test_an_inbox_that_is_gone_is_not_an_empty_one(world: small.Federation) -> None:
    shutil.rmtree(world.coordinator / "inbox")
    assert code_of(lambda: due(world)) == "FM-RES-05"
    assert code_of(lambda: do(world)) == "FM-RES-05"


def test_a_second_run_waits(world: small.Federation) -> None:
    with workspace.locked(world.coordinator):
        assert code_of(lambda: do(world)) == "FM-WAI-01"
        assert due(world)[0] == ""


def test_plan_writes_nothing(world: small.Federation) -> None:
    send(world, *world.sites)
    before = {path: path.stat().st_mtime_ns for path in world.coordinator.rglob("*")}
    assert due(world) == ("aggregate", "")
    assert {path: path.stat().st_mtime_ns for path in world.coordinator.rglob("*")} == before


def test_a_step_that_is_due_again_is_a_bug(world: small.Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than a loop that fills a night."""

    def nothing(*_: Any) -> None:
        return None

    send(world, *world.sites)
    do_once = run._receive(world.coordinator, small.now())
    monkeypatch.setattr(run, "_do", nothing)
    monkeypatch.setattr(run, "_receive", lambda *_: do_once)
    with pytest.raises(ValueError, match="due again"):
        do(world)


def test_the_ledger_names_each_step_once(world: small.Federation) -> None:
    finish(world)
    for _ in range(3):
        do(world)
    entries = Ledger(world.coordinator / "state" / "ledger.jsonl").entries
    said = [entry.facts["round"] for entry in entries if entry.event == "said" and entry.facts["kind"] == "model"]
    assert said == [0, 1, 2]
