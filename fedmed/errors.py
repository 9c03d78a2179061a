"""Every way fedmed can refuse, with a stable code, an exit code and the remedy.

One code has one cause. A message says what, where, expected and found; it is lower case, blames nobody and holds no
patient identifier and no path of the host. `local` text (paths, third-party exceptions) goes to the local log only.
"""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fedmed.codes import (
    confidential,
    data,
    doubts,
    machine,
    masking,
    privacy,
    protocol,
    roster,
    setup,
    shares,
    tables,
    trust,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fedmed.codes.code import Code


class FedmedError(Exception):
    """The one exception a command line shows: `FM-AREA-NN what: where, expected, got` and `next: ...`."""

    def __init__(self, code: str, message: str, *, next: str = "", local: str = "") -> None:  # noqa: A002
        super().__init__(message)
        self.code = code
        self.message = message
        self.next = next or CODES[code].remedy
        self.local = local

    def __reduce__(self) -> tuple[object, ...]:
        """Out of a worker process whole: an exception is else made again from its message alone."""
        return _again, (self.code, self.message, self.next, self.local)

    @property
    def exit_code(self) -> int:
        return CODES[self.code].exit

    def __str__(self) -> str:
        return f"{self.code} {self.message}"


def _again(code: str, message: str, next_: str, local: str) -> FedmedError:
    return FedmedError(code, message, next=next_, local=local)


@contextmanager
def about(path: Path) -> Iterator[None]:
    """What is refused inside names this file in its remedy: a hint can be run as it is printed, and who gave several
    files sees which one is none. The message, which is logged, does not name it.
    """
    try:
        yield
    except FedmedError as error:
        name = shlex.quote(str(path))
        error.next = error.next.replace("FILE", name)
        if error.code in ("FM-FRM-01", "FM-WAI-04"):
            error.next = f"{name}: {error.next}"
        raise


CODES: dict[str, Code] = {
    row: code
    for area in (setup, trust, privacy, confidential, roster, shares, masking, protocol, data, tables, doubts, machine)
    for row, code in area.CODES.items()
}
