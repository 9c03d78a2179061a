"""state/preprocessing.json: the fitted numbers that this site's images go through, where the recipe asks for any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed import files, preprocessing
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.preprocessing import Preprocessing
    from fedmed.site.desk import Site


def current(site: Site) -> Preprocessing | None:
    """What was fitted, or None. Raises FedmedError FM-NRM-01 when the file is damaged."""
    path = file_of(site)
    try:
        data = files.read_bounded(path, preprocessing.MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FedmedError("FM-NRM-01", f"state/{path.name}: cannot be read", local=str(error)) from error
    return preprocessing.from_bytes(data, f"state/{path.name}")


def keep(site: Site, fitted: Preprocessing) -> None:
    """Write it in one step, mode 0600. Raises FedmedError FM-RES-01 or FM-RES-02."""
    files.write_atomic(file_of(site), fitted.to_bytes(), mode=0o600)


def file_of(site: Site) -> Path:
    return site.workspace.root / "state" / "preprocessing.json"
