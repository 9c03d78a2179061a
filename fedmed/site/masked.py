"""The stages of a masked update, each on the disk before the next: trained, next mask key, draft, commit, archive.

A sealed masked update cannot be made twice: its seeds are in memory only, and a second one of the same attempt would
give both away. So the ledger comes before the archive here. Killed before that, everything is drawn afresh; behind it
the same bytes are posted for ever. Another attempt of the round masks the stored numbers again, without training.
Source: PRIVACY.md section 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, bodies, bodies_masking, bundles, canonical, maskkeys, seeds

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from fedmed.exchange.record import Known
    from fedmed.learning.params import Params
    from fedmed.site.desk import Approved, Site
    from fedmed.site.masks import Masking

MAX_STORED = 1 << 20  # bytes of what is said beside the numbers


@dataclass(frozen=True)
class Stored:
    """What training gave: the update's body without its masks, and the whole numbers q with what they count last.

    It tells everything that the masks hide, so it is for its owner alone and goes when the round closes.
    """

    body: bodies.Update
    vector: np.ndarray
    sha256: str


def keep(
    site: Site, consent: Approved, model: Known, masking: Masking, body: bodies.Update, change: Params, counted: int
) -> Stored:
    """The stage `trained`. Raises FedmedError FM-TEN-02, FM-RES-*."""
    import numpy as np  # noqa: PLC0415 - only when there is work

    from fedmed.learning import shapes  # noqa: PLC0415

    rows = shapes.in_wire_order(consent.travelling)
    flat = np.concatenate([np.asarray(change[row.name], np.float32).reshape(-1) for row in rows])
    vector = masking.quantiser.quantise(flat, counted).vector
    data = vector.tobytes()
    found = Stored(body, vector, artifact.sha256(data))
    text = canonical.encode(
        {"body": body.model_dump(mode="json"), "sha256": found.sha256, **_binding(site, model, masking)}
    )
    files.make_private(_folder(site))
    files.write_atomic(_path(site, model, "bin"), data, mode=0o600)
    files.write_atomic(_path(site, model, "json"), text, mode=0o600)  # last: it says that the numbers are whole
    return found


def stored(site: Site, model: Known, masking: Masking) -> Stored | None:
    """What was trained for this round and waits to be masked; None where nothing fits, and training is due."""
    import numpy as np  # noqa: PLC0415

    try:
        row: dict[str, Any] = canonical.decode(files.read_bounded(_path(site, model, "json"), MAX_STORED))
        data = b"".join(files.chunks_of(_path(site, model, "bin")))
        body = bodies.Update.model_validate(row["body"])
    except (OSError, FedmedError, KeyError, ValueError):
        return None
    fits = all(row.get(name) == value for name, value in _binding(site, model, masking).items())
    if not fits or artifact.sha256(data) != row["sha256"]:
        return None
    return Stored(body, np.frombuffer(data, masking.quantiser.dtype).copy(), str(row["sha256"]))


def _binding(site: Site, model: Known, masking: Masking) -> dict[str, Any]:
    """What the numbers depend on beside the training: another attempt has the same."""
    quantiser = masking.quantiser
    return {
        "base_model": model.payload,
        "clip": repr(quantiser.clip),
        "largest": quantiser.max_num_cases,
        "ring": quantiser.ring,
        "site": site.workspace.name,
    }


def forget(site: Site, round_: int) -> None:
    """The numbers of rounds before this one: those are closed."""
    for path in _folder(site).glob("r*"):
        if path.name[1:5].isdigit() and int(path.name[1:5]) < round_:
            path.unlink(missing_ok=True)


def _folder(site: Site) -> Path:
    return site.workspace.root / "state" / "masked"


def _path(site: Site, model: Known, suffix: str) -> Path:
    return _folder(site) / f"r{model.round_number:04d}.{suffix}"


@dataclass(frozen=True)
class Hidden:
    """A masked update, ready to be sealed."""

    body: bodies.Update
    contents: list[artifact.Content]


def hide(site: Site, consent: Approved, masking: Masking, found: Stored) -> Hidden:
    """The next mask key on the disk, then shares and masks, new at every call.

    Raises FedmedError FM-SHR-05, FM-RES-*.
    """
    from fedmed.learning import masking as arithmetic  # noqa: PLC0415 - numpy, only when there is work

    workspace, federation = site.workspace, consent.agreement.federation
    index = masking.own.certificate.index + 1
    following = maskkeys.make(workspace.mask_keys, workspace.key, workspace.name, federation.founding.id, index)
    deal = bundles.deal(masking.context, masking.own, found.sha256)
    vector = found.vector.copy()
    arithmetic.mask(vector, deal.masks.added, deal.masks.subtracted, seeds.keystream(masking.context))
    header = consent.layout.header
    tensors = artifact.streamed_content("update.safetensors", consent.layout.size, [header, vector.data.cast("B")])
    table, privacy = bundles.table_to_bytes(deal.table), found.body.privacy
    said = bodies_masking.Masked(
        context=masking.context.x, table=artifact.sha256(table), dealt=deal.table.dealt, next=following.certificate
    )
    privacy = privacy and privacy.model_copy(update={"noise_multiplier": None})
    return Hidden(
        found.body.model_copy(update={"facts": None, "masked": said, "privacy": privacy}),
        [tensors, artifact.binary_content(bundles.BUNDLES, deal.bundles), artifact.json_content(bundles.SHARES, table)],
    )
