"""A field of a header as a value to divide by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from fedmed.cases import headers

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path


def test_values_by_keyword(tmp_path: Path) -> None:
    one = films.dataset()
    one.Manufacturer, one.KVP, one.ImageType, one.StationName = " Acme ", "70", ["ORIGINAL", "PRIMARY"], ""
    films.save(tmp_path / "a.dcm", one)

    def value(keyword: str) -> object:
        headers.check_keyword(keyword)
        return headers.value(films.case("a.dcm"), tmp_path, keyword)

    assert (value("Manufacturer"), value("KVP"), value("Rows")) == ("Acme", 70, films.ROWS)
    assert value("ImageType") == "ORIGINAL\\PRIMARY"
    assert (value("StationName"), value("BodyPartExamined")) == (None, None)
    assert value("TransferSyntaxUID") == "1.2.840.10008.1.2.1", "also of the meta group"


def test_the_first_file_of_the_first_channel(tmp_path: Path) -> None:
    names = phantoms.save(tmp_path, phantoms.slices())
    case = replace(films.case("b.dcm"), image={"T1": tuple(names), "T2": ("absent.dcm",)})
    assert headers.value(case, tmp_path, "InstanceNumber") == 10


def test_other_files_say_nothing_and_damage_has_a_code(tmp_path: Path) -> None:
    Image.fromarray(films.film().astype("uint8")).save(tmp_path / "a.png")
    assert headers.value(films.case("a.png"), tmp_path, "Manufacturer") is None
    (tmp_path / "b.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0ZZ\xff\xff")
    found, code = phantoms.attempt(lambda: headers.value(films.case("b.dcm"), tmp_path, "Manufacturer"))
    assert (found, code) in ((None, ""), (None, "FM-DAT-33"))
    with phantoms.refuses("FM-DAT-16"):
        headers.value(films.case("absent.dcm"), tmp_path, "Manufacturer")


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("manufacturer", "did you mean Manufacturer?"),
        ("Nansen", "no keyword of DICOM"),
        ("PixelData", "bulk data"),
        ("VOILUTSequence", "a sequence"),
        ("LUTData", "bulk data"),
    ],
)
def test_what_is_no_field_with_a_value(keyword: str, words: str) -> None:
    with phantoms.refuses("FM-USE-01", words):
        headers.check_keyword(keyword)
