"""Every published exit code, reached as a person would reach it."""

from __future__ import annotations

import errno
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from fedmed.cli import app
from fedmed.errors import CODES
from fedmed.exchange import workspace
from fedmed.exchange.ledger import Ledger
from tests import small, tables
from tests.site.test_private import RECIPE as PRIVATE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Fedmed, Ran


def refused(ran: Ran, exit_code: int, code: str) -> Ran:
    """The command ended with this exit code and this error and said what to do next."""
    assert (ran.code, ran.err.split(" ")[0]) == (exit_code, code), ran.err + ran.out
    assert ran.err.splitlines()[1].startswith("next: ")
    assert "Traceback" not in ran.err + ran.out
    return ran


def test_0_done_and_already_done(fedmed: Fedmed, world: small.Federation) -> None:
    for _ in range(2):
        fedmed.ok("start", "-w", "coordinator", cwd=world.root)


def test_1_a_bug_keeps_its_traceback_in_the_local_log(fedmed: Fedmed, world: small.Federation) -> None:
    """An entry that no version of fedmed writes, on an unbroken chain."""
    Ledger(world.coordinator / "state" / "ledger.jsonl").append("x", "received", small.now(), outcome="nordmann")
    ran = refused(fedmed.run("aggregate", "-w", "coordinator", cwd=world.root), 1, "FM-BUG-01")
    assert "nordmann" not in ran.err
    assert re.search(r" in fedmed/[a-z/]+\.py:\d+$", ran.err.splitlines()[0])
    assert "logs/local.log" in ran.next
    logs = world.coordinator / "logs"
    assert "Traceback" in (logs / "local.log").read_text()
    assert "Traceback" not in (logs / "shareable.log").read_text()


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EIO, "FM-RES-02"), (errno.ENOSPC, "FM-RES-01"), (errno.EROFS, "FM-RES-02")]
)
def test_8_a_disk_that_fails_where_nobody_expects_it(number: int, code: str) -> None:
    coded = app._of_the_disk(OSError(number, "no", "/data/nordmann"))
    assert coded
    assert (coded.code, coded.exit_code) == (code, 8)
    assert "nordmann" not in coded.message
    assert "nordmann" in coded.local


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "no", "x"), OSError("no"), ValueError("no")])
def test_1_what_the_disk_is_not_guilty_of(error: Exception) -> None:
    assert app._of_the_disk(error) is None


def test_1_a_bug_where_no_log_is_open_names_none(fedmed: Fedmed, world: small.Federation) -> None:
    """`status` opens no log."""
    Ledger(world.coordinator / "state" / "ledger.jsonl").append("x", "received", small.now(), outcome="nordmann")
    ran = refused(fedmed.run("status", "-w", "coordinator", cwd=world.root), 1, "FM-BUG-01")
    assert "nordmann" not in ran.err
    assert re.search(r" in fedmed/[a-z/]+\.py:\d+$", ran.err.splitlines()[0])
    assert ".log" not in ran.err


@pytest.mark.parametrize(
    "words",
    [
        "train-locally",
        "status --workspce aa",
        "aggregate --close=yes",
        "evaluate --split train",
        "init site cc --name cc",
        "train-local --again --alone",
        "partition data --sites 3",
        "partition -w aa --seed 99",
        "partition -w aa --sites 2",
        "partition -w aa --how iid",
        "partition -w aa --recipe recipe.yaml --out out",
        "partition data --recipe recipe.yaml --out out --alpha 1",
        "partition data --recipe recipe.yaml --out out --how sizes --sizes 1,1 --alpha 1",
        "partition data --recipe recipe.yaml --out out --how dirichlet",
        "partition data --recipe recipe.yaml --out out --how sizes",
        "partition data --recipe recipe.yaml --out out --how sizes --sites 2 --sizes 1,x",
        "explain FM-XXX-01",
    ],
)
def test_2_usage(words: str, fedmed: Fedmed, world: small.Federation) -> None:
    refused(fedmed.run(*words.split(), cwd=world.root), 2, "FM-USE-01")


