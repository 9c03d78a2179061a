"""Rows of a table in training: Cox's likelihood by hand, both tasks learn, killed rounds go on bit-equal."""

import dataclasses
import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedmed.cases import encoding
from fedmed.errors import FedmedError
from fedmed.reporting import discrimination, survival
from fedmed.training import fit, networks, objective, scoring, tabular
from tests import tables
from tests.rounds import Killed, killed_behind, same

CPU = torch.device("cpu")
MLP = {"name": "MLP", "hidden": [6, 3], "dropout": 0.2}
RECIPES = {
    "logistic": tables.tabular(),
    "layers": tables.tabular(network=MLP, training={"optimizer": {"name": "AdamW", "client_lr": 0.02}}),
    "grades": tables.tabular(data={"outcome": {"column": "grade"}, "labels": {1: "mild", 2: "severe"}}),
    "cox": tables.survival(training={"proximal_mu": 0.1, "grad_clip": 1.0}),
}


def cox(rows):
    time, event, risk = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    return objective.cox_loss(risk[:, None], torch.stack([time, event], dim=1)).item()


def log_sum(*risks):
    return math.log(sum(map(math.exp, risks)))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # (time, event, risk); a term for each event, over the number of rows
        ([(1, 1, 0.0), (2, 1, 0.0)], (math.log(2) + 0) / 2),
        ([(1, 1, 2.0), (2, 0, 1.0), (3, 1, 0.5)], (log_sum(2, 1, 0.5) - 2 + 0.5 - 0.5) / 3),
        ([(3, 1, 0.5), (1, 1, 2.0), (2, 0, 1.0)], (log_sum(2, 1, 0.5) - 2) / 3),  # the order of rows does not matter
        (
            [(2, 1, 1.0), (2, 1, 3.0), (1, 0, 9.0)],
            (2 * log_sum(1, 3) - 4) / 3,
        ),  # two at one time: one risk set (Breslow)
        ([(2, 1, 1.0), (2, 0, 3.0)], (log_sum(1, 3) - 1) / 2),  # who was lost then was at risk still
        ([(1, 0, 5.0), (2, 0, 1.0)], 0.0),
        ([(1, 1, 4.0)], 0.0),
    ],
)
def test_cox_by_hand(rows, expected):
    assert cox(rows) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.floats(-5, 5)), min_size=1, max_size=12))
def test_cox_without_ties_is_the_cumulative_form(rows):
    """Sorted by falling time, each event gives logsumexp of the risks so far minus its own (FLamby's form)."""
    timed = [(float(place), float(event), risk) for place, (event, risk) in enumerate(rows)]
    falling = timed[::-1]
    terms = [
        event * (log_sum(*(r for _, _, r in falling[: place + 1])) - risk)
        for place, (_, event, risk) in enumerate(falling)
    ]
    assert cox(timed) == pytest.approx(sum(terms) / len(terms), abs=1e-9)


def test_cox_of_large_risks_stays_finite_with_its_gradient():
    risks = torch.tensor([[800.0], [-800.0], [0.0]], requires_grad=True)
    loss = objective.cox_loss(risks, torch.tensor([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(risks.grad).all()


def test_the_binary_loss_is_that_of_the_softmax_over_zero_and_the_logit():
    logits, labels = torch.tensor([[2.0], [-1.0], [0.3]]), torch.tensor([1, 1, 0])
    loss = objective.loss_function(RECIPES["logistic"])(logits, labels)
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(both, labels).item())
    expected = [math.log(1 + math.exp(-2)), math.log(1 + math.e), math.log(1 + math.exp(0.3))]
    assert loss.item() == pytest.approx(sum(expected) / 3)


def test_one_logit_and_several_become_probabilities():
    assert tabular.probabilities([math.log(3)]) == pytest.approx((0.25, 0.75))
    assert tabular.probabilities([0.0, math.log(2), math.log(5)]) == pytest.approx((1 / 8, 2 / 8, 5 / 8))


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("logistic", {"weight": (1, 4), "bias": (1,)}),
        ("cox", {"weight": (1, 4), "bias": (1,)}),
        ("grades", {"weight": (3, 4), "bias": (3,)}),
        (
            "layers",
            {"0.weight": (6, 4), "0.bias": (6,), "3.weight": (3, 6), "3.bias": (3,), "6.weight": (1, 3)}
            | {"6.bias": (1,)},
        ),
    ],
)  # fmt: skip
def test_the_params_that_travel(name, shapes):
    params, rows = networks.initial_params(RECIPES[name])
    assert {tensor: array.shape for tensor, array in params.items()} == shapes
    assert [row["name"] for row in rows] == list(shapes)


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """Cases by recipe, of a table of 200 rows."""
    folder = tables.write_hospital(tmp_path_factory.mktemp("ward") / "data", [f"p{n}" for n in range(200)], seed=3)
    text = (folder / "ward.csv").read_text()
    return {name: tables.found(folder, text, recipe, patient="patient").cases for name, recipe in RECIPES.items()}


@pytest.fixture
def run(ward):
    def fitted(name, cases=None, **changes):
        recipe, used = RECIPES[name], ward[name][:30] if cases is None else cases
        where = {"site": "a", "round": 0, "rounds": 3, "attempt": 0, "num_steps": 4, "device": CPU}
        start, _ = networks.initial_params(recipe)
        numbers = encoding.fitted(used, recipe.data)
        return fit.fit(
            recipe, start, used, root=None, label_map={}, **{**where, "preprocessing": numbers, **changes}
        ), numbers  # fmt: skip

    return fitted


