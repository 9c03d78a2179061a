"""`recover` at the coordinator: tell a restored site where it was, or go on after a backup of its own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from fedmed import logs
from fedmed.coordinator import desk, revoke
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, receipts, recovery, sealing, workspace

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.recovery import Recovered


def recover(root: Path, now: datetime) -> Recovered:
    """From the sites' receipts in the inbox and its own files that they still have. A version of the federation among
    these may name this workspace's next key: then what was signed, and is addressed, with that one is taken in, too.

    Raises FedmedError FM-FED-03, FM-WAI-02, FM-ROS-08, FM-ROS-09.
    """
    with workspace.locked(root):
        logs.open_logs(root / "logs")
        found = desk.peek(root)
        with suppress(FedmedError):  # that its ledger forgot a statement is why it is restored
            sealing.complete_intent(found, now)
        first = recovery.recover(found, desk.require_started(found).agreement.federation, now)
        before = found.public_key
        agreement.use_next_key(found, now)
        if found.public_key == before:
            return first
        second = recovery.recover(found, desk.require_started(found).agreement.federation, now)
        is_new, statements = first.is_new or second.is_new, first.statements + second.statements
        return replace(second, is_new=is_new, statements=statements)


def vouch(root: Path, name: str, now: datetime) -> list[Path]:
    """The receipt for a site, and the revocations that its backup may lack. Raises FedmedError FM-FED-03, FM-ROS-10."""
    with desk.opened(root, now) as found:
        federation = desk.require_started(found).agreement.federation
        receipts.require_counterpart(found, federation, name)
        receipt = sealing.post(found, receipts.give(found, federation, name, now))
        return [receipt, *(sealing.post(found, each) for each in revoke.stand(found, federation, now))]


def require_claim(root: Path, name: str, now: datetime) -> None:
    """As at a site. Raises FedmedError FM-FED-03, FM-ROS-10."""
    found = desk.peek(root)
    running = desk.require_started(found)
    receipts.require_counterpart(found, running.agreement.federation, name)
    receipts.require_claim(found, desk.terms(running), name, now)


def dismiss(root: Path, name: str, reason: str, now: datetime) -> None:
    """As at a site. Raises FedmedError FM-FED-03, FM-ROS-10."""
    with desk.opened(root, now) as found:
        receipts.dismiss(found, desk.require_started(found).agreement.federation, name, reason, now)
