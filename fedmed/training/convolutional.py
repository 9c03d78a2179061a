"""Networks for images by name, built by MONAI from a recipe. First weights come from torch's random state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fedmed import recipe as recipes
from fedmed import recipe_networks
from fedmed.training.monai_parts import get_norm_layer, nets

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedmed.recipe import Imaging

MAX_GROUPS = 8  # MONAI's own number for SegResNet
PRIOR = 0.01


def _unet(recipe: Imaging) -> nn.Module:
    """U-Net with residual units (Ronneberger et al. 2015; Kerfoot et al. 2019), as in MONAI. Heat maps: see `_head`."""
    network = recipe.network
    if not isinstance(network, recipe_networks.UNet):
        raise TypeError(type(network).__name__)
    is_flat = isinstance(recipe, recipes.Localisation)
    out_channels = network.channels[0] if is_flat else recipe.num_classes
    # with residual units MONAI also normalises the last upsampling, as wide as the output
    widths = (*network.channels, out_channels) if network.num_res_units else network.channels
    built: nn.Module = nets.UNet(
        spatial_dims=2 if is_flat else 3,
        in_channels=len(recipe.data.channels),
        out_channels=out_channels,
        channels=network.channels,
        strides=network.strides,
        num_res_units=network.num_res_units,
        norm=_norm(network.norm, widths),
        dropout=network.dropout,
    )
    return nn.Sequential(built, nn.ReLU(), _head(out_channels, recipe.num_classes)) if is_flat else built


def _head(width: int, labels: int) -> nn.Module:
    """From features to a heat map for each label, a pixel at a time (Zhou et al. 2019): a norm over the one map of a
    single label would give every image a peak.

    It begins at PRIOR everywhere, or the first steps would only learn that most pixels are none (Lin et al. 2017).
    """
    head = nn.Conv2d(width, labels, kernel_size=1)
    with torch.no_grad():
        head.weight.normal_(std=0.01)
        head.bias.fill_(math.log(PRIOR / (1 - PRIOR)))  # type: ignore[union-attr]
    return head


def _segresnet(recipe: Imaging) -> nn.Module:
    """SegResNet without the autoencoder branch (Myronenko 2018), as in MONAI."""
    network = recipe.network
    if not isinstance(network, recipe_networks.SegResNet):
        raise TypeError(type(network).__name__)
    built: nn.Module = nets.SegResNet(
        spatial_dims=3,
        init_filters=network.init_filters,
        in_channels=len(recipe.data.channels),
        out_channels=recipe.num_classes,
        blocks_down=network.blocks_down,
        blocks_up=network.blocks_up,
        norm=_norm(network.norm, (network.init_filters,)),
        dropout_prob=network.dropout or None,
    )
    return built


def _densenet(recipe: Imaging) -> nn.Module:
    """DenseNet121 (Huang et al. 2017), as in MONAI, not pretrained."""
    network = recipe.network
    if not isinstance(network, recipe_networks.DenseNet121):
        raise TypeError(type(network).__name__)
    built: nn.Module = nets.DenseNet121(
        spatial_dims=2,
        in_channels=len(recipe.data.channels),
        out_channels=recipe.num_classes,
        norm=_norm(network.norm, (64, 32)),
        dropout_prob=network.dropout_prob,
    )
    return built


def _resnet(recipe: Imaging) -> nn.Module:
    """ResNet of basic blocks (He et al. 2016), as in MONAI."""
    network = recipe.network
    if not isinstance(network, recipe_networks.ResNet):
        raise TypeError(type(network).__name__)
    built: nn.Module = nets.ResNet(
        block="basic",
        layers=list(network.layers),
        block_inplanes=list(network.block_inplanes),
        spatial_dims=2,
        n_input_channels=len(recipe.data.channels),
        conv1_t_size=network.conv1_t_size,
        conv1_t_stride=network.conv1_t_stride,
        no_max_pool=network.no_max_pool,
        num_classes=recipe.num_classes,
        bias_downsample=False,
    )
    if network.norm != "batch":
        _replace_batch_norm(built, _norm(network.norm, network.block_inplanes))
    return built


def _replace_batch_norm(network: nn.Module, norm: tuple[str, dict[str, Any]]) -> None:
    """MONAI 1.6 hands ResNet's `norm` to the first layer alone and builds batch norm everywhere else."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                setattr(parent, name, get_norm_layer(norm, spatial_dims=2, channels=layer.num_features))


def _norm(name: str, widths: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
    """MONAI's norm argument. Group norm takes the largest number of groups, at most 8, that divides every width."""
    if name != "group":
        return name, {}
    groups = math.gcd(*widths)
    return "group", {"num_groups": max(n for n in range(1, MAX_GROUPS + 1) if groups % n == 0)}


BUILDERS: dict[str, Callable[[Any], nn.Module]] = {
    "UNet": _unet,
    "SegResNet": _segresnet,
    "DenseNet121": _densenet,
    "ResNet": _resnet,
}
