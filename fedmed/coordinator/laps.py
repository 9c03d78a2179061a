"""A lap: the sites of the open round train one after another, each from the weights of the one before it.

The coordinator carries: it takes in each update and puts the very file into its outbox for the next site. The lap ends
when the last update is in, or early with the chain so far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.coordinator import rounds
from fedmed.exchange import archived, sealing
from fedmed.exchange.laps import neighbours

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.rounds import Standing
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.strategy import Meta

ASIDE = "FM-CYC-02: it does not go on from an update that counts"
TOO_FEW = "FM-CYC-06: the lap ended before enough sites had trained"
Chains = dict[tuple[str, str | None], list["Known"]]


@dataclass(frozen=True)
class Relayed:
    """The file that the next site waits for, in the outbox; `is_new` when it was not there before."""

    site: str
    to: str
    posted: Path
    is_new: bool


def arrived(found: Workspace, running: Started) -> list[Standing]:
    """Every site in the order of the lap, before what each of them added is compared."""
    round_, order = rounds.open_round(found), rounds.order(found)
    able = {each.site: each for each in rounds.arrived(found, running) if each.status not in ("excluded", "unapproved")}
    hops = _longest(order, _by_chain(found, round_, able), 0, None)
    everyone = []
    for place, name in enumerate(order):
        if place < len(hops):
            everyone.append(_in_chain(found, hops, place, order))
        else:
            everyone.append(_outside(rounds.standing(found, name, round_), is_its_turn=place == len(hops)))
    return [rounds.with_late(found, each) for each in everyone]


def _by_chain(found: Workspace, round_: int, able: dict[str, Standing]) -> Chains:
    """The updates of the round by sender and by the update that each goes on from."""
    updates: Chains = {}
    for known in found.record.received:
        is_hop = known.kind == "update" and known.round == round_ and known.outcome in ("accepted", "superseded")
        if is_hop and known.sender in able:
            updates.setdefault((known.sender, rounds.update_body(found, known).chain), []).append(known)
    return updates


def _longest(order: Sequence[str], updates: Chains, place: int, before: str | None) -> list[Known]:
    """The chain that reached furthest; of two that reached equally far the one that was corrected last.

    So a corrected update counts until the next site has gone on from the first one, in whatever order they arrive.
    """
    if place == len(order):
        return []
    chains = [
        [known, *_longest(order, updates, place + 1, known.id)] for known in updates.get((order[place], before), [])
    ]
    return max(chains, key=lambda chain: (len(chain), [known.seq for known in chain]), default=[])


def _in_chain(found: Workspace, hops: list[Known], place: int, order: Sequence[str]) -> Standing:
    hop = hops[place]
    standing = rounds.standing(found, hop.sender, hop.round_number, hop)
    newest = found.record.newest("update", sender=hop.sender, round=hop.round)
    if newest is None or newest.seq <= hop.seq:
        return standing
    words = f"a later one came when {neighbours(order, hop.sender)[1]} had gone on from this one"
    return replace(standing, reason="; ".join(filter(None, (words, standing.reason))))


def _outside(standing: Standing, *, is_its_turn: bool) -> Standing:
    if standing.status == "used":
        return _aside(standing)
    if standing.status == "missing":
        return replace(standing, reason="it is its turn" if is_its_turn else "its turn has not come")
    return standing


def _aside(standing: Standing) -> Standing:
    return replace(standing, status="unused", reason="; ".join(filter(None, (ASIDE, standing.reason))))


def behind_the_held(everyone: list[Standing]) -> list[Standing]:
    """With one of them held, those that went on from it do not count."""
    counts, found = True, []
    for each in everyone:
        counts = counts and each.status == "used"
        found.append(_aside(each) if each.status == "used" and not counts else each)
    return found


def closing(running: Started, everyone: list[Standing]) -> list[Standing]:
    """What the receipts say when the lap ends with the chain so far. Below `min_sites` nothing of it counts."""
    least = running.agreement.federation.body.limits.min_sites
    is_enough = sum(each.status == "used" for each in everyone) >= least
    its_turn = next((each.site for each in everyone if each.status != "used"), "")
    found = []
    for each in everyone:
        if each.status == "missing":
            words = "no update came in its turn" if each.site == its_turn else "the lap ended before its turn"
            found.append(replace(each, reason=words))
        elif each.status == "used" and not is_enough:
            found.append(replace(each, status="void", reason=TOO_FEW))
        else:
            found.append(each)
    return found


def parts(meta: Sequence[Meta]) -> list[float]:
    """Whose cases the weights have seen, as parts of one. Nothing was multiplied by them, so nothing is capped."""
    total = sum(each.weight for each in meta)
    return [each.weight / total for each in meta]


def waited_for(everyone: list[Standing]) -> tuple[Known, str] | None:
    """The last update that counts, and the site that goes on from it; None where nobody does."""
    reached = sum(each.status == "used" for each in everyone)
    hop = everyone[reached - 1].update if reached else None
    return (hop, everyone[reached].site) if hop and reached < len(everyone) else None


def relay(found: Workspace, everyone: list[Standing]) -> Relayed | None:
    """Put the file that the next site of a lap waits for into the outbox, as it came, and take away those that were
    used; behind a lap, and behind a kill at its end, that is all of them.

    Raises FedmedError FM-TRU-11, FM-RES-*.
    """
    waiting = waited_for(everyone) if rounds.order(found) else None
    if waiting is None:
        withdraw(found)
        return None
    hop, to = waiting
    is_new = hop.id not in found.record.posted
    posted = sealing.post(found, hop)
    withdraw(found, posted)
    return Relayed(hop.sender, to, posted, is_new)


def withdraw(found: Workspace, kept: Path | None = None) -> None:
    """Copies that were put there for the next site stay in the outbox only while they are needed: all sites look there.

    Raises FedmedError FM-RES-02, FM-TRU-11.
    """
    newest = rounds.open_round(found)
    handed_on = [
        each
        for each in found.record.received
        if each.kind == "update" and each.round_number >= newest - 1 and each.id in found.record.posted
    ]
    names = {sealing.file_name(archived.read_archived(found, each.id)) for each in handed_on}
    for path in {found.outbox / name for name in names} - {kept}:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise files.disk_error(error, path) from error


def is_to_be_relayed(found: Workspace, everyone: list[Standing]) -> bool:
    waiting = waited_for(everyone)
    return waiting is not None and waiting[0].id not in found.record.posted
