"""The private halves of a site's mask certificates, in keys/mask/: kept until nothing needs them, then erased.

Whoever gets one can open what it masked, so they are no part of a backup, and a restored workspace makes new ones.
Erased means as far as the disk forgets: a solid-state disk or a snapshot may keep what was overwritten.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import certificates
from fedmed.exchange.keys import require_private

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedmed.exchange.certificates import Certificate, MaskKey

# https://bford.info/cachedir/: restic, borg, tar --exclude-caches and others leave such a folder out
NO_BACKUP = "CACHEDIR.TAG"
_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# mask keys of fedmed: never to be restored from a backup\n"
_NAME = re.compile(r"([0-9]{1,10})\.key")
_SIZE = 64  # both private keys, raw


def make(folder: Path, key: Ed25519PrivateKey, site: str, federation: str | None, index: int) -> MaskKey:
    """The mask keys of this index, on the disk when this returns; those that are there already are taken.

    Raises FedmedError FM-KEY-01, FM-KEY-02, FM-RES-*.
    """
    files.make_private(folder)
    files.empty(folder, "*.part")  # of a killed command, and of keys that nobody was told of
    if not (folder / NO_BACKUP).exists():
        files.write_atomic(folder / NO_BACKUP, _TAG)
    path = _path(folder, index)
    if not path.exists():
        made = certificates.create(key, site, federation, index)
        files.write_atomic(path, made.dh.private_bytes_raw() + made.kem.private_bytes_raw(), mode=0o600)
    return load(folder, key, site, federation, index)


def load(folder: Path, key: Ed25519PrivateKey, site: str, federation: str | None, index: int) -> MaskKey:
    """Raises FedmedError FM-SHR-03 when they were erased or never here, FM-KEY-01, FM-KEY-02."""
    path = _path(folder, index)
    if not path.exists():
        raise FedmedError("FM-SHR-03", f"mask certificate of {site}: the private keys of index {index} are not here")
    require_private(path)
    try:
        raw = files.read_bounded(path, _SIZE)
    except OSError as error:
        raise FedmedError("FM-KEY-02", f"{path.name}: not readable", local=str(error)) from error
    if len(raw) != _SIZE:
        raise FedmedError("FM-KEY-02", f"{path.name}: expected {_SIZE} bytes, got {len(raw)}")
    dh, kem = (X25519PrivateKey.from_private_bytes(half) for half in (raw[:32], raw[32:]))
    return certificates.certified(key, site, federation, index, dh, kem)


def of(folder: Path, key: Ed25519PrivateKey, certificate: Certificate) -> MaskKey:
    """The private halves of a certificate that came in a model: of exactly this one.

    Raises FedmedError FM-SHR-03, FM-KEY-01, FM-KEY-02.
    """
    found = load(folder, key, certificate.site, certificate.federation, certificate.index)
    if found.certificate != certificate:
        message = f"index {certificate.index} is not the one that this site made"
        raise FedmedError("FM-SHR-03", f"mask certificate of {certificate.site}: {message}")
    return found


def held(folder: Path) -> list[int]:
    """The indices whose private halves are here, rising."""
    return sorted(int(match[1]) for path in folder.glob("*.key") if (match := _NAME.fullmatch(path.name)))


def erase(folder: Path, listed: int, in_use: Collection[int]) -> list[int]:
    """Erase what nothing needs any more, and say which indices that were.

    `listed` is the highest index of this site that a model has listed; `in_use` the indices that rounds used which this
    site has neither answered nor seen closed. All below `listed` that is not in use goes. Raises FedmedError FM-RES-*.
    """
    gone = [index for index in held(folder) if index < listed and index not in in_use]
    for index in gone:
        path = _path(folder, index)
        try:
            fd = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
            try:
                files.write_all(fd, bytes(_SIZE))
                files.sync(fd)
            finally:
                os.close(fd)
            path.unlink()
            files.fsync_folder(folder)
        except OSError as error:
            raise files.disk_error(error, path) from error
    return gone


def _path(folder: Path, index: int) -> Path:
    return folder / f"{index}.key"
