"""Federations of a size to be aggregated: the signed updates, and the same numbers in plain files for the peers."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fedmed.coordinator import desk as coordinator_desk
from fedmed.exchange import archived, artifact, bodies, intake
from fedmed.learning import params, payloads, shapes
from fedmed.site import desk, train
from tests import small

CONV = (512, 512, 3, 3)
SAMPLE = 1009  # as in aggregate_peers.py
INBOX, TAKEN = "in the inbox", "taken in"


@dataclass(frozen=True)
class World:
    """A federation in its round 0; `reset` puts the coordinator back before or behind the arrival of the updates."""

    folder: Path
    sites: int
    elements: int

    @property
    def coordinator(self) -> Path:
        return self.folder / "world" / "coordinator"

    @property
    def site(self) -> Path:
        return self.folder / "world" / self.names[0]

    @property
    def names(self) -> list[str]:
        return [f"site-{number:02d}" for number in range(self.sites)]

    @property
    def plain(self) -> list[Path]:
        return [self.folder / "plain" / f"{name}.safetensors" for name in self.names]

    @property
    def base(self) -> Path:
        return self.folder / "plain" / "base.safetensors"

    @property
    def table(self) -> params.Table:
        return shapes.table_from_rows(rows(self.elements))

    def make(self) -> World:
        """Once; a half-made one is made anew."""
        if (self.folder / "made.json").exists():
            return self
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "plain").mkdir(parents=True)
        save_file(numbers(self.elements, 0, 1.0), self.base)
        world = small.joined(self.folder / "world", self.names, patients=small.PATIENTS[:1])
        small.start_and_approve(world, lambda _: (load_file(self.base), rows(self.elements)))
        shutil.copytree(self.site / "state", self.folder / "site")
        for number, path in enumerate(self.plain):
            change = numbers(self.elements, number + 1, 0.01)
            save_file(change, path)
            known, _ = seal(world.site(self.names[number]), self.coordinator, change)
            sealed = desk.peek(world.site(self.names[number])).workspace.archived(known)
            sealed.rename(self.coordinator / "inbox" / f"update-r0000-{self.names[number]}.fedmed")
        kept = {INBOX: self._remember(INBOX)}
        self.take_in()
        kept[TAKEN] = self._remember(TAKEN)
        (self.folder / "made.json").write_text(json.dumps(kept))
        return self

    def _remember(self, what: str) -> list[str]:
        shutil.copytree(self.coordinator / "state", self.folder / what, dirs_exist_ok=True)
        return sorted(path.name for path in (self.coordinator / "archive").iterdir())

    def take_in(self) -> None:
        with coordinator_desk.opened(self.coordinator, small.now()) as found:
            terms = coordinator_desk.terms(coordinator_desk.require_started(found))
            intake.receive_all(found, terms, small.now(), "aggregate")

    def reset(self, what: str) -> None:
        kept: list[str] = json.loads((self.folder / "made.json").read_text())[what]
        shutil.rmtree(self.coordinator / "state")
        archive = self.coordinator / "archive"
        for path in set(archive.iterdir()) - {archive / name for name in kept}:
            path.unlink()
        for path in (self.coordinator / "outbox").glob("model-r0001*"):
            path.unlink()
        missing = [name for name in kept if not (archive / name).exists()]
        shutil.copytree(self.folder / (INBOX if missing else what), self.coordinator / "state")
        if missing:
            self.take_in()

    def reset_site(self) -> None:
        """The first site as it was before it sealed its update."""
        shutil.rmtree(self.site / "state")
        shutil.copytree(self.folder / "site", self.site / "state")
        known = desk.peek(self.site).workspace.record.ids()
        for path in (self.site / "archive").glob("*.fedmed"):
            if path.stem not in known:
                path.unlink()

    def read_by(self, before: str | None) -> list[Path]:
        """What a coordinator reads from this state on."""
        folder = {None: "state", TAKEN: "archive", INBOX: "inbox"}[before]
        return sorted((self.coordinator / folder).glob("*.fedmed"))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def sample(self) -> float:
        """Every so many numbers of what round 0 added to the model, added up; from the archive, page by page."""
        found = coordinator_desk.peek(self.coordinator)
        newest, base = found.record.model(1), found.record.model(0)
        assert newest is not None
        assert base is not None
        flat = []
        for known in (newest, base):
            fd, envelope, said = archived.open_archived(found, known.id)
            offset = artifact.payload_offset(envelope, said, "model.safetensors") + len(shapes.wire_table(self.table))
            with open(fd, "rb") as file:
                flat.append(np.memmap(file, "<f4", "r", offset, (self.elements,)))
        return sampled(self.table, flat[0], flat[1])


def sampled(table: params.Table, model: np.ndarray, base: np.ndarray) -> float:
    total, first = 0.0, 0
    for tensor in shapes.in_wire_order(table):
        part = slice(first, first + tensor.size, SAMPLE)
        total += float(np.abs(model[part].astype(np.float64) - base[part]).sum())
        first += tensor.size
    return total


def rows(elements: int) -> list[dict[str, object]]:
    """Convolutions of 512 channels with their norms, and a last tensor of what is left."""
    size = int(np.prod(CONV))
    count = max((elements - 1) // (size + 512), 0)
    found: list[dict[str, object]] = []
    for number in range(count):
        found.append({"name": f"conv{number:03d}.weight", "shape": list(CONV), "group": "param"})
        found.append({"name": f"norm{number:03d}.weight", "shape": [512], "group": "param"})
    rest = elements - count * (size + 512)
    return [*found, {"name": "head.weight", "shape": [rest], "group": "param"}]


def numbers(elements: int, seed: int, scale: float) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    found = {}
    for row in rows(elements):
        array = random.standard_normal(row["shape"], dtype=np.float32)
        array *= np.float32(scale)
        found[str(row["name"])] = array
    return found


def seal(site_root: Path, coordinator: Path, change: dict[str, np.ndarray]) -> tuple[str, float]:
    """The update of a site that was never sent the model: what it says of it, the coordinator knows.

    Its id, and the seconds from the numbers in memory to the signed file on the disk.
    """
    model = coordinator_desk.peek(coordinator).record.model(0)
    assert model is not None
    with desk.opened(site_root, small.now()) as site:
        consent = desk.require_approved(site)
        begun = time.perf_counter()
        encoded = payloads.encode(change, consent.layout)
        content = artifact.streamed_content(train.PAYLOAD, encoded.size, encoded.chunks)
        body = bodies.Update(
            chain=None,
            facts=bodies.UpdateFacts(
                num_cases=1, num_patients=1, num_steps=1, train_loss="0.5", base_metrics=[], exclusions=[]
            ),
            data="0" * 64, label_map="0" * 64, preprocessing=None, state=None, masked=None, versions=[],
        )  # fmt: skip
        known = train._say(site, consent, model, body, [content], small.now())  # noqa: SLF001
        return known.id, time.perf_counter() - begun
