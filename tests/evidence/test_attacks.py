"""Every attack of the review has a test that exists, and a code that its test expects."""

from __future__ import annotations

import pytest

from fedmed.errors import CODES

from . import attacks
from .attack import Attack

INDEX = attacks.TESTS / "vectors" / "data" / "index.txt"


def test_all_named_tests_exist() -> None:
    assert attacks.missing() == []
    assert all(attack.tests for attack in attacks.ATTACKS)


@pytest.mark.parametrize("attack", attacks.ATTACKS, ids=lambda each: f"{each.number} {each.tried[:30]}")
def test_its_codes_are_in_its_tests(attack: Attack) -> None:
    """In the files of the tests, or of the vectors that they judge."""
    texts = [(attacks.TESTS / test.split("::")[0]).read_text("utf-8") for test in attack.tests]
    texts += [INDEX.read_text("ascii")] if any("test_each_vector" in test for test in attack.tests) else []
    for code in attack.codes:
        assert code in CODES
        assert any(code in text for text in texts), code


def test_a_test_that_is_not_there_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Attack("A1", "x", "", ("evidence/test_attacks.py::test_gone", "evidence/none.py::test_x"))
    monkeypatch.setattr(attacks, "ATTACKS", (gone,))
    assert attacks.missing() == list(gone.tests)


def test_every_number_of_the_review_is_in_the_table() -> None:
    assert list(dict.fromkeys(attack.number for attack in attacks.ATTACKS)) == attacks.NUMBERS
