"""The file with an actor's age identity."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyrage
import pytest

from fedmed.errors import FedmedError
from fedmed.exchange import agekeys

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_encrypted_to_the_recipient_is_opened_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "age.key"
    agekeys.create(path)
    recipient = pyrage.x25519.Recipient.from_str(agekeys.recipient(path))
    assert pyrage.decrypt(pyrage.encrypt(b"secret", [recipient]), [agekeys.load(path)]) == b"secret"
    assert path.read_text().splitlines()[0] == f"# public key: {agekeys.recipient(path)}", "as age-keygen writes it"
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_two_keys_are_different(tmp_path: Path) -> None:
    for name in ("one", "two"):
        agekeys.create(tmp_path / name)
    assert agekeys.recipient(tmp_path / "one") != agekeys.recipient(tmp_path / "two")


@pytest.mark.parametrize("text", ["", "age1qq\n", "AGE-SECRET-KEY-1QQ\n", "twice", "\u00e6", "x" * 5000])
def test_a_file_without_exactly_one_identity_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "age.key"
    agekeys.create(path)
    path.write_text(path.read_text() * 2 if text == "twice" else text)
    with pytest.raises(FedmedError) as refused:
        agekeys.load(path)
    assert refused.value.code == "FM-KEY-02"


@pytest.mark.skipif(os.name != "posix", reason="no file modes")
def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    agekeys.create(tmp_path / "age.key")
    (tmp_path / "age.key").chmod(0o644)
    with pytest.raises(FedmedError) as refused:
        agekeys.load(tmp_path / "age.key")
    assert refused.value.code == "FM-KEY-01"
