"""`ledger audit --round N`: the model that a round gave, computed again from its files and compared bit for bit.

Whoever has the archive can do it, without a workspace and without torch; where payloads are encrypted, with the age key
of a recipient of them all, which is the coordinator's. What files cannot show is who is behind a key; for that the
federation's fingerprint is compared with the coordinator's.
"""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedmed.auditor import masked
from fedmed.auditor.shelf import Shelf
from fedmed.errors import FedmedError
from fedmed.exchange import bodies, keys, predicates, statement
from fedmed.exchange.federation import COORDINATOR
from fedmed.learning import payloads, replay, shapes, strategies
from fedmed.learning.strategy import Meta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fedmed.auditor.shelf import Taken
    from fedmed.learning.replay import Read
    from fedmed.learning.shapes import Table
    from fedmed.learning.strategy import Strategy

    Progress = Callable[[str, int, int], None]

MODEL, UPDATE, STATE = "model.safetensors", "update.safetensors", "state.safetensors"


@dataclass(frozen=True)
class Recomputed:
    """A model that its files give again. `federation` is the spoken fingerprint of the version that it answers under;
    `remembered`: how many vectors of the strategy's memory were compared too; `opened`: how many of the files were
    encrypted; `revoked`: sites whose update has a later number than the revocations here let their key have.
    """

    round: int
    model: str
    sha256: str
    federation: str
    sites: list[str]
    remembered: int
    opened: int = 0
    revoked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Round:
    """What was answered, what answered it, and what came of it."""

    base: Taken
    updates: list[Taken]
    made: Taken

    @property
    def files(self) -> list[Taken]:
        return [self.made, self.base, *self.updates]

    @property
    def table(self) -> Table:
        return self.base.known.layout.table


def audit(folder: Path, round_: int, progress: Progress, age_key: Path | None = None) -> Recomputed:
    """What is encrypted is opened with `age_key`; without one, or with another's, what can be checked is checked before
    the refusal.

    Raises FedmedError FM-SHR-13 (no such round, or two models of it), FM-SHR-14 (the files give another model),
    FM-SHR-15 (not to be computed from files), FM-TRU-11 (a file is not here), and as `inspection.verify`.
    """
    with ExitStack() as stack:
        shelf = Shelf(folder, stack, age_key)
        found = _round(shelf, round_, progress)
        strategy = _strategy(found, round_)
        before = _memory(shelf, found.base, strategy, round_ - 1)
        after = _memory(shelf, found.made, strategy, round_)
        rows, meta = _rows(stack, found), _meta(found)
        base = found.base.numbers(MODEL, len(shapes.wire_table(found.table)), "<f4")
        weights = strategy.weigh(meta, np.empty((0, 0)))
        digest, total = hashlib.sha256(shapes.wire_table(found.table)), shapes.elements(found.table)
        for block in replay.blocks(found.table, base, rows, before):
            combined, stop = strategy.combine(block, weights), block.start + len(block.base)
            digest.update(combined.base.astype("<f4").tobytes())
            for name, read in after.items():
                if read is None or not np.array_equal(combined.memory[name], read(block.start, len(block.base))):
                    raise _other(round_, f"what the strategy remembers as {name}")
            progress("computing the model", stop, total)
    if digest.hexdigest() != found.made.first:
        raise _other(round_, "the model")
    return Recomputed(
        round_,
        found.made.envelope.id,
        digest.hexdigest(),
        keys.spoken(found.base.known.federation.root),
        [each.said.sender for each in found.updates],
        len(after),
        sum(each.said.is_encrypted for each in found.files),
        _revoked(shelf, found),
    )


def _revoked(shelf: Shelf, found: _Round) -> list[str]:
    """The model stands as it is; but what a thief may have signed is in it."""
    limits: dict[str, int] = {}
    for id_ in shelf.revocations():
        with suppress(FedmedError):  # of another federation, or nobody's word
            said = shelf.take(id_, found.made.known).said
            if isinstance(said.predicate, predicates.RevocationPredicate) and said.sender == COORDINATOR:
                body = said.predicate.body
                limits[body.key] = min(body.last_seq, limits.get(body.key, body.last_seq))
    said_ = [each.said.predicate for each in found.updates]
    return [each.sender.name for each in said_ if each.seq > limits.get(each.sender.key, each.seq)]


