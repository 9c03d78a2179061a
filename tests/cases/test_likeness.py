"""Nearly the same images of different patients: found after what exports do to them, and nobody else is joined."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from fedmed.cases import checks, likeness
from fedmed.cases.case import Case, Geometry, Picture, Volume
from fedmed.cases.splits import split
from fedmed.recipe_fields import Split

from . import phantoms

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID = Geometry((1, 1, 1), (1.0, 1.0, 1.0), "RAS")


def smooth(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Blobs of several sizes, from 0 to 1: no two seeds are alike, and each is alike to what exports make of it."""
    random = np.random.RandomState(seed)
    found = sum(size * ndimage.gaussian_filter(random.randn(*shape), size) for size in (2, 4, 8))
    return ((found - found.min()) / (found.max() - found.min())).astype(np.float32)


def film(image: NDArray[np.floating]) -> str:
    return likeness.of_picture(Picture(image.astype(np.float32)[None, None], (1.0, 1.0), None))


def volume(image: NDArray[np.floating], affine: NDArray[np.float64] | None = None) -> str:
    return likeness.of_volume(Volume(image.astype(np.float32)[None], np.eye(4) if affine is None else affine, None))


def differ(one: str, other: str) -> float:
    """The share of bits that differ, counted without the code under test."""
    assert len(one) == len(other)
    bits = {256: 1023, 250: 999}[len(one)]
    return (int(one, 16) ^ int(other, 16)).bit_count() / bits


def case(number: int, hash_: str = "", patient: int | None = None) -> Case:
    name = f"patient-{number if patient is None else patient:04d}"
    return Case(f"case-{number:04d}", name, "", {}, 1, {}, GRID, likeness=hash_)


def jpeg(image: NDArray[np.float32]) -> NDArray[np.float32]:
    file = io.BytesIO()
    Image.fromarray((image * 255).astype(np.uint8)).save(file, "jpeg", quality=40)
    return np.asarray(Image.open(file), np.float32)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_exports_do_to_a_film(seed: int) -> None:
    image = smooth((300, 240), seed)
    original = film(image)
    assert len(original) == 256
    exports = {
        "half": ndimage.zoom(image, 0.5, order=1, grid_mode=True, mode="nearest"),
        "double": ndimage.zoom(image, 2, order=1, grid_mode=True, mode="nearest"),
        "jpeg": jpeg(image),
        "16 bits": (image * 65535).round(),
        "brighter": np.clip(image * 1.1 + 0.05, 0, 1),
        "gamma": image**0.8,
        "cropped": image[2:, 1:-1],
        "noise": image + 0.02 * np.random.RandomState(0).randn(*image.shape),
    }
    found = {name: differ(original, film(each)) for name, each in exports.items()}
    assert max(found.values()) < 0.15, found
    assert differ(original, film(smooth((300, 240), seed + 10))) > 0.35
    assert differ(original, film(image[:, ::-1])) > 0.35, "the other hand"


def test_what_exports_do_to_a_volume() -> None:
    image = smooth((50, 60, 40), 1)
    original = volume(image)
    assert len(original) == 250
    exports = {
        "half": ndimage.zoom(image, 0.5, order=1, grid_mode=True, mode="nearest"),
        "8 bits": (image * 255).round(),
        "cropped": image[1:, :-1],
    }
    found = {name: differ(original, volume(each)) for name, each in exports.items()}
    assert max(found.values()) < 0.15, found
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])
    assert volume(image[::-1, ::-1], turned) == original, "stored as LPS"
    assert differ(original, volume(image[::-1, ::-1])) > 0.35
    assert differ(original, volume(smooth((50, 60, 40), 2))) > 0.35
    slices = Picture(image.transpose(2, 1, 0)[:, None], (1.0, 1.0), None)
    assert likeness.of_picture(slices) == volume(image.transpose(2, 1, 0))


def test_pairs_patients_and_units() -> None:
    hashes = [film(smooth((80, 80), seed)) for seed in range(9)]
    again = [film(smooth((80, 80), seed) ** 0.9) for seed in range(3)]
    cases = [case(number, each) for number, each in enumerate(hashes)]
    assert likeness.doubts(cases) == []
    assert likeness.units(cases) == {each.patient: each.patient for each in cases}
    cases += [case(10, again[0]), case(11, again[1]), case(12, film(smooth((80, 80), 1) ** 1.1)), case(13)]
    cases += [case(14, again[2], patient=2), case(15, volume(smooth((20, 20, 20), 0)))]
    found = likeness.near(cases)
    assert (found.pairs, found.patients) == (4, 5), "0 with 10; 1, 11 and 12 with each other; 2 is one patient"
    joined = {patient: unit for patient, unit in found.unit_of.items() if patient != unit}
    assert joined == {"patient-0010": "patient-0000", "patient-0011": "patient-0001", "patient-0012": "patient-0001"}
    assert likeness.doubts(cases) == [("FM-DAT-75", "4 pairs of cases look nearly the same, said to be of 5 patients")]
    assert likeness.near(cases[::-1]) == found


