"""Who is in the open round, who is missing and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedmed.errors import CODES
from fedmed.exchange import archived, attempts, bodies, fields, keys
from fedmed.learning.strategies import shares, weight_of
from fedmed.learning.strategy import Meta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.coordinator.desk import Started
    from fedmed.exchange.bodies_privacy import PrivacyBlock
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace


@dataclass(frozen=True)
class Standing:
    """One site in a round; `status` as the next model will say. `update` is there when it is `used` or `held`.
    `privacy`: what its patients have spent, by its own word. `sits_out`: it was restored too late for a masked round.
    """

    site: str
    status: bodies.SiteStatus
    reason: str
    update: Known | None
    num_cases: int
    num_patients: int = 0
    num_steps: int = 0
    privacy: PrivacyBlock | None = None
    sits_out: bool = False

    @property
    def is_awaited(self) -> bool:
        """Whether a file of it may still come."""
        return self.status not in ("used", "revoked") and not self.sits_out


def open_round(found: Workspace) -> int:
    """The round of the newest model: the one that updates answer."""
    newest = found.record.newest("model")
    return newest.round if newest and newest.round is not None else -1


def open_name(found: Workspace) -> str:
    """What people call the open round, with its attempt where it is not the first."""
    newest = found.record.newest("model")
    return attempts.named(open_round(found), newest.attempt if newest else 1)


def is_over(found: Workspace) -> bool:
    """Whether the newest model is the last: nobody trains on from it."""
    newest = found.record.newest("model")
    return newest is not None and newest.last


def arrived(found: Workspace, running: Started) -> list[Standing]:
    """Every site of the roster, by name, before its update is compared with the others."""
    round_ = open_round(found)
    everyone = [with_late(found, standing(found, name, round_)) for name in running.agreement.federation.site_names]
    judged = [_as_private(running, unless_revoked(found, running, each)) for each in everyone]
    return [_with_true_steps(running, each) for each in judged]


def unless_revoked(found: Workspace, running: Started, standing: Standing) -> Standing:
    """A site whose key was taken back is not waited for; what it signed before counts."""
    key = keys.parse_public_line(running.agreement.federation.member(standing.site).key)
    last = found.record.revoked.get(keys.fingerprint(key))
    if last is None or standing.update is not None:
        return standing
    return Standing(standing.site, "revoked", f"FM-ROS-04: its key counts up to number {last}", None, 0)


def order(found: Workspace) -> tuple[str, ...]:
    """Who trains when, where the open round is a lap; empty where all train at once."""
    newest = found.record.newest("model")
    return newest.order if newest else ()


def update_body(found: Workspace, known: Known) -> bodies.Update:
    body = archived.read_archived(found, known.id).predicate.body
    if not isinstance(body, bodies.Update):
        raise TypeError("an update has the body of an update")
    return body


def standing(found: Workspace, name: str, round_: int, chosen: Known | None = None) -> Standing:
    """Where one site is, by its newest update of the round, or by the one `chosen`."""
    newest = found.record.newest("model")
    attempt = newest.attempt if newest else 1
    update = chosen or found.record.newest("update", sender=name, round=round_, attempt=attempt)
    refused = found.record.refused.get((name, round_))
    refusal = f"{refused.code}: {CODES[refused.code].meaning}" if refused and refused.code in CODES else ""
    if _equivocated(found, name, round_):
        return Standing(name, "excluded", "FM-TRU-03: two different files with one number", None, 0)
    if update is None and refused is not None:
        return Standing(name, "refused", refusal, None, 0)
    if update is None:
        return Standing(name, "missing", _nothing(found, name, round_, attempt), None, 0)
    if not found.record.of("approval", sender=name):
        return Standing(name, "unapproved", "FM-TRU-07: its approval has not arrived", None, 0)
    body = update_body(found, update)
    facts = body.facts
    reason = f"a later one was refused, {refusal}" if refused and refused.seq > update.seq else ""
    if facts is None:  # masked: nobody knows them
        return Standing(name, "used", reason, update, 0, privacy=body.privacy)
    counts = (facts.num_cases, facts.num_patients, facts.num_steps)
    return Standing(name, "used", reason, update, *counts, body.privacy)


def _nothing(found: Workspace, name: str, round_: int, attempt: int) -> str:
    if attempt == 1:
        return "no update of this round has arrived"
    is_void = found.record.newest("update", sender=name, round=round_) is not None
    return f"no update of attempt {attempt} has arrived" + ("; the one before is void" if is_void else "")


def _as_private(running: Started, standing: Standing) -> Standing:
    """What is averaged has noise from every site or from none, as the recipe says."""
    asked, said = running.recipe.dp, standing.privacy
    fits = asked is None if said is None else asked is not None and said.delta == bodies.decimal(asked.delta)
    if standing.update is None or fits:
        return standing
    words = "FM-PRV-08: what it says of its patients' privacy is not what the recipe asks for"
    return Standing(standing.site, "refused", words, None, 0)


def _with_true_steps(running: Started, standing: Standing) -> Standing:
    """FedNova divides by the steps: who said too few would count more than its share. The recipe gives their number."""
    expected = running.recipe.training.num_steps(max(standing.num_cases, 1))
    is_counted = running.recipe.strategy.name == "fednova" and standing.update is not None
    if not is_counted or standing.num_steps == expected:
        return standing
    words = f"FM-STR-03: {standing.num_steps} steps of {standing.num_cases} cases, the recipe makes it {expected}"
    return Standing(standing.site, "refused", words, None, 0)


def with_late(found: Workspace, standing: Standing) -> Standing:
    """The receipt of an update that came after its round had closed."""
    late = found.record.late.get(standing.site)
    if late is None:
        return standing
    words = f"its update of round {late.round} came after that round had closed"
    if standing.status == "missing":
        return replace(standing, status="late", reason=words)
    return replace(standing, reason="; ".join(filter(None, (standing.reason, words))))


def receipts(found: Workspace, everyone: Sequence[Standing]) -> list[bodies.SiteAck]:
    """What a model says to every site of what became of its file."""
    return [
        bodies.SiteAck(
            site=each.site,
            id=found.record.last_from(each.site),
            status=each.status,
            reason=each.reason[: fields.MAX_TEXT],
        )
        for each in everyone
    ]


def counted(running: Started, used: list[Standing], *, is_lap: bool = False) -> list[Meta]:
    """Weight by the recipe's rule and share after the cap, of the updates that count. In a lap the last one is added
    whole, which says the work of all of them.
    """
    if not used:
        return []
    rule = running.recipe.strategy.weight
    weights = [weight_of(rule, each.num_cases, each.num_patients) for each in used]
    cap = float(running.agreement.federation.body.limits.max_share)
    parts = [0.0] * (len(used) - 1) + [1.0] if is_lap else shares(weights, cap)
    return [
        Meta(each.site, weight, part, each.num_steps) for each, weight, part in zip(used, weights, parts, strict=True)
    ]


def _equivocated(found: Workspace, name: str, round_: int) -> bool:
    """A conflict excludes its sender from the round that it is about and from no other."""
    for conflict in found.record.conflicts:
        if conflict.sender != name:
            continue
        twin = next((k for k in found.record.received if k.sender == name and k.seq == conflict.seq), None)
        if round_ in (conflict.round, twin.round if twin else None):
            return True
    return False
