"""What ends soon is told with every command, from 60 days before."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from fedmed.auditor import expiry
from fedmed.cli import screen
from fedmed.exchange.ledger import Ledger
from tests.federation.simulator import START

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.federation.simulator import Simulation

LAST = "its round has to close before"


def told(simulation: Simulation, days: float) -> list[str]:
    return expiry.warnings(simulation.sites["aa"].root, START + timedelta(days=days))


def test_a_model_is_told_from_60_days_before_its_end(simulation: Simulation) -> None:
    simulation.sites["aa"].look(simulation.now)
    assert told(simulation, 119.9) == []
    assert told(simulation, 120) == [f"model r0000 expires 2031-08-28T08:00:00Z (in 60 days): {LAST}"]
    assert told(simulation, 179.5) == [f"model r0000 expires 2031-08-28T08:00:00Z (in 1 day): {LAST}"]
    assert told(simulation, 181) == [f"model r0000 expires 2031-08-28T08:00:00Z (over): {LAST}"]


def test_a_federation_too_and_a_last_model_no_more(simulation: Simulation) -> None:
    for _ in range(2):
        simulation.carry_down()
        for name in simulation.names:
            simulation.send_update(name, 1.0)
        simulation.coordinator.aggregate(simulation.now)
    simulation.carry_down()
    simulation.sites["aa"].look(simulation.now)
    assert told(simulation, 669) == []
    (warning,) = told(simulation, 700)
    assert warning.startswith("the federation expires 2033-02-28T08:00:00Z (in 30 days): the coordinator founds")


def test_a_key_from_60_days_before_it_is_a_year_old(simulation: Simulation) -> None:
    root = simulation.coordinator.root
    assert expiry.warnings(root, START + timedelta(days=304)) == [
        "model r0000 expires 2031-08-28T08:00:00Z (over): its round has to close before"
    ]
    _, key = expiry.warnings(root, START + timedelta(days=305))
    words = "replace it before 2032-02-29T08:00:00Z (in 60 days): fedmed keys rotate -w HERE"
    assert key == f"this workspace's key has been in use since 2031-03-01T08:00:00Z; {words}"
    now = START + timedelta(days=100)
    Ledger(root / "state" / "ledger.jsonl").append("keys rotate", "note", now, what="key", key="another")
    assert expiry.warnings(root, START + timedelta(days=305)) == [
        "model r0000 expires 2031-08-28T08:00:00Z (over): its round has to close before"
    ]


def test_where_there_is_no_federation_nothing_is_told(tmp_path: Path) -> None:
    assert expiry.warnings(tmp_path, START) == []
    (tmp_path / "state").mkdir()
    for broken in ("no ledger\n", "{}\n"):
        (tmp_path / "state" / "ledger.jsonl").write_text(broken)
        assert expiry.warnings(tmp_path, START) == []


def test_a_ledger_that_only_a_bug_can_write_is_left_to_the_command(simulation: Simulation) -> None:
    root = simulation.sites["aa"].root
    Ledger(root / "state" / "ledger.jsonl").append("x", "received", START, outcome="odd")
    assert expiry.warnings(root, START) == []


def test_every_command_of_the_workspace_says_it(
    simulation: Simulation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(simulation.coordinator.root)
    monkeypatch.setattr(screen, "now", lambda: START + timedelta(days=170))
    expected = f"model r0000 expires 2031-08-28T08:00:00Z (in 10 days): {LAST}"
    for words in (["status", "-w", root], ["keys", "fingerprint", "--workspace", root], ["run", "-w", root]):
        screen.warn_of_expiry(words)
        screen.Screen(as_json=True).result({"round": 0})
        out = capsys.readouterr()
        assert (out.err, json.loads(out.out)) == (f"warning: {expected}\n", {"round": 0, "warnings": [expected]})
    for words in (["status", "-w"], ["inspect", root], ["--version"], []):
        screen.warn_of_expiry(words)
        screen.Screen(as_json=True).result({"round": 0})
        assert json.loads(capsys.readouterr().out) == {"round": 0}
