"""All that fedmed uses of MONAI, imported in one place, and only for tasks on images.

`import monai` runs every module that it has, and these load what they find installed: plots, statistics, signal
processing. That is more than half of its seconds, for parts that fedmed does not use. MONAI treats these packages as
optional, so while it is imported it is told that they are not there; fedmed's own imports of them are not touched.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fedmed.training import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

UNUSED = ("matplotlib", "sklearn", "scipy.signal")


@contextmanager
def without(packages: tuple[str, ...]) -> Iterator[None]:
    """Inside, importing one of them fails (None in sys.modules), unless it was imported before."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with without(UNUSED):
    from monai import transforms
    from monai.data import MetaTensor, get_track_meta, set_track_meta
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss
    from monai.metrics import compute_dice, compute_hausdorff_distance
    from monai.networks import nets
    from monai.networks.layers import get_norm_layer

quiet.silence()

__all__ = [
    "DiceCELoss",
    "DiceFocalLoss",
    "DiceLoss",
    "MetaTensor",
    "compute_dice",
    "compute_hausdorff_distance",
    "get_norm_layer",
    "get_track_meta",
    "nets",
    "set_track_meta",
    "sliding_window_inference",
    "transforms",
]
