"""A federation that fits into a test: hospitals of a few tiny volumes, a recipe of milliseconds, and a carrier.

The workspaces are real ones, made by the actors' own functions. With `numpy_initial` the model is two small arrays, so
that nothing here imports torch; `unet_initial` is the recipe's own network.
"""

from __future__ import annotations

import functools
import gzip
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import yaml

from fedmed.coordinator import admit, aggregate, found, start
from fedmed.exchange import artifact, bodies, intake, sealing
from fedmed.exchange.bodies_reports import Report, ReportFacts, Score
from fedmed.learning import payloads
from fedmed.site import approve, desk, evaluate, join, laps, masked, masks, memory, pin, train
from tests import copies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fedmed.coordinator.start import Initial
    from fedmed.exchange.bodies_privacy import PrivacyBlock
    from fedmed.exchange.record import Known
    from fedmed.learning.params import Params
    from fedmed.recipe import Recipe

SITES = ("aa", "bb")
RESERVATION = "5eed" * 8  # of a budget store that is not there
PATIENTS = ("p01", "p02", "p03", "p04", "p05")  # 3 for training, 1 for validation, 1 for the test
RECIPE: dict[str, Any] = {
    "schema": 1,
    "name": "phantom",
    "task": "segmentation",
    "seed": 7,
    "data": {"modality": "MR", "channels": ["MR"], "labels": {1: "ball"}, "spacing": [2, 2, 2]},
    "network": {"name": "UNet", "channels": [4, 8], "strides": [2]},
    "training": {
        "patch_size": [16, 16, 16],
        "batch_size": 2,
        "local_steps": 2,
        "optimizer": {"name": "AdamW", "client_lr": 0.01},
    },
}


def now() -> datetime:
    return datetime.now(UTC)


def write_recipe(path: Path, **changed: Any) -> Path:
    path.write_text(yaml.safe_dump({**RECIPE, **changed}), encoding="utf-8")
    return path


