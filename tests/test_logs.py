"""A log that cannot be written costs the log, never the command, and prints nothing."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedmed import logs


def test_two_logs_two_texts(tmp_path: Path) -> None:
    logs.open_logs(tmp_path)
    logs.shareable.info("%s", "FM-DAT-36 excluded")
    logs.local.info("%s", "/home/somebody/image.nii")
    assert "FM-DAT-36" in (tmp_path / "shareable.log").read_text()
    assert "somebody" not in (tmp_path / "shareable.log").read_text()
    assert "somebody" in (tmp_path / "local.log").read_text()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_no_folder_no_log_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.open_logs(tmp_path / "nowhere")
    logs.shareable.info("unheard")
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_goes_away_takes_only_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    logs.open_logs(folder)
    shutil.rmtree(folder)
    logs.shareable.info("unheard")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_is_full_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.open_logs(tmp_path)
    handler = next(each for each in logs.shareable.handlers if isinstance(each, logging.FileHandler))
    handler.setStream(Path("/dev/full").open("w", encoding="utf-8"))  # noqa: SIM115 - the handler closes it
    logs.shareable.info("unheard")
    assert capfd.readouterr() == ("", "")
    logs.open_logs(tmp_path)


TALK = """
import logging, sys, warnings
from pathlib import Path
from fedmed import logs
logs.silence()
if len(sys.argv) > 1:
    logs.open_logs(Path(sys.argv[1]))
import nibabel, pydicom
from fedmed.cases import nifti
warnings.warn("value Nansen^F of a tag")
logging.getLogger("pydicom").warning("value Nansen^F of a tag")
logging.getLogger("nibabel.global").warning("value Nansen^F of a header")
"""


@pytest.mark.parametrize("has_workspace", [False, True])
def test_what_libraries_say_of_a_patient_stays_off_the_screen(tmp_path: Path, has_workspace: bool) -> None:
    words = [sys.executable, "-c", TALK, *([str(tmp_path)] if has_workspace else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    if has_workspace:
        assert (tmp_path / "local.log").read_text().count("Nansen") == 3
        assert (tmp_path / "shareable.log").read_text() == ""
