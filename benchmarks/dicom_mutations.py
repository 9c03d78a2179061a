"""Damaged DICOM files through fedmed's reader: each ends in pixels or in one coded line, in bounded time and memory.

    python benchmarks/dicom_mutations.py                       # 20,000 mutations, an hour on two cores
    python benchmarks/dicom_mutations.py --count 300 --work /tmp/m --results /tmp/m

Mutation N is file and damage drawn from seed N, so that `--seed N` repeats it alone. Each is read as a hospital's
case, from the folder to the image, then as a radiograph, frame by frame, and as a mask, whatever it is. It runs in
workers with bounded address space; one that dies, or says nothing for a minute, is a failure of its seed. More than
5 s of processor time, more than 1 GiB of memory beyond that of a worker at rest, and every exception without a code
are failures too. Resumable: what was read stands in --work.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dicom_corpus
import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement

from fedmed.cases import canvas, codecs, dicomseg, pixels, radiograph, rtstruct
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT, SECONDS, SILENCE = 20_000, 5, 60
ADDRESS_SPACE, MEMORY = 6 << 30, 1 << 30
CHUNK = 100
READ = "equal or other pixels"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--work", type=Path, default=dicom_corpus.TOP / "work" / "dicom_mutations")
    parser.add_argument("--results", type=Path, default=dicom_corpus.RESULTS)
    parser.add_argument("--seed", type=int, help="repeat one mutation, here, and show what it ends in")
    parser.add_argument("--worker", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return 0
    if options.seed is not None:
        print(json.dumps(one(options.seed, paths()), indent=1))
        return 0
    options.work.mkdir(parents=True, exist_ok=True)
    rows = run(options.count, options.work)
    return write(rows, options.results)


def paths() -> list[Path]:
    return [dicom_corpus.CORPUS / row["path"] for row in dicom_corpus.index()]


# --- workers ----------------------------------------------------------------------------------------------------------


def run(count: int, work: Path) -> list[dict[str, Any]]:
    """Every mutation that is not done yet, in as many workers as there are cores."""
    done = work / "done.jsonl"
    known = {}
    if done.exists():
        known = {row["seed"]: row for row in map(json.loads, done.read_text().splitlines())}
    todo = [seed for seed in range(count) if seed not in known]
    ranges = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
    started = time.monotonic()
    with done.open("a") as log, ThreadPoolExecutor(os.cpu_count()) as pool:
        finished = 0
        for rows in pool.map(chunk, ranges):
            known |= {row["seed"]: row for row in rows}
            log.writelines(json.dumps(row) + "\n" for row in rows)
            log.flush()
            finished += len(rows)
            left = (time.monotonic() - started) / finished * (len(todo) - finished) / 60
            print(
                f"{len(known)} of {count}, about {left:.0f} min left, {len(failures(known.values()))} failures",
                flush=True,
            )
    return [known[seed] for seed in range(count)]


def chunk(seeds: list[int]) -> list[dict[str, Any]]:
    """Some mutations in one worker, and in a new one behind each that ends it."""
    rows: list[dict[str, Any]] = []
    while len(rows) < len(seeds):
        command = [sys.executable, __file__, "--worker", *map(str, seeds[len(rows) :])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            rows += listen(process)
        if len(rows) < len(seeds):
            rows.append({"seed": seeds[len(rows)], "died": process.returncode, "cpu": 0.0, "memory": 0})
    return rows


def listen(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """The worker's lines, until it ends or has said nothing for a minute."""
    while True:
        timer = threading.Timer(SILENCE, process.kill)
        timer.start()
        line = process.stdout.readline() if process.stdout else ""
        timer.cancel()
        if not line.endswith("\n"):
            return
        yield json.loads(line)


