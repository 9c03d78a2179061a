"""A signed model of any size, whose numbers are zeros in a hole of the file; and what it takes to verify it."""

from __future__ import annotations

import copy
import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.exchange import canonical, container, sshsig, statement
from fedmed.learning import shapes
from fedmed.learning.layout import Layout
from tests.test_memory import PROBE
from tests.vectors import samples
from tests.vectors.samples import key, of_kind, sha256

if TYPE_CHECKING:
    from pathlib import Path

ZEROS = bytes(1 << 20)
NAMESPACE = statement.namespace("model")


@dataclass(frozen=True)
class Files:
    """A federation of one large tensor, and a model of it."""

    federation: Path
    model: Path


def write(folder: Path, megabytes: int) -> Files:
    """A model of about that many MB (10^6 bytes). The zeros take no room on a disk that knows holes."""
    folder.mkdir(parents=True)
    layout = Layout(shapes.table_from_rows([{"name": "w", "shape": [megabytes * 250_000], "group": "param"}]))
    files = Files(folder / "federation.fedmed", folder / "model.fedmed")
    digest = _federation(files.federation, layout)
    _model(files.model, layout, digest)
    return files


def _federation(path: Path, layout: Layout) -> str:
    said, payloads = of_kind("federation")
    parts = [payloads[0], ("tensors.json", shapes.table_to_bytes(layout.table))]
    for (_, data), subject, row in zip(parts, said["subject"], said["predicate"]["payload"], strict=True):
        subject["digest"]["sha256"], row["bytes"] = sha256(data), len(data)
    path.write_bytes(samples.signed(said, parts, by=key("coordinator")))
    return sha256(canonical.encode(said))


def _model(path: Path, layout: Layout, federation: str) -> None:
    said = copy.deepcopy(of_kind("model")[0])
    predicate = said["predicate"]
    predicate["federation"]["digest"], predicate["tensor_table"] = federation, layout.digest
    agreed = samples.approvals(samples.approval(change=lambda it: it["federation"].update(digest=federation)))
    for place, (size, sha256_) in enumerate(((layout.size, _digest(layout)), (len(agreed), sha256(agreed)))):
        predicate["payload"][place]["bytes"] = size
        said["subject"][place]["digest"]["sha256"] = sha256_
    raw = canonical.encode(said)
    members = [("statement.json", raw), ("statement.json.sig", sshsig.sign(key("coordinator"), NAMESPACE, raw))]
    name = predicate["payload"][0]["name"]
    with path.open("wb") as out:
        out.write(b"".join(samples.member(*each) for each in members))
        out.write(container.header(name, layout.size) + layout.header)
        end = container.packed_size([*(len(data) for _, data in members), layout.size]) - len(container.TRAILER)
        out.truncate(end)
        out.seek(end)
        out.write(samples.member(statement.APPROVALS, agreed) + container.TRAILER)


def _digest(layout: Layout) -> str:
    digest = hashlib.sha256(layout.header)
    left = layout.size - len(layout.header)
    while left:
        digest.update(ZEROS[: min(left, len(ZEROS))])
        left -= min(left, len(ZEROS))
    return digest.hexdigest()


@dataclass(frozen=True)
class Measured:
    """Seconds and peak memory of a whole command, and the seconds of `sha256sum` of the same file."""

    bytes: int
    seconds: float
    peak_mb: float
    sha256sum: float


def measured(files: Files, times: int) -> Measured:
    """`fedmed verify MODEL --federation F`, the best of a few, each beside a run of `sha256sum`."""
    command = [sys.executable, "-c", PROBE, "verify", str(files.model), "--federation", str(files.federation)]
    best, plain, peak = float("inf"), float("inf"), 0.0
    for _ in range(times):
        seconds, said = _timed(command)
        assert "signature" in said
        best, peak = min(best, seconds), max(peak, int(said.split()[-1]) / 1024)
        plain = min(plain, _timed(["sha256sum", str(files.model)])[0])
    return Measured(files.model.stat().st_size, best, peak, plain)


def _timed(command: list[str]) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - started, done.stdout
