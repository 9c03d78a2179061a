"""Encryption and masks together, by hand: four hospitals of which one never answers, and who may see what of it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from fedmed.coordinator import desk
from fedmed.exchange import statement
from tests import small, tables
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Fedmed, Ran

SITES = ("aa", "bb", "cc", "dd")  # of three a sum would need all: t = floor((3 + 1) / 2) + 1
PATIENTS = [f"kari-nordmann-{number:02d}" for number in range(20)]
MASKED = {"masking": "dm2", "clip": {"norm": 100.0}}


@pytest.mark.slow
def test_four_hospitals_encrypt_and_mask_one_is_missing_and_an_auditor_looks(
    training_fedmed: Fedmed, tmp_path: Path
) -> None:
    limits = {"min_sites": 3, "max_num_cases": 100, "encryption": "age", "rounds": 1}
    world = small.joined(
        tmp_path / "world", SITES, limits=limits, recipe={**tables.TABULAR, "aggregation": MASKED},
        patients=PATIENTS, hospital=tables.write_hospital, channels=(),
    )  # fmt: skip

    def typed(words: str, *more: str | Path, code: int = 0) -> Ran:
        ran = training_fedmed.run(*words.split(), *more, cwd=world.root)
        assert ran.code == code, f"{ran.words}: {ran.code}\n{ran.err}"
        return ran

    fingerprint = typed("start -w coordinator --json").json["fingerprint"]
    world.carry()
    for name in SITES:
        assert (
            "all files about rounds are encrypted"
            in typed(f"approve -w {name} --by Test --fingerprint", fingerprint).out
        )
    world.carry()
    typed("aggregate -w coordinator")
    world.carry()
    joins = {each: typed(f"keys fingerprint -w {each} --json").json["join"] for each in SITES}
    for name in SITES[:3]:
        for other in SITES:
            if other != name:
                typed(f"keys pin {other} -w {name} --fingerprint", joins[other])
        typed(f"partition -w {name}")
        typed(f"train-local -w {name}")
    world.carry()
    assert "dd" in typed("unmask -w coordinator", code=75).err
    typed("unmask -w coordinator --close")
    world.carry()
    for name in SITES[:3]:
        typed(f"unmask -w {name}")
    world.carry()
    typed("aggregate -w coordinator")
    model = desk.peek(world.coordinator).record.newest("model")
    assert model is not None
    for path in (world.coordinator / "archive").glob("*.fedmed"):
        said = statement.decode(samples.members(path.read_bytes())[0][1])
        assert said.is_encrypted == (said.kind in statement.ENCRYPTED)

    given = shutil.copytree(world.coordinator / "archive", world.root / "given")
    refused = typed("ledger audit --round 0 -w given", code=5)
    assert "5 of 5 files are encrypted and were not opened; signatures, the digests of ciphertexts" in refused.err
    assert refused.next.endswith(": fedmed ledger audit --round 0 --age-key FILE -w given")
    typed("ledger audit --round 0 -w given --age-key aa/keys/age.key", code=5)
    audit = typed("ledger audit --round 0 -w given --age-key coordinator/keys/age.key --json").json
    assert (audit["sha256"], audit["sites"], audit["opened"]) == (model.payload, list(SITES[:3]), 5)
    told = typed("ledger verify -w coordinator").out
    assert "encrypted files opened: what is in them is what the ledger says" in told
    reply = world.coordinator / "inbox" / "unmask-reply-r0000-aa.fedmed"
    federation = ("-f", world.coordinator / "outbox" / "federation-v0001.fedmed")
    assert "only their recipients can check" in typed("verify", reply, *federation).out
    assert "what is encrypted to this key" in typed("verify", reply, *federation, "-w", world.coordinator).out
    typed("verify", reply, *federation, "-w", world.site("bb"), code=4)
    assert typed("inspect", given / f"{model.id}.fedmed").out.count("what it tells is encrypted") == 1
    assert PATIENTS[0] not in "".join(path.read_text("latin-1") for path in given.iterdir())
