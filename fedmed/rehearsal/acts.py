"""What the actors of a rehearsal do, each through the same functions and files as in earnest, and safe to repeat."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from fedmed import files, recipe
from fedmed.cases import datalist
from fedmed.coordinator import admit, aggregate, desk, found, rounds, screening, start
from fedmed.coordinator import evaluate as pool
from fedmed.coordinator import unmask as asking
from fedmed.errors import FedmedError
from fedmed.site import alone, approve, evaluate, join, pin, pseudonyms, train, unmask
from fedmed.site import desk as bedside

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedmed.cases.datalist import Header
    from fedmed.coordinator.aggregate import Aggregated
    from fedmed.coordinator.evaluate import PooledTable


@dataclass(frozen=True)
class Setting:
    """A federation to rehearse: its folder, what is trained, and where each hospital's data lie.

    `cases` has ready-made case lists of virtual sites; the others partition their own folders. `held_out` is the case
    list of a hospital below `held_out_data` that takes no part, and on which every model is scored.
    """

    folder: Path
    recipe: Path
    hospitals: Mapping[str, Path]
    rounds: int
    title: str
    cases: Mapping[str, Path] = field(default_factory=dict)
    held_out: Path | None = None
    held_out_data: Path | None = None

    @property
    def coordinator(self) -> Path:
        return self.folder / "coordinator"

    @property
    def names(self) -> list[str]:
        return sorted(self.hospitals)

    def site(self, name: str) -> Path:
        return self.folder / name


def begin(setting: Setting) -> None:
    """init, admit, start and approve; what a killed run has done already is found."""
    from fedmed.training import networks  # noqa: PLC0415 - torch, for the first weights alone

    chosen = recipe.load(setting.recipe)
    if not (setting.coordinator / "fedmed.yaml").exists():
        found.init(
            setting.coordinator, setting.recipe, _now(), title=setting.title, rounds=setting.rounds,
            min_sites=len(setting.names), min_count=1,
        )  # fmt: skip
    for name in setting.names:
        _join(setting, name, chosen)
    carry(setting)
    if desk.started(desk.peek(setting.coordinator)) is None:
        admit.admit(setting.coordinator, sorted((setting.coordinator / "inbox").glob("join-*.fedmed")), _now())
    try:
        started = start.start(setting.coordinator, networks.initial_params, _now())
    except FedmedError as error:
        if error.code != "FM-STR-02":
            raise
        more = "rehearse with more hospitals (--sites, or more folders), or choose another strategy in the recipe"
        raise FedmedError(error.code, error.message, next=more) from error
    carry(setting)
    for name in setting.names:
        approve.approve(setting.site(name), _now(), by="the rehearsal", ask=lambda _: started.fingerprint)
    carry(setting)
    if chosen.aggregation.masks:
        _call_each_other(setting)
    if chosen.aggregation.masks and not chosen.data.pools and open_round(setting) < 0:
        aggregate.aggregate(setting.coordinator, _now())
        carry(setting)


def _join(setting: Setting, name: str, chosen: recipe.Recipe) -> None:
    channels = chosen.data.channels if isinstance(chosen, recipe.Imaging) else ()
    columns = chosen.data.names if isinstance(chosen, recipe.Rowwise) else ()
    if not (setting.site(name) / "fedmed.yaml").exists():
        join.init(
            setting.site(name), name, setting.hospitals[name], _now(), channels=channels, columns=columns,
            task=chosen.task,
        )  # fmt: skip
    if chosen.dp is not None:
        _give_budget(setting, name)
    # invented patients: with a fixed key the folds, and so the table at the end, repeat from run to run
    key = hashlib.sha256(f"rehearsal {name}".encode()).digest()
    files.write_atomic(setting.site(name) / "keys" / "pseudonym.key", key, mode=0o600)


def _call_each_other(setting: Setting) -> None:
    """A hospital masks only among others that its operator has confirmed."""
    roster = desk.require_started(desk.peek(setting.coordinator)).agreement.federation.body.roster
    for name in setting.names:
        for member in roster:
            if member.name != name:
                pin.pin(setting.site(name), member.name, _now(), partial(str, member.join[:32]))


def _give_budget(setting: Setting, name: str) -> None:
    """A store for each hospital, outside of every workspace: hospitals of a rehearsal have no patient in common."""
    path, line = setting.site(name) / "fedmed.yaml", f"privacy: {{budget_dir: ../budgets/{name}}}\n"
    text = path.read_text("utf-8")
    if not text.endswith(line):
        files.write_atomic(path, f"{text}{line}".encode())


def partition(setting: Setting, name: str) -> Header:
    """A hospital's cases by fold, and how many were excluded, by code."""
    cases_file = setting.site(name) / "cases.json"
    if not cases_file.exists():
        if name in setting.cases:
            _know_patients(setting, name)
            files.write_atomic(cases_file, files.read_bounded(setting.cases[name], datalist.MAX_BYTES), mode=0o600)
        else:
            from fedmed.site import partition as partitioning  # noqa: PLC0415 - image libraries

            partitioning.partition(setting.site(name), _now())
    return datalist.load(cases_file).header


