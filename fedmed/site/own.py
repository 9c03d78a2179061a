"""The layers that a site keeps to itself: batch norm under the policy `local` (FedBN, Li et al., ICLR 2021).

They stand in the model that everybody gets as they were in model r0, and an update says zero about them. What the site
has learned of them lies in state/own/, one file for the round that it enters, and never leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.learning import params

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.learning.params import Params
    from fedmed.site.desk import Approved, Site


def staying(consent: Approved) -> frozenset[str]:
    """Names of the tensors that do not travel."""
    from fedmed.training import networks  # noqa: PLC0415 - torch, only when there is work

    return networks.staying(consent.recipe)


def entering(site: Site, consent: Approved, round_: int, model: Params) -> Params:
    """The weights of the model of round `round_` with this site's own layers in place of the common ones.

    After rounds in which this site did not train, those of its last training; before its first, the common ones.
    Raises FedmedError FM-TRN-05 where those of its last training are gone.
    """
    names = staying(consent)
    trained = _trained(site, round_)
    return {**model, **_load(site, consent, max(trained) + 1, names)} if names and trained else model


def for_scores(site: Site, consent: Approved, round_: int, model: Params) -> Params:
    """As `entering`, for figures that are reported: trained weights around layers that never saw an image mean nothing.

    Raises FedmedError FM-TRN-05, FM-TRN-06.
    """
    if round_ and staying(consent) and not _trained(site, round_):
        raise FedmedError(
            "FM-TRN-06", f"model r{round_:04d}: this site has trained in no round, so it has no own layers"
        )
    return entering(site, consent, round_, model)


def _trained(site: Site, round_: int) -> list[int]:
    """The rounds before `round_` in which this site sealed an update."""
    said = site.workspace.record.of("update", sender=site.workspace.name)
    return [known.round_number for known in said if known.round_number < round_]


def keep(site: Site, consent: Approved, round_: int, trained: Params) -> None:
    """Write down the own layers with which this site enters round `round_`. Raises FedmedError FM-RES-*."""
    names = staying(consent)
    if names:
        from fedmed.training import checkpoints  # noqa: PLC0415 - only when there is work

        files.make_private(_folder(site))
        state = checkpoints.Checkpoint(round_, 0.0, {name: trained[name] for name in sorted(names)})
        checkpoints.save(_file(site, round_), state, consent.agreement.federation.digest)


def change(consent: Approved, trained: Params, model: Params) -> Params:
    """What an update says: trained weights minus the model's, and zero about the layers that stay."""
    delta, names = params.subtract(trained, model), staying(consent)
    return {name: np.zeros_like(array) if name in names else array for name, array in delta.items()}


def _load(site: Site, consent: Approved, round_: int, names: frozenset[str]) -> Params:
    from fedmed.training import checkpoints  # noqa: PLC0415 - only when there is work

    found = checkpoints.load(_file(site, round_), consent.agreement.federation.digest)
    if not isinstance(found, checkpoints.Checkpoint) or found.tensors.keys() != names:
        raise FedmedError("FM-TRN-05", f"state/own/r{round_:04d}.safetensors: expected this site's own layers, whole")
    return found.tensors


def _folder(site: Site) -> Path:
    return site.workspace.root / "state" / "own"


def _file(site: Site, round_: int) -> Path:
    return _folder(site) / f"r{round_:04d}.safetensors"
