"""Two logs: one that may be shown to others (codes, counts, aliases) and one that stays (paths, third-party text)."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from io import TextIOWrapper
    from pathlib import Path

shareable = logging.getLogger("fedmed.shareable")
local = logging.getLogger("fedmed.local")
_others = logging.getLogger()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class _LogFile(logging.FileHandler):
    """Opened at once, so that a missing folder shows here, and for its owner alone; a full disk costs the line and
    prints nothing.
    """

    def _open(self) -> TextIOWrapper:
        stream = open(self.baseFilename, self.mode, encoding=self.encoding, opener=_private)  # noqa: SIM115
        return cast("TextIOWrapper", stream)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        pass


def open_logs(folder: Path) -> None:
    """Send both logs to `folder`; a folder that cannot be written to costs the log, never the command.

    What libraries warn of may quote a patient's tags: it goes to the local log, whoever says it.
    """
    for logger, name in ((shareable, "shareable.log"), (local, "local.log"), (_others, "local.log")):
        for handler in [each for each in logger.handlers if isinstance(each, _LogFile)]:
            logger.removeHandler(handler)
            with suppress(OSError):  # a full disk, once more
                handler.close()
        try:
            file = _LogFile(folder / name, encoding="utf-8")
        except OSError:
            continue
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(file)
    for logger in (shareable, local):
        logger.setLevel(logging.INFO)
        logger.propagate = False


def is_open() -> bool:
    """Is there a log of a workspace that keeps what is said?"""
    return any(isinstance(handler, _LogFile) for handler in local.handlers)


def silence() -> None:
    """Without a workspace nothing is logged anywhere, and no library talks to the screen."""
    logging.captureWarnings(True)
    for logger in (shareable, local, _others):
        logger.addHandler(logging.NullHandler())
    for logger in (shareable, local):
        logger.propagate = False
