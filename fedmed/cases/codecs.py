"""Decodes compressed frames in a process of its own, because a damaged codestream can kill the one that decodes it.

GDCM aborts or crashes on some damaged JPEG files (FM-DAT-66 in benchmarks/results/dicom_mutations.md), and a codestream
may claim any size. The process gets one frame at a time with what the header says of it, in bounded memory
and time; it answers with bare pixels, whose type and number are checked here. It ends with its owner. No other decoder
of compressed pixels is called in fedmed, but that of RLE, which is plain Python.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import struct
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import UID

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

SECONDS = 60  # for one frame; the largest radiographs take a few
MEMORY = 2 << 30  # of address space: eight times what the largest frame that is asked for needs
PASSED_ON = (
    "rows", "columns", "samples_per_pixel", "photometric_interpretation", "bits_allocated", "bits_stored",
    "pixel_representation", "planar_configuration", "pixel_keyword",
)  # fmt: skip
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))).rstrip(
        os.pathsep
    ),
    "OPENBLAS_NUM_THREADS": "1",  # each thread takes address space, and there is nothing to multiply
}
MAX_HEADER = 1 << 16
WIDEST = 8  # bytes a value
KINDS = ("u1", "i1", "u2", "i2", "u4", "i4")


def decoded(data: Any, indices: Sequence[int], where: str) -> Iterator[NDArray[Any]]:
    """The stored values of some frames, rising from 0, of a data set with compressed pixels.

    Raises ValueError (damaged), and FedmedError FM-DAT-64 (no process can be started) or -66 (a frame killed it).
    """
    options = as_pixel_options(data)
    header = {name: options[name] for name in PASSED_ON if name in options}
    header["transfer_syntax"] = str(data.file_meta.TransferSyntaxUID)
    wanted = set(indices)
    found = generate_frames(
        data.PixelData,
        number_of_frames=options.get("number_of_frames", 1),
        extended_offsets=options.get("extended_offsets"),
    )
    for index, frame in enumerate(found):
        if index in wanted:
            yield _ask(header, frame, where)


def _ask(header: Mapping[str, Any], frame: bytes, where: str) -> NDArray[Any]:
    """One frame through the process; one that was killed by it is started anew for the next frame."""
    shape = (header["rows"], header["columns"], *([header["samples_per_pixel"]] * (header["samples_per_pixel"] > 1)))
    with _lock:
        process = _started()
        try:
            with _in_time(process):
                _send(process.stdin, header, frame)
                answer, values = _receive(process.stdout, WIDEST * math.prod(shape))
        except (OSError, EOFError) as error:
            process.kill()
            process.wait()
            message = f"{where}: the decoder did not survive a frame of {len(frame)} bytes, or took over {SECONDS} s"
            raise FedmedError("FM-DAT-66", message) from error
    if "error" in answer:
        raise ValueError(answer["error"])
    if answer.get("kind") not in KINDS:
        raise ValueError("the decoder gave pixels of another kind")
    return np.frombuffer(values, np.dtype(answer["kind"])).reshape(shape)


def _started() -> subprocess.Popen[bytes]:
    """This process's own decoder: a fork of it must not speak through the pipes of its parent."""
    process = _running.get(os.getpid())
    if process is not None and process.poll() is None:
        return process
    _running.clear()
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],  # -P: the folder where a person works is no place to import from
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=1 << 20,  # a frame in one piece, where the system allows it
            env={**os.environ, **ENVIRONMENT},
        )
        with _in_time(process):  # it says that it is there, or a broken installation would look like damaged files
            _receive(process.stdout, 0)
    except (OSError, EOFError) as error:
        message = "the process that decodes compressed pixels cannot be started"
        raise FedmedError("FM-DAT-64", message, local=str(error)) from error
    _running[os.getpid()] = process
    return process


@contextmanager
def _in_time(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A process that takes longer is killed, which ends its pipes."""
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


_running: dict[int, subprocess.Popen[bytes]] = {}
_lock = threading.Lock()


@atexit.register
def _stop() -> None:
    process = _running.pop(os.getpid(), None)
    if process is not None:
        process.kill()
        process.communicate()


def _send(stream: IO[bytes] | None, header: Mapping[str, Any], payload: bytes) -> None:
    if stream is None:
        raise EOFError
    text = json.dumps(header).encode()
    stream.write(struct.pack("<II", len(text), len(payload)) + text)
    stream.write(payload)
    stream.flush()


def _receive(stream: IO[bytes] | None, most: int) -> tuple[dict[str, Any], bytes]:
    """A header, and a payload of at most so many bytes. Raises EOFError, also for what nobody would send."""
    if stream is None:
        raise EOFError
    text, payload = struct.unpack("<II", _exactly(stream, 8))
    if text > MAX_HEADER or payload > most:
        raise EOFError
    try:
        header = json.loads(_exactly(stream, text))
    except (ValueError, RecursionError) as error:
        raise EOFError from error
    if not isinstance(header, dict):
        raise EOFError
    return header, _exactly(stream, payload)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    found = stream.read(count)
    if len(found) < count:
        raise EOFError
    return found


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """The other side: decode what comes until the pipe closes."""
    while True:
        try:
            header, frame = _receive(requests, MEMORY)
        except EOFError:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                decoder = get_decoder(UID(header.pop("transfer_syntax")))
                values, _ = decoder.as_array(
                    encapsulate([frame]), raw=True, index=0, number_of_frames=1, pixel_vr="OB", **header
                )
            _send(answers, {"kind": values.dtype.str[1:]}, np.ascontiguousarray(values).tobytes())
        except Exception as error:  # noqa: BLE001 - decoders answer damage with exceptions of every kind
            _send(answers, {"error": str(error)[:1000]}, b"")


def _main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a decoder prints is no answer
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - Windows has none

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _send(answers, {"ready": True}, b"")
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
