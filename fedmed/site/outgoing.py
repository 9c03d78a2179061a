"""Does a file that is to leave hold a word by which a patient could be recognised? Looked for before it is signed.

`partition` keeps keyed hashes of those words (cases.words) and of the pseudonyms in state/, nothing else of them. Here
every text of an outgoing file is compared with them: the statement, JSON payloads and the names of tensors, not the
numbers. What the federation says itself (its roster, recipe, tensor names and format) is no finding.

An encrypted payload is for its sender too, and opened with the own age key. What a masked update holds for other sites
is random bytes of a fixed length, made from keys alone.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from fedmed import files, logs
from fedmed.cases import datalist, splits, tokens
from fedmed.errors import CODES, FedmedError
from fedmed.exchange import archived, artifact, decrypting, reading, statement
from fedmed.learning import layout
from fedmed.site import desk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from fedmed.exchange.artifact import Envelope
    from fedmed.exchange.predicates import Payload
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.statement import Statement, Subject
    from fedmed.site.desk import Approved, Site

    Build = Callable[[Opening, list[Payload], list[Subject]], Statement]

MAX_DIGESTS = 1 << 30  # bytes of a file of digests
MAX_LOG = 256 << 20


@dataclass(frozen=True)
class Looked:
    """One file that was looked through, and how many words or pseudonyms of patients it holds.

    Of its encrypted payloads so many were `opened`; into the `unread` ones nobody looked.
    """

    name: str
    found: int
    opened: int = 0
    unread: int = 0


@dataclass(frozen=True)
class Searched:
    """`known` words and pseudonyms were looked for. `others` lie in outbox/ and are no files of fedmed's: nobody looked
    into them.
    """

    files: tuple[Looked, ...]
    known: int
    others: int = 0


@dataclass(frozen=True)
class Known:
    """Sorted digests of what must not leave, under the workspace's pseudonym key."""

    words: NDArray[np.uint64]
    pseudonyms: NDArray[np.uint64]


def keep(site: Site, known: Known) -> None:
    """Into state/, for its owner alone. Raises FedmedError FM-RES-01 or FM-RES-02."""
    for name, digests in (("words", known.words), ("pseudonyms", known.pseudonyms)):
        files.write_atomic(_path(site, name), digests.astype(">u8").tobytes(), mode=0o600)


def collect(site: Site, aliases: Iterable[str], progress: Callable[[int, int], None]) -> Known:
    """From the data folder as it is now; `progress` as in words.of_folder. Raises FedmedError FM-DAT-04."""
    from fedmed.cases import words  # noqa: PLC0415 - image libraries, and a command that finds its work done needs none

    key = desk.pseudonym_key(site.workspace.root)
    hashed = sorted({tokens.digest(key, tokens.split(alias)) for alias in aliases})
    return Known(words.of_folder(site.data_root, key, progress), np.array(hashed, np.uint64))


def guarded(site: Site, consent: Approved, build: Build) -> Build:
    """`build`, and a look at what it built before anybody signs it. Raises FedmedError FM-IDN-06.

    A workspace that was not partitioned since this was looked for knows no words, and finds none.
    """

    def built(opening: Opening, payload: list[Payload], subject: list[Subject]) -> Statement:
        said = build(opening, payload, subject)
        known, key = _kept(site), desk.pseudonym_key(site.workspace.root)
        digests = np.union1d(known.words, known.pseudonyms)
        if not digests.size:  # before what everybody may say is gathered, which takes longer than the rest
            return said
        found = tokens.among(key, digests, statement.encode(said).decode(), _public(site, consent))
        if found:
            logs.local.info("FM-IDN-06 in the statement of %s: %s", said.kind, "; ".join(found))
            raise FedmedError("FM-IDN-06", f"{said.kind}: {len(found)} words or pseudonyms of patients")
        return said

    return built


def search(root: Path, progress: Callable[[int, int], None]) -> Searched:
    """Look through outbox/ and logs/shareable.log for what the data folder holds now; the log may hold pseudonyms.

    Which words were found stands in logs/local.log. Raises FedmedError FM-TRU-07 before `approve`, FM-DAT-04, and what
    is wrong with a file, by its name: FM-FRM-*, FM-TRU-10, FM-AGE-03, FM-AGE-04, FM-KEY-*.
    """
    site = desk.peek(root)
    logs.open_logs(root / "logs")
    consent, key = desk.require_approved(site), desk.pseudonym_key(root)
    known = collect(site, _aliases(site), progress)
    everything, public = np.union1d(known.words, known.pseudonyms), _public(site, consent)
    looked, paths = [], sorted(site.workspace.outbox.glob("*.fedmed"))
    others = len(list(site.workspace.outbox.iterdir())) - len(paths)
    for path in paths:
        texts = _texts(path, site.workspace.age_key)
        found = {word for text in texts.read for word in tokens.among(key, everything, text, public)}
        looked.append(_looked(path, found, texts))
    log = root / "logs" / "shareable.log"
    if log.exists():
        text = files.read_bounded(log, MAX_LOG).decode("utf-8", "replace")
        lines = {line.partition(" ")[2].partition(" ")[2] for line in text.splitlines()}  # behind date and time
        own = public | _source_says()
        looked.append(_looked(log, {word for line in lines for word in tokens.among(key, known.words, line, own)}))
    return Searched(tuple(looked), int(everything.size), others)


