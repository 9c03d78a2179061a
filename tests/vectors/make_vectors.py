"""Write the golden vectors: one file, one defect, one expected outcome.

    python -m tests.vectors.make_vectors

`data/index.txt` says what a verifier that holds `federation-ok.fedmed` must find in each file, and one that holds
`federation-FORM.fedmed` in the files of an encoding, `update-FORM-*`. Keys and times are fixed and Ed25519 is
deterministic, so the bytes are always the same.
"""

from __future__ import annotations

import copy
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed.exchange import canonical, keys, sshsig
from tests.vectors import encoded, masked, rostered, samples
from tests.vectors.samples import KINDS, key, member, members, of_kind, packed, resigned, sample, sha256, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = Path(__file__).parent / "data"
Vector = tuple[str, str, bytes]  # name, expected outcome, file


def vectors() -> Iterator[Vector]:
    """All of them, by name."""
    for kind in KINDS:
        yield f"{kind}-ok", "ok", sample(kind)
    for make in (
        _containers,
        _signatures,
        _roles,
        _encodings,
        _schemas,
        _per_kind,
        _laps,
        _payloads,
        _federations,
        _second_versions,
        encoded.vectors,
        masked.vectors,
        rostered.vectors,
    ):
        yield from make()


def _containers() -> Iterator[Vector]:
    good = sample("update")
    statement, armour, payload = members(good)
    head, body = good[:512], good[512:]
    yield "update-empty-file", "FM-WAI-04", b""
    yield "update-cut-in-header", "FM-WAI-04", good[:300]
    yield "update-cut-in-statement", "FM-WAI-04", good[:900]
    yield "update-cut-in-payload", "FM-WAI-04", good[:-1400]
    yield "update-cut-in-trailer", "FM-WAI-04", good[:-1]
    yield "update-byte-after-the-end", "FM-FRM-01", good + b"\0"
    yield "update-text-after-the-end", "FM-FRM-01", good + b"#!/bin/sh\n"
    yield "update-trailer-not-zero", "FM-FRM-01", good[:-1] + b"\1"
    yield "update-one-zero-block-only", "FM-WAI-04", good[:-512]
    yield "update-padding-not-zero", "FM-FRM-01", good[:-1025] + b"\1" + good[-1024:]
    yield "update-size-in-ten-digits", "FM-FRM-01", _header(head, 124, head[125:135] + b" \0") + body
    yield "update-size-in-base-256", "FM-FRM-01", _header(head, 124, b"\x80" + bytes(9) + b"\x05\x00") + body
    yield "update-mode-executable", "FM-FRM-01", _header(head, 100, b"0000755\0") + body
    yield "update-owner-not-zero", "FM-FRM-01", _header(head, 108, b"0001750\0") + body
    yield "update-time-not-zero", "FM-FRM-01", _header(head, 136, b"00000000001\0") + body
    yield "update-symbolic-link", "FM-FRM-01", _header(head, 156, b"2") + body
    yield "update-old-typeflag", "FM-FRM-01", _header(head, 156, b"\0") + body
    yield "update-gnu-magic", "FM-FRM-01", _header(head, 257, b"ustar  \0") + body
    yield "update-prefix-in-name", "FM-FRM-01", _header(head, 345, b"etc") + body
    yield "update-absolute-name", "FM-FRM-01", _header(head, 0, b"/statement.json") + body
    yield "update-pax-record-first", "FM-FRM-01", _pax(b"20 path=other.json\n") + good
    yield "update-signature-first", "FM-FRM-01", packed([armour, statement, payload])
    yield "update-member-missing", "FM-FRM-01", packed([statement, armour])
    yield "update-member-added", "FM-FRM-01", packed([statement, armour, payload, ("more.json", b"{}")])
    yield "update-statement-twice", "FM-FRM-01", packed([statement, armour, payload, statement])
    yield "update-payload-under-other-name", "FM-FRM-01", packed([statement, armour, ("other.bin", payload[1])])
    yield "update-not-a-container", "FM-FRM-01", b"PK\3\4" + bytes(2000)


