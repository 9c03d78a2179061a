"""What signed files say about keys and about restored workspaces."""

from typing import Annotated

from pydantic import Field

from fedmed.exchange.certificates import Certificate
from fedmed.exchange.fields import Count, Fingerprint, SenderName, Sent, Text


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
