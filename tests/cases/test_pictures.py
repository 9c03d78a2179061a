"""Each radiograph trap is a file and what a viewer would show of it, worked out here from the standard."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from fedmed.cases import geometry, pictures

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

CODECS = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def read(root: Path, *names: str, **data: Any) -> np.ndarray:
    """The one slice of the one channel, [row, column]."""
    picture = pictures.read(films.case(*(names or ("a.dcm",))), root, films.recipe(**data).data, {})
    assert picture.slices.dtype == np.float32
    assert picture.slices.shape[:2] == (1, 1)
    return picture.slices[0, 0]


def shown(root: Path, one: Dataset) -> np.ndarray:
    films.save(root / "a.dcm", one)
    return read(root)


def spacing(root: Path, one: Dataset) -> tuple[float, float]:
    films.save(root / "a.dcm", one)
    return pictures.read(films.case("a.dcm"), root, films.recipe().data, {}).spacing


def stretched(values: np.ndarray) -> np.ndarray:
    """Darkest 0, brightest 1."""
    return (values - values.min()) / (values.max() - values.min())


def windowed(one: Dataset, stored: np.ndarray) -> np.ndarray:
    """pydicom's own pipeline, brought onto 0 to 1 by what it gives far below and far above the window."""
    ends = apply_voi_lut(apply_modality_lut(np.array([0, 4095]), one), one)
    return (apply_voi_lut(apply_modality_lut(stored, one), one) - ends[0]) / (ends[1] - ends[0])


def test_upright_as_stored_and_all_grey_levels_without_a_window(tmp_path: Path) -> None:
    picture = shown(tmp_path, films.dataset())
    np.testing.assert_allclose(picture, stretched(films.film()), atol=1e-6)
    assert picture.shape == (films.ROWS, films.COLUMNS)
    assert picture[2, 2] == 1, "the marker stays at the top left"
    assert picture[-1, -1] == 0
    assert picture[0, 1] > picture[0, 0], "and a row runs to the right"


@pytest.mark.parametrize("modality", ["CR", "DX", "RG"])
def test_radiographs(tmp_path: Path, modality: str) -> None:
    assert shown(tmp_path, films.dataset(modality=modality)).max() == 1


@pytest.mark.parametrize("modality", ["RF", "MR", "OT", ""])
def test_what_is_no_radiograph(tmp_path: Path, modality: str) -> None:
    with phantoms.refuses("FM-DAT-30", "no series fits (one image of modality CR, DX, RG)"):
        shown(tmp_path, films.dataset(modality=modality))


def test_monochrome1_is_inverted_at_the_very_end(tmp_path: Path) -> None:
    one = films.dataset()
    one.WindowCenter, one.WindowWidth = 1000, 800
    bright = shown(tmp_path, one)
    one.PhotometricInterpretation = "MONOCHROME1"
    one.PresentationLUTShape = "INVERSE"  # says the same once more
    np.testing.assert_allclose(shown(tmp_path, one), 1 - bright, atol=1e-6)
    assert shown(tmp_path, one)[2, 2] == 0