def _header(head: bytes, offset: int, field: bytes) -> bytes:
    """A ustar header with another field, and the checksum that fits it."""
    head = head[:offset] + field + head[offset + len(field) :]
    return head[:148] + b"%06o\0 " % (sum(head[:148]) + sum(head[156:]) + 8 * 32) + head[156:]


def _pax(record: bytes) -> bytes:
    whole = member("pax", record)
    return _header(whole[:512], 156, b"x") + whole[512:]


def _signatures() -> Iterator[Vector]:
    statement, payloads = of_kind("update")
    site, raw = key("st-olav"), canonical.encode(of_kind("update")[0])
    good = sshsig.sign(site, "update@fedmed.v1", raw)

    def with_armour(armour: bytes) -> bytes:
        return packed([("statement.json", raw), ("statement.json.sig", armour), *payloads])

    yield "update-signature-of-other-bytes", "FM-SIG-01", with_armour(sshsig.sign(site, "update@fedmed.v1", raw + b" "))
    yield "update-signature-bit-flipped", "FM-SIG-01", with_armour(_blob(good, -1, 1))
    yield "update-armour-76-columns", "FM-SIG-02", with_armour(_folded(good, 76, b"\n"))
    yield "update-armour-one-line", "FM-SIG-02", with_armour(_folded(good, 10_000, b"\n"))
    yield "update-armour-crlf", "FM-SIG-02", with_armour(_folded(good, 70, b"\r\n"))
    yield "update-armour-text-after-end", "FM-SIG-02", with_armour(good + b"PS\n")
    yield "update-armour-text-before-begin", "FM-SIG-02", with_armour(b"PS\n" + good)
    yield "update-armour-no-last-newline", "FM-SIG-02", with_armour(good[:-1])
    yield "update-armour-too-long", "FM-FRM-04", with_armour(good + b"\n" * 4096)
    yield "update-armour-empty", "FM-SIG-02", with_armour(b"")
    yield "update-sshsig-version-2", "FM-SIG-02", with_armour(_blob(good, 9, 3))
    yield "update-sshsig-extra-bytes", "FM-SIG-02", with_armour(_folded(good, 70, b"\n", extra=b"\0\0\0\0"))
    yield "update-sshsig-sha256", "FM-SIG-02", with_armour(_with_hash(good))
    yield "update-signature-of-a-login", "FM-SIG-04", signed(statement, payloads, by=site, namespace="file")


def _blob(armour: bytes, position: int, mask: int) -> bytes:
    """The armour after one byte of the blob changed."""
    blob = bytearray(_decoded(armour))
    blob[position] ^= mask
    return _armoured(bytes(blob))


def _decoded(armour: bytes) -> bytes:
    import base64  # noqa: PLC0415

    return base64.b64decode(b"".join(armour.splitlines()[1:-1]))


def _armoured(blob: bytes, width: int = 70, end: bytes = b"\n") -> bytes:
    import base64  # noqa: PLC0415

    text = base64.b64encode(blob)
    lines = [text[i : i + width] for i in range(0, len(text), width)]
    return end.join([b"-----BEGIN SSH SIGNATURE-----", *lines, b"-----END SSH SIGNATURE-----", b""])


def _folded(armour: bytes, width: int, end: bytes, extra: bytes = b"") -> bytes:
    return _armoured(_decoded(armour) + extra, width, end)


def _with_hash(armour: bytes) -> bytes:
    return _armoured(_decoded(armour).replace(struct.pack(">I", 6) + b"sha512", struct.pack(">I", 6) + b"sha256"))


