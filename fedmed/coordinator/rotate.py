"""`keys rotate` at the coordinator: a new signing key, from the next model on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.coordinator import desk
from fedmed.exchange import agreement, newkeys

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.newkeys import Rotated


def rotate(root: Path, now: datetime) -> Rotated:
    """Raises FedmedError FM-FED-03, FM-TIM-01, FM-ROS-14, FM-ROS-15, FM-KEY-*, FM-RES-*."""
    with desk.opened(root, now) as found:
        running = desk.require_started(found)
        agreement.require_valid(found, running.agreement, now)
        return newkeys.rotate(found, running.agreement.federation, now)
