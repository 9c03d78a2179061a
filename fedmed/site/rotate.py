"""`keys rotate` at a site: a new signing key, with new mask keys that it certifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.exchange import agreement, newkeys
from fedmed.site import desk, masks

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.newkeys import Rotated


def rotate(root: Path, now: datetime) -> Rotated:
    """Behind a restore its mask keys may be outdated before they came into force: then it is said once more.

    Raises FedmedError FM-TRU-07, FM-TIM-01, FM-ROS-11, FM-ROS-14, FM-ROS-15, FM-KEY-*, FM-RES-*."""
    with desk.opened(root, now) as site:
        consent = desk.require_approved(site)
        agreement.require_valid(site.workspace, consent.agreement, now)
        federation = consent.agreement.federation
        anew = masks.are_behind(site, federation)
        return newkeys.rotate(site.workspace, federation, now, masks.spare_index(site, federation), anew=anew)
