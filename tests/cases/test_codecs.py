"""The process that decodes compressed pixels: what kills it is a code, and the next frame is decoded again."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.pixels import pixel_array
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from fedmed.cases import codecs, pixels

from . import films, phantoms

LEVELS = np.kron(films.film(), np.ones((2, 2), int))


def compressed(codec: str = JPEGLSLossless) -> Any:
    one = films.dataset(LEVELS)
    one.compress(codec)
    return one


def stored(root: Path, one: Any) -> np.ndarray:
    return next(pixels.read(films.save(root / "a.dcm", one), "case-1")[1])


@pytest.mark.parametrize(("codec", "at", "value"), [(JPEGLSLossless, 26, 101), (JPEG2000Lossless, 62, 100)])
def test_what_kills_the_decoder_does_not_kill_us(tmp_path: Path, codec: str, at: int, value: int) -> None:
    """GDCM 3.2 calls abort() on these two; a version that does not may find them damaged."""
    one = compressed(codec)
    damaged = bytearray(one.PixelData)
    damaged[at] = value
    whole, one.PixelData = one.PixelData, bytes(damaged)
    assert phantoms.attempt(lambda: stored(tmp_path, one))[1] in {"FM-DAT-66", "FM-DAT-33"}
    one.PixelData = whole
    np.testing.assert_array_equal(stored(tmp_path, one), LEVELS)


def test_one_process_serves_many_frames_and_is_replaced_when_it_is_gone(tmp_path: Path) -> None:
    stored(tmp_path, compressed())
    first = codecs._running[os.getpid()]
    stored(tmp_path, compressed())
    assert codecs._running[os.getpid()] is first
    first.kill()
    first.wait()
    np.testing.assert_array_equal(stored(tmp_path, compressed()), LEVELS)
    assert codecs._running[os.getpid()] is not first


def test_a_frame_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(tmp_path, compressed())
    monkeypatch.setattr(codecs, "SECONDS", 0.05)
    monkeypatch.setattr(codecs, "_send", lambda *_: None)  # the process waits for a request, and we for its answer
    with phantoms.refuses("FM-DAT-66", "over 0.05 s"):
        stored(tmp_path, compressed())


@pytest.mark.parametrize(
    "answer",
    [{"kind": "u2"}, {"kind": "f8"}, {"kind": "O"}, {}, {"error": "no"}],
    ids=["too few", "no integers", "objects", "nothing", "said"],
)
def test_an_answer_that_is_not_the_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: dict[str, str]
) -> None:
    stored(tmp_path, compressed())
    monkeypatch.setattr(codecs, "_send", lambda *_: None)  # so that no real answer waits in the pipe
    monkeypatch.setattr(codecs, "_receive", lambda *_: (answer, b"\0\0"))
    with phantoms.refuses("FM-DAT-33"):
        stored(tmp_path, compressed())


@pytest.mark.parametrize(
    "answer",
    [
        *(struct.pack("<II", 2, 1 << 31) + b"{}", struct.pack("<II", 1 << 31, 0)),
        *(struct.pack("<II", len(header), 0) + header for header in (b"{]!", b"[1]", b"5", b"[" * 60_000)),
    ],
    ids=["more than the frame", "a long header", "no JSON", "a list", "a number", "a deep list"],
)
def test_what_is_no_answer_is_not_waited_for(answer: bytes) -> None:
    with pytest.raises(EOFError):
        codecs._receive(io.BytesIO(answer), 1 << 20)


def test_a_process_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codecs._stop()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    with phantoms.refuses("FM-DAT-64"):
        stored(tmp_path, compressed())
    (tmp_path / "absent").write_text("#!/bin/sh\nexit 1\n")  # an installation that is broken
    (tmp_path / "absent").chmod(0o700)
    with phantoms.refuses("FM-DAT-64"):
        stored(tmp_path, compressed())
    np.testing.assert_array_equal(stored(tmp_path, compressed(RLELossless)), LEVELS)


def test_a_file_in_the_working_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codecs._stop()
    (tmp_path / "json.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(stored(tmp_path, compressed()), LEVELS)
    codecs._stop()


def test_it_ends_with_its_owner() -> None:
    program = "from fedmed.cases import codecs; print(codecs._started().pid)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_its_memory_is_bounded(tmp_path: Path) -> None:
    stored(tmp_path, compressed())
    limits = Path(f"/proc/{codecs._running[os.getpid()].pid}/limits").read_text()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max address space"))
    assert line.split()[3] == str(codecs.MEMORY)


def test_colour_and_several_frames(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    one = films.dataset()
    frames = random.integers(0, 255, (3, 48, 40, 3), dtype=np.uint8)
    one.Rows, one.Columns = 48, 40
    one.NumberOfFrames, one.SamplesPerPixel, one.PhotometricInterpretation = 3, 3, "RGB"
    one.PlanarConfiguration, one.BitsAllocated, one.BitsStored, one.HighBit = 0, 8, 8, 7
    one.PixelData = frames.tobytes()
    one.compress(JPEG2000Lossless)
    path = films.save(tmp_path / "a.dcm", one)
    found = list(pixels.frames(pixels.dataset(path, "case-1"), [0, 2], path, "case-1"))
    np.testing.assert_array_equal(found, frames[[0, 2]])
    np.testing.assert_array_equal(pixel_array(path, raw=True), frames)
    with phantoms.refuses("FM-DAT-33"):
        list(pixels.frames(pixels.dataset(path, "case-1"), [1, 3], path, "case-1"))
