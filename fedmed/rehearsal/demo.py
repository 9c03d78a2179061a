"""`demo`: the sample hospitals form a federation in a folder, through the same files and functions as real ones."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.cases import datalist
from fedmed.coordinator import admit, aggregate, found, start
from fedmed.coordinator import evaluate as pool
from fedmed.errors import FedmedError
from fedmed.site import alone, approve, desk, evaluate, join, partition, train
from fedmed.training import devices, metrics, networks

if TYPE_CHECKING:
    from collections.abc import Callable

RECIPE = "tumour-segmentation-mr.small.yaml"
TASK = "mr-tumour"
ROUNDS = 10


@dataclass(frozen=True)
class Row:
    """Mean Dice of one hospital's own model and of the global one: on its own test cases, and on those of all."""

    site: str
    n: int
    alone: float
    federated: float
    alone_everywhere: float
    federated_everywhere: float


@dataclass(frozen=True)
class Shown:
    """The table at the end, and where a reader can go on by hand."""

    rows: list[Row]
    workspaces: list[Path]


def run(out: Path, say: Callable[[str], None], progress: Callable[[str, int, int], None]) -> Shown:
    """Raises FedmedError FM-SET-04 when `out` holds an earlier demo."""
    folder, data = out / TASK, shipped("sample_data") / TASK
    coordinator = folder / "coordinator"
    names = sorted(path.name for path in data.iterdir() if path.is_dir())
    say(f"a coordinator and {len(names)} hospitals in {folder}; no formal privacy guarantee, min_count 1")
    _found(folder, data, names, say)
    for round_ in range(ROUNDS):
        for name in names:
            train.train(folder / name, _now(), train.Options(), _named(name, progress))
        carry(folder, names)
        made = aggregate.aggregate(coordinator, _now())
        dice = next((row.mean for row in made.pooled if row.metric == "dice"), None)
        before = f"; model r{round_:04d} had Dice {float(dice):.3f} on the validation cases" if dice else ""
        say(f"round {round_}: {', '.join(f'{p.site} {float(p.share):.2f}' for p in made.parents)}{before}")
        carry(folder, names)
    for name in names:
        alone.train_alone(folder / name, _now(), "", _named(name, progress))
        evaluate.evaluate(folder / name, _now(), "testing", "", _named(name, progress))
    carry(folder, names)
    table = pool.evaluate(coordinator, _now(), "testing")
    return Shown(_rows(folder, names, table), [coordinator, *(folder / name for name in names)])


def _found(folder: Path, data: Path, names: list[str], say: Callable[[str], None]) -> None:
    """init, admit, start, approve, partition."""
    coordinator = folder / "coordinator"
    found.init(
        coordinator,
        shipped("recipes") / RECIPE,
        _now(),
        title="tumours, a rehearsal",
        rounds=ROUNDS,
        min_sites=len(names),
        min_count=1,
    )
    for name in names:
        join.init(folder / name, name, data / name, _now())
        # invented patients: with a fixed key the folds, and so the table at the end, repeat from run to run
        key = hashlib.sha256(f"rehearsal {name}".encode()).digest()
        files.write_atomic(folder / name / "keys" / "pseudonym.key", key, mode=0o600)
    carry(folder, names)
    admit.admit(coordinator, sorted((coordinator / "inbox").glob("join-*.fedmed")), _now())
    started = start.start(coordinator, networks.initial_params, _now())
    carry(folder, names)
    for name in names:
        approve.approve(folder / name, _now(), by="the rehearsal", ask=lambda _: started.fingerprint)
        parted = partition.partition(folder / name, _now())
        share = parted.shares[0].counts
        left_out = ", ".join(f"{count} excluded by {code}" for code, count in parted.excluded.items())
        say(
            f"{name}: {share['training']} training, {share['validation']} validation, {share['testing']} test cases"
            + (f"; {left_out}" if left_out else "")
        )


def carry(folder: Path, names: list[str]) -> None:
    """The USB stick: copy every outbox into the inboxes of the other side."""
    outbox = folder / "coordinator" / "outbox"
    for name in names:
        _copy(folder / name / "outbox", folder / "coordinator" / "inbox")
        _copy(outbox, folder / name / "inbox")


def _copy(source: Path, target: Path) -> None:
    for path in sorted(source.glob("*.fedmed")):
        if not (target / path.name).exists():
            part = target / f"{path.name}.part"
            shutil.copyfile(path, part)
            part.rename(target / path.name)


def shipped(name: str) -> Path:
    """A folder that comes with fedmed: in the wheel, or at the top of a checkout."""
    inside = Path(str(resources.files("fedmed"))) / name
    folder = inside if inside.is_dir() else Path(str(resources.files("fedmed"))).parent / name
    if not folder.is_dir():
        raise FedmedError(
            "FM-SET-01", f"{name}: not shipped with this installation", next="run fedmed demo in a checkout of fedmed"
        )
    return folder


def _rows(folder: Path, names: list[str], table: pool.PooledTable) -> list[Row]:
    """The reports' numbers; and, as nobody could in earnest, each hospital's own model on the others' test cases."""
    own = {}
    for report in table.reports:
        scores = {s.model: s.mean for s in report.body.scores if (s.metric, s.label) == ("dice", "all")}
        own[report.site] = (report.body.num_cases, _number(scores["alone"]), _number(scores["global"]))
    count = sum(n for n, _, _ in own.values())
    federated = sum(n * dice for n, _, dice in own.values()) / count
    sites = {name: desk.peek(folder / name) for name in names}
    return [Row(name, *own[name], _everywhere(sites[name], list(sites.values())), federated) for name in names]


def _everywhere(owner: desk.Site, sites: list[desk.Site]) -> float:
    """Mean Dice of `owner`'s local-only model over the test cases of all hospitals."""
    consent = desk.require_approved(owner)
    weights = alone.newest(owner, consent)
    if weights is None:
        raise ValueError("the local-only model is missing")
    values = []
    for site in sites:
        cases = datalist.cases(datalist.load(site.cases_file), "testing")
        scored = metrics.evaluate(
            consent.recipe, weights, cases, root=site.data_root, label_map={}, device=devices.pick("auto")
        )
        values += [score.value or 0.0 for case in scored for score in case.rows if score.metric == "dice"]
    return sum(values) / len(values)


def _number(mean: str | None) -> float:
    return float(mean or "nan")


def _named(name: str, progress: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
    return lambda what, done, total: progress(f"{name}: {what}", done, total)


def _now() -> datetime:
    return datetime.now(UTC)
