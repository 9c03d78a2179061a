"""Cron alone carries a masked federation to its end, once people have approved and called each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.coordinator import desk
from fedmed.coordinator import run as hub
from fedmed.exchange import archived
from fedmed.learning import params
from fedmed.site import run as ward
from tests import small, tables

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.learning.params import Params

SITES = ("aa", "bb", "cc", "dd")
PATIENTS = [f"person-{number:02d}" for number in range(20)]
MASKED = {"masking": "dm2", "ring": 64, "clip": {"norm": 100.0}}


def play(root: Path, aggregation: dict[str, object] | None, steps: list[str]) -> Params:
    """A federation of two rounds by `run` alone; the weights of its last model."""
    recipe = {**tables.TABULAR, **({"aggregation": aggregation} if aggregation else {})}
    limits = {"min_sites": 3, "max_num_cases": 100, "max_norm_ratio": 1_000_000, "min_cosine": -1, "max_share": 1.0}
    world = small.founded(
        root, SITES, initial=small.unet_initial, recipe=recipe, patients=PATIENTS, hospital=tables.write_hospital,
        channels=(), limits=limits,
    )  # fmt: skip
    for name in SITES if aggregation else ():
        small.call_all(world.site(name), [other for other in SITES if other != name])
    for _ in range(12):
        world.carry()
        hub.run(world.coordinator, small.now, lambda *_: None, lambda done: steps.append(done.step))
        world.carry()
        for name in SITES:
            ward.run(world.site(name), small.now, "cpu", lambda *_: None, lambda done: steps.append(done.step))
    found = desk.peek(world.coordinator)
    last = found.record.newest("model")
    assert last is not None
    assert last.last, "cron has not come to the end"
    table = desk.require_started(found).travelling
    return params.from_payload(archived.read_payload(found, last.id, "model.safetensors"), table)


@pytest.mark.slow
def test_cron_alone_ends_a_masked_federation_with_the_model_of_a_plain_one(tmp_path: Path) -> None:
    """The masked mean is the plain one but for the rounding of whole numbers, round after round."""
    steps: list[str] = []
    masked = play(tmp_path / "masked", MASKED, steps)
    assert [steps.count(step) for step in ("train-local", "unmask", "aggregate", "evaluate")] == [8, 2 + 8, 3, 5]
    plain = play(tmp_path / "plain", None, [])
    for name, array in plain.items():
        assert np.abs(masked[name] - array).max() < 1e-6
    assert max(float(np.abs(array).max()) for array in plain.values()) > 0.01, "something was learned"
