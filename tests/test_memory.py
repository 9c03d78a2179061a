"""The coordinator's memory does not grow with the model, and by less than a block of 1 MB with each further site."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.coordinator import desk as coordinator_desk
from fedmed.exchange import artifact, bodies
from fedmed.learning import params
from fedmed.site import desk, train
from tests import small

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.coordinator.start import Initial
    from fedmed.recipe import Recipe

NEEDED = 12 << 30
A_SITE = 1.0  # MB: the allocator's own noise is a few MB in all, one update held whole would be 200
# ru_maxrss of a child counts the parent's memory at the fork too; the kernel's own mark starts anew with the program
PROBE = """
import sys, pathlib, resource
from fedmed.cli import app
try:
    app.main()
except SystemExit as ended:
    assert not ended.code, ended.code
status = pathlib.Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
marks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
print(marks[0] if marks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_of_aggregate(root: Path, sites: int, megabytes: int) -> float:
    """Peak memory in MB of `fedmed aggregate` over `sites` updates of `megabytes` each."""
    elements = megabytes * 1_000_000 // 4
    values = np.random.RandomState(0).standard_normal(elements).astype(np.float32)

    def initial(_: Recipe) -> Initial:
        return {"w": values}, [{"name": "w", "shape": [elements], "group": "param"}]

    names = [f"site-{number}" for number in range(sites)]
    world = small.joined(root, names, patients=small.PATIENTS[:1])
    small.start_and_approve(world, initial)
    seal_updates(world, {"w": values})
    command = [sys.executable, "-c", PROBE, "aggregate", "-w", str(world.coordinator)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "model r0001 made" in done.stdout, done.stdout + done.stderr
    shutil.rmtree(root)
    return int(done.stdout.split()[-1]) / 1024


def seal_updates(world: small.Federation, weights: params.Params) -> None:
    """An update of every site goes straight into the coordinator's inbox: no copy more than there must be."""
    model = coordinator_desk.peek(world.coordinator).record.model(0)
    assert model
    for name in world.sites:
        with desk.opened(world.site(name), small.now()) as site:
            consent = desk.require_approved(site)
            payload = params.to_payload(weights, consent.table)
            content = artifact.tensor_content(train.PAYLOAD, payload)
            body = bodies.Update(
                chain=None,
                facts=bodies.UpdateFacts(
                    num_cases=1, num_patients=1, num_steps=1, train_loss="0.5", base_metrics=[], exclusions=[]
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
            known = train._say(site, consent, model, body, [content], small.now())
            site.workspace.archived(known.id).rename(world.coordinator / "inbox" / f"update-{name}.fedmed")


@pytest.mark.slow
def test_memory_of_aggregate_with_small_updates(tmp_path: Path) -> None:
    few, many = (peak_of_aggregate(tmp_path / str(sites), sites, 8) for sites in (2, 8))
    print(f"aggregate of 8 MB updates: {few:.1f} MB with 2, {many:.1f} MB with 8")
    assert many < few + 6 * A_SITE
    assert many < 100


@pytest.mark.slow
def test_memory_of_aggregate_with_large_updates(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < NEEDED:
        pytest.skip("less than 12 GB are free where the tests write, and 20 updates of 200 MB need them")
    few, many = (peak_of_aggregate(tmp_path / str(sites), sites, 200) for sites in (2, 20))
    print(f"aggregate of 200 MB updates: {few:.1f} MB with 2, {many:.1f} MB with 20")
    assert many < few + 18 * A_SITE
    assert many < 100 + 20 * A_SITE
