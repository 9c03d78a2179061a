"""Phantoms made in code: a bright ball in noise, as NIfTI files below a data root and as cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

import fedmed.training  # noqa: F401 - before any torch: it says how torch's threads wait
from fedmed.cases.case import Case, Geometry
from fedmed.recipe import Segmentation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def tiny_recipe(**training: Any) -> Segmentation:
    """A recipe that takes milliseconds a step; keywords replace fields of `training`, `top` those of the recipe."""
    top = training.pop("top", {})
    return Segmentation.model_validate(
        {
            "schema": 1,
            "name": "phantom",
            "task": "segmentation",
            "seed": 7,
            "data": {"modality": "MR", "channels": ["MR"], "labels": {1: "ball"}, "spacing": [2, 2, 2]},
            "augment": [
                {"name": "RandFlip", "prob": 0.5, "spatial_axis": 0},
                {"name": "RandRotate90", "prob": 0.5, "spatial_axes": [0, 1]},
                {"name": "RandAffine", "prob": 0.7, "rotate_range": 0.3, "scale_range": 0.1},
                {"name": "RandScaleIntensity", "prob": 0.5, "factors": 0.2},
                {"name": "RandShiftIntensity", "prob": 0.5, "offsets": 0.2},
                {"name": "RandGaussianNoise", "prob": 0.5, "std": 0.1},
            ],
            "network": {"name": "UNet", "channels": [4, 8], "strides": [2], "dropout": 0.1},
            "training": {
                "patch_size": [8, 8, 8],
                "batch_size": 2,
                "local_steps": 4,
                "optimizer": {"name": "AdamW", "client_lr": 0.01, "weight_decay": 0.01},
                **training,
            },
            **top,
        }
    )


def ball_case(root: Path, name: str, seed: int, shape: tuple[int, int, int] = (14, 12, 10)) -> Case:
    """Write a case with a ball off its centre, 2 mm voxels, and return it."""
    random = np.random.RandomState(seed)
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), -1)
    label = (np.linalg.norm(grid - (5, 6, 4), axis=-1) < 3).astype(np.uint8)
    image = (100 + 10 * random.randn(*shape) + 80 * label).astype(np.float32)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    for kind, array in (("image", image), ("label", label)):
        nifti = nibabel.Nifti1Image(array, affine)
        nifti.header.set_xyzt_units("mm")
        nibabel.save(nifti, root / f"{name}-{kind}.nii.gz")
    return Case(
        case=name,
        patient=name,
        group="",
        image={"MR": (f"{name}-image.nii.gz",)},
        label=f"{name}-label.nii.gz",
        covariates={},
        geometry=Geometry(shape, (2.0, 2.0, 2.0), "RAS"),
    )


@pytest.fixture(autouse=True)
def drawn_alike() -> None:
    """Weights and noise that a test draws without a seed are the same in every run."""
    import torch  # noqa: PLC0415 - not before fedmed.training

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def recipe_of() -> Callable[..., Segmentation]:
    return tiny_recipe


@pytest.fixture(scope="session")
def ball_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("balls")


@pytest.fixture(scope="session")
def ball_cases(ball_root: Path) -> list[Case]:
    return [ball_case(ball_root, f"case-{number}", number) for number in range(5)]