def _roles() -> Iterator[Vector]:
    update, model = sample("update"), sample("model")
    yield "update-of-a-stranger", "FM-SIG-03", resigned(update, key("stranger"), _sender("stranger"))
    yield "update-in-another-name", "FM-SIG-05", resigned(update, key("riks"))
    yield "update-with-another-key-named", "FM-SIG-05", resigned(update, key("st-olav"), _sender("riks"))
    yield "update-signed-by-coordinator", "FM-SIG-04", resigned(update, key("coordinator"), _sender("coordinator"))
    yield "update-with-noise", "ok", resigned(update, key("st-olav"), _with_noise)
    yield "update-with-a-state", "ok", resigned(update, key("st-olav"), _put("body.state", "0" * 64))
    yield "state-of-a-stranger", "FM-SIG-03", resigned(sample("state"), key("stranger"), _owned("stranger"))
    yield "state-of-the-coordinator", "ok", resigned(sample("state"), key("coordinator"), _owned("coordinator"))
    yield "state-in-another-name", "FM-SIG-05", resigned(sample("state"), key("riks"))
    yield "model-signed-by-a-site", "FM-SIG-04", resigned(model, key("st-olav"), _sender("st-olav"))
    yield "model-under-the-namespace-of-federation", "FM-SIG-05", _moved(model, "coordinator", "federation")
    yield "update-under-the-namespace-of-report", "FM-SIG-05", _moved(update, "st-olav", "report")
    yield "update-unknown-kind", "FM-SIG-04", _moved(update, "st-olav", "release")
    yield (
        "join-with-another-key-inside",
        "FM-FRM-03",
        resigned(sample("join"), key("st-olav"), _put("body.key", _line("riks"))),
    )
    yield "join-signed-by-another-key", "FM-SIG-05", resigned(sample("join"), key("riks"))
    yield "join-of-a-stranger", "FM-SIG-03", _stranger_joins()
    yield "approval-of-a-stranger", "FM-SIG-03", resigned(sample("approval"), key("stranger"), _sender("stranger"))
    yield "report-in-another-name", "FM-SIG-05", resigned(sample("report"), key("riks"))


