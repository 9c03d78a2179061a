"""`approve`: show the federation and what will leave the hospital, compare the fingerprint, record who consents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import recipe
from fedmed.errors import FedmedError, about
from fedmed.exchange import bodies, federation, intake, keys, sealing, statement
from fedmed.learning import params
from fedmed.site import desk
from fedmed.strict import is_plain_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.workspace import Workspace
    from fedmed.recipe import Recipe


@dataclass(frozen=True)
class Proposal:
    """A federation file that verified as being of one piece. Whose it is only the typed fingerprint can tell."""

    data: bytes
    statement_id: str
    said: statement.Statement
    federation: Federation
    recipe: Recipe
    update_bytes: int


@dataclass(frozen=True)
class Consent:
    """What was agreed to, by whom, and the file that says so."""

    title: str
    by: str
    is_new: bool
    posted: Path


LEAVES = (
    (
        "per round one update: changed weights of the network, number of cases, patients and steps, training loss, "
        "validation metrics, exclusion counts by code, a digest of the case list, software versions"
    ),
    "per evaluation one report: per metric n, mean, standard deviation and a 20-bin histogram",
    "no image, no label, no patient identifier, no pseudonym, no path",
)


def approve(
    root: Path,
    now: datetime,
    *,
    by: str,
    ask: Callable[[list[Proposal]], str],
    accept_expired: str = "",
) -> Consent:
    """`ask` shows the proposals and returns the fingerprint that the operator typed.

    Raises FedmedError FM-WAI-02 (no federation file), FM-TRU-01 (other fingerprint), FM-TRU-09 (not in the roster),
    FM-TIM-01, FM-USE-01 (no name).
    """
    if not by.strip() or not is_plain_text(by) or len(by) > 200:
        raise FedmedError("FM-USE-01", "--by: expected the name of the person who consents")
    with desk.opened(root, now) as site:
        found = site.workspace
        if (consent := desk.approved(site)) is not None:
            return _say_again(found, consent.agreement.federation, by, now)
        proposals = _proposals(found)
        typed = keys.normalise_spoken(ask(proposals))
        matching = [each for each in proposals if each.statement_id[:32] == typed]
        if not matching:
            raise FedmedError("FM-TRU-01", "the fingerprint typed is of no federation file in the inbox")
        chosen = matching[0]
        _check(chosen, found, now, accept_expired)
        known = intake.to_known(chosen.statement_id, chosen.said, "accepted", found.name)
        floor = min(chosen.said.predicate.created, statement.to_time(now))
        intake.keep(found, chosen.data, known, "approve", now, floor=floor, by=by)
        return _say_again(found, chosen.federation, by, now)


def _proposals(found: Workspace) -> list[Proposal]:
    """Every sound federation file in the inbox. Raises the fault of the only one there is, or FM-WAI-02."""
    proposals: dict[str, Proposal] = {}
    fault: FedmedError | None = None
    for path in intake.candidates(found):
        try:
            with about(path):
                data, envelope, said = intake.open_self_signed(path, "federation")
            proposals.setdefault(envelope.id, _proposal(data, envelope.id, said, found, envelope.size))
        except FedmedError as error:
            fault = error if path.name.startswith("federation") else fault
    if not proposals:
        if fault is not None:
            raise fault
        raise FedmedError(
            "FM-WAI-02",
            "no federation file has arrived",
            next="put federation-v0001.fedmed into inbox/ and run the command again",
        )
    return list(proposals.values())


def _proposal(data: bytes, statement_id: str, said: statement.Statement, found: Workspace, offset: int) -> Proposal:
    seen = federation.from_statement(said, statement_id)
    contents = {}
    for part in said.predicate.payload:
        start = offset + 512
        contents[part.name] = data[start : start + part.bytes]
        offset = start + part.bytes + -part.bytes % 512
    table = params.table_from_bytes(contents["tensors.json"])
    _seat(seen, found)
    return Proposal(
        data, statement_id, said, seen, recipe.from_bytes(contents["recipe.json"]), params.payload_size(table)
    )


def _seat(seen: Federation, found: Workspace) -> None:
    """This site must sit in the roster with its own key. Raises FedmedError FM-TRU-09."""
    owner = seen.owner(found.public_key)
    if owner is None or owner.name != found.name:
        raise FedmedError("FM-TRU-09", f"{found.name}: not in the roster of the federation with this site's key")


def _check(chosen: Proposal, found: Workspace, now: datetime, accept_expired: str) -> None:
    if statement.to_time(now) > chosen.federation.expires:
        if not accept_expired:
            raise FedmedError("FM-TIM-01", f"the federation expired {chosen.federation.expires}")
        found.write_entry("approve", "note", now, what="accept-expired", reason=accept_expired)


def _say_again(found: Workspace, agreed: Federation, by: str, now: datetime) -> Consent:
    """Seal the approval, or post the one that was sealed."""
    known = found.record.newest("approval")
    is_new = known is None
    if known is None:
        known = _say_approval(found, agreed, by, now)
    body = sealing.read_archived(found, known.id).predicate.body
    signed_by = body.by if isinstance(body, bodies.Approval) else by
    return Consent(agreed.founding.title, signed_by, is_new, sealing.post(found, known))


def _say_approval(found: Workspace, agreed: Federation, by: str, now: datetime) -> Known:
    def build(opening: Opening, payload: list[statement.Payload], _: list[statement.Subject]) -> statement.Statement:
        predicate = statement.ApprovalPredicate(
            **opening.fields(),
            kind="approval",
            federation=agreed.membership,
            recipients=[agreed.coordinator()],
            ack=agreed.digest,
            payload=payload,
            body=bodies.Approval(by=by),
        )
        return statement.make("approval", statement.about("approval", agreed.digest), predicate)

    return sealing.say(found, "approve", "approval", None, [], build, now)
