"""A label map for a whole case, in the case's own grid, whatever orientation and spacing the network works in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from monai import transforms as mt
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference

from fedmed.training import devices, quiet, transforms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedmed.cases.case import Volume
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Segmentation

quiet.silence()


def predict(
    network: nn.Module,
    volume: Volume,
    recipe: Segmentation,
    device: torch.device,
    preprocessing: Preprocessing | None = None,
) -> NDArray[np.uint8]:
    """The most probable class of each voxel of `volume`: uint8 [X, Y, Z], 0 is background.

    The network runs in overlapping windows of `patch_size` with Gaussian weights (Isensee et al. 2021) on `device`,
    where it must be already; the windows are put together on the CPU, because the whole volume is what exhausts a GPU.
    The network is left in evaluation mode. Raises FedmedError FM-RES-04 when the device runs out of memory.
    """
    standardise = transforms.standardise(recipe, preprocessing)
    image = standardise({"image": transforms.as_sample(volume)["image"]})["image"]
    network.eval()

    def window(patch: torch.Tensor) -> torch.Tensor:
        with devices.autocast(device):
            logits: torch.Tensor = network(patch)
        return logits.float()

    with devices.out_of_memory(device), torch.inference_mode():
        logits = sliding_window_inference(
            image.as_tensor()[None],
            roi_size=recipe.training.patch_size,
            sw_batch_size=recipe.evaluation.window_batch,
            predictor=window,
            overlap=recipe.evaluation.overlap,
            mode="gaussian",
            sw_device=device,
            device=torch.device("cpu"),
        )[0]
        return most_probable(torch.softmax(logits, dim=0), image.affine, volume)


def most_probable(probabilities: torch.Tensor, affine: Any, volume: Volume) -> NDArray[np.uint8]:
    """Resample `probabilities` [K, X', Y', Z'] on `affine` to the grid of `volume`, then take the largest.

    Probabilities, not labels: a label map that is resampled gets steps and loses thin parts. One class at a time: a
    large case times 33 classes does not fit into memory.
    """
    shape = volume.image.shape[1:]
    resample = mt.SpatialResample(mode="bilinear", padding_mode="border", align_corners=False, dtype=torch.float32)
    target = torch.tensor(volume.affine)
    best, label = torch.full(shape, -1.0), torch.zeros(shape, dtype=torch.uint8)
    for number, probability in enumerate(probabilities):
        source = MetaTensor(probability[None], affine=affine)
        here = resample(source, dst_affine=target, spatial_size=shape)[0].as_tensor()
        better = here > best
        best, label = torch.where(better, here, best), torch.where(better, number, label).to(torch.uint8)
    return label.numpy()
