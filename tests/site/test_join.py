"""What `init site` finds in a data folder before any recipe is known."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from fedmed import settings
from fedmed.cases import shipped
from fedmed.cli import setup
from fedmed.site import join
from tests import boxed, radiographs, small
from tests.coded import code_of

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


def test_a_shipped_layout_is_written_into_fedmed_yaml(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("imaging", "segmentation"):
        (data / "case_00000").mkdir(parents=True, exist_ok=True)
        (data / "case_00000" / f"{name}.nii.gz").touch()
    joined = join.init(tmp_path / "aa", "aa", data, small.now(), shipped_layout="kits")
    assert joined.layout == shipped.load("kits").layout
    written = settings.load_workspace(tmp_path / "aa").data
    assert written is not None
    assert written.layout == joined.layout

    def init(name: str, **options: Any) -> str:
        return code_of(lambda: join.init(tmp_path / "bb", "bb", data, small.now(), shipped_layout=name, **options))

    assert init("brats") == "FM-DAT-05", "nothing there is named so"
    assert init("kit") == "FM-USE-01"
    assert init("kits", channels=("CT",)) == "FM-USE-01"
    assert not (tmp_path / "bb").exists()


def test_a_hospital_writes_a_layout_of_its_own(tmp_path: Path) -> None:
    for name in ("scan", "tumour"):
        (tmp_path / "data/p1/mr").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"data/p1/mr/{name}.nii.gz").touch()
    own = tmp_path / "own.yaml"

    def init(text: str) -> str:
        own.write_text(text)
        name = str(own)
        return code_of(lambda: join.init(tmp_path / "aa", "aa", tmp_path / "data", small.now(), shipped_layout=name))

    assert init("layout: {image: {MR: 'scan.nii.gz'}}\n") == "FM-SET-03", "no {case}"
    assert init("layouts: {}\n") == "FM-SET-02"
    assert init("layout: {image: {MR: '{case}.nii.gz'}, label: 'x/{case}.nii.gz'}\n") == "FM-DAT-05"
    assert not (tmp_path / "aa").exists()
    own.write_text("layout: {image: {MR: '{case}/mr/scan.nii.gz'}, label: '{case}/mr/tumour.nii.gz'}\n")
    joined = join.init(tmp_path / "aa", "aa", tmp_path / "data", small.now(), shipped_layout=str(own))
    assert joined.layout.image == {"MR": "{case}/mr/scan.nii.gz"}
    own.unlink()
    assert code_of(lambda: shipped.load(str(own))) == "FM-USE-01"


def test_a_table_with_named_columns_survives_fedmed_yaml(tmp_path: Path) -> None:
    data = tmp_path / "data"
    radiographs.write(data / "images/Fractured/IMG1.jpg", radiographs.np.zeros((16, 16)))
    joined = join.init(tmp_path / "aa", "aa", data, small.now(), shipped_layout="fracatlas")
    written = settings.load_workspace(tmp_path / "aa").data
    assert written is not None
    assert written.layout == joined.layout
    assert written.layout.tables == {"dataset.csv"}


def test_the_help_names_every_shipped_layout() -> None:
    shown = " ".join(inspect.getsource(setup.init_site).split())
    assert all(name in shown for name in shipped.names())
