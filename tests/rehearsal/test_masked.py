"""A rehearsal of a recipe that masks: hospitals confirm each other, answer, and the model is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from fedmed.rehearsal import acts
from tests import tables

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize("normalisation", ["site", "federated"])
def test_masks_come_off_in_a_rehearsal(tmp_path: Path, normalisation: str) -> None:
    """Also where fingerprints come before the first model."""
    recipe = {**tables.TABULAR, "aggregation": {"masking": "dm2", "clip": {"norm": 10.0}}}
    recipe["data"] = {**recipe["data"], "normalisation": normalisation}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    hospitals = {name: tables.write_hospital(tmp_path / "data" / name, seed=n) for n, name in enumerate("abc", 1)}
    hospitals = {f"site-{name}": folder for name, folder in hospitals.items()}
    setting = acts.Setting(tmp_path / "world", path, hospitals, 1, "rehearsed")
    acts.begin(setting)
    acts.begin(setting)  # as behind a kill
    for name in setting.names:
        acts.partition(setting, name)
    made = []
    while not acts.is_over(setting):
        acts.carry(setting)
        for name in setting.names:
            acts.train_local(setting, name)
        made.append(acts.combine(setting))
    assert [each.round for each in made] == ([0, 1] if normalisation == "federated" else [1])
    assert [parent.site for parent in made[-1].parents] == setting.names
