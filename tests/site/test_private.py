"""Rounds with differential privacy at a hospital: what is reserved, remembered, charged and refused."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from fedmed.cli.app import app
from fedmed.coordinator import aggregate, start
from fedmed.coordinator import recover as vouched
from fedmed.errors import CODES, FedmedError
from fedmed.exchange import archived
from fedmed.learning import accounting
from fedmed.learning.accounting import Event
from fedmed.site import approve, budget, desk, partition, private, pseudonyms, recover, spent, status, train
from fedmed.site.train import Options
from tests import small, tables
from tests.coded import code_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GIVEN = {
    "columns": [
        {"name": "age", "mean": 65, "sd": 15},
        {"name": "pressure", "mean": 140, "sd": 25},
        {"name": "pain", "levels": ["none", "mild", "severe"]},
    ],
    "normalisation": "none",
    "imputation": "constant",
}
DP = {"target_epsilon": 8, "clip_norm": 1.0, "patients_per_step": 4}
RECIPE = {**tables.TABULAR, "data": {**tables.TABULAR["data"], **GIVEN}, "dp": DP}
PATIENTS = tuple(f"person-{number:03d}" for number in range(60))


def told(_what: str, _done: int, _total: int) -> None:
    pass


def with_budget(site: Path, folder: Path, **settings: Any) -> None:
    path = site / "fedmed.yaml"
    said = {**yaml.safe_load(path.read_text()), "privacy": {"budget_dir": str(folder), **settings}}
    path.write_text(yaml.safe_dump(said))


def world(
    root: Path, patients: Sequence[str] = PATIENTS, *, store: Path | None = None, **settings: Any
) -> small.Federation:
    """Two hospitals behind `partition`; each keeps its budget in `store`, else in a folder of its own."""
    made = small.founded(
        root, initial=small.unet_initial, recipe=RECIPE, patients=patients, hospital=tables.write_hospital, channels=(),
    )  # fmt: skip
    for name in made.sites:
        with_budget(made.site(name), store or root / f"budget-{name}", **settings)
        partition.partition(made.site(name), small.now())
    return made


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    return world(tmp_path_factory.mktemp("private") / "world")


@pytest.fixture
def ready(founded: small.Federation, tmp_path: Path) -> small.Federation:
    copy = founded.copy(tmp_path / "world")
    for name in copy.sites:
        with_budget(copy.site(name), copy.root / f"budget-{name}")
    return copy


def trained(site: Path) -> train.Trained:
    found = train.train(site, small.now(), Options(device="cpu"), told)
    assert isinstance(found, train.Trained)
    return found


def store_of(site: Path) -> budget.Store:
    return budget.peek(desk.peek(site))


def test_a_round_is_reserved_trained_and_confirmed(ready: small.Federation) -> None:
    made = trained(ready.site("aa"))
    (found,) = store_of(ready.site("aa")).reserved.values()
    assert (found.workspace, found.round, found.num_patients, found.steps) == ("aa", 0, 36, 4)
    assert found.patients_per_step == 4
    assert made.body is not None
    assert found.sealed == desk.peek(ready.site("aa")).workspace.record.newest("update").id  # type: ignore[union-attr]
    block = made.body.privacy
    assert block is not None
    assert (block.unit, block.delta, block.noise_multiplier) == ("patient", "0.00001", f"{found.noise_multiplier:g}")
    exact = accounting.epsilon([Event(4 / 36, found.noise_multiplier, 4)], 1e-5)
    assert exact <= float(block.epsilon) < exact + 0.1
    assert list((ready.site("aa") / "state" / "checkpoints").iterdir()) == []
    (promise,) = made.promises
    assert promise.startswith(f"differential privacy of each training patient: epsilon {block.epsilon} at delta ")


def test_the_loss_of_training_stays_at_the_hospital(ready: small.Federation) -> None:
    shown = CliRunner().invoke(app, ["train-local", "-w", str(ready.site("aa")), "--device", "cpu"])
    assert shown.exit_code == 0, shown.output
    assert "loss in logs/local.log" in shown.output
    log = (ready.site("aa") / "logs" / "local.log").read_text()
    assert re.search(r"round 0: mean loss of training 0\.\d+; it has no noise", log)
    site = desk.peek(ready.site("aa"))
    known = site.workspace.record.newest("update")
    assert known is not None
    facts = archived.read_archived(site.workspace, known.id).predicate.body.facts
    assert (facts.num_cases, facts.train_loss) == (36, None)
    assert "training loss" not in " ".join(approve.leaves(desk.require_approved(site).recipe))


@pytest.mark.slow
def test_both_rounds_together_come_to_the_target(ready: small.Federation) -> None:
    for _ in range(2):
        for name in ready.sites:
            trained(ready.site(name))
        ready.carry()
        aggregate.aggregate(ready.coordinator, small.now())
        ready.carry()
    reserved = list(store_of(ready.site("aa")).reserved.values())
    assert [each.round for each in reserved] == [0, 1]
    events = [event for each in reserved for event in each.events]
    events.append(Event(events[0].rate, events[0].noise_multiplier, 1))  # what a crash may cost
    assert accounting.epsilon(events, 1e-5) <= 8
    less = [Event(event.rate, round(event.noise_multiplier - 0.01, 2), event.steps) for event in events]
    assert accounting.epsilon(less, 1e-5) > 8


def test_no_budget_no_training(ready: small.Federation) -> None:
    site = ready.site("aa")
    said = yaml.safe_load((site / "fedmed.yaml").read_text())
    del said["privacy"]
    (site / "fedmed.yaml").write_text(yaml.safe_dump(said))
    assert code_of(lambda: trained(site)) == "FM-PRV-01"
    assert not list((site / "outbox").glob("update*"))


def test_a_store_inside_of_a_workspace_is_none(ready: small.Federation) -> None:
    with_budget(ready.site("aa"), ready.site("aa") / "budget")
    assert code_of(lambda: trained(ready.site("aa"))) == "FM-PRV-01"


@pytest.mark.parametrize("inside", ["", "budget", "../data-aa/rows/budget"])
def test_a_store_among_the_data_is_none(inside: str, ready: small.Federation, tmp_path: Path) -> None:
    """The data folder is only read: nothing of the store lands in it, by whatever name or link it is called."""
    data = tmp_path / "data-aa"
    shutil.copytree(desk.peek(ready.site("aa")).data_root, data)
    before = sorted(data.rglob("*"))
    (tmp_path / "link").symlink_to(data)
    said = yaml.safe_load((ready.site("aa") / "fedmed.yaml").read_text())
    said["data"]["root"] = str(tmp_path / "link")
    (ready.site("aa") / "fedmed.yaml").write_text(yaml.safe_dump(said))
    with_budget(ready.site("aa"), data / inside)
    for refused in (trained, lambda site: partition.partition(site, small.now()), spent.status):
        assert code_of(partial(refused, ready.site("aa"))) == "FM-PRV-01"
    assert sorted(data.rglob("*")) == before


def test_where_a_share_is_not_mounted_no_folder_is_made(ready: small.Federation, tmp_path: Path) -> None:
    """It would hide that, and a new store in it would know nothing of what was spent."""
    site, gone = ready.site("aa"), tmp_path / "share" / "budget"
    with_budget(site, gone)
    with pytest.raises(FedmedError, match="no store is there") as unfounded:
        trained(site)
    assert unfounded.value.code == "FM-PRV-02"
    with_budget(site, ready.root / "budget-aa")
    trained(site)
    with_budget(site, gone)
    with pytest.raises(FedmedError, match="1 of 1 reservations of this workspace are gone") as lost:
        partition.partition(site, small.now())
    assert (lost.value.code, lost.value.next[:16]) == ("FM-PRV-03", "mount the folder")
    assert not (tmp_path / "share").exists()


def test_a_folder_that_cannot_be_written_to(ready: small.Federation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with_budget(ready.site("aa"), tmp_path / "file" / "budget")
    for refused in (trained, lambda site: partition.partition(site, small.now())):
        assert code_of(partial(refused, ready.site("aa"))) == "FM-PRV-02"


def test_what_is_spent_is_refused_before_anything_is_trained(ready: small.Federation) -> None:
    with_budget(ready.site("aa"), ready.root / "budget-aa", max_epsilon=0.5)
    assert code_of(lambda: trained(ready.site("aa"))) == "FM-PRV-04"
    assert store_of(ready.site("aa")).reserved == {}
    assert not (ready.site("aa") / "state" / "checkpoints" / "r0000-a1.safetensors").exists()
    told_by = status.status(ready.site("aa"), small.now())
    assert (told_by.next, told_by.refusal[:9]) == (CODES["FM-PRV-04"].remedy, "FM-PRV-04")
    with_budget(ready.site("aa"), ready.root / "budget-aa", max_epsilon=10)
    told_by = status.status(ready.site("aa"), small.now())
    assert (told_by.next, told_by.refusal) == ("fedmed train-local", "")


@pytest.mark.slow
def test_another_workspace_of_the_hospital_sees_the_same_patients(ready: small.Federation, tmp_path: Path) -> None:
    """Two federations, two workspaces with other pseudonym keys, one more patient: nobody's budget begins anew."""
    trained(ready.site("aa"))
    store = ready.root / "budget-aa"
    held = store_of(ready.site("aa"))
    other = world(tmp_path / "other", (*PATIENTS, "person-new"), store=store)
    (other.site("aa") / "keys" / "pseudonym.key").write_bytes(b"another".ljust(32, b"-"))
    (other.site("aa") / "cases.json").unlink()
    partition.partition(other.site("aa"), small.now())
    site = desk.peek(other.site("aa"))
    cases = train.rounds.require_cases(site, desk.require_approved(site))
    persons = pseudonyms.persons_of(site, budget.peek(site), cases)
    first = next(iter(held.reserved.values()))
    assert set(persons) & held.cohorts[first.cohort], "some patients are trained on in both"
    before = budget.peek(site).spent(persons, 1e-5)
    assert before == accounting.epsilon(first.events, 1e-5)
    trained(other.site("aa"))
    both = list(budget.peek(site).reserved.values())
    assert [each.federation == first.federation for each in both] == [True, False]
    assert budget.peek(site).spent(persons, 1e-5) == accounting.epsilon(
        [event for each in both for event in each.events], 1e-5
    )


