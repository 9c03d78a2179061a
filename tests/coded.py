"""What a call ends with, as a code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable


def code_of(call: Callable[[], object]) -> str:
    """The code of the error that `call` raises, or "ok". Any other exception is a failure of the test."""
    try:
        call()
    except FedmedError as error:
        return error.code
    return "ok"
