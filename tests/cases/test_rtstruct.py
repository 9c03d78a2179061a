"""A structure set lands on its image by position, or is refused with what is wrong; its numbers are classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from fedmed.cases import canvas, doubts, geometry, reading, rtstruct
from fedmed.cases.find import find
from fedmed.settings import DataFolder, Layout

from . import phantoms, segs, structures
from .test_golden import PLANES, planes, series, shuffled

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import Dataset

    from fedmed.cases.case import Volume

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "dicom_corpus"
NUMBERS = {1: "tumour", 2: "edema"}
COLUMNS, ROWS, SLICES = phantoms.SHAPE


def volume(root: Path, image: list[Dataset], mask: Dataset, label_map: dict[int, int] | None = None) -> Volume:
    names = [f"series/{name}" for name in phantoms.save(root / "series", image)]
    mask.save_as(root / "mask.dcm", enforce_file_format=True)
    data = phantoms.recipe(labels=NUMBERS).data
    return reading.read_files("case-1", {"T1": tuple(names)}, "mask.dcm", root, data, label_map or {})


def read(root: Path, image: list[Dataset], mask: Dataset, label_map: dict[int, int] | None = None) -> np.ndarray:
    label = volume(root, image, mask, label_map).label
    assert label is not None
    assert (label.dtype, label.shape) == (np.uint8, phantoms.SHAPE)
    return label


def two(image: list[Dataset]) -> Dataset:
    regions = {number: structures.outlines(voxels, image) for number, voxels in segs.two().items()}
    return structures.structure_set(regions, image[0])


def in_slice(image: list[Dataset], *points: list[tuple[float, float]], at: int = 4) -> Dataset:
    """One region in one slice, of outlines given as (column, row)."""
    drawn = [structures.placed(np.array(each, dtype=float), image[at]) for each in points]
    return structures.structure_set({1: drawn}, image[0])


# --- where it lies ------------------------------------------------------------------------------------------------


def test_regions_that_touch_share_no_voxel_and_leave_none_out(tmp_path: Path) -> None:
    image = phantoms.slices()
    found = volume(tmp_path, image, two(image))
    np.testing.assert_array_equal(found.label, segs.classes(segs.two()))
    assert doubts.of_grid(found, phantoms.recipe().data, "case-1 label") == []


@planes
def test_in_any_plane_as_the_segmentation_of_the_same_mask(tmp_path: Path, plane: str) -> None:
    """Two files that say the same of one image, its slices in any order."""
    image = series(plane)
    random = np.random.default_rng(11)
    number = random.integers(0, 3, phantoms.SHAPE)  # ragged, with holes, islands and corners that touch
    regions = {each: number == each for each in NUMBERS}
    outlines = {each: structures.outlines(voxels, image) for each, voxels in regions.items()}
    contours = read(tmp_path, shuffled(image), structures.structure_set(outlines, image[0]))
    frames = segs.segmentation(segs.frames(regions, image), image[0])
    np.testing.assert_array_equal(contours, read(tmp_path, shuffled(image), frames))
    assert np.bincount(contours.reshape(-1)).tolist() == np.bincount(number.reshape(-1)).tolist()


@pytest.mark.parametrize("plane", ["axial", "sagittal", "oblique"])
def test_contours_drawn_across_the_slices(tmp_path: Path, plane: str) -> None:
    """In planes of the image's columns: the axis is where the contours are flat."""
    image = series(plane)
    _, down, step = (np.array(one, dtype=float) for one in PLANES[plane])
    start, along = np.array(image[0].ImagePositionPatient, dtype=float), np.array(PLANES[plane][0], dtype=float)
    drawn = {
        number: [
            start + along * 0.8 * column + np.outer(border[:, 0] * 1.2, down) + np.outer(border[:, 1] * 2.5, step)
            for column in range(COLUMNS)
            for border in structures.borders(voxels[column])
        ]
        for number, voxels in segs.two().items()
    }
    found = read(tmp_path, image, structures.structure_set(drawn, image[0]))
    counts = np.bincount(found.reshape(-1)).tolist()[1:]
    assert counts == [voxels.sum() for voxels in segs.two().values()]
    if plane == "axial":  # slices are read in the order they were made
        np.testing.assert_array_equal(found, segs.classes(segs.two()))