def test_2_approve_without_a_terminal_needs_the_fingerprint(fedmed: Fedmed, unapproved: small.Federation) -> None:
    ran = refused(fedmed.run("approve", "-w", "aa", "--by", "Test", cwd=unapproved.root), 2, "FM-USE-01")
    assert "--fingerprint" in ran.err
    refused(fedmed.run("approve", "-w", "aa", "--fingerprint", "0" * 32, cwd=unapproved.root), 2, "FM-USE-01")


def test_2_the_test_fold_before_the_last_model(fedmed: Fedmed, world: small.Federation) -> None:
    fedmed.ok("partition", "-w", "aa", cwd=world.root)
    refused(fedmed.run("evaluate", "-w", "aa", "--split", "test", cwd=world.root), 2, "FM-USE-02")
    assert "test-fold-opened" not in (world.site("aa") / "state" / "ledger.jsonl").read_text()


def test_3_init_again_touches_nothing(fedmed: Fedmed, world: small.Federation) -> None:
    before = {path: path.read_bytes() for path in world.root.rglob("*") if path.is_file()}
    words = ["init", "coordinator", "coordinator", "--recipe", "recipe.yaml"]
    refused(fedmed.run(*words, cwd=world.root), 3, "FM-SET-04")
    data = small.write_hospital(world.root / "data")
    refused(fedmed.run("init", "site", "aa", "--name", "aa", "--data", data, cwd=world.root), 3, "FM-SET-04")
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize(
    ("file", "old", "new", "meant"),
    [
        ("aa/fedmed.yaml", "device: auto", "devise: auto", "device"),
        ("aa/fedmed.yaml", "label_map: {}", "label_maps: {}", "label_map"),
        ("aa/fedmed.yaml", "    image:", "    images:", "image"),
    ],
)
def test_3_unknown_key_in_fedmed_yaml(
    file: str, old: str, new: str, meant: str, fedmed: Fedmed, world: small.Federation
) -> None:
    path = world.root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    ran = refused(fedmed.run("status", "-w", "aa", cwd=world.root), 3, "FM-SET-02")
    assert f"did you mean {meant}?" in ran.err


def test_3_unknown_key_in_the_federation_draft(fedmed: Fedmed, tmp_path: Path) -> None:
    world = small.joined(tmp_path)
    path = world.coordinator / "federation.yaml"
    path.write_text(path.read_text().replace("min_sites", "min_site"))
    ran = refused(fedmed.run("start", "-w", "coordinator", cwd=tmp_path), 3, "FM-SET-02")
    assert "did you mean min_sites?" in ran.err


@pytest.mark.parametrize(
    ("part", "key", "meant"),
    [("top", "netwerk", "network"), ("training", "batchsize", "batch_size"), ("network", "chanels", "channels")],
)
def test_3_unknown_key_in_a_recipe(part: str, key: str, meant: str, fedmed: Fedmed, tmp_path: Path) -> None:
    changed = {key: 1} if part == "top" else {part: {**small.RECIPE[part], key: 1}}
    small.write_recipe(tmp_path / "recipe.yaml", **changed)
    ran = refused(fedmed.run("init", "coordinator", "c", "--recipe", "recipe.yaml", cwd=tmp_path), 3, "FM-RCP-02")
    assert f"did you mean {meant}?" in ran.err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("title", ["Brain: tumours", "[draft", "'a' \"b\" # {c}", "null", "Bø 東京 \U0001f3e5", "- 1"])
def test_0_any_title_of_plain_text(title: str, fedmed: Fedmed, tmp_path: Path) -> None:
    small.write_recipe(tmp_path / "recipe.yaml")
    fedmed.ok("init", "coordinator", "c", "--recipe", "recipe.yaml", "--title", title, cwd=tmp_path)
    assert fedmed.ok("status", "-w", "c", "--json", cwd=tmp_path).json["title"] == title


@pytest.mark.parametrize(
    "words", ["--rounds=0", "--rounds=-1", "--title=a\x1b", "--title=a\x7f", f"--title={'a' * 200}"]
)
def test_3_a_draft_that_could_not_start_is_not_written(words: str, fedmed: Fedmed, tmp_path: Path) -> None:
    small.write_recipe(tmp_path / "recipe.yaml")
    ran = fedmed.run("init", "coordinator", "c", "--recipe", "recipe.yaml", words, cwd=tmp_path)
    assert refused(ran, 3, "FM-SET-03").next == "fedmed init coordinator --help"
    assert not (tmp_path / "c").exists()


