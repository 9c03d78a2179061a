"""Whose key it is, at the keyboard: a join's fingerprint had from the site, and a federation file's word."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from fedmed.auditor import inspection
from fedmed.coordinator import found
from tests import small

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Fedmed


def test_admit_by_the_fingerprint(fedmed: Fedmed, tmp_path: Path) -> None:
    found.init(tmp_path / "c", small.write_recipe(tmp_path / "recipe.yaml"), small.now())
    small.write_hospital(tmp_path / "data")
    joins = {}
    for folder in ("impostor", "real"):
        words = ("init", "site", folder, "--name", "aa", "--data", "data", "--json")
        made = fedmed.ok(*words, cwd=tmp_path)
        joins[folder] = (f"{folder}/outbox/join-aa.fedmed", made.json["fingerprint"])

    def admit(which: str, fingerprint: str) -> tuple[int, str]:
        ran = fedmed.run("admit", joins[which][0], "-w", "c", "--fingerprint", fingerprint, cwd=tmp_path)
        return ran.code, (ran.out + ran.err).split()[0]

    fedmed.ok("admit", joins["impostor"][0], "-w", "c", cwd=tmp_path)
    assert admit("real", joins["impostor"][1]) == (4, "FM-TRU-12")
    assert admit("real", joins["real"][1]) == (0, "aa:")
    ran = fedmed.run("admit", *(path for path, _ in joins.values()), "-w", "c", "--fingerprint", "0" * 32, cwd=tmp_path)
    assert (ran.code, ran.err.split()[0]) == (2, "FM-USE-01")


def test_verify_says_whose_word_it_takes(fedmed: Fedmed, world: small.Federation) -> None:
    shutil.copy(world.site("aa") / "inbox" / "federation-v0001.fedmed", world.root / "f.fedmed")
    spoken = inspection.inspect(world.root / "f.fedmed").spoken
    words = ("verify", "aa/outbox/approval-v0001-aa.fedmed")
    ran = fedmed.ok(*words, "--federation", "f.fedmed", cwd=world.root)
    assert f"aa's key by the federation {spoken} (compare it with the coordinator's)" in ran.out
    ran = fedmed.ok(*words, "--federation", "f.fedmed", "--json", cwd=world.root)
    assert ran.json["federation"] == spoken
    ran = fedmed.ok(*words, "--json", cwd=world.root)
    assert (ran.json["federation"], ran.json["owner"]) == ("", "")
