"""Work on this hospital's cases, with torch: one round of training, one scoring, for federation and baseline alike."""

from __future__ import annotations

import platform
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

from fedmed import __version__, recipe
from fedmed import preprocessing as preprocessings
from fedmed.cases import content, datalist
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, bodies, bodies_roster, canonical, workspace
from fedmed.learning import params
from fedmed.site import desk, preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fedmed.cases.datalist import Datalist
    from fedmed.cases.splits import Fold
    from fedmed.learning.params import Params
    from fedmed.recipe import Recipe
    from fedmed.site.desk import Approved, Site
    from fedmed.site.results import Scored
    from fedmed.training.cache import Cache
    from fedmed.training.dp_sgd import Mechanism
    from fedmed.training.fit import Fitted

MAX_LOSS = 1e12  # far above any loss, and few enough digits for a statement


def require_cases(site: Site, consent: Approved) -> Datalist:
    """Raises FedmedError FM-DAT-43 before `partition`, FM-DAT-44 when it was made for another recipe."""
    if not site.cases_file.exists():
        raise FedmedError("FM-DAT-43", "cases.json: not written yet")
    cases = datalist.load(site.cases_file)
    if cases.header.recipe != recipe.digest(consent.recipe):
        raise FedmedError("FM-DAT-44", "cases.json: made with another recipe than the federation's")
    return cases


def require_ready(
    site: Site, cases: Datalist, folds: Sequence[Fold], device: str, progress: Callable[[str, int, int], None]
) -> None:
    """Once per command, before the hours of work: the device is there, and the data are those of `partition`.

    Raises FedmedError FM-USE-01, FM-RES-03, FM-DAT-04, -15, -16, -46, FM-TAB-01, -02.
    """
    from fedmed.training import devices  # noqa: PLC0415 - torch, only when there is work

    devices.pick(device or site.settings.device)
    used = [case for fold in folds for case in datalist.cases(cases, fold)]
    told = partial(progress, "checking the data")
    content.check(used, site.data_root, told, site.data.layout.table)


def label_map_digest(site: Site) -> str:
    """`label_map` in an update: which numbers of this hospital were learned as which classes, and which classes were
    left out as `absent`.
    """
    numbers = sorted(map(list, site.settings.label_map.items()))
    absent = sorted(set(site.settings.absent))
    return artifact.sha256(canonical.encode([numbers, absent] if absent else numbers))


def binding(site: Site, cases: Datalist) -> dict[str, str | None]:
    """What a result of this hospital depends on beside the recipe and the weights."""
    fitted = preprocessings.digest_of(preprocessing.current(site))
    return {"data": datalist.digest(cases), "label_map": label_map_digest(site), "preprocessing": fitted}


def exclusions(cases: Datalist) -> list[bodies.Exclusion]:
    return [bodies.Exclusion(code=code, count=count) for code, count in sorted(cases.header.excluded.items())]


def versions() -> list[bodies_roster.Version]:
    """The software that made the numbers. No host, no user, no path."""
    packages = {name: metadata.version(name) for name in ("monai", "numpy", "torch")}
    found = {"fedmed": __version__, "python": platform.python_version(), **packages}
    return [bodies_roster.Version(name=name, version=version.lower()) for name, version in sorted(found.items())]


def require_sane(weights: Params, what: str) -> Params:
    """What `weights` hold could be sealed. Raises FedmedError FM-TRN-01: every receiver would refuse it."""
    if not all(map(params.are_finite, weights.values())):
        raise FedmedError("FM-TRN-01", f"training: {what}: expected no number beyond {params.MAX_MAGNITUDE:.0e}")
    return weights


def steps(consent: Approved, cases: Datalist) -> int:
    """Optimiser steps of one round."""
    return consent.recipe.training.num_steps(len(cases.training))


def cached(root: Path, limit: int) -> Cache | None:
    """Where the workspace at `root` keeps prepared cases; None where `limit` is 0 bytes."""
    from fedmed.training import cache  # noqa: PLC0415 - torch, only when there is work

    return cache.Cache(root / workspace.CACHE, limit) if limit else None


def train_round(
    site: Site,
    consent: Approved,
    cases: Datalist,
    round_: int,
    start: Params,
    *,
    correction: Params | None = None,
    anchor: Params | None = None,
    mechanism: Mechanism | None = None,
    checkpoint: Path,
    device: str,
    progress: Callable[[int, int], None],
    chosen: Recipe | None = None,
) -> Fitted:
    """Train from `start`, going on from `checkpoint` if it fits, by the federation's recipe or by `chosen`;
    `correction`, `anchor` and `mechanism` as in `fit`.

    Raises FedmedError FM-TRN-*, FM-RES-*, FM-DAT-*.
    """
    from fedmed.training import devices, fit  # noqa: PLC0415 - torch and monai, only when there is work

    labelling, chosen = desk.labelling(site, consent.recipe), chosen or consent.recipe
    fitted = fit.fit(
        chosen,
        start,
        datalist.cases(cases, "training"),
        root=site.data_root,
        label_map=labelling.label_map,
        absent=labelling.absent,
        site=site.workspace.name,
        round=round_,
        rounds=consent.agreement.federation.body.limits.rounds,
        attempt=1,
        num_steps=chosen.training.num_steps(len(cases.training)),
        device=devices.pick(device or site.settings.device),
        preprocessing=preprocessing.current(site),
        correction=correction,
        anchor=anchor,
        mechanism=mechanism,
        num_workers=site.settings.num_workers,
        disk=cached(site.workspace.root, site.settings.cache_bytes),
        checkpoint=checkpoint,
        checkpoint_minutes=site.settings.checkpoint_minutes,
        progress=lambda step, total, _loss: progress(step, total),
    )
    if not abs(fitted.train_loss) < MAX_LOSS:
        loss = f"the mean loss is {fitted.train_loss:.3g}"
        raise FedmedError("FM-TRN-01", f"training: {loss}, expected below {MAX_LOSS:.0e}")
    require_sane(fitted.params, "the weights")
    return fitted


def score(
    site: Site,
    consent: Approved,
    cases: Datalist,
    fold: Fold,
    weights: Params,
    *,
    device: str,
    progress: Callable[[int, int], None],
) -> Scored:
    """Score `weights` on a fold. Raises FedmedError FM-DAT-*, FM-RES-*."""
    from fedmed.training import devices, scoring  # noqa: PLC0415 - torch and monai, only when there is work

    labelling = desk.labelling(site, consent.recipe)
    return scoring.evaluate(
        consent.recipe,
        weights,
        datalist.cases(cases, fold),
        root=site.data_root,
        label_map=labelling.label_map,
        absent=labelling.absent,
        device=devices.pick(device or site.settings.device),
        preprocessing=preprocessing.current(site),
        disk=cached(site.workspace.root, site.settings.cache_bytes),
        progress=progress,
    )
