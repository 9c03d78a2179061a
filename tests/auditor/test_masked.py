"""A masked round audited by somebody who holds no key: files written out here, as FORMAT.md has them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from fedmed import recipe
from fedmed.auditor import rounds
from fedmed.coordinator import void
from fedmed.exchange import bundles, canonical, keys, unmasking
from fedmed.learning import masking, params, shapes
from tests import masked
from tests.coded import code_of
from tests.federation import masked_world
from tests.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedmed.exchange.unmasking import Unmasking
    from tests.masked import Circle, Masked

CLIP, MOST = 2.0, 100
AGGREGATION = {"masking": "dm2", "clip": {"norm": CLIP}}
CASES = {"site-aa": 30, "site-ab": 80, "site-ad": 55}  # site-ac has not sent anything
HEADER = len(shapes.wire_table(samples.TABLE))


def quiet(_what: str, done: int, total: int) -> None:
    assert 0 < done <= total


class Archive:
    """Federation, model r0, three masked updates and model r1 of a federation of four."""

    def __init__(self, folder: Path, weight: str = "cases") -> None:
        self.folder, self.most = folder, 1 if weight == "equal" else MOST
        self.recipe = {
            **yaml.safe_load(samples.RECIPE),
            "aggregation": AGGREGATION,
            "strategy": {"name": "fedavg", "weight": weight},
        }
        folder.mkdir()
        circle = masked.circle(4)
        self.federation = self._say("federation", "coordinator", self._federation(circle), self._founding())
        listed = [each.model_dump() for each in circle.certificates]
        self.first = self._say("model", "coordinator", self._model(0, masks=listed, clip="2"), [
            ("model.safetensors", samples.MODEL), ("approvals.json", self.approvals())
        ])  # fmt: skip
        self.context = masked.context(circle, model=self.first)
        self.changes = {
            site: np.random.RandomState(seed).normal(0, 0.1, shapes.elements(samples.TABLE)).astype(np.float32)
            for seed, site in enumerate(CASES)
        }
        self.sent = {site: self._masked(circle, site) for site in CASES}
        self.updates = {site: self._update(circle, site, each) for site, each in self.sent.items()}
        said = masked.replies(self.context, circle, self.sent, list(CASES))
        tables = {site: each.table for site, each in self.sent.items()}
        found = unmasking.recover(self.context, self.updates, tables, said).unmasking
        assert found is not None
        self.unmasking = found
        self.mean = masked.mean(self.context, self._quantiser, self.sent, found)[1]
        self.second = self.say_second()

    @property
    def _quantiser(self) -> masking.Quantiser:
        return masking.Quantiser(4, 32, CLIP, self.most)

    def weights(self, mean: np.ndarray) -> bytes:
        """The payload of model r0 plus this."""
        flat = np.frombuffer(samples.MODEL[HEADER:], "<f4")
        return samples.MODEL[:HEADER] + (flat + mean.astype(np.float64)).astype("<f4").tobytes()

    def say_second(self, weights: bytes | None = None, revealed: bytes | None = None, **changed: Any) -> str:
        parents = [{"site": site, "update": id_, "weight": None, "share": None} for site, id_ in self.updates.items()]
        body = self._model(1, parents=parents, previous=self.first, last=True)
        body["body"] |= changed
        return self._say("model", "coordinator", body, [
            ("model.safetensors", weights or self.weights(self.mean)),
            ("approvals.json", self.approvals()),
            ("unmask.json", revealed or unmasking.to_bytes(self.unmasking)),
        ])  # fmt: skip

    def approvals(self) -> bytes:
        """All four have agreed to this federation."""
        membership = self._in_round(0)["federation"]
        said = {"federation": membership, "ack": None, "recipients": [samples.actor("coordinator")]}
        return samples.approvals(
            *(samples.approval(site, lambda predicate: predicate.update(said)) for site in self.names)
        )

    def without_second(self) -> Archive:
        (self.folder / f"{self.second}.fedmed").unlink()
        return self

    def _masked(self, circle: Circle, site: str) -> Masked:
        vector = self._quantiser.quantise(self.changes[site], CASES[site]).vector
        return masked.masked(self.context, circle.mask[site], vector)

    def _update(self, circle: Circle, site: str, sent: Masked) -> str:
        header = shapes.header([("masked", "U32", sent.vector.shape, sent.vector.nbytes)])
        statement, _ = samples.of_kind("update")
        body = statement["predicate"]["body"]
        body["facts"] = None
        body["masked"] = {
            "context": self.context.x,
            "table": samples.sha256(bundles.table_to_bytes(sent.table)),
            "dealt": sent.table.dealt,
            "next": masked.certificates.create(
                circle.signing[site], site, masked.FEDERATION_ID, 2
            ).certificate.model_dump(),
        }
        said = {
            **self._in_round(0),
            "base_model": samples.sha256(samples.MODEL),
            "tensor_table": samples.sha256(header),
            "body": body,
            "recipients": [samples.actor("coordinator")],
        }
        return self._say("update", site, said, [
            ("update.safetensors", header + sent.vector.tobytes()),
            ("bundles.bin", sent.bundles),
            ("shares.json", bundles.table_to_bytes(sent.table)),
        ])  # fmt: skip

    def _founding(self) -> list[tuple[str, bytes]]:
        chosen = recipe.to_bytes(recipe.Segmentation.model_validate(self.recipe))
        return [("recipe.json", chosen), ("tensors.json", shapes.table_to_bytes(samples.TABLE))]

    def _federation(self, circle: Circle) -> dict[str, Any]:
        statement, _ = samples.of_kind("federation")
        said = statement["predicate"]
        said["recipients"] = [samples.actor(site) for site in circle.names]
        said["body"]["roster"] = [
            {
                "name": site,
                "key": keys.public_line(samples.public(site)),
                "age": samples.age(site),
                "join": "0" * 64,
                "max_num_cases": MOST,
            }
            for site in circle.names
        ]
        self.names = circle.names
        return {key: said[key] for key in ("federation", "recipients", "ack", "expires", "body")}

    def _in_round(self, round_: int) -> dict[str, Any]:
        membership = {"id": samples.FEDERATION_ID, "title": "samples", "version": 1, "digest": self.federation}
        return {"federation": membership, "round": round_, "attempt": 1, "ack": None}

    def _model(self, round_: int, **body: Any) -> dict[str, Any]:
        statement, _ = samples.of_kind("model")
        return {
            **self._in_round(round_),
            "ack": [],
            "recipients": [samples.actor(site) for site in self.names],
            "tensor_table": shapes.digest(samples.TABLE),
            "expires": samples.EXPIRES,
            "body": {**statement["predicate"]["body"], **body},
        }

    def _say(self, kind: str, sender: str, said: dict[str, Any], payloads: list[tuple[str, bytes]]) -> str:
        statement, _ = samples.of_kind(kind)
        media = {"bin": "application/octet-stream", "json": "application/json"}
        statement["predicate"] |= {**said, "sender": samples.actor(sender)}
        statement["predicate"]["payload"] = [
            {
                "name": name,
                "bytes": len(data),
                "media": media.get(name.split(".")[1], "application/vnd.safetensors"),
                "enc": "none",
                "coding": "none",
            }
            for name, data in payloads
        ]
        statement["subject"] = [{"name": name, "digest": {"sha256": samples.sha256(data)}} for name, data in payloads]
        data = samples.signed(statement, payloads, by=samples.key(sender))
        id_ = samples.sha256(canonical.encode(statement))
        (self.folder / f"{id_}.fedmed").write_bytes(data)
        return id_


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def audited(archive: Archive) -> str:
    return code_of(lambda: rounds.audit(archive.folder, 0, quiet))


def test_anyone_with_the_files_computes_the_model_again(archive: Archive) -> None:
    found = rounds.audit(archive.folder, 0, quiet)
    assert (found.round, found.sites) == (0, list(CASES))
    assert found.model == archive.second
    exact = sum(CASES[site] * change.astype(np.float64) for site, change in archive.changes.items()) / 165
    assert np.abs(archive.mean - exact).max() < 1e-7
    before = np.frombuffer(samples.MODEL[HEADER:], "<f4")
    weights = params.from_payload(archive.weights(archive.mean), samples.TABLE)
    flat = np.concatenate([weights[tensor.name].ravel() for tensor in shapes.in_wire_order(samples.TABLE)])
    assert np.abs(flat - before - exact).max() < 1e-6


def test_where_all_sites_count_the_same_each_counts_one(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "equal", weight="equal")
    assert audited(archive) == "ok"
    exact = np.mean([change.astype(np.float64) for change in archive.changes.values()], axis=0)
    assert np.abs(archive.mean - exact).max() < 1e-7


def test_another_model_than_the_sum_gives_is_found(archive: Archive) -> None:
    """One number of one hospital, a little more."""
    wrong = archive.mean.copy()
    wrong[3] += 1e-6
    archive.without_second().say_second(weights=archive.weights(wrong))
    assert audited(archive) == "FM-SHR-14"


def changed_seed(said: Unmasking) -> Unmasking:
    other = said.included[0].model_copy(update={"seed": said.included[1].seed})
    return said.model_copy(update={"included": [other, *said.included[1:]]})


@pytest.mark.parametrize(
    "change",
    [
        changed_seed,
        lambda said: said.model_copy(update={"pairs": said.pairs[1:]}),
        lambda said: said.model_copy(update={"context": "0" * 64}),
        lambda said: said.model_copy(
            update={"included": [each.model_copy(update={"update": "0" * 64}) for each in said.included]}
        ),
    ],
    ids=["seed", "pair", "context", "update"],
)
def test_seeds_that_no_site_committed_to_are_found(archive: Archive, change: Callable[[Unmasking], Unmasking]) -> None:
    archive.without_second().say_second(revealed=unmasking.to_bytes(change(archive.unmasking)))
    assert audited(archive) == "FM-SHR-11"


def test_a_file_of_seeds_in_another_form_is_found(archive: Archive) -> None:
    archive.without_second().say_second(revealed=unmasking.to_bytes(archive.unmasking) + b" ")
    assert audited(archive) == "FM-SHR-11"


def test_a_model_that_leaves_an_update_out_of_its_parents_is_found(archive: Archive) -> None:
    parents = [{"site": site, "update": id_, "weight": None, "share": None} for site, id_ in archive.updates.items()]
    archive.without_second().say_second(parents=parents[1:])
    assert audited(archive) == "FM-SHR-11"


def test_a_model_that_says_updates_came_plain_is_found(archive: Archive) -> None:
    """Then nobody could take the masks off, and it would be any model."""
    parents = [{"site": site, "update": id_, "weight": 1, "share": "0.3"} for site, id_ in archive.updates.items()]
    archive.without_second()
    said = archive._model(1, parents=parents, previous=archive.first, last=True)
    payloads = [("model.safetensors", archive.weights(archive.mean)), ("approvals.json", archive.approvals())]
    archive._say("model", "coordinator", said, payloads)
    assert audited(archive) == "FM-SHR-14"


def test_the_same_model_for_another_attempt_is_the_same_model(archive: Archive) -> None:
    archive_again = archive.say_second()
    assert archive_again == archive.second
    said = archive._model(1, parents=[], previous=archive.first, last=True)
    said["attempt"] = 2
    said["body"]["parents"] = [
        {"site": site, "update": id_, "weight": None, "share": None} for site, id_ in archive.updates.items()
    ]
    payloads = [
        ("model.safetensors", archive.weights(archive.mean)),
        ("approvals.json", archive.approvals()),
        ("unmask.json", unmasking.to_bytes(archive.unmasking)),
    ]
    archive._say("model", "coordinator", said, payloads)
    assert rounds.audit(archive.folder, 0, quiet).model == archive.second


def test_a_third_party_with_the_archive_of_a_federation_that_masked(tmp_path: Path) -> None:
    """Played by the actors: one hospital is missing, FedAdam remembers, and the second round takes two attempts."""
    world = masked_world.founded(tmp_path / "world", strategy={"name": "fedadam", "server_lr": 0.1})
    values = {"aa": 0.1, "bb": 0.2, "cc": -0.3, "dd": 0.05}
    masked_world.play(world, values, {"aa": 3, "bb": 50})
    masked_world.send(world, values)
    void.void(world.coordinator.root, world.now, "the link failed")
    world.carry_down()
    masked_world.play(world, {**values, "ee": 0.3})
    given = shutil.copytree(world.coordinator.root / "archive", tmp_path / "given")
    for round_, sites in ((0, sorted(values)), (1, ["aa", "bb", "cc", "dd", "ee"])):
        found = rounds.audit(given, round_, quiet)
        assert (found.sites, found.remembered) == (sites, 2)
