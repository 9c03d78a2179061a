"""Fine-tuning behind the last model: gated on the site's own validation cases, bound to them, killed and resumed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmed import recipe as recipes
from fedmed.cases import datalist
from fedmed.cli.app import app
from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies, bodies_reports
from fedmed.site import desk, evaluate, rounds, status, train, tune
from fedmed.training import scoring
from fedmed.training.rated import Rated
from fedmed.training.tabular import Followed
from tests import small, tables
from tests.site.test_work import Interrupt, finish, quiet

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.learning.params import Params

STEPS = 12
RECIPE = {**tables.TABULAR, "training": {**tables.TABULAR["training"], "fine_tune_steps": STEPS, "fine_tune_lr": 0.1}}


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    """Both rounds were played, without training: the last model says the opposite of what is right."""
    world = tables.founded(tmp_path_factory.mktemp("over"), recipe=RECIPE)
    finish(world, -1.0)
    return world


@pytest.fixture
def site(over: small.Federation, tmp_path: Path) -> Path:
    return over.copy(tmp_path / "world").site("aa")


def tuned(root: Path, progress: Any = quiet) -> tune.Tuned:
    found = train.train(root, small.now(), train.Options("cpu"), progress)
    assert isinstance(found, tune.Tuned)
    return found


def scored(root: Path, split: evaluate.Split = "validation") -> evaluate.Evaluated:
    return evaluate.evaluate(root, small.now(), split, "cpu", quiet)


def overall(found: evaluate.Evaluated) -> dict[tuple[str, str], str | None]:
    return {(row.model, row.metric): row.mean for row in found.body.told.scores}


def weights_of(root: Path) -> Params | None:
    opened = desk.peek(root)
    model = opened.workspace.record.newest("model")
    assert model
    return tune.weights(opened, desk.require_approved(opened), datalist.load(opened.cases_file), model)


def never(*_: object) -> tuple[bool, str]:
    return False, "accuracy 0.1 instead of 0.2"


def judged(metric: str, value: float | None, loss: float | None = None) -> tune.Judged:
    mean = None if value is None else bodies.decimal(value)
    return tune.Judged([bodies.Metric(metric=metric, label="all", n=5, mean=mean, sd=None)], loss)


@pytest.mark.parametrize(
    ("before", "after", "kept", "why"),
    [
        ((0.8, 0.3), (0.9, 0.4), True, "accuracy 0.9000 instead of 0.8000"),
        ((0.9, 0.4), (0.8, 0.3), False, "accuracy 0.8000 instead of 0.9000"),
        ((0.8, 0.4), (0.8, 0.3), True, "loss 0.3000 instead of 0.4000"),
        ((0.8, 0.3), (0.8, 0.3), False, "loss 0.3000 instead of 0.3000"),
        ((None, 0.3), (None, 0.4), False, "loss 0.4000 instead of 0.3000"),
        ((0.8, 0.3), (None, 0.2), True, "loss 0.2000 instead of 0.3000"),
        ((0.8, None), (0.8, None), False, "nothing to tell them apart by"),
    ],
)
def test_the_first_metric_decides_and_the_loss_where_it_cannot(before, after, kept, why):
    recipe = tables.tabular()
    found = tune.compared(recipe, judged("accuracy", *before), judged("accuracy", *after))
    assert found == (kept, why)


def test_a_survival_is_judged_by_its_loss_and_distances_by_the_lower():
    worse, better = judged("c_index", 0.6, 1.0), judged("c_index", 0.5, 0.9)
    assert tune.compared(tables.survival(), worse, better) == (True, "loss 0.9000 instead of 1.0000")
    far = small.RECIPE | {"evaluation": {"metrics": ["hd95"]}}
    recipe = recipes.parse(far, "recipe")
    assert tune.compared(recipe, judged("hd95", 9.0), judged("hd95", 7.5))[0]
    assert not tune.compared(recipe, judged("hd95", 7.5), judged("hd95", 9.0))[0]


def test_the_loss_of_a_fold_by_hand():
    rated = [Rated("a", 1, (0.2, 0.8)), Rated("b", 0, (0.5, 0.5)), Rated("c", 1, (1.0, 0.0))]
    expected = -(math.log(0.8) + math.log(0.5) + math.log(1e-12)) / 3
    assert scoring.loss(tables.tabular(), rated) == pytest.approx(expected)
    assert scoring.loss(tables.tabular(), []) is None
    followed = [Followed("a", 1.0, True, 0.0), Followed("b", 2.0, True, 0.0)]
    assert scoring.loss(tables.survival(), followed) == pytest.approx(math.log(2) / 2)
    assert scoring.loss(tables.survival(), [replace(each, event=False) for each in followed]) is None


def test_fine_tuning_trains_plainly():
    given = {"proximal_mu": 0.5, "schedule": {"name": "cosine"}, "personal": "head", "head_steps": 2}
    recipe = tables.tabular(
        network={"name": "MLP", "hidden": [4]}, training={**given, "local_epochs": 3, "local_steps": None, **STEPS_LR}
    )
    training = tune.tuning(recipe).training
    assert (training.local_steps, training.local_epochs, training.optimizer.client_lr) == (STEPS, None, 0.1)
    assert (training.proximal_mu, training.head_steps, training.schedule.name) == (0, 0, "constant")
    same = tables.tabular(training={"fine_tune_steps": 2})
    assert tune.tuning(same).training.optimizer.client_lr == same.training.optimizer.client_lr


STEPS_LR = {"fine_tune_steps": STEPS, "fine_tune_lr": 0.1}


def test_a_rate_without_steps_is_refused():
    with pytest.raises(FedmedError, match="fine_tune_lr belongs to") as caught:
        tables.tabular(training={"fine_tune_lr": 0.1})
    assert caught.value.code == "FM-RCP-03"


def test_what_is_kept_is_scored_as_the_personal_model(site: Path) -> None:
    assert status.status(site, small.now()).next == "fedmed train-local"
    before = sorted(path.name for path in (site / "outbox").iterdir())
    found = tuned(site)
    assert (found.round, found.num_steps, found.is_kept, found.is_new) == (2, STEPS, True, True)
    what, new, _, _, old = found.why.split()
    assert float(new) < float(old) if what == "loss" else float(new) > float(old)
    assert sorted(path.name for path in (site / "outbox").iterdir()) == before, "nothing is sent"
    (file,) = (site / "state" / "personal").iterdir()
    assert (file.stat().st_mode & 0o777) == 0o600
    assert status.status(site, small.now()).next == "fedmed evaluate --split test"
    report = scored(site)
    means = overall(report)
    assert [means["global", row.metric] for row in found.received] == [row.mean for row in found.received]
    assert [means["personal", row.metric] for row in found.tuned] == [row.mean for row in found.tuned]
    assert report.tuned
    assert (report.tuned.is_kept, report.is_to_tune) == (True, False)


def test_a_second_call_finds_it(site: Path) -> None:
    first, seen = tuned(site), []
    again = tuned(site, lambda *what: seen.append(what))
    assert (again, seen) == (replace(first, is_new=False, arrivals=again.arrivals), [])


def test_what_is_not_kept_leaves_the_global_model(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "compared", never)
    assert not tuned(site).is_kept
    assert list((site / "state" / "personal").iterdir()) == []
    assert weights_of(site) is None
    means = overall(scored(site, "testing"))
    assert {metric for model, metric in means if model == "personal"} == {"accuracy", "auroc"}
    assert all(means["personal", metric] == means["global", metric] for metric in ("accuracy", "auroc"))


def test_the_test_fold_is_not_touched(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folds, score = [], rounds.score
    monkeypatch.setattr(rounds, "score", lambda *given, **named: folds.append(given[3]) or score(*given, **named))
    tuned(site)
    assert folds == ["validation", "validation"]


def test_a_killed_one_goes_on_bit_equal(site: Path, over: small.Federation, tmp_path: Path) -> None:
    seen: list[int] = []

    def killed(what: str, done: int, _total: int) -> None:
        if what == "tuning":
            seen.append(done)
            if seen == [1, 2]:
                raise Interrupt

    with pytest.raises(Interrupt):
        tuned(site, killed)
    tuned(site, killed)
    assert seen == list(range(1, STEPS + 1))
    undisturbed = over.copy(tmp_path / "undisturbed").site("aa")
    tuned(undisturbed)
    ours, theirs = weights_of(site), weights_of(undisturbed)
    assert ours
    assert theirs
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("spoil", ["gone", "other bytes"])
def test_a_damaged_one_is_refused_and_made_again(site: Path, spoil: str) -> None:
    tuned(site)
    (file,) = (site / "state" / "personal").iterdir()
    whole = file.read_bytes()
    if spoil == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(FedmedError) as caught:
        scored(site)
    assert caught.value.code == "FM-PER-02"
    assert tuned(site).is_new
    assert file.read_bytes() == whole
    assert scored(site).is_new


def test_other_numbers_of_classes_are_another_model(site: Path) -> None:
    assert tuned(site).is_kept
    path = site / "fedmed.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("label_map")]
    path.write_text("\n".join([*lines, "label_map: {0: 0, 1: 1, 2: 1}", ""]))
    report = scored(site)
    assert {row.model for row in report.body.told.scores} == {"global"}
    assert (report.tuned, report.is_to_tune) == (None, True)
    assert tuned(site).is_new


def test_a_report_from_before_is_followed_by_one_with_both(site: Path) -> None:
    first = scored(site)
    assert {row.model for row in first.body.told.scores} == {"global"}
    tuned(site)
    second = scored(site)
    assert second.is_new
    assert {row.model for row in second.body.told.scores} == {"global", "personal"}
    assert not scored(site).is_new


@pytest.mark.parametrize("kept", [True, False])
def test_the_screen_says_what_was_kept(site: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    if not kept:
        monkeypatch.setattr(tune, "compared", never)
    early = CliRunner().invoke(app, ["evaluate", "-w", str(site)])
    assert "not tuned to this hospital's cases yet: fedmed train-local" in early.output
    words = "tuned one, kept: validation says" if kept else "not kept: validation says accuracy 0.1"
    for command in ("train-local", "train-local", "evaluate"):
        shown = CliRunner().invoke(app, [command, "-w", str(site)])
        assert (shown.exit_code, words in shown.output) == (0, True)


def test_run_tunes_before_it_opens_the_test_fold(site: Path) -> None:
    shown = CliRunner().invoke(app, ["run", "-w", str(site)])
    assert shown.exit_code == 0
    lines = [line for line in shown.output.splitlines() if ": " in line]
    assert "train-local: the personal model is the tuned one, kept: validation says" in lines[0]
    assert "evaluate: model r0002 on" in lines[1]
    (report,) = desk.peek(site).workspace.record.of("report")
    body = archived.read_archived(desk.peek(site).workspace, report.id).predicate.body
    assert isinstance(body, bodies_reports.Report)
    assert {row.model for row in body.told.scores} == {"global", "personal"}


def test_without_validation_cases_nothing_is_trained(site: Path) -> None:
    path = site / "cases.json"
    cases = json.loads(path.read_text())
    cases["training"] += cases["validation"]
    header = cases["fedmed"]
    header["counts"]["training"] += header["counts"]["validation"]
    cases["validation"], header["counts"]["validation"], header["patients"]["validation"] = [], 0, 0
    path.write_text(json.dumps(cases))
    found = tuned(site)
    assert (found.num_steps, found.is_kept, found.is_new) == (0, False, True)
    assert not tuned(site).is_new
    assert status.status(site, small.now()).next == "fedmed evaluate --split test", "cron is not held up"
