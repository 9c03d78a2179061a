"""What leaves the statement and goes into the encrypted payload `body.json` where a federation encrypts its payloads.

Counts, metrics and words about single hospitals are for the recipients alone. The statement stays readable by anyone
who carries the file: who speaks to whom, about which round, and how long the payloads are.
"""

from typing import Self

from pydantic import Field, ValidationError, model_validator

from fedmed.errors import FedmedError
from fedmed.exchange import bodies, bodies_fingerprint, bodies_reports, canonical, predicates, statement
from fedmed.exchange.bodies_privacy import PrivacyBlock
from fedmed.exchange.fields import Count, Decimal, Sent, Text

MAX_BYTES = statement.MAX_BYTES


class OfUpdate(Sent):
    """`facts` are null in a masked update, and the noise in its `privacy`."""

    facts: bodies.UpdateFacts | None
    privacy: PrivacyBlock | None

    @model_validator(mode="after")
    def _with_its_noise(self) -> Self:
        if self.privacy and (self.privacy.noise_multiplier is None) != (self.facts is None):
            raise ValueError("the noise of an update is told, unless it is masked")
        bodies.require_quiet(self.facts, self.privacy)
        return self


class OfReport(Sent):
    facts: bodies_reports.ReportFacts


class OfFingerprint(Sent):
    facts: bodies_fingerprint.DataFingerprint


class OfModel(Sent):
    """`weights` and `shares` of the parents, which nobody knows of masked ones, and the `reasons` of the receipts, each
    in the statement's order.
    """

    weights: list[Count] = Field(max_length=100)
    shares: list[Decimal] = Field(max_length=100)
    reasons: list[Text] = Field(max_length=100)
    clip: Decimal | None
    pooled: list[bodies.Metric] = Field(max_length=200)


Private = OfUpdate | OfReport | OfFingerprint | OfModel


def hide(predicate: predicates.AnyPredicate) -> tuple[predicates.AnyPredicate, bytes | None]:
    """The predicate without them, and `body.json`, if its kind has one."""
    if predicate.kind not in statement.HIDING:
        return predicate, None
    public, private = _parted(predicate)
    return public, canonical.encode(private.model_dump(mode="json"))


def _parted(predicate: predicates.AnyPredicate) -> tuple[predicates.AnyPredicate, Private]:
    body = predicate.body
    if isinstance(body, bodies.Update):
        public = body.model_copy(update={"facts": None, "privacy": None})
        return predicate.model_copy(update={"body": public}), OfUpdate(facts=body.facts, privacy=body.privacy)
    if isinstance(body, bodies_reports.Report):
        report = body.model_copy(update={"facts": None})
        return predicate.model_copy(update={"body": report}), OfReport(facts=body.told)
    if isinstance(body, bodies_fingerprint.DataFingerprint):
        return predicate.model_copy(update={"body": None}), OfFingerprint(facts=body)
    if not isinstance(predicate, predicates.ModelPredicate):
        raise TypeError("kinds are looked up by name")
    model = predicate.body
    parents = [each.model_copy(update={"weight": None, "share": None}) for each in model.parents]
    private = OfModel(
        weights=[each.weight for each in model.parents if each.weight is not None],
        shares=[each.share for each in model.parents if each.share is not None],
        reasons=[each.reason for each in predicate.ack],
        clip=model.clip,
        pooled=model.pooled,
    )
    shown: dict[str, object] = {
        "body": model.model_copy(update={"parents": parents, "clip": None, "pooled": []}),
        "ack": [each.model_copy(update={"reason": ""}) for each in predicate.ack],
    }
    return predicate.model_copy(update=shown), private


def show(said: statement.Statement, data: bytes) -> statement.Statement:
    """The statement with what its `body.json` says, as if it had never been hidden.

    Raises FedmedError FM-FRM-02, FM-FRM-03.
    """
    canonical.decode(data)
    kinds: dict[str, type[OfUpdate] | type[OfReport] | type[OfFingerprint] | type[OfModel]]
    kinds = {"update": OfUpdate, "report": OfReport, "fingerprint": OfFingerprint, "model": OfModel}
    try:
        private = kinds[said.kind].model_validate_json(data, strict=True)
        if canonical.encode(private.model_dump(mode="json")) != data:
            raise ValueError("a field under another name")
        shown = _joined(said.predicate, private)
        statement.require_whole(shown)
    except (ValidationError, ValueError) as error:
        first = error.errors(include_url=False, include_input=False)[0] if isinstance(error, ValidationError) else None
        fault = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}" if first else str(error)
        raise FedmedError("FM-FRM-03", f"{statement.PRIVATE} of {said.kind} {said.sender}: {fault}") from error
    return said.model_copy(update={"predicate": shown})


def _joined(predicate: predicates.AnyPredicate, private: Private) -> predicates.AnyPredicate:
    if isinstance(predicate, predicates.UpdatePredicate) and isinstance(private, OfUpdate):
        if (private.facts is None) != (predicate.body.masked is not None):
            raise ValueError("facts are told, unless the update is masked")
        update = predicate.body.model_copy(update={"facts": private.facts, "privacy": private.privacy})
        return predicate.model_copy(update={"body": update})
    if isinstance(predicate, predicates.ReportPredicate) and isinstance(private, OfReport):
        report = predicate.body.model_copy(update={"facts": private.facts})
        return predicate.model_copy(update={"body": report})
    if isinstance(predicate, predicates.FingerprintPredicate) and isinstance(private, OfFingerprint):
        return predicate.model_copy(update={"body": private.facts})
    if not isinstance(predicate, predicates.ModelPredicate) or not isinstance(private, OfModel):
        raise TypeError("kinds are looked up by name")
    return _model(predicate, private)


def _model(predicate: predicates.ModelPredicate, private: OfModel) -> predicates.ModelPredicate:
    parents = predicate.body.parents
    told = 0 if statement.is_of_masked(predicate) else len(parents)
    if not told == len(private.weights) == len(private.shares) or len(predicate.ack) != len(private.reasons):
        raise ValueError("expected a weight and a share of each parent that is not masked, and a reason a receipt")
    if told:
        parents = [
            each.model_copy(update={"weight": weight, "share": share})
            for each, weight, share in zip(parents, private.weights, private.shares, strict=True)
        ]
    acks = [
        each.model_copy(update={"reason": reason}) for each, reason in zip(predicate.ack, private.reasons, strict=True)
    ]
    more: dict[str, object] = {"parents": parents, "clip": private.clip, "pooled": private.pooled}
    return predicate.model_copy(update={"body": predicate.body.model_copy(update=more), "ack": acks})
