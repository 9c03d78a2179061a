"""A federation in a folder: real keys, real workspaces, real files; only the training is left out.

The coordinator is the real one. A hospital joins, approves and seals through its own room; its weights are small numpy
arrays. `Actor.deliver` is the carrier, `samples.resigned` makes the lies.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from fedmed import files, settings
from fedmed.coordinator import admit, aggregate, found, start
from fedmed.coordinator import desk as coordinator_desk
from fedmed.exchange import archived, artifact, bodies, bodies_reports, intake, keys, sealing, workspace
from fedmed.exchange.verdict import Outcome
from fedmed.fingerprint import Fingerprint, Grey, Share, counted
from fedmed.learning import params, shapes
from fedmed.site import approve, evaluate, fingerprint, join, laps, train, unmask
from fedmed.site import desk as site_desk
from fedmed.site.change import begin
from tests import copies, small
from tests.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedmed.coordinator.aggregate import Aggregated
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.verdict import Verdict
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.params import Params

START = datetime(2031, 3, 1, 8, tzinfo=UTC)
ROWS = [
    {"name": "conv.weight", "shape": [2, 3], "group": "param"},
    {"name": "conv.bias", "shape": [2], "group": "param"},
    {"name": "norm.mean", "shape": [], "group": "buffer"},
]
TABLE = shapes.table_from_rows(ROWS)
INITIAL = samples.WEIGHTS
OLD = 3600.0  # seconds: a copy that has long ended
End = tuple[Outcome, str, int]


def filled(value: float) -> Params:
    """An update that adds `value` to every number."""
    return {tensor.name: np.full(tensor.shape, value, np.float32) for tensor in TABLE}


def end(verdict: Verdict) -> End:
    return verdict.outcome, verdict.code, verdict.exit_code


@dataclass
class Actor:
    """A workspace with its doors."""

    root: Path
    name: str
    delivered: int = 0

    @property
    def key(self) -> Ed25519PrivateKey:
        return keys.load(self.root / "keys" / "signing.key")

    @property
    def actor(self) -> dict[str, str]:
        return {"name": self.name, "key": keys.fingerprint(self.key.public_key().public_bytes_raw())}

    def deliver(self, data: bytes, now: datetime, name: str = "", age: float = OLD) -> Path:
        """Put a file into the inbox that was copied `age` seconds ago."""
        self.delivered += 1
        path = self.root / "inbox" / (name or f"file-{self.delivered:03d}.fedmed")
        path.write_bytes(data)
        os.utime(path, (now.timestamp() - age,) * 2)
        return path

    def look(self, now: datetime, **allowed: bool) -> list[Arrival]:
        """Receive everything in the inbox. Raises FedmedError FM-TRU-06."""
        raise NotImplementedError

    def judge(self, data: bytes, now: datetime, age: float = OLD, **allowed: bool) -> End:
        """How one more file in the inbox ends."""
        path = self.deliver(data, now, age=age)
        return end(next(each.verdict for each in self.look(now, **allowed) if each.path == path))

    def posted(self, name: str) -> bytes:
        return (self.root / "outbox" / f"{name}.fedmed").read_bytes()


@dataclass
class Coordinator(Actor):
    """The real one."""

    def look(self, now: datetime, **allowed: bool) -> list[Arrival]:
        with coordinator_desk.opened(self.root, now) as found_:
            terms = coordinator_desk.terms(coordinator_desk.started(found_))
            terms = replace(terms, **allowed)
            return intake.receive_all(found_, terms, now, "aggregate")

    def workspace(self) -> Workspace:
        return coordinator_desk.peek(self.root)

    def aggregate(self, now: datetime, *, close: bool = False, include: Sequence[str] = ()) -> Aggregated:
        return aggregate.aggregate(self.root, now, close=close, include=include, reason="called" if include else "")

    def newest_model(self) -> tuple[Known, Params]:
        return self.newest_parts()[:2]

    def newest_parts(self) -> tuple[Known, Params, Params]:
        """The newest model: its weights, and the control variates beside them."""
        found = self.workspace()
        known = found.record.newest("model")
        assert known is not None
        table = coordinator_desk.require_started(found).travelling
        payload = archived.read_payload(found, known.id, "model.safetensors")
        return known, *params.without_control(params.from_payload(payload, table))


@dataclass
class Hospital(Actor):
    """Joins, approves and seals through its own room; trains nothing."""

    def create(self, now: datetime) -> Path:
        with workspace.founded(self.root, "site", self.name, now):
            pass
        local = {
            "role": "site",
            "name": self.name,
            "data": {"root": "data", "layout": {"image": {"MR": "{case}.nii.gz"}}},
        }
        (self.root / "fedmed.yaml").write_text(yaml.safe_dump(local))
        files.write_atomic(self.root / "keys" / "pseudonym.key", self.name.encode().ljust(32, b"-"), mode=0o600)
        with site_desk.opened(self.root, now) as site:
            known = join._say_join(site.workspace, "radiology", now)
            return sealing.post(site.workspace, known)

    def approve(self, now: datetime) -> bytes:
        def typed(proposals: list[approve.Proposal]) -> str:
            return keys.spoken(proposals[0].statement_id)

        return approve.approve(self.root, now, by="Dr. Bø", ask=typed).posted.read_bytes()

    def look(self, now: datetime, **allowed: bool) -> list[Arrival]:
        with site_desk.opened(self.root, now) as site:
            consent = site_desk.approved(site)
            if consent is None:
                return intake.receive_all(site.workspace, site_desk.terms(None, **allowed), now, "train-local")
            return site_desk.receive(site, consent, now, "train-local", **allowed)[1]

    def workspace(self) -> Workspace:
        return site_desk.peek(self.root).workspace

    def update(
        self,
        now: datetime,
        delta: Params,
        num_cases: int = 10,
        num_patients: int = 0,
        *,
        num_steps: int = 1,
        kept: dict[str, Params] | None = None,
        state: str | None = None,
        control: Params | None = None,
    ) -> bytes:
        """A new update that answers the newest model; every call seals another one, behind what is `kept` by part.

        `control` travels beside `delta`; `state` is named without being sealed. In a lap `delta` is what this hospital
        adds to the update of the one before.
        """
        self.look(now)
        with site_desk.opened(self.root, now) as site:
            consent = site_desk.require_approved(site)
            model = site_desk.newest_model(site, [])
            turn = laps.turn(site, model)
            received = site_desk.model_params(site, consent, model)
            trained = params.add(begin(site, consent, received, turn), delta) if model.order else {}
            change = params.with_control(params.subtract(trained, received) or delta, control or {})
            payload = params.to_payload(change, consent.travelling)
            content = artifact.tensor_content(train.PAYLOAD, payload)
            body = _update_body(num_cases, num_patients or num_cases, num_steps)
            body = body.model_copy(update={"state": state, "chain": turn.chain})
            known = train._say(site, consent, model, body, [content], now, kept)
            return sealing.post(site.workspace, known).read_bytes()

    def masked_update(self, now: datetime, delta: Params, num_cases: int = 10) -> bytes:
        """A masked update that answers the newest model, by the stages of `train-local`; what was trained before for
        the same weights is masked again. With one sealed in this attempt that one is posted.
        """
        self.look(now)
        known = small.seal_masked(self.root, delta, num_cases, now)
        with site_desk.opened(self.root, now) as site:
            return sealing.post(site.workspace, known).read_bytes()

    def unmask(self, now: datetime, consent: str = "") -> bytes:
        return unmask.unmask(self.root, now, consent=consent).posted.read_bytes()

    def fingerprint(self, now: datetime, mean: float = 100.0, num_cases: int = 30, **changed: Any) -> bytes:
        """A new fingerprint of some grey values; every call seals another one."""
        with site_desk.opened(self.root, now) as site:
            body = fingerprint.to_body(replace(measured(mean, num_cases), **changed))
            known = fingerprint._say(site, site_desk.require_approved(site), body, now)
            return sealing.post(site.workspace, known).read_bytes()

    def report(self, now: datetime) -> bytes:
        """A report on the newest model."""
        self.look(now)
        with site_desk.opened(self.root, now) as site:
            consent = site_desk.require_approved(site)
            model = site_desk.newest_model(site, [])
            body = bodies_reports.Report(
                split="validation",
                opening=0,
                facts=bodies_reports.ReportFacts(num_cases=4, scores=[], curves=[], frocs=[], exclusions=[]),
            )
            known = evaluate._say(site, consent, model, body, now)
            return sealing.post(site.workspace, known).read_bytes()


def measured(mean: float, num_cases: int) -> Fingerprint:
    """A fingerprint as a hospital with `num_cases` alike cases would measure it."""
    found = counted([1.0] * num_cases)
    grey = Grey(num_cases, mean, 20.0, mean - 40, mean + 40)
    return Fingerprint(num_cases, {"MR": grey}, (found,) * 3, (found,) * 3, {1: Share(num_cases, 100.0)})


def _update_body(num_cases: int, num_patients: int, num_steps: int) -> bodies.Update:
    return bodies.Update(
        chain=None,
        facts=bodies.UpdateFacts(
            num_cases=num_cases,
            num_patients=num_patients,
            num_steps=num_steps,
            train_loss="0.5",
            base_metrics=[],
            exclusions=[],
        ),
        data="0" * 64,
        label_map="0" * 64,
        preprocessing=None,
        state=None,
        reservation=None,
        privacy=None,
        masked=None,
        versions=[],
    )


@dataclass
class Simulation:
    """A federation that has started. `now` is the only clock."""

    root: Path
    names: tuple[str, ...]
    now: datetime = START
    coordinator: Coordinator = field(init=False)
    sites: dict[str, Hospital] = field(init=False)

    def __post_init__(self) -> None:
        self.coordinator = Coordinator(self.root / "coordinator", "coordinator")
        self.sites = {name: Hospital(self.root / name, name) for name in self.names}

    def found(
        self,
        *,
        approved: Iterable[str] | None = None,
        strategy: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
        aggregation: dict[str, Any] | None = None,
        **limits: Any,
    ) -> Simulation:
        """Up to the approvals, which lie in the coordinator's inbox."""
        coordinator, root = self.coordinator, self.coordinator.root
        self.root.mkdir(exist_ok=True)
        recipe_file = self.root / "recipe.yaml"
        fields = yaml.safe_load(samples.RECIPE)
        fields |= {"strategy": strategy or {}, "data": {**fields["data"], **(data or {})}}
        fields["training"] |= training or {}
        fields |= {"aggregation": aggregation} if aggregation else {}
        recipe_file.write_text(yaml.safe_dump(fields))
        found.init(root, recipe_file, self.now, title="simulation")
        draft = {**yaml.safe_load((root / "federation.yaml").read_text()), **limits}
        (root / "federation.yaml").write_text(yaml.safe_dump(draft))
        settings.load_federation(root)
        joins = [site.create(self.now) for site in self.sites.values()]
        admit.admit(root, joins, self.now)
        start.start(root, lambda _: (INITIAL, ROWS), self.now)
        self.carry_down()
        for name in self.names if approved is None else approved:
            coordinator.deliver(self.sites[name].approve(self.now), self.now, f"approval-{name}.fedmed")
        return self

    def carry_down(self) -> None:
        """The coordinator's outbox into every inbox."""
        for site in self.sites.values():
            for path in sorted((self.coordinator.root / "outbox").glob("*.fedmed")):
                site.deliver(path.read_bytes(), self.now, path.name)

    def pass_time(self, **amount: float) -> Simulation:
        self.now += timedelta(**amount)
        return self

    def copied_to(self, root: Path) -> Simulation:
        """The same federation again, to go another way from here."""
        copies.tree(self.root, root)
        return Simulation(root, self.names, self.now)

    def update(self, name: str, value: float, num_cases: int = 10) -> bytes:
        return self.sites[name].update(self.now, filled(value), num_cases)

    def send_update(self, name: str, value: float, num_cases: int = 10) -> bytes:
        data = self.update(name, value, num_cases)
        self.coordinator.deliver(data, self.now)
        return data

    def change(self, data: bytes, by: str, change: Callable[[dict[str, Any]], object], **more: Any) -> bytes:
        """A file after a change, signed again with the key of `by`."""
        actor = self.coordinator if by == "coordinator" else self.sites[by]
        return samples.resigned(data, actor.key, change, **more)


