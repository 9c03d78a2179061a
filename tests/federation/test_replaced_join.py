"""An impostor's join was admitted: the right one, with its fingerprint, takes the seat, and the federation runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

from fedmed.coordinator import admit, desk, found, start
from fedmed.exchange import keys
from tests.coded import code_of
from tests.federation.simulator import INITIAL, ROWS, START, Coordinator, Hospital, statement_id
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(samples.RECIPE)))
    return path


def test_the_right_join_takes_the_seat(tmp_path: Path, recipe_file: Path) -> None:
    coordinator = Coordinator(tmp_path / "coordinator", "coordinator")
    found.init(coordinator.root, recipe_file, START, min_sites=1)
    impostor, real = (Hospital(tmp_path / name, "aa") for name in ("impostor", "real"))
    first, second = impostor.create(START), real.create(START)
    admit.admit(coordinator.root, [first], START)
    assert code_of(lambda: admit.admit(coordinator.root, [second], START)) == "FM-SET-06"
    wrong = keys.spoken(statement_id(first.read_bytes()))
    assert code_of(lambda: admit.admit(coordinator.root, [second], START, wrong)) == "FM-TRU-12"
    assert code_of(lambda: admit.admit(coordinator.root, [first, second], START, wrong)) == "FM-USE-01"
    spoken = keys.spoken(statement_id(second.read_bytes()))
    admit.admit(coordinator.root, [second], START, spoken)
    assert [seat.join for seat in admit.roster(coordinator.workspace())] == [statement_id(second.read_bytes())]
    start.start(coordinator.root, lambda _: (INITIAL, ROWS), START)
    real.deliver(coordinator.posted("federation-v0001"), START)
    approval = real.approve(START)
    assert coordinator.judge(approval, START)[0].value == "accepted", "its numbers follow its own join"


def test_a_join_from_the_future_waits(tmp_path: Path, recipe_file: Path) -> None:
    coordinator = Coordinator(tmp_path / "coordinator", "coordinator")
    found.init(coordinator.root, recipe_file, START)
    join = Hospital(tmp_path / "aa", "aa").create(START + timedelta(days=3))
    assert code_of(lambda: admit.admit(coordinator.root, [join], START)) == "FM-TIM-02"


def test_each_site_may_have_its_own_bound(tmp_path: Path, recipe_file: Path) -> None:
    coordinator = Coordinator(tmp_path / "coordinator", "coordinator")
    found.init(coordinator.root, recipe_file, START, min_sites=1)
    admit.admit(coordinator.root, [Hospital(tmp_path / "aa", "aa").create(START)], START)
    draft = coordinator.root / "federation.yaml"
    text = draft.read_text()
    draft.write_text(text.replace("max_num_cases: 100000", "max_num_cases: {bb: 5}"))
    assert code_of(lambda: start.start(coordinator.root, lambda _: (INITIAL, ROWS), START)) == "FM-SET-03"
    draft.write_text(text.replace("max_num_cases: 100000", "max_num_cases: {aa: 5}"))
    start.start(coordinator.root, lambda _: (INITIAL, ROWS), START)
    running = desk.require_started(coordinator.workspace())
    assert running.agreement.federation.member("aa").max_num_cases == 5