def _round(shelf: Shelf, round_: int, progress: Progress) -> _Round:
    """The files of a round, each verified, and that they name each other.

    Raises FedmedError FM-SHR-13, FM-SHR-14, FM-TRU-11.
    """
    made = _made(shelf, round_)
    body = _body(made)
    if body.previous is None or not body.parents:
        raise FedmedError("FM-SHR-13", f"model of round {round_ + 1}: it names no model and updates before it")
    base = shelf.take(body.previous)
    _body(base)
    if base.known.federation.founding.id != made.known.federation.founding.id:
        raise _other(round_, "the federation of the model before")
    if _is_of_masked(made) != base.known.recipe.aggregation.masks:
        raise _other(round_, "whether updates came masked")
    updates: list[Taken] = []
    for number, parent in enumerate(body.parents, start=1):
        taken = shelf.take(parent.update, made.known)  # its site may have a new key since the version that it answers
        said = taken.said.predicate
        answers = isinstance(said, predicates.UpdatePredicate) and (
            (said.sender.name, said.round) == (parent.site, round_)
            and said.base_model == (base.first or _answered(updates, said))
        )
        if not answers:
            raise _other(round_, f"what {parent.site} answered")
        updates.append(taken)
        progress("verifying files", number, len(body.parents))
    found = _Round(base, updates, made)
    _require_readable(found, round_)
    return found


def _answered(updates: Sequence[Taken], said: predicates.UpdatePredicate) -> str:
    """What all must have answered, where the model itself is not open."""
    first = updates[0].said.predicate if updates else said
    return getattr(first, "base_model", "")


def _is_of_masked(made: Taken) -> bool:
    predicate = made.said.predicate
    return isinstance(predicate, predicates.ModelPredicate) and statement.is_of_masked(predicate)


def _made(shelf: Shelf, round_: int) -> Taken:
    """The model that came of a round. Where the next round was void it stands there once for each attempt, with the
    same weights.
    """
    models = [shelf.take(each) for each in shelf.models(round_ + 1)]
    attempts = {getattr(each.said.predicate, "attempt", 0): each for each in models}
    weights = {each.first for each in models}
    if len(weights) != 1 or len(attempts) != len(models):
        raise FedmedError("FM-SHR-13", f"round {round_}: expected one model that came of it, got {len(models)}")
    return attempts[min(attempts)]


def _body(model: Taken) -> bodies.Model:
    body = model.said.predicate.body
    if not isinstance(body, bodies.Model):
        raise FedmedError("FM-SHR-13", f"{model.envelope.id[:16]}...: expected a model, got the {model.said.kind}")
    return body


def _require_readable(found: _Round, round_: int) -> None:
    """What is encrypted only its recipients can compute with. Raises FedmedError FM-SHR-15."""
    closed = [each for each in found.files if not each.is_readable]
    if closed:
        held = "signatures, the digests of ciphertexts, and that the files name each other, hold"
        words = f"round {round_}: {len(closed)} of {len(found.files)} files are encrypted and were not opened; {held}"
        command = f"fedmed ledger audit --round {round_} --age-key FILE -w HERE"
        next_ = f"give keys/age.key of the coordinator, which opens all of them: {command}"
        raise FedmedError("FM-SHR-15", words, next=next_)


def _strategy(found: _Round, round_: int) -> Strategy:
    """Raises FedmedError FM-SHR-15."""
    recipe, federation = found.base.known.recipe, found.base.known.federation
    rounds, sites = federation.body.limits.rounds, len(federation.site_names)
    settings = recipe.strategy.settings(recipe.training, round_, rounds, sites)
    if recipe.aggregation.central is not None:
        raise _not_from_files("aggregation.central: the noise on its weights was kept nowhere")
    strategy = strategies.named(recipe.strategy.name, **settings)
    if strategy.needs_products:
        raise _not_from_files(f"strategy {recipe.strategy.name}: it compares updates, and rounding may decide there")
    if _body(found.base).order:
        raise _not_from_files("a lap: each update is the whole of those before it")
    return strategy


