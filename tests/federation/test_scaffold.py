"""SCAFFOLD through the files, beside the paper's algorithm in twenty lines of numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.auditor import books, inspection
from fedmed.cases import datalist
from fedmed.coordinator import aggregate
from fedmed.coordinator import desk as coordinator_desk
from fedmed.exchange import archived, intake
from fedmed.learning import params, shapes
from fedmed.site import alone, change, desk, evaluate, memory, preprocessing, train
from fedmed.training import rows
from tests import small, tables

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.learning.params import Params

pytestmark = pytest.mark.slow
LR, SERVER_LR, STEPS = 0.1, 0.5, 4
RECIPE = {**tables.TABULAR, "strategy": {"name": "scaffold", "server_lr": SERVER_LR}}
LIMITS = {"rounds": 4, "min_sites": 1, "max_norm_ratio": 1_000_000, "min_cosine": -1}
PLAYED = [("aa", "bb"), ("aa",), ("aa", "bb")]  # whose update counts in which round


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@dataclass
class Paper:
    """Karimireddy et al., ICML 2020, algorithm 1 with option II, of logistic regression on the sites' own batches."""

    world: small.Federation
    x: np.ndarray
    c: np.ndarray = field(init=False)
    own: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.c = np.zeros_like(self.x)
        self.own = {name: np.zeros_like(self.x) for name in self.world.sites}

    def round(self, number: int, taking_part: tuple[str, ...]) -> None:
        changes = []
        for name in taking_part:
            y = self.x.copy()
            for inputs, truth in self._batches(name, number):
                error = 1 / (1 + np.exp(-(inputs @ y[1:] + y[0]))) - truth
                gradient = np.concatenate([[error.mean()], (error[:, None] * inputs).mean(0)])
                y -= LR * (gradient - self.own[name] + self.c)
            renewed = self.own[name] - self.c + (self.x - y) / (STEPS * LR)
            changes.append((y - self.x, renewed - self.own[name]))
            self.own[name] = renewed
        self.x = self.x + SERVER_LR * np.mean([delta for delta, _ in changes], 0)
        self.c = self.c + len(changes) / len(self.own) * np.mean([delta for _, delta in changes], 0)

    def _batches(self, name: str, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        site, consent = opened(self.world.site(name))
        cases = datalist.cases(datalist.load(site.cases_file), "training")
        where = (consent.recipe.seed, name, number, 1)
        drawn = rows.Rows(consent.recipe, cases, site.data_root, {}, where, preprocessing.current(site), None)
        size = consent.recipe.training.batch_size
        samples = [drawn[index] for index in range(size * STEPS)]
        inputs = np.stack([each.numpy() for each, _ in samples]).astype(np.float64)
        truth = np.array([float(outcome) for _, outcome in samples])
        return [(inputs[at : at + size], truth[at : at + size]) for at in range(0, len(samples), size)]


def opened(root: Path) -> tuple[desk.Site, desk.Approved]:
    site = desk.peek(root)
    return site, desk.require_approved(site)


def flat(found: Params) -> np.ndarray:
    """Bias first, then the weights."""
    bias, weight = (next(array for name, array in found.items() if name.endswith(end)) for end in ("bias", "weight"))
    return np.concatenate([bias.reshape(-1), weight.reshape(-1)]).astype(np.float64)


def model(world: small.Federation) -> tuple[np.ndarray, np.ndarray]:
    """Weights and control variate of the coordinator's newest model."""
    found = coordinator_desk.peek(world.coordinator)
    table = coordinator_desk.require_started(found).travelling
    known = found.record.newest("model")
    assert known is not None
    return tuple(
        flat(part)
        for part in params.without_control(
            params.from_payload(archived.read_payload(found, known.id, "model.safetensors"), table)
        )
    )


def own(world: small.Federation, name: str, round_: int) -> np.ndarray:
    """The control variate with which a site enters a round."""
    site, consent = opened(world.site(name))
    known = site.workspace.record.newest("model")
    assert known is not None
    _, common = desk.model_parts(site, consent, known)
    return flat(change.Entered(round_, {}, common, memory.load(site, consent, round_)).variates)


def learn(world: small.Federation, name: str) -> None:
    train.train(world.site(name), small.now(), train.Options("cpu"), quiet)


def play(world: small.Federation, taking_part: tuple[str, ...]) -> None:
    """Everybody trains; who takes no part is not waited for, and its update comes too late."""
    for name in world.sites:
        learn(world, name)
        if name not in taking_part:
            for path in (world.site(name) / "outbox").glob("update-*"):
                path.rename(world.root / path.name)
    world.carry()
    aggregate.aggregate(world.coordinator, small.now(), close=True)
    for path in world.root.glob("update-*"):
        path.rename(world.site(path.stem[-2:]) / "outbox" / path.name)
    world.carry()
    for name in world.sites:
        with desk.opened(world.site(name), small.now()) as site:
            intake.receive_all(site.workspace, desk.terms(desk.require_approved(site)), small.now(), "train-local")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    return tables.founded(tmp_path_factory.mktemp("scaffold"), recipe=RECIPE, limits=LIMITS)


@dataclass(frozen=True)
class After:
    """A round, by the files and by the paper: weights, common variate, and each site's own."""

    files: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]
    paper: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def played(begun: small.Federation) -> list[After]:
    """Three rounds, in the second of which the update of bb comes too late."""
    paper, found = Paper(begun, model(begun)[0]), []
    for number, taking_part in enumerate(PLAYED):
        play(begun, taking_part)
        paper.round(number, taking_part)
        mine = {name: own(begun, name, number + 1) for name in begun.sites}
        found.append(After((*model(begun), mine), (paper.x, paper.c, dict(paper.own))))
    return found