def write_hospital(folder: Path, patients: Sequence[str] = PATIENTS, seed: int = 0) -> Path:
    """images/PATIENT.nii.gz and labels/PATIENT.nii.gz: a bright ball in noise, 2 mm voxels."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for name, data in _volumes(tuple(patients), seed).items():
        (folder / name).write_bytes(data)
    return folder


@functools.cache
def _volumes(patients: tuple[str, ...], seed: int) -> dict[str, bytes]:
    """The same files are written often."""
    import nibabel  # noqa: PLC0415 - most tests here need no image

    random = np.random.RandomState(seed)
    files = {}
    for patient in patients:
        grid = np.stack(np.meshgrid(*(np.arange(20),) * 3, indexing="ij"), -1)
        ball = (np.linalg.norm(grid - random.randint(7, 13, 3), axis=-1) < 5).astype(np.uint8)
        for kind, array in (
            ("images", (100 + 10 * random.randn(*ball.shape) + 80 * ball).astype(np.float32)),
            ("labels", ball),
        ):
            nifti = nibabel.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0]))
            nifti.header.set_xyzt_units("mm")
            files[f"{kind}/{patient}.nii.gz"] = gzip.compress(nifti.to_bytes(), compresslevel=1, mtime=0)
    return files


@dataclass(frozen=True)
class Federation:
    """The workspaces of a federation in one folder: ROOT/coordinator and ROOT/SITE; images in ROOT/data-SITE."""

    root: Path
    sites: tuple[str, ...]

    @property
    def coordinator(self) -> Path:
        return self.root / "coordinator"

    def site(self, name: str) -> Path:
        return self.root / name

    def copy(self, root: Path) -> Federation:
        """Another copy of all workspaces; the images stay where they are."""
        copies.tree(self.root, root, lambda name: name.startswith("data-"))
        return Federation(root, self.sites)

    def carry(self) -> None:
        """The USB stick: every outbox into the inboxes of the other side, newer copies over older ones."""
        for name in self.sites:
            for source, target in ((self.site(name), self.coordinator), (self.coordinator, self.site(name))):
                for path in (source / "outbox").glob("*.fedmed"):
                    there = target / "inbox" / path.name
                    if not there.exists() or there.read_bytes() != path.read_bytes():
                        shutil.copyfile(path, there)


def numpy_initial(_: Recipe) -> Initial:
    """Weights that need no torch."""
    weights = {"a.weight": np.ones((3, 4), np.float32), "b.bias": np.zeros(5, np.float32)}
    return weights, [{"name": name, "shape": list(array.shape), "group": "param"} for name, array in weights.items()]


def unet_initial(recipe: Recipe) -> Initial:
    from fedmed.training import networks  # noqa: PLC0415 - torch

    return networks.initial_params(recipe)


def joined(
    root: Path,
    sites: Sequence[str] = SITES,
    *,
    limits: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    patients: Sequence[str] = PATIENTS,
    hospital: Callable[[Path, Sequence[str], int], Path] = write_hospital,
    channels: Sequence[str] = ("MR",),
    admitted: bool = True,
) -> Federation:
    """init and admit: the coordinator can start. `hospital` writes the images."""
    root.mkdir(parents=True, exist_ok=True)
    world = Federation(root, tuple(sites))
    found.init(world.coordinator, write_recipe(root / "recipe.yaml", **(recipe or {})), now(), min_count=1, rounds=2)
    draft = world.coordinator / "federation.yaml"
    draft.write_text(yaml.safe_dump({**yaml.safe_load(draft.read_text()), **(limits or {})}))
    for seed, name in enumerate(sites):
        data = hospital(root / f"data-{name}", patients, seed)
        join.init(world.site(name), name, data, now(), channels=channels)
        # a fixed key, so that who is in which fold does not differ from run to run
        (world.site(name) / "keys" / "pseudonym.key").write_bytes(name.encode().ljust(32, b"-"))
        keep_every_step(world.site(name))
    world.carry()
    if admitted:
        admit.admit(world.coordinator, sorted((world.coordinator / "inbox").glob("join-*")), now())
    return world


def founded(
    root: Path,
    sites: Sequence[str] = SITES,
    *,
    initial: Callable[[Recipe], Initial] = numpy_initial,
    approved: bool = True,
    **changed: Any,
) -> Federation:
    """Behind `joined` also start and approve: everyone holds the federation and model r0 lies in every inbox."""
    world = joined(root, sites, **changed)
    started = start.start(world.coordinator, initial, now())
    world.carry()
    for name in sites if approved else ():
        approve.approve(world.site(name), now(), by="Dr. Test", ask=lambda _: started.fingerprint)
    world.carry()
    return world


def start_and_approve(world: Federation, initial: Callable[[Recipe], Initial]) -> None:
    """The same for a model so large that nobody gets a copy of it: only federation and approvals are carried."""
    started = start.start(world.coordinator, initial, now())
    for name in world.sites:
        shutil.copy(started.posted[0], world.site(name) / "inbox")
        consent = approve.approve(world.site(name), now(), by="Dr. Test", ask=lambda _: started.fingerprint)
        shutil.copy(consent.posted, world.coordinator / "inbox")


def keep_every_step(site: Path) -> None:
    """A checkpoint behind every step."""
    path = site / "fedmed.yaml"
    path.write_text(path.read_text().replace("checkpoint_minutes: 10", "checkpoint_minutes: 0"))


def seal_update(
    site_root: Path,
    value: float | Params = 1.0,
    *,
    num_cases: int = 3,
    dice: float | None = 0.5,
    privacy: PrivacyBlock | None = None,
    moment: datetime | None = None,
) -> Known:
    """What `train-local` seals, without training: every weight moved by `value`, or each by its own.

    The open model must be in.
    """
    moment = moment or now()
    with desk.opened(site_root, moment) as site:
        consent = desk.require_approved(site)
        arrivals = intake.receive_all(site.workspace, desk.terms(consent), moment, "train-local")
        model = desk.newest_model(site, arrivals)
        if not isinstance(value, dict):
            value = {tensor.name: np.full(tensor.shape, value, np.float32) for tensor in consent.table}
        remembers = bool(consent.layout.with_feedback)  # to ask its memory about anything else needs torch
        remembered = memory.load(site, consent, model.round_number) if remembers else {}
        encoded = payloads.encode(value, consent.layout, remembered.get(memory.RESIDUAL))
        content = artifact.tensor_content(train.PAYLOAD, encoded.payload, consent.layout.coding)
        body = bodies.Update(
            chain=laps.turn(site, model).chain,
            facts=bodies.UpdateFacts(
                num_cases=num_cases,
                num_patients=num_cases,
                num_steps=2,
                train_loss=None if privacy else "0.5",
                base_metrics=[_on_validation_cases(dice)],
                exclusions=[],
            ),
            data="0" * 64,
            label_map="0" * 64,
            preprocessing=None,
            state=None,
            reservation=RESERVATION if privacy else None,
            privacy=privacy,
            masked=None,
            versions=[],
        )
        kept = {memory.RESIDUAL: encoded.residual} if remembers else None
        known = train._say(site, consent, model, body, [content], moment, kept)
        sealing.post(site.workspace, known)
        return known


def seal_masked(site_root: Path, value: float | Params, num_cases: int = 3, moment: datetime | None = None) -> Known:
    """The same by the stages of a masked update; one that is sealed in this attempt is found, and what was trained for
    these weights is masked again.
    """
    moment = moment or now()
    with desk.opened(site_root, moment) as site:
        consent = desk.require_approved(site)
        arrivals = intake.receive_all(site.workspace, desk.terms(consent), moment, "train-local")
        model = desk.newest_model(site, arrivals)
        said = site.workspace.record.newest("update", round=model.round, attempt=model.attempt)
        if said is None:
            masking = masks.require(site, consent, model)
            masks.erase_spent(site)
            if not isinstance(value, dict):
                value = {tensor.name: np.full(tensor.shape, value, np.float32) for tensor in consent.table}
            found = masked.stored(site, model, masking)
            found = found or masked.keep(site, consent, model, masking, update_body(num_cases), value, num_cases)
            hidden = masked.hide(site, consent, masking, found)
            said = train._say(site, consent, model, hidden.body, hidden.contents, moment, once={})
        sealing.post(site.workspace, said)
        return said


def update_body(num_cases: int) -> bodies.Update:
    """Of an update that nobody trained."""
    return bodies.Update(
        chain=None,
        facts=bodies.UpdateFacts(
            num_cases=num_cases,
            num_patients=num_cases,
            num_steps=2,
            train_loss="0.5",
            base_metrics=[],
            exclusions=[],
        ),
        data="0" * 64,
        label_map="0" * 64,
        preprocessing=None,
        state=None,
        reservation=None,
        privacy=None,
        masked=None,
        versions=[],
    )


def masking(world: Federation) -> Federation:
    """All have approved and called each other, and model r0, which waited for that, lies in every inbox."""
    aggregate.aggregate(world.coordinator, now())
    world.carry()
    for name in world.sites:
        call_all(world.site(name), [other for other in world.sites if other != name])
    return world


def call_all(site_root: Path, others: Sequence[str]) -> None:
    """The operator of a site compares the joins of others with them."""
    roster = desk.require_approved(desk.peek(site_root)).agreement.federation
    for other in others:
        pin.pin(site_root, other, now(), lambda other=other: roster.member(other).join[:32])


def _on_validation_cases(dice: float | None) -> bodies.Metric:
    """None of a site that has no such case."""
    mean = None if dice is None else bodies.decimal(dice)
    return bodies.Metric(metric="dice", label="all", n=int(dice is not None), mean=mean, sd=None)


def seal_report(
    site_root: Path,
    *,
    mean: float,
    n: int,
    split: Literal["validation", "testing"] = "validation",
    alone: float | None = None,
) -> Known:
    """What `evaluate` seals about the newest model: one mean Dice over n cases, and that of the local-only one."""
    with desk.opened(site_root, now()) as site:
        consent = desk.require_approved(site)
        model = desk.newest_model(site, intake.receive_all(site.workspace, desk.terms(consent), now(), "evaluate"))
        body = report(n, split, mean, alone)
        known = evaluate._say(site, consent, model, body, now())
        sealing.post(site.workspace, known)
        return known


def report(n: int, split: Literal["validation", "testing"], mean: float | None, alone: float | None = None) -> Report:
    rows = [Score.figure("global", "dice", "all", n, mean)]
    rows += [] if alone is None else [Score.figure("alone", "dice", "all", n, alone)]
    return Report(
        split=split,
        opening=0,
        facts=ReportFacts(num_cases=n, scores=rows, curves=[], frocs=[], exclusions=[]),
    )
