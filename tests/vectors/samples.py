"""One small signed file of each kind, from fixed keys and fixed times; and the tools to spoil one and sign it again.

The statements are written out as dictionaries and the container is put together here, so that nothing in these files
comes from the code that will judge them, except the encodings of JSON, signature and ustar header.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pyrage import x25519

from fedmed import recipe
from fedmed.exchange import canonical, certificates, keys, rotations, sshsig
from fedmed.learning import params, shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedmed.exchange.certificates import MaskKey

Payloads = list[tuple[str, bytes]]
KINDS = (
    "join", "federation", "approval", "model", "update", "report", "fingerprint", "state", "unmask-request",
    "unmask-reply", "revocation", "receipt", "rotation",
)  # fmt: skip
OF_COORDINATOR = ("federation", "model", "unmask-request", "revocation", "receipt")
SITES = ("riks", "st-olav")
CREATED, EXPIRES = "2031-03-01T08:00:00Z", "2033-02-28T08:00:00Z"
FEDERATION_ID = "5eed" * 8
ZEROS = "0" * 64
REPLY = b'{"shown":[]}'

RECIPE = recipe.to_bytes(
    recipe.Segmentation.model_validate(
        {
            "schema": 1,
            "name": "sample",
            "task": "segmentation",
            "seed": 1,
            "data": {"modality": "MR", "channels": ["MR"], "labels": {1: "ball"}, "spacing": [1, 1, 1]},
            "network": {"name": "UNet", "channels": [2, 4], "strides": [2]},
            "training": {
                "patch_size": [4, 4, 8],
                "batch_size": 1,
                "local_steps": 1,
                "optimizer": {"name": "SGD", "client_lr": 0.1},
            },
        }
    )
)
TABLE = shapes.table_from_rows(
    [
        {"name": "conv.weight", "shape": [2, 3], "group": "param"},
        {"name": "conv.bias", "shape": [2], "group": "param"},
        {"name": "norm.mean", "shape": [], "group": "buffer"},
    ]
)
WEIGHTS = {
    "conv.weight": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
    "conv.bias": np.array([-0.5, 0.25], np.float32),
    "norm.mean": np.array(7, np.float32),
}
MODEL = params.to_payload(WEIGHTS, TABLE)
UPDATE = params.to_payload({name: array / 8 for name, array in WEIGHTS.items()}, TABLE)
STATE_TABLE = (*shapes.part_table(TABLE, "own", ["norm.mean"]), *shapes.part_table(TABLE, "residual", "param"))
STATE = params.to_payload({row.name: WEIGHTS[row.name.split("/")[1]] * 2 for row in STATE_TABLE}, STATE_TABLE)


PREPROCESSING = (
    b'{"channels":{"MR":{"high":240.5,"low":4.0,"mean":102.5,"sd":31.75}},"class_counts":null,"columns":null,'
    b'"spacing":null}'
)


@functools.cache
def key(name: str) -> Ed25519PrivateKey:
    """Always the same key for a name. Never do this outside of tests."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"fedmed test key {name}".encode()).digest())


def public(name: str) -> bytes:
    return key(name).public_key().public_bytes_raw()


@functools.cache
def age_identity(name: str) -> x25519.Identity:
    """Always the same age identity for a name; Bech32 as in BIP 173."""
    number = int.from_bytes(hashlib.sha256(f"fedmed test age {name}".encode()).digest())
    prefix, data = "age-secret-key-", [(number << 4) >> 5 * (51 - place) & 31 for place in range(52)]
    check = 1
    for value in [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *data, *[0] * 6]:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> place & 1 else 0
    data += [(check ^ 1) >> 5 * (5 - place) & 31 for place in range(6)]
    text = prefix + "1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[value] for value in data)
    return x25519.Identity.from_str(text.upper())


def age(name: str) -> str:
    return str(age_identity(name).to_public())


def actor(name: str) -> dict[str, str]:
    return {"name": name, "key": keys.fingerprint(public(name))}


