"""Two hospitals and a coordinator, by hand, from `init` to the test fold; and what all that said about the patients."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests import small

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Fedmed, Ran

SITES = ("aa", "bb")
FOLDER, PATIENT = "nordmann-folder", "kari-nordmann"  # must never be seen outside


@dataclass
class Story:
    """A federation as its operators typed it, and everything they saw."""

    fedmed: Fedmed
    world: small.Federation
    seen: list[Ran] = field(default_factory=list)

    def type(self, words: str, *more: str, code: int = 0) -> Ran:
        ran = self.fedmed.run(*words.split(), *more, cwd=self.world.root)
        self.seen.append(ran)
        assert ran.code == code, f"{ran.words}: {ran.code}\n{ran.err}"
        return ran

    def found(self) -> None:
        small.write_recipe(self.world.root / "recipe.yaml")
        self.type("init coordinator coordinator --recipe recipe.yaml --rounds 1")
        for seed, name in enumerate(SITES):
            small.write_hospital(self.world.root / FOLDER / name, [f"{PATIENT}-{n}" for n in range(5)], seed)
            self.type(f"init site {name} --name {name} --data {FOLDER}/{name}")
        self.world.carry()
        self.type("admit coordinator/inbox/join-aa.fedmed coordinator/inbox/join-bb.fedmed -w coordinator")
        fingerprint = self.type("start -w coordinator --json").json["fingerprint"]
        self.world.carry()
        for name in SITES:
            self.type(f"approve -w {name} --by Test --fingerprint", fingerprint)
            self.type(f"partition -w {name}")

    def go_round(self) -> None:
        for name in SITES:
            self.type(f"train-local -w {name}")
        self.world.carry()
        self.type("aggregate -w coordinator")
        self.world.carry()

    def score(self) -> None:
        for name in SITES:
            self.type(f"train-local -w {name} --alone")
            self.type(f"evaluate -w {name}")
            self.type(f"evaluate -w {name} --split test")
        self.world.carry()
        self.type("evaluate -w coordinator --split test")  # its reports are in


@pytest.fixture(scope="module")
def story(training_fedmed: Fedmed, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The whole federation, ended."""
    story = Story(training_fedmed, small.Federation(tmp_path_factory.mktemp("story"), SITES))
    story.found()
    story.go_round()
    story.score()
    return story


def test_two_hospitals_from_init_to_the_test_fold(story: Story) -> None:
    table = story.type("evaluate -w coordinator --split test --json").json
    assert [(each["site"], each["body"]["facts"]["num_cases"]) for each in table["reports"]] == [("aa", 1), ("bb", 1)]
    for model in ("global", "alone"):
        dice = next(row for row in table["pooled"][model] if (row["metric"], row["label"]) == ("dice", "all"))
        assert dice["n"] == 2
        assert 0 <= float(dice["mean"]) <= 1
    text = story.type("evaluate -w coordinator --split test").out
    assert re.search(r"model r0001, test(ing)? cases", text)
    assert "local-only" in text


def test_the_last_model_is_not_trained(story: Story) -> None:
    ran = story.type("train-local -w aa")
    assert "the federation is over: round 1 is the last" in ran.out
    assert ran.next == "nothing left to do", "its report on the test fold is sealed"


def test_each_command_again_changes_no_file_that_was_said(story: Story) -> None:
    before = said(story.world)
    fingerprint = story.type("start -w coordinator --json").json["fingerprint"]
    again = [
        story.type("admit coordinator/inbox/join-aa.fedmed -w coordinator").out,
        story.type("approve -w aa --by Test --fingerprint", fingerprint).out,
        story.type("partition -w aa").out,
        story.type("train-local -w aa").out,
        story.type("train-local -w aa --alone").out,
        story.type("aggregate -w coordinator").out,
        story.type("evaluate -w aa").out,
        story.type("evaluate -w aa --split test").out,
        story.type("evaluate -w coordinator").out,
    ]
    assert said(story.world) == before
    assert [text for text in again if "was admitted before" in text or "approved before" in text] == again[:2]
    assert "was trained before" in again[4]
    assert "made before" in again[5]
    assert "opening 1 of the test fold" in again[7]


def said(world: small.Federation) -> dict[str, bytes]:
    """All that stands in archives and outboxes, and the folds of every hospital."""
    paths = [
        path for pattern in ("*/archive/*.fedmed", "*/outbox/*", "*/cases.json") for path in world.root.glob(pattern)
    ]
    return {str(path.relative_to(world.root)): path.read_bytes() for path in paths}


def test_no_patient_and_no_path_in_what_is_printed_or_can_leave(story: Story) -> None:
    broken = story.world.root / FOLDER / "aa" / "images" / f"{PATIENT}-0.nii.gz"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    story.type("partition -w aa --json", code=6)  # one in five is more than the recipe's share
    broken.write_bytes(whole)
    folder = story.world.root / FOLDER
    folder.rename(folder.with_name("gone"))
    story.type("partition -w aa", code=6)
    story.type("train-local -w aa --again")
    folder.with_name("gone").rename(folder)

    texts = [text.encode() for ran in story.seen for text in (ran.out, ran.err)]
    for pattern in ("*/logs/shareable.log", "*/outbox/*", "*/archive/*", "*/state/ledger.jsonl"):
        found = [path.read_bytes() for path in story.world.root.glob(pattern)]
        assert found, pattern
        texts += found
    for text in texts:
        for secret in (FOLDER, PATIENT, "nordmann", str(story.world.root)):
            assert secret.encode() not in text
        assert b"Traceback" not in text
    assert PATIENT.encode() in (story.world.site("aa") / "logs" / "local.log").read_bytes()


@pytest.mark.slow
def test_the_same_by_the_installed_executable(executable: Fedmed, tmp_path: Path) -> None:
    story = Story(executable, small.Federation(tmp_path / "world", SITES))
    story.world.root.mkdir()
    story.found()
    story.go_round()
    story.score()
    table = story.type("evaluate -w coordinator --split test --json").json
    assert table["missing"] == []
    assert table["round"] == 1