def _rows(stack: ExitStack, found: _Round) -> list[Read]:
    """What the strategy is given: each update, or of masked ones their mean."""
    if not _is_of_masked(found.made):
        return [_vector(stack, each) for each in found.updates]
    mean = masked.pooled(found.base, found.updates, found.made)
    return [_numbers(stack, (piece.astype("<f4", copy=False).tobytes() for piece in mean.pieces))]


def _meta(found: _Round) -> list[Meta]:
    """What each update counts, as the coordinator had it; the mean of masked ones counts for all of them."""
    if _is_of_masked(found.made):
        return [Meta("pooled", 1, 1.0, 1)]
    parents = [(each.site, each.weight) for each in _body(found.made).parents if each.weight is not None]
    cap = float(found.base.known.federation.body.limits.max_share)
    parts = strategies.shares([weight for _, weight in parents], cap)
    steps = [_steps(each) for each in found.updates]
    return [
        Meta(site, weight, part, number) for (site, weight), part, number in zip(parents, parts, steps, strict=True)
    ]


def _steps(update: Taken) -> int:
    body = update.said.predicate.body
    return body.facts.num_steps if isinstance(body, bodies.Update) and body.facts else 0


def _memory(shelf: Shelf, model: Taken, strategy: Strategy, round_: int) -> Mapping[str, Read | None]:
    """What the strategy remembered when this model was made, of the round that gave it; zeros before the first.

    Raises FedmedError FM-SHR-14, FM-TRU-11.
    """
    names = sorted(strategy.memory)
    if not names or round_ < 0:
        return dict.fromkeys(names)
    state, table = _body(model).state, model.known.table
    rows = tuple(row for name in names for row in shapes.part_table(table, name, "all"))
    said = shelf.take(state) if state else None
    predicate = said.said.predicate if said else None
    fits = isinstance(predicate, predicates.StatePredicate) and (
        (predicate.sender, predicate.round, predicate.tensor_table)
        == (model.said.predicate.sender, round_, shapes.digest(rows))
    )
    if said is None or not fits:
        raise _other(round_, "what the strategy remembers")
    header, size = len(shapes.wire_table(rows)), 4 * shapes.elements(table)
    return {name: said.numbers(STATE, header + place * size, "<f4") for place, name in enumerate(names)}


def _vector(stack: ExitStack, update: Taken) -> Read:
    """The numbers of an update, float32, as they lie in it or decoded into a file that goes away."""
    layout = update.known.layout
    if layout.is_plain:
        return update.numbers(UPDATE, len(layout.header), "<f4")
    unpacked = stack.enter_context(_flat(layout.unpacked(update.chunks(UPDATE))))
    numbers = payloads.decoded(layout, unpacked)
    return _numbers(stack, (each.astype("<f4", copy=False).tobytes() for each in numbers))


def _numbers(stack: ExitStack, chunks: Iterable[bytes]) -> Read:
    read = stack.enter_context(_flat(chunks))
    return lambda first, count: np.frombuffer(read(4 * first, 4 * count), "<f4")


@contextmanager
def _flat(chunks: Iterable[bytes]) -> Iterator[Callable[[int, int], bytes]]:
    """`read(offset, size)` of these bytes, which lie in a file that goes away."""
    with tempfile.TemporaryFile() as file:
        for chunk in chunks:
            file.write(chunk)

        def read(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        yield read


def _other(round_: int, what: str) -> FedmedError:
    return FedmedError("FM-SHR-14", f"round {round_}: {what} is not what the files give")


def _not_from_files(why: str) -> FedmedError:
    return FedmedError("FM-SHR-15", why)