def _know_patients(setting: Setting, name: str) -> None:
    """To its budget store a virtual hospital's patients are called by their alias in its case list."""
    if recipe.load(setting.recipe).dp is None:
        return
    site = bedside.peek(setting.site(name))
    listed = datalist.cases(datalist.load(setting.cases[name]), "training")
    persons = {case.patient: hashlib.sha256(case.patient.encode()).hexdigest()[:32] for case in listed}
    pseudonyms.keep_persons(site, pseudonyms.store_key(site, _now()), persons)


def open_round(setting: Setting) -> int:
    return rounds.open_round(desk.peek(setting.coordinator))


def order(setting: Setting) -> list[str]:
    """Who trains after whom, where the open round is a lap; empty where all train at once."""
    return list(rounds.order(desk.peek(setting.coordinator)))


def is_over(setting: Setting) -> bool:
    """Whether the last model is made, of the last round or of an earlier one."""
    return rounds.is_over(desk.peek(setting.coordinator))


def train_local(setting: Setting, name: str) -> None:
    train.train(setting.site(name), _now(), train.Options(), _quiet)


def combine(setting: Setting) -> Aggregated:
    """What every site has sent becomes the next model, and is brought to every site.

    An update that stands out from the others counts all the same: in a rehearsal nobody lies, hospitals only differ.
    """
    carry(setting)
    _take_masks_off(setting)
    try:
        made = aggregate.aggregate(setting.coordinator, _now())
    except FedmedError as error:
        held = _held(setting)
        if error.code != "FM-WAI-03" or not held:
            raise
        made = aggregate.aggregate(setting.coordinator, _now(), include=held, reason="a rehearsal")
    carry(setting)
    return made


def _take_masks_off(setting: Setting) -> None:
    """Where updates came masked, every site that is in the sum is asked and answers."""
    running = desk.require_started(desk.peek(setting.coordinator))
    if running.masks and open_round(setting) >= 0:
        asked = asking.unmask(setting.coordinator, _now())
        carry(setting)
        for name in asked.sites:
            unmask.unmask(setting.site(name), _now())
        carry(setting)


def hand_on(setting: Setting) -> None:
    """In a lap: what a hospital has sent is brought to the next one."""
    try:
        combine(setting)
    except FedmedError as error:
        if error.code != "FM-WAI-03":
            raise
    carry(setting)


def _held(setting: Setting) -> list[str]:
    found = desk.peek(setting.coordinator)
    everyone = screening.standings(found, desk.require_started(found))
    return [each.site for each in everyone if each.status == "held"]


def train_alone(setting: Setting, name: str) -> None:
    alone.train_alone(setting.site(name), _now(), "", _quiet)


def report(setting: Setting, name: str) -> None:
    """The test fold's report of the last model, and of the hospital's own where it has one."""
    evaluate.evaluate(setting.site(name), _now(), "testing", "", _quiet)


def pool_reports(setting: Setting) -> PooledTable:
    carry(setting)
    return pool.evaluate(setting.coordinator, _now(), "testing")


def carry(setting: Setting) -> None:
    """The USB stick: copy every outbox into the inboxes of the other side."""
    for name in setting.names:
        _copy(setting.site(name) / "outbox", setting.coordinator / "inbox")
        _copy(setting.coordinator / "outbox", setting.site(name) / "inbox")


def _copy(source: Path, target: Path) -> None:
    for path in sorted(source.glob("*.fedmed")):
        there = target / path.name
        if not there.exists() or there.stat().st_mtime_ns < path.stat().st_mtime_ns:  # a later report has the same name
            part = target / f"{path.name}.part"
            shutil.copyfile(path, part)
            part.rename(there)


def _quiet(_what: str, _done: int, _total: int) -> None:
    return


def _now() -> datetime:
    return datetime.now(UTC)
