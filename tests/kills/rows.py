"""Every command that writes, in every situation that makes it write something else: the table of the kill tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rows_founding import FOUNDING
from .rows_privacy import PRIVACY
from .rows_rounds import ROUNDS
from .rows_trust import TRUST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .bench import Row

ROWS: tuple[Row, ...] = (*FOUNDING, *ROUNDS, *PRIVACY, *TRUST)
BY_TITLE: Mapping[str, Row] = {row.title: row for row in ROWS}