def worker(seeds: list[int]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    codecs.SECONDS = SECONDS
    files = paths()
    for seed in seeds:
        print(json.dumps(one(seed, files)), flush=True)


# --- one mutation -----------------------------------------------------------------------------------------------------


class TooSlow(BaseException):
    """No Exception: the reader answers every one of those with a code."""


def one(seed: int, files: list[Path]) -> dict[str, Any]:
    """What became of a mutation: how each way of reading it ended, processor seconds, and memory it took at most."""
    drawn = random.Random(seed)
    source = drawn.choice(files)
    kind, damaged = mutated(source, drawn)
    row: dict[str, Any] = {"seed": seed, "file": str(source.relative_to(dicom_corpus.CORPUS)), "kind": kind}
    before, started = peak(), time.process_time()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "one" / source.name
        path.parent.mkdir()
        path.write_bytes(damaged)
        for number, neighbour in enumerate(neighbours(source), start=1):
            (path.parent / f"{number}.dcm").write_bytes(neighbour)
        signal.signal(signal.SIGPROF, too_slow)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            row |= ways(path, source)
        except TooSlow:
            row["slow"] = True
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    row["cpu"], row["memory"] = round(time.process_time() - started, 2), max(0, peak() - before)
    return row


def too_slow(*_: object) -> None:
    raise TooSlow


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def ways(path: Path, source: Path) -> dict[str, Any]:
    """As a case, as a radiograph, frame by frame, and as a mask."""
    modality = MODALITY[str(source.relative_to(dicom_corpus.CORPUS))]
    found: dict[str, Any] = {"case": ending(lambda: case(path, modality))}
    found["film"] = ending(lambda: radiograph.read(path.parent, path.name, "file"))
    found["pixels"] = ending(lambda: [values.sum() for values in pixels.read(path, "file")[1]])
    found["mask"] = ending(lambda: mask(path))
    return found


def mask(path: Path) -> None:
    grid, rule = canvas.Grid((64, 64, 64), np.diag([10.0, 10.0, 10.0, 1.0]), None), dicom_corpus.segmentation("MR").data
    reader = rtstruct if rtstruct.is_structure_set(path.parent, path.name, "file") else dicomseg
    reader.read(path.parent, path.name, grid, rule, {}, "file")


@functools.cache
def neighbours(source: Path) -> tuple[bytes, ...]:
    """Two sound copies of a slice, 5 mm above and below it; none where it does not say where it lies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = []
        for step in (-5, 5):
            try:
                one = pydicom.dcmread(source)
                normal = np.cross(one.ImageOrientationPatient[:3], one.ImageOrientationPatient[3:])
                one.ImagePositionPatient = [float(v) for v in np.add(one.ImagePositionPatient, step * normal)]
                stream = io.BytesIO()
                one.save_as(stream)
                found.append(stream.getvalue())
            except Exception:  # noqa: BLE001 - a file of another kind, or one that is damaged already
                return ()
        return tuple(found)


def case(path: Path, modality: str) -> None:
    code, message = dicom_corpus.of_folder(path.parents[1], modality)
    if code == dicom_corpus.CRASHED:
        raise RuntimeError(message)
    if code != "ok":
        raise FedmedError(code, message)


def ending(read: Any) -> str:
    """READ, a code, or what was raised without one; `(memory)` where a code stands for memory that was not given."""
    try:
        read()
    except FedmedError as error:
        return f"{error.code} (memory)" if isinstance(error.__cause__, MemoryError) else error.code
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"{dicom_corpus.CRASHED} {error!r}"[:300]
    return READ


# --- damage -----------------------------------------------------------------------------------------------------------


def mutated(path: Path, drawn: random.Random) -> tuple[str, bytes]:
    """The name of the damage and the damaged bytes; a file that has no such tag gets flipped bytes instead."""
    data = bytearray(path.read_bytes())
    kind = drawn.choice(list(KINDS))
    spans = (
        elements(path, len(data)) if kind in ("tag deleted", "tags swapped", "length changed", "value changed") else []
    )
    if kind.startswith(("tag", "length", "value")) and len(spans) < 2:
        kind = "bytes flipped"
    return kind, bytes(KINDS[kind](data, spans, drawn))


def elements(path: Path, size: int) -> list[tuple[int, int, int]]:
    """(start, value, end) of the top-level elements of a file that have a length."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read = pydicom.dcmread(path, force=True)
        except Exception:  # noqa: BLE001 - some files of the corpus are damaged already
            return []
    spans = []
    for tag in (*read.file_meta.keys(), *read.keys()):
        raw = (read.file_meta if tag.group == 2 else read).get_item(tag)
        if not isinstance(raw, RawDataElement) or not raw.value_tell:
            continue
        header = 8 if raw.is_implicit_VR or raw.VR not in LONG else 12
        start, end = raw.value_tell - header, raw.value_tell + raw.length
        if raw.length < 0xFFFFFFFF and start >= 0 and end <= size:
            spans.append((start, raw.value_tell, end))
    return spans


LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")


def truncated(data: bytearray, _: Any, drawn: random.Random) -> bytearray:
    return data[: drawn.randrange(len(data))] if data else data


def bytes_flipped(data: bytearray, _: Any, drawn: random.Random) -> bytearray:
    for _each in range(drawn.choice((1, 2, 8, 64))):
        if data:
            data[drawn.randrange(len(data))] = drawn.randrange(256)
    return data


def header_flipped(data: bytearray, _: Any, drawn: random.Random) -> bytearray:
    """In the first two thousand bytes, where most tags are."""
    for _each in range(drawn.choice((1, 2, 8))):
        if data:
            data[drawn.randrange(min(len(data), 2000))] = drawn.choice((0, 1, 127, 128, 255, drawn.randrange(256)))
    return data


def pixels_flipped(data: bytearray, _: Any, drawn: random.Random) -> bytearray:
    """At the beginning of the pixels, where a codestream says how large it is."""
    start = max(data.rfind(b"\xe0\x7f\x10\x00"), 0)
    for _each in range(drawn.choice((1, 2, 8))):
        if data:
            data[min(len(data) - 1, start + drawn.randrange(200))] = drawn.randrange(256)
    return data


def tag_deleted(data: bytearray, spans: list[tuple[int, int, int]], drawn: random.Random) -> bytearray:
    for start, _value, end in sorted(drawn.sample(spans, min(len(spans), drawn.choice((1, 1, 3)))), reverse=True):
        del data[start:end]
    return data


def tags_swapped(data: bytearray, spans: list[tuple[int, int, int]], drawn: random.Random) -> bytearray:
    (a, _, b), (c, _, d) = sorted(drawn.sample(spans, 2))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def length_changed(data: bytearray, spans: list[tuple[int, int, int]], drawn: random.Random) -> bytearray:
    _start, value, _end = drawn.choice(spans)
    data[value - 2 : value] = drawn.choice((b"\0\0", b"\1\0", b"\xff\xff", b"\xfe\xff", drawn.randbytes(2)))
    return data


def value_changed(data: bytearray, spans: list[tuple[int, int, int]], drawn: random.Random) -> bytearray:
    """One tag keeps its length and says something else: the largest number, none, a text."""
    _start, value, end = drawn.choice([span for span in spans if span[2] - span[1] <= 64] or spans)
    fill = drawn.choice((b"\xff", b"\0", b"9", b"\\", b"-", b" ", drawn.randbytes(1)))
    data[value:end] = fill * (end - value)
    return data


def repeated(data: bytearray, _: Any, drawn: random.Random) -> bytearray:
    start = drawn.randrange(len(data) + 1)
    piece = data[start : start + drawn.choice((2, 64, 4096))]
    return data[:start] + piece * drawn.choice((1, 3)) + data[start:]


def zeroed(data: bytearray, _: Any, drawn: random.Random) -> bytearray:
    """As a bad sector of a disk."""
    start = drawn.randrange(len(data) + 1)
    length = min(drawn.choice((16, 512, 4096)), len(data) - start)
    data[start : start + length] = bytes(length)
    return data


KINDS = {
    "truncated": truncated,
    "bytes flipped": bytes_flipped,
    "header flipped": header_flipped,
    "pixels flipped": pixels_flipped,
    "tag deleted": tag_deleted,
    "tags swapped": tags_swapped,
    "length changed": length_changed,
    "value changed": value_changed,
    "repeated": repeated,
    "zeroed": zeroed,
}


# --- results ----------------------------------------------------------------------------------------------------------


def failures(rows: Any) -> list[dict[str, Any]]:
    return [row for row in rows if is_failure(row)]


def is_failure(row: dict[str, Any]) -> bool:
    ends = [row.get(way, "") for way in WAYS]
    crashed = any(dicom_corpus.CRASHED in end or "(memory)" in end for end in ends)
    return crashed or "died" in row or "slow" in row or row["memory"] > MEMORY


WAYS = {"case": "as a case", "film": "as a radiograph", "pixels": "frame by frame", "mask": "as a mask"}


def write(rows: list[dict[str, Any]], results: Path) -> int:
    bad = failures(rows)
    counts = {way: Counter(row.get(way, "lost") for row in rows) for way in WAYS}
    found = {
        "mutations": len(rows),
        "seeds": [0, len(rows) - 1],
        "kinds": dict(sorted(Counter(row.get("kind", "lost") for row in rows).items())),
        "reads": dict(sorted(counts["pixels"].items())),
        "ways": {way: dict(sorted(each.items())) for way, each in counts.items()},
        "slowest_cpu_s": max(row["cpu"] for row in rows),
        "largest_memory_mib": max(row["memory"] for row in rows) >> 20,
        "failures": bad,
    }
    results.mkdir(parents=True, exist_ok=True)
    results.joinpath("dicom_mutations.json").write_text(json.dumps(found, indent=1) + "\n")
    results.joinpath("dicom_mutations.md").write_text(table(found, counts))
    print(f"{len(rows)} mutations, seeds 0 to {len(rows) - 1}: {len(bad)} failures")
    for row in bad[:20]:
        print(json.dumps(row))
    return 1 if bad else 0


def table(found: dict[str, Any], counts: dict[str, Counter[str]]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in found["kinds"].items())
    worst = f"{found['slowest_cpu_s']:.1f} s of processor time and {found['largest_memory_mib']} MiB more memory"
    lines = [
        "# Damaged DICOM files through fedmed's reader",
        "",
        f"{found['mutations']} mutations of pydicom's test files (seeds 0 to {found['seeds'][1]}): {kinds}.",
        "Each is read as a case (a slice between two sound ones where it says its place), as a radiograph, frame by",
        "frame, and as a mask. Made by `python benchmarks/dicom_mutations.py`.",
        "",
        f"Failures (no code, over {SECONDS} s, over {MEMORY >> 30} GiB, a dead worker): **{len(found['failures'])}**.",
        f"The worst file took {worst}.",
        "",
        "| ends in | " + " | ".join(WAYS.values()) + " |",
        "|---|" + "---:|" * len(WAYS),
    ]
    ends = sorted({end for each in counts.values() for end in each}, key=lambda end: (end != READ, end))
    lines += [f"| {end} | " + " | ".join(str(counts[way][end] or "") for way in WAYS) + " |" for end in ends]
    return "\n".join(lines) + "\n"


MODALITY = {row["path"]: row["Modality"] for row in dicom_corpus.index()} if dicom_corpus.CORPUS.is_dir() else {}

if __name__ == "__main__":
    sys.exit(main())
