from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from fedmed import recipe as recipes
from fedmed.cases.case import Volume
from fedmed.errors import FedmedError
from fedmed.training import inference, networks, transforms

CPU = torch.device("cpu")
REPO = Path(__file__).parents[2]
BRAINS = REPO.parent / "shared" / "data" / "brain_tumour_nifti"


class Bright(torch.nn.Module):
    """Says ball where the standardised image is above 1: a segmentation that a test can work out."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, image):
        self.shapes.append(tuple(image.shape))
        return torch.cat([torch.zeros_like(image), 20 * (image - 1)], dim=1)


def phantom(axes, spacing, shape):
    """A block off every centre line, in a grid whose axes point to `axes` (such as LPS)."""
    orientation = nibabel.orientations.axcodes2ornt(axes)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (axis, sign) in enumerate(orientation):
        affine[int(axis), column] = sign * spacing[column]
    affine[:3, 3] = 31, -17, 5
    label = np.zeros(shape, np.uint8)
    label[shape[0] // 8 : shape[0] // 2, shape[1] // 2 : -2, 2 : shape[2] // 2] = 1
    image = (1000.0 * label + 1 + np.random.RandomState(1).rand(*shape)).astype(np.float32)
    return Volume(image[None], affine, label)


def predict(network, volume, recipe):
    return inference.predict_standardised(network, inference.standardised(volume, recipe), recipe, CPU)


def overlap(one, two):
    return 2 * (one & two).sum() / (one.sum() + two.sum())


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SLA"])
def test_a_prediction_comes_back_in_the_source_grid(recipe_of, axes):
    # 3 mm, 1 mm and 2 mm; the network sees 2 mm in RAS
    volume = phantom(axes, (3.0, 1.0, 2.0), (20, 48, 26))
    network = Bright()
    predicted = predict(network, volume, recipe_of(patch_size=[16, 16, 16]))
    assert predicted.shape == volume.label.shape
    assert predicted.dtype == np.uint8
    assert overlap(predicted, volume.label) > 0.93
    # neither a mirror image nor a shift: the centres lie well within half a voxel of the network's, which is 1 mm
    centres = [np.argwhere(mask).mean(0) @ volume.affine[:3, :3].T for mask in (predicted, volume.label)]
    assert np.allclose(*centres, atol=0.6)
    assert not network.training
    assert all(shape[2:] == (16, 16, 16) and shape[0] <= 2 for shape in network.shapes)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR"])
def test_at_the_recipes_own_spacing_nothing_is_lost(recipe_of, axes):
    volume = phantom(axes, (2.0, 2.0, 2.0), (24, 20, 18))
    assert np.array_equal(predict(Bright(), volume, recipe_of(patch_size=[16, 16, 16])), volume.label)


def test_an_image_smaller_than_the_window(recipe_of):
    volume = phantom("RAS", (2.0, 2.0, 2.0), (10, 9, 8))
    assert np.array_equal(predict(Bright(), volume, recipe_of(patch_size=[16, 16, 16])), volume.label)


def test_the_most_probable_of_many_classes():
    seen = inference.Standardised(torch.zeros(1, 2, 1, 1), torch.eye(4), (2, 1, 1), np.eye(4))
    probabilities = torch.tensor([[0.2, 0.5], [0.5, 0.1], [0.3, 0.4]]).reshape(3, 2, 1, 1)
    assert inference.most_probable(probabilities, seen).ravel().tolist() == [1, 0]


def test_a_full_device_has_a_code(recipe_of):
    class Full(torch.nn.Module):
        def forward(self, _):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(FedmedError) as caught:
        predict(Full(), phantom("RAS", (2.0, 2.0, 2.0), (8, 8, 8)), recipe_of())
    assert caught.value.code == "FM-RES-04"


@pytest.fixture(scope="module", params=["brain1", "brain2"])
def brain(request):
    if not BRAINS.is_dir():
        pytest.skip("the brain cases are not at ../shared/data/brain_tumour_nifti")
    image, label = (nibabel.load(BRAINS / f"{request.param}_{kind}.nii.gz") for kind in ("image", "label"))
    mask = np.asanyarray(label.dataobj).astype(np.uint8)
    return Volume(image.get_fdata(dtype=np.float32)[None], image.affine, mask)


@pytest.mark.slow
def test_real_brains_go_through_the_tumour_recipe(brain):
    recipe = recipes.load(REPO / "recipes" / "tumour-segmentation-mr.yaml")
    sample = transforms.standardise(recipe)(transforms.as_sample(brain))
    assert np.allclose(np.linalg.norm(sample["image"].affine[:3, :3], axis=0), recipe.data.spacing, atol=1e-3)
    standardised = sample["image"].as_tensor()
    assert abs(float(standardised[standardised != 0].mean())) < 0.01
    # the tumour keeps its volume in mm, and a network that is always right gets it back in the source grid
    volume = brain.label.sum() * abs(np.linalg.det(brain.affine[:3, :3]))
    assert float(sample["label"].sum()) * np.prod(recipe.data.spacing) == pytest.approx(volume, rel=0.05)
    right = torch.nn.functional.one_hot(sample["label"][0].as_tensor().long(), 2).movedim(-1, 0).float()
    assert overlap(inference.most_probable(right, inference.standardised(brain, recipe)), brain.label) > 0.95


@pytest.mark.slow
def test_real_brains_are_predicted_with_the_small_recipe(brain):
    recipe = recipes.load(REPO / "recipes" / "tumour-segmentation-mr.small.yaml")
    predicted = predict(networks.build(recipe), brain, recipe)
    assert predicted.shape == brain.label.shape
    assert set(np.unique(predicted)) <= {0, 1}
