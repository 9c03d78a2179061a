"""A site's workspace, opened: locked, settings read, unfinished sealing completed."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

from fedmed import files, logs, recipe, settings
from fedmed.errors import FedmedError, about
from fedmed.exchange import agreement, approvals, archived, intake, keys, sealing, statement, workspace
from fedmed.exchange.artifact import Expected
from fedmed.learning import layout, shapes
from fedmed.learning.layout import Layout
from fedmed.site import masks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.cases.labels import Labelled, Labelling
    from fedmed.exchange.agreement import Agreement
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.params import Params
    from fedmed.learning.shapes import Table
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Recipe
    from fedmed.settings import DataFolder, WorkspaceSettings

ROLE = "site"
PSEUDONYM_KEY_BYTES = 32


@dataclass(frozen=True)
class Site:
    """An opened workspace with its local settings."""

    workspace: Workspace
    settings: WorkspaceSettings

    @property
    def data(self) -> DataFolder:
        if self.settings.data is None:
            raise FedmedError("FM-SET-03", "fedmed.yaml: data: expected root and layout, got nothing")
        return self.settings.data

    @property
    def data_root(self) -> Path:
        return self.workspace.root / self.data.root  # an absolute root stays as it is

    @property
    def cases_file(self) -> Path:
        return self.workspace.root / "cases.json"


@dataclass(frozen=True)
class Approved:
    """What this hospital consented to, decoded. `preprocessing` are the federation's own fitted numbers, if any."""

    agreement: Agreement
    recipe: Recipe
    table: Table
    preprocessing: Preprocessing | None = None

    @cached_property
    def layout(self) -> Layout:
        """How updates are written."""
        return layout.agreed(self.table, **self.recipe.wire)

    @property
    def awaits_numbers(self) -> bool:
        """Whether the federation waits for fingerprints before its first model."""
        return self.recipe.data.pools and self.preprocessing is None

    @property
    def travelling(self) -> Table:
        """The rows of a model and of an update."""
        return self.layout.table

    @property
    def masks(self) -> bool:
        """Whether updates leave masked."""
        return self.recipe.aggregation.masks


@contextmanager
def opened(root: Path, now: datetime) -> Iterator[Site]:
    """Raises FedmedError FM-SET-*, FM-KEY-*, FM-TRU-08, FM-WAI-01."""
    with workspace.locked(root):
        logs.open_logs(root / "logs")
        site = peek(root)
        sealing.settle(site.workspace)
        files.empty(site.workspace.spool)  # what a killed command left half-done
        with suppress(OSError):  # nothing depends on the cache
            files.empty(root / workspace.CACHE, "*.part")
        try:
            sealing.complete_intent(site.workspace, now)
            agreement.use_next_key(site.workspace, now)
            yield site
        finally:
            files.empty(site.workspace.spool, f"*{archived.PLAINTEXT}")


def peek(root: Path) -> Site:
    """The workspace without its lock, for commands that only read."""
    local = settings.load_workspace(root)
    if local.role != ROLE:
        raise FedmedError("FM-SET-05", "expected a site's workspace, got the coordinator's")
    return Site(workspace.load(root, local.role, local.name, local.inbox, local.outbox), local)


def approved(site: Site) -> Approved | None:
    agreed = agreement.in_force(site.workspace)
    if agreed is None:
        return None
    chosen = recipe.from_bytes(agreed.recipe)
    return Approved(
        agreed, chosen, shapes.table_from_bytes(agreed.tensors), fitted_numbers(chosen, agreed.preprocessing)
    )


def fitted_numbers(chosen: Recipe, data: bytes | None) -> Preprocessing | None:
    """The numbers that a federation brings. Raises FedmedError FM-NRM-01, and -05 where its recipe asks for none or for
    others.
    """
    if data is None:
        return None
    if not chosen.data.pools:
        raise FedmedError("FM-NRM-05", "federation: it brings fitted numbers that its recipe does not ask for")
    from fedmed import pooling, preprocessing  # noqa: PLC0415 - most federations bring none

    next_ = "tell the coordinator: the federation's own numbers are damaged, and it must be founded anew"
    found = preprocessing.from_bytes(data, f"federation: {statement.PREPROCESSING}", next_)
    if not pooling.fits(found, chosen):
        raise FedmedError("FM-NRM-05", "federation: it brings fitted numbers that do not fit its recipe")
    return found


def require_approved(site: Site) -> Approved:
    """Raises FedmedError FM-TRU-07."""
    consent = approved(site)
    if consent is None:
        raise FedmedError("FM-TRU-07", "this site has not approved a federation")
    return consent


def labelling(site: Site, chosen: Recipe) -> Labelling:
    """`label_map` and `absent` of fedmed.yaml, checked against the recipe. Raises FedmedError FM-DAT-07 or -72."""
    from fedmed.cases import labels  # noqa: PLC0415 - `status` needs none

    absent = site.settings.absent
    if absent and not isinstance(chosen, recipe.Imaging):
        message = "expected nothing: it is for the classes that images are labelled with"
        raise FedmedError("FM-DAT-72", f"fedmed.yaml: absent: {message}")
    return labels.labelling(site.settings.label_map, absent, cast("Labelled", chosen.data))