def mask_key(name: str, index: int = 1) -> MaskKey:
    """Always the same mask keys for a name and an index; the first is of no federation yet."""

    def private(purpose: str) -> X25519PrivateKey:
        seed = f"fedmed test {purpose} {name} {index}".encode()
        return X25519PrivateKey.from_private_bytes(hashlib.sha256(seed).digest())

    federation = None if index == 1 else FEDERATION_ID
    return certificates.certified(key(name), name, federation, index, private("dh"), private("kem"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def of_kind(kind: str) -> tuple[dict[str, Any], Payloads]:
    """The statement of a kind, and its payloads."""
    payloads: Payloads = {
        "federation": [("recipe.json", RECIPE), ("tensors.json", shapes.table_to_bytes(TABLE))],
        "model": [("model.safetensors", MODEL), ("approvals.json", approvals() if kind == "model" else b"")],
        "update": [("update.safetensors", UPDATE)],
        "state": [("state.safetensors", STATE)],
        "unmask-request": [("request.json", b'{"included":[]}')],
        "unmask-reply": [("reply.json", REPLY)],
        "receipt": [("answered.json", canonical.encode({"answered": [approval()]}) if kind == "receipt" else b"")],
    }.get(kind, [])
    sender = "coordinator" if kind in OF_COORDINATOR else "st-olav"
    predicate = {
        "format": "fedmed/1",
        "kind": kind,
        "sender": actor(sender),
        "seq": 1 + KINDS.index(kind),
        "prev": None if kind in ("join", "federation") else ZEROS,
        "resumes": 0,
        "created": CREATED,
        "ledger": {"length": 2, "head": ZEROS},
        "payload": [
            {
                "name": name,
                "bytes": len(data),
                "media": "application/json" if name.endswith(".json") else "application/vnd.safetensors",
                "enc": "none",
                "coding": "none",
            }
            for name, data in payloads
        ],
        **_of_kind(kind),
    }
    subject = [{"name": name, "digest": {"sha256": sha256(data)}} for name, data in payloads] or [_about(kind)]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": f"urn:fedmed:v1:{kind}",
        "predicate": predicate,
    }, payloads


def _about(kind: str) -> dict[str, Any]:
    name, digest = {
        "join": ("signing-key", sha256(sshsig.key_blob(public("st-olav")))),
        "approval": ("federation", membership()["digest"] if kind != "join" else ""),
        "fingerprint": ("federation", membership()["digest"] if kind != "join" else ""),
        "revocation": ("signing-key", sha256(sshsig.key_blob(public("riks")))),
        "rotation": ("signing-key", sha256(sshsig.key_blob(public("st-olav-2")))),
        "report": ("model", sha256(MODEL)),
    }[kind]
    return {"name": name, "digest": {"sha256": digest}}


def approval(by: str = "st-olav", change: Callable[[dict[str, Any]], object] = lambda _: None) -> dict[str, str]:
    """An approval as a model carries it."""
    statement, _ = of_kind("approval")
    statement["predicate"]["sender"] = actor(by)
    change(statement["predicate"])
    statement["subject"][0]["digest"]["sha256"] = statement["predicate"]["federation"]["digest"]
    raw = canonical.encode(statement)
    return {
        "statement": raw.decode(),
        "signature": sshsig.to_line(sshsig.sign(key(by), "approval@fedmed.v1", raw)),
    }


def approvals(*brought: dict[str, str]) -> bytes:
    """The payload of a model; of itself with the approval of the one site that has consented so far."""
    return canonical.encode({"approvals": list(brought or [approval()])})


def membership() -> dict[str, Any]:
    raw = canonical.encode(of_kind("federation")[0])
    return {"id": FEDERATION_ID, "title": "samples", "version": 1, "digest": sha256(raw)}


def _of_kind(kind: str) -> dict[str, Any]:
    if kind == "join":
        return {"body": _join_body()}
    if kind == "federation":
        return {
            "federation": {"id": FEDERATION_ID, "title": "samples", "version": 1, "previous": None, "approved": None},
            "recipients": [actor(site) for site in SITES],
            "ack": None,
            "expires": EXPIRES,
            "body": _federation_body(),
        }
    common = {
        "federation": membership(),
        "recipients": [actor(site) for site in SITES] if kind == "model" else [actor("coordinator")],
    }
    if kind in ("approval", "fingerprint", "rotation"):
        make = {"approval": lambda: {"by": "Dr. Ada Bø"}, "fingerprint": _fingerprint_body, "rotation": rotation_body}
        return {**common, "ack": membership()["digest"], "body": make[kind]()}
    if kind in ("revocation", "receipt"):
        return {**common, **_about_keys(kind)}
    in_round = {**common, "round": 0, "attempt": 1, "ack": membership()["digest"]}
    if kind == "model":
        body = {
            "parents": [],
            "order": [],
            "masks": [],
            "clip": None,
            "central": None,
            "previous": None,
            "state": None,
            "last": False,
            "pooled": [],
        }
        return {**in_round, "ack": [], "tensor_table": shapes.digest(TABLE), "expires": EXPIRES, "body": body}
    if kind == "update":
        return {
            **in_round,
            "base_model": sha256(MODEL),
            "tensor_table": shapes.digest(TABLE),
            "body": _update_body(),
        }
    if kind == "state":
        own = {"recipients": [actor("st-olav")], "ack": None, "base_model": sha256(MODEL)}
        return {**in_round, **own, "tensor_table": shapes.digest(STATE_TABLE), "body": _state_body()}
    if kind == "unmask-request":
        to = {"recipients": [actor("st-olav")], "base_model": sha256(MODEL), "expires": EXPIRES}
        return {**in_round, **to, "body": _request_body()}
    if kind == "unmask-reply":
        body = {"request": ZEROS, "included": ZEROS, "shown": sha256(REPLY)}
        return {**in_round, "base_model": sha256(MODEL), "body": body}
    return {**in_round, "base_model": sha256(MODEL), "body": _report_body()}


def _about_keys(kind: str) -> dict[str, Any]:
    if kind == "revocation":
        body = {"site": "riks", "key": actor("riks")["key"], "last_seq": 3, "reason": "a stolen laptop"}
        return {"recipients": [actor(site) for site in SITES], "ack": None, "body": body}
    newest = sha256(approval()["statement"].encode())
    return {"recipients": [actor("st-olav")], "ack": newest, "body": {"seq": 3, "mask": None}}


def rotation_body(
    name: str = "st-olav", old: str = "", new: str = "st-olav-2", by: str = "", federation: str = FEDERATION_ID
) -> dict[str, Any]:
    """`name`, whose key is called `old`, goes on with the one called `new`; `by` is the one that signs the proof."""
    mask = None
    if name != "coordinator":
        half = mask_key(new)
        mask = certificates.certified(key(new), name, federation, 1001, half.dh, half.kem).certificate.model_dump()
    bound = rotations.bound(federation, name, public(old or name), public(new))
    proof = sshsig.to_line(sshsig.sign(key(by or new), rotations.NAMESPACE, bound))
    return {"key": keys.public_line(public(new)), "proof": proof, "mask": mask}


def rotation(
    name: str = "st-olav", old: str = "", new: str = "st-olav-2", by: str = "", signer: str = ""
) -> dict[str, str]:
    """The same as a version of the federation quotes it; `signer` is the key that says it, the `old` one as a rule."""
    statement, _ = of_kind("rotation")
    sender = {"name": name, "key": keys.fingerprint(public(signer or old or name))}
    statement["predicate"] |= {"sender": sender, "body": rotation_body(name, old, new, by)}
    statement["subject"][0]["digest"]["sha256"] = sha256(sshsig.key_blob(public(new)))
    raw = canonical.encode(statement)
    signature = sshsig.sign(key(signer or old or name), "rotation@fedmed.v1", raw)
    return {"statement": raw.decode(), "signature": sshsig.to_line(signature)}


def rotated(*quotes: dict[str, str], **now: str) -> bytes:
    """Version 2 of the federation with these rotations; `now` names the keys that owners have in it."""
    statement, payloads = of_kind("federation")
    first = sha256(canonical.encode(statement))
    statement["predicate"] |= {"seq": 8, "prev": ZEROS}
    statement["predicate"]["federation"] |= {"version": 2, "previous": first, "approved": first}
    body = statement["predicate"]["body"]
    body["rotations"] = list(quotes)
    for member in body["roster"]:
        member["key"] = keys.public_line(public(now.get(member["name"].replace("-", "_"), member["name"])))
    body["coordinator"] = keys.public_line(public(now.get("coordinator", "coordinator")))
    return signed(statement, payloads, by=key("coordinator"))


def _request_body() -> dict[str, Any]:
    included = [{"site": site, "update": sha256(site.encode())} for site in ("riks", "st-olav", "ullevaal")]
    return {"model": ZEROS, "included": included, "culprits": []}


def _join_body() -> dict[str, Any]:
    return {
        "name": "st-olav",
        "key": keys.public_line(public("st-olav")),
        "age": age("st-olav"),
        "contact": "radiology",
        "mask": mask_key("st-olav").certificate.model_dump(),
        "nonce": "ab" * 16,
        "versions": [{"name": "fedmed", "version": "0.1.0"}],
    }


def _federation_body() -> dict[str, Any]:
    return {
        "coordinator": keys.public_line(public("coordinator")),
        "coordinator_age": age("coordinator"),
        "roster": [
            {
                "name": site,
                "key": keys.public_line(public(site)),
                "age": age(site),
                "join": sha256(site.encode()),
                "max_num_cases": 100,
            }
            for site in SITES
        ],
        "limits": {
            "rounds": 2,
            "min_sites": 2,
            "max_share": "0.6",
            "deadline_days": "14",
            "valid_days": 180,
            "min_count": 10,
            "max_norm_ratio": "5",
            "min_cosine": "-0.5",
        },
        "encryption": "none",
        "rotations": [],
    }


RESERVATION = "5eed" * 8
PRIVACY = {
    "unit": "patient",
    "epsilon": "3.2",
    "delta": "0.00001",
    "noise_multiplier": "1.5",
}


def _update_body() -> dict[str, Any]:
    return {
        "chain": None,
        "facts": {
            "num_cases": 30,
            "num_patients": 29,
            "num_steps": 4,
            "train_loss": "0.731",
            "base_metrics": [{"metric": "dice", "label": "ball", "n": 5, "mean": "0.5", "sd": "0.1"}],
            "exclusions": [{"code": "FM-DAT-22", "count": 1}],
        },
        "data": ZEROS,
        "label_map": ZEROS,
        "preprocessing": None,
        "state": None,
        "reservation": None,
        "privacy": None,
        "masked": None,
        "versions": [{"name": "fedmed", "version": "0.1.0"}],
    }


def _state_body() -> dict[str, Any]:
    return {"parts": [{"name": "own", "tensors": ["norm.mean"]}, {"name": "residual", "tensors": "param"}]}


def _report_body() -> dict[str, Any]:
    score = {
        "metric": "dice",
        "label": "ball",
        "n": 12,
        "mean": "0.5",
        "sd": "0.1",
        "model": "global",
        "missed": 1,
        "spurious": 0,
        "empty": 0,
        "histogram": [0] * 9 + [6, 6] + [0] * 9,
    }
    facts = {"num_cases": 12, "scores": [score], "curves": [], "frocs": [], "exclusions": []}
    return {"split": "validation", "opening": 0, "facts": facts}


def _fingerprint_body() -> dict[str, Any]:
    grey = {"channel": "MR", "n": 30, "mean": "102.5", "sd": "31.75", "low": "4", "high": "240.5"}
    lengths = {"cells": [{"first": 0, "last": 0, "count": 18}, {"first": 2, "last": 5, "count": 12}], "untold": 0}
    return {
        "num_cases": 30,
        "channels": [grey],
        "spacing": [lengths] * 3,
        "shape": [lengths] * 3,
        "classes": [{"label": 1, "cases": None, "voxels": None}],
        "inputs": [],
    }


def second_version() -> bytes:
    """The federation with numbers fitted on all sites; everything else stays."""
    statement, payloads = of_kind("federation")
    first = sha256(canonical.encode(statement))
    payloads = [*payloads, ("preprocessing.json", PREPROCESSING)]
    statement["predicate"] |= {"seq": 8, "prev": ZEROS}
    statement["predicate"]["federation"] |= {"version": 2, "previous": first, "approved": first}
    data = statement["predicate"]["payload"]
    data.append({**data[0], "name": "preprocessing.json", "bytes": len(PREPROCESSING)})
    statement["subject"] = [{"name": name, "digest": {"sha256": sha256(part)}} for name, part in payloads]
    return signed(statement, payloads, by=key("coordinator"))


def signed(
    statement: dict[str, Any] | bytes,
    payloads: Payloads,
    *,
    by: Ed25519PrivateKey,
    namespace: str | None = None,
    armour: Callable[[bytes], bytes] = lambda armour: armour,
) -> bytes:
    """A signed file, however strange: the statement is signed as it is and nothing is checked."""
    raw = statement if isinstance(statement, bytes) else canonical.encode(statement)
    kind = "" if isinstance(statement, bytes) else statement["predicate"]["kind"]
    signature = armour(sshsig.sign(by, namespace or f"{kind}@fedmed.v1", raw))
    return packed([("statement.json", raw), ("statement.json.sig", signature), *payloads])


def packed(members: Sequence[tuple[str, bytes]]) -> bytes:
    return b"".join(member(name, data) for name, data in members) + bytes(1024)


def member(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def sample(kind: str) -> bytes:
    """The good file of a kind."""
    statement, payloads = of_kind(kind)
    return signed(statement, payloads, by=key(statement["predicate"]["sender"]["name"]))


def members(data: bytes) -> Payloads:
    """What tarfile finds in a file: another reader than ours."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [(info.name, archive.extractfile(info).read()) for info in archive]


def statement_in(data: bytes) -> dict[str, Any]:
    return json.loads(members(data)[0][1])


def resigned(
    data: bytes,
    by: Ed25519PrivateKey,
    change: Callable[[dict[str, Any]], object] = lambda _: None,
    *,
    payload: bytes | None = None,
    place: int = 0,
    namespace: str | None = None,
) -> bytes:
    """The same file after `change(predicate)`, with the payload at `place` replaced if one is given, signed again."""
    statement, payloads = copy.deepcopy(statement_in(data)), members(data)[2:]
    if payload is not None:
        payloads[place] = (payloads[place][0], payload)
        statement["subject"][place]["digest"]["sha256"] = sha256(payload)
        statement["predicate"]["payload"][place]["bytes"] = len(payload)
    change(statement["predicate"])
    return signed(statement, payloads, by=by, namespace=namespace)
