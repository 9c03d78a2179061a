"""The exchange before the first model: the sites' fingerprints are pooled, and the numbers become the federation's.

`aggregate` seals a second version of the federation, which is the first one with `preprocessing.json`; model r0 goes
with it (`opening`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed import fingerprint, pooling, preprocessing
from fedmed.coordinator import versions
from fedmed.coordinator.rounds import Standing, unless_revoked
from fedmed.exchange import archived, bodies_fingerprint, statement
from fedmed.fingerprint import Cell, Fingerprint, Grey, Lengths, Share
from fedmed.recipe import Imaging, Rowwise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fedmed.coordinator.desk import Started
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace
    from fedmed.preprocessing import ColumnNumbers
    from fedmed.recipe_tables import Column

POOLED = "fingerprints-pooled"


def standings(found: Workspace, running: Started) -> list[Standing]:
    """Every site of the roster, by name: is its fingerprint here, and does it count?"""
    everyone = [_standing(found, running, name) for name in running.agreement.federation.site_names]
    return [unless_revoked(found, running, each) for each in everyone]


def _standing(found: Workspace, running: Started, name: str) -> Standing:
    known = found.record.newest("fingerprint", sender=name)
    if _equivocated(found, name):
        return Standing(name, "excluded", "FM-TRU-03: two different files with one number", None, 0)
    if known is None:
        return Standing(name, "missing", "no fingerprint has arrived", None, 0)
    if not found.record.of("approval", sender=name):
        return Standing(name, "unapproved", "FM-TRU-07: its approval has not arrived", None, 0)
    body = _body(found, known)
    fault = _fault(body, running)
    if fault:
        return Standing(name, "refused", f"FM-NRM-07: {fault}", None, 0)
    return Standing(name, "used", "", known, body.num_cases)


def _equivocated(found: Workspace, name: str) -> bool:
    """A conflict about fingerprints excludes its sender from the pool."""
    for conflict in found.record.conflicts:
        twins = [known for known in found.record.received if (known.sender, known.seq) == (name, conflict.seq)]
        if conflict.sender == name and "fingerprint" in {conflict.kind, *(twin.kind for twin in twins)}:
            return True
    return False


def _fault(body: bodies_fingerprint.DataFingerprint, running: Started) -> str:
    """What a fingerprint that the site's own fedmed made would not say."""
    recipe, min_count = running.recipe, running.agreement.federation.body.limits.min_count
    images = recipe if isinstance(recipe, Imaging) else None
    if [grey.channel for grey in body.channels] != (sorted(images.data.channels) if images else []):
        return "other channels than the recipe's"
    if [share.label for share in body.classes] != (fingerprint.classes_of(images) if images else []):
        return "other classes than the recipe's"
    if len(body.inputs) != (recipe.data.width if isinstance(recipe, Rowwise) else 0):
        return "other inputs than the recipe's"
    found = from_body(body)
    if wrong := fingerprint.impossible(found):
        return wrong
    if fingerprint.floored(found, min_count) != found:
        return f"numbers about fewer than {min_count} cases"
    return ""


def _body(found: Workspace, known: Known) -> bodies_fingerprint.DataFingerprint:
    body = archived.read_archived(found, known.id).predicate.body
    if not isinstance(body, bodies_fingerprint.DataFingerprint):
        raise TypeError("a fingerprint has the body of a fingerprint")
    return body


def from_body(body: bodies_fingerprint.DataFingerprint) -> Fingerprint:
    """A fingerprint as numbers."""
    one, two, three = map(_lengths, body.spacing)
    columns, rows, slices = map(_lengths, body.shape)
    return Fingerprint(
        num_cases=body.num_cases,
        channels={
            grey.channel: Grey(grey.n, float(grey.mean), float(grey.sd), _number(grey.low), _number(grey.high))
            for grey in body.channels
        },
        spacing=(one, two, three),
        shape=(columns, rows, slices),
        classes={share.label: Share(share.cases, _number(share.voxels)) for share in body.classes},
        inputs=tuple(Grey(each.n, float(each.mean), float(each.sd), None, None) for each in body.inputs),
    )


def _lengths(told: bodies_fingerprint.Lengths) -> Lengths:
    return Lengths(tuple(Cell(cell.first, cell.last, cell.count) for cell in told.cells), told.untold)


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def close(found: Workspace, running: Started, everyone: Sequence[Standing], now: datetime) -> None:
    """Pool the fingerprints that count and seal the federation's second version.

    Raises FedmedError FM-NRM-03, -04 when no numbers can be made of them.
    """
    used = [each.update for each in everyone if each.status == "used" and each.update is not None]
    pooled = pooling.pool([from_body(_body(found, known)) for known in used])
    numbers = pooling.fitted(pooled, running.recipe)
    rows = [{"site": known.sender, "fingerprint": known.id} for known in used]
    found.write_entry("aggregate", "note", now, what=POOLED, used=rows)
    versions.say_next(found, running.agreement, running.agreement.federation.body, now, numbers.to_bytes())


def pooled_rows(found: Workspace) -> list[dict[str, str]]:
    """The fingerprints that the federation's numbers were made of."""
    notes = (facts for _, facts in reversed(found.record.notes) if facts.get("what") == POOLED)
    return next((facts["used"] for facts in notes), [])


def told(running: Started) -> list[tuple[str, str]]:
    """The numbers of the federation in force, for a person: name and words, line by line."""
    numbers = preprocessing.from_bytes(running.agreement.preprocessing or b"", statement.PREPROCESSING)
    rows = []
    for name, grey in sorted((numbers.channels or {}).items()):
        cut = "not cut off" if grey.low is None else f"cut off at {grey.low:g} and {grey.high:g}"
        rows.append((name, f"{cut}, mean {grey.mean:g}, standard deviation {grey.sd:g}"))
    if numbers.spacing is not None:
        rows.append(("spacing", " x ".join(f"{step:g}" for step in numbers.spacing) + " mm"))
    if isinstance(running.recipe, Rowwise) and numbers.columns:
        rows += [
            (column.name, _of_column(column, numbers.columns[column.name])) for column in running.recipe.data.columns
        ]
    if running.recipe.task == "classification":
        counts = numbers.class_counts
        words = ", ".join(f"{label}: {count}" for label, count in counts.items()) if counts else "each site's own"
        rows.append(("cases by class", words))
    return rows


def _of_column(column: Column, numbers: ColumnNumbers) -> str:
    if column.levels is not None:
        return f"a gap becomes {column.levels[round(numbers.fill)]}"
    if (numbers.mean, numbers.sd) == (0, 1):
        return "as it stands: no site told it; a gap becomes 0"
    return f"mean {numbers.mean:g}, standard deviation {numbers.sd:g}; a gap becomes the mean"
