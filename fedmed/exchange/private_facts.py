"""What leaves the statement and goes into the encrypted payload `body.json` where a federation encrypts its payloads.

Counts, metrics and words about single hospitals are for the recipients alone. The statement stays readable by anyone
who carries the file: who speaks to whom, about which round, and how long the payloads are.
"""

from typing import Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from fedmed.errors import FedmedError
from fedmed.exchange import bodies, bodies_reports, canonical, predicates, statement
from fedmed.exchange.bodies_privacy import PrivacyBlock
from fedmed.exchange.fields import Count, Decimal, Sent, Text

MAX_BYTES = statement.MAX_BYTES


class OfUpdate(Sent):
    facts: bodies.UpdateFacts
    privacy: PrivacyBlock | None

    @model_validator(mode="after")
    def _with_its_noise(self) -> Self:
        if self.privacy and self.privacy.noise_multiplier is None:
            raise ValueError("the noise of an update is told, unless it is masked")
        bodies.require_quiet(self.facts, self.privacy)
        return self


class OfReport(Sent):
    facts: bodies_reports.ReportFacts


class OfModel(Sent):
    """`weights` and `shares` of the parents, and the `reasons` of the receipts, each in the statement's order."""

    weights: list[Count] = Field(max_length=100)
    shares: list[Decimal] = Field(max_length=100)
    reasons: list[Text] = Field(max_length=100)
    pooled: list[bodies.Metric] = Field(max_length=200)


Private = OfUpdate | OfReport | OfModel
_P = TypeVar("_P", bound=predicates.AnyPredicate)


def hide(predicate: _P) -> tuple[_P, bytes]:
    """The predicate without them, and `body.json`. Raises ValueError for a kind whose payloads are never encrypted."""
    public, private = _parted(predicate)
    return public, canonical.encode(private.model_dump(mode="json"))


def _parted(predicate: _P) -> tuple[_P, Private]:
    if isinstance(predicate, predicates.UpdatePredicate):
        update = predicate.body
        public = {"body": update.model_copy(update={"facts": None, "privacy": None})}
        return predicate.model_copy(update=public), OfUpdate(facts=update.told, privacy=update.privacy)
    if isinstance(predicate, predicates.ReportPredicate):
        report = {"body": predicate.body.model_copy(update={"facts": None})}
        return predicate.model_copy(update=report), OfReport(facts=predicate.body.told)
    if not isinstance(predicate, predicates.ModelPredicate):
        raise ValueError(f"a {predicate.kind} is not encrypted")
    model = predicate.body
    parents = [each.model_copy(update={"weight": None, "share": None}) for each in model.parents]
    private = OfModel(
        weights=[each.weight for each in model.parents if each.weight is not None],
        shares=[each.share for each in model.parents if each.share is not None],
        reasons=[each.reason for each in predicate.ack],
        pooled=model.pooled,
    )
    shown: dict[str, object] = {
        "body": model.model_copy(update={"parents": parents, "pooled": []}),
        "ack": [each.model_copy(update={"reason": ""}) for each in predicate.ack],
    }
    return predicate.model_copy(update=shown), private


def show(said: statement.Statement, data: bytes) -> statement.Statement:
    """The statement with what its `body.json` says, as if it had never been hidden.

    Raises FedmedError FM-FRM-02, FM-FRM-03.
    """
    canonical.decode(data)
    predicate = said.predicate
    kinds: dict[str, type[OfUpdate] | type[OfReport] | type[OfModel]]
    kinds = {"update": OfUpdate, "report": OfReport, "model": OfModel}
    try:
        private = kinds[said.kind].model_validate_json(data, strict=True)
        if canonical.encode(private.model_dump(mode="json")) != data:
            raise ValueError("a field under another name")
        shown = _joined(predicate, private)
    except (ValidationError, ValueError) as error:
        first = error.errors(include_url=False, include_input=False)[0] if isinstance(error, ValidationError) else None
        fault = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}" if first else str(error)
        raise FedmedError("FM-FRM-03", f"{statement.PRIVATE} of {said.kind} {said.sender}: {fault}") from error
    return said.model_copy(update={"predicate": shown})


def _joined(predicate: predicates.AnyPredicate, private: Private) -> predicates.AnyPredicate:
    if isinstance(predicate, predicates.UpdatePredicate) and isinstance(private, OfUpdate):
        update = predicate.body.model_copy(update={"facts": private.facts, "privacy": private.privacy})
        update.require_charged()
        return predicate.model_copy(update={"body": update})
    if isinstance(predicate, predicates.ReportPredicate) and isinstance(private, OfReport):
        report = predicate.body.model_copy(update={"facts": private.facts})
        return predicate.model_copy(update={"body": report})
    if not isinstance(predicate, predicates.ModelPredicate) or not isinstance(private, OfModel):
        raise TypeError("kinds are looked up by name")
    parents = predicate.body.parents
    if not len(parents) == len(private.weights) == len(private.shares) or len(predicate.ack) != len(private.reasons):
        raise ValueError("expected one weight and share a parent, and one reason a receipt")
    whole = [
        each.model_copy(update={"weight": weight, "share": share})
        for each, weight, share in zip(parents, private.weights, private.shares, strict=True)
    ]
    acks = [
        each.model_copy(update={"reason": reason}) for each, reason in zip(predicate.ack, private.reasons, strict=True)
    ]
    body = predicate.body.model_copy(update={"parents": whole, "pooled": private.pooled})
    return predicate.model_copy(update={"body": body, "ack": acks})
