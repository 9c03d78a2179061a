"""Hippocampus (Medical Segmentation Decathlon, task 4): four uneven virtual hospitals, three seeds, beside pooled and
local-only training; the federation runs through signed files as in earnest.

    python benchmarks/hippocampus.py --data FOLDER

FOLDER has images/ and labels/. Resumable: a killed run goes on. Settings were chosen on training and validation cases.
"""

from __future__ import annotations

import simulated

from fedmed.rehearsal.simulate import Plan

RECIPE = simulated.TOP / "recipes" / "hippocampus-segmentation-mr.small.yaml"
SIZES = (70, 45, 25, 15)


def main() -> None:
    options = simulated.options(__doc__ or "", "hippocampus", rounds=30)
    plan = Plan(
        recipe=RECIPE,
        data=options.data,
        how="sizes",
        sites=len(SIZES),
        sizes=SIZES,
        rounds=options.rounds,
        seeds=options.seeds,
        baselines=True,
    )
    found = simulated.run(plan, options.work)
    intro = [
        "The cases are divided among four hospitals in the proportions 70, 45, 25, 15, anew for each seed, as are the",
        "folds; the test cases are those of all hospitals together, each scored as the mean over its two labels. Every",
        "hospital alone takes as many steps as it does in the federation, the pooled model as many as all together.",
        "Made by `python benchmarks/hippocampus.py`; settings were chosen on training and validation cases.",
    ]
    simulated.publish("hippocampus", "Hippocampus: federated, pooled, local-only", intro, found, options.work)


if __name__ == "__main__":
    main()
