"""Weights from a file: every tensor is accounted for, or nothing is used."""

import pickle
import re
import sys
import tarfile

import numpy as np
import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from fedmed.cli import app
from fedmed.errors import FedmedError
from fedmed.training import networks, pretrained
from tests import radiographs, small

RECIPE = radiographs.recipe(network=radiographs.BATCH_NORM["average"])
HEAD = ("fc.weight", "fc.bias")


def state():
    """What another network of the same kind learned, with its counters, as torch saves it."""
    network = networks.build(radiographs.recipe(seed=99, network=radiographs.BATCH_NORM["average"]))
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def written(path, tensors):
    safetensors.torch.save_file(tensors, path)
    return path


def refused(path, code, words, recipe=RECIPE):
    with pytest.raises(FedmedError, match=words) as caught:
        pretrained.read(recipe, path)
    assert caught.value.code == code
    assert str(path) not in str(caught.value)


def test_an_exact_file_gives_every_tensor(tmp_path):
    given = state()
    assert any(name.endswith("num_batches_tracked") for name in given), "counters may stand in the file"
    found = pretrained.read(RECIPE, written(tmp_path / "w", given))
    assert found.fresh == ()
    assert found.params.keys() == {name for name in given if "num_batches" not in name}
    assert all(np.array_equal(array, given[name].numpy()) for name, array in found.params.items())
    assert found.rows == networks.table(networks.build(RECIPE))
    without = {name: tensor for name, tensor in given.items() if "num_batches" not in name}
    again = pretrained.read(RECIPE, written(tmp_path / "v", without))
    assert all(np.array_equal(array, again.params[name]) for name, array in found.params.items())


@pytest.mark.parametrize("classes", [None, 5])
def test_a_head_that_is_missing_or_of_other_classes_starts_anew(tmp_path, classes):
    given = state()
    for name in HEAD:
        tensor = given.pop(name)
        if classes:
            given[name] = torch.ones(classes, *tensor.shape[1:])
    found = pretrained.read(RECIPE, written(tmp_path / "w", given))
    assert set(found.fresh) == set(HEAD)
    own, _ = networks.initial_params(RECIPE)
    for name, array in found.params.items():
        expected = own[name] if name in HEAD else given[name].numpy()
        assert np.array_equal(array, expected), name


def test_the_head_of_a_densenet_is_known_too(tmp_path):
    recipe = radiographs.recipe(network={"name": "DenseNet121"}, data={"image_size": [32, 32]})
    given = networks.build(recipe).state_dict()
    gone = [name for name in given if name.startswith("class_layers.out")]
    found = pretrained.read(recipe, written(tmp_path / "w", {n: t for n, t in given.items() if n not in gone}))
    assert set(found.fresh) == set(gone) == {"class_layers.out.weight", "class_layers.out.bias"}


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda given: given.pop("conv1.weight"), "FM-TEN-01", r"conv1.weight: expected.*\[4, 1, 3, 3\], got none"),
        (lambda given: given.pop("bn1.running_var"), "FM-TEN-01", "bn1.running_var.*got none"),
        (lambda given: given.update({"conv1.weight": torch.ones(4, 3, 3, 3)}), "FM-TEN-01", r"got \[4, 3, 3, 3\]"),
        (lambda given: given.update(extra=torch.ones(1)), "FM-TEN-01", "1 tensors are not of the network.*'extra'"),
        (lambda given: given.update({"fc.extra": torch.ones(1)}), "FM-TEN-01", "'fc.extra'"),
        (lambda given: given["bn1.bias"].__setitem__(0, torch.nan), "FM-TEN-02", "bn1.bias"),
        (lambda given: given["fc.bias"].__setitem__(0, torch.inf), "FM-TEN-02", "fc.bias"),
        (lambda given: given.update({"bn1.bias": torch.ones(4, dtype=torch.int64)}), "FM-TEN-02", "floating-point"),
        (lambda given: given.update({"bn1.bias": torch.full((4,), 1e300, dtype=torch.float64)}), "FM-TEN-02", "finite"),
        (lambda given: given.clear(), "FM-TEN-01", "got none"),
        (
            lambda given: [given.update({f"module.{name}": given.pop(name)}) for name in list(given)],
            "FM-TEN-01",
            "got none",
        ),
    ],
    ids=[
        "missing",
        "no statistics",
        "shape",
        "unknown",
        "in the head",
        "NaN",
        "inf",
        "int",
        "1e300",
        "empty",
        "prefix",
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, code, words):
    given = state()
    change(given)
    refused(written(tmp_path / "w", given), code, words)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types_become_float32(tmp_path, kind):
    given = {name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in state().items()}
    found = pretrained.read(RECIPE, written(tmp_path / "w", given))
    assert {array.dtype for array in found.params.values()} == {np.dtype(np.float32)}
    assert all(np.array_equal(array, given[name].float().numpy()) for name, array in found.params.items())


