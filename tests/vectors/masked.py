"""A federation whose updates come masked, an update and a model of it, and defects of each."""

from __future__ import annotations

import copy
import json
import struct
from typing import TYPE_CHECKING, Any

from fedmed.exchange import canonical
from tests.vectors import encoded, samples
from tests.vectors.samples import key, of_kind, sha256, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORM = "masked"
AGGREGATION = {
    "masking": "dm2",
    "colluders": 1,
    "ring": 32,
    "clip": {"norm": 2.0, "times_last": None},
    "set_change": "warn",
    "central": None,
}
VECTOR = struct.pack("<10I", 0, 1, 2**31, 2**32 - 1, 5, 6, 7, 8, 9, 10)  # nine numbers and what they count
PAYLOADS: samples.Payloads = [
    ("update.safetensors", encoded.payload([("masked", "U32", [10], VECTOR)])),
    ("bundles.bin", bytes(range(64))),
    ("shares.json", b'{"rows":[],"seeds":[]}'),
]
MEDIA = {"safetensors": "application/vnd.safetensors", "bin": "application/octet-stream", "json": "application/json"}


def federation() -> bytes:
    """The sample federation, whose recipe masks."""
    said, payloads = of_kind("federation")
    recipe = {**json.loads(samples.RECIPE), "aggregation": AGGREGATION}
    data = json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode()
    said["subject"][0]["digest"]["sha256"], said["predicate"]["payload"][0]["bytes"] = sha256(data), len(data)
    return signed(said, [("recipe.json", data), payloads[1]], by=key("coordinator"))


def sealed(
    kind: str,
    payloads: samples.Payloads,
    change: Callable[[dict[str, Any]], object] = lambda _: None,
    more: samples.Payloads | None = None,
) -> bytes:
    """A file of this kind under that federation after `change(predicate)`; `more` are the payloads that it has."""
    said = copy.deepcopy(of_kind(kind)[0])
    predicate = said["predicate"]
    predicate["federation"]["digest"] = sha256(canonical.encode(samples.statement_in(federation())))
    said["subject"] = [{"name": name, "digest": {"sha256": sha256(data)}} for name, data in payloads]
    predicate["payload"] = [
        {"name": name, "bytes": len(data), "media": MEDIA[name.split(".")[1]], "enc": "none", "coding": "none"}
        for name, data in payloads
    ]
    change(predicate)
    sender = "coordinator" if kind in samples.OF_COORDINATOR else "st-olav"
    return signed(said, more or payloads, by=key(sender))


def update(
    change: Callable[[dict[str, Any]], object] = lambda _: None,
    payloads: samples.Payloads = PAYLOADS,
    more: samples.Payloads | None = None,
) -> bytes:
    def masked(predicate: dict[str, Any]) -> None:
        following = samples.mask_key("st-olav", 2).certificate.model_dump()
        predicate["body"] |= {
            "facts": None,
            "masked": {
                "context": "ab" * 32,
                "table": samples.ZEROS,
                "dealt": [samples.ZEROS] * 3,
                "next": following,
            },
        }
        length = 8 + int.from_bytes(PAYLOADS[0][1][:8], "little")
        predicate["tensor_table"] = sha256(PAYLOADS[0][1][:length])
        change(predicate)

    return sealed("update", payloads, masked, more)


def model(change: Callable[[dict[str, Any]], object] = lambda _: None) -> bytes:
    """Model r0, which lists the mask certificates of the sites."""

    def lists(predicate: dict[str, Any]) -> None:
        certificates = [samples.mask_key(site).certificate.model_dump() for site in samples.SITES]
        predicate["body"] |= {"masks": certificates, "clip": "2"}
        change(predicate)

    return sealed("model", [("model.safetensors", samples.MODEL), ("approvals.json", b'{"approvals":[]}')], lists)


def _body(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda predicate: predicate["body"].update(fields)


def _masked(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda predicate: predicate["body"]["masked"].update(fields)


def _with(data: bytes, place: int = 0) -> samples.Payloads:
    """The payloads with another one at this place."""
    return [(name, data if n == place else old) for n, (name, old) in enumerate(PAYLOADS)]


def vectors() -> Iterator[tuple[str, str, bytes]]:
    """Name, expected outcome and file."""
    yield "federation-masked", "ok", federation()
    yield "update-masked-ok", "ok", update()
    yield "model-masked-ok", "ok", model()
    facts = of_kind("update")[0]["predicate"]["body"]["facts"]
    yield "update-masked-that-tells-facts", "FM-FRM-03", update(_body(facts=facts))
    yield "update-masked-without-shares", "FM-FRM-03", update(payloads=PAYLOADS[:2])
    yield "update-masked-shares-first", "FM-FRM-03", update(payloads=[PAYLOADS[0], PAYLOADS[2], PAYLOADS[1]])
    yield "update-masked-for-two-sites", "FM-FRM-03", update(_masked(dealt=[samples.ZEROS] * 2))
    yield "update-masked-without-a-context", "FM-FRM-03", update(_masked(context=None))
    yield "update-masked-without-a-next-key", "FM-FRM-03", update(_masked(next=None))
    yield "update-masked-of-floats", "FM-TEN-01", update(payloads=_with(samples.UPDATE))
    short = encoded.payload([("masked", "U32", [9], VECTOR[:36])])
    yield "update-masked-without-its-count", "FM-TEN-01", update(payloads=_with(short))
    wide = encoded.payload([("masked", "U64", [10], VECTOR * 2)])
    yield "update-masked-in-another-ring", "FM-TEN-01", update(payloads=_with(wide))
    yield "update-masked-with-another-bundle", "FM-TRU-10", update(more=_with(bytes(64), 1))
    yield "update-masked-with-other-shares", "FM-TRU-10", update(more=_with(b'{"rows":[],"seeds":[0]}'[:22], 2))
    yield "model-masked-without-a-clip", "FM-FRM-03", model(_body(clip=None))
    parent = {"site": "riks", "update": samples.ZEROS, "weight": None, "share": None}
    yield "model-masked-without-its-seeds", "FM-FRM-03", model(_body(parents=[parent]))
    yield "model-masked-with-a-share-alone", "FM-FRM-03", model(_body(parents=[{**parent, "share": "0.5"}]))