def random_hash(random: np.random.RandomState, like: str = "", flips: int = 0) -> str:
    """1023 bits by chance, or those of another with so many flipped."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(like), np.uint8)) if like else random.randint(0, 2, 1024)
    bits[random.permutation(1023)[:flips]] ^= 1
    bits[1023] = 0
    return np.packbits(bits.astype(np.uint8)).tobytes().hex()


def test_how_near_is_near() -> None:
    random = np.random.RandomState(0)
    hashes = [random_hash(random) for _ in range(20)]
    for flips, joined in ((0, True), (184, True), (185, False)):  # .18 of 1023 is 184.1
        cases = [case(n, each) for n, each in enumerate([*hashes, random_hash(random, hashes[3], flips)])]
        assert (likeness.near(cases).pairs == 1) == joined, flips


def test_where_all_look_alike_only_what_is_far_nearer_counts() -> None:
    """Registered brains of one study: absolute distances would join all of them."""
    random = np.random.RandomState(0)
    template = random_hash(random)
    hashes = [random_hash(random, template, 70) for _ in range(30)]  # about .13 from each other
    assert likeness.near([case(n, each) for n, each in enumerate(hashes)]).pairs == 0
    twice = [*hashes, *(random_hash(random, each, 20) for each in hashes)]  # a folder imported twice
    found = likeness.near([case(n, each) for n, each in enumerate(twice)])
    assert (found.pairs, found.patients) == (30, 60)
    assert len(set(found.unit_of.values())) == 30


def test_where_most_patients_look_the_same_they_are_not_joined() -> None:
    random = np.random.RandomState(0)
    same, others = random_hash(random), [random_hash(random) for _ in range(10)]
    for copies, joined in ((10, True), (11, False)):
        cases = [case(number, each) for number, each in enumerate([*others, *[same] * copies])]
        units = set(likeness.units(cases).values())
        assert len(units) == (11 if joined else 21)
    assert likeness.doubts(cases) == [("FM-DAT-77", "11 of 21 patients look nearly the same")]
    both = likeness.doubts([*cases, case(50, others[0]), case(51, same), case(52, same)])
    assert both == [
        ("FM-DAT-75", "1 pair of cases looks nearly the same, said to be of 2 patients"),
        ("FM-DAT-77", "13 of 24 patients look nearly the same"),
    ]
    everybody = likeness.near([case(number, same) for number in range(600)])
    assert (everybody.pairs, everybody.patients, everybody.unclear) == (0, 0, 600)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.integers(0, 2**31 - 1))
def test_groups_are_those_that_were_planted(groups: list[int], seed: int) -> None:
    random = np.random.RandomState(seed)
    base = [random_hash(random) for _ in range(60)]
    cases = [case(n, random_hash(random, base[group], 40)) for n, group in enumerate(groups)]
    cases += [case(100 + n, base[n]) for n in range(9, 60)]
    unit = likeness.units(cases)  # never more than half of the patients look alike
    for one, first in enumerate(groups):
        for other, second in enumerate(groups):
            same = unit[f"patient-{one:04d}"] == unit[f"patient-{other:04d}"]
            if groups.count(first) <= 4:  # of more copies the fifth nearest is one of them
                assert same == (first == second)
            elif first != second:
                assert not same


def test_many_blocks_give_the_same_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.RandomState(0)
    hashes = [random_hash(random) for _ in range(50)]
    cases = [case(n, random_hash(random, hashes[n % 50], 30)) for n in range(100)]
    whole = likeness.near(cases)
    assert whole.pairs == 50
    likeness._near.cache_clear()
    monkeypatch.setattr(likeness, "ROWS", 7)
    monkeypatch.setattr(likeness, "SAMPLE", 9)
    assert likeness.near(cases) == whole


def test_who_was_assigned_stays_and_that_is_said() -> None:
    random = np.random.RandomState(0)
    hashes = [random_hash(random) for _ in range(30)]
    cases = [case(number, each) for number, each in enumerate(hashes)]
    shares = Split(validation=0.2, testing=0.3)
    folds = split(cases, 7, shares)
    assert likeness.parted(folds) is None
    tested, trained = folds["testing"][0], folds["training"][0]
    alike = [replace(each, likeness=tested.likeness) if each == trained else each for each in cases]
    new = case(50, random_hash(random, tested.likeness, 5))
    known = {each.patient: fold for fold, members in folds.items() for each in members}
    after = split([*alike, new], 7, shares, known)
    assert {each.patient: fold for fold, members in after.items() for each in members if each != new} == known
    assert new in after["training"], "of the two folds of its unit the first"
    assert likeness.parted(after) == (
        "FM-DAT-76",
        "1 group of patients with nearly the same images lies in several folds",
    )
    assert "FM-DAT-76" in [code for code, _ in checks.of_folds(after, phantoms.recipe())]
    follower = split([*cases, new], 7, shares, known)
    assert new in follower["testing"]
    assert likeness.parted(follower) is None
