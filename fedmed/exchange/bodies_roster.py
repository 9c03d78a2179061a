"""What signed files say of who takes part: joins, the federation itself, keys, and workspaces that were restored."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fedmed.exchange import sshsig
from fedmed.exchange.certificates import Certificate
from fedmed.exchange.fields import (
    AgeRecipient,
    Count,
    Decimal,
    Digest,
    Fingerprint,
    Label,
    PublicKey,
    SenderName,
    Sent,
    Text,
    within,
)

MAX_QUOTED = 1 << 20  # bytes of a statement
MAX_ROTATIONS = 200


class Quoted(Sent):
    """`statement.json` as it was signed, and the base64 of its signature's blob."""

    statement: Annotated[str, Field(max_length=MAX_QUOTED)]
    signature: Annotated[str, Field(max_length=sshsig.MAX_BYTES)]


class Version(Sent):
    name: Label
    version: Label


class Join(Sent):
    """A hospital asks to take part. No fact about its data. `mask` is its first mask certificate; what is for it alone
    is encrypted to `age`.
    """

    name: SenderName
    key: PublicKey
    age: AgeRecipient
    contact: Text
    mask: Certificate
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    versions: list[Version] = Field(max_length=16)


class Member(Sent):
    """One site of the roster; `join` is the id of the join statement whose fingerprint was read over the phone."""

    name: SenderName
    key: PublicKey
    age: AgeRecipient
    join: Digest
    max_num_cases: Annotated[int, Field(ge=1, le=1_000_000)]


class Limits(Sent):
    """What the round's rules may rely on; `max_norm_ratio` and `min_cosine` decide which updates a person must see."""

    rounds: Annotated[int, Field(ge=1, le=10_000)]
    min_sites: Annotated[int, Field(ge=1, le=100)]
    max_share: Decimal
    deadline_days: Decimal | None
    valid_days: Annotated[int, Field(ge=1, le=3650)]
    min_count: Annotated[int, Field(ge=1, le=1000)]
    max_norm_ratio: Annotated[Decimal, AfterValidator(within(1, 1_000_000))]
    min_cosine: Annotated[Decimal, AfterValidator(within(-1, 1))]


class Federation(Sent):
    """The trust root: who takes part with which key, under which limits, and whether payloads are encrypted.

    `rotations`: by which an owner replaced its key, of all since the version that people approved, the newest last.
    """

    coordinator: PublicKey
    coordinator_age: AgeRecipient
    roster: list[Member] = Field(min_length=1, max_length=100)
    limits: Limits
    encryption: Literal["none", "age"]
    rotations: list[Quoted] = Field(max_length=MAX_ROTATIONS)

    @model_validator(mode="after")
    def _one_seat_each(self) -> Self:
        names = {"coordinator", *(member.name for member in self.roster)}
        owners = {self.coordinator, *(member.key for member in self.roster)}
        readers = {self.coordinator_age, *(member.age for member in self.roster)}
        if not len(names) == len(owners) == len(readers) == len(self.roster) + 1:
            raise ValueError("a name or key stands twice")
        return self


class Approval(Sent):
    """A person of the hospital consents to this federation; the federation's digest is the statement's subject."""

    by: Text


class Rotation(Sent):
    """The sender replaces its signing key by `key`, with the key that it has: who holds that one vouches for the next.

    `proof`: the base64 of an SSHSIG blob by the new key itself (`rotations.proven`). `mask`: at a site the certificate
    of new mask keys, by the new key; null at the coordinator, which masks nothing.
    """

    key: PublicKey
    proof: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=sshsig.MAX_BYTES)]
    mask: Certificate | None


class Revocation(Sent):
    """The coordinator takes a site's key back: what that key signed with a number above `last_seq` counts nowhere."""

    site: SenderName
    key: Fingerprint
    last_seq: Count
    reason: Text


class Receipt(Sent):
    """What its sender has of the recipient's own statements, for a workspace that was restored; the newest is `seq`.

    `mask`: the certificate of new mask keys, of a site that was restored itself and threw its old ones away.
    """

    seq: Annotated[int, Field(ge=1)]
    mask: Certificate | None
