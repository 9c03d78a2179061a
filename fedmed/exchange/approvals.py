"""The approvals that a model carries: who receives it sees which hospitals agreed to this very federation.

The coordinator only forwards them. Each is a statement with its signature, as the site signed it: to a roster that the
coordinator made up, or that it changed for one site alone, the hospitals in it have not agreed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from fedmed.errors import FedmedError
from fedmed.exchange import archived, artifact, bodies_roster, canonical, predicates, quoted, statement
from fedmed.exchange.fields import Sent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fedmed.exchange.federation import Federation
    from fedmed.exchange.statement import Statement
    from fedmed.exchange.workspace import Workspace

PAYLOAD = statement.APPROVALS
MAX_BYTES = 1 << 20  # those of a hundred sites take a third of it


class Approvals(Sent):
    approvals: list[bodies_roster.Quoted] = Field(max_length=100)


def gathered(workspace: Workspace, federation: Federation) -> artifact.Content:
    """The payload: every approval of this federation that is in hand, by site name."""
    found = []
    for name in federation.site_names:
        for known in reversed(workspace.record.of("approval", sender=name)):
            fd, envelope, said = archived.open_archived(workspace, known.id)
            os.close(fd)
            if _approves(said, federation):
                found.append(quoted.quote(envelope))
                break
    return artifact.json_content(PAYLOAD, to_bytes(found))


def to_bytes(approvals: Iterable[bodies_roster.Quoted]) -> bytes:
    """Canonical JSON."""
    return canonical.encode(Approvals(approvals=list(approvals)).model_dump(mode="json"))


def approved_by(data: bytes, federation: Federation, counts: quoted.Counts) -> dict[str, str]:
    """Which sites agreed to this version of the federation, or to the one from which it differs by the numbers fitted
    on all sites and by keys that their owners replaced alone: name and who consented there, by name. One by a key that
    was revoked before does not count.

    Raises FedmedError FM-ROS-01 unless every single one is good: a coordinator that forwards a bad one made it.
    """
    try:
        canonical.decode(data)
        brought = Approvals.model_validate_json(data, strict=True).approvals
    except (FedmedError, ValidationError) as error:
        raise FedmedError("FM-ROS-01", f"{PAYLOAD}: not in its form", local=str(error)) from error
    found: dict[str, str] = {}
    last = ""
    for each in brought:
        try:
            _, said = quoted.verified(each, federation, _any, by_former=True)
        except FedmedError as error:
            raise FedmedError("FM-ROS-01", f"{PAYLOAD}: {error.message}") from error
        predicate = said.predicate
        if not isinstance(predicate, predicates.ApprovalPredicate) or not _approves(said, federation):
            raise FedmedError("FM-ROS-01", f"{PAYLOAD}: {said.kind} of {said.sender}: not of this federation")
        if said.sender <= last:
            raise FedmedError("FM-ROS-01", f"{PAYLOAD}: {said.sender} stands twice, or out of order")
        last = said.sender
        if counts(predicate.sender.key, predicate.seq):
            found[last] = predicate.body.by
    return found


def _any(_key: str, _seq: int) -> bool:
    """The form alone is looked at: an honest coordinator may have sealed it before the key was revoked."""
    return True


def _approves(said: Statement, federation: Federation) -> bool:
    predicate = said.predicate
    if not isinstance(predicate, predicates.ApprovalPredicate):
        return False
    named = predicate.federation
    return federation.is_known(named) and named.digest in (federation.digest, federation.root)


def expected(federation: Federation) -> Mapping[str, artifact.Bounded]:
    """What the payload of a model must be."""
    return {PAYLOAD: artifact.Bounded(MAX_BYTES, lambda: _Collected(federation))}


@dataclass
class _Collected:
    """An Inspector that looks at all of it at once, behind its hash."""

    federation: Federation
    data: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        approved_by(bytes(self.data), self.federation, _any)
