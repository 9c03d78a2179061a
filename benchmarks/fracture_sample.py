"""The sample hospitals' radiographs with a fracture: three seeds, beside pooled and local-only training.

    python benchmarks/fracture_sample.py

Resumable: a killed run goes on. Settings were chosen on training and validation cases.
"""

from __future__ import annotations

import simulated
import trivial

DATA = simulated.TOP / "sample_data" / "xray-fracture"


def main() -> None:
    options = simulated.options(__doc__ or "", "fracture_sample", rounds=15, data=DATA)
    recipe = "fracture-classification-xray.small.yaml"
    simulated.sample_hospitals("fracture_sample", "xray-fracture", recipe, options, trivial.statistic_auroc, 0.65)


if __name__ == "__main__":
    main()
