"""A simulation whose weights go from site to site: what the files say against the same training without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from fedmed.cases import datalist
from fedmed.exchange import archived
from fedmed.exchange.laps import drawn
from fedmed.learning import params
from fedmed.rehearsal import simulate
from fedmed.rehearsal.simulate import Plan
from fedmed.site import desk, preprocessing
from tests import tables
from tests.rehearsal.test_simulate import Inline

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.learning.params import Params
    from fedmed.site.desk import Approved, Site

NAMES = ("east", "north", "west")


def trained(site: Site, consent: Approved, start: Params, round_: int) -> Params:
    """One hospital's part, without a file."""
    import torch  # noqa: PLC0415

    from fedmed.training import fit  # noqa: PLC0415

    return fit.fit(
        consent.recipe, start, datalist.cases(datalist.load(site.cases_file), "training"), root=site.data_root,
        label_map={}, site=site.workspace.name, round=round_, rounds=2, attempt=1, num_steps=4,
        device=torch.device("cpu"), preprocessing=preprocessing.current(site),
    ).params  # fmt: skip


@pytest.mark.slow
def test_a_simulation_of_a_lap_and_an_averaging_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "Crew", Inline)
    Inline.acts = []
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**tables.TABULAR, "strategy": {"name": "cyclic"}}))
    for seed, name in enumerate(NAMES):
        tables.write_hospital(tmp_path / "data" / name, seed=seed)
    said: list[str] = []
    plan = Plan(tmp_path / "recipe.yaml", tmp_path / "data", how="folders", rounds=2, seeds=1, baselines=False)
    simulate.run(plan, tmp_path / "out", said.append, lambda _w, _d, _t: None)
    order = drawn(tables.TABULAR["seed"], 0, NAMES)
    shares = [line.split(": ")[1].split(";")[0] for line in said]
    assert shares == [", ".join(f"{name} 0.33" for name in each) for each in (order, sorted(NAMES))]
    assert Inline.acts.count("hand_on") == 2

    sites = {name: desk.peek(tmp_path / "out" / "seed-7" / name) for name in NAMES}
    consent = desk.require_approved(sites["east"])
    models = {}
    for round_ in range(3):
        known = sites["east"].workspace.record.model(round_)
        assert known is not None
        data = archived.read_payload(sites["east"].workspace, known.id, "model.safetensors")
        models[round_] = params.from_payload(data, consent.table)
    weights = models[0]
    for name in order:
        weights = trained(sites[name], consent, weights, 0)
    for name, array in weights.items():
        np.testing.assert_allclose(models[1][name], array, rtol=1e-6, atol=1e-7)
    parts = [trained(sites[name], consent, models[1], 1) for name in NAMES]
    for name, array in models[2].items():
        np.testing.assert_allclose(array, np.mean([each[name] for each in parts], axis=0), rtol=1e-6, atol=1e-7)
