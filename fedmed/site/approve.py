"""`approve`: show the federation and what will leave the hospital, compare the fingerprint, record who consents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedmed import promises, recipe
from fedmed.errors import FedmedError, about
from fedmed.exchange import (
    admission,
    archived,
    artifact,
    bodies_roster,
    examining,
    federation,
    intake,
    keys,
    predicates,
    sealing,
    statement,
)
from fedmed.learning import layout, shapes
from fedmed.site import desk, weighed
from fedmed.strict import require_said

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.artifact import Envelope
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.workspace import Workspace
    from fedmed.recipe import Recipe
    from fedmed.site.desk import Site


@dataclass(frozen=True)
class Proposal:
    """A federation file that verified as being of one piece. Whose it is only the typed fingerprint can tell.

    An update has so many `update_bytes` of tensors, in a file of about `file_bytes`; `rounds` and `screen` say how many
    sites a round has and whether an update is looked at. `promises`: what its patients are promised. `budget`: whether
    they can afford it, in words, where the recipe has `dp`.
    """

    data: bytes
    statement_id: str
    said: statement.Statement
    federation: Federation
    recipe: Recipe
    update_bytes: int
    file_bytes: int
    rounds: str
    screen: str
    leaves: tuple[str, ...]
    promises: list[str]
    budget: str = ""


@dataclass(frozen=True)
class Consent:
    """What was agreed to, by whom, and the file that says so. `needs_budget`: before there are cases fedmed.yaml must
    name the hospital's budget store.
    """

    title: str
    by: str
    is_new: bool
    posted: Path
    needs_budget: bool = False


LEAVES = (
    "once: this hospital's name in the federation, its public key, the contact given at init, and who consented",
    (
        "per round one update: changed weights of the network; number of cases, patients and steps; {loss}"
        "validation metrics (n, mean, standard deviation) of the model received; exclusion counts by code; digests of "
        "the case list, of label_map and of the numbers that {inputs} are normalised by; software versions"
    ),
    (
        "per evaluation one report: of the global model and, if there is one, of this hospital's own, per metric and "
        "label n, mean, standard deviation, counts of missed, spurious and empty cases, a 20-bin histogram; for a "
        "classifier by label two 100-bin histograms of its scores, for a detector also of its candidates' and the "
        "number of boxes; number of cases; exclusion counts by code; how "
        "often the test fold was opened"
    ),
    "with each file: its number, time, the ids of files it answers, length and head of this workspace's ledger",
    "no {parts}, no label, no patient identifier, no pseudonym, no path",
)


FINGERPRINT = (
    "once, before the first round, a fingerprint of the training cases: their number; per channel mean and standard "
    "deviation of the grey values and the means of the cases' 0.5 and 99.5 percentiles; spacing and size along each "
    "axis as counts of cases in steps of 2 %; cases and voxels by class; rounded to five digits, and no percentile or "
    "count by spacing, size or class about fewer cases than the federation's min_count"
)
FINGERPRINT_OF_ROWS = (
    "once, before the first round, a fingerprint of the training cases: their number; per input number of rows, mean "
    "and standard deviation; rounded to five digits, and no input about fewer cases than the federation's min_count"
)


MASKED = (
    (
        "per round one update: changed weights of the network behind masks, of which the coordinator learns the sum "
        "over all hospitals alone; digests of the case list, of label_map and of the numbers that {inputs} are "
        "normalised by; software versions; no number of cases, no loss, no metric"
    ),
    "per round one answer: shares of the masks that are left in a sum of three hospitals or more, this one among them",
)


NEIGHBOUR = (
    "weights go from site to site: the update goes to the next site too, another one in each lap, which so gets the "
    "weights exactly as this hospital leaves them"
)


PRIVATE = (
    "with each update: the epsilon and delta that a training patient has spent in this federation at most, the noise "
    "of the round, and a random name for its entry in this hospital's budget store"
)
CENTRAL = (
    "the coordinator sees the update as it is, cuts it to a length that all have in common, and adds noise to the sum "
    "of all: whoever gets the models learns little of whether this hospital took part, which says nothing of patients"
)
NOT_COVERED = (
    "without noise, and so outside of epsilon: {counts}validation and test metrics with their histograms and counts of "
    "cases, exclusion counts; no breakdown about fewer cases than the federation's min_count, nor one that would "
    "follow from the others"
)


def leaves(chosen: Recipe) -> tuple[str, ...]:
    """What leaves the hospital, in words, with the recipe `chosen`."""
    is_table = isinstance(chosen, recipe.Rowwise)
    words = {"inputs": "columns", "parts": "row, no cell"} if is_table else {"inputs": "images", "parts": "image"}
    words["loss"] = "" if chosen.dp else "training loss; "
    once, update, *rest = (line.format_map(words) for line in LEAVES)
    updates = [update]
    if chosen.aggregation.masks:
        updates = [line.format_map(words) for line in MASKED]
    first = [FINGERPRINT_OF_ROWS if is_table else FINGERPRINT] if chosen.data.pools else []
    behind = [NEIGHBOUR] if chosen.lap_seed is not None else []
    private = [PRIVATE] if chosen.dp else []
    central = [CENTRAL] if chosen.aggregation.central else []
    loss = "" if chosen.dp else "training loss, "
    counts = "" if chosen.aggregation.masks else f"number of cases, patients and steps, {loss}"
    outside = [NOT_COVERED.format(counts=counts)] if private or central else []
    return (once, *first, *updates, *private, *behind, *central, *rest[:-1], *outside, rest[-1])


def approve(
    root: Path,
    now: datetime,
    *,
    by: str,
    ask: Callable[[list[Proposal]], str],
    typed: str | None = None,
) -> Consent:
    """`ask` shows the proposals and returns the fingerprint that the operator typed. `typed` came with the command, and
    is compared also where the site has approved before.

    Raises FedmedError FM-WAI-02 (no federation file), FM-TRU-01 (other fingerprint), FM-TRU-09 (not in the roster),
    FM-TIM-01, FM-TIM-02, FM-USE-01 (no name), and where the recipe has `dp` FM-PRV-01, -02, -03.
    """
    require_said("--by", by, "the name of the person who consents")
    with desk.opened(root, now) as site:
        found = site.workspace
        if (consent := desk.approved(site)) is not None:
            versions = [each.id[: keys.SPOKEN] for each in found.record.of("federation")]
            if typed is not None and keys.normalise_spoken(typed) not in versions:
                words = "the fingerprint typed is not that of the federation approved here"
                raise FedmedError("FM-TRU-01", words + keys.misread(typed))
            return _say_again(site, consent.agreement.federation, consent.recipe, by, now)
        proposals = [_with_budget(site, each) for each in _proposals(found)]
        told = ask(proposals)
        matching = [each for each in proposals if each.statement_id[: keys.SPOKEN] == keys.normalise_spoken(told)]
        if not matching:
            words = "the fingerprint typed is of no federation file in the inbox"
            raise FedmedError("FM-TRU-01", words + keys.misread(told))
        chosen = matching[0]
        _check(chosen, now)
        known = intake.to_known(chosen.statement_id, chosen.said, "accepted", found.name)
        floor = min(chosen.said.predicate.created, statement.to_time(now))
        intake.keep(found, chosen.data, known, "approve", now, floor=floor, by=by)
        return _say_again(site, chosen.federation, chosen.recipe, by, now)


def _with_budget(site: Site, proposal: Proposal) -> Proposal:
    if proposal.recipe.dp is None:
        return proposal
    from fedmed.site import spent  # noqa: PLC0415 - numbers, which most federations need not for this

    return replace(proposal, budget=spent.outlook(site, proposal.recipe))


def _proposals(found: Workspace) -> list[Proposal]:
    """Every sound federation file in the inbox. Raises the fault of the only one there is, or FM-WAI-02."""
    proposals: dict[str, Proposal] = {}
    fault: FedmedError | None = None
    for path in intake.candidates(found):
        try:
            with about(path):
                data, envelope, said = examining.open_self_signed(path, "federation")
            proposals.setdefault(envelope.id, _proposal(data, envelope, said, found))
        except FedmedError as error:
            fault = fault if error.code == "FM-SIG-04" else error  # a good signature for another kind is no fault
    if not proposals:
        if fault is not None:
            raise fault
        raise FedmedError(
            "FM-WAI-02",
            "no federation file has arrived",
            next="put federation-v0001.fedmed into inbox/ and run the command again",
        )
    return list(proposals.values())


def _proposal(data: bytes, envelope: Envelope, said: statement.Statement, found: Workspace) -> Proposal:
    seen = federation.from_statement(said, envelope.id)
    if seen.founding.version > 1:  # people compare the first; what follows it is taken in, or refused, against that
        message = f"expected version 1 of the federation, got version {seen.founding.version}"
        raise FedmedError("FM-TRU-02", message, next="ask the coordinator for federation-v0001.fedmed")
    table = shapes.table_from_bytes(artifact.payload_bytes(data, envelope, said, "tensors.json"))
    chosen = recipe.from_bytes(artifact.payload_bytes(data, envelope, said, "recipe.json"))
    _seat(seen, found)
    largest = layout.agreed(table, **chosen.wire).largest
    size, (rounds, screen) = weighed.file_bytes(seen, chosen, largest), weighed.words(seen, chosen)
    told, promised = leaves(chosen), promises.agreed(chosen)
    return Proposal(data, envelope.id, said, seen, chosen, largest, size, rounds, screen, told, promised)


def _seat(seen: Federation, found: Workspace) -> None:
    """This site must sit in the roster with its own key. Raises FedmedError FM-TRU-09."""
    owner = seen.owner(found.public_key)
    if owner is None or owner.name != found.name:
        raise FedmedError("FM-TRU-09", f"{found.name}: not in the roster of the federation with this site's key")


def _check(chosen: Proposal, now: datetime) -> None:
    admission.require_past(chosen.said, now)
    if statement.to_time(now) > chosen.federation.expires:
        next_ = "ask the coordinator to found a new federation"
        raise FedmedError("FM-TIM-01", f"the federation expired {chosen.federation.expires}", next=next_)


def _say_again(site: Site, agreed: Federation, chosen: Recipe, by: str, now: datetime) -> Consent:
    """Seal the approval, or post the one that was sealed."""
    found = site.workspace
    known = found.record.newest("approval")
    is_new = known is None
    if known is None:
        known = _say_approval(found, agreed, by, now)
    body = archived.read_archived(found, known.id).predicate.body
    signed_by = body.by if isinstance(body, bodies_roster.Approval) else by
    needs_budget = chosen.dp is not None and site.settings.privacy is None
    return Consent(agreed.founding.title, signed_by, is_new, sealing.post(found, known), needs_budget)


def _say_approval(found: Workspace, agreed: Federation, by: str, now: datetime) -> Known:
    def build(opening: Opening, payload: list[predicates.Payload], _: list[statement.Subject]) -> statement.Statement:
        predicate = predicates.ApprovalPredicate(
            **opening.fields(),
            kind="approval",
            federation=agreed.membership,
            recipients=[agreed.coordinator()],
            ack=agreed.digest,
            payload=payload,
            body=bodies_roster.Approval(by=by),
        )
        return statement.make("approval", statement.about("approval", agreed.digest), predicate)

    return sealing.say(found, "approve", "approval", None, [], build, now)
