"""What `init site` finds in a data folder before any recipe is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedmed.site import join
from tests import boxed, radiographs, small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("hospital", "channels", "expected"),
    [
        (small.write_hospital, (), "MR"),
        (small.write_hospital, ("T1",), "T1"),
        (radiographs.write_hospital, (), "XR"),
        (radiographs.write_hospital, ("MR",), "MR"),
        (boxed.write_hospital, (), "XR"),
    ],
)
def test_the_channel_is_guessed_only_where_nobody_names_it(
    tmp_path: Path, hospital: Callable[[Path], Path], channels: tuple[str, ...], expected: str
) -> None:
    joined = join.init(tmp_path / "aa", "aa", hospital(tmp_path / "data"), small.now(), channels=channels)
    assert list(joined.layout.image) == [expected]
    assert (joined.layout.labels is None) == (hospital is not radiographs.write_hospital)
    assert (joined.layout.boxes is None) == (hospital is not boxed.write_hospital)
