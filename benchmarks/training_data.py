"""What training.py trains on: recipes, phantoms made in code, and federations that wait for their first round."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import peer_work
import yaml

TOP = Path(__file__).resolve().parents[1]
TASKS = {
    "segmentation": "hippocampus-segmentation-mr.small",
    "classification": "fracture-classification-xray.small",
    "table": "heart-disease-table",
}
SAMPLES = {"classification": "xray-fracture", "table": "table-heart"}
CASES = 20  # phantoms, where no real volumes are given

if TYPE_CHECKING:
    from fedmed.rehearsal.acts import Setting


def recipe_of(task: str) -> Path:
    return TOP / "recipes" / f"{TASKS[task]}.yaml"


def setting(work: Path, task: str, hippocampus: Path | None) -> Setting:
    """A federation of the sample hospitals, or of four virtual ones that share the volumes."""
    from fedmed.rehearsal.acts import Setting  # noqa: PLC0415 - seconds that the caller may do without
    from fedmed.site import virtual  # noqa: PLC0415

    folder = work / task
    if task in SAMPLES:
        hospitals = virtual.hospitals(TOP / "sample_data" / SAMPLES[task])
        return Setting(folder, recipe_of(task), hospitals, 2, "a benchmark")
    data = hippocampus or volumes(work / "volumes", CASES, (40, 56, 40), 2)
    parts = folder / "parts"
    if not parts.exists():
        virtual.virtual_sites(data, recipe_of(task), parts, how="iid", sites=4)
    cases = {path.parent.name: path for path in sorted(parts.glob("site-*/cases.json"))}
    return Setting(folder, recipe_of(task), dict.fromkeys(cases, data), 2, "a benchmark", cases)


def federation(work: Path, task: str, hippocampus: Path | None) -> tuple[Path, str]:
    """Its folder, and the name of a site that has the first model, and prepared cases from an earlier round."""
    from fedmed import recipe  # noqa: PLC0415
    from fedmed.rehearsal import acts  # noqa: PLC0415

    found = setting(work, task, hippocampus)
    first, done = found.names[0], found.folder / "made"
    code = str(max(path.stat().st_mtime_ns for path in (TOP / "fedmed").rglob("*.py")))
    if not done.exists() or done.read_text() != code:  # other code may not read what this one wrote
        shutil.rmtree(found.folder, ignore_errors=True)
        found = setting(work, task, hippocampus)
        acts.begin(found)
        for name in found.names:
            acts.partition(found, name)
        if recipe.load(found.recipe).data.pools:  # fingerprints come before the first model
            for name in found.names:
                acts.train_local(found, name)
            acts.combine(found)
        shutil.copytree(found.site(first), found.folder / "copy")
        acts.train_local(found, first)
        shutil.move(found.site(first) / "cache", found.folder / "copy" / "kept")
        shutil.rmtree(found.site(first))
        shutil.rmtree(found.folder / "copy" / "cache")
        shutil.move(found.folder / "copy" / "kept", found.folder / "copy" / "cache")
        shutil.move(found.folder / "copy", found.site(first))
        done.write_text(code)
    return found.folder, first


def batches_file(work: Path, task: str) -> Path:
    """Where training_loop.py leaves the batches of a round."""
    return work / f"batches-{task}.safetensors"


def job(work: Path, name: str) -> tuple[Path, Path]:
    """Recipe and data for `fedmed simulate`: what comes nearest to the peers' job of that name."""
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    if name == "empty":
        data, recipe = rows(folder / "data"), EMPTY
    else:
        data, recipe = volumes(folder / "data", 10 * peer_work.SITES, (peer_work.SIDE,) * 3, 1), REAL
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path, data


def rows(folder: Path) -> Path:
    """80 rows of four numbers and a class."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    lines = ["patient,a,b,c,d,y"]
    for number in range(80):
        values = random.standard_normal(4)
        lines.append(f"p{number:03d},{','.join(f'{value:.3f}' for value in values)},{int(values.sum() > 0)}")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder


def volumes(folder: Path, count: int, shape: tuple[int, ...], labels: int) -> Path:
    """Balls in noise, a ball a label, 1 mm, as images/ and labels/."""
    import nibabel  # noqa: PLC0415

    if (folder / "made").exists():
        return folder
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), -1)
    for number in range(count):
        random = np.random.default_rng(number)
        label = np.zeros(shape, np.uint8)
        for each in range(1, labels + 1):
            centre = [random.integers(8, size - 8) for size in shape]
            label[np.linalg.norm(grid - centre, axis=-1) < 5] = each
        image = (100 + 20 * random.standard_normal(shape) + 40 * label).astype(np.int16)
        for name, array in (("images", image), ("labels", label)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            nifti = nibabel.Nifti1Image(array, np.eye(4))
            nifti.header.set_xyzt_units("mm")
            nibabel.save(nifti, folder / name / f"case-{number:03d}.nii.gz")
    (folder / "made").write_text("")
    return folder


_TRAINING: dict[str, Any] = {"batch_size": 4, "local_steps": 1, "optimizer": {"name": "SGD", "client_lr": 0.01}}
EMPTY: dict[str, Any] = {
    "schema": 1,
    "name": "empty",
    "task": "tabular",
    "seed": 1,
    "data": {
        "columns": [{"name": name} for name in "abcd"],
        "outcome": {"column": "y", "above": 0},
        "labels": {1: "ill"},
        "normalisation": "none",
        "split": {"validation": 0.1, "testing": 0.1},
    },
    "network": {"name": "MLP", "hidden": [497, 497]},  # 250 thousand parameters
    "training": _TRAINING,
    "evaluation": {"metrics": ["accuracy"]},
}
REAL: dict[str, Any] = {
    "schema": 1,
    "name": "real",
    "task": "segmentation",
    "seed": 1,
    "data": {
        "modality": "MR",
        "channels": ["MR"],
        "labels": {1: "ball"},
        "spacing": [1.0, 1.0, 1.0],
        "split": {"validation": 0.1, "testing": 0.1},
    },
    "network": {"name": "UNet", "channels": list(peer_work.CHANNELS), "strides": list(peer_work.STRIDES)},
    "training": {
        "patch_size": [peer_work.SIDE] * 3,
        "batch_size": peer_work.BATCH,
        "local_steps": peer_work.BATCHES,
        "loss": {"name": "DiceCELoss"},
        "optimizer": {"name": "AdamW", "client_lr": peer_work.LR},
    },
    "evaluation": {"metrics": ["dice"]},
}