def test_a_file_that_is_no_safetensors_file_is_not_even_tried(tmp_path):
    path = tmp_path / "w"
    whole = safetensors.torch.save(state())
    for data in (
        pickle.dumps({"a": 1}),
        b"",
        whole[:-1],
        whole[:100],
        b"\xff" * 16,
        b"\x02" + bytes(7) + b"[]",
        whole + b"x",
    ):
        path.write_bytes(data)
        refused(path, "FM-TEN-04", "not a whole safetensors file")
    torch.save(state(), path)
    refused(path, "FM-TEN-04", "not a whole safetensors file")
    refused(tmp_path / "none", "FM-TEN-04", "cannot be read")
    refused(tmp_path, "FM-TEN-04", "cannot be read")


def test_a_link_is_followed_as_a_download_cache_has_them(tmp_path):
    (tmp_path / "link").symlink_to(written(tmp_path / "w", state()))
    assert pretrained.read(RECIPE, tmp_path / "link").fresh == ()


def test_a_network_that_outlines_has_no_head_to_leave_out(tmp_path, recipe_of):
    given = networks.build(recipe_of()).state_dict()
    assert pretrained.read(recipe_of(), written(tmp_path / "w", given)).fresh == ()
    last = list(given)[-1]
    refused(written(tmp_path / "w", {n: t for n, t in given.items() if n != last}), "FM-TEN-01", last, recipe_of())


# the command


def joined(root, policy):
    return small.joined(
        root, recipe=radiographs.fields(network=radiographs.BATCH_NORM[policy]), patients=radiographs.PATIENTS,
        hospital=radiographs.write_hospital, channels=("XR",),
    )  # fmt: skip


@pytest.fixture
def ran():
    """The command in this process: exit code, and everything that was printed."""

    def run(*words):
        done = CliRunner().invoke(app.app, [str(word) for word in words])
        code = getattr(done.exception, "code", None)
        return code if isinstance(code, str) else done.exit_code, re.sub(r"\s+", " ", done.output)

    return run


def model_r0(coordinator):
    """Payload of model r0 as the stock reader sees it."""
    with tarfile.open(next((coordinator / "outbox").glob("model-r0000*.fedmed"))) as archive:
        return safetensors.torch.load(archive.extractfile("model.safetensors").read())


def test_start_with_weights_seals_the_tensors_of_the_file(tmp_path, ran):
    world, given = joined(tmp_path / "world", "frozen"), state()
    code, _ = ran("start", "-w", world.coordinator)
    assert code == "FM-FED-04", "nothing to freeze"
    assert not list((world.coordinator / "outbox").glob("*.fedmed")), "and nothing is sealed"
    given.pop("fc.bias")
    path = written(tmp_path / "weights.safetensors", given)
    code, text = ran("start", "-w", world.coordinator, "--weights", path)
    assert code == 0, text
    total = len(networks.table(networks.build(RECIPE)))
    assert f"{total - 1} of {total} tensors are from weights.safetensors" in text
    assert "fc.bias" in text
    sealed = model_r0(world.coordinator)
    assert sealed.keys() == {row["name"] for row in networks.table(networks.build(RECIPE))}
    assert all(torch.equal(tensor, given[name]) for name, tensor in sealed.items() if name != "fc.bias")
    code, _ = ran("start", "-w", world.coordinator, "--weights", path)
    assert code == "FM-FED-02", "model r0 is sealed"
    code, _ = ran("start", "-w", world.coordinator)
    assert code == 0, "a second start posts the same files again"
    assert all(torch.equal(tensor, sealed[name]) for name, tensor in model_r0(world.coordinator).items())


def test_weights_that_do_not_fit_seal_nothing(tmp_path, ran):
    world, given = joined(tmp_path / "world", "average"), state()
    given.pop("conv1.weight")
    code, _ = ran("start", "-w", world.coordinator, "--weights", written(tmp_path / "w", given))
    assert code == "FM-TEN-01"
    assert not list((world.coordinator / "outbox").glob("*.fedmed"))


def test_a_start_that_was_killed_goes_on_with_the_weights_it_began_with(tmp_path, ran, monkeypatch):
    world, given = joined(tmp_path / "world", "average"), state()
    path = written(tmp_path / "weights.safetensors", given)
    monkeypatch.setattr("fedmed.coordinator.model.say", lambda *_: sys.exit(9))
    assert ran("start", "-w", world.coordinator, "--weights", path)[0] == 9, "between the federation and model r0"
    monkeypatch.undo()
    code, _ = ran("start", "-w", world.coordinator)
    assert code == "FM-FED-05", "not with random ones in silence"
    code, text = ran("start", "-w", world.coordinator, "--weights", path)
    assert code == 0, text
    assert all(torch.equal(tensor, given[name]) for name, tensor in model_r0(world.coordinator).items())