def test_3_broken_settings_are_named_to_be_repaired(fedmed: Fedmed, tmp_path: Path) -> None:
    world = small.joined(tmp_path)
    (world.coordinator / "federation.yaml").write_text("title: [")
    ran = refused(fedmed.run("start", "-w", "coordinator", cwd=tmp_path), 3, "FM-SET-01")
    assert ran.next == "correct federation.yaml in the workspace"
    (world.coordinator / "federation.yaml").unlink()
    ran = refused(fedmed.run("start", "-w", "coordinator", cwd=tmp_path), 3, "FM-SET-01")
    assert ran.next == "restore federation.yaml in the workspace"


def test_8_a_workspace_below_a_file(fedmed: Fedmed, tmp_path: Path) -> None:
    small.write_recipe(tmp_path / "recipe.yaml")
    small.write_hospital(tmp_path / "data")
    for words in (
        "init site recipe.yaml/x --name aa --data data",
        "init coordinator recipe.yaml/x --recipe recipe.yaml",
    ):
        refused(fedmed.run(*words.split(), cwd=tmp_path), 8, "FM-RES-02")


def test_3_not_a_workspace_and_the_wrong_role(fedmed: Fedmed, world: small.Federation) -> None:
    for command in ("status", "aggregate", "train-local", "partition", "evaluate", "start"):
        refused(fedmed.run(command, cwd=world.root), 3, "FM-SET-01")
    refused(fedmed.run("aggregate", "-w", "aa", cwd=world.root), 3, "FM-SET-05")
    refused(fedmed.run("train-local", "-w", "coordinator", cwd=world.root), 3, "FM-SET-05")


def test_4_the_wrong_fingerprint(fedmed: Fedmed, unapproved: small.Federation) -> None:
    words = ["approve", "-w", "aa", "--by", "Test", "--fingerprint", "0123 " * 8]
    refused(fedmed.run(*words, cwd=unapproved.root), 4, "FM-TRU-01")
    assert not list((unapproved.site("aa") / "outbox").glob("approval*"))


def test_4_no_consent_no_training(fedmed: Fedmed, unapproved: small.Federation) -> None:
    for command in ("train-local", "partition", "evaluate"):
        refused(fedmed.run(command, "-w", "aa", cwd=unapproved.root), 4, "FM-TRU-07")


def test_4_one_bit(fedmed: Fedmed, world: small.Federation) -> None:
    path = world.site("aa") / "inbox" / "model-r0000.fedmed"
    data = bytearray(path.read_bytes())
    data[data.rindex(b"b.bias")] ^= 1  # in the payload, behind the signature
    path.write_bytes(data)
    refused(fedmed.run("verify", path, cwd=world.root), 4, "FM-TRU-10")


def test_5_not_a_fedmed_file(fedmed: Fedmed, world: small.Federation) -> None:
    (world.root / "picture.fedmed").write_bytes(b"\x89PNG" * 1000)
    for command in ("inspect", "verify", "admit -w coordinator"):
        refused(fedmed.run(*command.split(), "picture.fedmed", cwd=world.root), 5, "FM-FRM-01")
        refused(fedmed.run(*command.split(), "not-there.fedmed", cwd=world.root), 5, "FM-FRM-01")


def test_6_data(fedmed: Fedmed, world: small.Federation, tmp_path: Path) -> None:
    refused(fedmed.run("train-local", "-w", "aa", cwd=world.root), 6, "FM-DAT-43")
    settings = world.site("aa") / "fedmed.yaml"
    lines = [f"  root: {tmp_path}/gone" if "root:" in line else line for line in settings.read_text().splitlines()]
    settings.write_text("\n".join(lines))
    ran = refused(fedmed.run("partition", "-w", "aa", cwd=world.root), 6, "FM-DAT-04")
    assert "gone" not in ran.err


