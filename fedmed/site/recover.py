"""`recover` at a site: go on after a restored backup, or tell the coordinator where it was after one of its own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from fedmed import logs
from fedmed.errors import FedmedError
from fedmed.exchange import archived, receipts, recovery, sealing, workspace
from fedmed.exchange.bodies_roster import Receipt
from fedmed.site import desk, masked, masks

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.recovery import Recovered


def recover(root: Path, now: datetime) -> Recovered:
    """From receipts in the inbox; where updates are masked, with new mask keys, and from the next round on.

    Raises FedmedError FM-TRU-07, FM-WAI-02, FM-ROS-08.
    """
    with workspace.locked(root):
        logs.open_logs(root / "logs")
        site = desk.peek(root)
        with suppress(FedmedError):  # that its ledger forgot a statement is why it is restored
            sealing.complete_intent(site.workspace, now)
        consent, _ = desk.receive_versions(site, desk.require_approved(site), now, "recover")
        found = recovery.recover(site.workspace, consent.agreement.federation, now, masks=consent.masks)
        if not consent.masks:
            return found
        masked.forget(site, found.answered + 1)
        return replace(found, posted=masks.renew(site, consent, now))


def vouch(root: Path, name: str, now: datetime) -> list[Path]:
    """The receipt for the coordinator, and the newest model and later versions of the federation, which it may have
    lost. Raises FedmedError FM-ROS-10.
    """
    with desk.opened(root, now) as site:
        found, federation = site.workspace, desk.require_approved(site).agreement.federation
        receipts.require_counterpart(found, federation, name)
        given, model = receipts.give(found, federation, name, now), found.record.newest("model")
        versions = [each for each in found.record.of("federation") if each.version > 1]
        return [sealing.post(found, each) for each in (given, model, *versions) if each is not None]


def require_first(root: Path) -> None:
    """Behind masks each recovery is a restore of its own, makes new mask keys and gives up rounds: who has recovered,
    and brings the coordinator the certificate, does not so by accident. Raises FedmedError FM-USE-01.
    """
    found = desk.peek(root).workspace
    record = found.record
    since = [each for each in record.of("receipt", sender=found.name) if each.resumes == record.resumes]
    bodies = [archived.read_archived(found, each.id).predicate.body for each in since if each.id in record.posted]
    if not record.resumes or not any(isinstance(each, Receipt) and each.mask for each in bodies):
        return
    message = "this workspace was recovered before; again gives it other mask keys, and more rounds up"
    next_ = "only if it was put back from a backup again since then: fedmed recover --again -w HERE"
    raise FedmedError("FM-USE-01", message, next=next_)


def require_claim(root: Path, name: str, now: datetime) -> None:
    """Where nobody acknowledges what was never signed there is nothing to dismiss. Raises FedmedError FM-ROS-10."""
    site = desk.peek(root)
    consent = desk.require_approved(site)
    receipts.require_counterpart(site.workspace, consent.agreement.federation, name)
    receipts.require_claim(site.workspace, desk.terms(consent), name, now)


def dismiss(root: Path, name: str, reason: str, now: datetime) -> None:
    """What `name` acknowledges and this workspace never signed refuses the file from now on, and stops nothing.

    Raises FedmedError FM-ROS-10.
    """
    with desk.opened(root, now) as site:
        receipts.dismiss(site.workspace, desk.require_approved(site).agreement.federation, name, reason, now)
