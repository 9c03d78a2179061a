"""The life of a hospital at the command line, with patients named wherever a file can name one: none gets out."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.cases import datalist
from fedmed.coordinator import aggregate
from tests import planted, radiographs, small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.command import Fedmed

PATIENTS = tuple(f"q{number:02d}" for number in range(12))
COMMANDS = (
    *("check -w aa", "check -w aa --json", "partition -w aa", "partition -w aa --json", "train-local -w aa"),
    *("status -w aa", "evaluate -w aa", "evaluate -w aa --json", "check -w aa --again", "check --outgoing -w aa"),
    *("ledger verify -w aa", "keys fingerprint -w aa", "run -w aa", "train-local -w aa --json"),
)


def volumes(root: Path) -> small.Federation:
    hospital: dict[str, Any] = {"hospital": planted.volumes, "patients": PATIENTS[:5], "channels": ("MR",)}
    return small.founded(root, ("aa", "bb"), initial=small.unet_initial, **hospital)


def films(root: Path) -> small.Federation:
    hospital: dict[str, Any] = {"hospital": planted.films, "patients": PATIENTS, "channels": ("XR",)}
    fields = radiographs.fields()
    return small.founded(root, ("aa", "bb"), initial=small.unet_initial, recipe=fields, **hospital)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world_of", "words"), [(volumes, planted.OF_VOLUMES), (films, planted.OF_FILMS)], ids=["volumes", "films"]
)
def test_no_word_of_a_patient_gets_out(
    world_of: Callable[[Path], small.Federation], words: dict[str, str], training_fedmed: Fedmed, tmp_path: Path
) -> None:
    world = world_of(tmp_path)
    for command in COMMANDS:
        ran = training_fedmed.run(*command.split(), cwd=tmp_path)
        assert ran.code in (0, 75), f"{command}: {ran.err}"
        for text in (ran.out, ran.err):
            assert planted.told(words, text.encode()) == [], command
    training_fedmed.ok("partition", "-w", "bb", cwd=tmp_path)
    training_fedmed.ok("train-local", "-w", "bb", cwd=tmp_path)
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    site = world.site("aa")
    cases = datalist.load(site / "cases.json")
    entries = [*cases.training, *cases.validation, *cases.testing]
    pseudonyms = [name.encode() for entry in entries for name in (entry.case[5:], entry.patient[8:])]
    outside = [path for path in world.coordinator.rglob("*") if path.is_file()]
    own = [*(site / "outbox").iterdir(), site / "logs/shareable.log", *(site / "reports/check").iterdir()]
    assert len(own) >= 6
    for path in (*outside, *own):
        data = path.read_bytes()
        assert planted.told(words, data) == [], path.name
        if path not in own or path.suffix == ".fedmed":
            assert not [alias for alias in pseudonyms if alias in data], path.name


def test_outgoing_is_asked_for_at_the_command_line(world: small.Federation, fedmed: Fedmed) -> None:
    small.seal_update(world.site("aa"))
    ran = fedmed.ok("check", "--outgoing", "-w", "aa", cwd=world.root)
    assert "words and pseudonyms of patients looked for" in ran.out
    assert re.search(r"^update-r0000-aa.fedmed +0$", ran.out, re.MULTILINE)
    found = json.loads(fedmed.ok("check", "--outgoing", "-w", "aa", "--json", cwd=world.root).out)
    assert {looked["name"]: looked["found"] for looked in found["files"]}["update-r0000-aa.fedmed"] == 0
    log = world.site("aa") / "logs/shareable.log"
    log.write_text(log.read_text() + "2026-01-01 00:00:00,000 FM-DAT-11 case-1: nothing in Grimsdalen_Ola\n")
    settings = world.site("aa") / "fedmed.yaml"
    data = world.root / "data"
    (data / "images/Grimsdalen_Ola").mkdir(parents=True)
    settings.write_text(
        "\n".join(f"  root: {data}" if "root:" in line else line for line in settings.read_text().splitlines())
    )
    ran = fedmed.run("check", "--outgoing", "-w", "aa", cwd=world.root)
    assert ran.code == 6
    assert "FM-IDN-07" in ran.err
    assert "Grimsdalen" not in ran.out + ran.err


@pytest.mark.parametrize("words", ["check data --outgoing", "check --outgoing --preview 3", "check --outgoing --again"])
def test_options_that_outgoing_would_ignore(words: str, world: small.Federation, fedmed: Fedmed) -> None:
    ran = fedmed.run(*words.split(), cwd=world.site("aa"))
    assert (ran.code, ran.err[:9]) == (2, "FM-USE-01")
