"""`train-local --alone`: what this hospital would have reached without the others. Never sealed, never sent.

From model r0, with the same recipe and rounds times the local steps, on its own training fold (ROUNDS.md section 5):
as many rounds as the federation has, or had when it stopped early. Without the noise of `dp`: it never leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.cases import datalist
from fedmed.errors import FedmedError
from fedmed.learning import params, shapes
from fedmed.site import desk, preprocessing, rounds

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from fedmed.learning.params import Params
    from fedmed.site.desk import Approved, Site


@dataclass(frozen=True)
class Alone:
    """`num_steps` in all rounds together."""

    rounds: int
    num_steps: int
    is_new: bool


def train_alone(root: Path, now: datetime, device: str, progress: Callable[[str, int, int], None]) -> Alone:
    """Resumes where it was killed. Raises FedmedError as `train.train` does."""
    with desk.opened(root, now) as site:
        consent = desk.require_approved(site)
        consent, arrivals = desk.receive(site, consent, now, "train-local")
        desk.newest_model(site, arrivals)
        first = site.workspace.record.model(0)
        if first is None:
            raise FedmedError(
                "FM-WAI-02",
                "model r0 has not arrived",
                next="put model-r0000.fedmed into inbox/ and run the command again",
            )
        total = _rounds(site, consent)
        cases = rounds.require_cases(site, consent)
        preprocessing.require(site, consent, cases, progress)
        steps = total * rounds.steps(consent, cases)
        done, reached = _reached(site, consent, total)
        if done == total:
            _keep_only(_path(site, total))  # a command was killed before it had tidied up
            return Alone(total, steps, False)
        rounds.require_ready(site, cases, ("training",), device, progress)
        weights = reached or desk.model_params(site, consent, first)
        for round_ in range(done, total):
            weights = _one_round(site, consent, cases, round_, weights, device, progress)
        return Alone(total, steps, True)


def _reached(site: Site, consent: Approved, total: int) -> tuple[int, Params | None]:
    """How many of the rounds are behind this site, and the weights after them."""
    for round_ in range(total, 0, -1):
        if (found := load(site, consent, round_)) is not None:
            return round_, found
    return 0, None


def load(site: Site, consent: Approved, round_: int) -> Params | None:
    """The weights after `round_` rounds alone, if they were reached with these cases and this label map."""
    try:
        data = files.read_bounded(_path(site, round_), shapes.payload_size(consent.table))
    except OSError:
        return None
    return params.from_payload(data, consent.table)


def newest(site: Site, consent: Approved) -> Params | None:
    """The finished local-only model, or None."""
    return load(site, consent, _rounds(site, consent))


def _rounds(site: Site, consent: Approved) -> int:
    """As many as the federation has; where it stopped early, as many as were played."""
    known = site.workspace.record.newest("model")
    is_over = known is not None and known.last
    return known.round_number if known and is_over else consent.agreement.federation.body.limits.rounds


def _path(site: Site, round_: int) -> Path:
    """The folder's name binds the result to what it was trained on: other cases, another label map or other fitted
    numbers start anew.
    """
    folder = "-".join(each[:16] for each in rounds.binding(site, datalist.load(site.cases_file)).values() if each)
    return site.workspace.root / "state" / "alone" / folder / f"r{round_:04d}.safetensors"


def _one_round(
    site: Site,
    consent: Approved,
    cases: datalist.Datalist,
    round_: int,
    start: Params,
    device: str,
    progress: Callable[[str, int, int], None],
) -> Params:
    """The weights behind it, which are on the disk when this returns, and nothing else."""
    path = _path(site, round_ + 1)
    files.make_private(path.parent)
    checkpoint = path.with_suffix(".checkpoint")
    total = _rounds(site, consent)
    fitted = rounds.train_round(
        site, consent, cases, round_, start, checkpoint=checkpoint, device=device,
        chosen=consent.recipe.model_copy(update={"dp": None}),
        progress=lambda step, steps: progress("training alone", round_ * steps + step, total * steps),
    )  # fmt: skip
    files.write_atomic(path, params.to_payload(fitted.params, consent.table), mode=0o600)
    _keep_only(path)
    return fitted.params


def _keep_only(path: Path) -> None:
    """What else lies there led to it: rounds before, and checkpoints."""
    for each in path.parent.iterdir():
        if each != path:
            each.unlink()
