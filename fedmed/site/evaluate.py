"""`evaluate` at a site: score the newest model, and the local-only one beside it, and seal a report."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fedmed import files
from fedmed.cases import datalist
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, bodies, intake, sealing, statement
from fedmed.site import alone, desk, rounds, scores, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.site.desk import Approved, Site
    from fedmed.training.metrics import CaseScores

Split = Literal["validation", "testing"]


@dataclass(frozen=True)
class Evaluated:
    """The sealed report. `case_table` has the scores of single cases by alias: it stays in this workspace."""

    round: int
    last: bool
    split: Split
    is_new: bool
    body: bodies.Report
    posted: Path
    case_table: Path
    arrivals: list[Arrival] = field(default_factory=list)


def evaluate(
    root: Path, now: datetime, split: Split, device: str, progress: Callable[[str, int, int], None]
) -> Evaluated:
    """A second call finds its report. Each opening of the test fold is in the ledger and counted in the report.

    Raises FedmedError FM-TRU-07, FM-WAI-02, FM-USE-02 (test fold before the last model), FM-DAT-*.
    """
    with desk.opened(root, now) as site:
        consent = desk.require_approved(site)
        agreement.require_valid(site.workspace, consent.agreement, now)
        arrivals = intake.receive_all(site.workspace, desk.terms(consent), now, "evaluate")
        model = desk.newest_model(site, arrivals)
        last = model.round == consent.agreement.federation.body.limits.rounds
        if split == "testing" and not last:
            raise FedmedError(
                "FM-USE-02", f"the test fold is for the last model, and this is that of round {model.round}"
            )
        cases = rounds.require_cases(site, consent)
        local_only = alone.newest(site, consent)
        table = root / "reports" / f"cases-r{model.round_number:04d}-{split}.csv"
        found = _earlier(site, model, split, cases, wants_alone=local_only is not None)
        if found is not None:
            posted = sealing.post(site.workspace, found[0])
            return Evaluated(model.round_number, last, split, False, found[1], posted, table, arrivals)
        if not datalist.entries_of(cases, split):
            raise FedmedError("FM-DAT-45", f"cases.json: no case in the {split} fold")
        rounds.require_ready(site, cases, (split,), device, progress)
        opening = _open_fold(site, split, now)
        models = {"global": desk.model_params(site, consent, model), **({"alone": local_only} if local_only else {})}
        scored = {
            name: rounds.score(site, consent, cases, split, weights, device=device, progress=_of(name, progress))
            for name, weights in models.items()
        }
        body = _body(consent, cases, split, opening, scored)
        files.write_atomic(table, _case_table(scored), mode=0o600)
        _bind(site, cases, now)
        known = _say(site, consent, model, body, now)
        return Evaluated(
            model.round_number, last, split, True, body, sealing.post(site.workspace, known), table, arrivals
        )


def _of(model: str, progress: Callable[[str, int, int], None]) -> Callable[[int, int], None]:
    return lambda done, total: progress(f"scoring the {model} model", done, total)


def _earlier(
    site: Site, model: Known, split: Split, cases: datalist.Datalist, *, wants_alone: bool
) -> tuple[Known, bodies.Report] | None:
    """A report on this model and fold, of these cases and this label map, that says all that can be said now."""
    for known in reversed(site.workspace.record.of("report", sender=site.workspace.name, round=model.round)):
        body = sealing.read_archived(site.workspace, known.id).predicate.body
        if isinstance(body, bodies.Report) and body.split == split:
            has_alone = any(score.model == "alone" for score in body.scores)
            says_all = has_alone or not wants_alone
            return (known, body) if says_all and _bound(site, known.seq) == _binding(site, cases) else None
    return None


def _bind(site: Site, cases: datalist.Datalist, now: datetime) -> None:
    """Write down what the next statement was scored with: before it is sealed, so that no kill parts the two."""
    facts = _binding(site, cases)
    site.workspace.write_entry("evaluate", "note", now, what="scored", seq=site.workspace.record.next_seq, **facts)


def _bound(site: Site, seq: int) -> dict[str, str]:
    """The binding of statement `seq`, the last one that was written for its number; empty for a report without one."""
    for _, facts in reversed(site.workspace.record.notes):
        if (facts.get("what"), facts.get("seq")) == ("scored", seq):
            return {name: facts[name] for name in ("data", "label_map")}
    return {}


def _binding(site: Site, cases: datalist.Datalist) -> dict[str, str]:
    return {"data": datalist.digest(cases), "label_map": rounds.label_map_digest(site)}


def _open_fold(site: Site, split: Split, now: datetime) -> int:
    """How often the test fold has been opened, this time included; 0 for validation."""
    if split == "validation":
        return 0
    site.workspace.write_entry("evaluate", "note", now, what="test-fold-opened")
    return sum(1 for _, facts in site.workspace.record.notes if facts.get("what") == "test-fold-opened")


def _body(
    consent: Approved, cases: datalist.Datalist, split: Split, opening: int, scored: dict[str, list[CaseScores]]
) -> bodies.Report:
    min_count = consent.agreement.federation.body.limits.min_count
    found = scores.rows("global", scored["global"], consent.recipe, min_count)
    if "alone" in scored:
        found += scores.rows("alone", scored["alone"], consent.recipe, min_count)
    return bodies.Report(
        split=split,
        opening=opening,
        num_cases=len(scored["global"]),
        scores=found,
        exclusions=train.exclusions(cases),
    )


def _say(site: Site, consent: Approved, model: Known, body: bodies.Report, now: datetime) -> Known:
    federation = consent.agreement.federation

    def build(opening: Opening, payload: list[statement.Payload], _: list[statement.Subject]) -> statement.Statement:
        predicate = statement.ReportPredicate(
            **opening.fields(),
            kind="report",
            federation=federation.membership,
            recipients=[federation.coordinator()],
            round=model.round_number,
            attempt=1,
            ack=site.workspace.record.last_from("coordinator"),
            base_model=model.payload,
            payload=payload,
            body=body,
        )
        return statement.make("report", statement.about("report", model.payload), predicate)

    return sealing.say(site.workspace, "evaluate", "report", model.round, [], build, now)


def _case_table(scored: dict[str, list[CaseScores]]) -> bytes:
    """CSV, one line a model, case, label and metric; an undefined value is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "case", "label", "metric", "value", "missed", "spurious", "empty"])
    for model, cases in scored.items():
        for case in cases:
            for row in case.rows:
                value = "" if row.value is None else f"{row.value:.6f}"
                flags = (int(row.missed), int(row.spurious), int(row.empty))
                writer.writerow([model, case.case, row.label, row.metric, value, *flags])
    return text.getvalue().encode()
