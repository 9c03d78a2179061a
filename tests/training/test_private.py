"""A round of DP-SGD as a whole: what one patient can change of it, and that nothing random in it is public."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedmed.errors import FedmedError
from fedmed.training import dp_sgd, fit, networks, objective, private, steps
from fedmed.training.dp_sgd import Mechanism
from tests import boxed, radiographs, tables
from tests.rounds import same
from tests.training.conftest import tiny_recipe

CPU = torch.device("cpu")
DP = {"clip_norm": 1.0, "patients_per_step": 4}
OPEN = {"balance": "none", "grad_clip": None}
GIVEN = {"normalisation": "none", "imputation": "constant"}
LABELS = [0, 1] * 10


def take(seed=0):
    return np.random.RandomState(seed).bytes


def mechanism(seed=0, **changed):
    return replace(Mechanism(1.0, 1.0, 4, 0.2, 1, "r", take(seed), lambda _: None), **changed)


def everybody(seed=0, **changed):
    """All patients in every step, without noise."""
    return mechanism(seed, **{"noise_multiplier": 0.0, "rate": 1.0, **changed})


def recipe(**changed):
    return tables.tabular(dp=DP, data=GIVEN, **changed)


def fitted(chosen, constants, cases=None, **changed):
    where = {"site": "a", "round": 0, "rounds": 3, "attempt": 0, "num_steps": 2, "device": CPU}
    cases = tables.cases(LABELS) if cases is None else cases
    start = networks.initial_params(chosen)[0]
    return fit.fit(chosen, start, cases, label_map={}, mechanism=constants, **{"root": None, **where, **changed})


def summed(chosen, constants, cases, size=1024):
    """Of one step, before the noise."""
    run = steps.begin(chosen, networks.initial_params(chosen)[0], CPU, 0.1)
    drawn = fit._samples(chosen, cases, None, {}, (0,), None, None)
    begun = private.Round(drawn, private.by_patient(drawn), run.loss, lambda labels: labels, size)
    return private._total(run, begun, constants)[0].double()


# what one patient can change


@pytest.mark.parametrize("max_images", [1, 3, 64])
@pytest.mark.parametrize("images", [1, 5, 40])
def test_a_patient_counts_once_however_many_images_there_are(max_images, images):
    others = tables.cases(LABELS)
    row = replace(others[0].row, inputs=(500.0, 300.0, 1))
    many = [replace(others[0], case=f"new-{n}", patient="new", row=row) for n in range(images)]
    constants = {"clip_norm": 0.1, "max_images": max_images}
    without, with_them = (summed(recipe(), everybody(**constants), cases) for cases in (others, [*others, *many]))
    assert 0.09 < float((with_them - without).norm()) <= 0.1


def test_steps_without_noise_and_clip_are_those_of_plain_sgd():
    chosen = recipe()
    found = fitted(chosen, everybody(clip_norm=1e6, expected=20))
    rows = [[*case.row.inputs[:2], case.row.inputs[2] == 1, case.row.inputs[2] == 2] for case in tables.cases(LABELS)]
    network = networks.build(chosen)
    for _ in range(2):
        network.zero_grad()
        objective.loss_function(chosen)(network(torch.tensor(rows).float()), torch.tensor(LABELS)).backward()
        with torch.no_grad():
            for weight in network.parameters():
                weight.sub_(0.1 * weight.grad)
    for name, tensor in networks.get_params(network).items():
        np.testing.assert_allclose(found.params[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_full_device_halves_how_many_are_looked_at_together(monkeypatch):
    whole, tried, words = private._part, [], iter(["can't allocate memory: you tried", "can't allocate memory"])

    def small(run, begun, patients, *rest):
        tried.append(len(patients))
        if len(patients) > 4:
            raise RuntimeError(next(words))
        return whole(run, begun, patients, *rest)

    expected = summed(recipe(), everybody(), tables.cases(LABELS))
    monkeypatch.setattr(private, "_part", small)
    found = summed(recipe(), everybody(), tables.cases(LABELS), size=16)
    assert tried == [16, 8, 4, 4, 4, 4, 4]
    assert float((found - expected).norm()) < 1e-5


@pytest.mark.parametrize(("words", "size"), [("can't allocate memory", 1), ("something else", 16)])
def test_what_halving_cannot_help_is_raised(monkeypatch, words, size):
    def full(*_):
        raise RuntimeError(words)

    monkeypatch.setattr(private, "_part", full)
    with pytest.raises(RuntimeError, match=words):
        summed(recipe(), everybody(), tables.cases(LABELS), size=size)


# nothing random is public: from a public seed, who is there would show in the gradients of all the others


def test_dropout_follows_the_secret_stream():
    chosen = recipe(network={"name": "MLP", "hidden": [16], "dropout": 0.5})
    assert same(fitted(chosen, everybody(1)).params, fitted(chosen, everybody(1)).params)
    assert not same(fitted(chosen, everybody(1)).params, fitted(chosen, everybody(2)).params)


def test_dropout_differs_between_patients():
    chosen = recipe(network={"name": "MLP", "hidden": [64], "dropout": 0.5})
    row = tables.cases([1])[0]
    alike = [replace(row, case=f"case-{n}", patient=f"p{n}") for n in range(2)]
    one = summed(chosen, everybody(clip_norm=1e6), alike[:1])
    assert float((summed(chosen, everybody(clip_norm=1e6), alike) - 2 * one).norm()) > 0.01 * float(one.norm())


def test_augmentation_follows_the_secret_stream(tmp_path):
    chosen = radiographs.recipe(training=OPEN, dp=DP)
    cases = radiographs.cases(tmp_path, [0, 1])
    drawn = fit._samples(chosen, cases, tmp_path, {}, (0,), None, None)
    one, again, other = (private._sample(drawn, 0, mechanism(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


# what stands around the noise


def test_the_proximal_term_comes_behind_clip_and_noise():
    chosen = recipe(training={"proximal_mu": 1.0})
    start = networks.initial_params(chosen)[0]
    run = steps.begin(chosen, start, CPU, 0.5, anchor={name: tensor + 20 for name, tensor in start.items()})
    private._move(chosen, run, torch.zeros(5))
    for name, tensor in networks.get_params(run.network).items():
        np.testing.assert_allclose(tensor, start[name] + 10, rtol=1e-6)


def test_a_head_learns_in_its_turn():
    chosen = recipe(network={"name": "MLP", "hidden": [3]}, training={"personal": "head", "head_steps": 1})
    start = networks.initial_params(chosen)[0]
    run = steps.begin(chosen, start, CPU, 0.5)
    private._move(chosen, run, torch.ones(sum(tensor.size for tensor in start.values())))
    found = networks.get_params(run.network)
    assert {name for name in found if not np.array_equal(found[name], start[name])} == {"3.weight", "3.bias"}


def test_it_is_never_left_out_nor_done_unasked():
    with pytest.raises(ValueError, match="reserved mechanism"):
        fitted(recipe(), None)
    with pytest.raises(ValueError, match="reserved mechanism"):
        fitted(tables.tabular(data=GIVEN), mechanism())


@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.BatchNorm1d(2, track_running_stats=False),
        torch.nn.InstanceNorm1d(2, track_running_stats=True),
        torch.nn.utils.spectral_norm(torch.nn.Linear(2, 2)),
    ],
)
def test_a_network_with_state_beside_its_weights_is_refused_whatever_was_asked_for(monkeypatch, layer):
    built = torch.nn.Sequential(torch.nn.Linear(4, 2), layer, torch.nn.Linear(2, 1))
    monkeypatch.setattr(networks, "refuse_running_statistics", lambda _: None)
    monkeypatch.setitem(networks.FOR_ROWS, "Linear", lambda _: built)
    with pytest.raises(FedmedError, match=type(layer).__name__) as caught:
        fitted(recipe(), mechanism(), num_steps=1)
    assert caught.value.code == "FM-TRN-02"


def test_weights_that_are_no_numbers_end_the_round_without_saying_who_was_drawn():
    chosen = recipe(training={"optimizer": {"name": "SGD", "client_lr": 10}})
    with pytest.raises(FedmedError) as caught:
        fitted(chosen, mechanism(clip_norm=1e38, noise_multiplier=1e3))
    assert caught.value.code == "FM-TRN-01"
    assert "case" not in caught.value.message


def test_a_broken_case_ends_the_round_under_its_own_code():
    cases = tables.cases(LABELS)
    cases[3] = replace(cases[3], row=None)
    with pytest.raises(FedmedError, match="no row to learn from") as caught:
        fitted(recipe(), everybody(), cases)
    assert caught.value.code == "FM-TRN-03"


# every family of networks


def balls(network, loss="DiceCELoss"):
    return tiny_recipe(loss={"name": loss}, top={"network": network, "augment": [], "dp": DP})


UNET = {"name": "UNet", "channels": [4, 8], "strides": [2]}
FAMILIES = {
    "logistic": (recipe(), (4,)),
    "layers": (recipe(network={"name": "MLP", "hidden": [6, 3]}), (4,)),
    "resnet": (radiographs.recipe(training=OPEN, dp=DP), (1, 16, 16)),
    "unet": (balls(UNET), (1, 8, 8, 8)),
    "residual unet": (balls({**UNET, "num_res_units": 1, "norm": "group"}, "DiceLoss"), (1, 8, 8, 8)),
    "segresnet": (
        balls({"name": "SegResNet", "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, "DiceFocalLoss"),
        (1, 8, 8, 8),
    ),
    "heat maps": (boxed.recipe(training=OPEN, dp=DP), (1, 32, 32)),
    "densenet": (
        radiographs.recipe(training=OPEN, dp=DP, data={"image_size": [32, 32]}, network={"name": "DenseNet121"}),
        (1, 32, 32),
    ),
}


def learned(chosen, number):
    if chosen.task == "segmentation":
        return (torch.arange(number * 512).reshape(number, 1, 8, 8, 8) % 7 == 0).to(torch.uint8)
    if chosen.task == "localisation":
        return torch.stack([torch.eye(32)[None] * (n % 2) for n in range(number)])
    return torch.arange(number) % 2


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "densenet")) for name in FAMILIES]
)
def test_every_family_of_networks_has_the_sum_of_a_loop_over_patients(name):
    chosen, shape = FAMILIES[name]
    images, labels, owner, clip = torch.randn(4, *shape), learned(chosen, 4), [0, 1, 1, 2], 0.5
    run = steps.begin(chosen, networks.initial_params(chosen)[0], CPU, 0.1)
    run.network.eval()
    loss, encode = private._loss(chosen, run, frozenset())
    found, _ = dp_sgd.clipped_sum(run.network, loss, images, encode(labels), owner, clip)
    expected = 0
    for places in ([0], [1, 2], [3]):
        run.network.zero_grad()
        for place in places:
            each = run.loss(run.network(images[place : place + 1]), labels[place : place + 1])
            (each / len(places)).backward()
        gradient = torch.cat([weight.grad.flatten() for weight in run.network.parameters()])
        expected = expected + gradient * min(1.0, clip / float(gradient.norm()))
    assert float(expected.norm()) > 0.1
    assert float((found - expected).norm()) < 1e-3 * float(expected.norm())
