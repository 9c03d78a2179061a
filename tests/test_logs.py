"""A log that cannot be written costs the log, never the command, and prints nothing."""

from __future__ import annotations

import logging
import shutil
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
    handler = logs.shareable.handlers[0]
    assert isinstance(handler, logging.FileHandler)
    handler.setStream(Path("/dev/full").open("w", encoding="utf-8"))  # noqa: SIM115 - the handler closes it
    logs.shareable.info("unheard")
    assert capfd.readouterr() == ("", "")
    logs.open_logs(tmp_path)