NUMBERS = samples.PREPROCESSING.replace(b'"spacing":null', b'"spacing":[1.0,1.0,2.5]')


def second_version(
    simulation: Simulation, change: Callable[[dict[str, Any]], object] = lambda _: None, numbers: bytes = NUMBERS
) -> bytes:
    """What an honest coordinator would make of the federation and some numbers, after `change(predicate)`."""
    federation = simulation.coordinator.posted("federation-v0001")
    statement, payloads = samples.statement_in(federation), samples.members(federation)[2:]
    predicate = statement["predicate"]
    first = statement_id(federation)
    predicate |= {"seq": 20, "prev": samples.ZEROS}
    predicate["federation"] |= {"version": 2, "previous": first, "approved": first}
    payloads.append(("preprocessing.json", numbers))
    last = {**predicate["payload"][0], "name": "preprocessing.json", "bytes": len(numbers)}
    predicate["payload"].append(last)
    statement["subject"] = [{"name": name, "digest": {"sha256": samples.sha256(part)}} for name, part in payloads]
    change(predicate)
    return samples.signed(statement, payloads, by=simulation.coordinator.key)


def statement_id(data: bytes) -> str:
    return samples.sha256(samples.members(data)[0][1])


def predicate_of(data: bytes) -> dict[str, Any]:
    return samples.statement_in(data)["predicate"]


def restore(actor: Actor, backup: Path) -> None:
    """Put a workspace back to an earlier copy of it; the doors stay as they are."""
    for name in ("archive", "state"):
        shutil.rmtree(actor.root / name)
        copies.tree(backup / name, actor.root / name)
    files.make_private(actor.root / "state")
