"""Two logs: one that may be shown to others (codes, counts, aliases) and one that stays (paths, third-party text)."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

shareable = logging.getLogger("fedmed.shareable")
local = logging.getLogger("fedmed.local")


class _LogFile(logging.FileHandler):
    """Opened at once, so that a missing folder shows here; a full disk costs the line and prints nothing."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        pass


def open_logs(folder: Path) -> None:
    """Send both logs to `folder`; a folder that cannot be written to costs the log, never the command."""
    for logger, name in ((shareable, "shareable.log"), (local, "local.log")):
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            with suppress(OSError):  # a full disk, once more
                handler.close()
        try:
            handler = _LogFile(folder / name, encoding="utf-8")
        except OSError:
            continue
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(handler)


def is_open() -> bool:
    """Is there a log of a workspace that keeps what is said?"""
    return any(isinstance(handler, _LogFile) for handler in local.handlers)


def silence() -> None:
    """Without a workspace nothing is logged anywhere."""
    for logger in (shareable, local):
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
