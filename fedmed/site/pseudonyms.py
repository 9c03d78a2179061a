"""The patients of a list of cases, as the hospital's budget store calls them: state/persons.json holds who is who."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.cases import datalist
from fedmed.errors import FedmedError
from fedmed.site import budget

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from fedmed.cases.datalist import Datalist
    from fedmed.site.desk import Site

MAX_BYTES = 512 << 20


def store_key(site: Site, now: datetime) -> bytes:
    """The key behind the names of patients in the budget store. Raises FedmedError FM-PRV-01, -02, -03, FM-KEY-01."""
    with budget.opened(site, now, founds=True) as store:
        return budget.key_of(store)


def keep_persons(site: Site, key: bytes, persons: Mapping[str, str]) -> None:
    """The patients of cases.json by alias, as the store of this `key` calls them. Raises FedmedError FM-RES-*."""
    kept = {"store": hashlib.sha256(key).hexdigest(), "persons": dict(sorted(persons.items()))}
    files.write_atomic(_persons_file(site), json.dumps(kept).encode(), mode=0o600)


def persons_of(site: Site, store: budget.Store, cases: Datalist) -> list[str]:
    """The training patients, as the budget store calls them. Raises FedmedError FM-PRV-05."""
    try:
        kept = json.loads(files.read_bounded(_persons_file(site), MAX_BYTES))
        is_of_store, known = kept["store"] == store.key, kept["persons"]
        persons = sorted({str(known[case.patient]) for case in datalist.cases(cases, "training")})
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = "state/persons.json: expected every training patient in it"
        raise FedmedError("FM-PRV-05", message, local=type(error).__name__) from error
    if not is_of_store:
        raise FedmedError("FM-PRV-05", "state/persons.json: its patients have the names of another budget store")
    return persons


def _persons_file(site: Site) -> Path:
    return site.workspace.root / "state" / "persons.json"
