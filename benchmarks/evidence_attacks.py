"""The section of attacks: the tests that run each attack of the security review."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from evidence_section import Figures, Section

from tests.evidence.attack import CODE
from tests.evidence.attacks import ATTACKS, missing

TOP = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]


def slices(quick: bool) -> list[Any]:
    """The attacks under each number, by their places in the table."""
    numbered = [
        [index for index, _ in rows] for _, rows in groupby(enumerate(ATTACKS), key=lambda each: each[1].number)
    ]
    return numbered[:2] if quick else numbered


def work(part: list[int]) -> dict[str, Any]:
    """All tests of these attacks, by name: whether they passed."""
    nodes = list(dict.fromkeys(f"tests/{test}" for index in part for test in ATTACKS[index].tests))
    command = [*PYTEST, "-rA", "--tb=no", *nodes]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    results = re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) (tests/.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    ended = {"passed": [node for how, node in results if how == "PASSED"]}
    ended["other"] = [f"{how.lower()} {node}" for how, node in results if how != "PASSED"]
    if done.returncode and not ended["other"]:
        ended["other"] = [f"not run: {node}" for node in nodes]
    return {"attacks": part, **ended}


def figures(done: list[Any]) -> Figures:
    rows, bad = [], [f"missing {test}" for test in missing()] + [line for each in done for line in each["other"]]
    for part in done:
        for index in part["attacks"]:
            attack = ATTACKS[index]
            passed = [node for node in part["passed"] if any(_is_of(node, test) for test in attack.tests)]
            ends = CODE.sub(r"`\g<0>`", attack.ends)
            rows.append([attack.number, attack.tried, ends, f"{len(passed)} passed", _named(attack.tests)])
    said = (
        f"{len(rows)} attacks, {sum(len(each['passed']) for each in done)} tests passed, {len(bad)} did not"
        f"{': ' if bad else ''}{'; '.join(bad)}."
    )
    return Figures(["review", "attack", "ends", "cases", "tests"], rows, [said], holds=not bad)


def _is_of(node: str, test: str) -> bool:
    """Whether a node that pytest ran is of a test of the table, which may be of several nodes."""
    return node == f"tests/{test}" or node.startswith(f"tests/{test}[")


def _named(tests: tuple[str, ...]) -> str:
    """By file, each named once."""
    found = []
    for file, of_file in groupby(tests, key=lambda test: test.split("::")[0]):
        found.append(f"{file}: " + ", ".join(test.split("::")[1].removeprefix("test_") for test in of_file))
    return "; ".join(found)


SECTIONS = [
    Section(
        "attacks",
        "The attacks of the security review",
        "Every attack by which an earlier version of the design was opened, or was found risky, under the number "
        "of the review; the tests that run it, and how it ends.",
        slices,
        work,
        figures,
    )
]
