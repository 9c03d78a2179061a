"""Every attack of the security review, by the number that it has there, with the tests that run it and how it ends."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from . import attacks_files, attacks_masking, attacks_privacy

TESTS = Path(__file__).resolve().parents[1]
NUMBERS = [*(f"A{number}" for number in range(1, 12)), *(f"B{number}" for number in range(1, 16)), "C1"]
ATTACKS = tuple(
    sorted(
        (*attacks_masking.ATTACKS, *attacks_files.ATTACKS, *attacks_privacy.ATTACKS),
        key=lambda attack: NUMBERS.index(attack.number),
    )
)


@cache
def functions(path: str) -> frozenset[str]:
    """The tests of a file, by name; none where there is no such file."""
    file = TESTS / path
    tree = ast.parse(file.read_text("utf-8")) if file.exists() else ast.Module([], [])
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def missing() -> list[str]:
    """Tests that the table names and that do not exist."""
    named = [test for attack in ATTACKS for test in attack.tests]
    return [test for test in named if test.split("::")[1].partition("[")[0] not in functions(test.split("::")[0])]
