"""What signed files say of masks: a masked update, and the two kinds that take the masks off a sum again."""

import hashlib
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from fedmed.exchange import canonical
from fedmed.exchange.certificates import Certificate
from fedmed.exchange.fields import Digest, SenderName, Sent

LEAST = 3  # sites in a sum; the threshold of a federation is never below it


class Masked(Sent):
    """What a masked update says beside its payloads: the context X that its masks and shares are bound to, the digests
    of `shares.json` and of its rows, one a site by name, and the certificate of the site's next mask key. Others
    hold what is proven of a spoiled sum against these digests, also where the payload is encrypted.
    """

    context: Digest
    table: Digest
    dealt: list[Digest] = Field(min_length=LEAST, max_length=100)
    next: Certificate


class IncludedUpdate(Sent):
    """A site in the sum, and the id of its update."""

    site: SenderName
    update: Digest


class UnmaskRequest(Sent):
    """The coordinator asks a site for its shares of the masks in this sum. `model` is the id of the model's statement,
    which all masks and shares are bound to; `culprits` are those that an attempt before proved to have spoiled it.
    """

    model: Digest
    included: list[IncludedUpdate] = Field(min_length=LEAST, max_length=100)
    culprits: list[SenderName] = Field(max_length=97)

    @model_validator(mode="after")
    def _by_name(self) -> Self:
        names = [each.site for each in self.included]
        if names != sorted(set(names)) or self.culprits != sorted(set(self.culprits)):
            raise ValueError("sites stand once each, by name")
        if len({each.update for each in self.included}) < len(names) or set(names) & set(self.culprits):
            raise ValueError("an update stands twice, or a culprit is included")
        return self

    @property
    def digest(self) -> str:
        return included_digest([each.update for each in self.included])


class UnmaskReply(Sent):
    """A site answers one request; `included` is the digest of the set that it was asked about, and `shown` that of
    `reply.json`, which stays when the payload is encrypted: what was replied is proven to others.
    """

    request: Digest
    included: Digest
    shown: Digest


def included_digest(updates: Sequence[str]) -> str:
    """What a set of updates is called: SHA-256 of the canonical JSON of their sorted ids. A site answers one in each
    attempt.
    """
    return hashlib.sha256(canonical.encode(sorted(updates))).hexdigest()
