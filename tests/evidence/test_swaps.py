"""No file that is made of parts of two good ones is accepted."""

from __future__ import annotations

from tests.vectors.samples import KINDS

from . import swaps


def test_every_kind_has_good_files_of_all_origins() -> None:
    assert {origin.name for origin in swaps.origins()} == set(swaps.good_files())
    assert len(swaps.origins()) >= 40
    assert {name.split()[0] for name in swaps.good_files()} == set(KINDS)


def test_a_file_is_bad_in_the_other_federation() -> None:
    """So that a swap between federations is one."""
    for origin in swaps.origins():
        data = swaps.good_files()[origin.name]
        other = swaps.federations()[1 - origin.federation]
        assert swaps.is_accepted(data, other) == (origin.kind == "join"), origin.name


def test_parts_of_every_file_in_two_others() -> None:
    tried, accepted = swaps.tried_and_accepted(["update st-olav r0 f0", "approval riks r0 f1"])
    assert accepted == []
    assert set(tried) == set(swaps.mixed(*[swaps.good_files()["update st-olav r0 f0"]] * 2))
    assert sum(tried.values()) >= 350