def test_a_nifti_image_has_no_frame_of_reference(tmp_path: Path) -> None:
    image = phantoms.slices()
    phantoms.write_nifti(tmp_path / "t1.nii", phantoms.ramp(), phantoms.expected_affine())
    two(image).save_as(tmp_path / "mask.dcm", enforce_file_format=True)
    data = phantoms.recipe(labels=NUMBERS).data
    found = reading.read_files("case-1", {"T1": ("t1.nii",)}, "mask.dcm", tmp_path, data, {})
    np.testing.assert_array_equal(found.label, segs.classes(segs.two()))


# --- which voxels are inside --------------------------------------------------------------------------------------

BOX = [(0.5, 0.5), (5.5, 0.5), (5.5, 4.5), (0.5, 4.5)]
HOLE = [(1.5, 1.5), (4.5, 1.5), (4.5, 3.5), (1.5, 3.5)]
ISLAND = [(2.5, 1.9), (3.5, 1.9), (3.5, 3.1), (2.5, 3.1)]


def shown(found: np.ndarray, at: int = 4) -> list[str]:
    assert found.sum() == found[:, :, at].sum(), "nothing on any other slice"
    return ["".join(".#"[value] for value in row) for row in found[:, :, at].T]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_hole_and_an_island_in_it(tmp_path: Path, backwards: bool) -> None:
    """Even-odd: whichever way round a contour runs and whichever comes first."""
    image = phantoms.slices()
    contours = [BOX, HOLE[::-1] if backwards else HOLE, ISLAND]
    found = read(tmp_path, image, in_slice(image, *(contours[::-1] if backwards else contours)))
    assert shown(found) == [".......", ".#####.", ".#.#.#.", ".#.#.#.", ".#####.", "......."]


def test_a_keyhole(tmp_path: Path) -> None:
    """PS3.3 C.8.8.6.3: the outer contour runs into the hole and out again along one line."""
    keyhole = [*BOX, BOX[0], *HOLE[::-1], HOLE[-1]]
    image = phantoms.slices()
    assert shown(read(tmp_path, image, in_slice(image, keyhole))) == [
        ".......", ".#####.", ".#...#.", ".#...#.", ".#####.", ".......",
    ]  # fmt: skip


def test_a_triangle_by_the_centres_of_its_pixels(tmp_path: Path) -> None:
    image = phantoms.slices()
    found = read(tmp_path, image, in_slice(image, [(0.6, 0.4), (0.6, 4.4), (4.6, 4.4)]))
    assert shown(found) == [".......", ".#.....", ".##....", ".###...", ".####..", "......."]


def test_centres_on_the_border_count_on_one_side(tmp_path: Path) -> None:
    image = phantoms.slices()
    found = read(tmp_path, image, in_slice(image, [(1, 1), (4, 1), (4, 3), (1, 3)]))
    assert shown(found) == [".......", ".###...", ".###...", ".......", ".......", "......."]
    noise = np.random.default_rng(1).uniform(-2e-4, 2e-4, (4, 2))
    found = read(tmp_path, image, in_slice(image, (np.array([(1, 1), (4, 1), (4, 3), (1, 3)]) + noise).tolist()))
    assert shown(found) == [".......", ".###...", ".###...", ".......", ".......", "......."]


def test_what_reaches_beyond_the_image_is_cut_off(tmp_path: Path) -> None:
    image = phantoms.slices()
    found = read(tmp_path, image, in_slice(image, [(-9, 1.5), (3.5, 1.5), (3.5, 90), (-9, 90)]))
    assert shown(found) == [".......", ".......", "####...", "####...", "####...", "####..."]


