"""Images that go through numbers fitted on many cases, by hand; and a run that was begun with other numbers."""

import numpy as np
import pytest
import torch

from fedmed.cases.case import Picture, Volume
from fedmed.preprocessing import Intensity, Preprocessing
from fedmed.training import fit, networks, pictures, scoring, transforms
from tests import radiographs
from tests.coded import code_of

CUT = Preprocessing(channels={"MR": Intensity(mean=100, sd=50, low=50, high=200)})
PLAIN = Preprocessing(channels={"MR": Intensity(mean=100, sd=50)})


def volume():
    levels = np.array([0, 10, 75, 150, 400, 0], np.float32)
    image = np.broadcast_to(levels[:, None, None], (6, 3, 3))[None].copy()
    return Volume(image, np.diag([2.0, 2.0, 2.0, 1.0]), None)


@pytest.mark.parametrize(
    ("modality", "fitted", "expected"),
    [
        ("MR", CUT, [0, -1, -0.5, 1, 2, 0]),  # zeros are outside and stay
        ("CT", CUT, [-1, -1, -0.5, 1, 2, -1]),  # 0 HU is water
        ("MR", PLAIN, [0, -1.8, -0.5, 1, 6, 0]),  # nobody could tell the percentiles
    ],
)
def test_a_volume_by_hand(recipe_of, modality, fitted, expected):
    data = {"modality": modality, "channels": ["MR"], "labels": {1: "ball"}, "spacing": [2, 2, 2]}
    image = transforms.standardise(recipe_of(top={"data": data}), fitted)(transforms.as_sample(volume()))["image"]
    np.testing.assert_allclose(image[0, :, 1, 1], expected, atol=1e-6)


def test_channels_are_found_by_name(recipe_of):
    data = {"modality": "MR", "channels": ["T1", "T2"], "labels": {1: "ball"}, "spacing": [2, 2, 2]}
    both = {"T2": Intensity(mean=0, sd=10), "T1": Intensity(mean=0, sd=1)}
    one = volume()
    two = Volume(np.concatenate([one.image, one.image]), one.affine, None)
    chain = transforms.standardise(recipe_of(top={"data": data}), Preprocessing(channels=both))
    image = chain(transforms.as_sample(two))["image"].numpy()
    np.testing.assert_allclose(image[0], 10 * image[1])


@pytest.mark.parametrize(
    ("modality", "expected"),
    [("XR", [-1, -1, -0.5, 1, 2, -1]), ("MR", [-1, -1, -0.5, 1, 2, -1])],  # in MR air becomes as dark as the darkest
)
def test_a_picture_by_hand(modality, expected):
    slices = {"slices": {}} if modality == "MR" else {}
    rules = radiographs.recipe(data={"image_size": [18, 18], "modality": modality, "channels": ["MR"], **slices}).data
    levels = np.repeat(np.array([0, 10, 75, 150, 400, 0], np.float32), 3)
    picture = Picture(np.broadcast_to(levels[:, None], (18, 18))[None, None].copy(), (1.0, 1.0), None)
    frame = pictures.standardise(picture, rules, CUT)
    np.testing.assert_allclose(frame[0, 0, 1::3, 9], expected, atol=1e-5)


def test_class_weights_from_pooled_counts():
    recipe = radiographs.recipe(training={"balance": "loss"})
    cases = [radiographs.case(f"case-{number:02d}", number % 2) for number in range(4)]

    def weights(fitted):
        where = (7, "aa", 0, 1)
        return pictures.Pictures(recipe, cases, None, {}, where, preprocessing=fitted).class_weights().tolist()

    assert weights(None) == weights(Preprocessing()) == [1, 1]
    assert weights(Preprocessing(class_counts={0: 90, 1: 10})) == pytest.approx([100 / 180, 100 / 20])


def test_training_and_scoring_see_the_fitted_numbers(recipe_of, ball_root, ball_cases):
    recipe = recipe_of()
    start = networks.initial_params(recipe)[0]
    where = {"root": ball_root, "label_map": {}, "device": torch.device("cpu")}
    place = {"site": "a", "round": 0, "rounds": 3, "attempt": 0, "num_steps": 1}
    others = [None, CUT, PLAIN]
    losses = [fit.fit(recipe, start, ball_cases, **where, **place, preprocessing=each).train_loss for each in others]
    assert len(set(losses)) == 3
    shown = [scoring.evaluate(recipe, start, ball_cases[:1], **where, preprocessing=each)[0].rows for each in others]
    assert shown[0] != shown[1]


def test_a_checkpoint_made_with_other_numbers_is_not_gone_on_from(recipe_of, ball_root, ball_cases, tmp_path):
    recipe = recipe_of()
    start = networks.initial_params(recipe)[0]

    def train(fitted, num_steps=2):
        seen = []
        fit.fit(
            recipe, start, ball_cases, root=ball_root, label_map={}, device=torch.device("cpu"), site="a", round=0,
            rounds=3, attempt=0, num_steps=num_steps, preprocessing=fitted, checkpoint=tmp_path / "kept",
            checkpoint_minutes=0, progress=lambda step, _total, _loss: seen.append(step),
        )  # fmt: skip
        return seen

    assert train(CUT) == [1, 2]
    assert train(CUT) == [], "the same inputs are found finished"
    assert train(PLAIN) == [1, 2]


@pytest.mark.parametrize("normalisation", ["site", "federated"])
def test_a_recipe_that_asks_for_numbers_is_not_trained_without(recipe_of, normalisation):
    data = {"modality": "MR", "channels": ["MR"], "labels": {1: "ball"}, "spacing": [2, 2, 2]}
    recipe = recipe_of(top={"data": {**data, "normalisation": normalisation}})
    other = Preprocessing(channels={"T1": Intensity(mean=0, sd=1)})
    for fitted in (None, Preprocessing(), other):
        assert code_of(lambda fitted=fitted: transforms.standardise(recipe, fitted)) == "FM-NRM-02"
    film = radiographs.recipe(data={"normalisation": normalisation}).data
    picture = Picture(np.ones((1, 1, 9, 9), np.float32), (1.0, 1.0), None)
    assert code_of(lambda: pictures.standardise(picture, film)) == "FM-NRM-02"


def test_volumes_are_resampled_to_the_spacing_of_the_federation(recipe_of):
    data = {"modality": "MR", "channels": ["MR"], "labels": {1: "ball"}, "normalisation": "federated"}
    recipe = recipe_of(top={"data": data})
    with_spacing = CUT.model_copy(update={"spacing": (4.0, 2.0, 1.0)})
    image = transforms.standardise(recipe, with_spacing)(transforms.as_sample(volume()))["image"]
    np.testing.assert_allclose(image.affine.numpy()[:3, :3], np.diag([4, 2, 1]), atol=1e-6)
    assert code_of(lambda: transforms.standardise(recipe, CUT)) == "FM-NRM-02"
