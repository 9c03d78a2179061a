"""Early stop on the pooled validation metric: the coordinator ends it, every site sees it, and both keep the best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from fedmed.cli.app import app
from fedmed.coordinator import aggregate, desk, status
from fedmed.errors import FedmedError
from fedmed.exchange import keys, lineage
from fedmed.site import alone, train
from fedmed.site import desk as bedside
from fedmed.site import status as site_status
from tests import small, tables
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.coordinator.aggregate import Aggregated

ROUNDS = 6
PATIENT = {"stopping": {"patience": 2, "min_delta": 0.01}}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    return small.founded(tmp_path_factory.mktemp("begun"), limits={"rounds": ROUNDS}, recipe=PATIENT)


@pytest.fixture
def world(begun: small.Federation, tmp_path: Path) -> small.Federation:
    return begun.copy(tmp_path / "world")


def play(world: small.Federation, dice: float | None) -> Aggregated:
    for name in world.sites:
        small.seal_update(world.site(name), 0.01, dice=dice)
    world.carry()
    made = aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    return made


def stopped(world: small.Federation) -> Aggregated:
    """Model r1 is the best, and r2 and r3 are no better by enough."""
    made = [play(world, dice) for dice in (0.3, 0.5, 0.505, 0.51)]
    assert [each.last for each in made] == [False, False, False, True]
    return made[-1]


@pytest.mark.parametrize(
    ("values", "by", "lower", "best"),
    [
        ([0.3, 0.5, 0.505, 0.51], 0.0, False, 3),
        ([0.3, 0.5, 0.505, 0.51], 0.01, False, 1),
        ([0.3, 0.5, 0.505, 0.512], 0.01, False, 3),
        ([0.5, 0.4, 0.5], 0.0, False, 0),
        ([9.0, 7.0, 8.0], 0.0, True, 1),
        ([], 0.0, False, None),
    ],
)
def test_the_last_round_that_was_better_by_enough(
    values: list[float], by: float, lower: bool, best: int | None
) -> None:
    assert lineage.improved(dict(enumerate(values)), lower_is_better=lower, by=by) == best


def test_the_model_behind_the_last_patient_round_is_the_last(world: small.Federation) -> None:
    made = stopped(world)
    assert made.round == 4
    again = aggregate.aggregate(world.coordinator, small.now())
    assert (again.round, again.last, again.is_new) == (4, True, False)
    assert again.stopped == made.stopped
    why = "stopped early, at 4 of 6 rounds: dice did not improve by more than 0.01 in the last 2 models"
    assert why in CliRunner().invoke(app, ["aggregate", "-w", str(world.coordinator)]).output
    assert status.status(world.coordinator, small.now()).next == "wait for the reports of aa, bb"


def test_a_round_that_no_validation_case_speaks_of_uses_up_no_patience(world: small.Federation) -> None:
    """Only the sites without such cases may have answered it: nobody knows whether its model was better."""
    made = [play(world, dice).last for dice in (0.5, None, 0.5, None, 0.5)]
    assert made == [False, False, False, False, True]


def test_without_the_section_all_rounds_are_played(tmp_path: Path) -> None:
    world = small.founded(tmp_path, limits={"rounds": 3})
    made = [play(world, 0.5) for _ in range(3)]
    assert [(each.last, each.stopped) for each in made] == [(False, ""), (False, ""), (True, "")]


def test_sites_hear_that_it_is_over(world: small.Federation) -> None:
    stopped(world)
    root = world.site("aa")
    (root / "cases.json").write_text("{}")  # as if partitioned: only looked for
    assert site_status.status(root, small.now()).next == "fedmed evaluate", "it lies in the inbox"
    found = train.train(root, small.now(), train.Options(device="cpu"), lambda *_: None)
    assert isinstance(found, train.Trained)
    assert (found.over, found.round) == (True, 4)
    now = site_status.status(root, small.now())
    assert (now.next, now.is_over, now.rounds) == ("fedmed evaluate --split test", True, ROUNDS)
    shown = CliRunner().invoke(app, ["status", "-w", str(root)]).output
    assert "round 4 of 6, stopped early, the last model" in shown
    again = ["train-local", "-w", str(root)]
    assert "next: fedmed evaluate --split test -w" in CliRunner().invoke(app, again).output
    small.seal_report(root, mean=0.5, n=1, split="testing")
    assert CliRunner().invoke(app, again).output.splitlines()[-1] == "next: nothing left to do"


def test_the_best_model_is_named_with_its_file(world: small.Federation) -> None:
    made = stopped(world)
    best = made.best
    assert best
    assert (best.round, best.metric, best.value) == (3, "dice", 0.51), "of those that updates have scored"
    found = desk.peek(world.coordinator)
    known = found.record.model(3)
    assert known
    assert best.file == found.archived(known.id)
    assert best.file.exists()
    for name in world.sites:
        small.seal_report(world.site(name), mean=0.6, n=2)
    world.carry()
    CliRunner().invoke(app, ["evaluate", "-w", str(world.coordinator)])
    later = status.status(world.coordinator, small.now()).best
    assert later
    assert (later.round, later.value) == (4, 0.6), "the reports of all sites say how good the last one is"
    shown = CliRunner().invoke(app, ["status", "-w", str(world.coordinator)]).output
    assert "best on the sites' validation cases so far: model r0004 with dice 0.600" in shown


def test_the_local_only_model_takes_as_many_rounds_as_were_played(world: small.Federation) -> None:
    root = world.site("aa")
    assert alone._rounds(bedside.peek(root), consent_of(root)) == ROUNDS
    stopped(world)
    train.train(root, small.now(), train.Options(device="cpu"), lambda *_: None)
    assert alone._rounds(bedside.peek(root), consent_of(root)) == 4


def consent_of(root: Path) -> bedside.Approved:
    return bedside.require_approved(bedside.peek(root))


def test_cyclic_does_not_stop_early() -> None:
    with pytest.raises(FedmedError, match="stopping is not for strategy cyclic") as caught:
        tables.tabular(stopping={"patience": 1}, strategy={"name": "cyclic"})
    assert caught.value.code == "FM-RCP-03"


def end_of(world: small.Federation, data: bytes) -> tuple[str, str]:
    """What becomes of the one file in the inbox of aa."""
    root = world.site("aa")
    for path in (root / "inbox").glob("model-*.fedmed"):
        path.unlink()
    (root / "inbox" / "forged.fedmed").write_bytes(data)
    with bedside.opened(root, small.now()) as site:
        _, arrivals = bedside.receive(site, consent_of(root), small.now(), "train-local")
    verdict = next(each.verdict for each in arrivals if each.path.name == "forged.fedmed")
    return verdict.outcome.value, verdict.code


def changed(world: small.Federation, round_: int, change: Any) -> bytes:
    """A model of the coordinator, signed again with its key after a change of what it says."""
    key = keys.load(world.coordinator / "keys" / "signing.key")
    data = (world.coordinator / "outbox" / f"model-r{round_:04d}.fedmed").read_bytes()
    return samples.resigned(data, key, change)


def ends(predicate: dict[str, Any]) -> None:
    predicate["body"]["last"] = True


def test_a_site_takes_an_early_end_only_where_the_recipe_has_one(world: small.Federation, tmp_path: Path) -> None:
    play(world, 0.5)
    assert end_of(world, changed(world, 1, ends)) == ("accepted", "")
    other = small.founded(tmp_path / "other", limits={"rounds": ROUNDS})
    play(other, 0.5)
    assert end_of(other, changed(other, 1, ends)) == ("rejected", "FM-RND-01")


def test_a_first_model_cannot_be_the_last(world: small.Federation) -> None:
    assert end_of(world, changed(world, 0, ends)) == ("rejected", "FM-RND-01")


def test_nothing_follows_the_last_model(world: small.Federation) -> None:
    """Or a coordinator could let the test folds be opened, and go on."""
    stopped(world)
    train.train(world.site("aa"), small.now(), train.Options(device="cpu"), lambda *_: None)
    before = desk.peek(world.coordinator).record.model(4)
    assert before

    def follows(predicate: dict[str, Any]) -> None:
        predicate |= {"round": 5, "seq": before.seq + 1, "prev": before.id}
        predicate["body"] |= {"last": False, "previous": before.id}

    assert end_of(world, changed(world, 4, follows)) == ("rejected", "FM-RND-01")
