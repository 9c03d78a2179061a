"""Work on this hospital's cases, with torch: one round of training, one scoring, for federation and baseline alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed import recipe
from fedmed.cases import datalist
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedmed.cases.datalist import Datalist
    from fedmed.cases.splits import Fold
    from fedmed.learning.params import Params
    from fedmed.site.desk import Approved, Site
    from fedmed.training.fit import Fitted
    from fedmed.training.metrics import CaseScores


def require_cases(site: Site, consent: Approved) -> Datalist:
    """Raises FedmedError FM-DAT-43 before `partition`, FM-DAT-44 when it was made for another recipe."""
    if not site.cases_file.exists():
        raise FedmedError("FM-DAT-43", "cases.json: not written yet")
    cases = datalist.load(site.cases_file)
    if cases.header.recipe != recipe.digest(consent.recipe):
        raise FedmedError("FM-DAT-44", "cases.json: made with another recipe than the federation's")
    return cases


def steps(consent: Approved, cases: Datalist) -> int:
    """Optimiser steps of one round."""
    from fedmed.training import fit  # noqa: PLC0415 - torch, only when there is work

    return fit.local_steps(consent.recipe, len(cases.training))


def train_round(
    site: Site,
    consent: Approved,
    cases: Datalist,
    round_: int,
    start: Params,
    *,
    checkpoint: Path,
    device: str,
    progress: Callable[[int, int], None],
) -> Fitted:
    """Train from `start`, going on from `checkpoint` if it fits. Raises FedmedError FM-TRN-*, FM-RES-*, FM-DAT-*."""
    from fedmed.training import devices, fit  # noqa: PLC0415 - torch and monai, only when there is work

    return fit.fit(
        consent.recipe,
        start,
        datalist.cases(cases, "training"),
        root=site.data_root,
        label_map=site.settings.label_map,
        site=site.workspace.name,
        round=round_,
        rounds=consent.agreement.federation.body.limits.rounds,
        attempt=1,
        num_steps=steps(consent, cases),
        device=devices.pick(device or site.settings.device),
        num_workers=site.settings.num_workers,
        checkpoint=checkpoint,
        checkpoint_minutes=site.settings.checkpoint_minutes,
        progress=lambda step, total, _loss: progress(step, total),
    )


def score(
    site: Site,
    consent: Approved,
    cases: Datalist,
    fold: Fold,
    weights: Params,
    *,
    device: str,
    progress: Callable[[int, int], None],
) -> list[CaseScores]:
    """Score `weights` on a fold. Raises FedmedError FM-DAT-*, FM-RES-*."""
    from fedmed.training import devices, metrics  # noqa: PLC0415 - torch and monai, only when there is work

    return metrics.evaluate(
        consent.recipe,
        weights,
        datalist.cases(cases, fold),
        root=site.data_root,
        label_map=site.settings.label_map,
        device=devices.pick(device or site.settings.device),
        progress=progress,
    )
