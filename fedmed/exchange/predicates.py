"""What a statement of each kind says around its body: sender, number, time, federation, round, and what it brings."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from fedmed.exchange import bodies, bodies_fingerprint, bodies_masking, bodies_reports, bodies_roster, container
from fedmed.exchange.fields import Count, Digest, Fingerprint, SenderName, Sent, Text, Time


class Actor(Sent):
    name: SenderName
    key: Fingerprint


class Founding(Sent):
    """The federation as its own statement names it: no digest of itself. `previous` is the version before, if any, and
    `approved` the one that people consented to, where that is not this one.
    """

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    title: Text
    version: Annotated[int, Field(ge=1)]
    previous: Digest | None
    approved: Digest | None

    @model_validator(mode="after")
    def _the_first_follows_none(self) -> Self:
        if (self.version == 1) != (self.previous is None) or (self.version == 1 and self.approved is not None):
            raise ValueError("version 1 has no previous one, and every other has")
        return self


class Membership(Sent):
    """The federation version that a statement was made under."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    title: Text
    version: Annotated[int, Field(ge=1)]
    digest: Digest


class LedgerHead(Sent):
    """The sender's ledger before the entry that records this statement."""

    length: Count
    head: Digest


class Payload(Sent):
    name: Text
    bytes: Annotated[int, Field(ge=0, le=container.MAX_MEMBER)]
    media: Literal["application/json", "application/octet-stream", "application/vnd.safetensors"]
    enc: Literal["none", "age"]
    coding: Literal["none", "zstd"]

    @field_validator("name")
    @classmethod
    def _harmless(cls, name: str) -> str:
        if not container.is_payload_name(name):
            raise ValueError("not a payload name")
        return name


class Predicate(Sent):
    """`resumes`: how often the sender's workspace went on from a backup, before this statement."""

    format: Literal["fedmed/1"]
    sender: Actor
    seq: Annotated[int, Field(ge=1)]
    prev: Digest | None
    resumes: Count
    created: Time
    ledger: LedgerHead
    payload: list[Payload] = Field(max_length=8)


class JoinPredicate(Predicate):
    kind: Literal["join"]
    body: bodies_roster.Join


class FederationPredicate(Predicate):
    kind: Literal["federation"]
    federation: Founding
    recipients: list[Actor] = Field(min_length=1, max_length=100)
    ack: None
    expires: Time
    body: bodies_roster.Federation


class ApprovalPredicate(Predicate):
    kind: Literal["approval"]
    federation: Membership
    recipients: list[Actor] = Field(min_length=1, max_length=1)
    ack: Digest | None
    body: bodies_roster.Approval


class FingerprintPredicate(Predicate):
    kind: Literal["fingerprint"]
    federation: Membership
    recipients: list[Actor] = Field(min_length=1, max_length=1)
    ack: Digest | None
    body: bodies_fingerprint.DataFingerprint | None  # null: it is encrypted


class RevocationPredicate(Predicate):
    kind: Literal["revocation"]
    federation: Membership
    recipients: list[Actor] = Field(min_length=1, max_length=100)
    ack: None
    body: bodies_roster.Revocation


class RotationPredicate(Predicate):
    """To the coordinator; the coordinator's own to all sites."""

    kind: Literal["rotation"]
    federation: Membership
    recipients: list[Actor] = Field(min_length=1, max_length=100)
    ack: Digest | None
    body: bodies_roster.Rotation


class ReceiptPredicate(Predicate):
    """`ack` is the newest statement of the recipient that its sender has, and the last one in the payload."""

    kind: Literal["receipt"]
    federation: Membership
    recipients: list[Actor] = Field(min_length=1, max_length=1)
    ack: Digest
    body: bodies_roster.Receipt


class RoundPredicate(Predicate):
    federation: Membership
    recipients: list[Actor] = Field(min_length=1, max_length=100)
    round: Count
    attempt: Annotated[int, Field(ge=1)]


class ModelPredicate(RoundPredicate):
    kind: Literal["model"]
    ack: list[bodies.SiteAck] = Field(max_length=100)
    tensor_table: Digest
    expires: Time
    body: bodies.Model


class UpdatePredicate(RoundPredicate):
    kind: Literal["update"]
    ack: Digest | None
    base_model: Digest
    tensor_table: Digest
    body: bodies.Update


class UnmaskRequestPredicate(RoundPredicate):
    """To one site: the shares in it are sealed to that one."""

    kind: Literal["unmask-request"]
    recipients: list[Actor] = Field(min_length=1, max_length=1)
    ack: Digest | None
    base_model: Digest
    expires: Time
    body: bodies_masking.UnmaskRequest


class UnmaskReplyPredicate(RoundPredicate):
    kind: Literal["unmask-reply"]
    recipients: list[Actor] = Field(min_length=1, max_length=1)
    ack: Digest | None
    base_model: Digest
    body: bodies_masking.UnmaskReply


class ReportPredicate(RoundPredicate):
    kind: Literal["report"]
    ack: Digest | None
    base_model: Digest
    body: bodies_reports.Report


class StatePredicate(RoundPredicate):
    """What its sender remembers of a round, for itself alone: it cannot be addressed to anybody else."""

    kind: Literal["state"]
    recipients: list[Actor] = Field(min_length=1, max_length=1)
    ack: None
    base_model: Digest
    tensor_table: Digest
    body: bodies.State

    @model_validator(mode="after")
    def _for_its_sender(self) -> Self:
        if self.recipients != [self.sender]:
            raise ValueError("a state is addressed to its sender")
        return self


AnyPredicate = Annotated[
    JoinPredicate
    | FederationPredicate
    | ApprovalPredicate
    | FingerprintPredicate
    | RevocationPredicate
    | RotationPredicate
    | ReceiptPredicate
    | ModelPredicate
    | UpdatePredicate
    | UnmaskRequestPredicate
    | UnmaskReplyPredicate
    | ReportPredicate
    | StatePredicate,
    Field(discriminator="kind"),
]
