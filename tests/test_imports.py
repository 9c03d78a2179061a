"""Coordinator, auditor and the small commands start in a blink: no torch, no image library, no plotting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import small, tables
from tests.command import ACTORS, Fedmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAVY = {"torch", "monai", "pydicom", "nibabel", "matplotlib", "scipy", "sklearn", "pandas", "PIL"}
NEEDLESS = HEAVY | {"numpy", "rich"}  # for what reads statements alone and draws nothing
ACTORS_WITHOUT_IMAGES = (*(name for name in ACTORS if ".site." not in name), "fedmed.site.approve")
COMMANDS = {
    "help of a command": "train-local --help",
    "explain": "explain FM-SIG-03",
    "admit again": "admit coordinator/inbox/join-aa.fedmed -w coordinator",
    "start again": "start -w coordinator",
    "status of the coordinator": "status -w coordinator",
    "verify": "verify aa/outbox/update-r0000-aa.fedmed --federation aa/inbox/federation-v0001.fedmed",
    "aggregate": "aggregate -w coordinator",
    "allowed-signers": "keys allowed-signers -w aa",
    "ledger verify": "ledger verify -w coordinator",
    "train-local that finds its update": "train-local -w aa",
}
LIGHT = {
    "help": "--help",
    "status of a site": "status -w aa",
    "approve again": "approve -w aa --by Test",
    "inspect": "inspect aa/outbox/update-r0000-aa.fedmed",
    "verify by itself": "verify aa/outbox/update-r0000-aa.fedmed",
    "fingerprint": "keys fingerprint -w aa",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    """A round that is ready to be aggregated."""
    world = small.founded(tmp_path_factory.mktemp("world"))
    for name in world.sites:
        small.seal_update(world.site(name))
    world.carry()
    return world


@pytest.fixture(scope="module")
def fedmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fedmed]:
    """With the actors behind it that nobody needs an image for: what one of them drew in would show in every test."""
    command = Fedmed(tmp_path_factory.mktemp("fedmed"), *ACTORS_WITHOUT_IMAGES)
    yield command
    command.close()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fedmed]:
    """With the command line alone behind it."""
    command = Fedmed(tmp_path_factory.mktemp("bare"))
    yield command
    command.close()


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
def test_imports_nothing_heavy(words: str, world: small.Federation, fedmed: Fedmed) -> None:
    ran = fedmed.ok(*words.split(), cwd=world.root)
    assert "fedmed" in ran.modules
    assert not HEAVY & ran.modules


@pytest.mark.parametrize("words", LIGHT.values(), ids=LIGHT.keys())
def test_what_draws_nothing_and_reads_no_numbers_imports_no_numpy(
    words: str, world: small.Federation, bare: Fedmed
) -> None:
    ran = bare.ok(*words.split(), cwd=world.root)
    assert "fedmed" in ran.modules
    assert not NEEDLESS & ran.modules


def test_first_approve_imports_nothing_heavy(fedmed: Fedmed, tmp_path: Path) -> None:
    small.founded(tmp_path, approved=False)
    fingerprint = fedmed.ok("start", "-w", "coordinator", "--json", cwd=tmp_path).json["fingerprint"]
    ran = fedmed.ok("approve", "-w", "aa", "--by", "Test", "--fingerprint", fingerprint, cwd=tmp_path)
    assert "approved by Test" in ran.out
    assert not HEAVY & ran.modules


@pytest.mark.slow
def test_a_round_over_a_table_imports_no_monai(fedmed: Fedmed, tmp_path: Path) -> None:
    tables.founded(tmp_path)
    for words in ("train-local -w aa --device cpu", "evaluate -w aa --device cpu"):
        ran = fedmed.ok(*words.split(), cwd=tmp_path)
        assert "torch" in ran.modules
        assert not {"monai", "matplotlib"} & ran.modules, words


@pytest.mark.slow
def test_a_round_over_images_imports_of_monai_what_it_uses(fedmed: Fedmed, tmp_path: Path) -> None:
    small.founded(tmp_path, initial=small.unet_initial)
    fedmed.ok("partition", "-w", "aa", cwd=tmp_path)
    modules = fedmed.ok("train-local", "-w", "aa", "--device", "cpu", cwd=tmp_path).modules
    assert "monai" in modules
    assert not {"matplotlib", "sklearn"} & modules


def test_the_probe_sees_what_is_heavy(fedmed: Fedmed, world: small.Federation) -> None:
    """`partition` reads images; if it passed here, the tests above would prove nothing."""
    assert {"nibabel", "pydicom"} <= fedmed.ok("partition", "-w", "bb", cwd=world.root).modules
