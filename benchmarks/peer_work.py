"""The work that Flower, NVFLARE and a bare loop are given: torch alone, so that nobody pays for another's imports.

Two jobs: `empty`, whose 250,000 numbers come back as they went, and `real`, a U-Net of 252 thousand parameters over
batches of 8 patches of 32 x 32 x 32 voxels. The U-Net is layer by layer what fedmed's recipe builds with MONAI.
"""

from __future__ import annotations

import functools

import torch
from torch import nn

SITES, BATCHES, BATCH, SIDE = 4, 20, 8, 32
CHANNELS, STRIDES = (24, 48, 96), (2, 2)
ROUNDS = {"empty": 5, "real": 3}
EMPTY = 250_000
LR = 0.01


class Empty(nn.Module):
    """1 MB of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(EMPTY))


def layer(inside: int, outside: int, stride: int) -> nn.Sequential:
    conv = nn.Conv3d(inside, outside, 3, stride=stride, padding=1)
    return nn.Sequential(conv, nn.InstanceNorm3d(outside), nn.PReLU())


class UNet(nn.Module):
    """Down by strided convolutions, up by transposed ones, with skips; 1 channel to 2 classes."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, *CHANNELS)
        self.down = nn.ModuleList(layer(a, b, s) for a, b, s in zip(widths, CHANNELS, (*STRIDES, 1), strict=False))
        outs = (2, *CHANNELS[:-2])
        ups = []
        for level, (outside, stride) in enumerate(zip(outs, STRIDES, strict=True)):
            below = CHANNELS[level] + (CHANNELS[-1] if level == len(STRIDES) - 1 else CHANNELS[level])
            up = nn.ConvTranspose3d(below, outside, 3, stride=stride, padding=1, output_padding=stride - 1)
            ups.append(nn.Sequential(up) if level == 0 else nn.Sequential(up, nn.InstanceNorm3d(outside), nn.PReLU()))
        self.up = nn.ModuleList(ups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for down in self.down[:-1]:
            x = down(x)
            skips.append(x)
        x = self.down[-1](x)
        for up, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = up(torch.cat([skip, x], dim=1))
        return x


def network(job: str) -> nn.Module:
    torch.manual_seed(1)
    return Empty() if job == "empty" else UNet()


@functools.cache
def batches(site: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A bright ball in noise, and where it is."""
    random = torch.Generator().manual_seed(site)
    grid = torch.stack(torch.meshgrid(*[torch.arange(SIDE)] * 3, indexing="ij"), -1).float()
    found = []
    for _ in range(BATCHES):
        centre = torch.randint(5, SIDE - 5, (BATCH, 1, 1, 1, 3), generator=random)
        label = ((grid - centre).norm(dim=-1) < 5).long()[:, None]
        image = torch.randn(label.shape, generator=random) + 2 * label
        found.append((image, label))
    return found


def loss_of(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross entropy and soft Dice of the foreground."""
    ours, truth = torch.softmax(logits, 1)[:, 1:], label.float()
    axes = (2, 3, 4)
    dice = (2 * (ours * truth).sum(axes) + 1e-5) / ((ours + truth).sum(axes) + 1e-5)
    return nn.functional.cross_entropy(logits, label[:, 0]) + (1 - dice).mean()


def train(job: str, model: nn.Module, site: int) -> float:
    """One site's part of a round; returns the mean loss."""
    if job == "empty":
        return 0.0
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    total = 0.0
    for image, label in batches(site):
        loss = loss_of(model(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / BATCHES
