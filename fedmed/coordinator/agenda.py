"""What comes next at the coordinator, and whose turn it is: for `status` and `run` alike.

It is decided from the ledger, the archive and what lies in the inbox. Reads only.
"""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedmed import recipe, settings
from fedmed.coordinator import closing, laps, masked, opening, outlook, rounds, screening
from fedmed.coordinator.admit import roster
from fedmed.exchange import archived, bodies_reports, predicates

if TYPE_CHECKING:
    from datetime import datetime

    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.rounds import Standing
    from fedmed.errors import FedmedError
    from fedmed.exchange import statement
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.verdict import Verdict
    from fedmed.exchange.workspace import Workspace


Step = Literal["", "unmask", "aggregate", "relay", "evaluate"]


@dataclass(frozen=True)
class Due:
    """What comes next, and whose turn it is. `next` says it to a person, who may always decide otherwise.

    `step` is due and `why` says why. Without a step, `waiting` names what must come first, from a person or by carrier;
    `held` is what was said of a file that a person must decide about, `refused` why the round cannot close. Without any
    of them nothing is left to do.
    """

    next: str
    step: Step = ""
    why: str = ""
    waiting: str = ""
    held: Verdict | None = None
    refused: FedmedError | None = None


def standings(found: Workspace, running: Started) -> list[Standing]:
    """How every site stands in what is open. Of a hundred that mask it reads 70 MB: once in a command is enough."""
    if opening.is_open(found, running):
        return opening.standings(found, running)
    return screening.standings(found, running)


def due(
    found: Workspace,
    running: Started | None,
    arrivals: list[Arrival],
    now: datetime,
    everyone: list[Standing] | None = None,
) -> Due:
    """`arrivals` are the files of the inbox, looked at or taken in; `everyone` the `standings`, where they are known.

    Raises FedmedError FM-SET-*, FM-TRU-11, and before the start FM-RCP-*.
    """
    if running is None:
        return _before_start(found, arrivals)
    round_ = rounds.open_round(found)
    held = _held(arrivals, round_)
    if held is not None and held.code == "FM-TRU-06":  # it ends every command that reads the inbox
        return Due(held.remedy, held=held)
    if opening.is_open(found, running):
        next_ = _before_the_first_model(found, running, arrivals, now)
    elif rounds.is_over(found):
        next_ = _after_the_last(found, running, arrivals)
    elif rounds.order(found):
        next_ = _in_a_lap(found, running, arrivals, now)
    else:
        next_ = _in_a_round(found, running, arrivals, now, everyone or screening.standings(found, running))
    return Due(held.remedy, held=held) if held is not None and next_.waiting else next_


def _before_start(found: Workspace, arrivals: list[Arrival]) -> Due:
    joins = [str(each.path) for each in arrivals if each.verdict.statement and each.verdict.statement.kind == "join"]
    if joins:
        words = "a person who admits the sites whose join files lie in the inbox"
        return Due(shlex.join(["fedmed", "admit", *joins]), waiting=words)
    admitted, draft = len(roster(found)), settings.load_federation(found.root)
    if admitted < draft.min_sites:
        return Due("put the sites' join files into inbox/", waiting="the join files of the sites")
    chosen = recipe.load(found.root / "recipe.yaml")
    needed = closing.strategy_of(chosen, 0, draft.rounds, admitted).min_sites
    if admitted < needed:
        why = f"{chosen.strategy.name} needs {needed}, admitted are {admitted}"
        files = "the join files of more sites"
        return Due(f"put {files} into inbox/: {why}", waiting=f"{files}: {why}")
    return Due("fedmed start", waiting="a person who starts the federation when all sites are admitted")


def _before_the_first_model(found: Workspace, running: Started, arrivals: list[Arrival], now: datetime) -> Due:
    """Approvals or fingerprints are awaited, or pooled and the model was not sealed yet."""
    new = _acceptable(arrivals)
    missing = [name for name in opening.unapproved(found, running) if ("approval", name) not in new]
    if missing:
        names = ", ".join(missing)
        return Due(f"wait for the approvals of {names}", waiting=f"approvals of all sites; not in: {names}")
    if not running.pools:
        return Due("fedmed aggregate", "aggregate", "all sites have approved")
    if running.agreement.federation.preprocessing is not None:
        return Due("fedmed aggregate", "aggregate", "the fingerprints are pooled, and model r0 is not sealed yet")

    def is_in(each: Standing) -> bool:
        has_approval = found.record.of("approval", sender=each.site) or ("approval", each.site) in new
        has_told = each.status in ("used", "unapproved") or ("fingerprint", each.site) in new
        return bool(has_approval and has_told and each.status not in ("excluded", "revoked"))

    everyone = opening.standings(found, running)
    expected = [dataclasses.replace(each, status="used") if is_in(each) else each for each in everyone]
    why_open = closing.why_open(found, running, expected, now, close=False)
    if not why_open:
        return Due("fedmed aggregate", "aggregate", "the sites' fingerprints can be pooled")
    silent = ", ".join(each.site for each in expected if each.is_awaited)
    return Due(f"wait for the fingerprints of {silent}", waiting=f"fingerprints: {why_open}")