def test_points_and_lines_that_enclose_nothing(tmp_path: Path) -> None:
    image = phantoms.slices()
    assert read(tmp_path, image, in_slice(image, [(2, 2)], [(1, 1), (3, 4)])).max() == 0


@given(st.lists(st.tuples(st.integers(-40, 140), st.integers(-40, 140)), min_size=3, max_size=12))
def test_inside_is_what_matplotlib_says(points: list[tuple[int, int]]) -> None:
    """Away from the borders, where each rule is its own; matplotlib's is even-odd too (Haines 1994)."""
    outline = np.array(points) / 10 + 0.0317
    found = rtstruct.inside([outline], (10, 9))
    centres = np.argwhere(np.ones((10, 9)))
    expected = Polygon(np.r_[outline, outline[:1]], closed=True).contains_points(centres).reshape(10, 9)
    following = np.roll(outline, -1, axis=0)
    for centre in centres[(found != expected).reshape(-1)]:
        along = following - outline
        share = np.clip(((centre - outline) * along).sum(1) / np.maximum((along**2).sum(1), 1e-12), 0, 1)
        assert np.linalg.norm(outline + share[:, None] * along - centre, axis=1).min() < 1e-5


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 9)), min_size=3, max_size=8), st.data())
def test_a_contour_and_its_complement_fill_the_grid(points: list[tuple[int, int]], data: Any) -> None:
    """Half-open borders, also through centres: a voxel is in one of two regions that share a border."""
    outline = np.array(points, dtype=float)
    frame = np.array([(-1, -1), (20, -1), (20, 20), (-1, 20)], dtype=float)
    turn = data.draw(st.sampled_from([1, -1]))
    within, without = rtstruct.inside([outline], (10, 9)), rtstruct.inside([frame, outline[::turn]], (10, 9))
    assert (within ^ without).all()


# --- what is refused ----------------------------------------------------------------------------------------------


def test_numbers_become_classes_as_the_values_of_a_mask_do(tmp_path: Path) -> None:
    image, voxels = phantoms.slices(), segs.two()
    outlines = {4: structures.outlines(voxels[1], image), 9: structures.outlines(voxels[2], image), 7: []}
    mask = structures.structure_set(outlines, image[0])
    with phantoms.refuses("FM-DAT-28", "ROI 4, expected 0 to 2"):
        read(tmp_path, image, mask)
    with phantoms.refuses("FM-DAT-28", "ROI 9 is not in label_map"):
        read(tmp_path, image, mask, {4: 1})
    np.testing.assert_array_equal(read(tmp_path, image, mask, {4: 2, 9: 1}), 2 * voxels[1] + voxels[2])
    np.testing.assert_array_equal(read(tmp_path, image, mask, {4: 0, 9: 1}), voxels[2])


def test_overlapping_regions(tmp_path: Path) -> None:
    image, voxels = phantoms.slices(), segs.two()
    voxels[2][3, 2:4, 5] = True
    mask = structures.structure_set({n: structures.outlines(each, image) for n, each in voxels.items()}, image[0])
    with phantoms.refuses("FM-DAT-58", "2 voxels"):
        read(tmp_path, image, mask)
    np.testing.assert_array_equal(read(tmp_path, image, mask, {1: 1, 2: 1}), voxels[1] | voxels[2])
    np.testing.assert_array_equal(read(tmp_path, image, mask, {1: 1, 2: 0}), voxels[1])


@pytest.mark.parametrize(("mm", "off"), [(0.1, "0.10 mm"), (1.2, "1.20 mm"), (22.5, "15.00 mm")])
def test_contours_between_the_slices_or_beyond_them(tmp_path: Path, mm: float, off: str) -> None:
    image = phantoms.slices()
    normal = np.cross(image[0].ImageOrientationPatient[:3], image[0].ImageOrientationPatient[3:])
    outlines = structures.outlines(segs.two()[1], image)
    moved = [*outlines[:1], *(each + mm * normal for each in outlines[1:])]
    with phantoms.refuses("FM-DAT-56", f"3 of 4 contours lie on no slice of the image, up to {off}"):
        read(tmp_path, image, structures.structure_set({1: moved}, image[0]))


