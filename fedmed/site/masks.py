"""May this site mask its update for a model, and with which keys? Looked at before hours of training, by the command
that seals under the same lock, and once more before shares are revealed.

The coordinator only forwards certificates and approvals: every one is checked here, because with a roster or keys that
it made up the coordinator would read what is masked. Source: PRIVACY.md section 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import (
    approvals,
    archived,
    attempts,
    bodies,
    certificates,
    keys,
    maskkeys,
    pins,
    receipts,
    rotations,
    sealing,
    seeds,
)
from fedmed.exchange.bodies_roster import Receipt, Rotation
from fedmed.exchange.federation import COORDINATOR
from fedmed.exchange.record import SPARED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.bodies import Model
    from fedmed.exchange.certificates import Certificate, MaskKey
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Known
    from fedmed.exchange.seeds import Context
    from fedmed.learning.masking import Quantiser
    from fedmed.learning.masking_terms import Terms
    from fedmed.site.desk import Approved, Site


RENEWED = "mask-keys-renewed"  # what the note is called that a restored site writes before its new keys


@dataclass(frozen=True)
class Masking:
    """What an update of this site is masked with: its keys, what masks are bound to, how it becomes whole numbers."""

    own: MaskKey
    context: Context
    quantiser: Quantiser


def terms(consent: Approved) -> Terms:
    """What the federation agreed about masks. Raises FedmedError FM-SHR-06."""
    from fedmed.learning import masking_terms  # noqa: PLC0415 - numpy, which `status` needs not

    body, chosen = consent.agreement.federation.body, consent.recipe
    return masking_terms.terms(
        [member.max_num_cases for member in body.roster],
        chosen.aggregation.colluders,
        chosen.aggregation.ring,
        min_sites=body.limits.min_sites,
        equal=chosen.strategy.weight == "equal",
    )


def require(site: Site, consent: Approved, model: Known) -> Masking:
    """Raises FedmedError FM-MSK-01 (not approved by all), -02 (too many peers that nobody confirmed), -03 (another clip
    than agreed), -06 (classes that are absent here), -20 (another clip than in an attempt before), FM-ROS-07,
    FM-SHR-01 to -06, FM-KEY-*, FM-TRU-11.
    """
    found, federation, agreed = site.workspace, consent.agreement.federation, terms(consent)
    body, round_ = body_of(site, model), model.round_number
    if why := sits_out(site, round_, model.attempt, body.masks):
        next_ = without_part(consent, round_)
        raise FedmedError("FM-ROS-07", f"round {round_}, attempt {model.attempt}: {why}", next=next_)
    require_people(site, consent, model)
    mine = next((each for each in body.masks if each.site == found.name), None)
    if mine is None or body.clip is None:
        raise FedmedError("FM-SHR-03", f"model of round {model.round}: no mask certificate of this site")
    clip = _agreed_clip(consent, float(body.clip))
    _require_one_clip(site, model, clip)
    own = maskkeys.of(found.mask_keys, found.key, mine)
    certificates.check_all(body.masks, federation, own, _highest(site, model))
    return Masking(own, seeds.context(model.id, body.masks, agreed.threshold), agreed.quantiser(clip))


def require_people(site: Site, consent: Approved, model: Known | None) -> None:
    """What people must have done first: labelled every class, approved, called each other. `model` is None where it is
    not taken in yet. Raises FedmedError FM-MSK-01, -02, -06.
    """
    if site.settings.absent:
        raise FedmedError("FM-MSK-06", f"absent: expected no class, got {len(site.settings.absent)}")
    if model is not None:
        _require_approved(site, consent, model)
    if pins.unpinned(site.workspace, consent.agreement.federation):  # else `status` needs no numpy
        _require_known(site, consent, terms(consent).colluders)


def sits_out(site: Site, round_: int, attempt: int, listed: Sequence[Certificate]) -> str:
    """Why this site, once restored, has no part in an attempt of a round; empty where it has. `listed` are the
    certificates of that attempt's model.

    It may have answered about the same weights before, with keys that it has no more, and two answers tell of the
    hospitals in between. What a coordinator shows to this site alone is no evidence that it did not: it can sign a
    first attempt of before once more. But in a sum on a first attempt that lists the new keys there is another honest
    hospital, and that one takes no second first attempt, and none behind a later one. So this site begins with the
    first attempt of a round, and goes on to others behind its answer about that.
    """
    record = site.workspace.record
    if round_ <= record.answered:
        return "may have been answered before this site was restored"
    if not record.resumes:
        return ""
    if attempt > 1:
        is_answered = bool(attempts.answered(record, round_, 1))
        return "" if is_answered else "this site was restored, and has not answered the first attempt since"
    renewed, name = _renewed(site), site.workspace.name
    if not renewed or renewed[-1] not in maskkeys.held(site.workspace.mask_keys):
        return ""  # used and erased since; or `recover` was killed, and there are none that it could mask with
    if any(each.site == name and each.index >= renewed[-1] for each in listed):
        return ""
    file = f"outbox/receipt-{COORDINATOR}-by-{name}.fedmed"
    return f"lists mask keys of before this site was restored; the coordinator needs {file} to list the new ones"


def without_part(consent: Approved, round_: int) -> str:
    """What is left to do for a site that sits a round out. Whether the others can close it, the coordinator knows."""
    then = f"model-r{round_ + 1:04d}.fedmed comes if the others can close it"
    if round_ + 1 >= consent.agreement.federation.body.limits.rounds:
        return f"nothing more to send: this site sits round {round_} out, which is the last; {then}"
    return f"send what is new in outbox/: this site sits round {round_} out, and masks again in the next; {then}"


def _agreed_clip(consent: Approved, clip: float) -> float:
    """How long an update may be is the coordinator's word only where the recipe lets it follow the updates.

    Raises FedmedError FM-MSK-03.
    """
    agreed = consent.recipe.aggregation.clip
    if agreed is None:
        raise ValueError("a recipe that masks has a clip")
    lowest = agreed.norm if agreed.times_last is None else agreed.norm / 1000
    if not lowest * (1 - 1e-6) <= clip <= agreed.norm * (1 + 1e-6):
        raise FedmedError("FM-MSK-03", f"clip: expected {lowest:g} to {agreed.norm:g}, as agreed, got {clip:g}")
    return clip


def _require_one_clip(site: Site, model: Known, clip: float) -> None:
    """Another attempt of a round masks the same numbers again: with another clip the site would train again, spend its
    privacy budget again, and tell of the same model twice.
    """
    for known in site.workspace.record.models():
        held = body_of(site, known).clip if known.round == model.round else None
        if held is not None and float(held) != clip:
            words = f"expected {float(held):g} as in attempt {known.attempt}, got {clip:g}"
            raise FedmedError("FM-MSK-20", f"clip of round {model.round}, attempt {model.attempt}: {words}")


def _require_approved(site: Site, consent: Approved, model: Known) -> None:
    federation = consent.agreement.federation
    brought = archived.read_payload(site.workspace, model.id, approvals.PAYLOAD)
    missing = set(federation.site_names) - set(approvals.approved_by(brought, federation, site.workspace.record.counts))
    if missing:
        names = ", ".join(sorted(missing))
        raise FedmedError("FM-MSK-01", f"model of round {model.round}: no approval of {names}")


def _require_known(site: Site, consent: Approved, colluders: int) -> None:
    """Whom nobody has called may be the coordinator's invention, and counts among those that may collude, as a site
    whose key was revoked.
    """
    found, federation = site.workspace, consent.agreement.federation
    unknown, stolen = pins.unpinned(found, federation), pins.revoked(found.record, federation)
    if len(unknown) <= colluders:
        return
    names = " ".join(pins.uncalled(found, federation))
    next_ = f"call these hospitals, and then: fedmed keys pin {names} -w HERE"
    if len(stolen) > colluders:
        next_ = f"{', '.join(stolen)}: revoked; call the coordinator"
    words = f"expected at most {colluders} sites that are not confirmed here, got {', '.join(unknown)}"
    raise FedmedError("FM-MSK-02", words, next=next_)


def body_of(site: Site, model: Known) -> Model:
    """What a model that is here says."""
    body = archived.read_archived(site.workspace, model.id).predicate.body
    if not isinstance(body, bodies.Model):
        raise TypeError("a model has the body of a model")
    return body


def _highest(site: Site, model: Known) -> dict[str, int]:
    """The highest index that any model here lists of each site, but for the models behind this one."""
    highest: dict[str, int] = {}
    for known in site.workspace.record.models():
        if (known.round_number, known.attempt) < (model.round_number, model.attempt):
            for each in body_of(site, known).masks:
                highest[each.site] = max(highest.get(each.site, 0), each.index)
    return highest


def erase_spent(site: Site) -> list[int]:
    """Erase private keys that nothing needs any more, and say which indices that were: those below the one that a model
    lists, unless an update made with them waits to be unmasked. Raises FedmedError FM-RES-*.
    """
    found = site.workspace
    listed = [
        (known, each.index)
        for known in found.record.models()
        for each in body_of(site, known).masks
        if each.site == found.name
    ]
    if not listed:
        return []
    newest, index = listed[-1]
    sent = found.record.of("update", round=newest.round, attempt=newest.attempt)
    answered = found.record.of("unmask-reply", round=newest.round, attempt=newest.attempt)
    in_use = [index] if sent and not answered else []
    return maskkeys.erase(found.mask_keys, max(number for _, number in listed), in_use)


def spare_index(site: Site, federation: Federation) -> int:
    """The index of mask keys that a new signing key certifies: above all that the old one may certify meanwhile."""
    return _highest_own(site, federation) + SPARED


def are_behind(site: Site, federation: Federation) -> bool:
    """Whether the mask keys of a rotation that waits are older than others that were told: no model would list them."""
    found = site.workspace
    waiting = [each for each in rotations.pending(found.record, federation) if each.sender == found.name]
    said = [archived.read_archived(found, each.id).predicate.body for each in waiting]
    named = [each.mask.index for each in said if isinstance(each, Rotation) and each.mask]
    return bool(named) and max(named) < _highest_own(site, federation)


def renew(site: Site, consent: Approved, now: datetime) -> Path:
    """New mask keys after a restore that erased the old ones, and their certificate in a receipt to the coordinator.

    Their index is above all that were told since the backup. Raises FedmedError FM-ROS-10, FM-KEY-*, FM-RES-*.
    """
    found, federation = site.workspace, consent.agreement.federation
    index = _highest_own(site, federation) + 2 * SPARED * found.record.resumes  # beyond a rotation that is lost, too
    found.write_entry("recover", "note", now, what=RENEWED, index=index)
    own = maskkeys.make(found.mask_keys, found.key, found.name, federation.founding.id, index)
    return sealing.post(found, receipts.give(found, federation, COORDINATOR, now, own.certificate))


def certify_again(site: Site, consent: Approved, now: datetime) -> None:
    """After a restore while a rotation was waiting: the mask keys that this named are erased, and the new ones were
    certified by the signing key that it replaces. Once, as soon as the next key is in force.

    Raises FedmedError FM-ROS-10, FM-KEY-*, FM-RES-*.
    """
    found, federation, renewed = site.workspace, consent.agreement.federation, _renewed(site)
    if not renewed or _highest_own(site, federation) > renewed[-1] or renewed[-1] not in maskkeys.held(found.mask_keys):
        return
    receipts_ = found.record.of("receipt", sender=found.name)
    said = [archived.read_archived(found, each.id).predicate.body for each in receipts_]
    given = [each.mask for each in said if isinstance(each, Receipt) and each.mask]
    if any((each.index, each.key) == (renewed[-1], keys.fingerprint(found.public_key)) for each in given):
        return
    own = maskkeys.load(found.mask_keys, found.key, found.name, federation.founding.id, renewed[-1])
    sealing.post(found, receipts.give(found, federation, COORDINATOR, now, own.certificate))


def _renewed(site: Site) -> list[int]:
    """The indices of the mask keys that were made after restores."""
    return [facts["index"] for _, facts in site.workspace.record.notes if facts.get("what") == RENEWED]


def _highest_own(site: Site, federation: Federation) -> int:
    """The highest index of this site's mask keys that it knows of, also of those that a rotation names. What a model
    lists under its name counts if its key certified it.
    """
    found, id_ = site.workspace, federation.founding.id
    listed = [each for known in found.record.models() for each in body_of(site, known).masks]
    told = [each for each in listed if _is_own(site, each, id_)]
    own = found.record.of("rotation", sender=found.name)
    said = [archived.read_archived(found, known.id).predicate.body for known in own]
    said += [rotations.quoted(each, id_)[0].body for each in federation.body.rotations]
    told += [each.mask for each in said if isinstance(each, Rotation) and each.mask and each.mask.site == found.name]
    return max([certificates.FIRST, *(each.index for each in told), *_renewed(site)])


def _is_own(site: Site, listed: Certificate, federation: str) -> bool:
    found = site.workspace
    try:
        certificates.check(listed, found.name, found.public_key, federation)
    except FedmedError:
        return False
    return True
