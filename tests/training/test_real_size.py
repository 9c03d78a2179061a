"""Recipes that are meant for a GPU, at their real size: one step and one prediction on the CPU.

The network, the patch or image size and the whole chain are the recipe's own. Only the batch is made as small as the
recipe allows (2 with batch norm, which sees nothing in a batch of one, else 1), so that it fits into memory.
"""

import resource
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedmed import pooling
from fedmed import recipe as recipes
from fedmed.cases import fingerprint as measuring
from fedmed.cases.case import Box
from fedmed.training import fit, networks, scoring
from fedmed.training.localisation import Located
from fedmed.training.rated import Rated
from tests import radiographs
from tests.cases import phantoms

FOLDER = Path(__file__).parents[2] / "recipes"
FILES = [path for path in sorted(FOLDER.glob("*.yaml")) if ".small." not in path.name and "-table" not in path.name]
MAX_GIGABYTES = 12


def reduced(path):
    data = recipes.load(path).model_dump(mode="json", by_alias=True)
    smallest = 2 if data["network"].get("norm") == "batch" else 1
    return recipes.parse({**data, "training": {**data["training"], "batch_size": smallest}}, path.name)


def phantom(root, recipe):
    """A case of this recipe: a volume as large as a patch with each label in it, a stack of slices, or a radiograph."""
    random = np.random.RandomState(0)
    case = radiographs.case("case-00", 1)
    if recipe.data.modality == "XR":
        radiographs.write(root / "case-00.png", random.randint(0, 255, (700, 560)))
        return replace(case, label=(Box(100, 200, 60, 40, 1),)) if recipe.task == "localisation" else case
    affine = np.eye(4)
    shape = recipe.training.patch_size if recipe.task == "segmentation" else (200, 240, 10)
    image = random.randint(50, 100, shape).astype(np.float32)
    if recipe.task == "segmentation":
        labels = np.zeros(shape, np.uint8)
        for label in recipe.data.labels:
            labels[8 * label : 8 * label + 8, 8:24, 8:24] = label
        image += 100 * labels
        affine = np.diag([*recipe.data.spacing, 1.0])
        phantoms.write_nifti(root / "label.nii.gz", labels, affine)
    phantoms.write_nifti(root / "image.nii.gz", image, affine)
    path = "label.nii.gz" if recipe.task == "segmentation" else 1
    return type(case)(**{**vars(case), "image": {recipe.data.channels[0]: ("image.nii.gz",)}, "label": path})


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_one_step_and_one_prediction_at_real_size(tmp_path, path):
    recipe = reduced(path)
    start, rows = networks.initial_params(recipe)
    case, device = phantom(tmp_path, recipe), torch.device("cpu")
    numbers = None
    if recipe.data.normalisation != "image":
        numbers = pooling.fitted(measuring.measure([case], recipe, tmp_path, {}), recipe)
    fitted = fit.fit(
        recipe, start, [case], root=tmp_path, label_map={}, site="a", round=0, rounds=1, attempt=1, num_steps=1,
        device=device, preprocessing=numbers,
    )  # fmt: skip
    assert fitted.params.keys() == start.keys() == {row["name"] for row in rows}
    assert all(np.isfinite(array).all() for array in fitted.params.values())
    changed = {name for name in start if not np.array_equal(start[name], fitted.params[name])}
    assert len(changed) > 0.9 * len(start)
    assert 0 < fitted.train_loss < 100
    (scored,) = scoring.evaluate(
        recipe, fitted.params, [case], root=tmp_path, label_map={}, device=device, preprocessing=numbers
    )
    if isinstance(scored, Rated):
        assert sum(scored.probabilities) == pytest.approx(1)
    elif isinstance(scored, Located):
        assert scored.boxes == case.label
        assert 0 < len(scored.candidates) <= 32
        assert all(0 <= one.x <= 560 and 0 <= one.y <= 700 and 0 <= one.score <= 1 for one in scored.candidates)
    else:
        assert {row.label for row in scored.rows} == set(recipe.data.labels)
        assert all(row.value is None or np.isfinite(row.value) for row in scored.rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{path.name}: peak {peak / 1e9:.1f} GB")
    assert peak < MAX_GIGABYTES * 1e9
