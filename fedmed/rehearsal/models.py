"""What no federation could do, and a rehearsal can, because it owns all data: one model from everybody's cases, and
every model scored on the test cases of all hospitals.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fedmed import files, pooling
from fedmed import preprocessing as fitting
from fedmed.cases import datalist, encoding
from fedmed.cases.splits import HELD_OUT
from fedmed.learning import params, shapes
from fedmed.recipe import Imaging, Rowwise
from fedmed.rehearsal import acts
from fedmed.site import alone, desk, memory, own, preprocessing, results, rounds, tune

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.cases.case import Case
    from fedmed.cases.splits import Fold
    from fedmed.exchange.record import Known
    from fedmed.learning.params import Params
    from fedmed.preprocessing import Preprocessing
    from fedmed.rehearsal.acts import Setting
    from fedmed.site.desk import Approved, Site
    from fedmed.site.results import Scored

GLOBAL, PERSONAL, POOLED = "global", "personal", "pooled"
COMMON = (GLOBAL, PERSONAL, POOLED)  # the models that are not one hospital's alone
EVERYWHERE = "all"


@dataclass(frozen=True)
class Row:
    """One metric of one model on one hospital's test cases, or on those of all. `value` is None where undefined."""

    model: str
    site: str
    metric: str
    n: int
    value: float | None
    sd: float | None


def alone_of(name: str) -> str:
    """What the local-only model of a site is called in a table."""
    return f"{name} alone"


def train_pooled(setting: Setting) -> int:
    """All training cases in one place, for as many rounds as were played and as many steps a round as the sites take
    together; returns those steps. Without the noise of `dp`, as where nothing has to leave.

    Kept after each round, so that a killed run goes on.
    """
    from fedmed.training import devices, fit  # noqa: PLC0415 - torch, only when there is work

    sites = _sites(setting)
    consent = desk.require_approved(sites[0])
    lists = [datalist.load(site.cases_file) for site in sites]
    root, cases = _together(sites, [datalist.cases(each, "training") for each in lists])
    steps = sum(rounds.steps(consent, each) for each in lists)
    files.make_private(_pooled_file(setting, 0).parent)
    disk = rounds.cached(_pooled_file(setting, 0).parent, sites[0].settings.cache_bytes)
    played = acts.open_round(setting)
    for round_ in range(played):
        target = _pooled_file(setting, round_ + 1)
        if target.exists():
            continue
        start = _pooled(setting, consent, round_) if round_ else _first(sites[0], consent)
        fitted = fit.fit(
            consent.recipe.model_copy(update={"dp": None}), start, cases, root=root, label_map={}, site=POOLED,
            round=round_, rounds=setting.rounds,
            attempt=1, num_steps=steps, device=devices.pick("auto"), checkpoint=target.with_suffix(".checkpoint"),
            preprocessing=_pooled_numbers(sites, consent), disk=disk,
        )  # fmt: skip
        files.write_atomic(target, params.to_payload(fitted.params, consent.table), mode=0o600)
        target.with_suffix(".checkpoint").unlink(missing_ok=True)
    return steps * played


def score(setting: Setting, model: str) -> list[Row]:
    """One model on every hospital's test cases, on all of them together, and on a hospital that took no part.

    A threshold is chosen on validation cases.
    """
    sites = _sites(setting)
    consent = desk.require_approved(sites[0])
    everything: dict[Fold, list[Scored]] = {"validation": [], "testing": []}
    for site in sites:
        weights, numbers = _weights(setting, consent, site, model), _numbers(sites, consent, site, model)
        for fold, scored in everything.items():
            cases = datalist.cases(datalist.load(site.cases_file), fold)
            scored.append(_scored(site, consent, cases, weights, numbers))
    above = results.thresholds(_joined(everything["validation"]), consent.recipe)
    shares = [*zip(setting.names, everything["testing"], strict=True), (EVERYWHERE, _joined(everything["testing"]))]
    if setting.held_out is not None and model != PERSONAL:  # who took no part has none
        shares.append((HELD_OUT, _held_out(setting, consent, sites, model)))
    found = []
    for name, shown in shares:
        for row in results.rows("global", shown, consent.recipe, len(shown) + 1, above):
            mean, sd = (None if text is None else float(text) for text in (row.mean, row.sd))
            found.append(Row(model, name, row.metric, row.n, mean, sd))
    return found


def _scored(
    site: Site, consent: Approved, cases: Sequence[Case], weights: Params, numbers: Preprocessing | None
) -> Scored:
    from fedmed.training import devices, scoring  # noqa: PLC0415 - torch, only when there is work

    labelling = desk.labelling(site, consent.recipe)
    return scoring.evaluate(
        consent.recipe, weights, cases, root=site.data_root, label_map=labelling.label_map, absent=labelling.absent,
        device=devices.pick("auto"), preprocessing=numbers,
    )  # fmt: skip