def test_a_killed_round_keeps_its_reservation_and_pays_for_what_was_lost(
    ready: small.Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = ready.site("aa")

    def killed(what: str, done: int, _total: int) -> None:
        if what == "training" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(site, small.now(), Options(device="cpu"), killed)
    checkpoint = site / "state" / "checkpoints" / "r0000-a1.safetensors"
    begun = checkpoint.with_suffix(".begun")
    (name,) = store_of(site).reserved
    assert begun.read_text() == f"{name} 2"
    begun.write_text(f"{name} 3")  # the power failed in the third step
    trained(site)
    (found,) = store_of(site).reserved.values()
    assert (found.id, found.extra, bool(found.sealed)) == (name, 1, True)


@pytest.mark.slow
def test_from_the_beginning_again_everything_is_paid_twice(ready: small.Federation) -> None:
    site = ready.site("aa")

    def killed(what: str, done: int, _total: int) -> None:
        if what == "training" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(site, small.now(), Options(device="cpu"), killed)
    (site / "state" / "checkpoints" / "r0000-a1.safetensors").unlink()
    trained(site)
    (found,) = store_of(site).reserved.values()
    assert (found.steps, found.extra) == (4, 3)


def test_a_refusal_costs_nothing_however_often_it_is_tried(ready: small.Federation) -> None:
    site = ready.site("aa")

    def killed(what: str, done: int, _total: int) -> None:
        if what == "training" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(site, small.now(), Options(device="cpu"), killed)
    (site / "state" / "checkpoints" / "r0000-a1.safetensors").unlink()
    (reserved,) = store_of(site).reserved.values()
    exact = accounting.epsilon(reserved.events, 1e-5)
    with_budget(site, ready.root / "budget-aa", max_epsilon=round(exact + 0.01, 3))
    for _ in range(2):
        assert code_of(lambda: trained(site)) == "FM-PRV-04"
        (found,) = store_of(site).reserved.values()
        assert found.extra == 0


def test_an_older_copy_of_the_store_is_refused(ready: small.Federation) -> None:
    site, store = ready.site("aa"), ready.root / "budget-aa"
    shutil.copytree(store, ready.root / "old")
    trained(site)
    shutil.rmtree(store)
    shutil.copytree(ready.root / "old", store)
    assert code_of(lambda: store_of(site)) == "FM-PRV-03"
    ready.carry()
    trained(ready.site("bb"))
    ready.carry()
    aggregate.aggregate(ready.coordinator, small.now())
    ready.carry()
    assert code_of(lambda: trained(site)) == "FM-PRV-03"


def test_a_store_that_lost_its_key_is_no_new_store(ready: small.Federation) -> None:
    trained(ready.site("aa"))
    (ready.root / "budget-aa" / "key").unlink()
    assert code_of(lambda: partition.partition(ready.site("aa"), small.now())) == "FM-PRV-03"


def test_names_that_another_store_gave_are_no_names(ready: small.Federation, tmp_path: Path) -> None:
    """Else a patient would have two names in the new store once the cases are partitioned again."""
    with_budget(ready.site("aa"), tmp_path / "elsewhere")
    with_budget(ready.site("bb"), tmp_path / "elsewhere")
    partition.partition(ready.site("bb"), small.now())
    assert code_of(lambda: trained(ready.site("aa"))) == "FM-PRV-05"
    partition.partition(ready.site("aa"), small.now())
    trained(ready.site("aa"))


def test_another_store_than_before_is_noticed(ready: small.Federation, tmp_path: Path) -> None:
    trained(ready.site("aa"))
    with_budget(ready.site("aa"), tmp_path / "elsewhere")
    assert code_of(lambda: partition.partition(ready.site("aa"), small.now())) == "FM-PRV-03"
    assert code_of(lambda: spent.status(ready.site("aa"))) == "FM-PRV-03"


def test_a_store_is_not_asked_for_before_there_is_one(ready: small.Federation, tmp_path: Path) -> None:
    with_budget(ready.site("aa"), tmp_path / "elsewhere")
    assert code_of(lambda: spent.status(ready.site("aa"))) == "FM-PRV-02"


@pytest.mark.slow
def test_of_one_reservation_there_is_one_update(ready: small.Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the signature and its confirmation; --again then is another training, and is paid as one."""
    site = ready.site("aa")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(private, "end", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(site)
    (name,) = store_of(site).reserved
    assert not store_of(site).reserved[name].sealed
    train.train(site, small.now(), Options(device="cpu", again=True), told)
    first, second = store_of(site).reserved.values()
    signed = [known.id for known in desk.peek(site).workspace.record.of("update", sender="aa")]
    assert [first.id, first.sealed, second.sealed] == [name, *signed]


def test_what_a_crash_cost_stands_in_the_update(ready: small.Federation) -> None:
    site = ready.site("aa")

    def killed(what: str, done: int, _total: int) -> None:
        if what == "training" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(site, small.now(), Options(device="cpu"), killed)
    (site / "state" / "checkpoints" / "r0000-a1.safetensors").unlink()
    made = trained(site)
    (found,) = store_of(site).reserved.values()
    assert found.extra == 3
    assert made.body
    assert made.body.privacy
    assert made.body.reservation == found.id
    exact = accounting.epsilon([Event(4 / 36, found.noise_multiplier, 7)], 1e-5)
    assert exact <= float(made.body.privacy.epsilon) < exact + 0.1


def test_a_killed_round_goes_on_when_the_target_has_nothing_left(
    ready: small.Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it needs is reserved already."""
    site = ready.site("aa")

    def killed(what: str, done: int, _total: int) -> None:
        if what == "training" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(site, small.now(), Options(device="cpu"), killed)
    monkeypatch.setattr(private, "_noise", lambda *_: None)
    assert status.status(site, small.now()).next == "fedmed train-local"
    trained(site)
    (found,) = store_of(site).reserved.values()
    assert found.sealed


def test_a_restored_hospital_is_told_by_its_own_signature(ready: small.Federation, tmp_path: Path) -> None:
    """Workspace and store come from one old backup: they agree with each other, and not with what was signed since."""
    site, store = ready.site("aa"), ready.root / "budget-aa"
    for folder in (site, store):
        shutil.copytree(folder, tmp_path / folder.name)
    update = trained(site).posted
    assert update
    sent = update.read_bytes()
    for folder in (site, store):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / folder.name, folder)
    (site / "inbox" / update.name).write_bytes(sent)
    assert recover.recover(site, small.now()).statements == 1
    assert code_of(lambda: store_of(site)) == "FM-PRV-03"


@pytest.fixture
def encrypting(tmp_path: Path) -> small.Federation:
    """The same with payloads encrypted; aa is behind `partition`, and a backup of its workspace lies in backup/."""
    made = small.joined(
        tmp_path / "world", recipe=RECIPE, patients=PATIENTS, hospital=tables.write_hospital, channels=()
    )
    path = made.coordinator / "federation.yaml"
    path.write_text(path.read_text().replace("encryption: none", "encryption: age"))
    begun = start.start(made.coordinator, small.unet_initial, small.now())
    made.carry()
    with_budget(made.site("aa"), made.root / "budget-aa")
    for name in made.sites:
        approve.approve(made.site(name), small.now(), by="Dr. Test", ask=lambda _: begun.fingerprint)
    made.carry()
    partition.partition(made.site("aa"), small.now())
    back_up(made)
    return made


def back_up(made: small.Federation) -> None:
    for folder in ("aa", "budget-aa"):
        shutil.copytree(made.root / folder, made.root / "backup" / folder)


def restore(made: small.Federation, *folders: str) -> None:
    for folder in folders:
        shutil.rmtree(made.root / folder)
        shutil.copytree(made.root / "backup" / folder, made.root / folder)


def vouch_for(made: small.Federation) -> None:
    """The coordinator takes in what aa sent, and tells the restored hospital what that was."""
    assert code_of(lambda: aggregate.aggregate(made.coordinator, small.now())) == "FM-WAI-03", "bb has not answered"
    vouched.vouch(made.coordinator, "aa", small.now())
    made.carry()
    assert recover.recover(made.site("aa"), small.now()).statements == 1


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_restored_hospital_whose_updates_are_encrypted_is_told_by_the_statement(encrypting: small.Federation) -> None:
    """What an update was charged to stands in clear: the receipt holds no `body.json`."""
    site, store = encrypting.site("aa"), encrypting.root / "budget-aa"
    trained(site)
    encrypting.carry()
    newer = encrypting.root / "newer"
    shutil.copytree(store, newer)
    restore(encrypting, "aa", "budget-aa")
    vouch_for(encrypting)
    assert code_of(lambda: store_of(site)) == "FM-PRV-03"
    shutil.rmtree(store)
    shutil.copytree(newer, store)
    (found,) = store_of(site).reserved.values()
    assert found.sealed == desk.peek(site).workspace.record.lost[0].id


def test_killed_before_it_is_confirmed_and_restored_behind_that_a_hospital_goes_on(
    encrypting: small.Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = encrypting.site("aa")
    with monkeypatch.context() as patched:
        patched.setattr(private, "end", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(site)
    train.train(site, small.now(), Options(device="cpu"), told)  # posts what was sealed, and confirms nothing
    (first,) = store_of(site).reserved.values()
    assert not first.sealed
    encrypting.carry()
    restore(encrypting, "aa")
    vouch_for(encrypting)
    assert list(store_of(site).reserved) == [first.id]
    assert code_of(lambda: trained(site)) == "FM-ROS-07", "this round is answered; the next one is trained"
    with budget.opened(desk.peek(site), small.now()) as opened:
        private._settle(desk.peek(site), opened, small.now())
    (after,) = store_of(site).reserved.values()
    assert after.sealed == desk.peek(site).workspace.record.lost[0].id, "nothing more comes of that reservation"


def test_charges_that_are_gone_are_noticed(ready: small.Federation) -> None:
    site, path = ready.site("aa"), ready.root / "budget-aa" / "budget.jsonl"

    def killed(what: str, done: int, _total: int) -> None:
        if what == "training" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(site, small.now(), Options(device="cpu"), killed)
    (site / "state" / "checkpoints" / "r0000-a1.safetensors").unlink()
    trained(site)
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["facts"]["what"] for line in lines] == [
        "founded", "cohort", "reserved", "charged", "confirmed",
    ]  # fmt: skip
    path.write_bytes(b"".join(lines[:4]))
    assert list(store_of(site).reserved), "that it was sealed can be seen from what was signed"
    path.write_bytes(b"".join(lines[:3]))
    assert code_of(lambda: store_of(site)) == "FM-PRV-03"


def test_the_command_line_says_what_is_left(ready: small.Federation) -> None:
    site = ready.site("aa")
    with_budget(site, ready.root / "budget-aa", max_epsilon=1.5)
    done = CliRunner().invoke(app, ["train-local", "-w", str(site), "--device", "cpu"])
    assert isinstance(done.exception, FedmedError)
    assert (done.exception.code, done.exception.exit_code) == ("FM-PRV-04", 7)
    assert done.exception.message == (
        "epsilon 0.00 of 1.5 is spent and 1.50 left, with this round it would be 6.15; rounds left: 0"
    )
    assert done.exception.next.startswith("see what spent it: fedmed privacy status -w HERE")
    shown = CliRunner().invoke(app, ["privacy", "status", "-w", str(site)])
    assert shown.exit_code == 0
    assert "epsilon 0.00 of 1.5 is spent" in shown.output
    assert "the budget has 0 of the 2 rounds to come" in shown.output


def test_where_the_target_is_spent_status_says_so(ready: small.Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "_noise", lambda *_: None)
    assert code_of(lambda: trained(ready.site("aa"))) == "FM-PRV-04"
    found = spent.status(ready.site("aa"))
    assert (found.rounds, found.rounds_left, found.noise_multiplier) == (2, 0, 0.0)
    shown = CliRunner().invoke(app, ["privacy", "status", "-w", str(ready.site("aa"))]).output
    assert "\nthe budget has 0 of the 2 rounds to come\n" in shown


def test_approve_says_what_leaves_and_what_it_will_cost(ready: small.Federation, tmp_path: Path) -> None:
    site = desk.peek(ready.site("aa"))
    chosen = desk.require_approved(site).recipe
    told = approve.leaves(chosen)
    assert approve.PRIVATE in told
    assert told[-2].startswith("without noise, and so outside of epsilon: number of cases, patients and steps")
    assert spent.outlook(site, chosen).endswith(
        "whoever has spent most here has spent 0.00 of 10; behind partition "
        "fedmed privacy status says how many rounds that is"
    )
    trained(ready.site("aa"))
    epsilon = spent.status(ready.site("aa")).epsilon
    assert f"has spent {epsilon:.2f} of 10; behind" in spent.outlook(desk.peek(ready.site("aa")), chosen)
    with_budget(ready.site("aa"), ready.root / "budget-aa", max_epsilon=1.0)
    assert "of 1: nothing is left for them" in spent.outlook(desk.peek(ready.site("aa")), chosen)
    with_budget(ready.site("bb"), tmp_path / "new")
    assert "is new, and nothing of 10 is spent" in spent.outlook(desk.peek(ready.site("bb")), chosen)
    bare = yaml.safe_load((ready.site("bb") / "fedmed.yaml").read_text())
    del bare["privacy"]
    (ready.site("bb") / "fedmed.yaml").write_text(yaml.safe_dump(bare))
    assert "no budget store is named yet" in spent.outlook(desk.peek(ready.site("bb")), chosen)
    for name, first in (("aa", ", and run"), ("bb", f", and {CODES['FM-PRV-01'].remedy}; then run")):
        told = CliRunner().invoke(app, ["approve", "-w", str(ready.site(name)), "--by", "T"]).stdout
        assert told.endswith(f"to the coordinator{first} fedmed partition -w {ready.site(name)}\n")


def test_patients_that_the_store_has_never_heard_of(ready: small.Federation) -> None:
    (ready.site("aa") / "state" / "persons.json").unlink()
    assert code_of(lambda: trained(ready.site("aa"))) == "FM-PRV-05"


def test_too_few_patients_for_a_step(tmp_path: Path) -> None:
    few = world(tmp_path / "world", PATIENTS[:5])
    assert code_of(lambda: trained(few.site("aa"))) == "FM-PRV-06"
    done = CliRunner().invoke(app, ["partition", "-w", str(few.site("aa"))])
    told, next_ = done.stdout.splitlines()[-2:]
    assert told.startswith("nothing can be trained here: FM-PRV-06 expected at least ")
    assert next_ == f"next: {CODES['FM-PRV-06'].remedy}", "and not train-local, which would be refused"


@pytest.mark.parametrize(("patients", "expected"), [(7, 7), (36, 36), (99, 99), (104, 100), (105, 110), (4987, 5000)])
def test_the_number_that_is_treated_as_public_has_two_digits(patients: int, expected: int) -> None:
    assert private.declared(patients) == expected


def test_the_store_knows_no_patient_by_name(ready: small.Federation) -> None:
    trained(ready.site("aa"))
    kept = (ready.root / "budget-aa" / "budget.jsonl").read_text() + (
        ready.site("aa") / "state" / "persons.json"
    ).read_text()
    assert "person-0" not in kept
    sent = archived.read_archived(desk.peek(ready.site("aa")).workspace, store_update(ready)).predicate
    assert "budget" not in repr(sent)


def store_update(ready: small.Federation) -> str:
    found = desk.peek(ready.site("aa")).workspace.record.newest("update")
    assert found is not None
    return found.id


def test_what_is_spent_and_what_is_left(ready: small.Federation) -> None:
    site = ready.site("aa")
    before = spent.status(site)
    assert (before.epsilon, before.left, before.rounds, before.rounds_left) == (0.0, 10.0, 2, 2)
    trained(site)
    after = spent.status(site)
    assert (after.rounds, after.rounds_left, after.patients) == (1, 1, 36)
    assert after.epsilon == after.federations[0].epsilon == 10 - after.left
    assert 0 < after.epsilon < 8
    with_budget(site, ready.root / "budget-aa", max_epsilon=after.epsilon + 0.01)
    assert spent.status(site).rounds_left == 0
