"""`fedmed cache`: what a person sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests import small
    from tests.command import Fedmed


def test_size_and_wipe_on_the_command_line(fedmed: Fedmed, world: small.Federation) -> None:
    folder = world.site("aa") / "cache"
    (folder / f"{'a' * 64}.safetensors").write_bytes(bytes(3 << 20))
    assert fedmed.ok("cache", "-w", "aa", cwd=world.root).out == "1 prepared cases, 0.00 of 20 GiB (cache_gib)\n"
    shown = fedmed.ok("cache", "-w", "aa", "--json", cwd=world.root)
    assert shown.json == {"cases": 1, "bytes": 3 << 20, "limit": 20 << 30}
    refused = fedmed.run("cache", "-w", "aa", "wipe", cwd=world.root)
    assert (refused.code, refused.err.splitlines()[0]) == (2, "FM-USE-01 options stand behind wipe")
    assert list(folder.iterdir())
    assert fedmed.ok("cache", "wipe", "-w", "aa", cwd=world.root).out == "deleted 1 prepared cases, 0.00 GiB\n"
    assert not list(folder.iterdir())
    assert not {"torch", "monai"} & fedmed.ok("cache", "-w", "aa", cwd=world.root).modules


def test_the_coordinator_has_none(fedmed: Fedmed, world: small.Federation) -> None:
    refused = fedmed.run("cache", "-w", "coordinator", cwd=world.root)
    assert (refused.code, refused.err[:9]) == (3, "FM-SET-05")
