"""An update that stands out is held and reported; a person decides, and the model is that of whoever counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmed.cli import screen
from fedmed.cli.app import app
from fedmed.coordinator import screening, status
from fedmed.errors import FedmedError
from fedmed.exchange.ledger import Ledger
from fedmed.site import status as bedside
from tests.coded import code_of

from . import simulator
from .simulator import INITIAL, predicate_of, statement_id

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from .simulator import Simulation

TEN_TIMES = "FM-SCR-01: its norm is 10 times the median, the limit is 5"
AGAINST = "FM-SCR-02: its cosine to the others is -1.000, the limit is -0.5"


def send(simulation: Simulation, **values: float) -> dict[str, bytes]:
    return {name: simulation.send_update(name, value) for name, value in values.items()}


def waits(simulation: Simulation, **options: Any) -> FedmedError:
    with pytest.raises(FedmedError) as caught:
        simulation.coordinator.aggregate(simulation.now, **options)
    assert (caught.value.code, caught.value.exit_code) == ("FM-WAI-03", 75)
    return caught.value


def model_is(simulation: Simulation, added: float) -> None:
    _, weights = simulation.coordinator.newest_model()
    for name, array in INITIAL.items():
        np.testing.assert_allclose(weights[name], array + added, rtol=3e-7)


def notes(simulation: Simulation, what: str) -> list[dict[str, Any]]:
    return [facts for _, facts in simulation.coordinator.workspace().record.notes if facts["what"] == what]


def receipts(simulation: Simulation, round_: int) -> dict[str, tuple[str, str]]:
    acks = predicate_of(simulation.coordinator.posted(f"model-r{round_:04d}"))["ack"]
    return {ack["site"]: (ack["status"], ack["reason"]) for ack in acks}


def look(simulation: Simulation) -> status.Status:
    """`status`, which changes no byte."""
    root = simulation.coordinator.root
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    found = status.status(root, simulation.now)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    return found


def told(simulation: Simulation, name: str) -> str:
    """What `status` says at a site once the newest model is in."""
    simulation.carry_down()
    simulation.sites[name].look(simulation.now)
    return bedside.status(simulation.sites[name].root, simulation.now).ack


def test_an_update_of_ten_times_the_usual_norm_is_held_and_the_model_is_that_of_the_others(
    simulation: Simulation,
) -> None:
    sent = send(simulation, aa=1.0, bb=1.0, cc=10.0)
    error = waits(simulation)
    assert f"2 of 3 sites are in; not in: cc (held, {TEN_TIMES})" in error.message
    assert error.next.startswith("call cc; what is right counts with: fedmed aggregate --include cc --reason WHY")
    assert error.next.endswith("to close without: fedmed aggregate --close -w HERE")
    assert simulation.coordinator.workspace().archived(statement_id(sent["cc"])).exists()
    made = simulation.coordinator.aggregate(simulation.now, close=True)
    assert [(p.site, p.share) for p in made.parents] == [("aa", "0.5"), ("bb", "0.5")]
    model_is(simulation, 1.0)
    assert receipts(simulation, 1) == {"aa": ("used", ""), "bb": ("used", ""), "cc": ("held", TEN_TIMES)}
    assert told(simulation, "cc") == f"held, not used: {TEN_TIMES}"
    assert told(simulation, "aa") == "used, share 0.500"


def test_a_person_includes_it_and_the_ledger_knows_why(simulation: Simulation) -> None:
    sent = send(simulation, aa=1.0, bb=1.0, cc=10.0)
    waits(simulation)
    made = simulation.coordinator.aggregate(simulation.now, include=["cc"])
    assert [p.site for p in made.parents] == ["aa", "bb", "cc"]
    model_is(simulation, 4.0)
    included = {"what": "include", "round": 0, "site": "cc", "update": statement_id(sent["cc"]), "reason": "called"}
    assert notes(simulation, "include") == [included]
    assert receipts(simulation, 1)["cc"] == ("used", f"{TEN_TIMES}; included by a person")
    assert told(simulation, "cc") == f"used, share 0.333: {TEN_TIMES}; included by a person"


def test_including_works_in_the_first_run_and_in_one_that_was_killed(simulation: Simulation) -> None:
    send(simulation, aa=1.0, bb=10.0)
    waits(simulation, close=True)
    error = waits(simulation, include=["bb"])
    assert "2 of 3 sites are in; not in: cc (no update" in error.message
    waits(simulation, include=["bb"])
    assert len(notes(simulation, "include")) == 1, "said once"
    assert len(simulation.coordinator.aggregate(simulation.now, close=True).parents) == 2


def test_what_was_included_says_nothing_about_the_next_one(simulation: Simulation) -> None:
    send(simulation, aa=1.0, bb=1.0, cc=10.0)
    waits(simulation)
    simulation.coordinator.aggregate(simulation.now, include=["cc"])
    simulation.carry_down()
    send(simulation, aa=1.0, bb=1.0, cc=10.0)
    assert f"cc (held, {TEN_TIMES})" in waits(simulation).message


def test_an_included_update_gives_way_to_a_corrected_one_that_is_compared_anew(simulation: Simulation) -> None:
    send(simulation, aa=1.0, cc=10.0)
    waits(simulation, close=True)
    waits(simulation, include=["cc"])
    send(simulation, bb=1.0, cc=20.0)
    assert "cc (held, FM-SCR-01: its norm is 20 times" in waits(simulation).message
    send(simulation, cc=2.0)
    assert len(simulation.coordinator.aggregate(simulation.now).parents) == 3
    model_is(simulation, 4 / 3)


@pytest.mark.parametrize("name", ["aa", "dd", "nobody"])
def test_only_what_is_held_can_be_included(simulation: Simulation, name: str) -> None:
    send(simulation, aa=1.0, bb=1.0, cc=10.0)
    for _ in range(2):
        assert code_of(lambda: simulation.coordinator.aggregate(simulation.now, include=["cc", name])) == "FM-SCR-03"
    assert notes(simulation, "include") == [], "all or none"
    assert simulation.coordinator.newest_model()[0].round == 0


def test_nothing_can_be_included_before_it_is_here_or_when_all_is_over(simulation: Simulation) -> None:
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now, include=["cc"])) == "FM-SCR-03"
    for _ in range(2):
        simulation.carry_down()
        send(simulation, aa=1.0, bb=1.0, cc=1.0)
        simulation.coordinator.aggregate(simulation.now)
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now, include=["cc"])) == "FM-SCR-03"


def test_with_too_few_left_closing_does_not_help(simulation: Simulation) -> None:
    """aa points against bb and cc, which agree; cc is far too long."""
    send(simulation, aa=-1.0, bb=1.0, cc=10.0)
    error = waits(simulation, close=True)
    assert "1 of at least 2 sites are in" in error.message
    assert f"aa (held, {AGAINST}), cc (held, {TEN_TIMES})" in error.message
    assert "--include aa --include cc" in error.next
    assert "--close" not in error.next
    assert error.next.endswith("fedmed train-local --again")


def test_the_deadline_closes_a_round_without_the_held(simulation: Simulation) -> None:
    send(simulation, aa=1.0, bb=1.0, cc=-1.0)
    assert f"cc (held, {AGAINST})" in waits(simulation).message
    simulation.pass_time(days=14)
    assert len(simulation.coordinator.aggregate(simulation.now).parents) == 2
    model_is(simulation, 1.0)
    assert receipts(simulation, 1)["cc"] == ("held", AGAINST)


def test_a_round_that_waits_anyway_compares_nothing(simulation: Simulation) -> None:
    send(simulation, aa=1.0, cc=10.0)
    assert "cc" not in waits(simulation).message
    assert notes(simulation, "screened") == []


def test_the_same_updates_are_compared_once_and_the_ledger_does_not_grow(simulation: Simulation) -> None:
    sent = send(simulation, aa=1.0, bb=1.0, cc=10.0)
    waits(simulation)
    (note,) = notes(simulation, "screened")
    ids = {name: statement_id(data) for name, data in sent.items()}
    figures = [("aa", "1", "1"), ("bb", "1", "1"), ("cc", "10", "1")]
    assert [(row["site"], row["ratio"], row["cosine"]) for row in note["updates"]] == figures
    assert [row["update"] for row in note["updates"]] == [ids["aa"], ids["bb"], ids["cc"]]
    assert note["updates"][2]["norm"] == f"{10 * np.sqrt(8):.9g}", (
        "ten in each of eight weights; a running statistic is none"
    )
    length = simulation.coordinator.workspace().ledger.length
    waits(simulation)
    assert simulation.coordinator.workspace().ledger.length == length


def test_holding_one_does_not_move_the_median_for_the_rest(tmp_path: Path) -> None:
    """Norms 1, 4, 6, 25, 31: the median is 6. Without 31 the lower median would be 4, and 25 beyond the limit."""
    names = ("aa", "bb", "cc", "dd", "ee")
    simulation = simulator.Simulation(tmp_path / "f", names).found(rounds=1, min_sites=2)
    send(simulation, aa=1.0, bb=4.0, cc=6.0, dd=25.0, ee=31.0)
    assert "ee (held, FM-SCR-01: its norm is 5.167 times" in waits(simulation).message
    simulation.coordinator.aggregate(simulation.now, close=True)
    assert [status_ for status_, _ in receipts(simulation, 1).values()] == ["used"] * 4 + ["held"]


def test_limits_of_the_federation_decide(tmp_path: Path) -> None:
    simulation = simulator.Simulation(tmp_path / "f", ("aa", "bb", "cc"))
    simulation.found(rounds=1, max_norm_ratio=20, min_cosine=-1)
    limits = predicate_of(simulation.coordinator.posted("federation-v0001"))["body"]["limits"]
    assert (limits["max_norm_ratio"], limits["min_cosine"]) == ("20", "-1")
    send(simulation, aa=1.0, bb=-1.0, cc=10.0)
    assert len(simulation.coordinator.aggregate(simulation.now).parents) == 3


@pytest.mark.parametrize("limit", [{"max_norm_ratio": 0.9}, {"min_cosine": -1.1}, {"min_cosine": 1.5}])
def test_limits_without_sense_are_refused(tmp_path: Path, limit: dict[str, float]) -> None:
    simulation = simulator.Simulation(tmp_path / "f", ("aa", "bb"))
    assert code_of(lambda: simulation.found(**limit)) == "FM-SET-03"


def test_status_shows_what_is_held_and_what_to_do(simulation: Simulation) -> None:
    send(simulation, aa=1.0, bb=1.0, cc=10.0)
    assert look(simulation).next == "fedmed aggregate", "not compared yet"
    error = waits(simulation)
    found = look(simulation)
    assert [(each.site, each.status, each.reason) for each in found.sites][2] == ("cc", "held", TEN_TIMES)
    assert found.next == error.next
    simulation.send_update("cc", 1.0)
    assert look(simulation).next == "fedmed aggregate", "a corrected one lies in the inbox"
    simulation.coordinator.look(simulation.now)
    found = look(simulation)
    assert (found.sites[2].status, found.next) == ("used", "fedmed aggregate")
    assert len(simulation.coordinator.aggregate(simulation.now).parents) == 3


def test_status_after_the_deadline(simulation: Simulation) -> None:
    send(simulation, aa=1.0, bb=1.0, cc=10.0)
    waits(simulation)
    simulation.pass_time(days=14)
    assert look(simulation).next == "fedmed aggregate"


def test_figures_are_read_back_as_they_were_decided(simulation: Simulation) -> None:
    """What a killed run had found is what the next one decides from: no file is compared again."""
    send(simulation, aa=1.0, bb=1.0, cc=10.0)
    waits(simulation)
    running = screening.standings(
        simulation.coordinator.workspace(), status.desk.require_started(simulation.coordinator.workspace())
    )
    assert [each.status for each in running] == ["used", "used", "held"]
    assert Ledger(simulation.coordinator.root / "state" / "ledger.jsonl").entries[-1].facts["what"] == "screened"


def command(simulation: Simulation, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "-w", str(simulation.coordinator.root), "--json"])


def test_the_commands_that_the_hint_names(
    simulation: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "now", lambda: simulation.now)
    send(simulation, aa=1.0, bb=1.0, cc=10.0)
    hint = waits(simulation).next.replace(screen.HERE, "")
    for words in (hint.split("fedmed ")[1].split(";")[0].replace("WHY", "called"), hint.split("fedmed ")[2]):
        other = simulation.copied_to(tmp_path / words.split()[1])
        done = command(other, *words.split())
        assert done.exit_code == 0, done.output
        made = json.loads(done.stdout[done.stdout.index("{") :].splitlines()[0])
        assert made["acks"][2]["status"] == ("used" if "--include" in words else "held")


@pytest.mark.parametrize("words", [["--include", "cc"], ["--reason", "called"]])
def test_a_reason_belongs_to_who_is_included(simulation: Simulation, words: list[str]) -> None:
    with pytest.raises(FedmedError, match="belong together"):
        CliRunner().invoke(app, ["aggregate", *words, "-w", str(simulation.coordinator.root)], catch_exceptions=False)