def test_contours_off_their_slices_within_the_tolerance(tmp_path: Path) -> None:
    image = phantoms.slices()
    normal = np.cross(image[0].ImageOrientationPatient[:3], image[0].ImageOrientationPatient[3:])
    moved = [each + 0.02 * normal for each in structures.outlines(segs.two()[1], image)]
    found = volume(tmp_path, image, structures.structure_set({1: moved}, image[0]))
    np.testing.assert_array_equal(found.label, segs.two()[1])
    assert [code for code, _ in doubts.of_grid(found, phantoms.recipe().data, "case-1 label")] == ["FM-DAT-67"]


def test_a_contour_that_is_not_flat(tmp_path: Path) -> None:
    image = phantoms.slices()
    mask = in_slice(image, BOX)
    contour = mask.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = [*contour.ContourData[:9], *np.array(contour.ContourData[9:], dtype=float) + 3]
    with phantoms.refuses("FM-DAT-56", "1 of 1 contours"):
        read(tmp_path, image, mask)


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", ""])
def test_points_and_open_lines(tmp_path: Path, kind: str) -> None:
    image = phantoms.slices()
    mask = structures.structure_set({1: structures.outlines(segs.two()[1], image)}, image[0], kind)
    with phantoms.refuses("FM-DAT-71", "ROI 1"):
        read(tmp_path, image, mask)
    mask.ROIContourSequence.append(structures.drawn(2, structures.outlines(segs.two()[2], image), "CLOSEDPLANAR_XOR"))
    mask.StructureSetROISequence.append(structures.named(2, image[0].FrameOfReferenceUID))
    np.testing.assert_array_equal(read(tmp_path, image, mask, {1: 0, 2: 1}), segs.two()[2])


def test_frame_of_reference(tmp_path: Path) -> None:
    image = phantoms.slices()
    mask = two(image)
    mask.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3"
    with phantoms.refuses("FM-DAT-55", "the structure set"):
        read(tmp_path, image, mask)
    np.testing.assert_array_equal(read(tmp_path, image, mask, {1: 1, 2: 0}), segs.two()[1])
    del mask.StructureSetROISequence[1].ReferencedFrameOfReferenceUID
    with phantoms.refuses("FM-DAT-39", "FrameOfReferenceUID is missing in the structure set"):
        read(tmp_path, image, mask)
    mask.FrameOfReferenceUID = image[0].FrameOfReferenceUID
    np.testing.assert_array_equal(read(tmp_path, image, mask), segs.classes(segs.two()))
    del mask.StructureSetROISequence[0]
    with phantoms.refuses("FM-DAT-39"):
        read(tmp_path, image, mask)


def _fewer(contour: Dataset) -> None:
    contour.ContourData = contour.ContourData[:-3]


def _no_triplets(contour: Dataset) -> None:
    contour.ContourData = contour.ContourData[:-1]


def _far_away(contour: Dataset) -> None:
    contour.ContourData = ["1e30", *contour.ContourData[1:]]


def _empty(contour: Dataset) -> None:
    del contour.ContourData


@pytest.mark.parametrize("change", [_fewer, _no_triplets, _far_away, _empty])
def test_contours_that_are_damaged(tmp_path: Path, change: Callable[[Dataset], None]) -> None:
    image = phantoms.slices()
    mask = two(image)
    change(mask.ROIContourSequence[0].ContourSequence[1])
    with phantoms.refuses("FM-DAT-33"):
        read(tmp_path, image, mask)


