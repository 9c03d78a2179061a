"""Members of one good file put into another: between all kinds, sites, rounds and two federations of the same keys."""

from __future__ import annotations

import copy
import io
import itertools
import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed.auditor import inspection
from fedmed.exchange import container, keys, sshsig
from tests.coded import code_of
from tests.vectors import samples
from tests.vectors.make_vectors import DATA
from tests.vectors.samples import KINDS, key, members, resigned, sample, sha256

if TYPE_CHECKING:
    from collections.abc import Iterable

OTHER_ID = "f00d" * 8


@dataclass(frozen=True)
class Origin:
    """Where a file comes from; `site` is empty of what the coordinator signs."""

    kind: str
    site: str
    round: int
    federation: int

    @property
    def name(self) -> str:
        return f"{self.kind} {self.site or 'coordinator'} r{self.round} f{self.federation}"


@cache
def second_federation() -> bytes:
    """Another federation of the same people with the same keys."""
    return resigned(sample("federation"), key("coordinator"), lambda p: p["federation"].update(id=OTHER_ID))


@cache
def federations() -> tuple[inspection.Reference, inspection.Reference]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "federation.fedmed"
        path.write_bytes(second_federation())
        return inspection.read_federation(DATA / "federation-ok.fedmed"), inspection.read_federation(path)


def origins() -> list[Origin]:
    """All combinations that a kind can have: a join knows no federation and nothing before round 0 a round."""
    found = []
    for kind in KINDS:
        predicate = samples.of_kind(kind)[0]["predicate"]
        sites = ("",) if predicate["sender"]["name"] == "coordinator" else samples.SITES
        rounds = (0, 1) if "round" in predicate else (0,)
        sides = (0, 1) if "federation" in predicate else (0,)
        found += [Origin(kind, site, round_, side) for site in sites for round_ in rounds for side in sides]
    return found


def made(origin: Origin) -> bytes:
    """The good file of an origin, signed by whom it says; its tensors are its own where it has some."""
    if origin.kind == "federation":
        return sample("federation") if origin.federation == 0 else second_federation()
    if origin.kind == "join":
        return _join(origin.site)
    statement, payloads = samples.of_kind(origin.kind)
    if origin.federation:
        text = json.dumps(statement).replace(samples.FEDERATION_ID, OTHER_ID)
        digest = sha256(members(second_federation())[0][1])
        statement = json.loads(text.replace(samples.membership()["digest"], digest))
    predicate = statement["predicate"]
    if origin.site:
        predicate["sender"] = samples.actor(origin.site)
    if origin.kind == "rotation":
        new = f"{origin.site}-2"
        predicate["body"] = samples.rotation_body(origin.site, new=new, federation=predicate["federation"]["id"])
        statement["subject"][0]["digest"]["sha256"] = sha256(sshsig.key_blob(samples.public(new)))
    if origin.kind == "state":
        predicate["recipients"] = [predicate["sender"]]
    if "round" in predicate:
        predicate["round"] = origin.round
    whole = samples.signed(statement, payloads, by=key(origin.site or "coordinator"))
    if origin.kind == "model":
        agreed = samples.approval(change=lambda said: said.update(federation=predicate["federation"]))
        whole = resigned(whole, key("coordinator"), payload=samples.approvals(agreed), place=1)
    return resigned(whole, key(origin.site or "coordinator"), payload=_own_numbers(origin, payloads))


def _own_numbers(origin: Origin, payloads: samples.Payloads) -> bytes | None:
    """The sample's tensors with other last bits for each file of a kind."""
    if not payloads or not payloads[0][0].endswith(".safetensors"):
        return None
    number = 1 + (origin.site == samples.SITES[1]) + 2 * origin.round + 4 * origin.federation
    data = bytearray(payloads[0][1])
    data[-4] ^= number
    return bytes(data)


def _join(site: str) -> bytes:
    statement = copy.deepcopy(samples.of_kind("join")[0])
    statement["subject"][0]["digest"]["sha256"] = sha256(sshsig.key_blob(samples.public(site)))
    statement["predicate"]["sender"] = samples.actor(site)
    statement["predicate"]["body"] |= {"name": site, "key": keys.public_line(samples.public(site))}
    return samples.signed(statement, [], by=key(site))


def is_accepted(data: bytes, known: inspection.Reference) -> bool:
    return code_of(lambda: inspection.check(container.Reader(io.BytesIO(data).read), known)) == "ok"


@cache
def good_files() -> dict[str, bytes]:
    """Every file by the name of its origin, accepted by its own federation as it stands."""
    found = {origin: made(origin) for origin in origins()}
    return {origin.name: data for origin, data in found.items() if is_accepted(data, federations()[origin.federation])}


def mixed(into: bytes, other: bytes) -> dict[str, bytes]:
    """The file `into` with parts of the other, by what was taken."""
    (statement, signature, *payloads), (statement_, signature_, *payloads_) = members(into), members(other)
    return {
        "statement": samples.packed([statement_, signature, *payloads]),
        "signature": samples.packed([statement, signature_, *payloads]),
        "payloads": samples.packed([statement, signature, *payloads_]),
        "statement and signature": samples.packed([statement_, signature_, *payloads]),
        "statement and payloads": samples.packed([statement_, signature, *payloads_]),
        "signature and payloads": samples.packed([statement, signature_, *payloads_]),
    }


def tried_and_accepted(names: Iterable[str]) -> tuple[dict[str, int], list[str]]:
    """Parts of every good file put into these: how many files that makes, by what was taken, and what was accepted.

    Not counted are those that are a good file again, as when two kinds have no payload.
    """
    good = good_files()
    whole = set(good.values())
    tried: Counter[str] = Counter()
    accepted = []
    for into, other in itertools.product(names, good):
        for what, data in mixed(good[into], good[other]).items():
            if data in whole:
                continue
            tried[what] += 1
            if any(is_accepted(data, known) for known in federations()):
                accepted.append(f"{into} < {other}: {what}")
    return dict(tried), accepted
