"""Each site learns from the next model what became of its file: also of one that was refused, and of one too late."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.auditor import books
from fedmed.errors import FedmedError
from fedmed.exchange.verdict import Outcome
from tests.vectors import samples

from .simulator import filled, predicate_of, statement_id
from .test_screening import look, model_is, receipts, told

if TYPE_CHECKING:
    from .simulator import Simulation

NAN = "FM-TEN-02: a tensor holds NaN, infinity or a number beyond 1e30"
TOO_MANY = "FM-TEN-03: the number of cases is above the bound declared for the site"


def spoiled(simulation: Simulation, name: str = "cc") -> bytes:
    """An update with a NaN that its site signed; the site itself goes on to its next number."""
    honest = simulation.update(name, 1.0)
    payload = samples.members(honest)[2][1]
    return samples.resigned(honest, simulation.sites[name].key, payload=payload[:-4] + np.float32(math.nan).tobytes())


def refuse(simulation: Simulation, data: bytes, code: str = "FM-TEN-02") -> None:
    assert simulation.coordinator.judge(data, simulation.now)[:2] == (Outcome.REJECTED, code)


def lines(simulation: Simulation) -> list[tuple[str, int, str]]:
    """Sender, round and code of each rejection in the ledger."""
    entries = simulation.coordinator.workspace().ledger.entries
    facts = [entry.facts for entry in entries if entry.event == "received" and entry.facts["outcome"] == "rejected"]
    return [(each["sender"], each["round"], each["code"]) for each in facts]


def close(simulation: Simulation, **values: float) -> dict[str, tuple[str, str]]:
    """The others answer and the round is closed: the receipts."""
    for name, value in values.items():
        simulation.send_update(name, value)
    round_ = simulation.coordinator.aggregate(simulation.now, close=True).round
    return receipts(simulation, round_)


def test_a_refused_update_has_a_receipt_with_its_code(simulation: Simulation) -> None:
    refuse(simulation, spoiled(simulation))
    assert lines(simulation) == [("cc", 0, "FM-TEN-02")]
    found = look(simulation)
    assert [(each.status, each.reason) for each in found.sites] == [
        *[("missing", "no update of this round has arrived")] * 2,
        ("refused", NAN),
    ]
    assert found.next == "wait for aa, bb, cc"
    simulation.send_update("aa", 1.0)
    with pytest.raises(FedmedError, match=r"cc \(refused, FM-TEN-02: "):
        simulation.coordinator.aggregate(simulation.now)
    assert close(simulation, bb=1.0)["cc"] == ("refused", NAN)
    approval = statement_id(simulation.sites["cc"].posted("approval-v0001-cc"))
    ack = predicate_of(simulation.coordinator.posted("model-r0001"))["ack"][2]
    assert ack["id"] == approval, "the last one that was accepted"
    assert told(simulation, "cc") == f"refused, not used: {NAN}"
    books.verify(simulation.coordinator.root, lambda _done, _total: None)


def test_a_corrected_update_after_a_refusal_counts(simulation: Simulation) -> None:
    """It follows the refused one in the site's chain, by number and `prev`; the coordinator does not have that one."""
    refuse(simulation, simulation.update("cc", 7.0, num_cases=101), "FM-TEN-03")
    simulation.send_update("cc", 1.0)
    assert close(simulation, aa=1.0, bb=1.0) == dict.fromkeys(("aa", "bb", "cc"), ("used", ""))
    model_is(simulation, 1.0)
    simulation.carry_down()
    assert close(simulation, aa=1.0, bb=1.0, cc=1.0)["cc"] == ("used", ""), "it is over with the round"


def test_the_same_number_signed_again_after_a_refusal_is_no_conflict(simulation: Simulation) -> None:
    honest = simulation.update("cc", 1.0)
    refuse(simulation, simulation.change(honest, "cc", lambda predicate: predicate.update(attempt=2)), "FM-RND-01")
    assert simulation.coordinator.judge(honest, simulation.now) == (Outcome.ACCEPTED, "", 0)
    assert simulation.coordinator.workspace().record.conflicts == []


def test_a_damaged_copy_is_refused_and_the_whole_one_counts(simulation: Simulation) -> None:
    whole = simulation.update("cc", 1.0)
    *envelope, (name, payload) = samples.members(whole)
    refuse(simulation, samples.packed([*envelope, (name, payload[:-4] + b"\0\0\0\1")]), "FM-TRU-10")
    assert lines(simulation) == [("cc", 0, "FM-TRU-10")]
    assert simulation.coordinator.judge(whole, simulation.now) == (Outcome.ACCEPTED, "", 0)
    assert close(simulation, aa=1.0, bb=1.0)["cc"] == ("used", "")


def test_a_correction_that_is_refused_does_not_pass_unseen(simulation: Simulation) -> None:
    simulation.send_update("cc", 1.0)
    simulation.coordinator.look(simulation.now)
    refuse(simulation, simulation.update("cc", 7.0, num_cases=101), "FM-TEN-03")
    assert close(simulation, aa=1.0, bb=1.0)["cc"] == ("used", f"a later one was refused, {TOO_MANY}")


