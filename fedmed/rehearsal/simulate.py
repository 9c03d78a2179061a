"""`simulate`: a federation of virtual sites, several times with other seeds, beside local-only and pooled training."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from fedmed import files, recipe
from fedmed.cases import splits
from fedmed.errors import FedmedError
from fedmed.rehearsal import acts, models, summary
from fedmed.rehearsal.acts import Setting
from fedmed.rehearsal.crew import Crew
from fedmed.rehearsal.models import Row
from fedmed.site import virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fedmed.cases.case import ShiftKind
    from fedmed.coordinator.aggregate import Aggregated
    from fedmed.rehearsal.summary import Summary

DIVIDED = "parts/done"
FEW = 4  # numbers of fingerprints that are told in a line
HELD = f"{splits.HELD_OUT}/cases.json"


@dataclass(frozen=True)
class Plan:
    """What to simulate. With `how` folders each folder below `data` is a hospital of its own; else `data` is divided
    among virtual sites, anew for each seed. Seeds are the recipe's, its successor, and so on. What `leave_out` names
    takes no part: every model is scored on its cases at the end.
    """

    recipe: Path
    data: Path
    how: virtual.How = "iid"
    sites: int | None = None
    sizes: Sequence[float] | None = None
    alpha: float | None = None
    by: str = ""
    leave_out: str = ""
    shift: ShiftKind | None = None
    strength: float = 0.5
    rounds: int = 10
    seeds: int = 3
    baselines: bool = True


def run(plan: Plan, out: Path, say: Callable[[str], None], progress: Callable[[str, int, int], None]) -> Summary:
    """Goes on where it was killed; a second call with the same plan finds everything done.

    Raises FedmedError FM-SET-04 when `out` holds another simulation, FM-RCP-*, FM-DAT-*, FM-USE-01.
    """
    chosen = recipe.load(plan.recipe)
    if not plan.data.is_dir():
        raise FedmedError("FM-DAT-04", "--data: expected a folder", next="correct --data", local=str(plan.data))
    _check_left_out(plan, chosen)
    names = len(virtual.hospitals(plan.data)) if plan.how == "folders" else plan.sites or 8
    _bind(plan, chosen, out)
    seeds = [chosen.seed + number for number in range(plan.seeds)]
    with (
        Crew(names * plan.seeds, images=isinstance(chosen, recipe.Imaging)) as crew,
        ThreadPoolExecutor(len(seeds)) as threads,
    ):
        tell = _Progress(progress, plan, chosen)
        futures = [threads.submit(_one_seed, plan, chosen, out, seed, crew, tell, say) for seed in seeds]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            crew.stop()  # or the other seeds would work on for hours before anybody hears of it
            raise
        found = [future.result() for future in futures]
    return summary.of(chosen, dict(zip(seeds, found, strict=True)), rounds=plan.rounds, out=out)


def _check_left_out(plan: Plan, chosen: recipe.Recipe) -> None:
    """Raises FedmedError FM-USE-01 or FM-DAT-42 before anything is trained."""
    if not plan.leave_out:
        return
    if own := _of_each_hospital(chosen):
        raise FedmedError("FM-USE-01", f"--leave-out: a hospital that takes no part has no {own} of its own")
    if plan.how == "folders":
        virtual.check_left_out(list(virtual.hospitals(plan.data)), plan.leave_out)


def _of_each_hospital(chosen: recipe.Recipe) -> str:
    """What a model needs beside its weights that a hospital learns from its own training cases."""
    if getattr(chosen.network, "batch_norm", "") == "local":
        return "batch norm"
    if chosen.training.personal == "head":
        return "last layer"
    if getattr(chosen.data, "normalisation", "") == "site":
        return "numbers to normalise by (normalisation: site)"
    gaps = isinstance(chosen, recipe.Rowwise) and chosen.data.imputation in ("median", "mean") and not chosen.data.pools
    return "numbers to fill gaps with (imputation)" if gaps else ""


def _bind(plan: Plan, chosen: recipe.Recipe, out: Path) -> None:
    """The folder belongs to one plan, once hospitals were made. More seeds may be asked for later: those that are
    there are kept.
    """
    facts = {**dataclasses.asdict(plan), "recipe": recipe.digest(chosen), "data": str(plan.data.resolve())}
    text = json.dumps({name: value for name, value in facts.items() if name not in ("seeds", "baselines")}, indent=1)
    path = out / "plan.json"
    if path.exists() and path.read_text("utf-8") == text:
        return
    if any(any(out.glob(f"seed-*/{made}")) for made in (DIVIDED, "coordinator")):
        next_ = "choose another --out, or repeat the simulation with the options it was begun with"
        raise FedmedError("FM-SET-04", "another simulation is here; nothing was changed", next=next_)
    if not path.exists() and out.exists() and any(each.name != "plan.json.part" for each in out.iterdir()):
        raise FedmedError("FM-SET-04", "the folder is not empty; nothing was changed", next="choose another --out")
    files.make_private(out)
    files.write_atomic(path, text.encode())


class _Progress:
    """How many acts of how many are done, over all seeds; each thread counts up."""

    def __init__(self, progress: Callable[[str, int, int], None], plan: Plan, chosen: recipe.Recipe) -> None:
        self._progress, self._lock, self._plan = progress, threading.Lock(), plan
        exchanges = plan.rounds + chosen.data.pools
        self._done, self._of_seed, self._trainings = 0, 0, exchanges + (chosen.training.fine_tune_steps > 0)
        self._models = 1 + chosen.training.makes_personal

    def sites(self, count: int) -> None:
        """Known once the first seed is divided; every seed has the same number of acts."""
        per_site = self._trainings + 1 + (2 if self._plan.baselines else 0)  # rounds, report, alone and its score
        self._of_seed = max(self._of_seed, count * per_site + self._models + (2 if self._plan.baselines else 0))

    def seed_done(self) -> None:
        """A seed that an earlier run ended."""
        self.done(self._of_seed)

    def done(self, acts_: int = 1) -> None:
        with self._lock:
            self._done += acts_
            total = self._of_seed * self._plan.seeds
            self._progress("simulating", min(self._done, total), total)


def _one_seed(
    plan: Plan, chosen: recipe.Recipe, out: Path, seed: int, crew: Crew, tell: _Progress, say: Callable[[str], None]
) -> list[Row]:
    folder = out / f"seed-{seed}"
    finished = folder / f"rows{'-with-baselines' if plan.baselines else ''}.json"
    if finished.exists():
        rows = [Row(**row) for row in json.loads(finished.read_text("utf-8"))]
        tell.sites(len({row.site for row in rows} - {models.EVERYWHERE, splits.HELD_OUT}))
        tell.seed_done()
        return rows
    setting = _setting(plan, chosen, folder, seed, crew)
    tell.sites(len(setting.names))
    crew.run(acts.begin, setting)
    crew.each(acts.partition, [(setting, name) for name in setting.names], lambda: None)
    metric = chosen.evaluation.metrics[0]
    play(setting, crew, tell.done, lambda made: say(f"seed {seed}, {told(made, metric)}"))
    shown = [models.GLOBAL, *([models.PERSONAL] if chosen.training.makes_personal else [])]
    if plan.baselines:
        work: list[tuple[Any, ...]] = [(acts.train_alone, setting, name) for name in setting.names]
        crew.each(_act, [(models.train_pooled, setting), *work], tell.done)
        shown += [models.POOLED, *map(models.alone_of, setting.names)]
    crew.each(acts.report, [(setting, name) for name in setting.names], tell.done)
    crew.run(acts.pool_reports, setting)
    rows = [row for found in crew.each(models.score, [(setting, name) for name in shown], tell.done) for row in found]
    files.write_atomic(finished, json.dumps([vars(row) for row in rows], indent=1).encode())
    return rows


def _act(act: Callable[..., Any], *args: Any) -> Any:
    """Acts of different kinds side by side."""
    return act(*args)


def play(setting: Setting, crew: Crew, done: Callable[[], None], tell: Callable[[Aggregated], None]) -> None:
    """Round by round to the last model, fingerprints first where the recipe asks for them; rounds that a killed run
    played are not played again.
    """
    played = crew.run(acts.open_round, setting) + recipe.load(setting.recipe).data.pools
    for _ in range(played * len(setting.names)):
        done()
    while not crew.run(acts.is_over, setting):
        acts.carry(setting)
        if order := crew.run(acts.order, setting):
            _lap(setting, crew, order, done)
        else:
            crew.each(acts.train_local, [(setting, name) for name in setting.names], done)
        tell(crew.run(acts.combine, setting))
    acts.carry(setting)
    for _ in range((setting.rounds - crew.run(acts.open_round, setting)) * len(setting.names)):
        done()  # what an early stop saved
    if recipe.load(setting.recipe).training.fine_tune_steps:
        crew.each(acts.train_local, [(setting, name) for name in setting.names], done)


def _lap(setting: Setting, crew: Crew, order: Sequence[str], done: Callable[[], None]) -> None:
    """One hospital after another, each from what the one before left."""
    for name in order:
        if name != order[0]:
            crew.run(acts.hand_on, setting)
        crew.run(acts.train_local, setting, name)
        done()


def told(made: Aggregated, metric: str) -> str:
    """A round in a line: what each site counted, and how good the model before was on the validation cases."""
    if made.numbers:
        more = [f"and {len(made.numbers) - FEW} more"] if len(made.numbers) > FEW else []
        return "fingerprints: " + "; ".join([*(f"{name}: {words}" for name, words in made.numbers[:FEW]), *more])
    shares = ", ".join(parent.site + (f" {float(parent.share):.2f}" if parent.share else "") for parent in made.parents)
    first = next((row for row in made.pooled if row.metric == metric and row.mean is not None), None)
    before = f"; model r{made.round - 1:04d} had {first.metric} {float(first.mean or 0):.3f}" if first else ""
    odd = "".join(f"; {ack.site}: {ack.reason}" for ack in made.acks if ack.reason)
    return f"round {made.round - 1}: {shares}{before}{' on the validation cases' if first else ''}{odd}"


def _setting(plan: Plan, chosen: recipe.Recipe, folder: Path, seed: int, crew: Crew) -> Setting:
    """The recipe with this seed, and the hospitals: folders of their own, or virtual sites divided by this seed."""
    files.make_private(folder)
    own_recipe = folder / "recipe.yaml"
    text = yaml.safe_dump({**json.loads(recipe.to_bytes(chosen)), "seed": seed}, sort_keys=False)
    files.write_atomic(own_recipe, text.encode())
    title = f"{chosen.name}, a simulation"
    parts = folder / "parts"
    if not (folder / DIVIDED).exists() and (plan.how != "folders" or plan.leave_out):
        shutil.rmtree(parts, ignore_errors=True)  # a division that was killed may have been another one
        divide = (plan, own_recipe, parts, seed)
        if plan.seeds == 1:
            _divide(*divide)  # meanwhile the crew loads torch
        else:
            crew.run(_divide, *divide)
        files.write_atomic(folder / DIVIDED, b"")
    held = parts / HELD if plan.leave_out else None
    if plan.how == "folders":
        found = virtual.hospitals(plan.data)
        root = found.pop(plan.leave_out, None)
        return Setting(folder, own_recipe, found, plan.rounds, title, held_out=held, held_out_data=root)
    cases = {path.parent.name: path for path in sorted(parts.glob("site-*/cases.json"))}
    hospitals = dict.fromkeys(cases, plan.data)
    return Setting(folder, own_recipe, hospitals, plan.rounds, title, cases, held, plan.data)


def _divide(plan: Plan, own_recipe: Path, parts: Path, seed: int) -> None:
    if plan.how == "folders":
        virtual.held_out(plan.data / plan.leave_out, own_recipe, (parts / HELD).parent, seed=seed)
        return
    virtual.virtual_sites(
        plan.data,
        own_recipe,
        parts,
        how=plan.how,
        sites=plan.sites,
        sizes=plan.sizes,
        alpha=plan.alpha,
        by=plan.by,
        leave_out=plan.leave_out,
        shift=plan.shift,
        strength=plan.strength,
        seed=seed,
    )
