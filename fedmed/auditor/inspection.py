"""`inspect` and `verify`: what a file says, and whether it holds, on any machine. No workspace, no torch."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.auditor import keyring
from fedmed.errors import FedmedError, about
from fedmed.exchange import (
    admission,
    approvals,
    artifact,
    bodies,
    decrypting,
    federation,
    keys,
    laps,
    predicates,
    private_facts,
    reading,
    rotations,
    sshsig,
    statement,
    succession,
)
from fedmed.learning import layout, shapes
from fedmed.learning.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from fedmed.exchange.artifact import Demand, Envelope
    from fedmed.exchange.container import Reader
    from fedmed.exchange.federation import Federation, Owner
    from fedmed.exchange.statement import Statement
    from fedmed.learning.shapes import Table
    from fedmed.recipe import Recipe

_BY_FORMER = ("approval", "federation", "rotation")  # what was signed with a key that its owner replaced since


@dataclass(frozen=True)
class Inspected:
    """A file's statement. The signature belongs to `key`; whose key that is, only a federation file can tell.

    `encoding` is that of an update, by the dtypes in its header; empty for other kinds.
    """

    id: str
    spoken: str
    kind: str
    sender: str
    key: str
    file_bytes: int
    expected_bytes: int
    round: int | None
    attempt: int | None
    encoding: str
    statement: Statement


@dataclass(frozen=True)
class Reference:
    """The federation that other files are held against, with the recipe and the parameter table that it brings."""

    federation: Federation
    recipe: Recipe
    table: Table

    @cached_property
    def layout(self) -> Layout:
        """How updates are written; its table has the rows of a model too."""
        return layout.agreed(self.table, **self.recipe.wire)


@dataclass(frozen=True)
class Verified:
    """`owner` and `federation` (its spoken fingerprint) are empty without a federation file. It may be of a `version`
    behind the `approved` one (spoken, too). `encoding` is the one that its recipe asks of an update, of which small
    tensors take no part.

    That file is self-signed: it vouches only for who has compared its fingerprint with the coordinator's. That a later
    version follows the approved one is its own word, too.
    """

    inspected: Inspected
    owner: str
    federation: str
    payloads: list[tuple[str, int, str]]
    checked: list[str]
    encoding: str = ""
    version: int = 0
    approved: str = ""


def inspect(path: Path, age_key: Path | None = None) -> Inspected:
    """Show a file without reading its tensors; what is encrypted beside them only with a recipient's `age_key`.

    Raises FedmedError FM-FRM-*, FM-SIG-*, FM-WAI-04; with a key FM-AGE-02, -03, -04, FM-KEY-*, FM-TRU-10.
    """
    with _opened(path) as fd:
        envelope = artifact.read_envelope(reading.reader(fd))
        _role(envelope, None)
        said = _stated(envelope, None)
        if age_key is not None and said.hides:
            with keyring.opened_by(said):
                said = _told(fd, envelope, said, age_key)
        return _inspected(fd, envelope, said)


def _told(fd: int, envelope: Envelope, said: Statement, age_key: Path) -> Statement:
    private, name = bytearray(), statement.PRIVATE

    def check(digest: str) -> None:
        if digest != said.digest_of(name):
            raise FedmedError("FM-TRU-10", f"{name}: expected sha256 {said.digest_of(name)[:16]}..., got another")

    decrypting.open_payload(age_key, fd, envelope, said, name, private.extend, check, private_facts.MAX_BYTES)
    return private_facts.show(said, bytes(private))


def verify(path: Path, federation_path: Path | None, age_key: Path | None = None) -> Verified:
    """Signature, owner of the key, payload hashes, tensor table, finite numbers; of what is encrypted the contents with
    a recipient's `age_key`, held against the federation.

    Raises FedmedError FM-FRM-*, FM-SIG-*, FM-TRU-02, FM-TRU-10, FM-TEN-*, FM-NRM-05, FM-WAI-04; with a key FM-AGE-*,
    FM-KEY-*, FM-ENC-*, FM-ROS-01.
    """
    known = None if federation_path is None else read_federation(federation_path)
    with _opened(path) as fd:
        envelope, said, owner = check(reading.reader(fd), known)
        if is_open := said.is_encrypted and known is not None and age_key is not None:
            with keyring.opened_by(said):
                said, _ = look_inside(path, age_key, envelope, said, known)
        found = _inspected(fd, envelope, said)
    names = [
        (part.name, part.bytes, found.statement.digest_of(part.name)) for part in found.statement.predicate.payload
    ]
    checked = ["signature", "canonical statement and schema", "payload hashes", "container, to the last byte"]
    if found.statement.is_encrypted:
        checked[2] = "hashes of the encrypted payloads"
        checked[2] += "" if is_open else "; what is in them only their recipients can check"
    if known is not None:
        checked += ["key and role in the federation", "federation id, version and digest"]
        looks_in = is_open or not found.statement.is_encrypted
        checked += ["what is encrypted to this key"] if is_open else []
        checked += ["approvals of sites"] if found.kind == "model" and looks_in else []
        has_tensors = found.kind in ("model", "update", "state")
        checked += ["tensor table and finite numbers"] if has_tensors and looks_in else []
    if known is None:
        return Verified(found, "", "", names, checked)
    agreed, asked = known.federation, known.recipe.update.encoding if found.kind == "update" else ""
    spoken, approved = keys.spoken(agreed.digest), keys.spoken(agreed.root)
    name = owner.name if owner else ""
    return Verified(found, name, spoken, names, checked, asked, agreed.founding.version, approved)


def look_inside(
    path: Path,
    age_key: Path,
    envelope: Envelope,
    said: Statement,
    known: Reference,
    keep: Callable[[str], Callable[[bytes], object]] | None = None,
) -> tuple[Statement, str]:
    """As `decrypting.examine`, with what the federation demands of the payloads of this file, which was checked."""
    more = {} if keep is None else {"keep": keep}
    return decrypting.examine(path, age_key, envelope, said, _expected(said, known), known.federation, **more)


def check(
    source: Reader, known: Reference | None, later: Reference | None = None
) -> tuple[Envelope, Statement, Owner | None]:
    """One whole file, held against a federation if there is one, in the order of admission. `later`: the version up to
    which a key may sign an answer. Raises as `verify` does.
    """
    envelope = artifact.read_envelope(source)
    owner = _role(envelope, known.federation if known else None, later.federation if later else None)
    said = _stated(envelope, owner)
    expected: dict[str, Demand] = {}
    if known is not None:
        _of_this_federation(envelope.id, said, known.federation)
        if isinstance(said.predicate, predicates.RotationPredicate):
            old, id_ = envelope.signature.public_key, known.federation.founding.id
            rotations.check(said.predicate.body, id_, said.sender, old)
        admission.require_agreed(said, known.federation)
        _of_this_recipe(said, known)
        expected = _expected(said, known)
        _of_this_table(said, expected)
    for _ in artifact.read_payloads(source, said, expected):
        pass
    return envelope, said, owner


def read_federation(path: Path) -> Reference:
    """Raises FedmedError FM-FRM-*, FM-SIG-*, FM-RCP-*, FM-TEN-01."""
    from fedmed import recipe  # noqa: PLC0415 - `inspect` needs none

    data, envelope, said = keyring.federation_file(path)
    chosen, tensors = (artifact.payload_bytes(data, envelope, said, name) for name in ("recipe.json", "tensors.json"))
    found = federation.from_statement(said, envelope.id)
    return Reference(found, recipe.from_bytes(chosen), shapes.table_from_bytes(tensors))


def _expected(said: Statement, known: Reference) -> dict[str, Demand]:
    """What a statement's payloads must be. Raises FedmedError FM-TEN-01."""
    body, table = said.predicate.body, known.layout.table
    if isinstance(body, bodies.State):
        parts = [shapes.part_table(known.table, part.name, part.tensors) for part in body.parts]
        table = tuple(tensor for part in parts for tensor in part)
    written = known.layout if said.kind == "update" else Layout(table)
    tensors = artifact.Expected(written.digest, written.largest, written.inspector, written.coding)
    found = {part.name: tensors for part in said.predicate.payload if part.media == artifact.SAFETENSORS}
    return {**found, **approvals.expected(known.federation)}


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        fd = files.open_regular(path)
    except OSError as error:
        raise FedmedError("FM-FRM-01", f"{path.name}: cannot be opened as a file", local=str(error)) from error
    try:
        with about(path):
            yield fd
    finally:
        os.close(fd)


