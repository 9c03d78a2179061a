"""Vectors about the roster: what a model carries in `approvals.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vectors.samples import approval, approvals, key, resigned, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

Vector = tuple[str, str, bytes]


def carrying(data: bytes) -> bytes:
    """A model with these approvals."""
    return resigned(sample("model"), key("coordinator"), payload=data, place=1)


def vectors() -> Iterator[Vector]:
    good, other = approval(), approval("riks")
    foreign = approval("riks", lambda said: said["federation"].update(id="0" * 32))
    mixed = {**good, "signature": other["signature"]}
    yield "model-approved-by-all", "ok", carrying(approvals(other, good))
    yield "model-approved-by-nobody-yet", "ok", carrying(b'{"approvals":[]}')
    yield "model-approvals-out-of-order", "FM-ROS-01", carrying(approvals(good, other))
    yield "model-approval-twice", "FM-ROS-01", carrying(approvals(good, good))
    yield "model-approval-of-a-stranger", "FM-ROS-01", carrying(approvals(approval("stranger")))
    yield "model-approval-with-another-signature", "FM-ROS-01", carrying(approvals(mixed))
    yield "model-approval-of-another-federation", "FM-ROS-01", carrying(approvals(foreign))
    yield "model-approvals-not-canonical", "FM-ROS-01", carrying(approvals(good) + b"\n")
    yield "model-approvals-with-another-field", "FM-ROS-01", carrying(approvals({**good, "by": "x"}))
