"""`train-local` behind the last model: fine-tune it on this hospital's training cases, and keep what came of it only
where the hospital's own validation cases say so.

Fine-tuning is the cheapest gain where hospitals differ, and it can hurt (Wang et al. 2019, arXiv:1910.10252; FLamby, du
Terrail et al. 2022, has both). The tuned weights stay in state/personal/ and never leave; the test fold is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, bodies
from fedmed.learning import params, shapes
from fedmed.recipe import Survival
from fedmed.recipe_training import Schedule
from fedmed.reporting import statistics
from fedmed.site import desk, ditto, memory, own, preprocessing, results, rounds
from fedmed.site.agenda import TUNED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from fedmed.cases.datalist import Datalist
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.learning.params import Params
    from fedmed.recipe import Recipe
    from fedmed.site.desk import Approved, Site


@dataclass(frozen=True)
class Tuned:
    """What became of the last model on this site's validation cases: `received` and `tuned`, over all labels.

    `why` says what decided, for people. `is_new` is false when it had been tuned before.
    """

    round: int
    num_steps: int
    is_kept: bool
    why: str
    received: list[bodies.Metric]
    tuned: list[bodies.Metric]
    is_new: bool
    arrivals: list[Arrival] = field(default_factory=list)


@dataclass(frozen=True)
class Judged:
    """A model on the validation fold: metrics over all labels, and the loss where single cases have one."""

    metrics: list[bodies.Metric]
    loss: float | None


def tune(
    site: Site,
    consent: Approved,
    model: Known,
    arrivals: list[Arrival],
    device: str,
    now: datetime,
    progress: Callable[[str, int, int], None],
) -> Tuned:
    """Of the last model `model`; safe to repeat, and killed it goes on. Without validation cases nothing is trained, as
    nothing could be kept. Raises FedmedError as training and scoring do.
    """
    cases = rounds.require_cases(site, consent)
    preprocessing.require(site, consent, cases, progress)
    path, found = _path(site, cases, model), verdict(site, consent, cases, model)
    checkpoint = path.with_suffix(".checkpoint")
    if found is not None and (not found.is_kept or _kept(site, consent, cases, model) is not None):
        checkpoint.unlink(missing_ok=True)  # a command was killed behind its note
        return _with(found, arrivals)
    if not cases.validation:
        nothing = Tuned(model.round_number, 0, False, "nothing, having no case", [], [], True, arrivals)
        return _noted(site, cases, model, nothing, "", now)
    rounds.require_ready(site, cases, ("training", "validation"), device, progress)
    remembered = memory.load(site, consent, model.round_number)
    start = own.for_scores(consent, model.round_number, desk.model_params(site, consent, model), remembered)
    files.make_private(path.parent)
    fitted = rounds.train_round(
        site, consent, cases, model.round_number, start, checkpoint=checkpoint, device=device,
        chosen=tuning(consent.recipe), progress=lambda step, total: progress("tuning", step, total),
    )  # fmt: skip
    before, after = (_judged(site, consent, cases, each, device, progress) for each in (start, fitted.params))
    is_kept, why = compared(consent.recipe, before, after)
    payload = params.to_payload(fitted.params, consent.table)
    if is_kept:
        files.write_atomic(path, payload, mode=0o600)
    made = Tuned(model.round_number, fitted.num_steps, is_kept, why, before.metrics, after.metrics, True, arrivals)
    _noted(site, cases, model, made, artifact.sha256(payload), now)
    checkpoint.unlink(missing_ok=True)
    return made


def _noted(site: Site, cases: Datalist, model: Known, made: Tuned, digest: str, now: datetime) -> Tuned:
    """Write down what was decided, behind the weights that it is about: a kill between the two repeats the work."""
    plain = {name: [row.model_dump(mode="json") for row in getattr(made, name)] for name in ("received", "tuned")}
    facts = {"steps": made.num_steps, "kept": made.is_kept, "why": made.why, "weights": digest, **plain}
    site.workspace.write_entry("train-local", "note", now, what=TUNED, **_binding(site, cases, model), **facts)
    return made


def tuning(recipe: Recipe) -> Recipe:
    """The recipe of fine-tuning: `fine_tune_steps` at a constant rate, every layer at once, held by nothing."""
    training = recipe.training
    rate = training.fine_tune_lr or training.optimizer.client_lr
    changed = {
        "local_steps": training.fine_tune_steps,
        "local_epochs": None,
        "optimizer": training.optimizer.model_copy(update={"client_lr": rate}),
        "schedule": Schedule(),
        "proximal_mu": 0.0,
        "head_steps": 0,
    }
    return recipe.model_copy(update={"training": training.model_copy(update=changed)})


def compared(recipe: Recipe, before: Judged, after: Judged) -> tuple[bool, str]:
    """Whether what was tuned is better, and why: by the recipe's first metric, and where that is the same or undefined
    by the loss. A survival is judged by its loss: of a fold with few events the C-index moves in steps.
    """
    metric = recipe.evaluation.metrics[0]
    old, new = (_value(each, metric) for each in (before, after))
    by_metric = not isinstance(recipe, Survival) and old is not None and new is not None and old != new
    if old is not None and new is not None and by_metric:
        is_better = new < old if metric in statistics.LOWER_IS_BETTER else new > old
        return is_better, f"{metric} {new:.4f} instead of {old:.4f}"
    if before.loss is not None and after.loss is not None:
        return after.loss < before.loss, f"loss {after.loss:.4f} instead of {before.loss:.4f}"
    return False, "nothing to tell them apart by"


def verdict(site: Site, consent: Approved, cases: Datalist, model: Known) -> Tuned | None:
    """What was decided about this model, with these cases, label map and fitted numbers; None where nothing was."""
    facts = _facts(site, consent, cases, model)
    if facts is None:
        return None
    received, tuned = ([bodies.Metric(**row) for row in facts[each]] for each in ("received", "tuned"))
    return Tuned(model.round_number, facts["steps"], facts["kept"], facts["why"], received, tuned, False)


def weights(site: Site, consent: Approved, cases: Datalist, model: Known) -> Params | None:
    """The tuned weights where they were kept. Raises FedmedError FM-PER-02 where they are gone or damaged."""
    found = verdict(site, consent, cases, model)
    if found is None or not found.is_kept:
        return None
    kept = _kept(site, consent, cases, model)
    if kept is None:
        raise FedmedError("FM-PER-02", "state/personal: expected the weights that were kept, whole")
    return kept


def personal(
    site: Site, consent: Approved, cases: Datalist, model: Known, common: Params, remembered: Mapping[str, Params]
) -> Params:
    """The model of this site's own: the tuned weights where they were kept, Ditto's, or the `common` ones as they are
    used here. Raises FedmedError FM-PER-02.
    """
    return weights(site, consent, cases, model) or remembered.get(ditto.PART, common)


def _facts(site: Site, consent: Approved, cases: Datalist, model: Known) -> dict[str, Any] | None:
    if not consent.recipe.training.fine_tune_steps:
        return None
    wanted = {"what": TUNED, **_binding(site, cases, model)}
    notes = (facts for _, facts in reversed(site.workspace.record.notes))
    return next((facts for facts in notes if {name: facts.get(name) for name in wanted} == wanted), None)


def _binding(site: Site, cases: Datalist, model: Known) -> dict[str, str | None]:
    return {**rounds.binding(site, cases), "model": model.payload}


def _path(site: Site, cases: Datalist, model: Known) -> Path:
    names = [str(value)[:16] for value in _binding(site, cases, model).values() if value]
    return site.workspace.root / "state" / "personal" / f"{'-'.join(names)}.safetensors"


def _kept(site: Site, consent: Approved, cases: Datalist, model: Known) -> Params | None:
    facts = _facts(site, consent, cases, model)
    try:
        data = files.read_bounded(_path(site, cases, model), shapes.payload_size(consent.table))
    except OSError:
        return None
    is_whole = facts is not None and artifact.sha256(data) == facts["weights"]
    return params.from_payload(data, consent.table) if is_whole else None


def _judged(
    site: Site,
    consent: Approved,
    cases: Datalist,
    found: Params,
    device: str,
    progress: Callable[[str, int, int], None],
) -> Judged:
    from fedmed.training import scoring  # noqa: PLC0415 - torch, only when there is work

    scored = rounds.score(
        site, consent, cases, "validation", found, device=device,
        progress=lambda done, total: progress("validating", done, total),
    )  # fmt: skip
    return Judged(results.overall(scored, consent.recipe), scoring.loss(consent.recipe, scored))


def _value(judged: Judged, metric: str) -> float | None:
    text = next((row.mean for row in judged.metrics if row.metric == metric), None)
    return None if text is None else float(text)


def _with(found: Tuned, arrivals: list[Arrival]) -> Tuned:
    return Tuned(**{**vars(found), "arrivals": arrivals})
