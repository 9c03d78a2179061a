"""Vectors about the roster: what a model carries in `approvals.json`, and keys that their owners replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vectors.samples import approval, approvals, key, resigned, rotated, rotation, rotation_body, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

Vector = tuple[str, str, bytes]


def carrying(data: bytes) -> bytes:
    """A model with these approvals."""
    return resigned(sample("model"), key("coordinator"), payload=data, place=1)


def vectors() -> Iterator[Vector]:
    yield from _of_approvals()
    yield from _of_rotations()


def _of_rotations() -> Iterator[Vector]:
    """Held against version 1: a key is another one only with its owner's word, and the new key's."""
    good, next_ = rotation(), rotation(old="st-olav-2", new="st-olav-3")
    own = rotation("coordinator", new="coordinator-2")
    yield "federation-rotated", "ok", rotated(good, st_olav="st-olav-2")
    yield "federation-rotated-twice", "ok", rotated(good, next_, st_olav="st-olav-3")
    yield "federation-rotated-coordinator", "ok", rotated(own, coordinator="coordinator-2")
    yield "federation-key-without-a-rotation", "FM-ROS-12", rotated(st_olav="st-olav-2")
    yield "federation-rotation-without-its-key", "FM-ROS-12", rotated(good)
    yield "federation-rotation-replayed", "FM-ROS-12", rotated(good, next_, good, st_olav="st-olav-2")
    yield "federation-rotation-out-of-order", "FM-ROS-12", rotated(next_, good, st_olav="st-olav-3")
    yield (
        "federation-rotation-back-to-an-old-key",
        "FM-ROS-12",
        rotated(good, rotation(old="st-olav-2", new="st-olav"), st_olav="st-olav"),
    )
    yield "federation-rotation-by-another-site", "FM-ROS-12", rotated(rotation(signer="riks"), st_olav="st-olav-2")
    yield "federation-rotation-by-a-stranger", "FM-ROS-12", rotated(rotation(signer="stranger"), st_olav="st-olav-2")
    yield "federation-rotation-without-possession", "FM-ROS-12", rotated(rotation(by="riks"), st_olav="st-olav-2")
    yield "federation-rotation-of-another-owner", "FM-ROS-12", rotated(good, riks="st-olav-2")
    yield "rotation-without-possession", "FM-ROS-12", _saying(by="stranger")
    yield "rotation-for-another-old-key", "FM-ROS-12", _saying(old="riks")


def _saying(**lie: str) -> bytes:
    return resigned(sample("rotation"), key("st-olav"), lambda said: said.update(body=rotation_body(**lie)))


def _of_approvals() -> Iterator[Vector]:
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