@pytest.mark.parametrize("function", ["", "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window(tmp_path: Path, function: str) -> None:
    one = films.dataset()
    one.WindowCenter, one.WindowWidth = [1300, 50], [500, 3]
    if function:
        one.VOILUTFunction = function
    picture = shown(tmp_path, one)
    atol = 5e-4 if function == "SIGMOID" else 1e-6  # the ends that the oracle is scaled by are not quite 0 and 1
    np.testing.assert_allclose(picture, windowed(one, films.film()), atol=atol)
    assert picture[0, 0] == pytest.approx(0 if function != "SIGMOID" else 1 / (1 + np.exp(4 * 600 / 500)))


def test_window_of_width_one_and_windows_that_say_nothing(tmp_path: Path) -> None:
    one = films.dataset()
    one.WindowCenter, one.WindowWidth = 1000, 1
    np.testing.assert_array_equal(shown(tmp_path, one), films.film() > 999.5)
    for width in (0, "", None):
        one.WindowWidth = width
        np.testing.assert_allclose(shown(tmp_path, one), stretched(films.film()), atol=1e-6)
    one.WindowWidth, one.VOILUTFunction = 100, "CUBIC"
    with phantoms.refuses("FM-DAT-33"):
        shown(tmp_path, one)


def test_rescale_comes_before_the_window(tmp_path: Path) -> None:
    one = films.dataset()
    one.RescaleSlope, one.RescaleIntercept = "0.5", "-200"
    one.WindowCenter, one.WindowWidth = 400, 300
    expected = np.clip((films.film() * 0.5 - 200 - 399.5) / 299 + 0.5, 0, 1)
    np.testing.assert_allclose(shown(tmp_path, one), expected, atol=1e-6)
    one.RescaleSlope, one.RescaleIntercept = "-1", "4095"  # and a negative slope shows high stored values dark
    expected = np.clip((4095 - films.film() - 399.5) / 299 + 0.5, 0, 1)
    np.testing.assert_allclose(shown(tmp_path, one), expected, atol=1e-6)


def test_voi_lut_sequence_wins_over_a_window(tmp_path: Path) -> None:
    one = films.dataset()
    entries = (np.sqrt(np.arange(3000) / 2999) * 1023).astype(int)
    one.VOILUTSequence = [films.lut(entries, 100, 10), films.lut(entries[::-1], 0, 10)]
    one.WindowCenter, one.WindowWidth = 1, 2
    expected = entries[np.clip(films.film() - 100, 0, 2999)] / 1023
    np.testing.assert_allclose(shown(tmp_path, one), expected, atol=1e-6)
    np.testing.assert_allclose(apply_voi_lut(films.film(), one) / 1023, expected)


@pytest.mark.parametrize("packed", [False, True])
def test_voi_lut_of_eight_bits_with_more_than_256_entries(tmp_path: Path, packed: bool) -> None:
    """pydicom's own apply_voi_lut wraps around here."""
    one = films.dataset()
    entries = np.arange(4096) // 16
    one.VOILUTSequence = [films.lut(entries, 0, 8, packed=packed)]
    np.testing.assert_allclose(shown(tmp_path, one), entries[films.film()] / 255, atol=1e-6)


def test_modality_lut_then_voi_lut_with_a_negative_first_value(tmp_path: Path) -> None:
    one = films.dataset()
    one.ModalityLUTSequence = [films.lut(4095 - np.arange(4096), 0, 12)]
    one.VOILUTSequence = [films.lut(np.arange(4096), -50, 12)]
    expected = np.clip(4095 - films.film() + 50, 0, 4095) / 4095
    np.testing.assert_allclose(shown(tmp_path, one), expected, atol=1e-6)


def test_a_lut_that_ends_early(tmp_path: Path) -> None:
    one = films.dataset()
    one.VOILUTSequence = [films.lut(np.arange(256), 0, 8)]
    one.VOILUTSequence[0].LUTDescriptor[0] = 4096
    with phantoms.refuses("FM-DAT-33"):
        shown(tmp_path, one)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_dark_and_does_not_stretch_the_grey_levels(tmp_path: Path, photometric: str) -> None:
    levels = films.film()
    levels[:, :4], levels[:, 4] = 4095, 4090
    padded = levels >= 4090
    one = films.dataset(levels)
    one.PixelPaddingValue, one.PixelPaddingRangeLimit = 4090, 4095
    one.PhotometricInterpretation = photometric
    inside = levels[~padded]
    expected = np.clip((levels - inside.min()) / (inside.max() - inside.min()), 0, 1)
    expected = 1 - expected if photometric == "MONOCHROME1" else expected
    expected[padded] = 0
    np.testing.assert_allclose(shown(tmp_path, one), expected, atol=1e-6)
    one.WindowCenter, one.WindowWidth = 3000, 8000  # then the darkest shown value is not 0
    picture = shown(tmp_path, one)
    assert (picture[padded] == picture[~padded].min()).all()
    assert picture[padded].min() > 0


def test_signed_padding_written_as_an_unsigned_number(tmp_path: Path) -> None:
    levels = films.film() - 1000
    levels[:, 0] = -2000
    one = films.dataset(levels.astype(np.int16).view(np.uint16))
    one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 15, 1
    one.add_new(0x00280120, "US", 63536)
    picture = shown(tmp_path, one)
    np.testing.assert_allclose(picture[:, 1:], stretched(levels[:, 1:]), atol=1e-6)
    assert (picture[:, 0] == 0).all()


def test_spacing(tmp_path: Path) -> None:
    one = films.dataset()
    assert spacing(tmp_path, one) == (1, 1)
    one.ImagerPixelSpacing = [0.2, 0.1]
    assert spacing(tmp_path, one) == (0.2, 0.1)
    one.PixelSpacing = [0.3, 0.15]
    assert spacing(tmp_path, one) == (0.3, 0.15)
    _, grid = pictures.look("case-1", {"XR": ("a.dcm",)}, tmp_path, films.recipe().data)
    assert (grid.shape, grid.spacing, grid.axcodes) == ((films.COLUMNS, films.ROWS, 1), (0.15, 0.3, 0), "")
    one.PixelSpacing = [0, 0]
    assert spacing(tmp_path, one) == (0.2, 0.1)
    one.ImagerPixelSpacing = [0, 0]
    assert spacing(tmp_path, one) == (1, 1), "0 is how some devices write that they do not know"
    one.PixelSpacing = [0.001, 0.15]
    with phantoms.refuses("FM-DAT-23"):
        spacing(tmp_path, one)


@pytest.mark.parametrize("codec", CODECS, ids=lambda uid: uid.keyword)
def test_compressed_equals_uncompressed(tmp_path: Path, codec: str) -> None:
    levels = np.kron(films.film(), np.ones((4, 4), int))
    one = films.dataset(levels)
    one.WindowCenter, one.WindowWidth = 1300, 500
    plain = shown(tmp_path, one)
    one.compress(codec)
    np.testing.assert_array_equal(shown(tmp_path, one), plain)


def test_one_frame_of_grey_is_expected(tmp_path: Path) -> None:
    one = films.dataset()
    one.NumberOfFrames = 2
    with phantoms.refuses("FM-DAT-32", "2 frames"):
        shown(tmp_path, one)
    one = films.dataset()
    one.SamplesPerPixel, one.PhotometricInterpretation = 3, "RGB"
    with phantoms.refuses("FM-DAT-40", "3 samples"):
        shown(tmp_path, one)
    one = films.dataset()
    one.PhotometricInterpretation = "PALETTE COLOR"
    with phantoms.refuses("FM-DAT-40", "palette"):
        shown(tmp_path, one)


def test_empty_nan_and_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with phantoms.refuses("FM-DAT-26", "every pixel is 0"):
        shown(tmp_path, films.dataset(np.full((8, 8), 7)))
    one = films.dataset(np.full((8, 8), 7))
    one.PixelPaddingValue = 7
    with phantoms.refuses("FM-DAT-26"):
        shown(tmp_path, one)
    one = films.dataset()
    one.BitsAllocated = one.BitsStored = 32
    one.HighBit = 31
    del one.PixelData, one.PixelRepresentation
    one.FloatPixelData = np.full(films.film().shape, np.nan, dtype="<f4").tobytes()
    with phantoms.refuses("FM-DAT-22"):
        shown(tmp_path, one)
    monkeypatch.setattr(geometry, "MAX_PIXELS", 100)
    with phantoms.refuses("FM-DAT-25", "16 x 24 pixels, expected at most 100"):
        shown(tmp_path, films.dataset())
    Image.fromarray(films.film().astype(np.uint8)).save(tmp_path / "a.png")
    with phantoms.refuses("FM-DAT-25"):
        read(tmp_path, "a.png")


def test_channels_share_one_size(tmp_path: Path) -> None:
    films.save(tmp_path / "a.dcm", films.dataset())
    films.save(tmp_path / "b.dcm", films.dataset(films.film() * 2 % 4096))
    data = films.recipe(channels=("AP", "LAT")).data
    case = films.case("a.dcm", "b.dcm", channels=("AP", "LAT"))
    assert pictures.read(case, tmp_path, data, {}).slices.shape == (1, 2, films.ROWS, films.COLUMNS)
    films.save(tmp_path / "b.dcm", films.dataset(films.film()[:-1]))
    with phantoms.refuses("FM-DAT-27", "case-1 LAT: 16 x 23 pixels, expected 16 x 24"):
        pictures.read(case, tmp_path, data, {})
    with phantoms.refuses("FM-DAT-11", "LAT"):
        pictures.look("case-1", {"AP": ("a.dcm",)}, tmp_path, data)


def test_class_by_label_map(tmp_path: Path) -> None:
    films.save(tmp_path / "a.dcm", films.dataset())
    data = films.recipe().data

    def label(value: int | None, label_map: dict[int, int]) -> int | None:
        return pictures.read(films.case("a.dcm", label=value), tmp_path, data, label_map).label

    assert [label(value, {}) for value in (None, 0, 1)] == [None, 0, 1]
    assert [label(value, {10: 1, 20: 0}) for value in (0, 10, 20)] == [0, 1, 0]
    for value, label_map in ((2, {}), (1, {10: 1}), (-1, {})):
        with phantoms.refuses("FM-DAT-28"):
            label(value, label_map)


# --- PNG and JPEG -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA"])
def test_png_of_eight_bits(tmp_path: Path, mode: str) -> None:
    levels = (films.film() // 16).astype(np.uint8)
    Image.fromarray(levels).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_allclose(read(tmp_path, "a.png"), levels / 255, atol=1e-6)


def test_png_of_sixteen_bits(tmp_path: Path) -> None:
    levels = (films.film() * 16 + 3).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_allclose(read(tmp_path, "a.png"), levels / 65535, atol=1e-7)


def test_png_of_one_bit(tmp_path: Path) -> None:
    levels = films.film() > 1000
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path, "a.png"), levels)


def test_colour_and_transparency(tmp_path: Path) -> None:
    levels = np.stack([films.film() // 16] * 4, axis=-1).astype(np.uint8)
    levels[..., 3] = 255
    levels[5, 5, 0] += 1
    for name, mode in (("a.png", "RGB"), ("a.jpg", "CMYK")):
        Image.fromarray(levels, "RGBA").convert(mode).save(tmp_path / name)
        with phantoms.refuses("FM-DAT-40", "colour"):
            read(tmp_path, name)
    levels[5, 5] = (9, 9, 9, 254)
    Image.fromarray(levels, "RGBA").save(tmp_path / "a.png")
    with phantoms.refuses("FM-DAT-40", "transparent"):
        read(tmp_path, "a.png")


def upright() -> np.ndarray:
    """Smooth enough for JPEG."""
    rows, columns = np.mgrid[0:48, 0:32]
    return (rows * 3 + columns * 2).astype(np.uint8)


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_jpeg_is_turned_as_exif_says(tmp_path: Path, orientation: int, turn: int) -> None:
    """Orientation 6: stored lying, to be turned clockwise by 90 degrees."""
    stream = io.BytesIO()
    Image.fromarray(np.rot90(upright(), turn)).save(stream, "JPEG", quality=98)
    (tmp_path / "a.jpg").write_bytes(films.with_orientation(stream.getvalue(), orientation))
    picture = read(tmp_path, "a.jpg")
    assert picture.shape == (48, 32)
    np.testing.assert_allclose(picture, upright() / 255, atol=0.02)
    assert spacing_of(tmp_path, "a.jpg") == (1, 1)


def spacing_of(root: Path, name: str) -> tuple[float, float]:
    return pictures.read(films.case(name), root, films.recipe().data, {}).spacing


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_truncated_pictures(tmp_path: Path, kind: str, recwarn: pytest.WarningsRecorder) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(stream, kind)
    (tmp_path / "a.png").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    with phantoms.refuses("FM-DAT-48", "truncated"):
        read(tmp_path, "a.png")
    assert not recwarn.list


def test_truncated_dicom(tmp_path: Path) -> None:
    whole = films.save(tmp_path / "a.dcm", films.dataset()).read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[: len(whole) - 100])
    with phantoms.refuses("FM-DAT-33"):
        read(tmp_path)


def test_content_counts_and_names_do_not(tmp_path: Path) -> None:
    Image.fromarray(upright()).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "b.dcm")
    films.save(tmp_path / "b.png", films.dataset())
    np.testing.assert_allclose(read(tmp_path, "b.dcm"), upright() / 255, atol=1e-6)
    np.testing.assert_allclose(read(tmp_path, "b.png"), stretched(films.film()), atol=1e-6)
    (tmp_path / "c.png").write_text("Nansen, but no picture")
    with phantoms.refuses("FM-DAT-48", "neither"):
        read(tmp_path, "c.png")
    Image.fromarray(upright()).save(tmp_path / "d.tif")
    with phantoms.refuses("FM-DAT-48"):
        read(tmp_path, "d.tif")
    with phantoms.refuses("FM-DAT-16"):
        read(tmp_path, "absent.png")


def test_bombs_and_animations(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    frames = [Image.fromarray(upright() + shift) for shift in (0, 1)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with phantoms.refuses("FM-DAT-32"):
        read(tmp_path, "a.png")
    Image.new("1", (1, 1)).save(tmp_path / "a.png")
    small = (tmp_path / "a.png").read_bytes()
    for side in (10_000, 20_000):  # pillow warns of the first and refuses the second
        head = b"IHDR" + struct.pack(">II", side, side) + small[24:29]
        (tmp_path / "a.png").write_bytes(small[:12] + head + struct.pack(">I", zlib.crc32(head)) + small[33:])
        with phantoms.refuses("FM-DAT-25"):
            read(tmp_path, "a.png")
    assert not recwarn.list


@given(kind=st.sampled_from(["PNG", "JPEG", "DICOM"]), at=st.integers(0, 3000), value=st.integers(0, 255))
def test_damage_is_a_code_and_never_a_traceback(tmp_path: Path, kind: str, at: int, value: int) -> None:
    path = tmp_path / "a.dcm"
    if kind == "DICOM":
        one = films.dataset()
        one.VOILUTSequence = [films.lut(np.arange(256), 0, 8)]
        films.save(path, one)
    else:
        Image.fromarray(upright()).save(path, kind)
    damaged = bytearray(path.read_bytes())
    damaged[at % len(damaged)] = value
    path.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture, code = phantoms.attempt(lambda: read(tmp_path))
    assert code.startswith("FM-DAT-") or np.isfinite(picture).all()


# --- slices of volumes ------------------------------------------------------------------------------------------------

RAS = np.diag([2.0, 3.0, 4.0, 1.0])


def brain(root: Path, affine: np.ndarray = RAS, turn: str = "RAS") -> np.ndarray:
    """[right, anterior, superior] of all different values, written as `turn`."""
    array = phantoms.ramp((5, 6, 10))
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    wanted = nibabel.orientations.axcodes2ornt(turn)
    nibabel.save(image.as_reoriented(nibabel.orientations.ornt_transform([[0, 1], [1, 1], [2, 1]], wanted)), root)
    return array


def look(root: Path, name: str, **rule: Any) -> tuple[Any, Any]:
    data = films.recipe(modality="MR", slices=rule).data
    return pictures.look("case-1", {"XR": (name,)}, root, data)


@pytest.mark.parametrize("turn", ["RAS", "LPS", "ASR", "ILP"])
@pytest.mark.parametrize(
    ("axcodes", "spacing", "steps"),
    [("LPS", (3, 2), (2, 3, 4)), ("LIP", (4, 2), (2, 4, 3)), ("PIR", (4, 3), (3, 4, 2))],
)
def test_slices_lie_as_a_viewer_shows_them(
    tmp_path: Path, turn: str, axcodes: str, spacing: tuple[int, int], steps: tuple[int, int, int]
) -> None:
    """Whatever the file's own order: axial and coronal with the patient's left at the right, sagittal facing left."""
    array = brain(tmp_path / "a.nii.gz", turn=turn)
    picture, grid = look(tmp_path, "a.nii.gz", axcodes=axcodes, middle=1)
    expected = {
        "LPS": array[::-1, ::-1, :].transpose(2, 1, 0),  # row 0 is anterior, column 0 the patient's right
        "LIP": array[::-1, ::-1, ::-1].transpose(1, 2, 0),  # row 0 is superior
        "PIR": array[:, ::-1, ::-1].transpose(0, 2, 1),  # row 0 is superior, column 0 anterior
    }[axcodes]
    np.testing.assert_array_equal(picture.slices[:, 0], expected)
    assert picture.spacing == pytest.approx(spacing)
    assert grid.spacing == pytest.approx(steps)
    assert (grid.shape, grid.axcodes) == ((expected.shape[2], expected.shape[1], expected.shape[0]), axcodes)


@pytest.mark.parametrize(("middle", "kept"), [(1, range(10)), (0.8, range(1, 9)), (0.25, range(3, 6)), (0.01, [4])])
def test_the_middle_slices(tmp_path: Path, middle: float, kept: Any) -> None:
    array = brain(tmp_path / "a.nii")
    picture, grid = look(tmp_path, "a.nii", middle=middle)
    np.testing.assert_array_equal(picture.slices[:, 0], array[::-1, ::-1, :].transpose(2, 1, 0)[list(kept)])
    assert grid.shape == (5, 6, 10)


def test_a_dicom_series_and_two_channels(tmp_path: Path) -> None:
    names = phantoms.save(tmp_path, phantoms.slices(oblique=False))
    data = films.recipe(modality="MR", channels=("T1", "T2"), slices={"middle": 1}).data
    phantoms.write_nifti(tmp_path / "t2.nii", phantoms.ramp() + 1)
    picture, _ = pictures.look("case-1", {"T1": tuple(names), "T2": ("t2.nii",)}, tmp_path, data)
    assert picture.slices.shape == (10, 2, 6, 7)
    np.testing.assert_array_equal(picture.slices[:, 0], phantoms.ramp().transpose(2, 1, 0), "DICOM is LPS already")
    np.testing.assert_array_equal(picture.slices[:, 1], picture.slices[:, 0] + 1)
    moved = phantoms.expected_affine(oblique=False)
    moved[0, 3] += 1
    phantoms.write_nifti(tmp_path / "t2.nii", phantoms.ramp(), moved)
    with phantoms.refuses("FM-DAT-27"):
        pictures.look("case-1", {"T1": tuple(names), "T2": ("t2.nii",)}, tmp_path, data)
