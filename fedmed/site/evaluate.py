"""`evaluate` at a site: score the newest model, and the local-only one beside it, and seal a report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from fedmed import files, recipe
from fedmed.cases import datalist
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, archived, artifact, bodies, bodies_reports, predicates, sealing, statement
from fedmed.exchange.federation import COORDINATOR
from fedmed.learning import params
from fedmed.site import (
    alone,
    compared,
    desk,
    ditto,
    memory,
    outgoing,
    own,
    preprocessing,
    promised,
    results,
    rounds,
    tune,
    worst,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.learning.params import Params
    from fedmed.reporting.hurt import Hurt
    from fedmed.site.desk import Approved, Site
    from fedmed.site.ratings import Thresholds
    from fedmed.site.results import Scored
    from fedmed.site.tune import Tuned
    from fedmed.training.localisation import Located

Split = Literal["validation", "testing"]
MODELS: tuple[bodies_reports.ModelName, ...] = ("global", "personal", "alone")


@dataclass(frozen=True)
class Evaluated:
    """The sealed report. `case_table` has the scores of single cases by alias, and `worst` shows images that a model
    pointed into: both stay in this workspace. `tuned` says what became of fine-tuning: the model `personal` is the
    tuned one where that was kept, else the global one. `is_to_tune`: the recipe asks for it, and it was not done.
    `hurt`: whether this hospital's own model, or an earlier one on the validation cases, is better than the global one.
    `promises`: how private the training was, and what masking does not give.
    """

    round: int
    last: bool
    split: Split
    is_new: bool
    body: bodies_reports.Report
    posted: Path
    case_table: Path
    arrivals: list[Arrival] = field(default_factory=list)
    worst: Path | None = None
    tuned: Tuned | None = None
    is_to_tune: bool = False
    hurt: list[Hurt] = field(default_factory=list)
    promises: list[str] = field(default_factory=list)


def evaluate(
    root: Path, now: datetime, split: Split, device: str, progress: Callable[[str, int, int], None]
) -> Evaluated:
    """A second call finds its report. Each opening of the test fold is in the ledger and counted in the report.

    Raises FedmedError FM-TRU-07, FM-WAI-02, FM-USE-02 (test fold before the last model), FM-DAT-*, FM-STA-*, FM-TRN-05.
    """
    with desk.opened(root, now) as site:
        consent = desk.require_approved(site)
        agreement.require_valid(site.workspace, consent.agreement, now)
        consent, arrivals = desk.receive(site, consent, now, "evaluate")
        model = desk.newest_model(site, arrivals)
        last = model.last
        if split == "testing" and not last:
            raise FedmedError(
                "FM-USE-02", f"the test fold is for the last model, and this is that of round {model.round}"
            )
        cases = rounds.require_cases(site, consent)
        preprocessing.require(site, consent, cases, progress)
        local_only, tuned = alone.newest(site, consent), tune.verdict(site, consent, cases, model) if last else None
        remembered = memory.load(site, consent, model.round_number)
        has_personal = tuned is not None or ditto.PART in remembered
        wanted = {"global", *(["alone"] if local_only else []), *(["personal"] if has_personal else [])}

        def told(body: bodies_reports.Report, known: Known, *, is_new: bool, picture: Path | None = None) -> Evaluated:
            return Evaluated(
                round=model.round_number,
                last=last,
                split=split,
                is_new=is_new,
                body=body,
                posted=sealing.post(site.workspace, known),
                case_table=table,
                arrivals=arrivals,
                worst=picture,
                tuned=tuned,
                is_to_tune=last and tuned is None and consent.recipe.training.fine_tune_steps > 0,
                hurt=compared.hurt_by(site, consent, model, body),
                promises=promised.in_report(site, consent, model),
            )

        table = root / "reports" / f"cases-r{model.round_number:04d}-{split}.csv"
        found = _earlier(site, model, split, cases, wanted)
        if found is not None:
            return told(found[1], found[0], is_new=False)
        if not datalist.entries_of(cases, split):
            raise FedmedError("FM-DAT-45", f"cases.json: no case in the {split} fold")
        folds: list[Split] = [split, "validation"] if _needs_thresholds(consent, split) else [split]
        rounds.require_ready(site, cases, folds, device, progress)
        opening = _open_fold(site, split, now)
        common = own.for_scores(consent, model.round_number, desk.model_params(site, consent, model), remembered)
        models = {"global": common, **({"alone": local_only} if local_only else {})}
        if has_personal:
            models["personal"] = tune.personal(site, consent, cases, model, common, remembered)
        scored = {fold: _score(site, consent, cases, fold, models, device, progress) for fold in folds}
        above = {name: results.thresholds(rated, consent.recipe) for name, rated in scored[folds[-1]].items()}
        _note_thresholds(site, models, consent, above, now)
        body = _body(consent, cases, split, opening, scored[split], above)
        files.write_atomic(table, results.case_table(scored[split], consent.recipe), mode=0o600)
        picture = _picture(site, consent, cases, split, scored[split]["global"], model.round_number)
        _bind(site, cases, now)
        return told(body, _say(site, consent, model, body, now), is_new=True, picture=picture)


def _picture(
    site: Site, consent: Approved, cases: datalist.Datalist, split: Split, scored: Scored, round_: int
) -> Path | None:
    """Where the model points worst. Of validation cases alone: who looks at test cases tunes on them."""
    if not isinstance(consent.recipe, recipe.Localisation) or split != "validation":
        return None
    path = site.workspace.root / "reports" / f"worst-r{round_:04d}.png"
    title = f"model r{round_:04d}, validation images it points into worst"
    seen = datalist.cases(cases, split), site.data_root, consent.recipe, site.settings.label_map
    located = cast("Sequence[Located]", scored)
    files.write_atomic(path, worst.sheet(located, *seen, preprocessing.current(site), title), mode=0o600)
    return path


def _needs_thresholds(consent: Approved, split: Split) -> bool:
    """A classifier's thresholds are chosen on the validation fold, never on the fold that is reported."""
    return isinstance(consent.recipe, recipe.Classifying) and split != "validation"


