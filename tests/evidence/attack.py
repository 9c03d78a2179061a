"""One attack of the security review, and how its tests are named."""

from __future__ import annotations

import re
from dataclasses import dataclass

CODE = re.compile(r"FM-[A-Z]{3}-\d{2}")


@dataclass(frozen=True)
class Attack:
    """`number` is that of the review. `ends`: the code that refuses it, or in words what is left of it."""

    number: str
    tried: str
    ends: str
    tests: tuple[str, ...]

    @property
    def codes(self) -> list[str]:
        return CODE.findall(self.ends)


def of(path: str, *names: str) -> tuple[str, ...]:
    """Tests of one file, which is named from tests/ on."""
    return tuple(f"{path}::{name}" for name in names)


def vectors(*names: str) -> tuple[str, ...]:
    return of("vectors/test_vectors.py", *(f"test_each_vector_ends_as_it_says[{name}.fedmed]" for name in names))


def to_a_site(*names: str) -> tuple[str, ...]:
    """Lies by their name in the table of test_lies_to_a_site.py."""
    test = "test_a_lie_has_its_own_end_and_the_honest_model_is_still_taken"
    return of("federation/test_lies_to_a_site.py", *(f"{test}[{name}]" for name in names))


def to_the_coordinator(*names: str) -> tuple[str, ...]:
    test = "test_a_lie_has_its_own_end_and_the_round_goes_on"
    return of("federation/test_lies_to_the_coordinator.py", *(f"{test}[{name}]" for name in names))
