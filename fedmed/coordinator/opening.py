"""What comes before the first model, where it is not sealed by `start`: fingerprints that are pooled, or approvals.

A site masks only where all others have approved the same federation, so model r0, whose masks all of them share, waits
for that. `start` keeps its weights in state/, because `aggregate` has no torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.coordinator import closing, fingerprints, model, rounds, unmasked
from fedmed.coordinator.rounds import Standing
from fedmed.errors import FedmedError
from fedmed.exchange import approvals, artifact, bodies
from fedmed.learning import shapes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.coordinator.desk import Started
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace


def is_open(found: Workspace, running: Started) -> bool:
    """Whether files of the sites come before the first model, and that model is not sealed yet."""
    return running.waits and found.record.model(0) is None


def standings(found: Workspace, running: Started) -> list[Standing]:
    """Every site of the roster, by name: is here what the first model waits for?"""
    if running.pools:
        return fingerprints.standings(found, running)
    missing, names = unapproved(found, running), running.agreement.federation.site_names
    words = "no approval has arrived"
    return [
        Standing(name, "missing", words, None, 0) if name in missing else Standing(name, "used", "", None, 0)
        for name in names
    ]


def unapproved(found: Workspace, running: Started) -> list[str]:
    """The sites whose approval masks wait for, by name; nobody where nothing is masked."""
    if not running.masks:
        return []
    federation = running.agreement.federation
    brought = b"".join(approvals.gathered(found, federation).chunks())
    approved = approvals.approved_by(brought, federation, found.record.counts)
    return [name for name in federation.site_names if name not in approved]


def why_open(found: Workspace, running: Started, everyone: list[Standing], now: datetime, *, close: bool) -> str:
    """Empty when the first model can be sealed, else what it waits for. Nobody can do without an approval."""
    if missing := unapproved(found, running):
        return f"approvals: masked updates need those of all sites; not in: {', '.join(missing)}"
    if running.pools and running.agreement.federation.preprocessing is None:
        waiting = closing.why_open(found, running, everyone, now, close=close)
        return f"fingerprints: {waiting}" if waiting else ""
    return ""


def say_first_model(found: Workspace, running: Started, everyone: Sequence[Standing], now: datetime) -> Known:
    """Model r0 from the weights that `start` kept, with a receipt for every site.

    Raises FedmedError FM-NRM-08 when they are missing or damaged.
    """
    path = initial_file(found)
    size = shapes.payload_size(running.travelling)
    digest = begun_with(found)
    if not is_kept(found, digest):
        raise FedmedError("FM-NRM-08", f"state/{path.name}: expected the weights with which start began")
    content = artifact.file_content(model.PAYLOAD, path, size, digest)
    counted = {row["site"] for row in fingerprints.pooled_rows(found)}
    if running.pools:
        everyone = [replace(each, status=_status(each, each.site in counted)) for each in everyone]
    acks = rounds.receipts(found, everyone)
    next_ = model.Next(round=0, ack=acks, clip=unmasked.first_clip(running))
    return model.say(found, running, next_, content, now, "aggregate")


def _status(standing: Standing, is_pooled: bool) -> bodies.SiteStatus:
    """What came after the numbers were sealed did not count in them."""
    if is_pooled:
        return "used"
    return "late" if standing.status == "used" else standing.status


def initial_file(found: Workspace) -> Path:
    """Where `start` keeps the first weights while files of the sites are awaited."""
    return found.root / "state" / "initial.safetensors"


def begun_with(found: Workspace) -> str:
    """SHA-256 of the weights with which start began."""
    notes = (facts for _, facts in reversed(found.record.notes) if facts.get("what") == "initial-weights")
    return next(str(facts["sha256"]) for facts in notes)


def is_kept(found: Workspace, digest: str) -> bool:
    try:
        return files.sha256_file(initial_file(found)) == digest
    except OSError:
        return False
