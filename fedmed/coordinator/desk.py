"""The coordinator's workspace, opened: locked, settings read, unfinished sealing completed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fedmed import files, logs, recipe, settings
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, intake, sealing, workspace
from fedmed.exchange.artifact import Expected
from fedmed.learning import layout, masking_terms, shapes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.agreement import Agreement
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.layout import Layout
    from fedmed.learning.masking_terms import Terms
    from fedmed.learning.shapes import Table
    from fedmed.recipe import Recipe

ROLE = "coordinator"


@dataclass(frozen=True)
class Started:
    """A federation that runs: what was agreed, decoded."""

    agreement: Agreement
    recipe: Recipe
    table: Table

    @cached_property
    def layout(self) -> Layout:
        """How updates are written."""
        return layout.agreed(self.table, **self.recipe.wire)

    @property
    def travelling(self) -> Table:
        """The rows of a model and of an update."""
        return self.layout.table

    @property
    def pools(self) -> bool:
        """Whether the sites' fingerprints are pooled before the first round."""
        return self.recipe.data.pools

    @property
    def masks(self) -> bool:
        """Whether updates come masked, so that approvals of all sites are awaited before the first round."""
        return self.recipe.aggregation.masks

    @property
    def waits(self) -> bool:
        """Whether the first model waits for files of the sites, so that `start` keeps its weights."""
        return self.pools or self.masks

    @cached_property
    def terms(self) -> Terms:
        """Of masking. Raises FedmedError FM-SHR-06."""
        body, chosen = self.agreement.federation.body, self.recipe
        bounds = [member.max_num_cases for member in body.roster]
        return masking_terms.terms(
            bounds,
            chosen.aggregation.colluders,
            chosen.aggregation.ring,
            min_sites=body.limits.min_sites,
            equal=chosen.strategy.weight == "equal",
        )


@contextmanager
def opened(root: Path, now: datetime) -> Iterator[Workspace]:
    """Raises FedmedError FM-SET-*, FM-KEY-*, FM-TRU-08, FM-WAI-01."""
    with workspace.locked(root):
        logs.open_logs(root / "logs")
        found = peek(root)
        files.empty(found.spool)  # what a killed command left half-done
        try:
            sealing.complete_intent(found, now)
            agreement.use_next_key(found, now)
            yield found
        finally:
            files.empty(found.spool)


def peek(root: Path) -> Workspace:
    """The workspace without its lock, for commands that only read."""
    local = settings.load_workspace(root)
    if local.role != ROLE:
        raise FedmedError("FM-SET-05", f"expected a coordinator's workspace, got that of the site {local.name}")
    return workspace.load(root, local.role, local.name, local.inbox, local.outbox)


def started(found: Workspace) -> Started | None:
    agreed = agreement.in_force(found)
    if agreed is None:
        return None
    return Started(agreed, recipe.from_bytes(agreed.recipe), shapes.table_from_bytes(agreed.tensors))


def require_started(found: Workspace) -> Started:
    """Raises FedmedError FM-FED-03."""
    now_running = started(found)
    if now_running is None:
        raise FedmedError("FM-FED-03", "the federation has not started")
    return now_running


def terms(running: Started | None) -> intake.Terms:
    """What incoming files must be."""
    if running is None:
        return intake.Terms(None)
    said = running.layout
    update = Expected(said.digest, said.largest, said.inspector, said.coding)
    return intake.Terms(
        running.agreement.federation,
        {"update.safetensors": update},
        pools=running.pools,
        lap_seed=running.recipe.lap_seed,
        stops=running.recipe.stopping is not None,
        masks=running.recipe.aggregation.masks,
    )
