"""A site's operator calls the others: whom nobody called may be the coordinator's invention."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedmed.auditor import keyring
from fedmed.exchange import keys, pins
from fedmed.site import desk, pin, status
from tests.coded import code_of
from tests.vectors import samples

from .simulator import Simulation, statement_id

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation

    from .simulator import Hospital


def agreed(site: Hospital) -> Federation:
    return desk.require_approved(desk.peek(site.root)).agreement.federation


def read_out(simulation: Simulation, name: str) -> str:
    """What `keys fingerprint` shows at the other hospital."""
    return keyring.fingerprints(simulation.sites[name].root).join


def pinned(simulation: Simulation, name: str, typed: str) -> str:
    return code_of(lambda: pin.pin(simulation.sites["aa"].root, name, simulation.now, lambda: typed))


def test_a_peer_is_pinned_by_what_is_read_at_its_own_hospital(simulation: Simulation) -> None:
    site = simulation.sites["aa"]
    assert pins.unpinned(site.workspace(), agreed(site)) == ["bb", "cc"]
    assert read_out(simulation, "bb") == keys.spoken(statement_id(simulation.sites["bb"].posted("join-bb")))
    first = pin.pin(site.root, "bb", simulation.now, lambda: read_out(simulation, "bb").upper())
    assert (first.is_new, first.unpinned) == (True, ["cc"])
    entries = site.workspace().ledger.length
    assert pinned(simulation, "bb", "never asked") == "ok"
    assert site.workspace().ledger.length == entries
    assert status.status(site.root, simulation.now).unpinned == ["cc"]
    assert [(peer.name, peer.is_pinned) for peer in keyring.fingerprints(site.root).peers] == [
        ("bb", True),
        ("cc", False),
    ]


def test_only_the_whole_fingerprint_of_that_site_pins_it(simulation: Simulation) -> None:
    right = read_out(simulation, "bb").replace(" ", "")
    for wrong in ("", right[:31], right + "0", "0" * 32, read_out(simulation, "cc")):
        assert pinned(simulation, "bb", wrong) == "FM-ROS-02", wrong
    site = simulation.sites["aa"]
    assert pins.unpinned(site.workspace(), agreed(site)) == ["bb", "cc"]


@pytest.mark.parametrize("name", ["aa", "dd", "coordinator"])
def test_who_is_no_other_site_is_not_pinned(simulation: Simulation, name: str) -> None:
    assert pinned(simulation, name, "") == "FM-ROS-03"


def test_before_consent_there_is_nobody_to_pin(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("unapproved") / "f"
    simulation = Simulation(root, ("aa", "bb")).found(approved=(), rounds=1)
    assert pinned(simulation, "bb", "") == "FM-TRU-07"


def test_another_key_or_join_under_the_same_name_is_not_the_one_that_was_pinned(simulation: Simulation) -> None:
    """The coordinator puts a key of its own in the place of a hospital's."""
    site, federation = simulation.sites["aa"], agreed(simulation.sites["aa"])
    for name in ("bb", "cc"):
        assert pinned(simulation, name, read_out(simulation, name)) == "ok"
    assert pins.unpinned(site.workspace(), federation) == []
    for change in ({"key": keys.public_line(samples.public("usurper"))}, {"join": "0" * 64}):
        roster = [m.model_copy(update=change) if m.name == "bb" else m for m in federation.body.roster]
        false = replace(federation, body=federation.body.model_copy(update={"roster": roster}))
        assert pins.unpinned(site.workspace(), false) == ["bb"]