def test_another_kind_of_object_and_too_large_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = phantoms.slices()
    mask = two(image)
    monkeypatch.setattr(rtstruct, "MAX_BYTES", 1000)
    with phantoms.refuses("FM-DAT-25", "expected at most 1000"):
        read(tmp_path, image, mask)
    monkeypatch.undo()
    mask.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.5"
    with phantoms.refuses("FM-DAT-54"):
        read(tmp_path, image, mask)


@given(at=st.integers(0, 20000), value=st.integers(0, 255), keep=st.integers(0, 20000))
def test_damage_is_a_code_and_never_a_traceback(tmp_path: Path, at: int, value: int, keep: int) -> None:
    image = phantoms.slices()
    two(image).save_as(tmp_path / "mask.dcm", enforce_file_format=True)
    damaged = bytearray((tmp_path / "mask.dcm").read_bytes())
    damaged[at % len(damaged)] = value
    (tmp_path / "mask.dcm").write_bytes(damaged[: len(damaged) - (keep % len(damaged) if keep % 2 else 0)])
    grid = canvas.Grid(phantoms.SHAPE, phantoms.expected_affine(), image[0].FrameOfReferenceUID)
    data = phantoms.recipe(labels=NUMBERS).data
    found, code = phantoms.attempt(lambda: rtstruct.read(tmp_path, "mask.dcm", grid, data, {}, "case-1 label"))
    assert code.startswith("FM-DAT-") or found[0].max() <= 2


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the DICOM corpus in ../shared/data is not on this machine")
def test_every_file_of_a_real_corpus_is_read_or_refused_with_a_code() -> None:
    """One real structure set: a phantom's outline every 10 mm, and points; all other files are no structure set."""
    affine = np.diag([20.0, 20.0, 10.0, 1.0])
    affine[:3, 3] = -190, -190, -200
    grid = canvas.Grid((20, 20, 41), geometry.lps_to_ras(affine), None)
    data, outcomes = phantoms.recipe().data, {}
    for path in sorted(path for path in CORPUS.rglob("*") if path.is_file()):
        name = str(path.relative_to(CORPUS))
        for label_map in ({}, {1: 1, 2: 0, 3: 0}):
            call = lambda name=name, label_map=label_map: rtstruct.read(  # noqa: E731
                CORPUS, name, grid, data, label_map, "case-1 label"
            )
            found, code = phantoms.attempt(call)
            outcomes.setdefault(path.stem, []).append(code or found[0].sum(axis=(0, 1)).tolist())
    structure = outcomes.pop("rtstruct")
    assert structure[0] == "FM-DAT-28"
    assert structure[1] == [20 * 15] * 3 + [0] * 38, "400 x 300 mm at -200, -190 and -180 mm"
    assert {code for codes in outcomes.values() for code in codes} <= {"FM-DAT-33", "FM-DAT-34", "FM-DAT-54"}


# --- in a folder of studies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "file"),
    [
        ("dicom/{case}/", "dicom/a/RS.dcm"),
        ("masks/{case}/", "masks/a/RS001"),
        ("masks/{case}.dcm", "masks/a.dcm"),
    ],
)
def test_a_structure_set_is_found_by_its_content(tmp_path: Path, label: str, file: str) -> None:
    image = phantoms.slices(oblique=False)
    phantoms.save(tmp_path / "dicom/a", image)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    two(image).save_as(tmp_path / file, enforce_file_format=True)
    folder = DataFolder(root=str(tmp_path), layout=Layout(image={"T1": "dicom/{case}/"}, label=label))
    found = find(folder, phantoms.recipe(labels=NUMBERS, max_excluded=1), pseudonym_key=b"k", label_map={})
    assert (found.excluded, found.notes) == ([], [])
    (case,) = found.cases
    assert case.label == file
    assert len(case.image["T1"]) == SLICES
    np.testing.assert_array_equal(
        reading.read(case, tmp_path, phantoms.recipe(labels=NUMBERS).data, {}).label, segs.classes(segs.two())
    )
