"""How far the hashes of cases/likeness.py lie from each other: of different patients, and of exports of one image.

Real crops of one organ (hippocampus), the sample hospitals, and invented heads that share one outline, which is the
worst case: registered brains. Also the time that 20,000 cases take. Writes results/near_duplicates.md.

Example: python benchmarks/near_duplicates.py --hippocampus ../shared/data/hippocampus_msd04
"""

from __future__ import annotations

import argparse
import io
import time
import tracemalloc
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

from fedmed import recipe as recipes
from fedmed.cases import find, geometry, layout, likeness, pictures, reading
from fedmed.cases.case import Case, Geometry
from fedmed.settings import DataFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Image_ = np.ndarray
    Images = list[tuple[str, np.ndarray]]

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "benchmarks" / "results" / "near_duplicates.md"
HOSPITALS = ("lakeside", "north-bay", "st-olav")
CASES = 20_000
GRID = Geometry((1, 1, 1), (1.0, 1.0, 1.0), "RAS")


def exports(image: Image_) -> Iterator[tuple[str, Image_]]:
    """What happens to an image on its way through another archive; `image` has any grey levels."""
    low, high = float(image.min()), float(image.max())
    plain = (image - low) / (high - low)
    random = np.random.RandomState(0)
    yield "half the size", ndimage.zoom(plain, 0.5, order=1, grid_mode=True, mode="nearest")
    yield "twice the size", ndimage.zoom(plain, 2, order=1, grid_mode=True, mode="nearest")
    yield "8 bits", np.round(plain * 255)
    yield "16 bits", np.round(plain * 65535)
    yield "contrast up, both ends clipped", np.clip(1.3 * plain - 0.1, 0, 1)
    yield "gamma 0.8", plain**0.8
    yield "noise of 2 % of the range", plain + 0.02 * random.standard_normal(plain.shape)
    yield "1 sample cut off one side of each axis", plain[(slice(1, None),) * plain.ndim]
    yield "1 sample cut off both sides of each axis", plain[(slice(1, -1),) * plain.ndim]
    if plain.ndim == 2:
        for quality in (75, 30):
            file = io.BytesIO()
            Image.fromarray(np.round(plain * 255).astype(np.uint8)).save(file, "jpeg", quality=quality)
            yield f"JPEG, quality {quality}", np.asarray(Image.open(file), np.float64)


def sample(recipe_name: str, task: str) -> Images:
    """Patient and first channel of every case of the sample hospitals."""
    recipe = recipes.load(TOP / "recipes" / recipe_name)
    found: Images = []
    for hospital in HOSPITALS:
        root = TOP / "sample_data" / task / hospital
        folder = DataFolder(root=str(root), layout=layout.detect_layout(root, recipe.data.channels, task=recipe.task))
        for case in find.find(folder, recipe, pseudonym_key=b"k" * 32, label_map={}).cases:
            if recipe.task == "segmentation":
                volume = reading.read(case, root, recipe.data, {})
                image = geometry.turned(volume.image[0][..., None], volume.affine, "RAS")[0][..., 0]
            else:
                image = pictures.look(case.case, case.image, root, recipe.data)[0].slices[0, 0]
            found.append((f"{hospital} {case.patient}", image))
    return found


def hippocampus(root: Path) -> Images:
    recipe = recipes.load(TOP / "recipes" / "hippocampus-segmentation-mr.small.yaml")
    folder = DataFolder(root=str(root), layout=layout.detect_layout(root, recipe.data.channels))
    cases = find.find(folder, recipe, pseudonym_key=b"k" * 32, label_map={}).cases
    return [(case.patient, reading.read(case, root, recipe.data, {}).image[0]) for case in cases]


def heads(count: int, amplitude: float) -> Images:
    """One skull and brain for all, moved by up to a voxel, with tissue of one's own: `amplitude` of the grey level."""
    random = np.random.RandomState(1)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, 64),) * 3, indexing="ij")
    radius = np.sqrt((x / 0.8) ** 2 + (y / 0.9) ** 2 + (z / 0.75) ** 2)
    common = (radius < 1) * (100 + 60 * np.exp(-(((radius - 0.85) / 0.06) ** 2)) - 40 * (radius < 0.25))
    common = ndimage.gaussian_filter(common, 1)
    found: Images = []
    for number in range(count):
        tissue = ndimage.gaussian_filter(random.standard_normal(radius.shape), 3)
        own = 1 + amplitude * tissue / tissue.std() * (radius < 1)
        moved = ndimage.shift(common, random.uniform(-1, 1, 3), order=1)
        found.append((str(number), moved * own + 2 * random.standard_normal(radius.shape) * (radius < 1)))
    return found


