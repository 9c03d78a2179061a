"""One aggregation by fedmed, or one update sealed or saved, in a process of its own; for benchmarks/aggregate.py.

Prints seconds without imports, and a sample of the result where it is in memory. The strategy named is put in the place
of the recipe's: so all of them can be tried on the same signed files.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

JOB: dict[str, Any] = json.loads(sys.argv[1])


def chosen() -> None:
    from fedmed.coordinator import closing  # noqa: PLC0415
    from fedmed.learning import strategies  # noqa: PLC0415

    strategy = strategies.named(JOB["strategy"], **JOB["settings"])
    closing.chosen = lambda _running, _round: strategy


def command() -> None:
    """The whole command, as a person types it."""
    from fedmed.cli import app  # noqa: PLC0415

    if JOB["strategy"] != "fedavg":
        chosen()
    sys.argv = ["fedmed", "aggregate", "-w", JOB["world"]]
    app.main()


def sealed() -> None:
    """The same without start-up, up to the model that lies signed in the archive: without the copy for the outbox."""
    from fedmed.coordinator import aggregate  # noqa: PLC0415
    from fedmed.exchange import sealing  # noqa: PLC0415

    chosen()
    sealing.post = lambda found, _known: found.outbox
    begun = time.perf_counter()
    aggregate.aggregate(Path(JOB["world"]), datetime.now(UTC))
    print(json.dumps({"seconds": time.perf_counter() - begun}))


def arithmetic() -> None:
    """Plain files in, the strategy's blocks, the result in memory: nothing hashed, compared or written."""
    import numpy as np  # noqa: PLC0415
    from aggregate_worlds import rows, sampled  # noqa: PLC0415

    from fedmed.coordinator.sources import Spooled  # noqa: PLC0415
    from fedmed.coordinator.updates import FileUpdates  # noqa: PLC0415
    from fedmed.learning import shapes, strategies  # noqa: PLC0415
    from fedmed.learning.strategy import Meta  # noqa: PLC0415

    strategy = strategies.named(JOB["strategy"], **JOB["settings"])
    table = shapes.table_from_rows(rows(JOB["elements"]))
    header = len(shapes.wire_table(table))
    files = [Spooled(Path(path), header) for path in JOB["files"]]
    meta = [Meta(f"site-{number:02d}", 1, 1 / len(files), 1) for number in range(len(files))]
    begun = time.perf_counter()
    updates = FileUpdates(table, Spooled(Path(JOB["base"]), header), files, meta)
    weights = strategy.weigh(meta, np.empty((0, 0)))
    made = np.empty(JOB["elements"], "<f4")
    for start, part in updates.map(lambda block: (block.start, strategy.combine(block, weights).base)):
        made[start : start + len(part)] = part
    seconds = time.perf_counter() - begun
    base = np.memmap(JOB["base"], "<f4", "r", header, made.shape)
    print(json.dumps({"seconds": seconds, "sample": sampled(table, made, base)}))


def update() -> None:
    """An update of a site: by safetensors, by the same with fsync, or sealed."""
    from aggregate_worlds import numbers, seal  # noqa: PLC0415
    from safetensors.numpy import save_file  # noqa: PLC0415

    change = numbers(JOB["elements"], 1, 0.01)
    begun = time.perf_counter()
    if JOB["contender"].startswith("safetensors"):
        save_file(change, JOB["out"])
        if JOB["contender"].endswith("fsync"):
            with open(JOB["out"], "rb") as file:
                os.fsync(file)
        seconds = time.perf_counter() - begun
    else:
        _, seconds = seal(Path(JOB["site"]), Path(JOB["world"]), change)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    {"command": command, "sealed": sealed, "arithmetic": arithmetic, "update": update}[JOB["mode"]]()
