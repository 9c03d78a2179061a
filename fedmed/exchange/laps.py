"""The rules of a lap: a round in which the weights go from site to site, and each goes on from the one before.

Cyclical weight transfer: Chang et al., Distributed deep learning networks among institutions for medical imaging,
JAMIA 2018. The order is drawn anew for each lap, so that nobody is always the last, whose data a model remembers best.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange.verdict import Decided, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.exchange.bodies import SiteAck
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.predicates import Actor, ModelPredicate, UpdatePredicate
    from fedmed.exchange.statement import Statement
    from fedmed.exchange.verdict import Situation


def is_lap(round_: int, rounds: int) -> bool:
    """Every round that updates answer but the last, which averages; a federation of one round is one lap."""
    return round_ < rounds - 1 or (round_ == 0 and rounds == 1)


def drawn(
    seed: int, round_: int, names: Sequence[str], before: Sequence[str] = (), acks: Sequence[SiteAck] = ()
) -> list[str]:
    """The order of a lap: `names` by SHA-256 of the recipe's seed, the round and the name.

    The lap before had the order `before` and ended with the receipts `acks`. Whoever was still to come stands first,
    and the one at whose turn it ended stands last.
    """
    ranked = sorted(names, key=lambda name: _rank(seed, round_, name))
    reached = {ack.site for ack in acks if ack.status in ("used", "void")}
    turn = next((place for place, name in enumerate(before) if name not in reached), None)
    if turn is None:
        return ranked
    ended_at, behind = before[turn], before[turn + 1 :]
    first = [name for name in ranked if name in behind]
    return [*first, *(name for name in ranked if name not in (*first, ended_at)), ended_at]


def _rank(seed: int, round_: int, name: str) -> bytes:
    return hashlib.sha256(json.dumps(["lap", seed, round_, name], separators=(",", ":")).encode()).digest()


def neighbours(order: Sequence[str], name: str) -> tuple[str, str]:
    """Who trains before `name`, and who behind; empty at the ends."""
    place = order.index(name)
    return (order[place - 1] if place else ""), (order[place + 1] if place + 1 < len(order) else "")


def recipients(federation: Federation, order: Sequence[str], name: str) -> list[Actor]:
    """Whom an update of `name` is for: the coordinator, and in a lap the next site."""
    behind = neighbours(order, name)[1] if order else ""
    return [federation.coordinator(), *(actor for actor in federation.sites() if actor.name == behind)]


def require_order(
    predicate: ModelPredicate, federation: Federation, seed: int | None, before: Sequence[str] | None
) -> None:
    """A model brings the order that anybody can draw, and its parents are the first of the lap before.

    `seed` is the recipe's where it has laps, and `before` the order that the model before brought; None where that
    model is not here, so that only everybody's turn can be looked for. Raises FedmedError FM-CYC-04.
    """
    round_, order, names = predicate.round, predicate.body.order, federation.site_names
    if seed is None or not is_lap(round_, federation.body.limits.rounds):
        fits = not order
    elif round_ and before is None:
        fits = sorted(order) == names
    else:
        fits = order == drawn(seed, round_, names, before or (), predicate.ack)
    if not fits:
        raise FedmedError("FM-CYC-04", f"model of round {round_}: the order of its lap is not the one that is drawn")
    used = [parent.site for parent in predicate.body.parents]
    if before and used != list(before[: len(used)]):
        raise FedmedError("FM-CYC-04", f"model of round {round_}: its parents are not the first of the lap before it")


def require_turn(said: Statement, predicate: UpdatePredicate, situation: Situation) -> None:
    """At a site: the update of another one is for it only in a lap, and only from the site before it.

    Raises FedmedError FM-CYC-05, Decided for one of another round.
    """
    if predicate.round > situation.round:
        words = f"update of {said.sender}: round {predicate.round} is not open yet"
        raise Decided(Outcome.EARLY, "FM-WAI-05", words)
    if predicate.round < situation.round:
        raise Decided(Outcome.NOT_FOR_ME, "", f"update of {said.sender}: of a lap that is over")
    order = situation.order
    if not order or neighbours(order, situation.name)[0] != said.sender:
        raise FedmedError("FM-CYC-05", f"update of {said.sender}: it does not come before this site in a lap")


def require_hop(said: Statement, predicate: UpdatePredicate, situation: Situation) -> None:
    """An update about the open round names the one before it, or none, and is for whom it must be for.

    Which of several it names is told by the whole chain, which only the coordinator has. Raises FedmedError FM-CYC-02,
    FM-CYC-03.
    """
    if predicate.round != situation.round or situation.federation is None:
        return
    order, chain = situation.order, predicate.body.chain
    begins = not order or order[0] == said.sender
    if begins != (chain is None):
        expected = "none, because it begins" if begins else "an update that it goes on from"
        raise FedmedError("FM-CYC-02", f"update of {said.sender}: expected {expected}")
    if order and predicate.recipients != recipients(situation.federation, order, said.sender):
        raise FedmedError("FM-CYC-03", f"update of {said.sender}: not addressed to the coordinator and the next site")
