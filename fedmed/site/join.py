"""`init site`: a workspace, keys, and a join file for the coordinator."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from fedmed import __version__, files, logs, settings
from fedmed.cases import layout as layouts
from fedmed.cases import paths, shipped, tables
from fedmed.errors import FedmedError
from fedmed.exchange import (
    agekeys,
    artifact,
    bodies_roster,
    certificates,
    keys,
    maskkeys,
    predicates,
    sealing,
    sshsig,
    statement,
    workspace,
)
from fedmed.site import desk
from fedmed.strict import is_plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.workspace import Workspace

PICTURES = (".dcm", ".png", ".jpg", ".jpeg")
_SETTINGS = """\
# Local settings of this site. They never change what is learned, except label_map and absent.
role: site
name: {name}
# Where the images are, and how they are named below that folder: {{case}} and {{patient}} stand for one name each,
# a pattern ending in / is a folder of DICOM files. Masks have the pattern label; classes stand in a CSV table, labels,
# with the columns path (below that folder) and label, and if known patient; boxes in a CSV table, boxes, with the
# columns path, x, y, width, height (pixels from the upper left corner) and label. Cases that are no images but the rows
# of a table have table: its file, and the columns case and patient, where there are such.
{data}
# This hospital's label values -> the recipe's, for example {{10: 1, 20: 2}}.
label_map: {{}}
# Classes of the recipe, by name, that this hospital never labels: what it left blank is not learned as background.
absent: []
# auto, cpu, cuda:0 or mps
device: auto
# Processes that prepare images beside the training: auto, or a number (0: none).
num_workers: auto
# How much of cache/ prepared images may fill, in GiB; 0 keeps none. `fedmed cache wipe` deletes them.
cache_gib: 20
checkpoint_minutes: 10
# Folders where files arrive and leave; they may be mounted shares.
inbox: inbox
outbox: outbox
"""


@dataclass(frozen=True)
class Joined:
    """`fingerprint` is what to read to the coordinator over the phone."""

    name: str
    key: str
    fingerprint: str
    join: Path
    layout: settings.Layout


def init(
    root: Path,
    name: str,
    data: Path,
    now: datetime,
    *,
    contact: str = "",
    channels: Sequence[str] = (),
    columns: Sequence[str] = (),
    task: str = "",
    shipped_layout: str = "",
) -> Joined:
    """`channels` (of images) or `columns` (of a table) and `task` are the recipe's, where it is known already;
    `shipped_layout` is a name of layouts/, or a YAML file like those there.

    Raises FedmedError FM-SET-04 (exists), FM-SET-06 (name), FM-USE-01, FM-DAT-* (no layout recognised)."""
    if not settings.is_site_name(name):
        raise FedmedError("FM-SET-06", f"{name}: not a name for a site")
    if not is_plain_text(contact) or len(contact) > 200:
        raise FedmedError("FM-USE-01", "--contact: expected plain text of at most 200 characters")
    if channels and shipped_layout:
        raise FedmedError("FM-USE-01", "--channel: not with --layout, which names its channels")
    paths.require_folder(data)
    layout = _shipped(data, shipped_layout) if shipped_layout else _layout(data, channels, columns, task)
    written = {key: value for key, value in layout.model_dump(mode="json", exclude_none=True).items() if value}
    folder = {"data": {"root": str(data.resolve()), "layout": written}}
    text = _SETTINGS.format(name=name, data=yaml.safe_dump(folder, sort_keys=False, allow_unicode=True).rstrip())
    with workspace.founded(root, desk.ROLE, name, now) as found:
        logs.open_logs(root / "logs")
        files.empty(found.spool)
        sealing.complete_intent(found, now)
        known = found.record.newest("join") or _say_join(found, contact, now)
        if not (root / "keys" / "pseudonym.key").exists():
            files.write_atomic(
                root / "keys" / "pseudonym.key", secrets.token_bytes(desk.PSEUDONYM_KEY_BYTES), mode=0o600
            )
        posted = sealing.post(found, known)
        files.write_atomic(root / "fedmed.yaml", text.encode())
        return Joined(name, keys.fingerprint(found.public_key), keys.spoken(known.id), posted, layout)


def _shipped(data: Path, name: str) -> settings.Layout:
    """Raises FedmedError FM-USE-01, or FM-DAT-05 where nothing below `data` is named so."""
    layout = shipped.load(name).layout
    if not layouts.studies(paths.walk(data), layout)[0]:
        shown = ", ".join(layout.image.values())
        raise FedmedError("FM-DAT-05", f"--layout {name}: no image is named {shown}", next="correct --data or --layout")
    return layout


def _layout(data: Path, channels: Sequence[str], columns: Sequence[str], task: str) -> settings.Layout:
    """Without channels and columns, which only the recipe knows: XR for pictures with a table of labels, else MR; and
    a table where no image is.
    """
    if columns:
        return tables.detect(data, columns)
    if channels:
        return layouts.detect_layout(data, channels, task=task)
    try:
        found = layouts.detect_layout(data, ("MR",), task=task)
    except FedmedError as error:
        if error.code != "FM-DAT-05" or not tables.files_in(data):
            raise
        return tables.detect(data)
    if (found.labels is None and found.boxes is None) or not found.image["MR"].endswith(PICTURES):
        return found
    return layouts.detect_layout(data, ("XR",), task=task)


def _say_join(found: Workspace, contact: str, now: datetime) -> Known:
    public_key = found.public_key
    body = bodies_roster.Join(
        name=found.name,
        key=keys.public_line(public_key),
        age=agekeys.recipient(found.age_key),
        contact=contact,
        mask=maskkeys.make(found.mask_keys, found.key, found.name, None, certificates.FIRST).certificate,
        nonce=secrets.token_hex(16),
        versions=[bodies_roster.Version(name="fedmed", version=__version__)],
    )

    def build(opening: Opening, payload: list[predicates.Payload], _: list[statement.Subject]) -> statement.Statement:
        predicate = predicates.JoinPredicate(**opening.fields(), kind="join", payload=payload, body=body)
        subject = statement.about("join", artifact.sha256(sshsig.key_blob(public_key)))
        return statement.make("join", subject, predicate)

    return sealing.say(found, "init", "join", None, [], build, now)
