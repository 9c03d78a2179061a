"""`keys pin`: the operator has called another hospital, and types the fingerprint of its join that is read there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import keys, pins
from fedmed.site import desk

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True)
class Pinned:
    """`unpinned` are the other sites that are still to be called; those whose key was revoked are none of them."""

    site: str
    is_new: bool
    unpinned: list[str]


def due(root: Path) -> tuple[list[str], list[str]]:
    """The other sites that are still to be called, and those whose key was revoked. Raises FedmedError FM-TRU-07."""
    site = desk.peek(root)
    found, federation = site.workspace, desk.require_approved(site).agreement.federation
    return pins.uncalled(found, federation), pins.revoked(found.record, federation)


def pin(root: Path, name: str, now: datetime, ask: Callable[[], str], typed: str | None = None) -> Pinned:
    """`typed` is the fingerprint that came with the command, and is compared also where the site was pinned before;
    without it `ask` returns what the operator types. It is not shown before.

    Raises FedmedError FM-TRU-07, FM-ROS-02 (another fingerprint), FM-ROS-03 (no other site of that name),
    FM-ROS-04 (its key was revoked).
    """
    with desk.opened(root, now) as site:
        found, federation = site.workspace, desk.require_approved(site).agreement.federation
        if name == found.name or name not in federation.site_names:
            others = ", ".join(each for each in federation.site_names if each != found.name)
            raise FedmedError("FM-ROS-03", f"expected one of {others}, got {name[:40]!r}")
        if name in pins.revoked(found.record, federation):
            raise FedmedError("FM-ROS-04", f"{name}: its key was revoked, and to have called it confirms nothing")
        is_new = name in pins.uncalled(found, federation)
        member = federation.member(name)
        if is_new and typed is None:
            typed = ask()
        if typed is not None and keys.normalise_spoken(typed) != member.join[: keys.SPOKEN]:
            words = f"{name}: the fingerprint typed is not that of its join in this federation{keys.misread(typed)}"
            raise FedmedError("FM-ROS-02", words)
        if is_new:
            found.write_entry("keys pin", "note", now, what=pins.PIN, site=name, join=member.join, key=member.key)
        return Pinned(name, is_new, pins.uncalled(found, federation))
