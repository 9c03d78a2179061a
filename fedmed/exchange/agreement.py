"""The federation in force in a workspace, read back from the archive: who, and the bytes of recipe and tensor table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import admission, archived, federation, keys, statement
from fedmed.exchange import workspace as workspaces

if TYPE_CHECKING:
    from datetime import datetime

    from fedmed.exchange.federation import Federation
    from fedmed.exchange.workspace import Workspace


@dataclass(frozen=True)
class Agreement:
    """What all sites agreed to. The actors decode its files; this room knows none of them. `preprocessing` is None
    unless a second version brought it.
    """

    federation: Federation
    recipe: bytes
    tensors: bytes
    preprocessing: bytes | None


def in_force(workspace: Workspace) -> Agreement | None:
    """None before `start` (coordinator) or `approve` (site). Raises FedmedError FM-TRU-11."""
    known = workspace.record.newest("federation")
    if known is None:
        return None
    said = archived.read_archived(workspace, known.id)
    found = federation.from_statement(said, known.id)
    recipe, tensors = (archived.read_payload(workspace, known.id, name) for name in ("recipe.json", "tensors.json"))
    is_fitted = found.preprocessing is not None
    numbers = archived.read_payload(workspace, known.id, statement.PREPROCESSING) if is_fitted else None
    return Agreement(found, recipe, tensors, numbers)


def use_next_key(workspace: Workspace, now: datetime) -> None:
    """Sign with the key that this workspace has rotated to, once the federation in force names it.

    Raises FedmedError FM-TRU-11, FM-KEY-*, FM-RES-*.
    """
    agreed = in_force(workspace) if workspaces.next_key(workspace.root).exists() else None
    if agreed is not None:
        workspaces.use_next_key(workspace, agreed.federation.key_of(workspace.name), now)


def require_valid(workspace: Workspace, agreement: Agreement, now: datetime) -> None:
    """Raises FedmedError FM-TIM-01 when the federation is over; a clock set back does not revive it. FM-ROS-11 when the
    coordinator took this workspace's key back, FM-ROS-14 when it lists another key for it than is here.
    """
    if keys.fingerprint(workspace.public_key) in workspace.record.revoked:
        raise FedmedError("FM-ROS-11", f"{workspace.name}: the coordinator has revoked this workspace's key")
    if agreement.federation.key_of(workspace.name) != workspace.public_key:
        words = "expected the key that the federation lists, got an older one"
        raise FedmedError("FM-ROS-14", f"{workspace.name}: {words}")
    if max(statement.to_time(now), workspace.record.floor) > agreement.federation.expires:
        next_ = "ask the coordinator to found a new federation"
        raise FedmedError("FM-TIM-01", f"the federation expired {agreement.federation.expires}", next=next_)


def require_clock(workspace: Workspace, now: datetime) -> None:
    """Raises FedmedError FM-TIM-02 when this clock is behind what is signed already: a model or a request would be over
    too soon.
    """
    signed = workspace.record.floor
    if signed and statement.from_time(signed) > now + admission.AHEAD:
        words = f"this workspace signed something {signed}, this clock says {statement.to_time(now)}"
        raise FedmedError("FM-TIM-02", words, next="set this computer's clock, or aggregate --trust-clock REASON")
