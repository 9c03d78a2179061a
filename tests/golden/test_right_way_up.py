"""Whatever way a file lies, the model sees it the right way up: file, reader and fixed chain against golden images.

The images in images/ are drawn by make_golden.py from the definition of the phantom; a person can read the letters.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from fedmed.cases import pictures as reader
from fedmed.cases.case import Case, Geometry
from fedmed.training import patches, pictures
from tests.cases import films, phantoms, segs, structures

from . import letters
from .letters import RIGHT_HANDED, TURNS, Turn

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 2.0  # mean difference from a golden image, of 255 levels of grey
ANGLES = np.radians([9.0, -7.0, 11.0])  # about each axis of the patient
NAMED = {1: "f", 2: "r", 3: "g"}
AXES = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
to_lps = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse


def oblique() -> np.ndarray:
    found = np.eye(3)
    for axis, angle in enumerate(ANGLES):
        first, second = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        found = turn @ found
    return found


def distance(found: np.ndarray, name: str) -> float:
    """Mean difference of grey levels; infinite where even the size is another."""
    expected = letters.grey(letters.golden(name))
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(letters.grey(found).astype(int) - expected).mean())


def same(found: np.ndarray, name: str) -> None:
    assert distance(found, name) < LIMIT, f"{name}: not as in images/{name}.png"


@pytest.mark.parametrize("name", sorted(path.stem for path in letters.FOLDER.glob("*.png")))
def test_a_golden_image_shows_every_turn_and_mirror(name: str) -> None:
    """What the other tests would overlook, were a letter like its own mirror image."""
    image = letters.golden(name)
    turned = [np.rot90(image, quarter)[:: 1 if upright else -1] for quarter in range(4) for upright in (True, False)]
    assert distance(turned[0], name) < LIMIT
    assert min(distance(other, name) for other in turned[1:]) > 5 * LIMIT


def test_golden_images_are_those_of_the_definition() -> None:
    assert len(list(letters.FOLDER.glob("*.png"))) == 7
    for name, panel in letters.panels(letters.volume()).items():
        same(panel, f"volume-{name}")
        np.testing.assert_array_equal(letters.panels(letters.labels())[name] * 80, letters.golden(f"labels-{name}"))
    same(letters.film(), "film")


# --- volumes that are outlined ------------------------------------------------------------------------------------


def study(image: tuple[str, ...], label: str | int | None = None) -> Case:
    return Case("case-1", "patient-1", "", {"T1": image}, label, {}, Geometry((1, 1, 1), (1.0, 1.0, 1.0), ""))


def segmented(root: Path, case: Case, axcodes: str = "RAS") -> None:
    """What a segmentation network is given of a case, image and mask, is as in the golden images."""
    spacing = tuple(letters.SPACING[AXES[code][0]] for code in axcodes)
    recipe = phantoms.recipe(labels=NAMED, axcodes=axcodes, spacing=spacing)
    prepared = patches.Patches(recipe, [case], root, {}, ("site", 0)).prepare(case)
    image, label = in_lps(prepared["image"][0].numpy(), axcodes), in_lps(prepared["label"][0].numpy(), axcodes)
    np.testing.assert_array_equal(label, letters.labels())
    for name, panel in letters.panels(image).items():
        same(panel, f"volume-{name}")


def in_lps(array: np.ndarray, axcodes: str) -> np.ndarray:
    """An array whose axes run to `axcodes`, with its axes running to left, posterior and superior."""
    flipped = array[tuple(slice(None, None, AXES[code][1]) for code in axcodes)]
    return flipped.transpose(np.argsort([AXES[code][0] for code in axcodes]))


def write_nifti(root: Path, turn: Turn, rotation: np.ndarray | None = None) -> Case:
    affine = to_lps @ turn.affine(rotation)
    phantoms.write_nifti(root / "image.nii", turn.stored(letters.volume()), affine)
    phantoms.write_nifti(root / "label.nii", turn.stored(letters.labels()), affine)
    return study(("image.nii",), "label.nii")


def write_dicom(root: Path, turn: Turn, rotation: np.ndarray | None = None, **tags: Any) -> Case:
    """A series whose file names and InstanceNumbers run against its positions, and a segmentation of it."""
    array, affine = turn.stored(letters.volume()), turn.affine(rotation)
    image = phantoms.slices(4095 - array if tags.get("PhotometricInterpretation") == "MONOCHROME1" else array)
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    for index, one in enumerate(image):
        one.ImageOrientationPatient = (affine[:3, :2] / steps[:2]).T.reshape(-1).round(9).tolist()
        one.ImagePositionPatient = (affine[:3, 3] + index * affine[:3, 2]).round(9).tolist()
        one.PixelSpacing = [steps[1], steps[0]]
        for keyword, value in tags.items():
            setattr(one, keyword, value)
    numbers = turn.stored(letters.labels())
    drawn = segs.frames({number: numbers == number for number in NAMED}, image)
    segs.segmentation(drawn[::-1], image[0]).save_as(root / "mask.dcm", enforce_file_format=True)
    names = phantoms.save(root / "series", image[::-1])
    return study(tuple(f"series/{name}" for name in names), "mask.dcm")


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.name)
def test_a_nifti_volume_in_each_order_and_direction_of_its_axes(tmp_path: Path, turn: Turn) -> None:
    segmented(tmp_path, write_nifti(tmp_path, turn))


@pytest.mark.parametrize("turn", TURNS[::7], ids=lambda turn: turn.name)
def test_an_oblique_nifti_volume(tmp_path: Path, turn: Turn) -> None:
    segmented(tmp_path, write_nifti(tmp_path, turn, oblique()))


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "LAS", "RPI"])
def test_each_orientation_that_a_recipe_may_ask_for(tmp_path: Path, axcodes: str) -> None:
    segmented(tmp_path, write_nifti(tmp_path, TURNS[21]), axcodes)


@pytest.mark.slow
@pytest.mark.parametrize("turn", RIGHT_HANDED, ids=lambda turn: turn.name)
def test_a_dicom_series_in_each_plane_and_direction(tmp_path: Path, turn: Turn) -> None:
    """Axial, coronal and sagittal, head or feet first, face up or down, slices counted from either end."""
    segmented(tmp_path, write_dicom(tmp_path, turn))


@pytest.mark.slow
@pytest.mark.parametrize("turn", RIGHT_HANDED[::5], ids=lambda turn: turn.name)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_an_oblique_dicom_series(tmp_path: Path, turn: Turn, photometric: str) -> None:
    segmented(tmp_path, write_dicom(tmp_path, turn, oblique(), PhotometricInterpretation=photometric))


@pytest.mark.parametrize("turn", RIGHT_HANDED[2::7], ids=lambda turn: turn.name)
def test_a_structure_set_of_an_oblique_series(tmp_path: Path, turn: Turn) -> None:
    case = write_dicom(tmp_path, turn, oblique())
    image = [pydicom.dcmread(tmp_path / name) for name in sorted(case.image["T1"], reverse=True)]
    numbers = turn.stored(letters.labels())
    regions = {number: structures.outlines(numbers == number, image) for number in NAMED}
    structures.structure_set(regions, image[0]).save_as(tmp_path / "mask.dcm", enforce_file_format=True)
    segmented(tmp_path, case)


def test_a_mask_in_another_order_than_its_image(tmp_path: Path) -> None:
    write_nifti(tmp_path, TURNS[5])
    label = TURNS[30]
    phantoms.write_nifti(tmp_path / "other.nii", label.stored(letters.labels()), to_lps @ label.affine())
    segmented(tmp_path, study(("image.nii",), "other.nii"))


def test_channels_in_another_order_than_the_first(tmp_path: Path) -> None:
    recipe = phantoms.recipe(labels=NAMED, channels=("T1", "T2"), spacing=letters.SPACING)
    case = write_nifti(tmp_path, TURNS[11])
    write_nifti(tmp_path / "b", TURNS[40])
    case = Case(case.case, case.patient, "", {"T1": ("image.nii",), "T2": ("b/image.nii",)}, case.label, {},
                case.geometry)  # fmt: skip
    prepared = patches.Patches(recipe, [case], tmp_path, {}, ("site", 0)).prepare(case)
    for channel in prepared["image"].numpy():
        for name, panel in letters.panels(in_lps(channel, "RAS")).items():
            same(panel, f"volume-{name}")


# --- slices that are classified -----------------------------------------------------------------------------------

PANELS = {"LPS": letters.AXIAL, "LIP": letters.CORONAL, "PIR": letters.SHAPE[0] - 1 - letters.SAGITTAL}


def classified(root: Path, case: Case, axcodes: str) -> None:
    """The slice with the letter, of all that a classification network is given of a case, is as in the golden image."""
    columns, rows = (AXES[code][0] for code in axcodes[:2])
    zoom = {axis: round(letters.SPACING[axis] / 0.2) for axis in (rows, columns)}
    size = (zoom[rows] * letters.SHAPE[rows], zoom[columns] * letters.SHAPE[columns])
    slices = {"axcodes": axcodes, "middle": 1}
    recipe = films.recipe(modality="MR", channels=("T1",), labels=NAMED, slices=slices, image_size=size)
    picture = reader.read(case, root, recipe.data, {})
    seen = pictures.standardise(picture, recipe.data)[PANELS[axcodes], 0].numpy()
    same(seen[zoom[rows] // 2 :: zoom[rows], zoom[columns] // 2 :: zoom[columns]], f"volume-{axcodes}")


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.name)
def test_slices_of_a_nifti_volume(tmp_path: Path, turn: Turn) -> None:
    case = study(write_nifti(tmp_path, turn).image["T1"], 1)
    for axcodes in PANELS:
        classified(tmp_path, case, axcodes)


@pytest.mark.parametrize("turn", RIGHT_HANDED[1::5], ids=lambda turn: turn.name)
@pytest.mark.parametrize(
    "rotation", [None, pytest.param(oblique(), marks=pytest.mark.slow)], ids=["straight", "oblique"]
)
def test_slices_of_a_dicom_series(tmp_path: Path, turn: Turn, rotation: np.ndarray | None) -> None:
    case = study(write_dicom(tmp_path, turn, rotation).image["T1"], 1)
    for axcodes in PANELS:
        classified(tmp_path, case, axcodes)


# --- radiographs --------------------------------------------------------------------------------------------------


def radiograph(root: Path, name: str) -> None:
    """What a classification network is given of a film is as in the golden image."""
    recipe = films.recipe(image_size=letters.film().shape)
    picture = reader.read(films.case(name, label=1), root, recipe.data, {})
    same(pictures.standardise(picture, recipe.data)[0, 0].numpy(), "film")


def linear_lut(entries: int = 4096) -> Any:
    return films.lut(np.arange(entries) * (65535 // (entries - 1)), 0, 16)


@pytest.mark.parametrize("modality", ["CR", "DX"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("voi", ["none", "window", "LUT"])
def test_a_dicom_radiograph(tmp_path: Path, modality: str, photometric: str, voi: str) -> None:
    levels = letters.film()
    one = films.dataset(4095 - levels if photometric == "MONOCHROME1" else levels, modality=modality)
    one.PhotometricInterpretation = photometric
    if voi == "window":
        one.WindowCenter, one.WindowWidth = 2048, 4096
    if voi == "LUT":
        one.VOILUTSequence = [linear_lut()]
    films.save(tmp_path / "film.dcm", one)
    radiograph(tmp_path, "film.dcm")


def test_a_negative_slope_turns_light_and_dark(tmp_path: Path) -> None:
    one = films.dataset(4095 - letters.film())
    one.RescaleSlope, one.RescaleIntercept = -1, 4095
    films.save(tmp_path / "film.dcm", one)
    radiograph(tmp_path, "film.dcm")


@pytest.mark.parametrize(("step", "spacing"), [((2, 1), [0.4, 0.2]), ((1, 2), [0.2, 0.4])])
def test_pixels_that_are_not_square(tmp_path: Path, step: tuple[int, int], spacing: list[float]) -> None:
    """Every other row, or column, is there: what is shown is coarser, but neither longer nor wider."""
    one = films.dataset(letters.film()[:: step[0], :: step[1]])
    one.PixelSpacing = spacing
    films.save(tmp_path / "film.dcm", one)
    recipe = films.recipe(image_size=letters.film().shape)
    picture = reader.read(films.case("film.dcm", label=1), tmp_path, recipe.data, {})
    assert distance(pictures.standardise(picture, recipe.data)[0, 0].numpy(), "film") < 5 * LIMIT


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_radiograph(tmp_path: Path, bits: int) -> None:
    levels = letters.film() // 16 if bits == 8 else letters.film() * 16
    Image.fromarray(levels.astype(f"<u{bits // 8}")).save(tmp_path / "film.png")
    radiograph(tmp_path, "film.png")


SIDES = {  # EXIF 2.3, tag 0x0112: where the first row and the first column of the file are seen
    1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
    5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
}  # fmt: skip


@pytest.mark.parametrize("orientation", SIDES)
def test_a_jpeg_radiograph_as_a_phone_holds_it(tmp_path: Path, orientation: int) -> None:
    first_row, first_column = SIDES[orientation]
    stored = (letters.film() // 16).astype(np.uint8)
    stored = stored.T if first_row in {"left", "right"} else stored
    stored = stored[
        :: -1 if first_row in {"bottom", "right"} else 1, :: -1 if first_column in {"bottom", "right"} else 1
    ]
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(data, "JPEG", quality=100)
    (tmp_path / "film.jpg").write_bytes(films.with_orientation(data.getvalue(), orientation))
    radiograph(tmp_path, "film.jpg")