def _role(envelope: Envelope, known: Federation | None, later: Federation | None = None) -> Owner | None:
    """The signature holds, and in `known`, or behind it up to `later`, its key may sign this kind."""
    sshsig.verify(envelope.signature, envelope.raw)
    namespace = envelope.signature.namespace
    kind = statement.kind_of(namespace)
    if kind is None:
        raise FedmedError("FM-SIG-04", f"namespace {namespace[:40]!r}: expected one of fedmed's kinds")
    if known is None:
        return None
    owner = known.owner(envelope.signature.public_key)
    if owner is None and kind in _BY_FORMER:
        owner = known.former_owner(envelope.signature.public_key)
    if owner is None and later is not None:
        owner = succession.owner_since(known, later, envelope.signature.public_key)
    if owner is None:
        key = keys.fingerprint(envelope.signature.public_key)
        version = known.founding.version
        since = "if it replaced another one since, give the newest federation file"
        raise FedmedError("FM-SIG-03", f"{kind}: {key} is not in the roster of version {version}; {since}")
    if kind not in owner.kinds:
        raise FedmedError("FM-SIG-04", f"{owner.name} signed {kind}: expected one of {', '.join(owner.kinds)}")
    return owner


def _stated(envelope: Envelope, owner: Owner | None) -> Statement:
    """The statement, in agreement with signature and owner; what is self-signed brings the key that signed."""
    said = statement.decode(envelope.raw)
    federation.agrees(said, envelope, owner, statement.kind_of(envelope.signature.namespace) or "")
    if said.kind in ("join", "federation"):
        admission.brings_its_key(said, envelope)
    return said


