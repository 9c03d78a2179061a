"""Whether a masked round can still close, as far as it is known here: which sites have no part in it any more.

A site whose key was revoked answers nothing; one that was restored sits out the round that was open then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.coordinator import closing, culprits, masked, opening, restored, rounds
from fedmed.errors import FedmedError
from fedmed.exchange import pins

if TYPE_CHECKING:
    from collections.abc import Collection

    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.rounds import Standing
    from fedmed.exchange.workspace import Workspace


def lost(
    found: Workspace, running: Started, everyone: list[Standing], coming: Collection[str] = ()
) -> FedmedError | None:
    """FM-MSK-21 where too few sites are left for the open attempt, with what remains; None where enough may still come.

    `coming` are the sites whose files for it lie in the inbox.
    """
    gone, guilty = _gone(found, running), dict.fromkeys(culprits.names(found), "spoiled an attempt")
    unapproved = ", ".join(opening.unapproved(found, running))
    if not (gone or guilty or unapproved):
        return None
    included, needed = masked.fixed(found), running.terms.threshold
    left = set() if unapproved else set(running.agreement.federation.site_names) - gone.keys()
    if included:
        answered = masked.replies(found, masked.opened(found, running), included).keys() | set(coming)
        left = (left | answered) & included.keys()
    else:
        gone = guilty | gone
        left -= gone.keys()
        in_sum = left | {each.site for each in everyone if each.status == "used"} | set(coming)
        if len(left) >= needed:
            needed, left = closing.least(running), in_sum
    if len(left) >= needed:
        return None
    where, names = rounds.open_name(found), ", ".join(sorted(left)) or "none"
    without = ", ".join(f"{site} ({why})" for site, why in sorted(gone.items()))
    words = f"{where} cannot close: {needed} sites are needed, {len(left)} are left: {names}; not {without}"
    if unapproved:
        words += f"; no approval of {unapproved} counts, and without it no site masks"
    elif included and len(again := _next_attempt(found, running, gone)) >= closing.least(running):
        words += f"; another attempt can, of {', '.join(again)}"
        return FedmedError("FM-MSK-21", words, next="fedmed aggregate --void REASON")
    round_ = rounds.open_round(found)
    next_ = f"take model r{round_:04d} as the result of this federation, or found a new one"
    if round_ == 0:
        next_ = "found a new federation: in this one nothing was trained"
    return FedmedError("FM-MSK-21", f"{words}; another attempt would not help", next=next_)


def _gone(found: Workspace, running: Started) -> dict[str, str]:
    """Why a site answers nothing more in the open round, by site."""
    federation = running.agreement.federation
    gone = dict.fromkeys(pins.revoked(found.record, federation), "revoked")
    behind = [name for name in federation.site_names if name not in gone and restored.sits_out(found, name)]
    return gone | dict.fromkeys(behind, "restored from a backup")


def _next_attempt(found: Workspace, running: Started, gone: Collection[str]) -> list[str]:
    """Who can surely take part in another attempt of the open round: restored sites only behind their answer about the
    first one.
    """
    record, round_ = found.record, rounds.open_round(found)
    names = set(running.agreement.federation.site_names) - set(gone) - set(culprits.names(found))
    return sorted(
        name
        for name in names
        if not restored.times(found, name) or record.of("unmask-reply", sender=name, round=round_, attempt=1)
    )
