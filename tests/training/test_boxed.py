"""A box around a landmark stays around it, whatever happens to the image: sizes, frames, flips, turns, stretches."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedmed.cases.case import Box, Case, Geometry
from fedmed.errors import FedmedError
from fedmed.training import boxed, pictures, transforms
from tests import boxed as films
from tests import radiographs
from tests.cases import films as dicoms

WHERE = (7, "aa", 0, 1)
ALWAYS = {
    "flip rows": [{"name": "RandFlip", "prob": 1, "spatial_axis": 0}],
    "flip columns": [{"name": "RandFlip", "prob": 1, "spatial_axis": 1}],
    "quarter turns": [{"name": "RandRotate90", "prob": 1, "spatial_axes": [0, 1]}],
    "turn": [{"name": "RandAffine", "prob": 1, "rotate_range": 0.5}],
    "stretch": [{"name": "RandAffine", "prob": 1, "scale_range": 0.3}],
}
ALWAYS["all together"] = [step for steps in ALWAYS.values() for step in steps]


def lopsided(rows, columns, box, level=250):
    """A dark film with one bright rectangle, which fills `box`."""
    levels = np.full((rows, columns), 20)
    levels[box.y : box.y + box.height, box.x : box.x + box.width] = level
    return levels


def case_of(name, boxes):
    return Case("case-00", "p", "", {"XR": (name,)}, tuple(boxes), {}, Geometry((1, 1, 1), (0.0, 0.0, 0.0), ""))


def drawn(cases, root, **changed):
    return boxed.Boxed(films.recipe(**changed), cases, root, {}, WHERE)


def frame_of(bright):
    """The box of what is bright: x, y, width, height."""
    rows, columns = np.nonzero(bright)
    return columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1


def assert_around(image, box, slack):
    """The bright rectangle, and the box said to be around it, in one frame."""
    shown = image.numpy()
    middle = (shown.max() + shown.min()) / 2
    np.testing.assert_allclose(frame_of(shown > middle), box[:4], atol=slack)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 48), Box(4 + 20 / 2, 6, 8, 3, 1)),  # half as large, 4 columns of frame on either side
        ((32, 24), Box(4 + 20, 12, 4, 6, 1)),  # as large
        ((16, 32), Box(20, 8 + 12, 12, 4, 1)),  # 8 rows of frame above
    ],
)
def test_a_box_goes_with_the_image_into_its_frame(tmp_path, shape, expected):
    box = Box(20, 12, min(16, shape[1] - 20), min(6, shape[0] - 12), 1)
    radiographs.write(tmp_path / "a.png", lopsided(*shape, box))
    prepared = drawn([case_of("a.png", [box])], tmp_path, augment=[]).prepared(0)
    assert boxed.boxes_in(prepared) == [expected]
    assert_around(prepared["image"][0], expected, 1e-6)
    assert boxed.place_in(prepared).back(expected.x, expected.y) == (20, 12)


@pytest.mark.parametrize("spacing", [None, (0.5, 1.0), (1.0, 0.4)])
def test_golden_a_box_of_a_dicom_file_with_oblong_pixels(tmp_path, spacing):
    """Before the frame the image is stretched to its proportions in mm, and the box with it."""
    box = Box(30, 8, 12, 20, 1)
    one = dicoms.dataset(lopsided(40, 60, box) * 16)
    if spacing:
        one.PixelSpacing = list(spacing)
    dicoms.save(tmp_path / "a.dcm", one)
    prepared = drawn([case_of("a.dcm", [box])], tmp_path, augment=[], data={"image_size": [64, 64]}).prepared(0)
    (found,) = boxed.boxes_in(prepared)
    assert_around(prepared["image"][0], found, 1)
    x, y = boxed.place_in(prepared).back(found.x, found.y)
    assert (x, y) == pytest.approx((30, 8))


@pytest.mark.parametrize("name", ALWAYS)
def test_golden_a_box_follows_the_augmentation(tmp_path, name):
    box = Box(9, 22, 14, 5, 1)  # in a corner, wider than high
    radiographs.write(tmp_path / "a.png", lopsided(64, 64, box))
    samples = drawn([case_of("a.png", [box])], tmp_path, augment=ALWAYS[name], data={"image_size": [64, 64]})
    places = set()
    for number in range(12):
        image, maps = samples.sample(number)
        (peak,) = np.argwhere(maps[0].numpy() == 1)
        bright = image[0].numpy() > 0.5 * float(image.max())
        rows, columns = np.nonzero(bright)
        np.testing.assert_allclose(peak + 0.5, (rows.mean() + 0.5, columns.mean() + 0.5), atol=1.1)
        # the bump lies on the landmark and nowhere else
        assert maps[0].numpy()[bright].sum() > 0.5 * float(maps.sum())
        places.add(tuple(peak))
    assert len(places) == (1 if name.startswith("flip") else len(places))
    assert places != {(24, 16)}, "nothing was altered"


@pytest.mark.parametrize("name", ["flip rows", "flip columns", "quarter turns"])
def test_a_box_that_follows_is_exact_to_the_pixel(tmp_path, name):
    box = Box(9, 22, 14, 5, 1)
    radiographs.write(tmp_path / "a.png", lopsided(64, 64, box))
    samples = drawn([case_of("a.png", [box])], tmp_path, augment=ALWAYS[name], data={"image_size": [64, 64]})
    prepared = samples.prepared(0)
    for seed in range(4):
        transforms.draw_from(samples.augmentation, np.random.RandomState(seed))
        image = samples.augmentation({"image": boxed.MetaTensor(prepared["image"].clone())})["image"]
        (moved,) = boxed.moved(boxed.boxes_in(prepared), image.affine.numpy())
        assert frame_of(image.as_tensor()[0].numpy() > 0) == pytest.approx(moved[:4])


def test_moved_by_hand():
    # rows became columns: pixel (row, column) stood at (column, row) before; then everything moved down by 3
    affine = np.array([[0, 1, 0, 0], [1, 0, 0, -3], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    assert boxed.moved([Box(2, 5, 4, 1, 3)], affine) == [Box(5, 5, 1, 4, 3)]


def test_two_boxes_have_two_peaks_and_none_has_none(tmp_path):
    found = drawn(films.cases(tmp_path, [0, 1, 2]), tmp_path, augment=[], training={"balance": "none"})
    peaks = {int((found.draw(found.prepared(n), np.random.RandomState(0))[1] == 1).sum()) for n in range(3)}
    assert peaks == {0, 1, 2}
    image, maps = found.sample(0)
    assert (image.shape, maps.shape, image.dtype, maps.dtype) == (
        (1, 32, 32),
        (1, 32, 32),
        torch.float32,
        torch.float32,
    )
    assert type(image) is torch.Tensor


def test_images_with_each_label_and_without_one_are_equally_likely(tmp_path):
    cases = films.cases(tmp_path, [0, 0, 0, 0, 0, 0, 1, 1])
    cases[7] = replace(cases[7], label=tuple(box._replace(label=2) for box in cases[7].label))
    labels = {"labels": {1: "one", 2: "two"}}
    counts = Counter(drawn(cases, tmp_path, data=labels).case_number(i) for i in range(150))
    assert 35 < counts[6] < 65
    assert 35 < counts[7] < 65
    assert set(counts) == set(range(8))
    plain = drawn(cases, tmp_path, data=labels, training={"balance": "none"})
    assert Counter(plain.case_number(i) for i in range(80)) == dict.fromkeys(range(8), 10)


def test_a_case_without_boxes_or_with_a_foreign_label_is_refused(tmp_path):
    for label, code in ((None, "FM-TRN-03"), (1, "FM-TRN-03"), ((Box(1, 1, 2, 2, 5),), "FM-DAT-28")):
        with pytest.raises(FedmedError) as caught:
            drawn([replace(case_of("a.png", []), label=label)], tmp_path)
        assert caught.value.code == code
        assert "case-00" in caught.value.message


def test_the_place_in_a_frame_is_what_fitted_does(tmp_path):
    image = torch.zeros(1, 1, 20, 50)
    image[..., 4:10, 30:42] = 1
    place = pictures.place((20, 50), (2.0, 1.0), (64, 64))
    frame = pictures.fitted(image, (2.0, 1.0), (64, 64))[0, 0]
    assert_around(frame, place.into(Box(30, 4, 12, 6, 1)), 1)
