"""What a command imports or builds at its first use: import this in a process that forks commands, and none does it
again. A test of what a command imports goes without.
"""

from __future__ import annotations

import _strptime  # noqa: F401
import encodings.ascii  # noqa: F401
from typing import TYPE_CHECKING

import cryptography.hazmat.primitives.serialization.ssh  # noqa: F401
import filelock  # noqa: F401
import pyrage  # noqa: F401
import rich.progress
import rich.table  # noqa: F401

import fedmed.auditor.expiry
import fedmed.cli.drawing  # noqa: F401
from fedmed.cli import app
from fedmed.strict import Strict

if TYPE_CHECKING:
    from collections.abc import Iterator


def _models(base: type[Strict] = Strict) -> Iterator[type[Strict]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


for each in _models():
    each.model_rebuild()
app._commands()