def _score(
    site: Site,
    consent: Approved,
    cases: datalist.Datalist,
    fold: Split,
    models: dict[str, Params],
    device: str,
    progress: Callable[[str, int, int], None],
) -> dict[str, Scored]:
    """A model that is the global one is not scored twice."""
    found: dict[str, Scored] = {}
    for name, weights in models.items():
        told = _of(name, progress)
        is_common = name != "global" and weights is models["global"]
        found[name] = (
            found["global"]
            if is_common
            else rounds.score(site, consent, cases, fold, weights, device=device, progress=told)
        )
    return found


def _note_thresholds(
    site: Site, models: dict[str, Params], consent: Approved, above: dict[str, Thresholds], now: datetime
) -> None:
    """Who uses a model later needs the thresholds that were chosen with these very weights."""
    for name, chosen in above.items():
        weights = artifact.sha256(params.to_payload(models[name], consent.table)) if chosen else ""
        for label, value in chosen.items():
            facts = {"model": name, "weights": weights, "label": label, "threshold": bodies.decimal(value)}
            site.workspace.write_entry("evaluate", "note", now, what="threshold", **facts)


def _of(model: str, progress: Callable[[str, int, int], None]) -> Callable[[int, int], None]:
    return lambda done, total: progress(f"scoring the {model} model", done, total)


def _earlier(
    site: Site, model: Known, split: Split, cases: datalist.Datalist, wanted: set[str]
) -> tuple[Known, bodies_reports.Report] | None:
    """A report on this model and fold, of the same cases, label map and fitted numbers, that says all it can: of every
    model `wanted`.
    """
    for known in reversed(site.workspace.record.of("report", sender=site.workspace.name, round=model.round)):
        body = archived.read_archived(site.workspace, known.id).predicate.body
        if isinstance(body, bodies_reports.Report) and body.split == split:
            says_all = wanted <= {score.model for score in body.told.scores}
            return (known, body) if says_all and _bound(site, known.seq) == rounds.binding(site, cases) else None
    return None


def _bind(site: Site, cases: datalist.Datalist, now: datetime) -> None:
    """Write down what the next statement was scored with: before it is sealed, so that no kill parts the two."""
    facts = rounds.binding(site, cases)
    site.workspace.write_entry("evaluate", "note", now, what="scored", seq=site.workspace.record.next_seq, **facts)


def _bound(site: Site, seq: int) -> dict[str, str | None]:
    """The binding of statement `seq`, the last one that was written for its number; empty for a report without one."""
    for _, facts in reversed(site.workspace.record.notes):
        if (facts.get("what"), facts.get("seq")) == ("scored", seq):
            return {name: facts.get(name) for name in ("data", "label_map", "preprocessing")}
    return {}


def _open_fold(site: Site, split: Split, now: datetime) -> int:
    """How often the test fold has been opened, this time included; 0 for validation."""
    if split == "validation":
        return 0
    site.workspace.write_entry("evaluate", "note", now, what="test-fold-opened")
    return sum(1 for _, facts in site.workspace.record.notes if facts.get("what") == "test-fold-opened")


def _body(
    consent: Approved,
    cases: datalist.Datalist,
    split: Split,
    opening: int,
    scored: dict[str, Scored],
    above: dict[str, Thresholds],
) -> bodies_reports.Report:
    min_count, chosen = consent.agreement.federation.body.limits.min_count, consent.recipe
    models: list[bodies_reports.ModelName] = [name for name in MODELS if name in scored]
    return bodies_reports.Report(
        split=split,
        opening=opening,
        facts=bodies_reports.ReportFacts(
            num_cases=cases.header.counts[split],
            scores=[row for name in models for row in results.rows(name, scored[name], chosen, min_count, above[name])],
            curves=[curve for name in models for curve in results.curves(name, scored[name], chosen, min_count)],
            frocs=[froc for name in models for froc in results.frocs(name, scored[name], chosen, min_count)],
            exclusions=rounds.exclusions(cases),
        ),
    )


def _say(site: Site, consent: Approved, model: Known, body: bodies_reports.Report, now: datetime) -> Known:
    federation = consent.agreement.federation

    def build(opening: Opening, payload: list[predicates.Payload], _: list[statement.Subject]) -> statement.Statement:
        predicate = predicates.ReportPredicate(
            **opening.fields(),
            kind="report",
            federation=federation.under(model),
            recipients=[federation.coordinator()],
            round=model.round_number,
            attempt=1,
            ack=site.workspace.record.last_from("coordinator"),
            base_model=model.payload,
            payload=payload,
            body=body,
        )
        return statement.make("report", statement.about("report", model.payload), predicate)

    looked = outgoing.guarded(site, consent, build)
    readers = federation.readers(COORDINATOR, site.workspace.name)
    return sealing.say(site.workspace, "evaluate", "report", model.round, [], looked, now, readers=readers)