def test_8_the_share_behind_the_outbox_is_not_there(fedmed: Fedmed, unapproved: small.Federation) -> None:
    site = unapproved.site("aa")
    shutil.rmtree(site / "outbox")
    fingerprint = fedmed.ok("start", "-w", "coordinator", "--json", cwd=unapproved.root).json["fingerprint"]
    words = ["approve", "-w", "aa", "--by", "Test", "--fingerprint", fingerprint]
    refused(fedmed.run(*words, cwd=unapproved.root), 8, "FM-RES-02")
    (site / "outbox").mkdir()
    fedmed.ok(*words, cwd=unapproved.root)
    assert (site / "outbox" / "approval-v0001-aa.fedmed").exists()


def test_75_early(fedmed: Fedmed, world: small.Federation, tmp_path: Path) -> None:
    refused(fedmed.run("aggregate", "-w", "coordinator", cwd=world.root), 75, "FM-WAI-03")
    refused(fedmed.run("evaluate", "-w", "coordinator", cwd=world.root), 75, "FM-WAI-02")
    (world.site("aa") / "inbox" / "model-r0000.fedmed").unlink()
    refused(fedmed.run("train-local", "-w", "aa", cwd=world.root), 75, "FM-WAI-02")
    refused(fedmed.run("evaluate", "-w", "aa", cwd=world.root), 75, "FM-WAI-02")


def test_75_a_federation_that_has_not_arrived(fedmed: Fedmed, tmp_path: Path) -> None:
    world = small.joined(tmp_path)
    refused(fedmed.run("approve", "-w", "aa", "--by", "T", "--fingerprint", "0", cwd=tmp_path), 75, "FM-WAI-02")
    assert world.site("aa").is_dir()


def test_75_half_a_file(fedmed: Fedmed, world: small.Federation) -> None:
    path = world.site("aa") / "inbox" / "model-r0000.fedmed"
    path.write_bytes(path.read_bytes()[:3000])
    refused(fedmed.run("verify", path, cwd=world.root), 75, "FM-WAI-04")
    refused(fedmed.run("train-local", "-w", "aa", cwd=world.root), 75, "FM-WAI-04")


def test_75_somebody_else_works_here(fedmed: Fedmed, world: small.Federation) -> None:
    with workspace.locked(world.coordinator):
        refused(fedmed.run("aggregate", "-w", "coordinator", cwd=world.root), 75, "FM-WAI-01")
        fedmed.ok("status", "-w", "coordinator", cwd=world.root)


def test_the_codes_in_the_table_are_the_published_ones() -> None:
    assert {row.exit for row in CODES.values()} == {1, 2, 3, 4, 5, 6, 7, 8, 75}


def test_7_a_private_recipe_and_no_budget(training_fedmed: Fedmed, tmp_path: Path) -> None:
    """Before anything is trained: not even the cases are divided without a place to count in."""
    world = small.founded(
        tmp_path / "world", initial=small.unet_initial, recipe=PRIVATE, patients=tables.PATIENTS,
        hospital=tables.write_hospital, channels=(),
    )  # fmt: skip
    for words in ("partition", "privacy status"):
        refused(training_fedmed.run(*words.split(), "-w", "aa", cwd=world.root), 7, "FM-PRV-01")


def test_8_no_such_device(training_fedmed: Fedmed, torch_world: small.Federation) -> None:
    training_fedmed.ok("partition", "-w", "aa", cwd=torch_world.root)
    ran = training_fedmed.run("train-local", "-w", "aa", "--device", "cuda:63", cwd=torch_world.root)
    refused(ran, 8, "FM-RES-03")


def test_6_the_images_vanish_before_training(
    training_fedmed: Fedmed, torch_world: small.Federation, worlds: dict[str, small.Federation], tmp_path: Path
) -> None:
    data = shutil.copytree(worlds["torch"].root / "data-aa", tmp_path / "nordmann")
    settings = torch_world.site("aa") / "fedmed.yaml"
    settings.write_text(
        "\n".join(f"  root: {data}" if "root:" in line else line for line in settings.read_text().splitlines())
    )
    training_fedmed.ok("partition", "-w", "aa", cwd=torch_world.root)
    shutil.rmtree(data)
    ran = training_fedmed.run("train-local", "-w", "aa", cwd=torch_world.root)
    assert ran.code == 6
    assert "nordmann" not in ran.err
    assert not list((torch_world.site("aa") / "outbox").glob("update*"))
