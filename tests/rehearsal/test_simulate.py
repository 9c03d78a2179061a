"""A simulation keeps to its plan, goes on where it was, and refuses options that it would ignore."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import pytest
from typer.testing import CliRunner

from fedmed import files
from fedmed.cli import app
from fedmed.errors import FedmedError
from fedmed.rehearsal import models, simulate
from fedmed.rehearsal.crew import Crew
from fedmed.rehearsal.simulate import Plan
from tests import small
from tests.coded import code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Inline:
    """A crew of this process alone; `acts` are the names of what was done."""

    acts: list[str] = []  # noqa: RUF012

    def __init__(self, at_once: int, *, images: bool = True) -> None:
        """As many at once as there are: one."""

    def run(self, act: Callable[..., Any], *args: Any) -> Any:
        self.acts.append(act.__name__)
        return act(*args)

    def each(self, act: Callable[..., Any], rows: Sequence[tuple[Any, ...]], done: Callable[[], None]) -> list[Any]:
        found = []
        for row in rows:
            self.acts.append(row[0].__name__ if act is simulate._act else act.__name__)
            found.append(act(*row))
            done()
        return found

    def stop(self) -> None:
        """Nothing runs beside this."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    Inline.acts = []
    monkeypatch.setattr(simulate, "Crew", Inline)
    return Inline.acts


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA/north and DATA/south: hospitals with folders of their own."""
    root = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(("north", "south")):
        small.write_hospital(root / name, seed=seed)
    (root / ".hidden").mkdir()
    return root


@pytest.fixture
def plan(folders: Path, tmp_path: Path) -> Plan:
    training = {**small.RECIPE["training"], "local_steps": 1}
    recipe = small.write_recipe(tmp_path / "recipe.yaml", training=training)
    return Plan(recipe, folders, how="folders", rounds=1, seeds=1, baselines=False)


def run(plan: Plan, out: Path) -> Any:
    told: list[tuple[int, int]] = []
    found = simulate.run(plan, out, lambda _: None, lambda _, done, total: told.append((done, total)))
    return found, told


@pytest.mark.slow
def test_folders_are_hospitals_and_what_is_there_is_not_done_again(plan: Plan, tmp_path: Path, acts: list[str]) -> None:
    out = tmp_path / "out"
    found, told = run(plan, out)
    assert (found.sites, found.models, found.seeds, found.rounds) == (["north", "south"], [models.GLOBAL], [7], 1)
    assert told[-1][0] == told[-1][1] == len(told), "progress ends at its total"
    assert acts.count("train_local") == 2
    first = (out / "results.json").read_bytes()

    acts.clear()
    run(plan, out)
    assert acts == []
    assert (out / "results.json").read_bytes() == first

    with_baselines, told = run(dataclasses.replace(plan, baselines=True), out)
    assert with_baselines.models[:3] == [models.GLOBAL, models.POOLED, "local-only, mean"]
    assert "train_local" not in acts, "the rounds are played"
    assert (acts.count("train_alone"), acts.count("train_pooled"), acts.count("report")) == (2, 1, 2)
    for metric in with_baselines.metrics:
        assert with_baselines.cell(models.GLOBAL, "north", metric) == found.cell(models.GLOBAL, "north", metric)
    sent = {path.name: path.read_bytes() for path in (out / "seed-7").glob("*/outbox/report-*")}
    assert len(sent) == 2
    for name, data in sent.items():
        assert (out / "seed-7" / "coordinator" / "inbox" / name).read_bytes() == data, "the later report was carried"

    acts.clear()
    two, _ = run(dataclasses.replace(plan, seeds=2), out)
    assert two.seeds == [7, 8]
    assert acts.count("train_local") == 2, "of the new seed alone"
    assert {path.name for path in out.glob("seed-*")} == {"seed-7", "seed-8"}


@pytest.mark.slow
def test_virtual_sites_are_divided_by_each_seed(folders: Path, plan: Plan, tmp_path: Path, acts: list[str]) -> None:
    data = small.write_hospital(tmp_path / "data", [f"p{number}" for number in range(8)])
    iid = dataclasses.replace(plan, data=data, how="iid", sites=2, seeds=2)
    found, _ = run(iid, tmp_path / "out")
    assert found.sites == ["site-1", "site-2"]
    lists = {seed: (tmp_path / "out" / f"seed-{seed}/parts/site-1/cases.json").read_text() for seed in (7, 8)}
    images = {seed: set(re.findall(r"images/p\d", text)) for seed, text in lists.items()}
    assert len(images[7]) == len(images[8]) == 4
    assert images[7] != images[8]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"rounds": 2}, {"how": "iid", "sites": 2}, {"data": "elsewhere"}, {"recipe": "another"}]
)
def test_a_folder_belongs_to_one_plan(
    plan: Plan, tmp_path: Path, folders: Path, change: dict[str, Any], acts: list[str]
) -> None:
    out = tmp_path / "out"
    run(plan, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    if "data" in change:
        for name in ("east", "west"):
            (tmp_path / "data" / name).mkdir(parents=True)
        change = {"data": tmp_path / "data"}
    if "recipe" in change:
        change = {"recipe": small.write_recipe(tmp_path / "other.yaml")}
    with pytest.raises(FedmedError, match="nothing was changed") as caught:
        run(dataclasses.replace(plan, **change), out)
    assert caught.value.code == "FM-SET-04"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.slow
def test_a_plan_that_never_made_a_hospital_binds_nothing(plan: Plan, tmp_path: Path, acts: list[str]) -> None:
    out = tmp_path / "out"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert code_of(lambda: run(dataclasses.replace(plan, data=empty), out)) == "FM-DAT-04"
    assert code_of(lambda: run(dataclasses.replace(plan, data=tmp_path / "none"), out)) == "FM-DAT-04"
    assert code_of(lambda: run(dataclasses.replace(plan, data=empty, how="iid", sites=2), out)).startswith("FM-DAT")
    (out / "seed-7" / "parts" / "site-9").mkdir(parents=True)  # as a killed division into nine leaves them
    run(plan, out)


def test_a_folder_of_something_else_is_left_alone(plan: Plan, tmp_path: Path, acts: list[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.json.part").write_text("{")  # killed while it was written
    (out / "thesis.docx").touch()
    assert code_of(lambda: run(plan, out)) == "FM-SET-04"
    assert sorted(path.name for path in out.iterdir()) == ["plan.json.part", "thesis.docx"]
    (out / "thesis.docx").unlink()
    simulate._bind(plan, simulate.recipe.load(plan.recipe), out)
    assert json.loads((out / "plan.json").read_text())["how"] == "folders"


def test_the_first_failure_ends_the_other_seeds(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    class Stoppable(Inline):
        def stop(self) -> None:
            stopped.set()

    def one_seed(_plan: Plan, _recipe: Any, _out: Path, seed: int, *_: object) -> list[Any]:
        if seed == 8:
            raise FedmedError("FM-DAT-42", "too few patients")
        assert stopped.wait(20), "the first seed is still at work"
        raise FedmedError("FM-WAI-01", "was stopped")

    monkeypatch.setattr(simulate, "Crew", Stoppable)
    monkeypatch.setattr(simulate, "_one_seed", one_seed)
    assert code_of(lambda: run(dataclasses.replace(plan, seeds=2), tmp_path / "out")) == "FM-DAT-42"


@pytest.mark.slow
def test_a_crew_that_is_stopped_begins_nothing_more() -> None:
    with Crew(at_once=1) as crew:
        running = threading.Thread(target=lambda: crew.run(time.sleep, 1))
        running.start()
        time.sleep(0.2)
        crew.stop()
        with pytest.raises(RuntimeError):
            crew.run(time.sleep, 60)
        running.join()


@pytest.mark.slow
def test_a_crew_gives_results_in_order_and_errors_as_they_are() -> None:
    done: list[int] = []
    with Crew(at_once=2) as crew:
        assert crew.each(pow, [(2, 3), (3, 2), (5, 1)], lambda: done.append(1)) == [8, 9, 5]
        assert len(done) == 3
        with pytest.raises(ZeroDivisionError):
            crew.each(divmod, [(1, 0), (1, 1)], lambda: None)
        with pytest.raises(FedmedError, match="settings") as caught:
            crew.run(_refuse, "settings")
    assert caught.value.code == "FM-SET-01"
    assert caught.value.next == "elsewhere"


def _refuse(what: str) -> None:
    raise FedmedError("FM-SET-01", what, next="elsewhere")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--how", "sizes"], "--sizes is missing"),
        (["--sizes", "1,2"], "--how iid: --sizes is not for it"),
        (["--how", "dirichlet"], "--alpha is missing"),
        (["--alpha", "1"], "--how iid: --alpha is not for it"),
        (["--how", "column"], "--by is missing"),
        (["--how", "header"], "--by is missing"),
        (["--by", "scanner"], "--by is not for it"),
        (["--how", "folders", "--by", "scanner"], "--by is not for it"),
        (["--how", "folders", "--sites", "3"], "--sites is not for it"),
        (["--how", "folders", "--sizes", "1,2"], "--sizes is not for it"),
        (["--how", "column", "--by", "ward", "--sites", "3"], "--sites is not for it"),
        (["--leave-out", "north"], "--leave-out is not for it"),
        (["--how", "folders", "--shift", "noise"], "--shift is not for it"),
        (["--strength", "1"], "--strength: only with --shift"),
        (["--how", "sizes", "--sizes", "1,x"], "--sizes"),
        (["--how", "sizes", "--sizes", "1,2,3", "--sites", "2"], "expected 2 positive numbers"),
    ],
)
def test_options_that_do_not_belong_together(tmp_path: Path, words: list[str], said: str, acts: list[str]) -> None:
    recipe = small.write_recipe(tmp_path / "recipe.yaml")
    data = small.write_hospital(tmp_path / "data")
    out = tmp_path / "out"
    command = ["simulate", "--recipe", str(recipe), "--data", str(data), "--out", str(out), *words]
    error = CliRunner().invoke(app.app, command).exception
    assert isinstance(error, FedmedError)
    assert error.code == "FM-USE-01"
    assert said in error.message
    assert not list(out.glob("seed-*/coordinator"))


@pytest.mark.slow
@pytest.mark.parametrize("normalisation", ["site", "federated"])
def test_fitted_numbers_are_rehearsed_with_the_baselines(
    folders: Path, tmp_path: Path, acts: list[str], normalisation: str
) -> None:
    training = {**small.RECIPE["training"], "local_steps": 1}
    data = {**small.RECIPE["data"], "normalisation": normalisation}
    recipe = small.write_recipe(tmp_path / "recipe.yaml", training=training, data=data)
    plan = Plan(recipe, folders, how="folders", rounds=1, seeds=1, baselines=True)
    said: list[str] = []
    seen: list[tuple[int, int]] = []
    simulate.run(plan, tmp_path / "out", said.append, lambda _, done, total: seen.append((done, total)))
    exchanges = 2 if normalisation == "federated" else 1
    assert acts.count("train_local") == 2 * exchanges
    assert seen[-1] == (seen[-1][1], seen[-1][1])
    assert any("fingerprints: MR: cut off at" in line for line in said) == (normalisation == "federated")
    assert (tmp_path / "out" / "seed-7" / "pooled" / "preprocessing.json").exists() == (normalisation == "site")


@pytest.mark.slow
@pytest.mark.usefixtures("durable")
def test_workers_wait_for_no_disk_and_compute_with_one_thread() -> None:
    with Crew(at_once=1, images=False) as crew:
        is_durable, threads = crew.run(_state_of_a_worker)
    assert (is_durable, threads) == (False, 1)
    assert files.Process.is_durable


def _state_of_a_worker() -> tuple[bool, int]:
    import torch  # noqa: PLC0415 - the worker has it already

    return files.Process.is_durable, torch.get_num_threads()
