"""What is due at a site, from what lies there and nothing else; and `run`, that does it and then nothing twice."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.coordinator import aggregate
from fedmed.errors import FedmedError
from fedmed.exchange import workspace
from fedmed.exchange.ledger import Ledger
from fedmed.site import agenda, desk, partition, run, status
from tests import small
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def due(site: Path, **later: float) -> tuple[str, str]:
    """The step that is due, and what is waited for."""
    found = run.plan(site, small.now() + timedelta(**later)).due
    return found.step, found.waiting


def do(site: Path) -> run.Standing:
    return run.run(site, small.now, "cpu", quiet, lambda _: None)


def files_of(site: Path) -> dict[str, tuple[int, bytes]]:
    """Every file but the logs, with the time it was last written."""
    paths = [path for path in site.rglob("*") if path.is_file() and path.parent.name != "logs"]
    return {str(path.relative_to(site)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def finish_without(world: small.Federation, name: str) -> None:
    """The federation goes to its end by the others; `name` is only brought the models."""
    for _ in range(2):
        for other in world.sites:
            if other != name:
                small.seal_update(world.site(other), 0.01)
        world.carry()
        aggregate.aggregate(world.coordinator, small.now(), close=True)
        world.carry()


@pytest.fixture
def unapproved(tmp_path: Path) -> small.Federation:
    return small.founded(tmp_path / "unapproved", approved=False)


def test_before_consent(unapproved: small.Federation) -> None:
    site = unapproved.site("aa")
    assert due(site) == ("", "a person's consent: a federation lies in the inbox")
    before = files_of(site)
    found = do(site)
    assert (found.done, found.due.next) == ([], "fedmed approve")
    assert files_of(site).items() >= before.items()
    assert not list((site / "archive").glob("*"))[1:], "nothing but the join: who did not consent takes in nothing"
    for path in (site / "inbox").iterdir():
        path.unlink()
    assert due(site) == ("", "the coordinator's federation-v0001.fedmed")
    assert do(site).due.next == "send outbox/join-aa.fedmed to the coordinator"


def test_from_consent_to_the_last_report_in_three_calls(world: small.Federation) -> None:
    site = world.site("aa")
    (site / "cases.json").unlink()
    assert due(site) == ("partition", "")
    found = do(site)
    assert [each.step for each in found.done] == ["partition", "train-local"]
    assert found.due.waiting == "the coordinator's model-r0001.fedmed"
    assert due(site) == ("", found.due.waiting)

    small.seal_update(world.site("bb"), 0.02)
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    assert due(site) == ("train-local", "")
    assert [each.step for each in do(site).done] == ["train-local"]

    small.seal_update(world.site("bb"), 0.02)
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    assert due(site) == ("evaluate", "")
    found = do(site)
    assert [each.step for each in found.done] == ["evaluate"]
    assert found.due == agenda.Due("nothing left to do")
    assert (site / "outbox" / "report-r0002-aa-test.fedmed").exists()

    before = files_of(site)
    assert do(site) == run.Standing([], agenda.Due("nothing left to do"), do(site).arrivals)
    assert files_of(site) == before
    said = [e.facts["round"] for e in Ledger(site / "state" / "ledger.jsonl").entries if e.facts.get("kind") == "update"
            and e.event == "said"]  # fmt: skip
    assert said == [0, 1]


def test_only_the_newest_model_is_answered(tmp_path: Path) -> None:
    world = small.founded(tmp_path, initial=small.unet_initial, limits={"min_sites": 1})
    finish_without(world, "aa")
    site = world.site("aa")
    assert due(site) == ("partition", "")
    partition.partition(site, small.now())
    assert due(site) == ("evaluate", "")
    shutil.move(site / "inbox" / "model-r0002.fedmed", site / "model-r0002")
    assert due(site) == ("train-local", "")
    assert "model r0001" in run.plan(site, small.now()).due.why
    do(site)
    assert [path.name for path in (site / "outbox").glob("update*")] == ["update-r0001-aa.fedmed"]


def test_steps_are_told_when_they_are_done(world: small.Federation) -> None:
    site, told = world.site("aa"), []
    (site / "cases.json").unlink()

    def fail(done: run.Done) -> None:
        told.append((done.step, (site / "cases.json").exists()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run(site, small.now, "cpu", quiet, fail)
    assert told == [("partition", True)]


def test_a_step_that_fails_ends_the_run_with_its_error(moved: tuple[Path, Path]) -> None:
    site, data = moved
    shutil.rmtree(data)
    assert code_of(lambda: do(site)) == "FM-DAT-04"
    assert not list((site / "outbox").glob("update*"))


def test_a_damaged_model_is_no_model(world: small.Federation) -> None:
    site = world.site("aa")
    path = site / "inbox" / "model-r0000.fedmed"
    data = bytearray(path.read_bytes())
    data[-3000] ^= 1
    path.write_bytes(data)
    later = small.now() + timedelta(hours=1)  # no copy in progress any more
    found = run.run(site, lambda: later, "cpu", quiet, lambda _: None)
    assert (found.done, found.due.waiting) == ([], "the coordinator's model-r0000.fedmed")
    refused = [each.verdict.code for each in found.arrivals if each.path == path]
    assert refused == ["FM-TRU-10"]


def test_a_model_that_a_person_must_decide_about(world: small.Federation) -> None:
    site = world.site("aa")
    with pytest.raises(FedmedError) as caught:
        run.plan(site, small.now() + timedelta(days=181))
    assert caught.value.code == "FM-TIM-01"
    assert "model of coordinator" in caught.value.message
    assert code_of(lambda: run.plan(site, small.now() - timedelta(days=3))) == "FM-TIM-02"


def test_a_restored_site_stops(world: small.Federation, tmp_path: Path) -> None:
    backup = shutil.copytree(world.site("aa"), tmp_path / "backup")
    for name in world.sites:
        small.seal_update(world.site(name))
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    shutil.copy(world.coordinator / "outbox" / "model-r0001.fedmed", backup / "inbox")
    assert code_of(lambda: due(backup)) == "FM-TRU-06"
    assert code_of(lambda: do(backup)) == "FM-TRU-06"


def test_a_federation_that_is_over_by_its_date(world: small.Federation) -> None:
    site = world.site("aa")
    (site / "inbox" / "model-r0000.fedmed").unlink()
    assert due(site) == ("", "the coordinator's model-r0000.fedmed")
    assert code_of(lambda: due(site, days=731)) == "FM-TIM-01"


def test_an_inbox_that_is_gone_is_not_an_empty_one(world: small.Federation) -> None:
    site = world.site("aa")
    shutil.rmtree(site / "inbox")
    assert code_of(lambda: due(site)) == "FM-RES-05"
    assert code_of(lambda: do(site)) == "FM-RES-05"


def test_a_second_run_waits(world: small.Federation) -> None:
    with workspace.locked(world.site("aa")):
        assert code_of(lambda: do(world.site("aa"))) == "FM-WAI-01"
        assert due(world.site("aa")) == ("train-local", "")


def test_plan_writes_nothing(world: small.Federation, unapproved: small.Federation) -> None:
    for site in (world.site("aa"), unapproved.site("aa")):
        before = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in site.rglob("*")}
        due(site)
        after = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in site.rglob("*")}
        assert after == before


def test_a_step_that_is_due_again_is_a_bug(world: small.Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than a loop that fills a night."""

    def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(run, "_do", nothing)
    with pytest.raises(ValueError, match="due again"):
        do(world.site("aa"))


def test_status_says_the_same(world: small.Federation) -> None:
    site = world.site("aa")
    assert status.status(site, small.now()).next == run.plan(site, small.now()).due.next == "fedmed train-local"
    assert desk.peek(site).workspace.record.newest("model") is None, "nothing was taken in"
