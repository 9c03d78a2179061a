"""What a site begins with in its turn, out of files of every form that a lap allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedmed.coordinator import aggregate
from fedmed.site import change, desk, laps, partition, train
from tests import small
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.learning import params

CYCLIC: dict[str, Any] = {"strategy": {"name": "cyclic"}}  # of seed 7: bb trains first, then aa


def begun(world: small.Federation, name: str) -> params.Params:
    """The weights from which `name` would train now."""
    moment = small.now()
    with desk.opened(world.site(name), moment) as site:
        consent, arrivals = desk.receive(site, desk.require_approved(site), moment, "train-local")
        model = desk.newest_model(site, arrivals)
        return change.begin(site, consent, desk.model_params(site, consent, model), laps.turn(site, model))


@pytest.mark.parametrize("compress", ["none", "zstd"])
def test_the_next_site_begins_with_what_the_one_before_left(tmp_path: Path, compress: str) -> None:
    world = small.founded(tmp_path, recipe={**CYCLIC, "update": {"compress": compress}})
    first = begun(world, "bb")
    assert {name: array.ravel()[0] for name, array in first.items()} == {"a.weight": 1, "b.bias": 0}
    small.seal_update(world.site("bb"), 0.25)
    world.carry()
    assert code_of(lambda: begun(world, "aa")) == "FM-CYC-01", "the coordinator has not handed it on yet"
    (world.site("aa") / "inbox" / "stick.fedmed").write_bytes(
        (world.site("bb") / "outbox" / "update-r0000-bb.fedmed").read_bytes()
    )
    for name, array in begun(world, "aa").items():
        np.testing.assert_array_equal(array, first[name] + np.float32(0.25))


def test_weights_that_no_payload_could_hold_are_not_trained_from(tmp_path: Path) -> None:
    """A model of 9e29 and a difference of 9e29: each may be sealed, the sum may not."""
    weights, rows = small.numpy_initial(None)  # type: ignore[arg-type]
    large = {name: np.full_like(array, 9e29) for name, array in weights.items()}
    world = small.founded(tmp_path, recipe=CYCLIC, initial=lambda _: (large, rows))
    small.seal_update(world.site("bb"), 9e29)
    (world.site("aa") / "inbox" / "update.fedmed").write_bytes(
        (world.site("bb") / "outbox" / "update-r0000-bb.fedmed").read_bytes()
    )
    assert code_of(lambda: begun(world, "aa")) == "FM-TEN-02"


def test_fitted_numbers_come_before_the_first_lap(tmp_path: Path) -> None:
    """Model r0 follows the fingerprints, and opens a lap all the same."""
    data = {**small.RECIPE["data"], "normalisation": "federated"}
    world = small.founded(tmp_path, recipe={**CYCLIC, "data": data})
    for name in world.sites:
        partition.partition(world.site(name), small.now())
        train.train(world.site(name), small.now(), train.Options("cpu"), lambda *_: None)
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    assert code_of(lambda: begun(world, "aa")) == "FM-CYC-01"
    assert begun(world, "bb").keys() == {"a.weight", "b.bias"}
