"""One process of masking.py: a job as JSON in the first argument, one line of JSON with seconds and sizes out."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedmed import files
from fedmed.exchange import artifact, bundles, certificates, seeds, unmasking
from fedmed.exchange.bundles import Requested
from fedmed.exchange.certificates import Certificate
from fedmed.exchange.unmasking import Reply
from fedmed.learning import masking, masking_terms, shapes

N_MAX, CLIP, MODEL = 1000, 10.0, "ab" * 32
RING = 32


def main() -> None:
    job = json.loads(sys.argv[1])
    print(json.dumps({"seconds": 0.0, **JOBS[job["mode"]](job)}))


def circle(sites: int) -> list[certificates.MaskKey]:
    names = [f"site-{chr(97 + place // 26)}{chr(97 + place % 26)}" for place in range(sites)]
    return [certificates.create(Ed25519PrivateKey.generate(), name, None, 1) for name in names]


def context(found: list[Certificate]) -> seeds.Context:
    return seeds.context(MODEL, found, masking_terms.parameters(len(found), None, N_MAX).threshold)


def update(elements: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(elements, np.float32) * np.float32(1e-3)


def quantiser(sites: int) -> masking.Quantiser:
    return masking.Quantiser(sites, RING, CLIP, N_MAX)


# --- a site: from the update in memory to a signed file on the disk ------------------------------------------------


def plain(job: dict[str, Any]) -> dict[str, Any]:
    change, key = update(job["elements"], 1), Ed25519PrivateKey.generate()
    begun = time.perf_counter()
    size = seal(Path(job["out"]), key, [tensors("F32", change)])
    return {"seconds": time.perf_counter() - begun, "bytes": size}


def masked(job: dict[str, Any]) -> dict[str, Any]:
    change, key, own = update(job["elements"], 1), Ed25519PrivateKey.generate(), circle(job["sites"])
    found = context([each.certificate for each in own])
    marks = [time.perf_counter()]
    vector = quantiser(job["sites"]).quantise(change, 500).vector
    digest = hashlib.sha256(vector).hexdigest()
    marks.append(time.perf_counter())
    dealt = bundles.deal(found, own[0], digest)
    table = bundles.table_to_bytes(dealt.table)
    marks.append(time.perf_counter())
    masking.mask(vector, dealt.masks.added, dealt.masks.subtracted, seeds.keystream(found))
    marks.append(time.perf_counter())
    contents = [
        tensors("U32", vector),
        artifact.json_content(bundles.SHARES, table),
        artifact.json_content(bundles.BUNDLES, dealt.bundles),
    ]
    size = seal(Path(job["out"]), key, contents)
    marks.append(time.perf_counter())
    names = ("quantise", "deal", "mask", "seal")
    parts = {name: marks[place + 1] - marks[place] for place, name in enumerate(names)}
    return {"seconds": marks[-1] - marks[0], "bytes": size, "shares": len(table) + len(dealt.bundles), **parts}


def tensors(dtype: str, array: np.ndarray) -> artifact.Content:
    header = shapes.header([("update", dtype, array.shape, array.nbytes)])
    data = array.view(np.uint8).data
    return artifact.streamed_content("update.safetensors", len(header) + len(data), [header, data])


def seal(path: Path, key: Ed25519PrivateKey, contents: list[artifact.Content]) -> int:
    """As `sealing.say` does: written and hashed side by side, then signed, on the disk when this returns."""
    head = artifact.head(bytes(2000), key, "update")
    with files.Sink(path) as sink:
        with files.beside(sink.write) as write:
            write(bytes(len(head)))
            artifact.write_payloads(contents, write)
        sink.write_first(artifact.head(bytes(2000), key, "update"))
    return path.stat().st_size


# --- a round --------------------------------------------------------------------------------------------------------


def make(job: dict[str, Any]) -> dict[str, Any]:
    """Everything that the coordinator has got: masked vectors, tables, and as few replies as can be."""
    folder, sites, elements = Path(job["folder"]), job["sites"], job["elements"]
    folder.mkdir(parents=True, exist_ok=True)
    own = circle(sites)
    found = context([each.certificate for each in own])
    included = own[: max(found.threshold, sites - job["absent"])]
    stream, deals = seeds.keystream(found), {}
    for number, each in enumerate(included):
        vector = quantiser(sites).quantise(update(elements, number), 500).vector
        dealt = bundles.deal(found, each, hashlib.sha256(vector).hexdigest())
        masking.mask(vector, dealt.masks.added, dealt.masks.subtracted, stream)
        vector.tofile(folder / f"{each.certificate.site}.vector")
        deals[each.certificate.site] = dealt
    replies, request, seconds = {}, 0, 0.0
    for holder in included[: found.threshold]:
        place = found.position(holder.certificate.site) - 1
        asked = [
            Requested(name, deal.table.dealt[place], deal.table.rows[place], bundle(found, deal, name, holder))
            for name, deal in deals.items()
        ]
        begun = time.perf_counter()
        reply = unmasking.reply(found, holder, asked)
        seconds = time.perf_counter() - begun
        replies[holder.certificate.site] = reply.model_dump()
        request = sum(len(each.sealed) + len(each.row.model_dump_json()) for each in asked)
    said = {
        "certificates": [each.certificate.model_dump() for each in own],
        "tables": {name: deal.table.model_dump() for name, deal in deals.items()},
        "replies": replies,
    }
    (folder / "said.json").write_text(json.dumps(said))
    return {"seconds": seconds, "request": request, "reply": len(unmasking.to_bytes(reply))}


def bundle(found: seeds.Context, deal: bundles.Deal, dealer: str, holder: certificates.MaskKey) -> bytes:
    return bundles.bundle_of(deal.bundles, found, dealer, holder.certificate.site)


def recover(job: dict[str, Any]) -> dict[str, Any]:
    """Seeds from the replies; the sum of all vectors, without its masks, as a mean on the disk."""
    folder, elements = Path(job["folder"]), job["elements"]
    said = json.loads((folder / "said.json").read_text())
    found = context([Certificate.model_validate(each) for each in said["certificates"]])
    tables = {name: bundles.Table.model_validate(each) for name, each in said["tables"].items()}
    replies = {name: Reply.model_validate(each) for name, each in said["replies"].items()}
    begun = time.perf_counter()
    seeds_found = unmasking.recover(found, dict.fromkeys(tables, "0" * 64), tables, replies).unmasking
    if seeds_found is None:
        raise SystemExit("seeds were not recovered")
    recovered = time.perf_counter()
    masks = unmasking.to_take_off(found, seeds_found)
    reads = [reader(folder / f"{name}.vector", "<u4") for name in tables]
    pooled = masking.pooled(
        quantiser(len(found.sites)), reads, elements, masks.added, masks.subtracted, seeds.keystream(found)
    )
    total = 0.0
    with files.Sink(folder / "mean", durable=False) as sink:
        for piece in pooled.pieces:
            sink.write(piece.view(np.uint8).data)
            total += float(piece[0])
    ended = time.perf_counter()
    exact = np.mean([update(elements, number)[0].astype(np.float64) for number in range(len(tables))])
    first = np.fromfile(folder / "mean", "<f4", 1)[0]
    if abs(first - exact) > 1e-6:
        raise SystemExit(f"a wrong mean: {first}, expected {exact}")
    return {"seconds": ended - begun, "recover": recovered - begun, "sum": ended - recovered}


def average(job: dict[str, Any]) -> dict[str, Any]:
    """The same sizes as plain float32, added up in the same pieces: what the masks cost the coordinator."""
    folder, elements = Path(job["folder"]), job["elements"]
    names = json.loads((folder / "said.json").read_text())["tables"]
    reads = [reader(folder / f"{name}.vector", "<f4") for name in names]
    begun = time.perf_counter()
    with files.Sink(folder / "mean", durable=False) as sink, np.errstate(all="ignore"):
        for first in range(0, elements, masking.MASK_PIECE):
            count = min(masking.MASK_PIECE, elements - first)
            total = np.zeros(count)
            for read in reads:
                total += read(first, count)
            sink.write((total / len(reads)).astype(np.float32).view(np.uint8).data)
    return {"seconds": time.perf_counter() - begun}


def reader(path: Path, dtype: str) -> Any:
    fd = files.open_regular(path)
    return lambda first, count: np.frombuffer(os.pread(fd, 4 * count, 4 * first), dtype)


JOBS = {"plain": plain, "masked": masked, "make": make, "recover": recover, "average": average}

if __name__ == "__main__":
    main()
