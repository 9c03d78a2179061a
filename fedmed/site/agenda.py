"""What comes next at a site, and whose turn it is: for `status` and `run` alike.

It is decided from the ledger, the archive and what lies in the inbox. Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies_reports, keys, predicates
from fedmed.site import laps, masks

if TYPE_CHECKING:
    from fedmed.exchange.certificates import Certificate
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.verdict import Verdict
    from fedmed.site.desk import Approved, Site


TUNED = "tuned"  # what a note is called that says what became of fine-tuning


@dataclass(frozen=True)
class Due:
    """What comes next, and whose turn it is. `next` says it to a person, who may always decide otherwise.

    `step` is due and `why` says why. Without a step, `waiting` names what must come first, from a person or by carrier;
    `held` is what was said of a file that a person must decide about, `refused` why the step that is due would fail.
    Without any of them nothing is left to do.
    """

    next: str
    step: Literal["", "partition", "train-local", "unmask", "evaluate"] = ""
    why: str = ""
    waiting: str = ""
    held: Verdict | None = None
    refused: FedmedError | None = None


def due(site: Site, consent: Approved | None, arrivals: list[Arrival]) -> Due:
    """`arrivals` are the files of the inbox, looked at or taken in. Raises FedmedError FM-TRU-11."""
    if consent is None:
        return _before_consent(site, arrivals)
    if _is_revoked(site, arrivals):
        words = f"{site.settings.name}: the coordinator has revoked this workspace's key"
        return _refused(FedmedError("FM-ROS-11", words))
    return _with_consent(site, consent, arrivals)


def _with_consent(site: Site, consent: Approved, arrivals: list[Arrival]) -> Due:
    known = site.workspace.record.newest("model")
    before = -1 if known is None else known.round_number
    held = _held(arrivals, before)
    if held is not None and held.code == "FM-TRU-06":  # it ends every command that reads the inbox
        return Due(held.remedy, held=held)
    if not site.cases_file.exists():
        return Due("fedmed partition", "partition", "cases.json is not written yet")
    accepted = [each for each in arrivals if each.verdict.outcome == "accepted"]
    arrived = [_round_of(each) for each in accepted]
    round_ = max(before, *(each for each in arrived if each is not None), -1)
    if held is not None and not arrived:
        return Due(held.remedy, held=held)
    if consent.awaits_numbers:
        return _before_the_first_model(site, has_come=bool(accepted))
    has_hop = any(each.verdict.statement and each.verdict.statement.kind == "update" for each in accepted)
    is_last = _is_last(site, accepted, round_)
    return _after(site, consent, accepted, round_, is_last=is_last, is_new=round_ > before, has_hop=has_hop)


def _refused(error: FedmedError) -> Due:
    return Due(error.next, waiting=error.message, refused=error)


def _is_revoked(site: Site, arrivals: list[Arrival]) -> bool:
    """This workspace itself, also by a file that is not taken in yet."""
    said = [each.verdict.statement.predicate for each in arrivals if each.verdict.statement]
    coming = [each.body.key for each in said if isinstance(each, predicates.RevocationPredicate)]
    own = keys.fingerprint(site.workspace.public_key)
    return own in site.workspace.record.revoked or own in coming


def _before_consent(site: Site, arrivals: list[Arrival]) -> Due:
    if any(each.verdict.statement and each.verdict.statement.kind == "federation" for each in arrivals):
        return Due("fedmed approve", waiting="a person's consent: a federation lies in the inbox")
    join = f"send outbox/join-{site.settings.name}.fedmed to the coordinator"
    return Due(join, waiting="the coordinator's federation-v0001.fedmed")


def _before_the_first_model(site: Site, *, has_come: bool) -> Due:
    """`has_come`: a version of the federation with fitted numbers lies in the inbox."""
    if has_come:
        return Due("fedmed train-local", "train-local", "the numbers fitted on all sites have arrived")
    if site.workspace.record.newest("fingerprint", sender=site.workspace.name) is None:
        return Due("fedmed train-local", "train-local", "the federation waits for a fingerprint of the training cases")
    files_ = "federation-v0002.fedmed and model-r0000.fedmed"
    return Due(f"wait for {files_}", waiting=f"the coordinator's {files_}")


def _is_last(site: Site, accepted: list[Arrival], round_: int) -> bool:
    """Whether the model of `round_`, which is here or lies in the inbox, is the last."""
    known, said = site.workspace.record.model(round_), [each.verdict.statement for each in accepted]
    coming = [each.predicate for each in said if each and isinstance(each.predicate, predicates.ModelPredicate)]
    return bool(known and known.last) or any(each.body.last for each in coming if each.round == round_)


def _after(
    site: Site,
    consent: Approved,
    accepted: list[Arrival],
    round_: int,
    *,
    is_last: bool,
    is_new: bool,
    has_hop: bool,
) -> Due:
    """What the model of `round_` asks for. A person looks at the validation fold before the last fold is opened.

    `has_hop`: the update that this site goes on from in a lap is among the files that have come.
    """
    if is_last and _is_to_tune(site, consent, round_):
        return Due("fedmed train-local", "train-local", f"model r{round_:04d} is the last, and not tuned to this site")
    if is_last and not _has_test_report(site, round_):
        look = "fedmed evaluate" if is_new else "fedmed evaluate --split test"
        return Due(look, "evaluate", f"model r{round_:04d} is the last, and no report on the test fold is sealed")
    if is_last:
        return Due("nothing left to do")
    if round_ < 0:
        return Due("wait for model-r0000.fedmed", waiting="the coordinator's model-r0000.fedmed")
    return _in_a_round(site, consent, accepted, round_, has_hop=has_hop)


def _in_a_round(site: Site, consent: Approved, accepted: list[Arrival], round_: int, *, has_hop: bool) -> Due:
    """Its update, and what follows; or the next model, where this site has no part in the last attempt."""
    record, name = site.workspace.record, site.settings.name
    attempt, listed = _newest_attempt(site, accepted, round_)
    if why := masks.sits_out(site, round_, attempt, listed):
        file = f"model-r{round_ + 1:04d}.fedmed"
        next_ = masks.without_part(consent, round_) if consent.masks else f"wait for {file}"
        return Due(next_, waiting=f"the coordinator's {file}: round {round_}, attempt {attempt}: {why}")
    if not record.of("update", sender=name, round=round_, attempt=attempt):
        model = record.model(round_)
        if model and not has_hop and (words := laps.waits_for(site, model)):
            return Due(f"wait for {words}", waiting=f"round {round_}: {words}")
        return _to_train(site, consent, model, round_)
    return _behind_the_update(site, accepted, round_, attempt, masks=consent.masks)


def _to_train(site: Site, consent: Approved, model: Known | None, round_: int) -> Due:
    """`train-local`, where it would not refuse to begin."""
    try:
        if consent.masks:
            masks.require_people(site, consent, model)
        is_trained = consent.masks and site.workspace.record.of("update", sender=site.settings.name, round=round_)
        if consent.recipe.dp is not None and not is_trained:
            from fedmed.site import private, rounds, train  # noqa: PLC0415 - numpy, which `status` else needs not

            cases = rounds.require_cases(site, consent)
            private.require_left(site, consent, cases, round_, train.checkpoint(site, round_))
    except FedmedError as error:
        return _refused(error)
    return Due("fedmed train-local", "train-local", f"model r{round_:04d} is not answered yet")


def _newest_attempt(site: Site, accepted: list[Arrival], round_: int) -> tuple[int, list[Certificate]]:
    """The last attempt of a round, which is here or lies in the inbox, and the mask certificates that it lists."""
    model = site.workspace.record.model(round_)
    said = [each.verdict.statement.predicate for each in accepted if each.verdict.statement]
    said += [archived.read_archived(site.workspace, model.id).predicate] if model else []
    found = [each for each in said if isinstance(each, predicates.ModelPredicate) and each.round == round_]
    newest = max(found, key=lambda each: each.attempt, default=None)
    return (newest.attempt, newest.body.masks) if newest else (1, [])


def _behind_the_update(site: Site, accepted: list[Arrival], round_: int, attempt: int, *, masks: bool) -> Due:
    """It is sealed: the next model comes, or before it a request for shares of the masks in the sum."""
    record, file = site.workspace.record, f"model-r{round_ + 1:04d}.fedmed"
    if not masks or record.of("unmask-reply", round=round_, attempt=attempt):
        return Due(f"wait for {file}", waiting=f"the coordinator's {file}")
    said = [each.verdict.statement for each in accepted]
    coming = [each for each in said if each and isinstance(each.predicate, predicates.UnmaskRequestPredicate)]
    if coming or record.of("unmask-request", round=round_, attempt=attempt):
        return Due("fedmed unmask", "unmask", f"the coordinator asks for shares of the masks of round {round_}")
    again = f"-a{attempt}" if attempt > 1 else ""
    files_ = f"unmask-request-r{round_:04d}{again}-{site.settings.name}.fedmed, or {file}"
    return Due(f"wait for {files_}", waiting=f"the coordinator's {files_}")


def _is_to_tune(site: Site, consent: Approved, round_: int) -> bool:
    """Whether the recipe asks for fine-tuning and the last model, once it is taken in, was never tuned here."""
    known = site.workspace.record.model(round_)
    notes = [facts for _, facts in site.workspace.record.notes if facts.get("what") == TUNED]
    is_done = known is not None and any(each["model"] == known.payload for each in notes)
    return consent.recipe.training.fine_tune_steps > 0 and not is_done


def _has_test_report(site: Site, round_: int) -> bool:
    for known in site.workspace.record.of("report", sender=site.settings.name, round=round_):
        body = archived.read_archived(site.workspace, known.id).predicate.body
        if isinstance(body, bodies_reports.Report) and body.split == "testing":
            return True
    return False


def _held(arrivals: list[Arrival], round_: int) -> Verdict | None:
    """The file that a person must decide about; an expired one only if it is of a round to come."""
    held = []
    for each in arrivals:
        outcome, said = each.verdict.outcome, _round_of(each)
        is_ahead = said is None or said > round_
        if outcome == "rollback" or (outcome in ("expired", "future") and is_ahead):
            held.append(each.verdict)
    return next((verdict for verdict in held if verdict.code == "FM-TRU-06"), next(iter(held), None))


def _round_of(arrival: Arrival) -> int | None:
    said = arrival.verdict.statement
    return getattr(said.predicate, "round", None) if said else None