def refusal(searched: Searched) -> FedmedError | None:
    """FM-IDN-07 where the log holds something, FM-IDN-06 where a file does; FM-AGE-02 where nothing was found and some
    payload could not be looked into.
    """
    found = [looked for looked in searched.files if looked.found]
    if not found:
        return _unread(searched)
    code = "FM-IDN-07" if all(looked.name == "shareable.log" for looked in found) else "FM-IDN-06"
    told, unread = ", ".join(f"{looked.name} {looked.found}" for looked in found), _unread(searched)
    return FedmedError(code, f"words or pseudonyms of patients: {told}" + (f"; {unread.message}" if unread else ""))


def _unread(searched: Searched) -> FedmedError | None:
    closed = [looked for looked in searched.files if looked.unread]
    if not closed:
        return None
    told = ", ".join(f"{looked.name} {looked.unread}" for looked in closed)
    next_ = "put the keys/age.key back that was here when the files were made, and look again; do not send them before"
    return FedmedError("FM-AGE-02", f"encrypted payloads that were not looked at: {told}", next=next_)


def _looked(path: Path, found: Collection[str], texts: _Texts | None = None) -> Looked:
    if found:
        logs.local.info("identifiers in %s: %s", path.name, "; ".join(sorted(found)))
    return Looked(path.name, len(found), texts.opened if texts else 0, texts.unread if texts else 0)


def _aliases(site: Site) -> Iterator[str]:
    """Of cases.json; before `partition` there are none."""
    if site.cases_file.exists():
        cases = datalist.load(site.cases_file)
        for fold in splits.FOLDS:
            for entry in datalist.entries_of(cases, fold):
                yield from (entry.case, entry.patient)
        yield from cases.header.former


def _kept(site: Site) -> Known:
    found = []
    for name in ("words", "pseudonyms"):
        try:
            data = files.read_bounded(_path(site, name), MAX_DIGESTS)
        except FileNotFoundError:
            data = b""
        found.append(np.frombuffer(data, ">u8", len(data) // 8).astype(np.uint64))
    return Known(*found)


def _path(site: Site, name: str) -> Path:
    return site.workspace.root / "state" / f"{name}.bin"


def _public(site: Site, consent: Approved) -> set[str]:
    """What every site of the federation can read anyway, and what this one is called."""
    agreed = site.workspace.record.newest("federation")
    said = statement.encode(archived.read_archived(site.workspace, agreed.id)).decode() if agreed else ""
    recipe, tensors = consent.agreement.recipe.decode(), consent.agreement.tensors.decode()
    texts = (said, recipe, tensors, site.settings.name)
    return _format_says().union(*(tokens.spoken(text) for text in texts))


@functools.cache
def _format_says() -> set[str]:
    text = resources.files("fedmed").joinpath("docs", "FORMAT.md").read_text("utf-8")
    text += " fedmed monai numpy python torch"  # whose versions an update names
    return tokens.spoken(text).union(*(tokens.spoken(f"{row.meaning}: {row.remedy}") for row in CODES.values()))


@functools.cache
def _source_says() -> set[str]:
    """Single words of fedmed's own messages: a folder that is called `images` is no patient."""
    package = resources.files("fedmed")
    rooms = [each for each in package.iterdir() if each.is_dir()]
    modules = [each for folder in (package, *rooms) for each in folder.iterdir() if each.name.endswith(".py")]
    return {word for each in modules for word in tokens.split(each.read_text("utf-8"))}


@dataclass(frozen=True)
class _Texts:
    """What can be read in a file, and how many of its encrypted payloads were opened for that, or could not be."""

    read: list[str]
    opened: int
    unread: int


def _texts(path: Path, age_key: Path) -> _Texts:
    """The statement, JSON payloads and headers of tensors of a signed file."""
    try:
        fd = files.open_regular(path)
    except OSError as error:
        raise FedmedError("FM-FRM-01", f"{path.name}: cannot be opened as a file", local=str(error)) from error
    try:
        envelope = artifact.read_envelope(reading.reader(fd))
        said = statement.decode(envelope.raw)
        encrypted = [part for part in said.predicate.payload if part.enc != "none"]
        texts = [_text(fd, envelope, said, part, age_key) for part in said.predicate.payload]
    except FedmedError as error:
        raise FedmedError(error.code, f"{path.name}: {error.message}", next=error.next, local=error.local) from error
    finally:
        os.close(fd)
    read = [text.decode("utf-8", "replace") for text in (envelope.raw, *texts) if text is not None]
    unread = texts.count(None)
    return _Texts(read, len(encrypted) - unread, unread)


def _text(fd: int, envelope: Envelope, said: Statement, part: Payload, age_key: Path) -> bytes | None:
    """A JSON payload, or the header of tensors; None where the key does not open it."""
    is_tensors = part.media == artifact.SAFETENSORS
    read: Callable[[int, int], bytes] | None = reading.payload(fd, envelope, said, part.name)
    if part.enc != "none":
        read = _opened(fd, envelope, said, part, age_key, layout.MAX_HEADER + 8 if is_tensors else part.bytes)
    if read is None:
        return None
    return layout.stated_header(read, part.coding) if is_tensors else read(0, part.bytes)


def _opened(
    fd: int, envelope: Envelope, said: Statement, part: Payload, age_key: Path, length: int
) -> Callable[[int, int], bytes] | None:
    """`read(offset, size)` of the beginning of an encrypted payload in clear."""
    clear = bytearray()

    def take(data: bytes) -> None:
        clear.extend(data[: max(0, length - len(clear))])

    def check(digest: str) -> None:
        if digest != said.digest_of(part.name):
            raise FedmedError("FM-TRU-10", f"{part.name} of {said.kind} {said.sender}: not what was signed")

    try:
        decrypting.open_payload(age_key, fd, envelope, said, part.name, take, check)
    except FedmedError as error:
        if error.code != "FM-AGE-02":
            raise
        return None
    return lambda offset, size: bytes(clear[offset : offset + size])
