"""`demo`: the sample hospitals form federations in a folder, through the same files and functions as real ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed import recipe
from fedmed.errors import FedmedError
from fedmed.promises import NO_GUARANTEE
from fedmed.rehearsal import acts, models, simulate
from fedmed.rehearsal.acts import Setting
from fedmed.rehearsal.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedmed.rehearsal.models import Row as Scored


@dataclass(frozen=True)
class Task:
    """One of the sample federations."""

    name: str
    recipe: str
    rounds: int
    title: str


TASKS = (
    Task("mr-tumour", "tumour-segmentation-mr.small.yaml", 10, "tumours, a rehearsal"),
    Task("xray-fracture", "fracture-classification-xray.small.yaml", 15, "fractures, a rehearsal"),
)


@dataclass(frozen=True)
class Row:
    """The task's first metric of one hospital's own model and of the global one: on its own test cases, and on those
    of all hospitals. None where it is undefined.
    """

    site: str
    n: int
    alone: float | None
    federated: float | None
    alone_everywhere: float | None
    federated_everywhere: float | None


@dataclass(frozen=True)
class Shown:
    """One task's table, and where a reader can go on by hand."""

    task: str
    metric: str
    rows: list[Row]
    workspaces: list[Path]


def run(out: Path, say: Callable[[str], None], progress: Callable[[str, int, int], None]) -> list[Shown]:
    """Raises FedmedError FM-SET-04 when `out` holds an earlier demo."""
    settings = [_setting(out, task) for task in TASKS]
    for setting in settings:
        if setting.coordinator.exists():
            message = "a demo was begun here; nothing was changed"
            raise FedmedError("FM-SET-04", message, next="fedmed demo ANOTHER-FOLDER")
    later: list[str] = []  # what the second task says is shown behind the first, which is told as it goes
    telling: list[Callable[[str], None]] = [say, later.append]
    with (
        Crew(at_once=sum(len(setting.names) for setting in settings)) as crew,
        ThreadPoolExecutor(len(settings)) as threads,
    ):
        plays = zip(settings, TASKS, telling, strict=True)
        futures = [threads.submit(_play, setting, task, crew, tell, progress) for setting, task, tell in plays]
        try:
            shown = [future.result() for future in futures]
        except BaseException:
            crew.stop()
            raise
    for line in later:
        say(line)
    return shown


def _setting(out: Path, task: Task) -> Setting:
    data = shipped("sample_data") / task.name
    hospitals = {path.name: path for path in sorted(data.iterdir()) if path.is_dir()}
    return Setting(out / task.name, shipped("recipes") / task.recipe, hospitals, task.rounds, task.title)


def _play(
    setting: Setting,
    task: Task,
    crew: Crew,
    say: Callable[[str], None],
    progress: Callable[[str, int, int], None],
) -> Shown:
    names, done = setting.names, 0
    total = len(names) * (setting.rounds + recipe.load(setting.recipe).data.pools + 3) + 1

    def step() -> None:
        nonlocal done
        done += 1
        progress(task.name, done, total)

    say(f"a coordinator and {len(names)} hospitals in {setting.folder}; {NO_GUARANTEE}, min_count 1")
    crew.run(acts.begin, setting)
    rows = [(setting, name) for name in names]
    for name, header in zip(names, crew.each(acts.partition, rows, lambda: None), strict=True):
        left_out = "".join(f"; {count} excluded by {code}" for code, count in header.excluded.items())
        counts = header.counts
        shares = f"{counts['training']} training, {counts['validation']} validation, {counts['testing']} test cases"
        say(f"{name}: {shares}{left_out}")
    metric = recipe.load(setting.recipe).evaluation.metrics[0]
    simulate.play(setting, crew, step, lambda made: say(simulate.told(made, metric)))
    crew.each(acts.train_alone, rows, step)
    crew.each(acts.report, rows, step)
    crew.run(acts.pool_reports, setting)
    shown = [models.GLOBAL, *map(models.alone_of, names)]
    scored = [row for found in crew.each(models.score, [(setting, each) for each in shown], step) for row in found]
    workspaces = [setting.coordinator, *map(setting.site, names)]
    return Shown(task.name, metric, [_row(name, metric, scored) for name in names], workspaces)


def _row(name: str, metric: str, scored: list[Scored]) -> Row:
    def of(model: str, site: str) -> Scored:
        return next(row for row in scored if (row.model, row.site, row.metric) == (model, site, metric))

    alone = models.alone_of(name)
    own, everywhere = of(models.GLOBAL, name), models.EVERYWHERE
    return Row(
        name,
        own.n,
        of(alone, name).value,
        own.value,
        of(alone, everywhere).value,
        of(models.GLOBAL, everywhere).value,
    )


def shipped(name: str) -> Path:
    """A folder that comes with fedmed: in the wheel, or at the top of a checkout."""
    inside = Path(str(resources.files("fedmed"))) / name
    folder = inside if inside.is_dir() else Path(str(resources.files("fedmed"))).parent / name
    if not folder.is_dir():
        raise FedmedError(
            "FM-SET-01", f"{name}: not shipped with this installation", next="run fedmed demo in a checkout of fedmed"
        )
    return folder
