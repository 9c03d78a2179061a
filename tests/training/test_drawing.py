"""Which case is drawn, how it is altered, and that both depend on its place alone."""

from collections import Counter

import numpy as np
import pytest
import torch

from fedmed.errors import FedmedError
from fedmed.training import pictures, samples
from tests import radiographs

WHERE = (7, "aa", 0, 1)
LOPSIDED = np.array([[250, 180], [110, 50]]).repeat(20, 0).repeat(20, 1)


def drawn(cases, root=None, label_map=None, **changed):
    return pictures.Pictures(radiographs.recipe(**changed), cases, root, label_map or {}, WHERE)


def classes(numbers):
    return [radiographs.case(f"case-{place:02d}", number) for place, number in enumerate(numbers)]


# which case is drawn


@pytest.mark.slow
def test_balanced_sampling_draws_every_class_equally_often():
    found = drawn(classes([0] * 17 + [1] * 2 + [2]), data={"labels": {1: "one", 2: "two"}})
    picked = Counter(found.case_number(number) for number in range(6000))
    by_class = [sum(picked[number] for number in range(*ends)) for ends in ((0, 17), (17, 19), (19, 20))]
    assert all(abs(count - 2000) < 120 for count in by_class), by_class  # 120 is more than 3 standard deviations
    assert all(abs(picked[number] - 1000) < 120 for number in (17, 18)), "and every case of a class as the others"
    assert min(picked[number] for number in range(17)) > 70
    assert found.case_number(5) == found.case_number(5), "sample 5 is sample 5, whoever asks and when"


def test_without_balance_every_case_comes_once_an_epoch():
    found = drawn(classes([0, 0, 0, 0, 1]), training={"balance": "none"})
    for epoch in range(3):
        assert sorted(found.case_number(epoch * 5 + place) for place in range(5)) == [0, 1, 2, 3, 4]


def test_a_site_without_one_of_the_classes_draws_from_those_it_has():
    found = drawn(classes([2, 2, 2]), data={"labels": {1: "one", 2: "two"}})
    assert {found.case_number(number) for number in range(50)} == {0, 1, 2}


def test_label_map_merges_two_numbers_of_a_hospital_into_one_class():
    # 10 and 11 are both a fracture here: a class of two cases, as often as the six without
    found = drawn(classes([0] * 6 + [10, 11]), label_map={10: 1, 11: 1})
    assert {label: len(members) for label, members in found.members.items()} == {0: 6, 1: 2}
    picked = Counter(found.case_number(number) for number in range(4000))
    assert abs(picked[6] + picked[7] - 2000) < 130
    assert abs(picked[6] - 1000) < 130


def test_class_weights_by_hand():
    labels = {"labels": {1: "one", 2: "two", 3: "three"}}
    loss = {"training": {"balance": "loss"}}
    found = drawn(classes([0] * 6 + [1] * 3 + [2]), data=labels, **loss)
    # 10 cases in 3 classes that occur: 10 / (3 * 6), 10 / (3 * 3), 10 / (3 * 1), and 1 for the class nobody has
    assert found.class_weights().tolist() == pytest.approx([5 / 9, 10 / 9, 10 / 3, 1.0])
    assert found.class_weights().dtype == torch.float32
    assert drawn(classes([0, 1]), data=labels).class_weights() is None
    merged = drawn(classes([0] * 6 + [10, 11]), label_map={10: 1, 11: 1}, **loss)
    assert merged.class_weights().tolist() == pytest.approx([8 / 12, 8 / 4])


@pytest.mark.parametrize("label", [None, "mask.nii.gz"])
def test_a_case_without_a_class(label):
    with pytest.raises(FedmedError) as caught:
        drawn([radiographs.case("case-00", label)])
    assert caught.value.code == "FM-TRN-03"


@pytest.mark.parametrize(("number", "label_map"), [(2, {}), (5, {10: 1}), (-1, {})])
def test_a_number_that_is_no_class(number, label_map):
    with pytest.raises(FedmedError) as caught:
        drawn([radiographs.case("case-00", number)], label_map=label_map)
    assert caught.value.code == "FM-DAT-28"


# augmentation


def test_augmentation_differs_by_place_and_repeats_with_it(tmp_path):
    found = drawn(radiographs.cases(tmp_path, [0]), tmp_path)
    again = drawn(radiographs.cases(tmp_path, [0]), tmp_path)
    first = [found.sample(number)[0] for number in range(6)]
    backwards = [again.sample(number)[0] for number in reversed(range(6))][::-1]
    assert all(torch.equal(one, two) for one, two in zip(first, backwards, strict=True))
    assert len({image.numpy().tobytes() for image in first}) == 6
    kept = found.prepared(0)["slices"].clone()
    found.sample(7)
    assert torch.equal(found.prepared(0)["slices"], kept), "what is cached is never altered"


@pytest.mark.parametrize(
    "step",
    [
        {"name": "RandFlip", "prob": 1, "spatial_axis": 0},
        {"name": "RandFlip", "prob": 1, "spatial_axis": 1},
        {"name": "RandRotate90", "prob": 1, "spatial_axes": [0, 1]},
        {"name": "RandAffine", "prob": 1, "rotate_range": 0.5, "scale_range": 0.2},
        {"name": "RandScaleIntensity", "prob": 1, "factors": 0.5},
        {"name": "RandShiftIntensity", "prob": 1, "offsets": 0.5},
        {"name": "RandGaussianNoise", "prob": 1, "std": 0.5},
    ],
    ids=lambda step: step["name"],
)
def test_every_augmentation_works_on_a_picture(tmp_path, step):
    radiographs.write(tmp_path / "case-00.png", LOPSIDED)
    case = radiographs.case("case-00", 0)
    plain = drawn([case], tmp_path, augment=[]).sample(0)[0]
    changed = [drawn([case], tmp_path, augment=[step]).sample(number)[0] for number in range(4)]
    assert all(image.shape == plain.shape and image.dtype == torch.float32 for image in changed)
    assert any(not torch.equal(image, plain) for image in changed)
    if step["name"] == "RandFlip":
        assert all(torch.equal(image, plain.flip(1 + step["spatial_axis"])) for image in changed)


def test_a_rotation_stays_in_the_plane_and_keeps_the_proportions(tmp_path):
    radiographs.write(tmp_path / "case-00.png", np.pad(np.full((20, 20), 200), 20))
    step = {"name": "RandAffine", "prob": 1, "rotate_range": 0.7}
    found = drawn([radiographs.case("case-00", 0)], tmp_path, augment=[step], data={"image_size": [60, 60]})
    areas = [int((found.sample(number)[0] > 0).sum()) for number in range(12)]
    assert all(abs(area - 400) < 40 for area in areas), areas  # a square of 20 x 20, however it is turned


def test_the_number_of_loader_processes_does_not_matter(tmp_path):
    found = drawn(radiographs.cases(tmp_path, [0, 1, 0, 1, 0]), tmp_path)

    def batches(workers):
        loader = torch.utils.data.DataLoader(
            found, sampler=range(12), batch_size=4, num_workers=workers, collate_fn=samples.stack
        )
        return [(images.clone(), labels.tolist()) for images, labels in loader]

    alone, two = batches(0), batches(2)
    assert [labels for _, labels in alone] == [labels for _, labels in two]
    assert all(torch.equal(one[0], other[0]) for one, other in zip(alone, two, strict=True))
