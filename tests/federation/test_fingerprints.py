"""The exchange before the first round: fingerprints in, a second version of the federation out, and lies about both."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from fedmed import preprocessing
from fedmed.coordinator import aggregate, fingerprints, opening, run, start, status, versions
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, archived, keys
from fedmed.exchange.bodies_fingerprint import DataFingerprint
from fedmed.exchange.verdict import Outcome
from fedmed.fingerprint import Cell, Grey, Lengths, Share
from fedmed.preprocessing import Intensity
from fedmed.site import approve
from fedmed.site import desk as site_desk
from fedmed.site import status as bedside
from tests.coded import code_of
from tests.vectors import samples

from . import simulator
from .simulator import INITIAL, ROWS, Hospital, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedmed.coordinator.aggregate import Aggregated
    from fedmed.fingerprint import Axes
    from fedmed.preprocessing import Preprocessing

NAMES = ("aa", "bb", "cc")
ACCEPTED, REJECTED = Outcome.ACCEPTED, Outcome.REJECTED
GOOD = (ACCEPTED, "", 0)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    data = {"normalisation": "federated", "spacing": "federated"}
    made = Simulation(tmp_path_factory.mktemp("template") / "federation", NAMES).found(data=data, deadline_days=3)
    return made.pass_time(hours=1)


@pytest.fixture
def waiting(template: Simulation, tmp_path: Path) -> Simulation:
    """Everybody approved, and no fingerprint is sealed yet."""
    return template.copied_to(tmp_path / "federation")


def send(simulation: Simulation, name: str, mean: float = 100.0, num_cases: int = 30, **changed: Any) -> bytes:
    data = simulation.sites[name].fingerprint(simulation.now, mean, num_cases, **changed)
    simulation.coordinator.deliver(data, simulation.now)
    return data


def pooled(simulation: Simulation) -> Simulation:
    for name in NAMES:
        send(simulation, name)
    simulation.coordinator.aggregate(simulation.now)
    return simulation.pass_time(hours=1)


def test_a_first_model_that_waited_has_its_control_variates(tmp_path: Path) -> None:
    data = {"normalisation": "federated", "spacing": "federated"}
    world = pooled(Simulation(tmp_path / "federation", NAMES).found(data=data, strategy={"name": "scaffold"}))
    known, weights, control = world.coordinator.newest_parts()
    assert known.round == 0
    assert all((weights[name] == INITIAL[name]).all() for name in INITIAL)
    assert control.keys() == {"conv.weight", "conv.bias"}
    assert not any(array.any() for array in control.values())


def numbers_at(site: Hospital) -> Preprocessing | None:
    consent = site_desk.approved(site_desk.peek(site.root))
    assert consent is not None
    return consent.preprocessing


def in_force(simulation: Simulation) -> Any:
    found = agreement.in_force(simulation.coordinator.workspace())
    assert found is not None
    return found


# the honest way


def test_start_posts_no_model_and_keeps_its_weights(waiting: Simulation) -> None:
    names = [path.name for path in (waiting.coordinator.root / "outbox").iterdir()]
    assert names == ["federation-v0001.fedmed"]
    kept = waiting.coordinator.root / "state" / "initial.safetensors"
    assert kept.read_bytes() == samples.MODEL
    assert kept.stat().st_mode & 0o777 == 0o600


def test_fingerprints_become_numbers_and_the_first_model(waiting: Simulation) -> None:
    for name, mean, cases in (("aa", 90.0, 30), ("bb", 100.0, 20), ("cc", 120.0, 50)):
        send(waiting, name, mean, cases)
    made = waiting.coordinator.aggregate(waiting.now)
    # mean (30 * 90 + 20 * 100 + 50 * 120) / 100; variance 20^2 + (30 * 17^2 + 20 * 7^2 + 50 * 13^2) / 100
    deviation = float(f"{(400 + 181) ** 0.5:.5g}")
    found = preprocessing.from_bytes(in_force(waiting).preprocessing, "")
    assert found.channels == {"MR": Intensity(mean=107, sd=deviation, low=67, high=147)}
    assert found.spacing == (1, 1, 1)
    assert (made.round, made.last, made.parents) == (0, False, [])
    assert [(ack.site, ack.status) for ack in made.acks] == [(name, "used") for name in NAMES]
    assert made.posted.name == "model-r0000.fedmed"
    assert [each.name for each in made.federations] == ["federation-v0002.fedmed"]
    assert simulator.predicate_of(made.posted.read_bytes())["federation"]["version"] == 2
    known, weights = waiting.coordinator.newest_model()
    assert known.round == 0
    assert all((weights[name] == INITIAL[name]).all() for name in INITIAL)


def test_every_site_takes_the_numbers_without_a_new_approval(waiting: Simulation) -> None:
    pooled(waiting).carry_down()
    for site in waiting.sites.values():
        ends = {each.path.name: simulator.end(each.verdict) for each in site.look(waiting.now)}
        assert ends["federation-v0002.fedmed"] == ends["model-r0000.fedmed"] == GOOD
        found = numbers_at(site)
        assert found is not None
        assert found.digest() == in_force(waiting).federation.preprocessing
        assert simulator.end(site.look(waiting.now)[-1].verdict)[0] is Outcome.DUPLICATE
    assert bedside.status(waiting.sites["aa"].root, waiting.now).ack == "used"


def test_the_rounds_go_on_with_these_numbers_alone(waiting: Simulation) -> None:
    pooled(waiting).carry_down()
    digest = in_force(waiting).federation.preprocessing
    for name in NAMES:
        waiting.coordinator.deliver(update(waiting, name, digest), waiting.now)
    made = waiting.coordinator.aggregate(waiting.now)
    assert [ack.status for ack in made.acks] == ["used"] * 3


def update(simulation: Simulation, name: str, numbers: str | None) -> bytes:
    data = simulation.update(name, 0.125)
    return simulation.change(data, name, lambda predicate: predicate["body"].update(preprocessing=numbers))


@pytest.mark.parametrize("numbers", [None, "0" * 64])
def test_an_update_made_with_other_numbers_is_refused_and_its_site_is_told(
    waiting: Simulation, numbers: str | None
) -> None:
    pooled(waiting).carry_down()
    data = update(waiting, "aa", numbers)
    assert waiting.coordinator.judge(data, waiting.now) == (REJECTED, "FM-NRM-06", 5)
    (standing, *_) = status.status(waiting.coordinator.root, waiting.now).sites
    assert standing.status == "refused"
    assert "FM-NRM-06" in standing.reason


# who is in, and when it may close


def test_aggregate_waits_for_the_missing_and_says_who(waiting: Simulation) -> None:
    send(waiting, "aa")
    send(waiting, "cc")
    with pytest.raises(FedmedError, match=r"2 of 3 sites are in; not in: bb .no fingerprint has arrived") as caught:
        waiting.coordinator.aggregate(waiting.now)
    assert caught.value.code == "FM-WAI-03"
    found = status.status(waiting.coordinator.root, waiting.now)
    assert [each.status for each in found.sites] == ["used", "missing", "used"]
    assert (found.round, found.next) == (-1, "wait for the fingerprints of bb")


def test_the_deadline_counts_from_the_federation(waiting: Simulation) -> None:
    send(waiting, "aa")
    send(waiting, "bb")
    waiting.pass_time(days=2)
    assert code_of(lambda: waiting.coordinator.aggregate(waiting.now)) == "FM-WAI-03"
    waiting.pass_time(days=1)
    made = waiting.coordinator.aggregate(waiting.now)
    assert [ack.status for ack in made.acks] == ["used", "used", "missing"]


def test_a_person_closes_without_the_missing_but_not_below_the_least(waiting: Simulation) -> None:
    send(waiting, "aa")
    assert code_of(lambda: waiting.coordinator.aggregate(waiting.now, close=True)) == "FM-WAI-03"
    send(waiting, "bb")
    made = waiting.coordinator.aggregate(waiting.now, close=True)
    assert [ack.status for ack in made.acks] == ["used", "used", "missing"]
    late = waiting.sites["cc"].fingerprint(waiting.now)
    assert waiting.coordinator.judge(late, waiting.now)[0] is Outcome.LATE


def test_the_site_that_was_left_out_takes_part_in_the_rounds(waiting: Simulation) -> None:
    send(waiting, "aa")
    send(waiting, "bb")
    waiting.coordinator.aggregate(waiting.now, close=True)
    waiting.carry_down()
    waiting.sites["cc"].look(waiting.now)
    assert numbers_at(waiting.sites["cc"]) == numbers_at(waiting.sites["cc"])
    digest = in_force(waiting).federation.preprocessing
    assert waiting.coordinator.judge(update(waiting, "cc", digest), waiting.now) == GOOD


def test_approval_and_fingerprint_may_come_in_either_order(tmp_path: Path) -> None:
    world = Simulation(tmp_path / "federation", NAMES).found(approved=("aa", "bb"), data={"normalisation": "federated"})
    approval = world.sites["cc"].approve(world.now)
    for name in NAMES:
        send(world, name)
    assert code_of(lambda: world.coordinator.aggregate(world.now)) == "FM-WAI-03"
    found = status.status(world.coordinator.root, world.now)
    assert found.sites[2].status == "unapproved"
    world.coordinator.deliver(approval, world.now)
    assert status.status(world.coordinator.root, world.now).next == "fedmed aggregate"
    assert world.coordinator.aggregate(world.now).round == 0


def test_an_approval_that_comes_after_the_numbers_still_counts(tmp_path: Path) -> None:
    world = Simulation(tmp_path / "federation", NAMES).found(approved=("aa", "bb"), data={"normalisation": "federated"})
    send(world, "aa")
    send(world, "bb")
    world.coordinator.aggregate(world.now, close=True)
    world.carry_down()
    typed = keys.spoken(in_force(world).federation.root)
    late = approve.approve(world.sites["cc"].root, world.now, by="Dr. C", ask=lambda _: typed)
    assert world.coordinator.judge(late.posted.read_bytes(), world.now) == GOOD
    assert GOOD in {simulator.end(each.verdict) for each in world.sites["cc"].look(world.now)}
    assert numbers_at(world.sites["cc"]) is not None


def test_the_fingerprint_that_people_compare_stays_that_of_the_first_version(waiting: Simulation) -> None:
    before = status.status(waiting.coordinator.root, waiting.now).fingerprint
    pooled(waiting).carry_down()
    waiting.sites["aa"].look(waiting.now)
    again = start.start(waiting.coordinator.root, lambda _: (INITIAL, ROWS), waiting.now)
    shown = {status.status(waiting.coordinator.root, waiting.now).fingerprint, again.fingerprint}
    assert shown | {bedside.status(waiting.sites["aa"].root, waiting.now).fingerprint} == {before}
    assert [path.name for path in again.posted] == [
        "federation-v0001.fedmed", "federation-v0002.fedmed", "model-r0000.fedmed",
    ]  # fmt: skip


# corrected, repeated, in conflict, and out of place


def test_the_newest_fingerprint_counts_and_a_copy_changes_nothing(waiting: Simulation) -> None:
    first, second = (waiting.sites["aa"].fingerprint(waiting.now, mean) for mean in (10.0, 100.0))
    assert waiting.coordinator.judge(second, waiting.now) == GOOD
    assert waiting.coordinator.judge(first, waiting.now)[0] is Outcome.SUPERSEDED
    assert waiting.coordinator.judge(second, waiting.now)[0] is Outcome.DUPLICATE
    send(waiting, "bb")
    send(waiting, "cc")
    waiting.coordinator.aggregate(waiting.now)
    found = preprocessing.from_bytes(in_force(waiting).preprocessing, "")
    assert found.channels
    assert found.channels["MR"].mean == 100


def test_two_fingerprints_with_one_number_exclude_their_sender(waiting: Simulation) -> None:
    data = send(waiting, "aa")
    twin = waiting.change(data, "aa", lambda predicate: predicate["body"].update(num_cases=31))
    waiting.coordinator.look(waiting.now)
    assert waiting.coordinator.judge(twin, waiting.now)[0] is Outcome.CONFLICT
    send(waiting, "bb")
    send(waiting, "cc")
    made = waiting.coordinator.aggregate(waiting.now, close=True)
    assert [ack.status for ack in made.acks] == ["excluded", "used", "used"]


def cells(*rows: tuple[int, int, int]) -> Axes:
    return (Lengths(tuple(Cell(*row) for row in rows)),) * 3


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another channel": ({"channels": {"T1": Grey(30, 1.0, 1.0, 0.0, 2.0)}}, "channels"),
    "another class": ({"classes": {2: Share(30, 1.0)}}, "classes"),
    "a class of few cases": ({"classes": {1: Share(3, 1.0)}}, "fewer than 10"),
    "percentiles of few cases": ({"channels": {"MR": Grey(9, 1.0, 1.0, 0.0, 2.0)}}, "fewer than 10"),
    "more cases with grey values than cases": ({"channels": {"MR": Grey(31, 1.0, 1.0, 0.0, 2.0)}}, "more cases"),
    "percentiles the wrong way round": ({"channels": {"MR": Grey(30, 1.0, 1.0, 2.0, 0.0)}}, "not in order"),
    "one percentile": ({"channels": {"MR": Grey(30, 1.0, 1.0, 2.0, None)}}, "not in order"),
    "a cell that ends before it begins": ({"spacing": cells((5, 3, 30))}, "bins that are not in order"),
    "cells one over the other": ({"spacing": cells((0, 9, 15), (9, 9, 15))}, "bins that are not in order"),
    "more lengths than cases": ({"spacing": cells((5, 5, 31))}, "lengths of more cases"),
    "more of a class than cases": ({"classes": {1: Share(31, 1.0)}}, "classes of more cases"),
    "less than no voxel": ({"classes": {1: Share(30, -1.0)}}, "classes of more cases"),
    "too many digits": ({"channels": {"MR": Grey(30, 1.23456789, 1.0, 0.0, 2.0)}}, "fewer than 10"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_fingerprint_that_its_own_fedmed_would_not_make_does_not_count(waiting: Simulation, name: str) -> None:
    changed, words = WRONG[name]
    send(waiting, "aa", **changed)
    send(waiting, "bb")
    send(waiting, "cc")
    with pytest.raises(FedmedError, match=f"aa .refused, FM-NRM-07: .*{words}"):
        waiting.coordinator.aggregate(waiting.now)
    send(waiting, "aa")  # corrected
    assert waiting.coordinator.aggregate(waiting.now).acks[0].status == "used"


def test_a_fingerprint_of_more_cases_than_the_bound_is_refused(tmp_path: Path) -> None:
    world = Simulation(tmp_path / "federation", NAMES).found(data={"normalisation": "federated"}, max_num_cases=29)
    assert world.coordinator.judge(world.sites["aa"].fingerprint(world.now), world.now) == (REJECTED, "FM-TEN-03", 5)


def test_a_fingerprint_that_no_recipe_asked_for_is_refused(tmp_path: Path) -> None:
    world = Simulation(tmp_path / "federation", NAMES).found()
    assert world.coordinator.judge(world.sites["aa"].fingerprint(world.now), world.now) == (REJECTED, "FM-RND-03", 5)


def test_spacing_that_nobody_can_tell_stops_before_anything_is_sealed(waiting: Simulation) -> None:
    for name in NAMES:
        few = simulator.measured(100.0, 9)
        hidden = dataclasses.replace(few.spacing[0], cells=(), untold=9)
        grey = {"MR": Grey(9, 100.0, 20.0, None, None)}
        send(waiting, name, 100.0, 9, channels=grey, spacing=(hidden,) * 3, shape=(hidden,) * 3,
             classes={1: Share(None, None)})  # fmt: skip
    assert code_of(lambda: waiting.coordinator.aggregate(waiting.now)) == "FM-NRM-04"
    assert in_force(waiting).federation.founding.version == 1


def test_a_spacing_beyond_what_a_recipe_may_ask_for_stops_before_anything_is_sealed(waiting: Simulation) -> None:
    for name in NAMES:
        send(waiting, name, spacing=cells((500, 500, 30)))  # 20 km
    assert code_of(lambda: waiting.coordinator.aggregate(waiting.now)) == "FM-NRM-04"
    assert in_force(waiting).federation.founding.version == 1


# a coordinator that lies


def change_roster(predicate: dict[str, Any]) -> None:
    predicate["body"]["roster"][1]["max_num_cases"] += 1


def drop_a_site(predicate: dict[str, Any]) -> None:
    predicate["body"]["roster"].pop()


LIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another bound": (change_roster, "roster or limits"),
    "a site less": (drop_a_site, "roster or limits"),
    "lower floors": (lambda p: p["body"]["limits"].update(min_count=1), "roster or limits"),
    "more rounds": (lambda p: p["body"]["limits"].update(rounds=99), "roster or limits"),
    "another title": (lambda p: p["federation"].update(title="harmless"), "id or title"),
    "a later end": (lambda p: p.update(expires="2040-01-01T00:00:00Z"), "date of expiry"),
    "fewer recipients": (lambda p: p["recipients"].pop(), "recipients"),
    "a version skipped": (lambda p: p["federation"].update(version=3), "version"),
    "another first version": (lambda p: p["federation"].update(previous="0" * 64), "version"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_second_version_that_changes_anything_else_is_refused(waiting: Simulation, name: str) -> None:
    change, words = LIES[name]
    site = waiting.sites["aa"]
    path = site.deliver(simulator.second_version(waiting, change), waiting.now)
    (verdict,) = (each.verdict for each in site.look(waiting.now) if each.path == path)
    assert (verdict.outcome, verdict.code, verdict.exit_code) == (REJECTED, "FM-NRM-05", 4)
    assert words in verdict.message
    assert numbers_at(site) is None
    assert site.judge(simulator.second_version(waiting), waiting.now) == GOOD


@pytest.mark.parametrize("number", [0, 1])
def test_a_second_version_with_another_recipe_or_table_is_refused(waiting: Simulation, number: int) -> None:
    def swap(predicate: dict[str, Any]) -> None:
        predicate["payload"][number]["bytes"] += 0

    site = waiting.sites["aa"]
    data = simulator.second_version(waiting, swap)
    statement, payloads = samples.statement_in(data), samples.members(data)[2:]
    payloads[number] = (payloads[number][0], payloads[number][1] + b" ")
    statement["subject"][number]["digest"]["sha256"] = samples.sha256(payloads[number][1])
    statement["predicate"]["payload"][number]["bytes"] += 1
    lie = samples.signed(statement, payloads, by=waiting.coordinator.key)
    assert site.judge(lie, waiting.now) == (REJECTED, "FM-NRM-05", 4)


def test_two_second_versions_are_equivocation(waiting: Simulation) -> None:
    site = waiting.sites["aa"]
    assert site.judge(simulator.second_version(waiting), waiting.now) == GOOD
    another = simulator.second_version(waiting, lambda p: p.update(seq=21))
    assert site.judge(another, waiting.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)


def test_a_second_version_after_the_rounds_have_begun_is_refused(waiting: Simulation) -> None:
    pooled(waiting).carry_down()
    site = waiting.sites["aa"]
    site.look(waiting.now)
    assert site.judge(simulator.second_version(waiting), waiting.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)
    third = simulator.second_version(
        waiting, lambda p: p["federation"].update(version=3, previous=in_force(waiting).federation.digest)
    )
    assert site.judge(third, waiting.now) == (REJECTED, "FM-NRM-05", 4)


def test_a_model_that_comes_before_its_federation_waits_for_it(waiting: Simulation) -> None:
    pooled(waiting)
    site, coordinator = waiting.sites["aa"], waiting.coordinator
    site.deliver(coordinator.posted("model-r0000"), waiting.now, "0-model.fedmed")
    assert simulator.end(site.look(waiting.now)[0].verdict) == (Outcome.EARLY, "FM-WAI-05", 75)
    site.deliver(coordinator.posted("federation-v0002"), waiting.now, "1-federation.fedmed")
    assert [simulator.end(each.verdict) for each in site.look(waiting.now)[:2]] == [GOOD, GOOD]


@pytest.mark.parametrize("data", [b"{}", b"[1]", simulator.NUMBERS + b" "])
def test_numbers_that_fedmed_would_not_write_stop_the_site(waiting: Simulation, data: bytes) -> None:
    site = waiting.sites["aa"]
    site.deliver(simulator.second_version(waiting, numbers=data), waiting.now)
    with pytest.raises(FedmedError, match=r"federation: preprocessing\.json") as caught:
        site.look(waiting.now)
    assert caught.value.code == "FM-NRM-01"
    assert "tell the coordinator" in caught.value.next


OTHER = {
    "no spacing": simulator.NUMBERS.replace(b"[1.0,1.0,2.5]", b"null"),
    "another channel": simulator.NUMBERS.replace(b'"MR"', b'"CT"'),
    "weights of classes": simulator.NUMBERS.replace(b'"class_counts":null', b'"class_counts":{"0":1,"1":%d}' % 10**400),
    "columns": simulator.NUMBERS.replace(b'"columns":null', b'"columns":{"age":{"fill":1.0,"mean":0.0,"sd":1.0}}'),
    "a deviation of next to nothing": simulator.NUMBERS.replace(b"31.75", b"1e-300"),
    "a mean beyond float32": simulator.NUMBERS.replace(b"102.5", b"1e+300"),
}


@pytest.mark.parametrize("name", OTHER)
def test_numbers_that_do_not_fit_the_recipe_stop_the_site(waiting: Simulation, name: str) -> None:
    assert OTHER[name] != simulator.NUMBERS
    site = waiting.sites["aa"]
    site.deliver(simulator.second_version(waiting, numbers=OTHER[name]), waiting.now)
    assert code_of(lambda: site.look(waiting.now)) == "FM-NRM-05"


def test_people_approve_the_first_version_alone(tmp_path: Path) -> None:
    """What follows it is compared with the one that was approved, not by telephone."""
    world = Simulation(tmp_path / "federation", NAMES).found(approved=())
    first, second = world.coordinator.posted("federation-v0001"), simulator.second_version(world)
    site = world.sites["aa"]
    for path in (site.root / "inbox").iterdir():
        path.unlink()
    site.deliver(second, world.now)
    assert code_of(lambda: site.approve(world.now)) == "FM-TRU-02"
    site.deliver(first, world.now)
    assert code_of(lambda: site.approve(world.now)) == "ok"


# killed in between


class Killed(BaseException):
    """The power went."""


@pytest.mark.parametrize("where", ["say_next", "say_first_model"])
def test_aggregate_goes_on_where_it_was_killed(
    waiting: Simulation, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def killed(*_: Any) -> Any:
        raise Killed

    for name in NAMES:
        send(waiting, name)
    with monkeypatch.context() as patched:
        patched.setattr(opening if where == "say_first_model" else versions, where, killed)
        with pytest.raises(Killed):
            waiting.coordinator.aggregate(waiting.now)
    assert status.status(waiting.coordinator.root, waiting.now).next == "fedmed aggregate"
    late = waiting.sites["cc"].fingerprint(waiting.now, 900.0)
    end = waiting.coordinator.judge(late, waiting.now)[0]
    assert end is (ACCEPTED if where == "say_next" else Outcome.LATE)
    done = run.run(waiting.coordinator.root, lambda: waiting.now, lambda *_: None, lambda _: None)
    assert [each.step for each in done.done] == ["aggregate"]
    made: Any = done.done[0].result
    assert [ack.status for ack in made.acks] == ["used"] * 3
    assert opening.is_open(waiting.coordinator.workspace(), desk_of(waiting)) is False


def desk_of(simulation: Simulation) -> Any:
    from fedmed.coordinator import desk  # noqa: PLC0415

    return desk.require_started(simulation.coordinator.workspace())


def test_weights_that_start_kept_are_whole_or_made_again(waiting: Simulation) -> None:
    for name in NAMES:
        send(waiting, name)
    kept = opening.initial_file(waiting.coordinator.workspace())
    kept.write_bytes(kept.read_bytes()[:-1])
    assert code_of(lambda: waiting.coordinator.aggregate(waiting.now)) == "FM-NRM-08"
    start.start(waiting.coordinator.root, lambda _: (INITIAL, ROWS), waiting.now)
    assert waiting.coordinator.aggregate(waiting.now).round == 0


def test_start_repeats_with_the_weights_it_began_with_and_no_others(waiting: Simulation) -> None:
    def unasked(_: Any) -> Any:
        raise AssertionError("the kept weights are enough")

    start.start(waiting.coordinator.root, unasked, waiting.now)
    other = {name: array + 1 for name, array in INITIAL.items()}

    def begun(*, from_file: bool) -> str:
        return code_of(
            lambda: start.start(waiting.coordinator.root, lambda _: (other, ROWS), waiting.now, from_file=from_file)
        )

    assert begun(from_file=True) == "FM-FED-05"
    opening.initial_file(waiting.coordinator.workspace()).unlink()
    assert begun(from_file=False) == "FM-FED-05"


def test_include_has_nothing_to_name_before_the_first_round(waiting: Simulation) -> None:
    def included() -> Aggregated:
        return aggregate.aggregate(waiting.coordinator.root, waiting.now, include=["aa"], reason="called")

    assert code_of(included) == "FM-SCR-03"


def test_run_says_what_it_waits_for(waiting: Simulation) -> None:
    send(waiting, "aa")
    found = run.run(waiting.coordinator.root, lambda: waiting.now, lambda *_: None, lambda _: None)
    assert found.done == []
    assert "bb (no fingerprint has arrived)" in found.due.waiting


def test_the_archive_holds_what_was_pooled(waiting: Simulation) -> None:
    pooled(waiting)
    found = waiting.coordinator.workspace()
    rows = [facts["used"] for _, facts in found.record.notes if facts.get("what") == fingerprints.POOLED]
    assert [row["site"] for row in rows[-1]] == list(NAMES)
    for row in rows[-1]:
        assert isinstance(archived.read_archived(found, row["fingerprint"]).predicate.body, DataFingerprint)
