"""From an image file to what a classifier sees: nothing turned or stretched, classes drawn as the recipe says."""

from collections import Counter

import numpy as np
import pytest
import torch

from fedmed.cases.case import Picture
from fedmed.training import pictures
from tests import radiographs
from tests.cases import films, phantoms

WHERE = (7, "aa", 0, 1)


def rules(size=(32, 32), **data):
    return radiographs.recipe(data={"image_size": list(size), **data}).data


def volume_rules(size=(32, 32), modality="MR"):
    return rules(size, modality=modality, slices={})


def drawn(cases, root=None, label_map=None, **changed):
    return pictures.Pictures(radiographs.recipe(**changed), cases, root, label_map or {}, WHERE)


# how an image is brought into its frame


def inside_of(frame):
    """Rows and columns from the first to the last that is not padding, as (top, bottom, left, right)."""
    rows, columns = np.nonzero(frame.numpy() > 0.5)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((20, 10), (1.0, 1.0), (0, 32, 8, 24)),  # tall: all rows, half the columns, in the middle
        ((10, 20), (1.0, 1.0), (8, 24, 0, 32)),
        ((10, 10), (1.0, 1.0), (0, 32, 0, 32)),
        ((10, 10), (2.0, 1.0), (0, 32, 8, 24)),  # 20 mm by 10 mm, whatever the pixels say
        ((20, 10), (0.5, 1.0), (0, 32, 0, 32)),  # 10 mm by 10 mm
        ((64, 64), (0.1, 0.4), (12, 20, 0, 32)),  # 6.4 mm by 25.6 mm
        ((300, 100), (1.0, 1.0), (0, 32, 10, 21)),  # 10.67 columns are 11, and the odd one stands at the right
    ],
)
def test_proportions_in_mm_are_kept_in_the_middle(shape, spacing, expected):
    image = torch.ones(1, 1, *shape)
    image[..., shape[0] // 2, shape[1] // 2] = -1000  # so the frame around the image is dark, and shows its edges
    frame = pictures.fitted(image, spacing, (32, 32))[0, 0]
    assert inside_of(frame) == expected
    outside = torch.ones(32, 32, dtype=bool)
    outside[expected[0] : expected[1], expected[2] : expected[3]] = False
    assert (frame[outside] == frame.min()).all()


@pytest.mark.parametrize(("shape", "row"), [((1, 4000), True), ((4000, 1), False), ((2, 3000), True)])
def test_the_narrowest_image_is_still_there(shape, row):
    ramp = torch.linspace(0, 1, max(shape)).expand(min(shape), -1)
    image = ramp if row else torch.linspace(0, 1, max(shape))[:, None].expand(shape)
    frame = pictures.fitted(image[None, None], (1.0, 1.0), (32, 32))[0, 0]
    lines = frame[15:17] if row else frame[:, 15:17].T
    for line in lines:
        np.testing.assert_allclose(line, (np.arange(32) + 0.5) / 32, atol=0.01)
    assert frame.sum() - lines.sum() == pytest.approx(30 * 32 * float(frame.min()), abs=0.01)


def test_each_slice_and_channel_has_a_darkest_pixel_of_its_own():
    image = torch.ones(2, 2, 8, 16) * torch.tensor([[1.0, 2.0], [3.0, 4.0]])[:, :, None, None]
    frame = pictures.fitted(image, (1.0, 1.0), (32, 32))
    np.testing.assert_allclose(frame[:, :, 0, 0], [[1, 2], [3, 4]], atol=1e-6)


@pytest.mark.parametrize("size", [(16, 16), (16, 64), (64, 16), (48, 33)])
@pytest.mark.parametrize("shape", [(1, 1), (5, 500), (500, 5), (33, 48)])
def test_every_image_reaches_image_size(shape, size):
    picture = Picture(np.random.RandomState(0).rand(1, 1, *shape).astype(np.float32), (0.3, 0.7), None)
    frame = pictures.standardise(picture, rules(size))
    assert frame.shape == (1, 1, *size)
    assert frame.dtype == torch.float32
    assert torch.isfinite(frame).all()


def test_an_image_that_fits_is_not_resampled():
    image = np.random.RandomState(0).rand(1, 1, 32, 32).astype(np.float32)
    frame = pictures.fitted(torch.from_numpy(image), (0.2, 0.2), (32, 32))
    np.testing.assert_allclose(frame.numpy(), image, atol=1e-6)


# grey levels


def test_a_screw_and_a_dead_pixel_are_cut_off_before_the_levels_are_scaled():
    levels = np.tile(np.arange(100, dtype=np.float32), (100, 1))[None, None]
    levels[0, 0, 0, 0], levels[0, 0, 0, 99] = -1e6, 1e6
    frame = pictures.standardise(Picture(levels, (1.0, 1.0), None), rules((100, 100)))[0, 0]
    low, high = np.percentile(levels, (0.5, 99.5))
    clipped = np.clip(levels[0, 0], low, high)
    np.testing.assert_allclose(frame, (clipped - clipped.mean()) / clipped.std(), atol=1e-5)
    assert frame.min() == frame[0, 0]
    assert abs(float(frame.min())) < 2, "without the cut the ramp would be one grey"


def test_in_mr_zero_is_outside_and_becomes_as_dark_as_the_darkest():
    levels = np.zeros((3, 1, 32, 32), np.float32)
    levels[:, :, 8:24, 8:24] = np.random.RandomState(0).rand(3, 1, 16, 16) * 100 + 500
    levels[1] *= 2  # one scale for all slices of a channel: what is brighter in one slice stays brighter
    frame = pictures.standardise(Picture(levels, (1.0, 1.0), None), volume_rules()).numpy()
    inside = levels != 0
    assert (frame[~inside] == frame[inside].min()).all()
    assert frame[inside].mean() == pytest.approx(0, abs=1e-5)
    assert frame[inside].std() == pytest.approx(1, abs=1e-4)
    assert frame[1][inside[1]].min() > frame[0][inside[0]].max()


def test_in_ct_zero_is_water_and_counts():
    levels = np.zeros((1, 1, 32, 32), np.float32)
    levels[..., :8] = 100
    frame = pictures.standardise(Picture(levels, (1.0, 1.0), None), volume_rules(modality="CT")).numpy()
    assert frame.mean() == pytest.approx(0, abs=1e-5)
    assert frame[0, 0, 0, -1] < 0


def test_each_channel_has_a_scale_of_its_own():
    levels = np.random.RandomState(0).rand(1, 2, 32, 32).astype(np.float32)
    alone = pictures.standardise(Picture(levels[:, :1], (1.0, 1.0), None), rules())
    levels[:, 1] *= 1000
    both = pictures.standardise(Picture(levels, (1.0, 1.0), None), rules(channels=["AP", "LAT"]))
    assert torch.equal(both[:, :1], alone)
    assert abs(float(both[:, 1].mean())) < 1e-3


def test_an_image_of_one_grey_is_zero_and_not_infinite():
    for modality in ("MR", "CT"):
        frame = pictures.standardise(Picture(np.full((1, 1, 9, 9), 7, np.float32), (1, 1), None), volume_rules())
        assert (frame == 0).all(), modality
    empty = pictures.standardise(Picture(np.zeros((1, 1, 9, 9), np.float32), (1, 1), None), volume_rules())
    assert (empty == 0).all()


def test_reading_leaves_the_picture_alone():
    levels = np.random.RandomState(0).rand(1, 1, 20, 20).astype(np.float32)
    kept = levels.copy()
    pictures.standardise(Picture(levels, (1.0, 1.0), None), rules())
    assert np.array_equal(levels, kept)


# the whole chain, on a phantom with no symmetry: file -> sample


def corner_means(image):
    """Mean grey of the quarters of a frame by their place."""
    middle = image.shape[0] // 2
    rows, columns = (slice(None, middle), slice(middle, None)), (slice(None, middle), slice(middle, None))
    names = ("top left", "top right", "bottom left", "bottom right")
    return dict(zip(names, (float(image[row, column].mean()) for row in rows for column in columns), strict=True))


LOPSIDED = np.array([[250, 180], [110, 50]]).repeat(20, 0).repeat(20, 1)  # the brightest at the top left
ORDER = ["top left", "top right", "bottom left", "bottom right"]


def brightest_first(image):
    found = corner_means(image.numpy())
    return sorted(found, key=lambda name: -found[name])


@pytest.mark.parametrize("name", ["case-00.png", "case-00.dcm"])
def test_golden_a_radiograph_is_neither_turned_nor_mirrored_on_its_way(tmp_path, name):
    if name.endswith(".png"):
        radiographs.write(tmp_path / name, LOPSIDED)
    else:
        films.save(tmp_path / name, films.dataset(LOPSIDED * 16))
    found = drawn([radiographs.case("case-00", 1, files=(name,))], tmp_path, augment=[])
    image, label = found.sample(0)
    assert (image.shape, int(label)) == ((1, 16, 16), 1)
    assert (image.dtype, label.dtype) == (torch.float32, torch.int64)
    assert brightest_first(image[0]) == ORDER
    # the grey levels written out: four plateaus with mean 147.5 and this standard deviation
    spread = np.std([250, 180, 110, 50])
    expected = [(level - 147.5) / spread for level in (250, 180, 110, 50)]
    got = [float(image[0, row, column]) for row, column in ((3, 3), (3, 12), (12, 3), (12, 12))]
    np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize(("axcodes", "name"), [("LPS", "axial"), ("LIP", "coronal"), ("PIR", "sagittal")])
def test_golden_a_slice_stands_as_a_reader_sees_it(tmp_path, axcodes, name):
    # a volume in RAS whose grey grows to the patient's left, to the back and downwards: weights 4, 2 and 1
    grid = np.stack(np.meshgrid(*(np.linspace(0, 1, 24),) * 3, indexing="ij"))
    right, anterior, superior = grid
    levels = 100 + 400 * (1 - right) + 200 * (1 - anterior) + 100 * (1 - superior)
    phantoms.write_nifti(tmp_path / "v.nii.gz", levels.astype(np.float32), np.eye(4))
    recipe_data = {"modality": "MR", "channels": ["MR"], "slices": {"axcodes": axcodes, "middle": 0.5}}
    case = radiographs.case("case-00", 0)
    case = type(case)(**{**vars(case), "image": {"MR": ("v.nii.gz",)}})
    found = drawn([case], tmp_path, data=recipe_data, augment=[])
    slices = found.prepared(0)["slices"]
    assert slices.shape == (12, 1, 16, 16), "the middle half of 24"
    # columns run along the first axcode, rows along the second: the brightest corner is where both letters agree
    assert brightest_first(slices[6, 0])[0] == "bottom right", "left, back and down grow to the right and downwards"
    means = [float(each.mean()) for each in slices[:, 0]]
    growing = {"axial": False, "coronal": True, "sagittal": False}[name]
    assert means == sorted(means, reverse=not growing)
    # along columns against along rows: the larger weight is the steeper ramp
    picture = slices[6, 0]
    across, down = float(picture[8, 12] - picture[8, 4]), float(picture[12, 8] - picture[4, 8])
    assert across / down == pytest.approx({"axial": 2, "coronal": 4, "sagittal": 2}[name], rel=0.02)


def test_slices_of_a_volume_are_drawn_one_by_one_and_all_of_them(tmp_path):
    levels = np.random.RandomState(0).rand(20, 20, 10).astype(np.float32) + np.arange(1, 11) * 10
    phantoms.write_nifti(tmp_path / "v.nii.gz", levels.astype(np.float32), np.eye(4))
    case = radiographs.case("case-00", 1)
    case = type(case)(**{**vars(case), "image": {"MR": ("v.nii.gz",)}})
    found = drawn([case], tmp_path, data={"modality": "MR", "channels": ["MR"], "slices": {"middle": 0.8}}, augment=[])
    slices = found.prepared(0)["slices"]
    assert slices.shape == (8, 1, 16, 16)
    images = [found.sample(number)[0] for number in range(80)]
    seen = Counter(next(n for n, each in enumerate(slices) if torch.equal(each, image)) for image in images)
    assert set(seen) == set(range(8))
    assert max(seen.values()) < 25
