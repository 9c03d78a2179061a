"""A classification round: bit-equal however it was disturbed, it learns, and batch norm does what the recipe says."""

import numpy as np
import pytest
import torch

from fedmed.errors import FedmedError
from fedmed.reporting import discrimination
from fedmed.training import fit, networks, scoring
from tests import radiographs
from tests.rounds import Killed, killed_behind, same

CPU = torch.device("cpu")
DROPPING = {"name": "DenseNet121", "norm": "group", "dropout_prob": 0.2}
KINDS = [0, 1] * 5


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def cases(root):
    return radiographs.cases(root, KINDS)


@pytest.fixture
def run(root, cases):
    """fit with everything given but what a test is about."""

    def fitted(recipe, params=None, **changes):
        where = {"site": "a", "round": 0, "rounds": 3, "attempt": 0, "num_steps": 4, "device": CPU}
        start = weights(recipe) if params is None else params
        return fit.fit(recipe, start, cases, root=root, label_map={}, **{**where, **changes})

    return fitted


def weights(recipe):
    """First weights, also where the recipe wants them from a file."""
    return networks.get_params(networks.build(recipe))


def batch_norm(policy, **changed):
    return radiographs.recipe(network=radiographs.BATCH_NORM[policy], **changed)


RECIPES = {
    "group": radiographs.recipe(),
    "average": batch_norm("average"),
    "frozen": batch_norm("frozen"),
    "weighted": radiographs.recipe(training={"balance": "loss", "proximal_mu": 0.5, "grad_clip": 1.0}),
    "momentum": batch_norm(
        "local", training={"balance": "none", "optimizer": {"name": "SGD", "client_lr": 0.05, "momentum": 0.9}}
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("name", RECIPES)
def test_a_killed_round_goes_on_bit_equal_from_every_step(run, tmp_path, name, step):
    recipe, path = RECIPES[name], tmp_path / "checkpoint"
    whole = run(recipe)
    with pytest.raises(Killed):
        run(recipe, checkpoint=path, checkpoint_minutes=0, progress=killed_behind(step))
    steps = []
    resumed = run(recipe, checkpoint=path, checkpoint_minutes=0, progress=lambda *at: steps.append(at[0]))
    assert steps == list(range(step + 1, 5))
    assert same(whole.params, resumed.params)
    assert whole.train_loss == resumed.train_loss
    assert (whole.num_steps, whole.num_cases) == (4, 10)


@pytest.mark.slow
def test_a_killed_round_with_dropout_goes_on_bit_equal(run, tmp_path):
    recipe = radiographs.recipe(network=DROPPING, data={"image_size": [32, 32]}, training={"batch_size": 2})
    whole = run(recipe, num_steps=2)
    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run(recipe, num_steps=2, checkpoint=path, checkpoint_minutes=0, progress=killed_behind(1))
    assert same(whole.params, run(recipe, num_steps=2, checkpoint=path).params)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["group", "average"])
def test_the_number_of_loader_processes_does_not_matter(run, name):
    assert same(run(RECIPES[name]).params, run(RECIPES[name], num_workers=2).params)


@pytest.mark.slow
def test_a_round_repeats_and_every_coordinate_of_it_counts(run):
    first = run(RECIPES["group"])
    assert same(first.params, run(RECIPES["group"]).params)
    for change in ({"site": "b"}, {"round": 1}, {"attempt": 1}):
        assert not same(first.params, run(RECIPES["group"], **change).params)


def test_a_class_that_was_corrected_is_another_input(run, tmp_path, root, cases):
    steps, recipe, path = [], RECIPES["group"], tmp_path / "checkpoint"
    run(recipe, checkpoint=path, progress=lambda *at: steps.append(at[0]))
    corrected = [radiographs.case(cases[0].case, 1), *cases[1:]]
    where = {"site": "a", "round": 0, "rounds": 3, "attempt": 0, "num_steps": 4, "device": CPU}
    fit.fit(
        recipe, weights(recipe), corrected, root=root, label_map={}, checkpoint=path,
        progress=lambda *at: steps.append(at[0]), **where,
    )  # fmt: skip
    assert steps == [1, 2, 3, 4, 1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("balance", ["sampling", "loss"])
def test_it_learns_to_see_a_bar(run, root, balance):
    recipe = radiographs.recipe(training={"balance": balance, "batch_size": 8})
    losses = []
    fitted = run(recipe, num_steps=30, progress=lambda *at: losses.append(at[2]))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    unseen = radiographs.cases(root / "unseen", [0, 1] * 15, seed=5)
    rated = scoring.evaluate(recipe, fitted.params, unseen, root=root / "unseen", label_map={}, device=CPU)
    truth = np.array([each.truth == 1 for each in rated])
    assert discrimination.auroc(truth, np.array([each.probabilities[1] for each in rated])) > 0.95


def test_class_weights_reach_the_loss(root):
    # two cases a class, one batch of everything: weights of 1 either way; then one class three times as large
    plain = radiographs.recipe(training={"balance": "none", "batch_size": 4, "local_steps": 1}, augment=[])
    weighted = radiographs.recipe(training={"balance": "loss", "batch_size": 4, "local_steps": 1}, augment=[])
    where = {"site": "a", "round": 0, "rounds": 1, "attempt": 0, "num_steps": 1, "device": CPU}

    def loss(recipe, kinds, folder):
        found = radiographs.cases(root / folder, kinds)
        return fit.fit(recipe, weights(recipe), found, root=root / folder, label_map={}, **where).train_loss

    assert loss(plain, [0, 1, 0, 1], "even") == pytest.approx(loss(weighted, [0, 1, 0, 1], "even"), rel=1e-6)
    assert loss(plain, [0, 0, 0, 1], "odd") != pytest.approx(loss(weighted, [0, 0, 0, 1], "odd"), rel=1e-3)


# batch norm


def rows_of(recipe):
    return {row["name"]: row["group"] for row in networks.table(networks.build(recipe))}


def statistics(params):
    return [name for name in params if name.endswith(("running_mean", "running_var"))]


def test_average_sends_running_statistics_and_they_move(run):
    recipe = RECIPES["average"]
    groups, before = rows_of(recipe), weights(recipe)
    names = statistics(before)
    layers = sum(isinstance(module, torch.nn.BatchNorm2d) for module in networks.build(recipe).modules())
    assert len(names) == 2 * layers > 0
    assert {groups[name] for name in names} == {"buffer"}
    assert {group for name, group in groups.items() if name not in names} == {"param"}
    assert not any("num_batches_tracked" in name for name in groups)
    after = run(recipe).params
    assert all(not np.array_equal(before[name], after[name]) for name in names)


def test_frozen_leaves_batch_norm_bit_equal_and_trains_the_rest(run):
    recipe, local = RECIPES["frozen"], batch_norm("local")
    start = {name: array + np.float32(0.25) for name, array in weights(recipe).items()}  # no identity
    after = run(recipe, start).params
    of_batch_norm = networks.staying(local)
    assert same({name: start[name] for name in of_batch_norm}, {name: after[name] for name in of_batch_norm})
    rest = start.keys() - of_batch_norm
    assert rest
    assert all(not np.array_equal(start[name], after[name]) for name in rest)


@pytest.mark.parametrize("network", [radiographs.NETWORK, {"name": "DenseNet121"}], ids=["ResNet", "DenseNet121"])
def test_staying_names_batch_norm_and_nothing_else(network):
    def recipe(policy):
        return radiographs.recipe(
            network={**network, "norm": "batch", "batch_norm": policy}, data={"image_size": [32, 32]}
        )

    built = networks.build(recipe("local"))
    expected = {
        f"{layer}.{part}"
        for layer, module in built.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    assert networks.staying(recipe("local")) == expected
    assert expected < rows_of(recipe("local")).keys()
    for policy in ("average", "frozen"):
        assert networks.staying(recipe(policy)) == frozenset()
    assert networks.staying(radiographs.recipe(data={"image_size": [32, 32]}, network=network)) == frozenset()


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("network", [radiographs.NETWORK, {"name": "DenseNet121"}], ids=["ResNet", "DenseNet121"])
def test_without_batch_norm_there_is_none_anywhere(network, norm):
    recipe = radiographs.recipe(network={**network, "norm": norm}, data={"image_size": [64, 64]})
    built = networks.build(recipe).eval()
    assert not any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in built.modules())
    assert set(rows_of(recipe).values()) == {"param"}
    with torch.no_grad():
        assert built(torch.zeros(2, 1, 64, 64)).shape == (2, 2)
        one, two = torch.randn(2, 1, 1, 64, 64)
        together = built(torch.cat([one, two]))
        torch.testing.assert_close(together[:1], built(one), rtol=1e-3, atol=1e-4)


def test_weights_of_a_frozen_recipe_are_never_made_up():
    with pytest.raises(FedmedError) as caught:
        networks.initial_params(RECIPES["frozen"])
    assert caught.value.code == "FM-FED-04"
    networks.initial_params(RECIPES["average"])


def test_running_statistics_are_used_when_scoring(run, root, cases):
    recipe = RECIPES["average"]
    params = run(recipe).params
    shifted = {**params, **{name: params[name] + 1 for name in statistics(params) if name.endswith("mean")}}
    scored = [
        scoring.evaluate(recipe, each, cases[:2], root=root, label_map={}, device=CPU) for each in (params, shifted)
    ]
    assert scored[0] != scored[1]
