"""Training, the local-only baseline and evaluation at a site: resumed, repeated, counted, and silent about patients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.cases import datalist
from fedmed.coordinator import aggregate
from fedmed.errors import FedmedError
from fedmed.exchange import archived, intake
from fedmed.site import alone, desk, evaluate, partition, status, train
from tests import small

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.learning.params import Params


class Interrupt(Exception):
    """The operator's Ctrl-C, at a step of the test's choosing."""


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def at_step(number: int, seen: list[int]) -> Any:
    def progress(what: str, done: int, _total: int) -> None:
        if what.startswith("training"):
            seen.append(done)
            if done == number:
                raise Interrupt

    return progress


def map_labels(site: Path) -> None:
    """Another label map, under which the same masks mean the same."""
    path = site / "fedmed.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("label_map")]
    path.write_text("\n".join([*lines, "label_map: {1: 1, 2: 1}", ""]))


def finish(world: small.Federation, value: float = 0.01) -> None:
    """Both rounds, without training: everybody holds the last model."""
    for _ in range(2):
        for name in world.sites:
            small.seal_update(world.site(name), value)
        world.carry()
        aggregate.aggregate(world.coordinator, small.now())
        world.carry()


def reached_alone(site_root: Path) -> Params:
    site = desk.peek(site_root)
    consent = desk.approved(site)
    assert consent
    found = alone.newest(site, consent)
    assert found
    return found


def test_alone_goes_on_where_it_was_interrupted(
    world: small.Federation, parted: small.Federation, tmp_path: Path
) -> None:
    seen: list[int] = []
    for step in (1, 3):  # in the first round and in the second
        with pytest.raises(Interrupt):
            alone.train_alone(world.site("aa"), small.now(), "cpu", at_step(step, seen))
    done = alone.train_alone(world.site("aa"), small.now(), "cpu", at_step(0, seen))
    assert seen == [1, 2, 3, 4]
    assert (done.rounds, done.num_steps, done.is_new) == (2, 4, True)
    assert not alone.train_alone(world.site("aa"), small.now(), "cpu", at_step(0, seen)).is_new
    assert seen == [1, 2, 3, 4]

    undisturbed = parted.copy(tmp_path / "undisturbed").site("aa")
    alone.train_alone(undisturbed, small.now(), "cpu", quiet)
    ours, theirs = reached_alone(world.site("aa")), reached_alone(undisturbed)
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_alone_is_never_sealed_and_leaves_nothing_half_done(world: small.Federation) -> None:
    site = world.site("aa")
    before = sorted(path.name for path in (site / "archive").iterdir())
    alone.train_alone(site, small.now(), "cpu", quiet)
    assert not list((site / "outbox").glob("update*"))
    known = [path.name for path in (site / "archive").iterdir()]
    assert len(known) == len(before) + 1, "the model that it started from, and nothing said"
    left = [path.name for path in (site / "state" / "alone").rglob("*") if path.is_file()]
    assert left == ["r0002.safetensors"]


def test_alone_starts_anew_with_other_cases(moved: tuple[Path, Path]) -> None:
    site, data = moved
    alone.train_alone(site, small.now(), "cpu", quiet)
    trained = json.loads((site / "cases.json").read_text())["training"][0]
    for path in (trained["image"]["MR"], trained["label"]):
        (data / path).unlink()
    partition.partition(site, small.now())
    assert alone.train_alone(site, small.now(), "cpu", quiet).is_new


def test_alone_starts_anew_with_another_label_map(moved: tuple[Path, Path]) -> None:
    site, _ = moved
    assert alone.train_alone(site, small.now(), "cpu", quiet).is_new
    assert not alone.train_alone(site, small.now(), "cpu", quiet).is_new
    map_labels(site)
    assert alone.train_alone(site, small.now(), "cpu", quiet).is_new


def test_training_killed_by_the_operator_repeats_no_step(world: small.Federation) -> None:
    seen: list[int] = []
    with pytest.raises(Interrupt):
        train.train(world.site("aa"), small.now(), train.Options("cpu"), at_step(1, seen))
    made = train.train(world.site("aa"), small.now(), train.Options("cpu"), at_step(0, seen))
    assert seen == [1, 2]
    assert made.is_new
    again = train.train(world.site("aa"), small.now(), train.Options("cpu"), at_step(0, seen))
    assert (seen, again.is_new, again.body, again.posted) == ([1, 2], False, made.body, made.posted)


def test_again_trains_again_and_supersedes(world: small.Federation) -> None:
    first = train.train(world.site("aa"), small.now(), train.Options("cpu"), quiet)
    assert first.posted
    old = first.posted.read_bytes()
    second = train.train(world.site("aa"), small.now(), train.Options("cpu", again=True), quiet)
    assert second.posted == first.posted
    assert second.is_new
    assert second.posted.read_bytes() != old
    record = desk.peek(world.site("aa")).workspace.record
    mine = record.of("update", sender="aa")
    assert [known.seq for known in mine] == [3, 4]
    assert mine[0].payload == mine[1].payload, "the same cases and seeds give the same numbers"


def test_again_goes_on_where_it_was_interrupted(world: small.Federation) -> None:
    site, seen = world.site("aa"), list[int]()
    train.train(site, small.now(), train.Options("cpu"), quiet)
    with pytest.raises(Interrupt):
        train.train(site, small.now(), train.Options("cpu", again=True), at_step(1, seen))
    train.train(site, small.now(), train.Options("cpu", again=True), at_step(0, seen))
    assert seen == [1, 2]
    assert len(desk.peek(site).workspace.record.of("update", sender="aa")) == 2


def test_an_update_names_no_patient_no_case_and_no_path(world: small.Federation) -> None:
    made = train.train(world.site("aa"), small.now(), train.Options("cpu"), quiet)
    assert made.posted
    site = desk.peek(world.site("aa"))
    known = site.workspace.record.newest("update", sender="aa")
    assert known
    body = archived.read_archived(site.workspace, known.id).predicate.body.model_dump_json()
    secrets = [*small.PATIENTS, str(world.root), str(site.data_root), "data-aa", "nii", "images"]
    cases = datalist.load(world.site("aa") / "cases.json")
    for entry in (*cases.training, *cases.validation, *cases.testing):
        secrets += [entry.case, entry.patient, entry.case.removeprefix("case-"), entry.patient.removeprefix("patient-")]
    sent = made.posted.read_bytes()
    for secret in secrets:
        assert secret not in body
        assert len(secret) < 6 or secret.encode() not in sent  # four letters stand in a tensor or a signature by chance
    assert '"num_cases":3' in body


def test_validation_is_not_counted_and_found_again(world: small.Federation) -> None:
    first = evaluate.evaluate(world.site("aa"), small.now(), "validation", "cpu", quiet)
    assert (first.is_new, first.body.opening, first.body.told.num_cases) == (True, 0, 1)
    data = first.posted.read_bytes()
    first.posted.unlink()
    second = evaluate.evaluate(world.site("aa"), small.now(), "validation", "cpu", quiet)
    assert (second.is_new, second.body) == (False, first.body)
    assert second.posted.read_bytes() == data
    assert second.case_table == first.case_table


def test_a_report_of_other_cases_or_another_label_map_is_not_found_again(moved: tuple[Path, Path]) -> None:
    site, data = moved

    def is_new() -> bool:
        return evaluate.evaluate(site, small.now(), "validation", "cpu", quiet).is_new

    assert [is_new(), is_new()] == [True, False]
    map_labels(site)
    assert [is_new(), is_new()] == [True, False]
    trained = json.loads((site / "cases.json").read_text())["training"][0]
    for path in (trained["image"]["MR"], trained["label"]):
        (data / path).unlink()
    partition.partition(site, small.now())
    assert [is_new(), is_new()] == [True, False]


def test_a_report_that_nobody_bound_is_made_again(world: small.Federation) -> None:
    small.seal_report(world.site("aa"), mean=0.5, n=1)
    assert evaluate.evaluate(world.site("aa"), small.now(), "validation", "cpu", quiet).is_new


def test_every_opening_of_the_test_fold_is_counted(world: small.Federation) -> None:
    site = world.site("aa")
    evaluate.evaluate(site, small.now(), "validation", "cpu", quiet)
    with pytest.raises(FedmedError) as caught:
        evaluate.evaluate(site, small.now(), "testing", "cpu", quiet)
    assert caught.value.code == "FM-USE-02"
    finish(world)
    first = evaluate.evaluate(site, small.now(), "testing", "cpu", quiet)
    assert (first.is_new, first.last, first.body.opening) == (True, True, 1)
    assert evaluate.evaluate(site, small.now(), "testing", "cpu", quiet).body == first.body

    alone.train_alone(site, small.now(), "cpu", quiet)  # now there is more to say, and the fold is opened again
    second = evaluate.evaluate(site, small.now(), "testing", "cpu", quiet)
    assert (second.is_new, second.body.opening) == (True, 2)
    assert {score.model for score in second.body.told.scores} == {"global", "alone"}
    assert evaluate.evaluate(site, small.now(), "testing", "cpu", quiet).body == second.body


def test_an_opening_that_was_interrupted_counts(world: small.Federation) -> None:
    finish(world)

    def interrupted(what: str, _done: int, _total: int) -> None:
        if what.startswith("scoring"):
            raise Interrupt

    with pytest.raises(Interrupt):
        evaluate.evaluate(world.site("aa"), small.now(), "testing", "cpu", interrupted)
    found = evaluate.evaluate(world.site("aa"), small.now(), "testing", "cpu", quiet)
    assert found.body.opening == 2, "somebody may have seen the scores"


def test_a_fold_without_a_case_cannot_be_scored(world: small.Federation) -> None:
    path = world.site("aa") / "cases.json"
    cases = json.loads(path.read_text())
    cases["training"] += cases["validation"]
    cases["validation"] = []
    for count in ("counts", "patients"):
        cases["fedmed"][count] |= {"training": len(cases["training"]), "validation": 0}
    path.write_text(json.dumps(cases))
    with pytest.raises(FedmedError) as refused:
        evaluate.evaluate(world.site("aa"), small.now(), "validation", "cpu", quiet)
    assert refused.value.code == "FM-DAT-45"


def test_a_report_names_no_case(world: small.Federation) -> None:
    found = evaluate.evaluate(world.site("aa"), small.now(), "validation", "cpu", quiet)
    head, *rows = found.case_table.read_text().splitlines()
    assert head == "model,case,label,metric,value,missed,spurious,empty"
    assert {row.split(",")[1][:5] for row in rows} == {"case-"}
    assert found.case_table.stat().st_mode & 0o777 == 0o600
    assert rows[0].split(",")[1].encode() not in found.posted.read_bytes()


def test_status_says_what_became_of_the_update(world: small.Federation) -> None:
    site = world.site("aa")
    found = status.status(site, small.now())
    assert (found.round, found.has_cases, found.update_sent, found.next) == (-1, True, False, "fedmed train-local")
    for name in world.sites:
        small.seal_update(world.site(name))
    found = status.status(site, small.now())
    assert (found.round, found.update_sent, found.next) == (0, True, "wait for model-r0001.fedmed")
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert status.status(site, small.now()).next == "fedmed train-local"
    assert before == {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}, "status changes nothing"
    with desk.opened(site, small.now()) as opened:
        consent = desk.require_approved(opened)
        intake.receive_all(opened.workspace, desk.terms(consent), small.now(), "test")
    assert status.status(site, small.now()).ack == "used, share 0.500"
