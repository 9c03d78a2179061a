"""A round as a script of a person who needs no federation: start, load batches, train, save. Run by training.py.

    python benchmarks/bare_round.py TASK BATCHES.safetensors WEIGHTS.safetensors

The network is the recipe's, from MONAI where the images need it.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn


def network(task: str, recipe: dict[str, Any], images: torch.Tensor) -> nn.Module:
    chosen = recipe["network"]
    if task == "table":
        widths = [images.shape[-1], *chosen.get("hidden", []), 1]
        return nn.Sequential(*[nn.Linear(a, b) for a, b in pairwise(widths)])
    from monai.networks import nets  # noqa: PLC0415

    classes = len(recipe["data"]["labels"]) + 1
    if task == "segmentation":
        return nets.UNet(
            spatial_dims=3, in_channels=1, out_channels=classes, channels=chosen["channels"],
            strides=chosen["strides"], num_res_units=chosen["num_res_units"],
        )  # fmt: skip
    return nets.ResNet(
        block="basic", layers=chosen["layers"], block_inplanes=chosen["block_inplanes"], spatial_dims=2,
        n_input_channels=1, num_classes=classes, conv1_t_size=chosen["conv1_t_size"],
        conv1_t_stride=chosen["conv1_t_stride"], no_max_pool=chosen["no_max_pool"],
    )  # fmt: skip


def loss_of(task: str, weights: torch.Tensor | None) -> Any:
    if task == "table":
        return lambda logits, labels: nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.float())
    if task == "classification":
        return nn.CrossEntropyLoss(weights)
    from monai.losses import DiceCELoss  # noqa: PLC0415

    return DiceCELoss(softmax=True, to_onehot_y=True, include_background=False)


def main() -> None:
    task, source, target = sys.argv[1:]
    with safe_open(source, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        recipe = json.loads(file.metadata()["recipe"])
    model = network(task, recipe, tensors["images"]).train()
    loss_function = loss_of(task, tensors.get("weights"))
    chosen = recipe["training"]["optimizer"]
    lr, decay = chosen["client_lr"], chosen["weight_decay"]
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
        if chosen["name"] == "AdamW"
        else torch.optim.SGD(model.parameters(), lr=lr, momentum=chosen["momentum"], weight_decay=decay)
    )
    for images, labels in zip(tensors["images"], tensors["labels"], strict=True):
        loss = loss_function(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        if recipe["training"]["grad_clip"]:
            nn.utils.clip_grad_norm_(model.parameters(), recipe["training"]["grad_clip"])
        optimizer.step()
        loss.item()
    save_file(model.state_dict(), target)


if __name__ == "__main__":
    main()