def _in_a_round(
    found: Workspace, running: Started, arrivals: list[Arrival], now: datetime, everyone: list[Standing]
) -> Due:
    """All train at once; behind masks their sum is opened, where it still can be."""
    if running.masks:
        kind = "unmask-reply" if masked.fixed(found) else "update"
        coming = {name for each, name in _acceptable(arrivals) if each == kind}
        if lost := outlook.lost(found, running, everyone, coming):
            return Due(lost.next, waiting=lost.message, refused=lost)
        if masked.fixed(found):
            return _in_a_sum(found, running, arrivals)
    expected = _with_what_waits(found, running, everyone, arrivals, rounds.open_round(found))
    why_open = closing.why_open(found, running, expected, now, close=False)
    if not why_open:
        step: Step = "unmask" if running.masks else "aggregate"
        return Due(f"fedmed {step}", step, f"{rounds.open_name(found)} can close")
    missing = ", ".join(each.site for each in expected if each.is_awaited)
    words = closing.about_held(running, expected) or f"wait for {missing}{_without(running, expected)}"
    return Due(words, waiting=f"{rounds.open_name(found)}: {why_open}")


def _in_a_sum(found: Workspace, running: Started, arrivals: list[Arrival]) -> Due:
    """The sites in it were asked; with enough answers the masks come off."""
    included, open_ = masked.fixed(found), masked.opened(found, running)
    asked, coming = masked.said_requests(found, open_.model, included), _acceptable(arrivals)
    lost = [site for site in masked.not_here(found, included) if ("update", site) not in coming]
    if lost:
        words = f"the updates of {', '.join(lost)} that are in the sum of {rounds.open_name(found)}"
        return Due(f"ask again for {words}", waiting=words)
    if len(asked) < len(included):
        return Due("fedmed unmask", "unmask", "not every site in the sum has been asked yet")
    answers = masked.replies(found, open_, included)
    new = {name for kind, name in coming if kind == "unmask-reply"} & included.keys()
    if len(answers.keys() | new) >= running.terms.threshold:
        return Due("fedmed aggregate", "aggregate", f"{running.terms.threshold} answers open the sum")
    missing = ", ".join(sorted(included.keys() - answers.keys() - new))
    words = f"{len(answers.keys() | new)} of {running.terms.threshold} answers that open the sum are in"
    waiting = f"{rounds.open_name(found)}: {words}; not in: {missing}"
    return Due(f"wait for the unmask-reply of {missing}", waiting=waiting)


def _in_a_lap(found: Workspace, running: Started, arrivals: list[Arrival], now: datetime) -> Due:
    """One site after another: what has come goes on to the next, until the lap can close."""
    everyone, round_ = screening.standings(found, running), rounds.open_round(found)
    why_open = closing.why_open(found, running, everyone, now, close=False)
    if not why_open:
        return Due("fedmed aggregate", "aggregate", f"round {round_} can close")
    coming = [each.sender for each in _new_updates(found, arrivals)]
    if coming:
        return Due("fedmed aggregate", "aggregate", f"updates of {', '.join(coming)} have come")
    if laps.is_to_be_relayed(found, everyone):
        return Due("fedmed aggregate", "relay", "the next site waits for an update that is here")
    turn = next(each.site for each in everyone if each.status != "used")
    wait = f"wait for {turn}, whose turn it is{_without(running, everyone)}"
    words = closing.about_held(running, everyone) or wait
    return Due(words, waiting=f"round {round_}: {why_open}")


def _without(running: Started, expected: list[Standing]) -> str:
    """What a person can do where a site stays silent and enough are in."""
    command = "unmask" if running.masks else "aggregate"
    return f"; fedmed {command} --close -w HERE goes on without" if closing.is_enough(running, expected) else ""


