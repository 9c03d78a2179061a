"""What is said of an update before anybody consents, against files that were sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fedmed.site import approve, desk, weighed
from tests import small

if TYPE_CHECKING:
    from pathlib import Path

MASKS = {"masking": "dm2", "clip": {"norm": 10}}
CENTRAL = {"central": {"clip_norm": 1, "noise_multiplier": 1, "force": True}}


def founded(
    root: Path, num_sites: int = 4, encryption: str = "none", weight: str = "cases", **recipe: Any
) -> small.Federation:
    limits = {"encryption": encryption, "min_sites": 2, "max_num_cases": 200}
    names = [f"hospital-{number}" for number in range(num_sites)]
    strategy = {"strategy": {"name": "fedavg", "weight": weight}}
    return small.founded(root, names, limits=limits, recipe={**recipe, **strategy})


def proposal(world: small.Federation) -> approve.Proposal:
    (found,) = approve._proposals(desk.peek(world.site(world.sites[0])).workspace)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("encryption", ["none", "age"])
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("num_sites", [3, 7])
def test_the_size_is_about_that_of_the_sealed_file(
    num_sites: int, masks: bool, encryption: str, tmp_path: Path
) -> None:
    world = founded(tmp_path, num_sites, encryption, **({"aggregation": MASKS} if masks else {}))
    site = world.site(world.sites[0])
    if masks:
        small.masking(world)
        small.seal_masked(site, 1.0)
    else:
        small.seal_update(site)
    (sealed,) = (site / "outbox").glob("update-*")
    assert proposal(world).file_bytes == pytest.approx(sealed.stat().st_size, rel=0.1)


def test_a_masked_federation_has_its_own_limits(tmp_path: Path) -> None:
    """`max_share` and the screen apply to none, and a sum has more sites than `min_sites` if the masks want them."""
    told = proposal(founded(tmp_path / "cases", aggregation=MASKS))
    assert told.rounds == "2 rounds, at least 3 sites each"
    assert told.screen.endswith("no share is capped; a site counts for at most 200 cases")
    equal = proposal(founded(tmp_path / "equal", weight="equal", aggregation=MASKS))
    assert equal.screen.endswith("no share is capped; all sites count the same")


def test_noise_at_the_coordinator_holds_nobody(tmp_path: Path) -> None:
    told = proposal(founded(tmp_path, weight="equal", aggregation=CENTRAL))
    assert (told.rounds, told.screen[:17]) == ("2 rounds, at least 2 sites each", "no update is held")


def test_where_the_coordinator_sees_updates_shares_are_capped(tmp_path: Path) -> None:
    world = founded(tmp_path)
    agreed = desk.require_approved(desk.peek(world.site("hospital-0")))
    rounds, screen = weighed.words(agreed.agreement.federation, agreed.recipe)
    assert rounds == "2 rounds, at least 2 sites each, share of a site at most 0.6"
    assert screen.startswith("an update is held for a person to look at beyond ")
