"""What an earlier check found out about each study, so that files which are unchanged are not read again.

A file of lines, one a study, added to while a check runs: killed, it goes on where it was. A study counts as unchanged
while its files have the same paths, sizes and times (to the nanosecond), its rows of the tables say the same, and
recipe, layout, label_map, pseudonym key and version are the same. A damaged line is read anew from the images. The
file holds paths and covariates: it is patient data, for its owner alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from pydantic import ValidationError

from fedmed import __version__, files
from fedmed import recipe as recipes
from fedmed.cases import datalist, labels
from fedmed.cases.datalist import Entry
from fedmed.cases.examined import Examined, Facts, Finding
from fedmed.strict import Strict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fedmed.cases.layout import Study
    from fedmed.cases.search import Search
    from fedmed.recipe import Recipe
    from fedmed.settings import Layout


class Record(Strict):
    """What a line says of a study, behind its alias and the key that must be the same again."""

    paths: tuple[str, ...]
    entry: Entry | None
    findings: tuple[Finding, ...]
    facts: Facts


class Remembered:
    """The lines of a file by alias; `examine` reads the files of those studies alone that they do not know."""

    def __init__(self, stream: BinaryIO, conditions_: bytes) -> None:
        self.read = 0  # studies whose files were read
        self._stream, self._conditions = stream, conditions_
        self._places: dict[bytes, tuple[bytes, int]] = {}  # key and offset of the last line of each study
        self._used: set[bytes] = set()
        self._index()

    def examine(self, search: Search, study: Study) -> Examined:
        """As `search.examine`. Raises FedmedError FM-RES-01 or -02 where the file cannot be written."""
        alias = search.alias(study)
        name, key = alias.encode(), _key(search, study, self._conditions)
        self._used.add(name)
        record = self._recalled(name, key)
        if record is not None:
            case = datalist.to_case(record.entry) if record.entry else None
            return Examined(alias, record.paths, case, record.findings, record.facts)
        found = search.examine(study)
        self.read += 1
        entry = datalist.to_entry(found.case) if found.case else None
        record = Record(paths=found.paths, entry=entry, findings=found.findings, facts=found.facts)
        self._places[name] = key, self._stream.seek(0, os.SEEK_END)
        self._stream.write(b" ".join((name, key, record.model_dump_json().encode())) + b"\n")
        self._stream.flush()
        return found

    def lines(self) -> Iterator[bytes]:
        """The lines that the studies of this check have now."""
        for name in sorted(self._used & self._places.keys()):
            yield self._line(self._places[name][1])

    def _index(self) -> None:
        """A cut line, as after a power cut, is ended, so that the next does not become part of it."""
        offset, line = self._stream.seek(0), b"\n"
        for line in self._stream:
            name, _, rest = line.partition(b" ")
            self._places[name] = rest.partition(b" ")[0], offset
            offset += len(line)
        if not line.endswith(b"\n"):
            self._stream.write(b"\n")

    def _recalled(self, name: bytes, key: bytes) -> Record | None:
        known, offset = self._places.get(name, (b"", 0))
        if known != key:
            return None
        try:
            return Record.model_validate_json(self._line(offset).split(b" ", 2)[-1])
        except ValidationError:
            return None

    def _line(self, offset: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.readline()


@contextmanager
def opened(path: Path, conditions_: bytes, *, again: bool = False) -> Iterator[Remembered]:
    """What the file at `path` remembers; with `again` nothing. A check that ends leaves one line for each study.

    Raises FedmedError FM-RES-01 or FM-RES-02.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        if again or not path.is_file() or path.is_symlink():
            files.write_atomic(path, b"", mode=0o600)
        path.chmod(0o600)
        with path.open("r+b") as stream:
            remembered = Remembered(stream, conditions_)
            yield remembered
            files.write_stream(part, remembered.lines(), mode=0o600)
    except OSError as error:
        raise files.disk_error(error, path) from error
    files.publish(part, path)


def conditions(recipe: Recipe, layout: Layout, label_map: Mapping[int, int], pseudonym_key: bytes) -> bytes:
    """What holds for all studies, as a key for the hash over each."""
    said = [__version__, recipes.digest(recipe), layout.model_dump_json(), sorted(label_map.items())]
    return hmac.new(pseudonym_key, json.dumps(said).encode(), hashlib.sha256).digest()


def _key(search: Search, study: Study, conditions_: bytes) -> bytes:
    """Over names, sizes and times of the study's files and what the tables say of it."""
    found = hmac.new(conditions_, digestmod=hashlib.sha256)
    for name, group in sorted(study.matches.items()):
        for match in group:
            found.update(f"{name} {match}\n".encode())
            for path in search.files_below(match) if match.endswith("/") else (match,):
                found.update(_state(search.root, path))
            for table in (search.table, search.boxes):
                found.update(f"{table.rows.get(labels.key(match)) if table else None}\n".encode())
    if search.table and search.table.by == "case":
        found.update(f"{search.table.rows.get(labels.key(study.case))}\n".encode())
    return found.hexdigest().encode()


def _state(root: Path, relative: str) -> bytes:
    try:
        state = (root / relative).stat()
    except OSError:  # what cannot be looked at is examined anew each time, and told there
        return os.urandom(16)
    return f"{relative} {state.st_size} {state.st_mtime_ns}\n".encode()
