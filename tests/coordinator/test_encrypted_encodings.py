"""Encodings and compression inside of encrypted payloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.coordinator import aggregate, desk
from fedmed.exchange import archived
from fedmed.learning import params
from tests import small

if TYPE_CHECKING:
    from pathlib import Path


def test_an_update_that_is_encoded_compressed_and_encrypted(tmp_path: Path) -> None:
    recipe = {"update": {"encoding": "fp16", "compress": "zstd"}}
    world = small.founded(tmp_path, recipe=recipe, limits={"encryption": "age"})
    for name in world.sites:
        small.seal_update(world.site(name), 0.5)
    world.carry()
    made = aggregate.aggregate(world.coordinator, small.now())
    assert (made.round, [each.weight for each in made.parents]) == (1, [3, 3])
    found = desk.peek(world.coordinator)
    newest = found.record.newest("model")
    assert newest is not None
    table = desk.require_started(found).travelling
    model = params.from_payload(archived.read_payload(found, newest.id, "model.safetensors"), table)
    assert np.all(model["a.weight"] == np.float32(1.5))
    update = found.record.of("update")[0]
    part = archived.read_archived(found, update.id).predicate.payload[0]
    assert (part.enc, part.coding) == ("age", "zstd")