def test_the_first_model_has_variates_of_zero(begun: small.Federation) -> None:
    found = coordinator_desk.peek(begun.coordinator)
    table, known = coordinator_desk.require_started(found).travelling, found.record.model(0)
    assert known is not None
    payload = archived.read_payload(found, known.id, "model.safetensors")
    weights, control = params.without_control(params.from_payload(payload, table))
    assert weights.keys() == control.keys()
    assert not flat(control).any()


@pytest.mark.parametrize("number", range(len(PLAYED)))
def test_a_round_is_the_papers_also_where_an_update_did_not_count(played: list[After], number: int) -> None:
    (weights, control, mine), (x, c, theirs) = played[number].files, played[number].paper
    assert weights == pytest.approx(x, abs=1e-5)
    assert control == pytest.approx(c, abs=1e-5)
    assert np.abs(control).max() > 0.01
    for name, variate in mine.items():
        assert variate == pytest.approx(theirs[name], abs=1e-5), name
        assert np.abs(variate).max() > 0.01
    assert sum(mine.values()) == pytest.approx(len(mine) * control, abs=1e-6)


def test_an_update_that_came_too_late_gives_its_variate_back(played: list[After]) -> None:
    before, after = (each.files[2] for each in played[:2])
    assert (before["bb"] == after["bb"]).all()
    assert not np.allclose(before["aa"], after["aa"])


@pytest.mark.usefixtures("played")
def test_the_files_hold_for_an_auditor(begun: small.Federation) -> None:
    world, federation = begun, begun.coordinator / "outbox" / "federation-v0001.fedmed"
    for root in (world.coordinator, world.site("aa"), world.site("bb")):
        books.verify(root, lambda _done, _total: None)
        kinds = [inspection.verify(path, federation).inspected.kind for path in (root / "archive").glob("*")]
        assert kinds.count("state") == (0 if root == world.coordinator else 3)
    sent = [path.name for name in world.sites for path in (world.site(name) / "outbox").iterdir()]
    assert not [name for name in sent if name.startswith("state")]


@pytest.mark.usefixtures("played")
def test_who_uses_a_model_gets_the_weights_alone(begun: small.Federation, tmp_path: Path) -> None:
    world = begun.copy(tmp_path / "world")
    root = world.site("aa")
    evaluated = evaluate.evaluate(root, small.now(), "validation", "cpu", quiet)
    assert evaluated.body.told.scores
    assert alone.train_alone(root, small.now(), "cpu", quiet).is_new
    site, consent = opened(root)
    assert desk.model_params(site, consent, site.workspace.record.model(1)).keys() == {
        row.name for row in consent.table
    }


def test_variates_add_up_also_behind_a_lossy_encoding(tmp_path: Path) -> None:
    """Each site keeps what the coordinator could read of its own, so rounding does not add up over rounds."""
    network = {"name": "MLP", "hidden": [80], "dropout": 0}  # enough numbers that something is left to round
    recipe = {**RECIPE, "network": network, "update": {"encoding": "int8"}}
    world = tables.founded(tmp_path, recipe=recipe, limits=LIMITS)
    for _ in range(2):
        play(world, world.sites)
    found = coordinator_desk.peek(world.coordinator)
    running = coordinator_desk.require_started(found)
    known = found.record.newest("model")
    assert known is not None
    payload = archived.read_payload(found, known.id, "model.safetensors")
    _, common = params.without_control(params.from_payload(payload, running.travelling))
    each = [memory.load(*opened(world.site(name)), 2)[shapes.CONTROL] for name in world.sites]
    assert max(np.abs(array).max() for array in common.values()) > 0.01
    for name, array in common.items():
        assert sum(mine[name] for mine in each) == pytest.approx(2 * array, abs=1e-7), name