def _new_updates(found: Workspace, arrivals: list[Arrival]) -> list[statement.Statement]:
    """Those of the inbox that were not taken in yet."""
    said = [each.verdict.statement for each in arrivals if each.verdict.outcome == "accepted"]
    updates = [each for each in said if each and isinstance(each.predicate, predicates.UpdatePredicate)]
    known = {(each.sender, each.seq) for each in found.record.received}
    return [each for each in updates if (each.sender, each.predicate.seq) not in known]


def _after_the_last(found: Workspace, running: Started, arrivals: list[Arrival]) -> Due:
    """A table of what has come can be seen at any time; it is due when every site has sent its report."""
    names, new = running.agreement.federation.site_names, _acceptable(arrivals)
    has_report = bool(found.record.of("report")) or "report" in {kind for kind, _ in new}
    here, coming = reports_on_test_fold(found), _coming_reports(arrivals, rounds.open_round(found))
    missing = [name for name in names if name not in here and name not in coming]
    look = "fedmed evaluate --split test" if here or coming else "fedmed evaluate"
    next_ = look if has_report else f"wait for the reports of {', '.join(names)}"
    if missing:
        return Due(next_, waiting=f"the reports on the test fold of {', '.join(missing)}")
    if coming or sorted(here.values()) != shown(found):
        return Due(next_, "evaluate", "all sites have sent their reports on the test fold")
    return Due(next_)


def reports_on_test_fold(found: Workspace) -> dict[str, str]:
    """The id of each site's latest report on the last model and the test fold."""
    latest: dict[str, Known] = {}
    for known in found.record.of("report", round=rounds.open_round(found)):
        body = archived.read_archived(found, known.id).predicate.body
        is_later = known.sender not in latest or latest[known.sender].seq < known.seq
        if isinstance(body, bodies_reports.Report) and body.split == "testing" and is_later:
            latest[known.sender] = known
    return {site: known.id for site, known in latest.items()}


def _coming_reports(arrivals: list[Arrival], round_: int) -> set[str]:
    """The sites whose report on the test fold lies in the inbox, or was taken in from there a moment ago."""
    said = [each.verdict.statement for each in arrivals if each.verdict.outcome == "accepted"]
    reports = [each.predicate for each in said if each and isinstance(each.predicate, predicates.ReportPredicate)]
    return {each.sender.name for each in reports if each.round == round_ and each.body.split == "testing"}


def shown(found: Workspace) -> list[str]:
    """The reports in the last table that `run` made."""
    notes = (facts for _, facts in reversed(found.record.notes) if facts.get("what") == "pooled")
    return next((list(facts["reports"]) for facts in notes), [])


def _held(arrivals: list[Arrival], round_: int) -> Verdict | None:
    """The file that a person must decide about, if it is of the open round or says none."""
    held = []
    for each in arrivals:
        said = each.verdict.statement
        of_round = getattr(said.predicate, "round", None) if said else None
        is_open = of_round is None or of_round >= round_ or each.verdict.code == "FM-TRU-06"
        if is_open and each.verdict.outcome in ("rollback", "expired", "future"):
            held.append(each.verdict)
    return next((verdict for verdict in held if verdict.code == "FM-TRU-06"), next(iter(held), None))


def _with_what_waits(
    found: Workspace, running: Started, everyone: list[Standing], waiting: list[Arrival], round_: int
) -> list[Standing]:
    """Where the sites will stand once the inbox is taken in; with one more update all are compared again."""
    new, newest = _acceptable(waiting), found.record.newest("model")
    is_compared_again = "update" in {kind for kind, _ in new}

    def is_in(site: str) -> bool:
        has_approval = found.record.of("approval", sender=site) or ("approval", site) in new
        where = {"round": round_, "attempt": newest.attempt if newest else 1}
        has_update = found.record.newest("update", sender=site, **where) or ("update", site) in new
        return bool(has_approval and has_update)

    def stays(standing: Standing) -> bool:
        is_spoiled = standing.status == "refused" and running.masks and ("update", standing.site) not in new
        is_kept = standing.status in ("excluded", "revoked") or is_spoiled
        return is_kept or (standing.status == "held" and not is_compared_again)

    return [
        dataclasses.replace(each, status="used") if not stays(each) and is_in(each.site) else each for each in everyone
    ]


def _acceptable(waiting: list[Arrival]) -> set[tuple[str, str]]:
    """Kind and sender of what would be accepted now."""
    said = [each.verdict.statement for each in waiting if each.verdict.outcome == "accepted"]
    return {(each.kind, each.sender) for each in said if each}
