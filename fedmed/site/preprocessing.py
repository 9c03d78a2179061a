"""The fitted numbers that this site's images go through, where the recipe asks for any: the federation's, or its own
in state/preprocessing.json.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fedmed import files, pooling, preprocessing
from fedmed.errors import FedmedError
from fedmed.fingerprint import Share
from fedmed.recipe import Imaging, Rowwise
from fedmed.site import desk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedmed.cases.datalist import Datalist
    from fedmed.fingerprint import Fingerprint
    from fedmed.preprocessing import Preprocessing
    from fedmed.site.desk import Approved, Site


def current(site: Site) -> Preprocessing | None:
    """The federation's numbers, else what was fitted here, else None.

    Raises FedmedError FM-NRM-01 when it is damaged.
    """
    consent = desk.approved(site)
    if consent is not None and consent.preprocessing is not None:
        return consent.preprocessing
    path = file_of(site)
    try:
        data = files.read_bounded(path, preprocessing.MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FedmedError("FM-NRM-01", f"state/{path.name}: cannot be read", local=str(error)) from error
    return preprocessing.from_bytes(data, f"state/{path.name}")


def require(site: Site, consent: Approved, cases: Datalist, progress: Callable[[str, int, int], None]) -> None:
    """For `normalisation: site`, and for rows of a table with gaps, fit on the training cases, once: later cases do not
    move what a model has learned.

    Raises FedmedError FM-NRM-03, FM-TAB-10, and what reading a case raises.
    """
    from fedmed.cases import datalist, encoding  # noqa: PLC0415 - image libraries, only when there is work

    if current(site) is not None:
        return
    chosen, found = consent.recipe, None
    if isinstance(chosen, Rowwise):
        found = encoding.fitted(datalist.cases(cases, "training"), chosen.data)
    elif isinstance(chosen, Imaging) and chosen.data.normalisation == "site":
        found = pooling.fitted(measure(site, consent, cases, progress), chosen)
    if found is not None:
        keep(site, found)


def measure(site: Site, consent: Approved, cases: Datalist, progress: Callable[[str, int, int], None]) -> Fingerprint:
    """Of the training cases, exact; of a class that this site never labels nothing is told. Raises FedmedError
    FM-DAT-46 when they are not those of `partition`, and what reading a case raises.
    """
    from fedmed.cases import content, datalist  # noqa: PLC0415 - image libraries, only when there is work
    from fedmed.cases import fingerprint as measuring  # noqa: PLC0415

    used = datalist.cases(cases, "training")
    told = partial(progress, "checking the data")
    content.check(used, site.data_root, told, site.data.layout.table)
    labelling = desk.labelling(site, consent.recipe)
    found = measuring.measure(
        used, consent.recipe, site.data_root, labelling.label_map,
        partial(progress, "measuring the training cases"),
    )  # fmt: skip
    unknown = dict.fromkeys(set(labelling.absent) & set(found.classes), Share(None, None))
    return replace(found, classes={**found.classes, **unknown})


def keep(site: Site, fitted: Preprocessing) -> None:
    """Write it in one step, mode 0600. Raises FedmedError FM-RES-01 or FM-RES-02."""
    files.write_atomic(file_of(site), fitted.to_bytes(), mode=0o600)


def file_of(site: Site) -> Path:
    return site.workspace.root / "state" / "preprocessing.json"
