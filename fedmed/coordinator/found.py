"""`init coordinator`: a workspace, a key, and a draft of the federation to edit before `start`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files, logs, recipe, settings
from fedmed.coordinator import desk
from fedmed.errors import FedmedError
from fedmed.exchange import federation, keys, workspace
from fedmed.yaml_text import read_yaml

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_SETTINGS = """\
# Local settings of the coordinator. They never change what is learned.
role: coordinator
# Folders where files arrive and leave; they may be mounted shares.
inbox: inbox
outbox: outbox
"""

_DRAFT = """\
# Who decides and within which limits. `fedmed start` seals this; after that it cannot change.
title: {title}
# How many times the updates become the next model.
rounds: {rounds}
# A round closes when all sites are in, or min_sites and deadline_days have passed or `aggregate --close` is said.
min_sites: {min_sites}
# deadline_days: 14
# No site counts for more than this share of a model.
max_share: 0.6
# `aggregate` holds an update back until a person has looked at it when its norm is more than this many times
# the median of the round, or its cosine to the sum of others that agree is below this. 1000000 and -1 hold nothing.
max_norm_ratio: 5
min_cosine: -0.5
# Days until a model, and the federation itself, expire.
valid_days: 180
federation_days: 730
# Numbers about fewer cases than this are not broken down in reports.
min_count: {min_count}
# An update that claims more cases than this is refused.
# One number for all, or one for each site: {{st-olav: 300, lakeside: 120}}.
max_num_cases: 100000
# age: payloads, counts and metrics are encrypted to those they are for; who carries a file sees who wrote to whom.
encryption: none
"""


@dataclass(frozen=True)
class Founded:
    """What `init` made: the recipe's name and the fingerprint of the coordinator's key."""

    recipe: str
    key: str


def init(
    root: Path,
    recipe_path: Path,
    now: datetime,
    *,
    title: str = "",
    rounds: int = 10,
    min_sites: int = 2,
    min_count: int = 10,
) -> Founded:
    """Raises FedmedError FM-SET-04 when something is here already, FM-SET-03 for title or rounds, FM-RCP-*."""
    chosen = recipe.load(recipe_path)
    draft = _draft(title or chosen.name, rounds, min_sites, min_count)
    with workspace.founded(root, desk.ROLE, federation.COORDINATOR, now) as found:
        logs.open_logs(root / "logs")
        files.write_atomic(root / "recipe.yaml", files.read_bounded(recipe_path, recipe.MAX_BYTES))
        files.write_atomic(root / "federation.yaml", draft.encode())
        files.write_atomic(root / "fedmed.yaml", _SETTINGS.encode())
        return Founded(chosen.name, keys.fingerprint(found.public_key))


def _draft(title: str, rounds: int, min_sites: int, min_count: int) -> str:
    """federation.yaml, read back before anything is written. A title may hold whatever YAML gives a meaning to."""
    quoted = json.dumps(title, ensure_ascii=False)
    draft = _DRAFT.format(title=quoted, rounds=rounds, min_sites=min_sites, min_count=min_count)
    try:
        read_yaml(draft, settings.FederationDraft, name="federation.yaml", area="SET", unreadable="FM-SET-03")
    except FedmedError as error:
        error.next = "fedmed init coordinator --help"  # there is no file yet in which to correct it
        raise
    return draft