def _of_this_federation(statement_id: str, said: Statement, known: Federation) -> None:
    membership = getattr(said.predicate, "federation", None)
    if said.kind == "federation" and statement_id != known.digest:
        if getattr(membership, "previous", None) != known.digest:
            raise FedmedError("FM-TRU-02", "another federation statement than the one it is held against")
        succession.require_successor(known, said, ())
    if not isinstance(membership, predicates.Membership):
        return
    is_of_round = isinstance(said.predicate, predicates.RoundPredicate)
    if membership != known.membership and (is_of_round or not known.is_known(membership)):
        raise FedmedError("FM-TRU-02", f"{said.kind} of {said.sender}: made for another federation or version")


def _of_this_recipe(said: Statement, known: Reference) -> None:
    """The order of a lap is one of all sites, and there is none where the recipe has no laps."""
    if isinstance(said.predicate, predicates.ModelPredicate):
        laps.require_order(said.predicate, known.federation, known.recipe.lap_seed, None)


def _of_this_table(said: Statement, expected: Mapping[str, Demand]) -> None:
    table = getattr(said.predicate, "tensor_table", None)
    part = expected.get(f"{said.kind}.safetensors")
    if isinstance(part, artifact.Expected) and table != part.table:
        raise FedmedError("FM-TEN-01", f"{said.kind} of {said.sender}: the table of tensors is not the federation's")


def _inspected(fd: int, envelope: Envelope, said: Statement) -> Inspected:
    return Inspected(
        id=envelope.id,
        spoken=keys.spoken(envelope.id),
        kind=said.kind,
        sender=said.sender,
        key=keys.fingerprint(envelope.signature.public_key),
        file_bytes=os.fstat(fd).st_size,
        expected_bytes=artifact.total_size(envelope, said),
        round=getattr(said.predicate, "round", None),
        attempt=getattr(said.predicate, "attempt", None),
        encoding=_encoding(fd, envelope, said) if said.kind == "update" else "",
        statement=said,
    )


def _encoding(fd: int, envelope: Envelope, said: Statement) -> str:
    """How the numbers of an update are written, by its own header, which `inspect` does not verify."""
    if said.is_encrypted:
        return ""
    part = said.predicate.payload[0]
    read = reading.payload(fd, envelope, said, part.name)
    return layout.told(layout.stated_header(read, part.coding))
