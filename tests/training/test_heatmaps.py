"""Heat maps by hand: where a bump stands, how it falls off, and which peaks are read back."""

import numpy as np
import pytest
import torch

from fedmed.cases.case import Box
from fedmed.training import heatmaps
from fedmed.training.heatmaps import Peak
from fedmed.training.pictures import Place

WHOLE = Place(20, 20, 0, 0, 20, 20)


def test_a_bump_is_1_in_the_middle_and_falls_off_with_the_box():
    maps = heatmaps.drawn([Box(6, 2, 12, 6, 2)], (20, 24), 2)  # middle at column 12, row 5
    assert maps.shape == (2, 20, 24)
    assert maps.dtype == torch.float32
    assert maps[0].max() == 0
    assert np.argwhere(maps[1].numpy() == 1).tolist() == [[5, 12]]
    # standard deviations of a sixth: 2 columns, 1 row
    assert maps[1, 5, 14] == pytest.approx(np.exp(-0.5))
    assert maps[1, 6, 12] == pytest.approx(np.exp(-0.5))
    assert maps[1, 7, 16] == pytest.approx(np.exp(-0.5 * (4 + 4)))


def test_two_boxes_of_a_label_keep_their_peaks_and_a_tiny_one_a_bump_of_a_pixel():
    maps = heatmaps.drawn([Box(2, 2, 12, 12, 1), Box(6, 6, 12, 12, 1), Box(3.2, 17.6, 0.5, 0.5, 1)], (20, 20), 1)
    assert np.argwhere(maps[0].numpy() == 1).tolist() == [[8, 8], [12, 12], [17, 3]]
    assert maps[0, 17, 4] == pytest.approx(np.exp(-0.5))


@pytest.mark.parametrize("box", [Box(-8, 4, 6, 6, 1), Box(4, 18, 6, 6, 1), Box(18, 4, 4.1, 6, 1)])
def test_a_box_whose_middle_left_the_image_leaves_nothing(box):
    assert heatmaps.drawn([box], (20, 20), 1).max() == 0


def heat(**levels):
    """A map of 20 x 20 with levels at r<row>c<column>."""
    found = np.zeros((1, 20, 20), np.float32)
    for place, level in levels.items():
        row, column = map(int, place[1:].split("c"))
        found[0, row, column] = level
    return found


def test_peaks_by_hand():
    found = heatmaps.peaks(heat(r4c5=0.9, r4c6=0.8, r12c5=0.5, r12c9=0.7), WHOLE, 4)
    # .8 is a neighbour of .9; .5 and .7 are 4 columns apart, which is enough
    assert found[:3] == [
        Peak(1, pytest.approx(0.9), 5.5, 4.5),
        Peak(1, pytest.approx(0.7), 9.5, 12.5),
        Peak(1, pytest.approx(0.5), 5.5, 12.5),
    ]
    nearer = heatmaps.peaks(heat(r12c5=0.5, r12c8=0.7), WHOLE, 4)
    assert [peak.score for peak in nearer if peak.score] == [pytest.approx(0.7)]


def test_of_a_plateau_points_are_kept_at_their_distance():
    flat = np.full((1, 20, 20), 0.25, np.float32)
    found = heatmaps.peaks(flat, WHOLE, 8)
    assert [(peak.x, peak.y) for peak in found] == [(x + 0.5, y + 0.5) for y in (0, 8, 16) for x in (0, 8, 16)]


def test_there_are_never_more_than_a_readers_patience():
    noise = np.random.RandomState(0).rand(2, 20, 20).astype(np.float32)
    found = heatmaps.peaks(noise, WHOLE, 1)
    assert [sum(peak.label == label for peak in found) for label in (1, 2)] == [heatmaps.MAX_CANDIDATES] * 2
    for label in (1, 2):
        mine = [peak.score for peak in found if peak.label == label]
        assert mine == sorted(noise[label - 1].reshape(-1).tolist(), reverse=True)[: len(mine)]


def test_what_lies_beside_the_image_is_no_candidate():
    place = Place(40, 20, 0, 5, 20, 10)  # twice as large before, in the middle of the frame
    found = heatmaps.peaks(heat(r4c2=0.9, r4c6=0.5, r10c15=0.9), place, 3)
    assert found[0] == Peak(1, 0.5, 6.5, 4.5)
    assert place.back(6.5, 4.5) == (3, 9)
    assert all(5 <= peak.x <= 15 for peak in found)
