"""Cases behind the fixed chain, kept in the workspace's `cache/`: a later epoch, round or command reads no image again.

An entry answers for all that it was made from: the content of the case's files, the recipe's data rules, the label
map, the code that made it and the libraries under it. One that is damaged, or of anything else, is made again; what
the disk refuses costs time and never a round. Entries are mapped, not read: a patch costs the pages that it lies in,
and all loader processes share them. They are patient data, in files that only their owner may read.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from fedmed import files, logs
from fedmed import preprocessing as preprocessings
from fedmed.errors import FedmedError
from fedmed.training import checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Recipe

Kind = Literal["boxed", "patches", "pictures", "rows", "scored"]
Tensors = dict[str, torch.Tensor]

FORMAT = 1
RESERVE = 2 << 30  # bytes that stay free on the disk: checkpoints and updates need them more
ROOMS = (".", "cases", "training")  # whose code makes an entry what it is
PACKAGES = (
    "numpy", "torch", "monai", "pydicom", "nibabel", "pillow", "python-gdcm", "pyjpegls", "pylibjpeg",
    "pylibjpeg-openjpeg", "pylibjpeg-libjpeg", "pylibjpeg-rle",
)  # fmt: skip
CHOOSING = {"split", "max_excluded"}  # data rules that say which cases are used, and change none


@dataclass(frozen=True)
class Kept:
    """A prepared case. Mapped tensors lie in a file, and are in memory only where and as long as they are used."""

    tensors: Tensors
    is_mapped: bool = False

    @property
    def num_bytes(self) -> int:
        """What it takes of this process's own memory."""
        return 0 if self.is_mapped else sum(tensor.nbytes for tensor in self.tensors.values())


@dataclass(frozen=True)
class Cache:
    """At most `max_bytes` of entries in `folder`.

    The least recently used go first, but none that was used since `since` (nanoseconds): where the cases of one round
    do not all fit, some stay, instead of each driving out the next one that is needed.
    """

    folder: Path
    max_bytes: int
    since: int = field(default_factory=time.time_ns)
    told: set[str] = field(default_factory=set)

    def through(self, key: str, make: Callable[[], Tensors]) -> Kept:
        """The entry `key`, made and kept first where it is not there. Raises what `make` raises and nothing else."""
        found = self._get(key)
        if found is None:
            made = make()
            found = self._get(key) if self._put(key, made) else None
            if found is None:
                return Kept(made)
        return Kept(found, is_mapped=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _get(self, key: str) -> Tensors | None:
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as entry:
                tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 - no mapping
                said = entry.metadata() or {}
            if said.get("sha256") == _checksum(key, tensors):
                with suppress(OSError):  # a folder that may only be read: nothing is deleted from it either
                    os.utime(path, ns=(time.time_ns(),) * 2)
                return tensors
        except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, MemoryError) as error:
            logs.local.info("cache: %s", error)
        logs.shareable.info("FM-CAC-01 a cached case is damaged: it is prepared again")
        return None

    def _put(self, key: str, tensors: Tensors) -> bool:
        """Whether the entry is there now. Several processes may write the same one, each under a name of its own."""
        path = self._path(key)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            if not self.folder.is_dir():
                files.make_private(self.folder)
            if not self._make_room(sum(tensor.nbytes for tensor in tensors.values())):
                return False
            data = safetensors.torch.save(tensors, {"sha256": _checksum(key, tensors)})
            files.write_stream(part, [data], mode=0o600)
            files.publish(part, path)
        except (FedmedError, OSError) as error:
            logs.local.info("cache: %s", error.local if isinstance(error, FedmedError) else error)
            self._tell("FM-CAC-03 the cache cannot be written to: cases are prepared every time")
            with suppress(OSError):
                part.unlink(missing_ok=True)
            return False
        return True

    def _make_room(self, size: int) -> bool:
        """Delete what was not used for longest until `size` bytes more are allowed; False where they cannot be."""
        found = sorted(_entries(self.folder))
        total = size + sum(one for _, one, _ in found)
        for used, one, path in found:
            if total <= self.max_bytes or used >= self.since:
                break
            path.unlink(missing_ok=True)
            total -= one
        if total > self.max_bytes:
            self._tell("FM-CAC-02 cache_gib is too small for the cases of this round: some are prepared every time")
            return False
        if shutil.disk_usage(self.folder).free - size < RESERVE:
            self._tell("FM-CAC-03 the disk is nearly full: cases are prepared every time")
            return False
        return True

    def _tell(self, what: str) -> None:
        if what not in self.told:
            self.told.add(what)
            logs.shareable.info(what)


def prepared(
    cache: Cache | None,
    kind: Kind,
    case: Case,
    recipe: Recipe,
    label_map: Mapping[int, int],
    preprocessing: Preprocessing | None,
    make: Callable[[], Tensors],
) -> Kept:
    """What `make` gives, from the cache where there is one. A case whose content nobody knows is made every time."""
    if cache is None or not case.content:
        return Kept(make())
    return cache.through(key_of(kind, case, recipe, label_map, preprocessing), make)


def key_of(
    kind: Kind, case: Case, recipe: Recipe, label_map: Mapping[int, int], preprocessing: Preprocessing | None
) -> str:
    """SHA-256 of all that a prepared case of this kind depends on."""
    rules = recipe.data.model_dump(mode="json", by_alias=True, exclude=CHOOSING)
    fitted = preprocessings.digest_of(preprocessing)
    noise_of = case.case if case.shift else ""  # what `shifts` adds is drawn by alias
    facts = [FORMAT, kind, case.content, noise_of, recipe.task, rules, sorted(label_map.items()), fitted, _software()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@functools.cache
def _software() -> list[str]:
    """The code that makes an entry, and the versions of what it calls."""
    package = Path(__file__).parents[1]
    code = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((package / room).glob("*.py")):
            code.update(f"{path.name} {files.sha256_file(path)}\n".encode())
    return [code.hexdigest(), *(f"{name} {_version(name)}" for name in PACKAGES)]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _entries(folder: Path) -> list[tuple[int, int, Path]]:
    """When each entry, or half-written one, was used last (nanoseconds), its bytes and its path."""
    found = []
    for path in folder.iterdir():
        if path.suffix not in (".safetensors", ".part"):  # what check remembers, or the owner's own
            continue
        with suppress(FileNotFoundError):  # another process made room just now
            state = path.stat()
            found.append((state.st_mtime_ns, state.st_size, path))
    return found


def _checksum(key: str, tensors: Tensors) -> str:
    """Over the key too: an entry that was renamed or copied is another case's."""
    arrays: dict[str, np.ndarray] = {name: tensor.numpy() for name, tensor in tensors.items()}
    return hashlib.sha256(f"{key} {checkpoints.digest_of(arrays)}".encode()).hexdigest()
