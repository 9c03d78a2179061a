"""`fedmed run`, as cron calls it: what it says, what it ends with, and a whole federation driven by nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.exchange import lock, workspace
from fedmed.exchange.ledger import Ledger
from tests import small
from tests.command import Fedmed, Ran
from tests.test_imports import HEAVY

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600
CARRY = """
# carry.sh FROM TO: what is new in FROM/outbox goes to TO/inbox, and has its name only when it is complete
for file in "$1"/outbox/*.fedmed; do
  [ -e "$file" ] || continue
  name=$(basename "$file")
  cmp -s "$file" "$2/inbox/$name" && continue
  cp "$file" "$2/inbox/$name.part" && mv "$2/inbox/$name.part" "$2/inbox/$name"
done
"""


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fedmed]:
    """Nothing is imported beforehand, so that what a command imports is seen."""
    command = Fedmed(tmp_path_factory.mktemp("light"))
    yield command
    command.close()


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def without_logs(folder: Path) -> dict[str, bytes | None]:
    return {name: data for name, data in everything(folder).items() if "/logs/" not in name}


def send(world: small.Federation, *names: str) -> None:
    for name in names:
        small.seal_update(world.site(name))
    world.carry()


def test_who_waits_for_a_person(fedmed: Fedmed, unapproved: small.Federation, tmp_path: Path) -> None:
    ran = fedmed.run("run", "-w", "aa", cwd=unapproved.root)
    assert (ran.code, ran.next) == (75, "fedmed approve -w aa")
    assert "waiting for a person's consent" in ran.out
    joined = small.joined(tmp_path / "joined")
    ran = fedmed.run("run", "-w", "coordinator", cwd=joined.root)
    assert (ran.code, ran.next) == (75, "fedmed start -w coordinator")
    ran = fedmed.run("run", "--json", cwd=joined.site("aa"))
    assert (ran.code, ran.json) == (
        75,
        {
            "done": [],
            "waiting": "the coordinator's federation-v0001.fedmed",
            "next": "send outbox/join-aa.fedmed to the coordinator",
        },
    )


def test_join_files_wait_for_admit(fedmed: Fedmed, tmp_path: Path) -> None:
    world = small.joined(tmp_path, limits={"min_sites": 3})
    small.write_hospital(tmp_path / "data-cc")
    fedmed.ok("init", "site", "cc", "--name", "cc", "--data", "data-cc", cwd=tmp_path)
    shutil.copy(tmp_path / "cc" / "outbox" / "join-cc.fedmed", world.coordinator / "inbox")
    ran = fedmed.run("run", "-w", "coordinator", cwd=tmp_path)
    assert (ran.code, ran.next) == (75, "fedmed admit coordinator/inbox/join-cc.fedmed -w coordinator")


def test_a_round_by_cron(fedmed: Fedmed, world: small.Federation) -> None:
    send(world, "aa")
    ran = fedmed.run("run", "-w", "coordinator", cwd=world.root)
    assert ran.code == 75
    assert "waiting for round 0: 1 of at least 2 sites are in; not in: bb" in ran.out
    send(world, "bb")
    ran = fedmed.ok("run", "-w", "coordinator", cwd=world.root)
    first, *rest = ran.out.splitlines()
    assert re.fullmatch(r"[-0-9]{10}T[:0-9]{8}Z aggregate: model r0001 of aa, bb", first)
    assert rest[0].startswith("waiting for round 1: 0 of at least 2 sites are in")
    assert ran.err == "", "no progress bar without a terminal"
    assert fedmed.run("run", "-w", "coordinator", cwd=world.root).code == 75


def test_one_json_object(fedmed: Fedmed, world: small.Federation) -> None:
    send(world, *world.sites)
    found = fedmed.ok("run", "-w", "coordinator", "--json", cwd=world.root).json
    assert set(found) == {"done", "waiting", "next"}
    assert [(each["step"], each["result"]["round"]) for each in found["done"]] == [("aggregate", 1)]
    assert found["waiting"].startswith("round 1: 0 of")
    shutil.rmtree(world.coordinator / "inbox")
    error = fedmed.run("run", "-w", "coordinator", "--json", cwd=world.root).json["error"]
    assert (error["code"], error["exit"]) == ("FM-RES-05", 8)


@pytest.mark.slow
def test_the_last_reports_are_pooled_and_shown(fedmed: Fedmed, world: small.Federation) -> None:
    for _ in range(2):
        send(world, *world.sites)
        fedmed.ok("run", "-w", "coordinator", cwd=world.root)
        world.carry()
    assert fedmed.run("run", "-w", "coordinator", cwd=world.root).code == 75
    for name, mean in (("aa", 0.5), ("bb", 0.7)):
        small.seal_report(world.site(name), mean=mean, n=1, split="testing")
    world.carry()
    ran = fedmed.ok("run", "-w", "coordinator", cwd=world.root)
    assert "evaluate: 2 reports on the test fold" in ran.out
    assert re.search(r"pooled +global +all +dice +2 +0.600", ran.out)
    assert ran.out.splitlines()[-1] == "nothing left to do"
    assert (world.coordinator / "reports" / "pooled-r0002-testing.csv").exists()
    ran = fedmed.ok("run", "-w", "coordinator", "--json", cwd=world.root)
    assert ran.json == {"done": [], "waiting": "", "next": ""}


@pytest.mark.slow
def test_what_is_not_due_imports_nothing_heavy(light: Fedmed, world: small.Federation) -> None:
    send(world, *world.sites)
    (world.site("aa") / "cases.json").touch()
    for words, code in (
        ("run -w bb --dry-run", 0),  # partition
        ("run -w aa", 75),
        ("run -w coordinator --dry-run", 0),
        ("run -w coordinator", 0),
        ("run -w coordinator", 75),
    ):
        ran = light.run(*words.split(), cwd=world.root)
        assert ran.code == code, words + ran.err
        assert "fedmed" in ran.modules
        assert not HEAVY & ran.modules, words


def test_dry_run_says_what_is_due_and_changes_nothing(fedmed: Fedmed, world: small.Federation) -> None:
    send(world, "aa", "bb")
    (world.coordinator / "inbox" / "picture.fedmed").write_bytes(b"\x89PNG" * 1000)
    before = everything(world.root)
    ran = fedmed.ok("run", "-w", "coordinator", "--dry-run", cwd=world.root)
    assert "would do aggregate: round 0 can close" in ran.out
    assert "picture.fedmed: rejected FM-FRM-01" in ran.out
    ran = fedmed.ok("run", "-w", "aa", "--dry-run", "--json", cwd=world.root)
    assert ran.json == {"done": [], "waiting": "", "next": "fedmed partition -w aa"}
    assert "would do partition: cases.json is not written yet" in ran.err
    assert everything(world.root) == before


def test_a_refused_file_is_named_and_stops_nobody(fedmed: Fedmed, world: small.Federation) -> None:
    picture = world.coordinator / "inbox" / "picture.fedmed"
    picture.write_bytes(b"\x89PNG" * 1000)
    os.utime(picture, (picture.stat().st_mtime - HOUR,) * 2)
    ran = fedmed.run("run", "-w", "coordinator", cwd=world.root)
    assert ran.code == 75
    assert "picture.fedmed: rejected FM-FRM-01" in ran.out
    send(world, *world.sites)
    ran = fedmed.ok("run", "-w", "coordinator", cwd=world.root)
    assert "aggregate: model r0001" in ran.out
    assert "picture.fedmed: rejected FM-FRM-01" in ran.out


def refused(ran: Ran, exit_code: int, code: str) -> None:
    assert (ran.code, ran.err.split(" ")[0]) == (exit_code, code), ran.err + ran.out


def test_errors_keep_their_codes(fedmed: Fedmed, world: small.Federation) -> None:
    refused(fedmed.run("run", cwd=world.root), 3, "FM-SET-01")
    refused(fedmed.run("run", "-w", "coordinator", "--close", cwd=world.root), 2, "FM-USE-01")
    shutil.rmtree(world.coordinator / "inbox")
    refused(fedmed.run("run", "-w", "coordinator", cwd=world.root), 8, "FM-RES-05")
    refused(fedmed.run("run", "-w", "coordinator", "--dry-run", cwd=world.root), 8, "FM-RES-05")
    shutil.rmtree(world.root / "gone", ignore_errors=True)
    settings = world.site("aa") / "fedmed.yaml"
    lines = [f"  root: {world.root}/gone" if "root:" in line else line for line in settings.read_text().splitlines()]
    settings.write_text("\n".join(lines))
    refused(fedmed.run("run", "-w", "aa", cwd=world.root), 6, "FM-DAT-04")


def test_one_run_at_a_time(fedmed: Fedmed, world: small.Federation) -> None:
    send(world, *world.sites)
    before = without_logs(world.root)
    with workspace.locked(world.coordinator):
        ran = fedmed.run("run", "-w", "coordinator", cwd=world.root)
        refused(ran, 75, "FM-WAI-01")
        assert f"process {os.getpid()}, since " in ran.err
    assert without_logs(world.root) == before


def test_another_computer_in_the_workspace(fedmed: Fedmed, world: small.Federation) -> None:
    note = world.coordinator / "state" / "lock.json"
    note.write_text(json.dumps({**lock._myself().model_dump(), "host": "another-host", "boot": "another-boot"}))
    ran = fedmed.run("run", "-w", "coordinator", cwd=world.root)
    refused(ran, 8, "FM-RES-06")
    assert "another-host" not in ran.err + ran.out + (world.coordinator / "logs" / "shareable.log").read_text()
    assert "delete state/lock.json" in ran.next
    note.unlink()
    assert fedmed.run("run", "-w", "coordinator", cwd=world.root).code == 75


class Cron:
    """Four computers that call nothing but `fedmed run`, and a script that copies files between them."""

    def __init__(self, world: small.Federation) -> None:
        self.world = world
        self.script = world.root / "carry.sh"
        self.script.write_text(CARRY)

    def start(self, name: str) -> subprocess.Popen[str]:
        words = [Path(sys.executable).with_name("fedmed"), "run", "--json"]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, cwd=self.world.root / name, stdout=pipe, stderr=pipe, text=True)

    def tick(self, name: str) -> tuple[int, dict[str, Any]]:
        process = self.start(name)
        out, err = process.communicate()
        assert process.returncode in (0, 75), err
        found: dict[str, Any] = json.loads(out)
        return process.returncode, found

    def carry(self) -> None:
        for name in self.world.sites:
            for pair in ((name, "coordinator"), ("coordinator", name)):
                subprocess.run(["sh", self.script, *pair], cwd=self.world.root, check=True)


def said(folder: Path, kind: str) -> list[int]:
    entries = Ledger(folder / "state" / "ledger.jsonl").entries
    return [entry.facts["round"] for entry in entries if entry.event == "said" and entry.facts["kind"] == kind]


@pytest.mark.slow
def test_a_federation_driven_by_cron_alone(tmp_path: Path) -> None:
    world = small.founded(tmp_path, ("aa", "bb", "cc"), initial=small.unet_initial)
    everyone = (*world.sites, "coordinator")
    cron = Cron(world)
    both = [cron.start("aa") for _ in range(2)]  # a slow run is overtaken by the next
    for process in both:
        process.communicate()
    assert sorted(process.returncode for process in both) == [0, 75]

    steps: dict[str, list[str]] = {name: ["partition", "train-local"] if name == "aa" else [] for name in everyone}
    for _ in range(12):
        is_over = True
        for name in everyone:
            code, found = cron.tick(name)
            assert code == (0 if found["done"] or not found["waiting"] else 75)
            steps[name] += [each["step"] for each in found["done"]]
            is_over = is_over and not found["done"] and not found["waiting"]
        cron.carry()
        if is_over:
            break
    assert is_over
    for name in world.sites:
        assert steps[name] == ["partition", "train-local", "train-local", "evaluate"]
        assert said(world.site(name), "update") == [0, 1]
        assert said(world.site(name), "report") == [2]
        assert (world.site(name) / "inbox" / "model-r0002.fedmed").exists()
        assert (world.site(name) / "outbox" / f"report-r0002-{name}-test.fedmed").exists()
    assert steps["coordinator"] == ["aggregate", "aggregate", "evaluate"]
    assert said(world.coordinator, "model") == [0, 1, 2]
    table = (world.coordinator / "reports" / "pooled-r0002-testing.csv").read_text()
    assert [line.split(",")[0] for line in table.splitlines() if ",dice," in line and ",all," in line] == [
        *world.sites,
        "pooled",
    ]

    before = without_logs(world.root)
    for name in everyone:
        assert cron.tick(name) == (0, {"done": [], "waiting": "", "next": ""})
    assert without_logs(world.root) == before