def test_many_refused_files_make_one_line_a_site_and_round(simulation: Simulation) -> None:
    for _ in range(4):
        for name in ("bb", "cc"):
            refuse(simulation, spoiled(simulation, name))
    assert lines(simulation) == [("bb", 0, "FM-TEN-02"), ("cc", 0, "FM-TEN-02")]
    length = simulation.coordinator.workspace().ledger.length
    simulation.coordinator.look(simulation.now)
    assert simulation.coordinator.workspace().ledger.length == length
    close(simulation, aa=1.0, bb=1.0)
    simulation.carry_down()
    refuse(simulation, spoiled(simulation))
    assert lines(simulation)[2:] == [("cc", 1, "FM-TEN-02")]


def test_a_copy_that_is_not_whole_is_no_refusal(simulation: Simulation) -> None:
    whole = simulation.update("cc", 1.0)
    assert simulation.coordinator.judge(whole[:-700], simulation.now)[0] is Outcome.INCOMPLETE
    young = samples.packed([*samples.members(whole)[:2], ("update.safetensors", bytes(len(whole)))])
    assert simulation.coordinator.judge(young, simulation.now, age=5)[0] is Outcome.INCOMPLETE
    assert lines(simulation) == []
    assert close(simulation, aa=1.0, bb=1.0)["cc"][0] == "missing"


def test_nobody_gets_a_receipt_for_what_another_signed_or_was_meant_for_another(simulation: Simulation) -> None:
    honest, others = simulation.update("cc", 1.0), simulation.sites["bb"]
    spoiled_ = {"attempt": 2}
    lies = [
        simulation.change(honest, "bb", lambda p: p.update(spoiled_)),
        simulation.change(honest, "bb", lambda p: p.update(spoiled_, sender=others.actor, round=7)),
        simulation.change(honest, "cc", lambda p: p.update(spoiled_, recipients=[others.actor])),
        simulation.change(honest, "cc", lambda p: p.update(spoiled_, federation={**p["federation"], "id": "f" * 32})),
        samples.resigned(honest, samples.key("stranger"), lambda p: p.update(spoiled_)),
        simulation.sites["cc"].report(simulation.now)[:-1],
    ]
    for lie in lies:
        assert simulation.coordinator.judge(lie, simulation.now)[0] is not Outcome.ACCEPTED
    assert lines(simulation) == []
    assert {each.status for each in look(simulation).sites} == {"missing"}


def test_an_update_that_comes_too_late_has_a_receipt(simulation: Simulation) -> None:
    late = simulation.update("cc", 50.0)
    assert close(simulation, aa=1.0, bb=1.0)["cc"][0] == "missing"
    assert simulation.coordinator.judge(late, simulation.now)[0] is Outcome.LATE
    words = "its update of round 0 came after that round had closed"
    assert [(each.status, each.reason) for each in look(simulation).sites][2] == ("late", words)
    simulation.carry_down()
    assert close(simulation, aa=1.0, bb=1.0)["cc"] == ("late", words)
    assert told(simulation, "cc") == f"late, not used: {words}"


def test_a_late_update_is_named_beside_the_one_that_is_used(simulation: Simulation) -> None:
    late = simulation.update("cc", 50.0)
    close(simulation, aa=1.0, bb=1.0)
    simulation.coordinator.deliver(late, simulation.now)
    simulation.carry_down()
    words = "its update of round 0 came after that round had closed"
    assert close(simulation, aa=1.0, bb=1.0, cc=1.0)["cc"] == ("used", words)
    model_is(simulation, 2.0)
    assert told(simulation, "cc") == f"used, share 0.333: {words}"


def test_a_late_update_is_told_once(simulation: Simulation) -> None:
    late = simulation.update("cc", 50.0)
    close(simulation, aa=1.0, bb=1.0)
    simulation.coordinator.judge(late, simulation.now)
    assert simulation.coordinator.workspace().record.late.keys() == {"cc"}
    simulation.carry_down()
    close(simulation, aa=1.0, bb=1.0)
    assert simulation.coordinator.workspace().record.late == {}


def test_the_longest_receipt_can_be_sealed(simulation: Simulation) -> None:
    """Held for both reasons, a refused correction and a late update: longer than a receipt may be."""
    late = simulation.update("cc", 1.0)
    close(simulation, aa=1.0, bb=1.0)
    simulation.carry_down()
    simulation.coordinator.deliver(late, simulation.now)
    simulation.coordinator.deliver(simulation.sites["cc"].update(simulation.now, filled(-12345.678)), simulation.now)
    simulation.coordinator.look(simulation.now)
    refuse(simulation, simulation.update("cc", 7.0, num_cases=101), "FM-TEN-03")
    status, reason = close(simulation, aa=1.0, bb=1.0)["cc"]
    assert (status, len(reason)) == ("held", 200)
    assert reason.startswith("FM-SCR-01: its norm is 1.235e+04 times the median, the limit is 5; FM-SCR-02: ")
