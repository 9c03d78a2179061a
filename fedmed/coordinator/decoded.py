"""Updates that are not plain float32, as flat files of float32 that can be read side by side in blocks.

They lie in the private spool while the command runs that needs them, and are made once for it, however often they are
read. Decoding is streamed: memory does not grow with the model.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.coordinator.sources import Archived, Spooled
from fedmed.errors import FedmedError
from fedmed.exchange import archived
from fedmed.learning import payloads, shapes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedmed.coordinator.sources import Vector
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.layout import Layout

PAYLOAD = "update.safetensors"


def vectors(found: Workspace, layout: Layout, updates: Sequence[str]) -> list[Vector]:
    """The numbers of these archived updates: where they lie if they are plain, else in files of the spool.

    Raises FedmedError FM-TRU-11 when a file of the archive rotted, FM-RES-01 before anything is written when there is
    no room.
    """
    if layout.is_plain:
        return [Archived(found, each, PAYLOAD) for each in updates]
    paths = {each: found.spool / f"{each}.flat" for each in updates}
    missing = [each for each, path in paths.items() if not path.exists()]
    if missing:
        _require_room(found.spool, len(missing) * 4 * shapes.elements(layout.table) + layout.size)
    for each in missing:
        _decode(found, layout, each, paths[each])
    return [Spooled(path) for path in paths.values()]


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        message = f"the updates of this round need {needed >> 20} MB to be decoded, {free >> 20} MB are free"
        raise FedmedError("FM-RES-01", message)


def _decode(found: Workspace, layout: Layout, statement_id: str, target: Path) -> None:
    """Hashed while it is copied, and decoded out of the copy: what was verified is what is read."""
    said, part = target.with_suffix(".said"), target.with_suffix(".part")
    with files.Sink(said, durable=False) as sink:
        for chunk in layout.unpacked(archived.payload_chunks(found, statement_id, PAYLOAD)):
            sink.write(chunk)
    fd = files.open_regular(said)
    try:
        with files.Sink(part, durable=False) as sink:
            for numbers in payloads.decoded(layout, lambda offset, size: b"".join(files.read_chunks(fd, offset, size))):
                sink.write(numbers.astype("<f4", copy=False).tobytes())
    finally:
        os.close(fd)
    said.unlink()
    part.replace(target)
