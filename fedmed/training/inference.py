"""A label map for a whole case, in the case's own grid, whatever orientation and spacing the network works in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedmed.training import devices, transforms
from fedmed.training.monai_parts import MetaTensor, sliding_window_inference
from fedmed.training.monai_parts import transforms as mt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedmed.cases.case import Volume
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Segmentation


@dataclass(frozen=True)
class Standardised:
    """A case as the network sees it, and the grid its answer is wanted in.

    image [C, X', Y', Z'] float32 with its `affine` float64 [4, 4]; `shape` (X, Y, Z) and affine `grid` of the case.
    """

    image: torch.Tensor
    affine: torch.Tensor
    shape: tuple[int, ...]
    grid: NDArray[np.float64]


def standardised(volume: Volume, recipe: Segmentation, preprocessing: Preprocessing | None = None) -> Standardised:
    """The fixed chain over the image of a case."""
    standardise = transforms.standardise(recipe, preprocessing)
    image = standardise({"image": transforms.as_sample(volume)["image"]})["image"]
    return Standardised(image.as_tensor().contiguous(), image.affine, volume.image.shape[1:], volume.affine)


def predict_standardised(
    network: nn.Module, seen: Standardised, recipe: Segmentation, device: torch.device
) -> NDArray[np.uint8]:
    """The most probable class of each voxel of the case: uint8 [X, Y, Z], 0 is background.

    The network runs in overlapping windows of `patch_size` with Gaussian weights (Isensee et al. 2021) on `device`,
    where it must be already; the windows are put together on the CPU, because the whole volume is what exhausts a GPU.
    The network is left in evaluation mode. Raises FedmedError FM-RES-04 when the device runs out of memory.
    """
    network.eval()

    def window(patch: torch.Tensor) -> torch.Tensor:
        with devices.autocast(device):
            logits: torch.Tensor = network(patch)
        return logits.float()

    with devices.out_of_memory(device), torch.inference_mode():
        logits = sliding_window_inference(
            seen.image[None],
            roi_size=recipe.training.patch_size,
            sw_batch_size=recipe.evaluation.window_batch,
            predictor=window,
            overlap=recipe.evaluation.overlap,
            mode="gaussian",
            sw_device=device,
            device=torch.device("cpu"),
        )[0]
        return most_probable(torch.softmax(logits, dim=0), seen)


def most_probable(probabilities: torch.Tensor, seen: Standardised) -> NDArray[np.uint8]:
    """Resample `probabilities` [K, X', Y', Z'] from the network's grid to that of the case, then take the largest.

    Probabilities, not labels: a label map that is resampled gets steps and loses thin parts. One class at a time: a
    large case times 33 classes does not fit into memory.
    """
    resample = mt.SpatialResample(mode="bilinear", padding_mode="border", align_corners=False, dtype=torch.float32)
    target = torch.tensor(seen.grid)
    best, label = torch.full(seen.shape, -1.0), torch.zeros(seen.shape, dtype=torch.uint8)
    for number, probability in enumerate(probabilities):
        source = MetaTensor(probability[None], affine=seen.affine)
        here = resample(source, dst_affine=target, spatial_size=seen.shape)[0].as_tensor()
        better = here > best
        best, label = torch.where(better, here, best), torch.where(better, number, label).to(torch.uint8)
    return label.numpy()