@pytest.mark.parametrize(("name", "step"), product(RECIPES, [1, 3]))
def test_a_killed_round_goes_on_bit_equal(run, tmp_path, name, step):
    path = tmp_path / "checkpoint"
    whole, _ = run(name)
    with pytest.raises(Killed):
        run(name, checkpoint=path, checkpoint_minutes=0, progress=killed_behind(step))
    steps = []
    resumed, _ = run(name, checkpoint=path, checkpoint_minutes=0, progress=lambda *at: steps.append(at[0]))
    assert steps == list(range(step + 1, 5))
    assert same(whole.params, resumed.params)
    assert (whole.num_steps, whole.num_cases) == (4, 30)


def test_other_fitted_numbers_are_another_input(run, tmp_path, ward):
    path, steps = tmp_path / "checkpoint", []
    run("logistic", checkpoint=path)
    numbers = encoding.fitted(ward["logistic"][:10], RECIPES["logistic"].data)
    run("logistic", checkpoint=path, preprocessing=numbers, progress=lambda *at: steps.append(at[0]))
    assert steps == [1, 2, 3, 4]


def score(name, params, cases, numbers):
    return scoring.evaluate(
        RECIPES[name], params, cases, root=None, label_map={}, device=CPU, preprocessing=numbers
    )  # fmt: skip


@pytest.mark.parametrize("name", ["logistic", "layers"])
def test_a_classifier_of_rows_learns(run, ward, name):
    train, test = ward[name][:120], ward[name][120:]
    start, _ = networks.initial_params(RECIPES[name])
    trained, numbers = run(name, train, num_steps=150)

    def auroc(params):
        rated = score(name, params, test, numbers)
        assert [each.who for each in rated] == [case.case for case in test]
        assert all(sum(each.probabilities) == pytest.approx(1) for each in rated)
        truth = np.array([each.truth == 1 for each in rated])
        return discrimination.auroc(truth, np.array([each.probabilities[1] for each in rated]))

    assert auroc(trained.params) > max(0.85, auroc(start))


def test_several_classes_of_rows_have_probabilities_each(run, ward):
    trained, numbers = run("grades", num_steps=30)
    rated = score("grades", trained.params, ward["grades"][30:50], numbers)
    assert {len(each.probabilities) for each in rated} == {3}
    assert {each.truth for each in rated} == {0, 1, 2}


def test_a_survival_model_learns_who_dies_earlier(run, ward):
    train, test = ward["cox"][:120], ward["cox"][120:]
    start, _ = networks.initial_params(RECIPES["cox"])
    trained, numbers = run("cox", train, num_steps=150)

    def c_index(params):
        followed = score("cox", params, test, numbers)
        assert [(each.who, each.time, each.event) for each in followed] == [
            (case.case, case.row.time, case.label == 1) for case in test
        ]
        return survival.c_index(*(np.array([getattr(e, key) for e in followed]) for key in ("time", "event", "risk")))

    assert c_index(trained.params) > max(0.7, c_index(start))


def test_a_batch_is_scored_whatever_its_size(run, ward, monkeypatch):
    trained, numbers = run("cox")
    whole = score("cox", trained.params, ward["cox"][:50], numbers)
    monkeypatch.setattr(tabular, "BATCH", 7)
    seen = []
    parts = tabular.evaluate(
        RECIPES["cox"], trained.params, ward["cox"][:50], label_map={}, device=CPU, preprocessing=numbers,
        progress=lambda *at: seen.append(at),
    )  # fmt: skip
    assert seen[0] == (7, 50)
    assert seen[-1] == (50, 50)
    assert [each.risk for each in parts] == pytest.approx([each.risk for each in whole])


@pytest.mark.parametrize("change", [{"row": None}, {"label": None}], ids=["no row", "no outcome"])
def test_a_case_without_a_row_or_an_outcome_is_refused(ward, change):
    odd = [dataclasses.replace(case, **change) for case in ward["cox"][:4]]
    numbers = encoding.fitted(ward["cox"], RECIPES["cox"].data)
    with pytest.raises(FedmedError) as caught:
        score("cox", networks.initial_params(RECIPES["cox"])[0], odd, numbers)
    assert caught.value.code == "FM-TRN-03"


def test_a_correction_is_added_behind_the_clip_and_belongs_to_the_checkpoint(ward, tmp_path):
    """One step of SGD with and without it differs by client_lr times the correction, however hard the clip."""
    start, _ = networks.initial_params(RECIPES["logistic"])
    terms = {name: np.full_like(array, 3.0) for name, array in start.items()}
    clipped = tables.tabular(training={"grad_clip": 0.01})
    used = ward["logistic"][:30]
    fixed = {"site": "a", "round": 0, "rounds": 3, "attempt": 0, "num_steps": 1, "device": CPU, "root": None}

    def trained(correction, **more):
        numbers = encoding.fitted(used, clipped.data)
        return fit.fit(
            clipped, start, used, label_map={}, preprocessing=numbers, correction=correction, **fixed, **more
        ).params

    plain, corrected = trained(None), trained(terms)
    for name in start:
        assert plain[name] - corrected[name] == pytest.approx(np.full_like(start[name], 0.1 * 3.0), abs=1e-6)
    path = tmp_path / "checkpoint"
    trained(None, checkpoint=path)
    assert same(trained(terms, checkpoint=path), corrected), "a checkpoint of other terms is not used"
    assert same(trained(None), plain)
