"""From a survey of the data folder to the report of `check`: the funnel, every finding with its remedy, and the folds.

What `partition` would do with the same folder is tried here, and what it would stop at is in the report.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fedmed import __version__, recipe
from fedmed.cases import datalist, find, identifiers, splits
from fedmed.errors import CODES, FedmedError
from fedmed.exchange import statement
from fedmed.reporting.check import Count, Funnel, Identifiers, Refusal, Report, Row, Told

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fedmed.cases.case import Case
    from fedmed.cases.datalist import Datalist
    from fedmed.cases.find import Found, Judged, Judgement, Survey
    from fedmed.recipe import Recipe

ORDER = ("error", "exclude", "warn")
REPAIR = "repair the cases that are excluded, by the page's list, or move them out of the data folder"
SHORT: dict[splits.Fold, str] = {"training": "train", "validation": "val", "testing": "test"}


def report_of(
    seen: Survey,
    chosen: Recipe,
    absent: frozenset[int],
    before: Datalist | None,
    now: datetime,
    *,
    show_ids: bool,
) -> Report:
    """Everything a person needs to see of a survey, with the split that `partition` would make.

    `absent` classes are expected of no case; patients keep the folds that they have in `before`.
    """
    found = seen.found()
    members, fault = _divided(found, chosen, before)
    whole = [*seen.folder, *find.judge_folds(members, chosen, absent)]
    refusal = _refusal(seen, whole, found, chosen, fault)
    folds = {fold: [case.case for case in members[fold]] for fold in splits.FOLDS}
    fold_of = {case: SHORT[fold] for fold, members_ in folds.items() for case in members_}
    rows = tuple(_row(each, fold_of, show_ids=show_ids) for each in seen.studies)
    statuses = Counter(row.status for row in rows)
    return Report(
        recipe=chosen.name,
        digest=recipe.digest(chosen),
        version=__version__,
        made=statement.to_time(now),
        funnel=_funnel(seen, folds),
        statuses={status: statuses[status] for status in ("ok", "warn", "excluded", "error")},
        counts=_counts(seen, whole),
        folder=tuple(_told(one) for one in whole),
        notes=tuple(seen.notes),
        ignored=dict(sorted(seen.ignored.items())),
        identifiers=_identifiers(seen),
        refusal=refusal,
        rows=rows,
    )


def _divided(
    found: Found, chosen: Recipe, before: Datalist | None
) -> tuple[dict[splits.Fold, list[Case]], FedmedError | None]:
    """The folds that `partition` would make, or empty ones and why it would make none."""
    try:
        cases = datalist.build(found, chosen, before)
    except FedmedError as error:
        return {fold: [] for fold in splits.FOLDS}, error
    return {fold: datalist.cases(cases, fold) for fold in splits.FOLDS}, None


def _refusal(
    seen: Survey, whole: list[Judgement], found: Found, chosen: Recipe, fault: FedmedError | None
) -> Refusal | None:
    """What `partition` would stop at first."""
    try:
        find.refuse_errors(seen.judgements)
        find.check_limit(found, chosen.data.max_excluded)
        if fault:
            raise fault
        find.refuse_errors(whole)
    except FedmedError as error:
        is_told_here = error.code in ("FM-DAT-08", "FM-DAT-09")  # elsewhere their remedy is to run this command
        return Refusal(error.code, error.message, REPAIR if is_told_here else error.next)
    return None


def _funnel(seen: Survey, folds: Mapping[splits.Fold, list[str]]) -> Funnel:
    facts = [each.examined.facts for each in seen.studies]
    counts = {fold: len(cases) for fold, cases in folds.items()}
    return Funnel(
        found=len(facts),
        readable=sum(each.readable for each in facts),
        labelled=sum(each.labelled for each in facts),
        used=sum(counts.values()),
        training=counts["training"],
        validation=counts["validation"],
        testing=counts["testing"],
    )


def _row(each: Judged, fold_of: Mapping[str, str], *, show_ids: bool) -> Row:
    alias = each.examined.alias
    return Row(
        case=alias,
        patient=each.case.patient if each.case else "",
        fold=fold_of.get(alias, ""),
        status=each.status,
        findings=tuple(_told(one) for one in each.judgements),
        files=each.examined.paths if show_ids else (),
    )


def _told(one: Judgement) -> Told:
    return Told(one.code, one.severity, one.part, one.message, CODES[one.code].remedy)


def _counts(seen: Survey, whole: list[Judgement]) -> tuple[Count, ...]:
    """By code, the gravest first."""
    cases: Counter[tuple[str, str]] = Counter()
    for each in seen.studies:
        cases.update({(one.severity, one.code) for one in each.judgements})
    cases.update({(one.severity, one.code): 0 for one in whole})
    ordered = sorted(cases, key=lambda key: (ORDER.index(key[0]), -cases[key], key[1]))
    return tuple(
        Count(code, severity, cases[severity, code], CODES[code].meaning, CODES[code].remedy)
        for severity, code in ordered
    )


def _identifiers(seen: Survey) -> Identifiers:
    trace = identifiers.together(each.examined.facts.trace for each in seen.studies)
    return Identifiers(**trace.model_dump())
