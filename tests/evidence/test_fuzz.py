"""Some thousands of the inputs that `make evidence` tries a million of."""

from __future__ import annotations

import random

import pytest

from fedmed.errors import CODES

from . import fuzz


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_every_input_ends_in_a_code(target: str) -> None:
    found = fuzz.tried(target, 0, 400)
    assert found.crashes == []
    assert found.ends.total() == 400
    assert set(found.ends) <= {"ok", *CODES}
    assert len(found.ends) >= 2
    assert found.slowest[0] > 0


def test_inputs_are_the_same_again_and_differ_from_each_other() -> None:
    data = fuzz.files()[0]
    first, second = ([fuzz.changed(random.Random(f"x {n}"), data) for n in range(200)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 190


@pytest.mark.parametrize("change", fuzz.CHANGES)
def test_every_change_changes(change) -> None:
    data = fuzz.files()[0]
    made = []
    for number in range(20):
        changed = bytearray(data)
        change(random.Random(number), changed)
        made.append(bytes(changed))
    assert sum(each != data for each in made) >= 15


def test_what_is_no_code_or_was_never_signed_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b""

    def target(source: random.Random):
        if source.random() < 0.5:
            return lambda: fuzz._only_known(lambda: None, False)
        return lambda: data[10]

    monkeypatch.setitem(fuzz.TARGETS, "bad", target)
    found = fuzz.tried("bad", 0, 20)
    assert found.ends == {"crash": 20}
    assert {each.split(": ")[1] for each in found.crashes} == {"Forged", "IndexError"}
    assert found.crashes[3].startswith("bad 3: ")
