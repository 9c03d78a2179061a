"""The sum of a masked round becomes the next model: seeds out of replies, masks off, and the mean to the strategy.

The mean is one update that counts whole: whoever holds the files computes the same bytes again (`ledger audit`).
"""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from fedmed import files
from fedmed.coordinator import closing, culprits, drafting, masked, memory, model, rounds, sources
from fedmed.coordinator.sources import Archived, Spooled
from fedmed.coordinator.updates import FileUpdates
from fedmed.errors import FedmedError
from fedmed.exchange import archived, seeds, unmasking
from fedmed.learning import masking, shapes
from fedmed.learning.strategy import Meta

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.drafting import Draft
    from fedmed.coordinator.masked import Open
    from fedmed.exchange.unmasking import Unmasking
    from fedmed.exchange.workspace import Workspace

    Progress = Callable[[str, int, int], None]

FLOOR = 1e-3  # of the recipe's clip: below it a clip that follows the updates does not fall


@dataclass(frozen=True)
class Summed:
    """The next model of a masked round. `norm` is the length of the mean update, of `cases` cases at all sites of
    `included` together. `told`: holders whose share was wrong, in words.
    """

    draft: Draft
    included: Mapping[str, str]
    cases: int
    norm: float
    unmask: bytes
    told: str


def combine(found: Workspace, running: Started, now: datetime, progress: Progress) -> Summed:
    """Of sites that were asked. Raises FedmedError FM-MSK-07 (too few have answered), FM-MSK-14 (a site spoiled the
    sum), FM-SHR-12, FM-TEN-02, FM-TRU-11, FM-STA-*, FM-RES-*.
    """
    included, open_ = masked.fixed(found), masked.opened(found, running)
    seen = _recovered(found, running, open_, included, now)
    said = seen.unmasking
    path = found.spool / "mean.flat"
    cases, norm = _mean(found, running, open_, included, said, path, progress)
    strategy, base = closing.chosen(running, rounds.open_round(found)), open_.model
    updates = FileUpdates(
        running.travelling,
        Archived(found, base.id, model.PAYLOAD),
        [Spooled(path)],
        [Meta("mean", 1, 1.0, 1)],
        memory.recall(found, running, base, strategy.memory),
    )
    weights = strategy.weigh(updates.meta, np.empty((0, 0)))
    _, draft = drafting.draft(found.spool, updates, strategy, weights, compare=None, done=lambda _: None)
    if draft is None:
        raise FedmedError("FM-TEN-02", "the combined model is not finite: the mean update is far too large")
    return Summed(draft, included, cases, norm, unmasking.to_bytes(said), seen.told)


@dataclass(frozen=True)
class _Seen:
    unmasking: Unmasking
    told: str


def _recovered(found: Workspace, running: Started, open_: Open, included: Mapping[str, str], now: datetime) -> _Seen:
    """Every seed that the sum needs. Who spoiled it is noted, so that another attempt goes without that site."""
    where = rounds.open_name(found)
    answers = masked.replies(found, open_, included)
    if len(answers) < running.terms.threshold:
        raise waiting(running, where, included, answers)
    tables = masked.tables_of(found, open_, included)
    made = unmasking.recover(open_.context, included, tables, answers)
    guilty = [proof for proof in made.proofs if proof.fault == "dealer"]
    wrong = sorted({proof.site for proof in made.proofs if proof.fault == "holder"})
    for site in sorted({proof.site for proof in guilty} - set(culprits.names(found))):
        culprits.note(found, open_.model, next(proof for proof in guilty if proof.site == site), now)
    if guilty:
        names = ", ".join(sorted({proof.site for proof in guilty}))
        raise FedmedError("FM-MSK-14", f"{where}: {names} dealt shares that do not give what it committed to")
    if made.unmasking is None:
        raise waiting(running, where, included, answers, wrong)
    told = (
        f"a share of {', '.join(wrong)} is not the one that it was given, as its signed reply proves" if wrong else ""
    )
    return _Seen(made.unmasking, told)


def waiting(
    running: Started, where: str, included: Mapping[str, str], answers: Mapping[str, object], wrong: Sequence[str] = ()
) -> FedmedError:
    """FM-MSK-07 with who has not answered."""
    missing = ", ".join(masked.missing(included, answers))
    bad = f"; what {', '.join(wrong)} answered is of no use" if wrong else ""
    words = f"{len(answers)} of {running.terms.threshold} answers that open the sum are in; missing: {missing}{bad}"
    return FedmedError("FM-MSK-07", f"{where}: {words}", next=f"wait for the unmask-reply of {missing}")


def _mean(
    found: Workspace,
    running: Started,
    open_: Open,
    included: Mapping[str, str],
    said: Unmasking,
    path: Path,
    progress: Progress,
) -> tuple[int, float]:
    """Write the mean update, float32, and say of how many cases it is and how long. Raises FedmedError FM-SHR-12."""
    elements, left = shapes.elements(running.travelling), unmasking.to_take_off(open_.context, said)
    with ExitStack() as stack:
        reads = [_read(stack, found, running, update) for _, update in sorted(included.items())]
        made = masking.pooled(
            open_.quantiser, reads, elements, left.added, left.subtracted, seeds.keystream(open_.context)
        )
        squared, done = 0.0, 0
        with files.Sink(path, durable=False) as sink:
            for piece in made.pieces:
                sink.write(piece.astype("<f4", copy=False).tobytes())
                squared += float(np.dot(piece.astype(np.float64), piece.astype(np.float64)))
                done += len(piece)
                progress("taking masks off", done, elements)
    return made.cases, math.sqrt(squared)


def _read(stack: ExitStack, found: Workspace, running: Started, update: str) -> Callable[[int, int], np.ndarray]:
    """`read(first, count)` of a masked vector; its bytes are hashed again first."""
    for _ in archived.payload_chunks(found, update, masked.VECTOR):
        pass
    fd, _, _ = sources.opened(stack, found, update, masked.VECTOR)
    dtype, lock = np.dtype(f"<u{running.layout.ring // 8}"), Lock()
    start = os.lseek(fd, 0, os.SEEK_CUR) + len(running.layout.header)

    def read(first: int, count: int) -> np.ndarray:
        with lock:
            data = b"".join(files.read_chunks(fd, start + first * dtype.itemsize, count * dtype.itemsize))
        return np.frombuffer(data, dtype, count)

    return read


def counted(running: Started, made: Summed) -> str:
    """Over what the mean was taken, in words."""
    rule, sites = running.recipe.strategy.weight, len(made.included)
    if rule == "equal":
        return f"the mean over {sites} sites, counted equally"
    return f"the mean over {made.cases} {rule} at {sites} sites together"


def first_clip(running: Started) -> float | None:
    """How long updates may be that answer the first model; None where nothing is masked."""
    clip = running.recipe.aggregation.clip
    return clip.norm if clip and running.masks else None


def next_clip(running: Started, norm: float) -> float | None:
    """How long updates may be that answer the model which a mean update of this length gave."""
    clip = running.recipe.aggregation.clip
    if clip is None or clip.times_last is None:
        return first_clip(running)
    return min(max(clip.times_last * norm, FLOOR * clip.norm), clip.norm)
