"""FLamby's two tables of real hospitals, Fed-Heart-Disease and Fed-TCGA-BRCA: reproduced, then beaten.

    python benchmarks/flamby.py --data FOLDER

FOLDER has fed_heart_disease/ and fed_tcga_brca/. Resumable: a killed run goes on; --work holds what is done.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: sums depend on the number of threads

import dataclasses

import flamby_protocol as protocol
import flamby_published as publishing
import torch

from fedmed import files
from fedmed.reporting import plots

if TYPE_CHECKING:
    from collections.abc import Callable

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "benchmarks" / "results"
OWN_LOSS = "breast-own-loss"
TITLES = {"heart": "Fed-Heart-Disease, accuracy", "breast": "Fed-TCGA-BRCA, C-index"}
INTRO = """
Two published tables of federations of real hospitals (Ogier du Terrail et al., FLamby, NeurIPS 2022). Means over the
seeds 42 to 46; ± is the population standard deviation over them. `sites' own tests` is the mean over the sites, each on
its own test rows; the pooled test is all of these together.

The reproduction follows FLamby's order of chance to the draw, with fedmed's own steps of local training, strategies and
metrics: one random generator goes through all sites in turn, and for TCGA the loaders have worker processes, which draw
their first order before the generator is seeded. A cell (a method, seed and test) is the same when it is within .0005.
FLamby's own, and only in the script, are the preparation of the heart table, the order in which equal times are at risk
(`Cox`), SCAFFOLD without a variate at the server, and a Cyclic that never hands its weights on. `pooled` and `local-N`
train on all rows together and on those of site N alone. One cell of the heart table differs by one row of 254, the
pooled model on the pooled test at seed 42, probably by the order in which FLamby found its files.

Made by `python benchmarks/flamby.py --data FOLDER`, on one thread.
""".strip().splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=TOP / "work" / "flamby")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    reproduced = reproduce(options.data, options.work)
    publish(reproduced)


def reproduce(data: Path, work: Path) -> dict[str, Any]:
    """By table, method and seed. The TCGA table also with fedmed's own Cox loss, which sees equal times otherwise."""
    found: dict[str, Any] = {}
    breast = protocol.breast(data)
    tables = {"heart": (protocol.heart(data), protocol.HEART), "breast": (breast, protocol.BREAST)}
    tables[OWN_LOSS] = (dataclasses.replace(breast, loss=None), protocol.BREAST)
    for name, (table, methods) in tables.items():
        for seed in protocol.SEEDS:
            cells = once(work / f"{name}-{seed}.json", lambda t=table, s=seed, m=methods: dict(protocol.play(t, s, m)))
            print(f"{name}, seed {seed}: reproduced", flush=True)
            for method, row in cells.items():
                found.setdefault(name, {}).setdefault(method, {})[seed] = row
    return found


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What is in the file, made if it is not there."""
    if not path.exists():
        files.write_atomic(path, json.dumps(make()).encode())
    return json.loads(path.read_text("utf-8"))


def publish(reproduced: dict[str, Any]) -> None:
    """benchmarks/results/flamby.md, .json and .png."""
    wrong = publishing.faults({name: reproduced[name] for name in TITLES}, reproduced[OWN_LOSS])
    lines = ["# FLamby's tables of real hospitals", "", *INTRO, "", *(f"**Not as wanted:** {line}" for line in wrong)]
    for name, title in TITLES.items():
        lines += [f"## {title}: published and reproduced", "", *rows(name, reproduced), ""]
    lines += own_loss(reproduced[OWN_LOSS])
    lines += ["", "![accuracy and C-index by method](flamby.png)"]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "flamby.md").write_text("\n".join(lines) + "\n")
    (RESULTS / "flamby.json").write_text(json.dumps({"reproduced": reproduced, "not as wanted": wrong}) + "\n")
    (RESULTS / "flamby.png").write_bytes(picture(reproduced))
    print("\n".join(lines))


def rows(name: str, reproduced: dict[str, Any]) -> list[str]:
    """A line a method: published beside reproduced, and how many of the cells of all seeds are the same."""
    lines = [
        "| method | sites' own tests, published | reproduced | pooled test, published | reproduced | cells the same |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for method, theirs in publishing.published()[name].items():
        ours = reproduced[name][method]
        count = sum(map(len, theirs.values()))
        same = count - len(publishing.differing(name, method, ours, known=()))
        shown = [each(cells) for each in (publishing.over_sites, publishing.spread) for cells in (theirs, ours)]
        lines.append(f"| {method} | {' | '.join(shown)} | {same} of {count} |")
    return lines


def own_loss(found: dict[str, Any]) -> list[str]:
    told = publishing.published()["breast"]
    lines = [
        "Fed-TCGA-BRCA with fedmed's own Cox loss, pooled test:",
        "",
        "| method | published | fedmed's loss |",
        "|---|---:|---:|",
    ]
    return [
        *lines,
        *(f"| {name} | {publishing.spread(told[name])} | {publishing.spread(found[name])} |" for name in told),
    ]


def picture(reproduced: dict[str, Any]) -> bytes:
    """The pooled test by method: a dot a seed."""
    methods = ["pooled", *protocol.BREAST]
    told = publishing.published()
    values = {
        f"{title.partition(',')[0]}, {what}": [
            [cells[-1] for cells in found[name][method].values()] for method in methods
        ]
        for name, title in TITLES.items()
        for what, found in (("published", told), ("reproduced", reproduced))
    }
    return plots.groups(title="pooled test, five seeds", groups=methods, values=values, axis="accuracy, C-index")


if __name__ == "__main__":
    main()