def terms(consent: Approved | None, *, accept_expired: bool = False, trust_clock: bool = False) -> intake.Terms:
    """What incoming files must be."""
    if consent is None:
        return intake.Terms(None, accept_expired=accept_expired, trust_clock=trust_clock)
    seed = consent.recipe.lap_seed
    layouts = {"model.safetensors": Layout(consent.travelling)}
    if seed is not None:  # in a lap also another site's
        layouts["update.safetensors"] = consent.layout
    tensors = {name: Expected(said.digest, said.largest, said.inspector, said.coding) for name, said in layouts.items()}
    return intake.Terms(
        consent.agreement.federation,
        {**tensors, **approvals.expected(consent.agreement.federation)},
        accept_expired,
        trust_clock,
        consent.recipe.data.pools,
        seed,
        stops=consent.recipe.stopping is not None,
        masks=consent.recipe.aggregation.masks,
    )


def receive(
    site: Site,
    consent: Approved,
    now: datetime,
    command: str,
    *,
    accept_expired: bool = False,
    trust_clock: bool = False,
) -> tuple[Approved, list[Arrival]]:
    """Take in what has arrived. A version of the federation is in force at once, also for the model that came with it
    and for the key that this site signs with; so is the order of a lap for the update of another site, and what a
    later model says of an earlier one.

    Raises FedmedError FM-TRU-06, FM-NRM-01, FM-RES-*.
    """
    found, allowed = site.workspace, {"accept_expired": accept_expired, "trust_clock": trust_clock}
    agreed, first = receive_versions(site, consent, now, command, **allowed)
    if agreed.masks:
        masks.certify_again(site, agreed, now)
    known, arrivals = found.record.models(), _look(found, terms(agreed, **allowed), now, command, first)
    while known != (known := found.record.models()) and (
        consent.recipe.lap_seed is not None or any(each.verdict.outcome == "early" for each in arrivals)
    ):
        arrivals = _look(found, terms(agreed, **allowed), now, command, first)
    return agreed, arrivals


def receive_versions(
    site: Site, consent: Approved, now: datetime, command: str, **allowed: bool
) -> tuple[Approved, dict[Path, Arrival]]:
    """Take in the versions of the federation alone, one behind the other, and sign with the key that they name; also
    what was accepted. Before all else, so that a key that was replaced moves nothing: who has it may be a thief.

    Raises FedmedError FM-NRM-01, FM-RES-*.
    """
    accepted: dict[Path, Arrival] = {}
    agreed, version = consent, ""
    while agreed.agreement.federation.digest != version:
        version = agreed.agreement.federation.digest
        _look(site.workspace, terms(agreed, **allowed), now, command, accepted, "federation")
        agreed = require_approved(site)
    agreement.use_next_key(site.workspace, now)
    return agreed, accepted


def _look(
    found: Workspace, demanded: intake.Terms, now: datetime, command: str, first: dict[Path, Arrival], kind: str = ""
) -> list[Arrival]:
    """What has arrived; a file that an earlier look of this command accepted, which is in `first`, stays accepted."""
    later = intake.receive_all(found, demanded, now, command, kind)
    arrivals = [first.get(each.path, each) for each in later]
    first.update({each.path: each for each in later if each.verdict.outcome == "accepted"})
    return arrivals


def newest_model(site: Site, arrivals: Sequence[Arrival]) -> Known:
    """The model with the highest round. Raises why the one that arrived does not count, or FedmedError FM-WAI-02."""
    known = site.workspace.record.newest("model")
    if known is None:
        refused = next((each for each in arrivals if each.verdict.exit_code), None)
        if refused is not None:
            with about(refused.path):
                raise refused.verdict.error()
        raise FedmedError(
            "FM-WAI-02", "no model has arrived", next="put model-r0000.fedmed into inbox/ and run the command again"
        )
    return known


def model_params(site: Site, consent: Approved, known: Known) -> Params:
    """The weights of an accepted model."""
    return model_parts(site, consent, known)[0]


def model_parts(site: Site, consent: Approved, known: Known) -> tuple[Params, Params]:
    """The weights of an accepted model, and the control variates that came with them, if the recipe has any."""
    from fedmed.learning import params  # noqa: PLC0415 - numpy, which `status` needs not

    data = archived.read_payload(site.workspace, known.id, "model.safetensors")
    return params.without_control(params.from_payload(data, consent.travelling))


def pseudonym_key(root: Path) -> bytes:
    """The key behind case and patient aliases. It never leaves this workspace. Raises FedmedError FM-KEY-01, FM-KEY-02.

    Another key would give every patient another alias, and so another fold.
    """
    return key_in(root / "keys" / "pseudonym.key")


def key_in(path: Path) -> bytes:
    """The pseudonym key in a file of its owner's alone. Raises FedmedError FM-KEY-01, FM-KEY-02."""
    keys.require_private(path)
    try:
        key = files.read_bounded(path, PSEUDONYM_KEY_BYTES)
    except OSError as error:
        raise FedmedError("FM-KEY-02", "pseudonym.key: not readable", local=str(error)) from error
    if len(key) != PSEUDONYM_KEY_BYTES:
        raise FedmedError("FM-KEY-02", f"pseudonym.key: expected {PSEUDONYM_KEY_BYTES} bytes, got {len(key)}")
    return key
