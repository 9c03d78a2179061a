"""The sample hospitals' head MR with a tumour: three seeds, beside pooled and local-only training.

    python benchmarks/tumour_sample.py

Resumable: a killed run goes on. Settings were chosen on training and validation cases.
"""

from __future__ import annotations

import simulated
import trivial

DATA = simulated.TOP / "sample_data" / "mr-tumour"


def main() -> None:
    options = simulated.options(__doc__ or "", "tumour_sample", rounds=12, data=DATA)
    recipe = "tumour-segmentation-mr.small.yaml"
    simulated.sample_hospitals("tumour_sample", "mr-tumour", recipe, options, trivial.threshold_dice, 0.5)


if __name__ == "__main__":
    main()
