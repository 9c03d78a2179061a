"""The cache of a workspace: filled by a round, used by the next command, never in the way, wiped when asked to."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import pytest

from fedmed import logs
from fedmed.cases import nifti
from fedmed.errors import FedmedError
from fedmed.exchange import intake
from fedmed.site import alone, cache, desk, evaluate, partition, train
from tests import small

if TYPE_CHECKING:
    from pathlib import Path

CPU = train.Options(device="cpu")


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def entries(site: Path) -> list[str]:
    return sorted(path.name for path in (site / "cache").iterdir())


def set_gib(site: Path, text: str) -> None:
    path = site / "fedmed.yaml"
    path.write_text(path.read_text().replace("cache_gib: 20", f"cache_gib: {text}"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read with the reader of images."""
    seen: list[str] = []
    real = nifti.read

    def read(path: Path, where: str) -> Any:
        seen.append(where)
        return real(path, where)

    monkeypatch.setattr(nifti, "read", read)
    return seen


def trained(site: Path) -> str | None:
    """The digest of the update's tensors."""
    assert train.train(site, small.now(), CPU, quiet).is_new
    with desk.opened(site, small.now()) as found:
        said = found.workspace.record.newest("update", sender="aa")
        assert said is not None
        return said.payload


def test_a_round_fills_it_and_the_next_command_reads_no_image(world: small.Federation, reads: list[str]) -> None:
    site = world.site("aa")
    trained(site)
    assert len(reads) == 2 * 4, "an image and a mask of three cases for training and one for validation"
    assert len(entries(site)) == 4
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (site / "cache").iterdir())
    reads.clear()
    evaluate.evaluate(site, small.now(), "validation", "cpu", quiet)
    alone.train_alone(site, small.now(), "cpu", quiet)
    assert reads == []


@pytest.mark.parametrize("how", ["0", "0.00001", "0.5"])
def test_what_is_learned_does_not_depend_on_it(
    world: small.Federation, parted: small.Federation, tmp_path: Path, how: str
) -> None:
    first = trained(world.site("aa"))
    other = parted.copy(tmp_path / "other").site("aa")
    set_gib(other, how)
    assert trained(other) == first
    assert len(entries(other)) == (4 if how == "0.5" else 0)


def test_an_image_that_was_replaced_is_read_again(moved: tuple[Path, Path], reads: list[str]) -> None:
    site, data = moved
    trained(site)
    before = set(entries(site))
    other = small.write_hospital(data.with_name("other"), seed=9)
    for kind in ("images", "labels"):
        for path in (other / kind).iterdir():
            path.replace(data / kind / path.name)
    partition.partition(site, small.now())
    reads.clear()
    train.train(site, small.now(), train.Options(device="cpu", again=True), quiet)
    assert len(reads) == 2 * 4
    assert len(set(entries(site)) - before) == 4


def test_size_and_wipe(world: small.Federation) -> None:
    site = world.site("aa")
    assert cache.size(site) == cache.Size(0, 0, 20 << 30)
    trained(site)
    found = cache.size(site)
    assert found.cases == 4
    assert found.bytes == sum(path.stat().st_size for path in (site / "cache").iterdir()) > 4 * 20**3 * 4
    assert cache.wipe(site, small.now()) == found
    assert entries(site) == []
    assert cache.wipe(site, small.now()).cases == 0


def test_wipe_takes_what_fedmed_wrote_there_and_nothing_else(world: small.Federation, tmp_path: Path) -> None:
    """A link to a larger disk, where somebody keeps other files."""
    folder = world.site("aa") / "cache"
    folder.rmdir()
    disk = tmp_path / "disk"
    disk.mkdir()
    folder.symlink_to(disk)
    for name in ("a.safetensors", "b.7.part", "check.jsonl", "thesis.tex"):
        (disk / name).write_bytes(b"1234")
    assert cache.size(world.site("aa")) == cache.Size(1, 12, 20 << 30)
    cache.wipe(world.site("aa"), small.now())
    assert [path.name for path in disk.iterdir()] == ["thesis.tex"]


def test_wipe_waits_for_a_command_that_works_here(world: small.Federation) -> None:
    with desk.opened(world.site("aa"), small.now()), pytest.raises(FedmedError) as caught:
        cache.wipe(world.site("aa"), small.now())
    assert caught.value.code == "FM-WAI-01"


def test_what_cannot_be_deleted_has_a_code(world: small.Federation) -> None:
    (world.site("aa") / "cache" / "a folder.safetensors").mkdir()
    with pytest.raises(FedmedError) as caught:
        cache.wipe(world.site("aa"), small.now())
    assert caught.value.code == "FM-RES-02"
    assert "a folder" not in caught.value.message


def test_a_command_goes_on_without_the_folder(world: small.Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    site = world.site("aa")
    (site / "cache").rmdir()
    (site / "cache").write_text("somebody's file")
    assert cache.size(site).cases == 0
    said: list[str] = []
    monkeypatch.setattr(logs.shareable, "info", lambda line, *_: said.append(line))
    trained(site)
    assert [line[:9] for line in said if line.startswith("FM-CAC")] == ["FM-CAC-03"] * 2  # training, validation


def test_parts_of_a_killed_command_are_gone_with_the_next(world: small.Federation) -> None:
    part = world.site("aa") / "cache" / "x.1.part"
    part.write_bytes(b"half")
    with desk.opened(world.site("aa"), small.now()) as site:
        intake.receive_all(site.workspace, desk.terms(desk.approved(site)), small.now(), "status")
        assert not part.exists()


@pytest.mark.parametrize("value", ["-1", "65", "many", "true", "1.5"])
def test_num_workers_is_auto_or_a_number(world: small.Federation, value: str) -> None:
    path = world.site("aa") / "fedmed.yaml"
    path.write_text(path.read_text().replace("num_workers: auto", f"num_workers: {value}"))
    with pytest.raises(FedmedError, match=r"num_workers: .*expected auto or a number from 0 to 64") as caught:
        desk.peek(world.site("aa"))
    assert caught.value.code == "FM-SET-03"