def _sender(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda predicate: predicate.update(sender=samples.actor(name))


def _owned(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda predicate: predicate.update(sender=samples.actor(name), recipients=[samples.actor(name)])


def _moved(data: bytes, signer: str, kind: str) -> bytes:
    return resigned(data, key(signer), namespace=f"{kind}@fedmed.v1")


def _line(name: str) -> str:
    return keys.public_line(samples.public(name))


def _stranger_joins() -> bytes:
    statement, _ = of_kind("join")
    statement["subject"][0]["digest"]["sha256"] = sha256(sshsig.key_blob(samples.public("stranger")))
    statement["predicate"]["sender"] = samples.actor("stranger")
    statement["predicate"]["body"].update(name="stranger", key=_line("stranger"))
    return signed(statement, [], by=key("stranger"))


def _with_noise(predicate: dict[str, Any]) -> None:
    predicate["body"] |= {"privacy": samples.PRIVACY, "reservation": samples.RESERVATION}
    predicate["body"]["facts"]["train_loss"] = None


def _put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set (or, for `...`, remove) the field at a dotted path of the predicate."""

    def change(predicate: dict[str, Any]) -> None:
        inner: Any = predicate
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in parents:
            inner = inner[part]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value

    return change


def _encodings() -> Iterator[Vector]:
    """A statement that is not the one encoding of what it says; the signature is good."""
    raw = canonical.encode(of_kind("approval")[0])
    text = raw.decode()
    spoiled = {
        "blank": text.replace(":", ": ", 1),
        "newline-at-the-end": text + "\n",
        "byte-order-mark": "\ufeff" + text,
        "keys-unsorted": json.dumps(
            dict(reversed(json.loads(text).items())), separators=(",", ":"), ensure_ascii=False
        ),
        "key-twice": text.replace('"seq":3', '"seq":3,"seq":3'),
        "float": text.replace('"seq":3', '"seq":3.0'),
        "exponent": text.replace('"seq":3', '"seq":3e0'),
        "nan": text.replace('"seq":3', '"seq":NaN'),
        "minus-zero": text.replace('"seq":3', '"seq":-0'),
        "integer-above-2-53": text.replace('"seq":3', f'"seq":{2**53 + 1}'),
        "escaped-letter": text.replace("Ada", "\\u0041da"),
        "not-normalised": text.replace("Bø", "Bo\u0308"),
        "control-character": text.replace("Ada", "\\u001b[2JAda"),
        "right-to-left-mark": text.replace("Ada", "\u202eadA"),
        "zero-width-joiner": text.replace("Ada", "A\u200dda"),
        "line-separator": text.replace("Ada", "A\u2028da"),
        "lone-surrogate": text.replace("Ada", "\\ud800"),
        "private-use": text.replace("Ada", "\ue000"),
        "depth-17": text.replace('"Dr. Ada Bø"', "[" * 14 + "1" + "]" * 14),
        "an-array": f"[{text}]",
        "empty": "",
    }
    for name, changed in spoiled.items():
        assert changed != text, name
        yield f"approval-json-{name}", "FM-FRM-02", _raw_approval(changed.encode())
    yield "approval-json-latin-1", "FM-FRM-02", _raw_approval(text.encode("latin-1"))
    yield "approval-json-utf-16", "FM-FRM-02", _raw_approval(text.encode("utf-16"))
    yield "approval-json-over-1-mib", "FM-FRM-04", packed([("statement.json", bytes(2**20 + 1))])[:1024]


def _raw_approval(raw: bytes) -> bytes:
    return signed(raw, [], by=key("st-olav"), namespace="approval@fedmed.v1")


def _schemas() -> Iterator[Vector]:
    for name, path, value in [
        ("unknown-field", "colour", "blue"),
        ("unknown-field-in-body", "body.patients", ["a"]),
        ("field-missing", "seq", ...),
        ("seq-zero", "seq", 0),
        ("seq-as-text", "seq", "3"),
        ("seq-true", "seq", True),
        ("attempt-zero", "attempt", 0),
        ("round-negative", "round", -1),
        ("other-format", "format", "fedmed/2"),
        ("digest-in-capitals", "base_model", "A" * 64),
        ("digest-too-short", "base_model", "0" * 63),
        ("time-with-offset", "created", "2031-03-01T08:00:00+00:00"),
        ("time-in-other-digits", "created", "\uff12\uff10\uff13\uff11-03-01T08:00:00Z"),
        ("no-such-day", "created", "2031-02-30T08:00:00Z"),
        ("no-recipient", "recipients", []),
        ("zero-cases", "body.facts.num_cases", 0),
        ("loss-with-exponent", "body.facts.train_loss", "1e5"),
        ("loss-nan", "body.facts.train_loss", "NaN"),
        ("loss-null-without-noise", "body.facts.train_loss", None),
        ("charged-without-noise", "body.reservation", samples.RESERVATION),
        ("a-path-for-a-metric", "body.facts.base_metrics.0.metric", "/home/x"),
        ("payload-encrypted", "payload.0.enc", "age"),
        ("payload-of-another-coding", "payload.0.coding", "gzip"),
        ("payload-above-8-gib", "payload.0.bytes", 2**33),
        ("payload-not-listed", "payload", []),
        ("payload-media-unknown", "payload.0.media", "application/x-python-pickle"),
    ]:
        yield f"update-{name}", "FM-FRM-03", resigned(sample("update"), key("st-olav"), _put(path, value))
    noisy = resigned(sample("update"), key("st-olav"), _with_noise)
    for name, path, value in [
        ("loss-beside-noise", "body.facts.train_loss", "0.731"),
        ("noise-charged-to-nothing", "body.reservation", None),
    ]:
        yield f"update-{name}", "FM-FRM-03", resigned(noisy, key("st-olav"), _put(path, value))
    yield from _other_shapes()


def _other_shapes() -> Iterator[Vector]:
    site = key("st-olav")
    statement, payloads = of_kind("update")
    for name, change in {
        "predicate-type-of-report": {"predicateType": "urn:fedmed:v1:report"},
        "other-statement-type": {"_type": "https://in-toto.io/Statement/v0.1"},
        "no-subject": {"subject": []},
        "subject-of-other-name": {"subject": [{"name": "model.safetensors", "digest": {"sha256": "0" * 64}}]},
        "field-beside-the-predicate": {"note": "hello"},
    }.items():
        yield f"update-{name}", "FM-FRM-03", signed({**statement, **change}, payloads, by=site)
    renamed = {("type" if name == "_type" else name): value for name, value in statement.items()}
    yield "update-type-without-underscore", "FM-FRM-03", signed(renamed, payloads, by=site)
    for name in ("statement.json", "con", "aux.txt", "a..b", "../x", "A.bin", "x" * 65, "x\n"):
        label = {"../x": "dotdot", "x" * 65: "65-letters", "x\n": "newline", "a..b": "two-dots"}.get(name, name.lower())
        yield f"update-payload-named-{label}", _name_outcome(name), _named(name)


def _name_outcome(name: str) -> str:
    return "FM-FRM-02" if name.endswith("\n") else "FM-FRM-03"


def _named(name: str) -> bytes:
    statement, payloads = of_kind("update")
    statement["subject"][0]["name"] = statement["predicate"]["payload"][0]["name"] = name
    raw = canonical.encode(statement)
    data = payloads[0][1]
    return signed(raw, [(name[:90], data)], by=key("st-olav"), namespace="update@fedmed.v1")


def _per_kind() -> Iterator[Vector]:
    site, coordinator = key("st-olav"), key("coordinator")
    for kind, name, path, value in [
        ("join", "capital-in-name", "body.name", "St-Olav"),
        ("join", "contact-too-long", "body.contact", "x" * 201),
        ("join", "recipients", "recipients", []),
        ("approval", "round", "round", 0),
        ("approval", "two-recipients", "recipients", [samples.actor("coordinator"), samples.actor("riks")]),
        ("unmask-reply", "without-a-request", "body.request", None),
        ("report", "19-bins", "body.facts.scores.0.histogram", [0] * 19),
        ("report", "unknown-split", "body.split", "training"),
        ("fingerprint", "round", "round", 0),
        ("fingerprint", "two-axes", "body.spacing.2", ...),
        ("fingerprint", "empty-cell", "body.shape.0.cells.0.count", 0),
        ("fingerprint", "largest-value", "body.channels.0.maximum", "255"),
        ("fingerprint", "a-path-for-a-channel", "body.channels.0.channel", "/home/x"),
        ("fingerprint", "no-case", "body.num_cases", 0),
        ("report", "other-model-than-its-subject", "base_model", "f" * 64),
        ("update", "resumes-below-0", "resumes", -1),
        ("state", "for-the-coordinator", "recipients", [samples.actor("coordinator")]),
        ("state", "for-two", "recipients", [samples.actor("st-olav"), samples.actor("riks")]),
        ("state", "with-a-receipt", "ack", samples.ZEROS),
        ("state", "without-a-part", "body.parts", []),
        ("state", "part-twice", "body.parts.1.name", "own"),
        ("state", "part-of-no-tensor", "body.parts.0.tensors", []),
        ("state", "tensor-twice", "body.parts.0.tensors", ["norm.mean", "norm.mean"]),
        ("state", "a-path-for-a-tensor", "body.parts.0.tensors", ["/home/x"]),
        ("state", "buffers-alone", "body.parts.0.tensors", "buffer"),
    ]:
        yield f"{kind}-{name}", "FM-FRM-03", resigned(sample(kind), site, _put(path, value))
    for kind, name, path, value in [
        ("revocation", "below-0", "body.last_seq", -1),
        ("revocation", "of-another-key-than-its-subject", "body.key", samples.actor("st-olav")["key"]),
        ("revocation", "without-a-reason", "body.reason", ...),
        ("receipt", "of-number-0", "body.seq", 0),
        ("receipt", "for-two", "recipients", [samples.actor(each) for each in samples.SITES]),
        ("receipt", "of-nothing", "ack", None),
        ("unmask-request", "to-two", "recipients", [samples.actor("riks"), samples.actor("st-olav")]),
        ("unmask-request", "two-updates", "body.included.2", ...),
        ("unmask-request", "site-twice", "body.included.1.site", "riks"),
        ("unmask-request", "update-twice", "body.included.1.update", sha256(b"riks")),
        ("unmask-request", "culprit-included", "body.culprits", ["riks"]),
        ("model", "state-as-number", "body.state", 0),
        ("model", "compressed", "payload.0.coding", "zstd"),
        ("model", "last-as-number", "body.last", 1),
        ("model", "without-expiry", "expires", ...),
        ("model", "receipt-of-unknown-status", "ack", [_receipt("ignored")]),
        ("federation", "ack", "ack", "0" * 64),
        ("federation", "empty-roster", "body.roster", []),
        ("federation", "key-of-31-bytes", "body.roster.0.key", _line("riks")[:-4]),
        ("federation", "key-not-a-key", "body.roster.0.key", "ssh-rsa AAAA"),
        ("federation", "norm-ratio-below-1", "body.limits.max_norm_ratio", "0.9"),
        ("federation", "cosine-above-1", "body.limits.min_cosine", "1.1"),
        ("federation", "without-a-norm-limit", "body.limits.max_norm_ratio", ...),
    ]:
        yield f"{kind}-{name}", "FM-FRM-03", resigned(sample(kind), coordinator, _put(path, value))
    about = copy.deepcopy(of_kind("approval")[0])
    about["subject"][0]["digest"]["sha256"] = "f" * 64
    yield "approval-other-federation-in-subject", "FM-FRM-03", signed(about, [], by=site)


def _laps() -> Iterator[Vector]:
    """Weights that go from site to site; the samples' own recipe averages."""
    site, coordinator, model = key("st-olav"), key("coordinator"), sample("model")
    both = [samples.actor("coordinator"), samples.actor("riks")]
    goes_on = resigned(
        sample("update"), site, lambda p: p.update(recipients=both, body={**p["body"], "chain": "a" * 64})
    )
    yield "update-goes-on-from-another", "ok", goes_on
    for name, value in (("too-short", "0" * 63), ("a-name", "riks"), ("missing", ...)):
        yield f"update-chain-{name}", "FM-FRM-03", resigned(sample("update"), site, _put("body.chain", value))
    for name, value, outcome in (
        ("with-a-site-twice", ["riks", "riks"], "FM-FRM-03"),
        ("of-no-name", ["../x"], "FM-FRM-03"),
        ("missing", ..., "FM-FRM-03"),
        ("where-all-train-at-once", ["riks", "st-olav"], "FM-CYC-04"),
    ):
        yield f"model-order-{name}", outcome, resigned(model, coordinator, _put("body.order", value))


def _receipt(status: str) -> dict[str, Any]:
    return {"site": "riks", "id": None, "status": status, "reason": ""}


def _payloads() -> Iterator[Vector]:
    site, update = key("st-olav"), sample("update")
    good = samples.UPDATE
    size = int.from_bytes(good[:8], "little")
    numbers = good[8 + size :]
    statement, armour, payload = members(update)

    def other(payload: bytes) -> bytes:
        return resigned(update, site, payload=payload)

    def table(old: bytes, new: bytes) -> bytes:
        text = good[8 : 8 + size].rstrip(b" ").replace(old, new)
        assert len(text) <= size
        return good[:8] + text.ljust(size) + numbers

    swapped = payload[1][:-4] + b"\0\0\0\0"
    yield "update-payload-changed", "FM-TRU-10", packed([statement, armour, (payload[0], swapped)])
    yield "update-payload-shorter-than-said", "FM-FRM-05", packed([statement, armour, (payload[0], payload[1][:-4])])
    yield "update-payload-longer-than-said", "FM-FRM-05", packed([statement, armour, (payload[0], payload[1] + b"\0")])
    yield "update-nan", "FM-TEN-02", other(good[:-4] + struct.pack("<f", float("nan")))
    yield "update-infinity", "FM-TEN-02", other(good[:-8] + struct.pack("<f", float("-inf")) + good[-4:])
    yield "update-other-shape", "FM-TEN-01", other(table(b"[2,3]", b"[3,2]"))
    yield "update-other-dtype", "FM-TEN-01", other(table(b'"F32"', b'"I32"'))
    yield "update-other-tensor-name", "FM-TEN-01", other(table(b"conv.bias", b"conv.bios"))
    yield "update-metadata-in-header", "FM-TEN-01", other(table(b"norm.mean", b"__meta__x"))
    yield "update-header-blank-first", "FM-TEN-01", other(good[:8] + b" " + good[8 : 8 + size - 1] + numbers)
    yield "update-header-of-8-exabytes", "FM-TEN-01", other(b"\xff" * 7 + b"\x7f" + good[8:])
    yield "update-one-number-less", "FM-TEN-01", other(good[:-4])
    yield "update-one-number-more", "FM-TEN-01", other(good + b"\0\0\0\0")
    yield "update-empty-payload", "FM-TEN-01", other(b"")
    yield "update-pickle", "FM-TEN-01", other(b"\x80\x05K\x01.".ljust(len(good), b"\0"))
    yield "update-payload-compressed", "FM-ENC-03", resigned(update, site, _put("payload.0.coding", "zstd"))
    yield "update-other-tensor-table", "FM-TEN-01", resigned(update, site, _put("tensor_table", "0" * 64))
    state = sample("state")
    yield "state-nan", "FM-TEN-02", resigned(state, site, payload=samples.STATE[:-4] + struct.pack("<f", float("nan")))
    yield "state-tensors-of-an-update", "FM-TEN-01", resigned(state, site, payload=good)
    yield "state-other-tensor-table", "FM-TEN-01", resigned(state, site, _put("tensor_table", "0" * 64))
    for name, tensors in (("that-no-table-has", ["norm.var"]), ("more-than-it-holds", "all")):
        yield f"state-tensors-{name}", "FM-TEN-01", resigned(state, site, _put("body.parts.0.tensors", tensors))
    yield (
        "model-nan",
        "FM-TEN-02",
        resigned(sample("model"), key("coordinator"), payload=samples.MODEL[:-4] + struct.pack("<f", float("nan"))),
    )
    yield (
        "federation-recipe-changed",
        "FM-TRU-10",
        _federation_with_recipe(samples.RECIPE.replace(b'"seed":1', b'"seed":2')),
    )


def _federation_with_recipe(recipe: bytes) -> bytes:
    statement, armour, _, tensors = members(sample("federation"))
    return packed([statement, armour, ("recipe.json", recipe), tensors])


def _federations() -> Iterator[Vector]:
    site, coordinator = key("st-olav"), key("coordinator")
    yield "update-of-another-federation", "FM-TRU-02", resigned(sample("update"), site, _put("federation.id", "0" * 32))
    yield "update-of-version-2", "FM-TRU-02", resigned(sample("update"), site, _put("federation.version", 2))
    yield (
        "update-under-another-digest",
        "FM-TRU-02",
        resigned(sample("update"), site, _put("federation.digest", "0" * 64)),
    )
    yield (
        "model-of-another-federation",
        "FM-TRU-02",
        resigned(sample("model"), coordinator, _put("federation.id", "0" * 32)),
    )
    yield (
        "federation-of-another-id",
        "FM-TRU-02",
        resigned(sample("federation"), coordinator, _put("federation.id", "0" * 32)),
    )
    yield (
        "federation-second-of-one-version",
        "FM-TRU-02",
        resigned(sample("federation"), coordinator, _put("body.limits.rounds", 3)),
    )
    yield "federation-of-a-stranger", "FM-SIG-03", _usurped()
    yield "federation-site-twice", "FM-FRM-03", resigned(sample("federation"), coordinator, _seat(name="st-olav"))
    yield (
        "federation-age-key-twice",
        "FM-FRM-03",
        resigned(sample("federation"), coordinator, _seat(age=samples.age("st-olav"))),
    )
    yield (
        "federation-age-key-not-a-key",
        "FM-FRM-03",
        resigned(sample("federation"), coordinator, _seat(age="age1" + "q" * 58)),
    )
    yield "federation-key-twice", "FM-FRM-03", resigned(sample("federation"), coordinator, _seat(key=_line("st-olav")))
    yield (
        "federation-site-with-the-coordinators-key",
        "FM-FRM-03",
        resigned(sample("federation"), coordinator, _seat(key=_line("coordinator"))),
    )
    yield (
        "federation-site-called-coordinator",
        "FM-FRM-03",
        resigned(sample("federation"), coordinator, _seat(name="coordinator")),
    )


def _second_versions() -> Iterator[Vector]:
    """Held against the first version, which they name: the fitted numbers are new, and nothing else may be."""
    coordinator, second = key("coordinator"), samples.second_version()
    yield "federation-version-2", "ok", second
    for name, path, value in [
        ("another-roster", "body.roster.1.max_num_cases", 101),
        ("other-limits", "body.limits.min_count", 1),
        ("another-title", "federation.title", "other samples"),
        ("a-later-end", "expires", "2034-02-28T08:00:00Z"),
        ("version-3", "federation.version", 3),
        ("one-recipient-less", "recipients", [samples.actor("riks")]),
    ]:
        yield f"federation-version-2-{name}", "FM-NRM-05", resigned(second, coordinator, _put(path, value))
    other = samples.RECIPE.replace(b'"seed":1', b'"seed":2')
    yield "federation-version-2-another-recipe", "FM-NRM-05", resigned(second, coordinator, payload=other)
    yield (
        "federation-version-2-of-another-first",
        "FM-TRU-02",
        resigned(second, coordinator, _put("federation.previous", "0" * 64)),
    )
    first, whole = sample("federation"), samples.membership()["digest"]
    for name, path, value in [
        ("version-1-with-a-previous-one", "federation.previous", "0" * 64),
        ("version-2-without-one", "federation.version", 2),
    ]:
        yield f"federation-{name}", "FM-FRM-03", resigned(first, coordinator, _put(path, value))
    yield (
        "federation-version-2-without-numbers",
        "FM-NRM-05",
        resigned(first, coordinator, lambda p: p["federation"].update(version=2, previous=whole, approved=whole)),
    )


def _seat(**change: str) -> Callable[[dict[str, Any]], None]:
    return lambda predicate: predicate["body"]["roster"][0].update(change)


def _usurped() -> bytes:
    """The same federation, founded by somebody else with his own key."""
    change = _put("body.coordinator", _line("stranger"))
    by_stranger = {"name": "coordinator", "key": samples.actor("stranger")["key"]}
    return resigned(sample("federation"), key("stranger"), lambda p: (change(p), p.update(sender=by_stranger)))


def write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    lines = []
    for name, expected, data in sorted(vectors()):
        (folder / f"{name}.fedmed").write_bytes(data)
        lines.append(f"{name}.fedmed expect: {expected}\n")
    (folder / "index.txt").write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    write(DATA)
