"""The losses of segmentation, by how far two masks overlap, by name and as MONAI defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedmed.training.monai_parts import DiceCELoss, DiceFocalLoss, DiceLoss

if TYPE_CHECKING:
    from collections.abc import Callable

LOSSES: dict[str, Callable[..., Any]] = {
    "DiceLoss": DiceLoss,
    "DiceCELoss": DiceCELoss,
    "DiceFocalLoss": DiceFocalLoss,
}