def _held_out(setting: Setting, consent: Approved, sites: Sequence[Site], model: str) -> Scored:
    """On the cases of the hospital that took no part, with the settings of another one."""
    folder = sites[0].data.model_copy(update={"root": str(setting.held_out_data)})
    visited = replace(sites[0], settings=sites[0].settings.model_copy(update={"data": folder}))
    cases = datalist.cases(datalist.load(cast("Path", setting.held_out)), "testing")
    weights, numbers = _weights(setting, consent, sites[0], model), _numbers(sites, consent, sites[0], model)
    return _scored(visited, consent, cases, weights, numbers)


def _numbers(sites: Sequence[Site], consent: Approved, site: Site, model: str) -> Preprocessing | None:
    """The fitted numbers that cases of `site` go through before `model` sees them."""
    return _pooled_numbers(sites, consent) if model == POOLED else preprocessing.current(site)


def _pooled_numbers(sites: Sequence[Site], consent: Approved) -> Preprocessing | None:
    """What cases go through when all are in one place: the federation's numbers, else fitted on everybody's training
    cases, where the recipe has sites fit their own.
    """
    if consent.preprocessing is not None:
        return consent.preprocessing
    lists = [datalist.cases(datalist.load(site.cases_file), "training") for site in sites]
    if isinstance(consent.recipe, Rowwise):
        return encoding.fitted([case for part in lists for case in part], consent.recipe.data)
    if not isinstance(consent.recipe, Imaging) or consent.recipe.data.normalisation != "site":
        return None
    kept = sites[0].workspace.root.parent / POOLED / "preprocessing.json"
    if kept.exists():
        return fitting.from_bytes(files.read_bounded(kept, fitting.MAX_BYTES), kept.name)
    from fedmed.cases import fingerprint as measuring  # noqa: PLC0415 - image libraries, only when there is work

    root, cases = _together(sites, lists)
    found = pooling.fitted(measuring.measure(cases, consent.recipe, root, {}), consent.recipe)
    files.write_atomic(kept, found.to_bytes(), mode=0o600)
    return found


def _joined(parts: Sequence[Scored]) -> Scored:
    return cast("Scored", [each for part in parts for each in part])


def _weights(setting: Setting, consent: Approved, site: Site, model: str) -> Params:
    """The weights of `model` as they are used at `site`."""
    if model == POOLED:
        return _pooled(setting, consent, acts.open_round(setting))
    if model in (GLOBAL, PERSONAL):
        last = _last(site)
        cases = datalist.load(site.cases_file)
        remembered = memory.load(site, consent, last.round_number)
        common = own.entering(desk.model_params(site, consent, last), remembered)
        if model == GLOBAL:
            return common
        return tune.personal(site, consent, cases, last, common, remembered)
    owner = next(name for name in setting.names if alone_of(name) == model)
    weights = alone.newest(desk.peek(setting.site(owner)), consent)
    if weights is None:
        raise ValueError("the local-only model is missing")
    return weights


def _sites(setting: Setting) -> list[Site]:
    return [desk.peek(setting.site(name)) for name in setting.names]


def _last(site: Site) -> Known:
    last = site.workspace.record.newest("model")
    if last is None or not last.last:
        raise ValueError("the last model has not arrived")
    return last


def _first(site: Site, consent: Approved) -> Params:
    first = site.workspace.record.model(0)
    if first is None:
        raise ValueError("model r0 has not arrived")
    return desk.model_params(site, consent, first)


def _together(sites: Sequence[Site], parts: Sequence[Sequence[Case]]) -> tuple[Path, list[Case]]:
    """The cases of all sites below one root; hospitals with folders of their own are told apart by them."""
    root = Path(os.path.commonpath([site.data_root for site in sites]))
    cases = []
    for site, part in zip(sites, parts, strict=True):
        place = site.data_root.relative_to(root)
        for case in part:
            image = {name: tuple((place / path).as_posix() for path in group) for name, group in case.image.items()}
            label = (place / case.label).as_posix() if isinstance(case.label, str) else case.label
            cases.append(replace(case, image=image, label=label))
    return root, cases


def _pooled_file(setting: Setting, round_: int) -> Path:
    return setting.folder / POOLED / f"r{round_:04d}.safetensors"


def _pooled(setting: Setting, consent: Approved, round_: int) -> Params:
    data = files.read_bounded(_pooled_file(setting, round_), shapes.payload_size(consent.table))
    return params.from_payload(data, consent.table)