def hashed(image: Image_) -> str:
    return likeness._hash(np.asarray(image, np.float32))  # noqa: SLF001 - of arrays, without a reader around them


def measure(name: str, images: Images) -> list[str]:
    """Table rows: distances between patients, pairs that would be joined, and what exports are found."""
    hashes = [hashed(image) for _, image in images]
    owner = np.array([patient for patient, _ in images])
    bits = 8 * len(hashes[0]) // 2
    words = likeness._words(hashes)  # noqa: SLF001
    differing = likeness._differing(words, words) / bits  # noqa: SLF001
    apart = np.sort(differing[np.triu(owner[:, None] != owner)])
    limit = likeness._limit(words, np.unique(owner, return_inverse=True)[1], bits) / bits  # noqa: SLF001
    shown = [f"{each:.3f}" for each in (apart[0], apart[len(apart) // 1000], np.median(apart), limit)]
    rows = [f"| {' | '.join([name, str(len(images)), *shown, str(int((apart <= limit).sum()))])} |"]
    distances: dict[str, list[float]] = defaultdict(list)
    for index in range(0, len(images), max(1, len(images) // 40)):
        for export, image in exports(images[index][1]):
            other = likeness._words([hashed(image)])  # noqa: SLF001
            distances[export].append(float(likeness._differing(words[index : index + 1], other)[0, 0]) / bits)  # noqa: SLF001
    for export, found in distances.items():
        caught = sum(each <= limit for each in found)
        rows.append(f"{name} | {export} | {np.median(found):.3f} | {max(found):.3f} | {caught} of {len(found)} |")
    return rows


def speed() -> str:
    random = np.random.RandomState(0)
    cases = [
        Case(f"case-{n}", f"patient-{n}", "", {}, 1, {}, GRID, likeness=random.bytes(128).hex()) for n in range(CASES)
    ]
    tracemalloc.start()
    start = time.process_time()
    found = likeness.near(cases)
    seconds = time.process_time() - start
    more = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    film = random.rand(3000, 2500).astype(np.float32)
    start = time.process_time()
    hashed(film)
    one = time.process_time() - start
    return (
        f"All pairs of {CASES:,} cases with random hashes: {seconds:.1f} s of one core and {more:.0f} MiB at the peak, "
        f"{found.pairs} near. The hash of a radiograph of 3000 x 2500: {one:.2f} s."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hippocampus", type=Path, default=TOP.parent / "shared" / "data" / "hippocampus_msd04")
    given = parser.parse_args()
    sets: dict[str, Callable[[], Images]] = {
        "radiographs, sample hospitals": lambda: sample("fracture-classification-xray.small.yaml", "xray-fracture"),
        "head MR, sample hospitals": lambda: sample("tumour-segmentation-mr.small.yaml", "mr-tumour"),
        **({"hippocampus, real": lambda: hippocampus(given.hippocampus)} if given.hippocampus.is_dir() else {}),
        "invented heads of one outline, tissue 15 %": lambda: heads(60, 0.15),
        "invented heads of one outline, tissue 2 %": lambda: heads(60, 0.02),
    }
    tables = [measure(name, images()) for name, images in sets.items()]
    lines = [
        "# Near-duplicate images",
        "",
        "Distance is the share of bits that differ. Two cases of different patients count as nearly the same up to",
        f"{likeness.NEAR}, and up to {likeness.SHARE_OF_USUAL} times the usual distance to the fifth nearest case of",
        "another patient. A sample is a pixel or voxel: axes here have 22 to 108 of them, so that one is up to 5 %.",
        "Made by `python benchmarks/near_duplicates.py`.",
        "",
        "| images | cases | nearest two patients | 1 in 1000 | median | limit | joined wrongly |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(rows[0] for rows in tables),
        "",
        "| images | export | median distance | largest | found |",
        "|---|---|---:|---:|---:|",
        *(f"| {row}" for rows in tables for row in rows[1:]),
        "",
        speed(),
    ]
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
