"""A site's fingerprint: measured on the training cases, floored and rounded, sealed once before the first round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed import fingerprint as numbers
from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies, bodies_fingerprint, predicates, sealing, statement
from fedmed.exchange.federation import COORDINATOR
from fedmed.recipe import Rowwise
from fedmed.site import outgoing, preprocessing, rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.fingerprint import Axes, Fingerprint, Grey
    from fedmed.site.desk import Approved, Site


@dataclass(frozen=True)
class Fingerprinted:
    """The fingerprint that is in the outbox. `is_new` is false when it had been sealed before; `inputs` are the names
    of those of a table, which the body has in this order.
    """

    is_new: bool
    body: bodies_fingerprint.DataFingerprint
    posted: Path
    inputs: tuple[str, ...]
    arrivals: list[Arrival] = field(default_factory=list)


def make(
    site: Site,
    consent: Approved,
    arrivals: list[Arrival],
    now: datetime,
    progress: Callable[[str, int, int], None],
    *,
    again: bool,
) -> Fingerprinted:
    """Seal the fingerprint, or find the one that was sealed; `again` seals a corrected one.

    Raises FedmedError FM-DAT-*, FM-NRM-03, FM-TRN-03, -04, FM-RES-*.
    """
    known, is_new = site.workspace.record.newest("fingerprint", sender=site.workspace.name), False
    if known is None or again:
        cases = rounds.require_cases(site, consent)
        measured = preprocessing.measure(site, consent, cases, progress)
        min_count = consent.agreement.federation.body.limits.min_count
        known, is_new = _say(site, consent, to_body(numbers.floored(measured, min_count)), now), True
    body = archived.read_archived(site.workspace, known.id).predicate.body
    if not isinstance(body, bodies_fingerprint.DataFingerprint):
        raise TypeError("a fingerprint has the body of a fingerprint")
    inputs = consent.recipe.data.inputs if isinstance(consent.recipe, Rowwise) else ()
    return Fingerprinted(is_new, body, sealing.post(site.workspace, known), inputs, arrivals)


def to_body(found: Fingerprint) -> bodies_fingerprint.DataFingerprint:
    """What a statement says of a fingerprint that was floored. Raises FedmedError FM-NRM-03."""
    return bodies_fingerprint.DataFingerprint(
        num_cases=found.num_cases,
        channels=[_grey(name, found.channels[name]) for name in sorted(found.channels)],
        spacing=_axes(found.spacing),
        shape=_axes(found.shape),
        classes=[
            bodies_fingerprint.ClassShare(
                label=label, cases=share.cases, voxels=None if share.voxels is None else bodies.decimal(share.voxels)
            )
            for label, share in sorted(found.classes.items())
        ],
        inputs=[_input(number, grey) for number, grey in enumerate(found.inputs, start=1)],
    )


def told(body: bodies_fingerprint.DataFingerprint, inputs: Sequence[str] = ()) -> list[tuple[str, str]]:
    """What it says, for the person who lets it leave: name and words, line by line."""
    rows = [("training cases", str(body.num_cases))]
    for grey in body.channels:
        ends = (
            f"0.5 % {grey.low}, 99.5 % {grey.high}" if grey.low is not None else "percentiles not told: too few cases"
        )
        rows.append((f"{grey.channel}, {grey.n} cases", f"mean {grey.mean}, standard deviation {grey.sd}, {ends}"))
    for name, each in zip(inputs, body.inputs, strict=True):
        said = f"mean {each.mean}, standard deviation {each.sd}" if each.n else "not told: too few rows"
        rows.append((f"{name}, {each.n} rows" if each.n else name, said))
    if body.inputs:
        return rows
    for what, axes in (("spacing in mm", body.spacing), ("size in voxels", body.shape)):
        rows += [(f"{what}, axis {axis}", _cells(lengths)) for axis, lengths in enumerate(axes, start=1)]
    for share in body.classes:
        voxels = f", {share.voxels} voxels" if share.voxels not in (None, "0") else ""
        rows.append((f"class {share.label}", "not told" if share.cases is None else f"{share.cases} cases{voxels}"))
    return rows


def _cells(lengths: bodies_fingerprint.Lengths) -> str:
    def ends(cell: bodies_fingerprint.Cell) -> str:
        first, last = (f"{numbers.STEP**number:.3g}" for number in (cell.first, cell.last))
        return first if cell.first == cell.last else f"{first} to {last}"

    words = [f"{ends(cell)}: {cell.count}" for cell in lengths.cells]
    words += [f"not told: {lengths.untold}"] if lengths.untold else []
    return "; ".join(words) or "unknown"


def _grey(name: str, grey: Grey) -> bodies_fingerprint.Grey:
    ends = {"mean": grey.mean, "sd": grey.sd, "low": grey.low, "high": grey.high}
    return bodies_fingerprint.Grey(channel=name, n=grey.n, **_texts(f"channel {name}", grey, ends))  # type: ignore[arg-type]


def _input(number: int, grey: Grey) -> bodies_fingerprint.Input:
    texts = _texts(f"input {number}", grey, {"mean": grey.mean, "sd": grey.sd})
    return bodies_fingerprint.Input(n=grey.n, **texts)  # type: ignore[arg-type]


def _texts(what: str, grey: Grey, ends: Mapping[str, float | None]) -> dict[str, str | None]:
    """Decimals of a statement, which have nine places and few digits before them. Raises FedmedError FM-NRM-03."""
    texts = {key: None if value is None else bodies.decimal(value) for key, value in ends.items()}
    for key, value in ends.items():
        is_told = value is None or (
            abs(value) < numbers.LARGEST and abs(float(texts[key] or 0) - value) <= 1e-4 * grey.sd
        )
        if not is_told:
            raise FedmedError("FM-NRM-03", f"{what}: a {key} of {value:.3g}, expected 1e-5 to 1e15 or 0")
    return texts


def _axes(axes: Axes) -> list[bodies_fingerprint.Lengths]:
    return [
        bodies_fingerprint.Lengths(
            cells=[
                bodies_fingerprint.Cell(first=each.first, last=each.last, count=each.count) for each in lengths.cells
            ],
            untold=lengths.untold,
        )
        for lengths in axes
    ]


def _say(site: Site, consent: Approved, body: bodies_fingerprint.DataFingerprint, now: datetime) -> Known:
    federation = consent.agreement.federation

    def build(opening: Opening, payload: list[predicates.Payload], _: list[statement.Subject]) -> statement.Statement:
        predicate = predicates.FingerprintPredicate(
            **opening.fields(),
            kind="fingerprint",
            federation=federation.membership,
            recipients=[federation.coordinator()],
            ack=site.workspace.record.last_from("coordinator"),
            payload=payload,
            body=body,
        )
        return statement.make("fingerprint", statement.about("fingerprint", federation.digest), predicate)

    looked = outgoing.guarded(site, consent, build)
    readers = federation.readers(COORDINATOR, site.workspace.name)
    return sealing.say(site.workspace, "train-local", "fingerprint", None, [], looked, now, readers=readers)
