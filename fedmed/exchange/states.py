"""What an actor remembers between rounds: a signed file of kind `state` in its own archive, which never leaves it.

The update, or the model, that was made in the same round names it by id. So what is remembered belongs to a statement
that others have seen, and a workspace that was restored or mixed up cannot go on with the memory of another round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import archived, predicates, sealing, statement

if TYPE_CHECKING:
    from datetime import datetime

    from fedmed.exchange import bodies
    from fedmed.exchange.artifact import Content
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.statement import Statement
    from fedmed.exchange.workspace import Workspace

PAYLOAD = "state.safetensors"


def keep(
    workspace: Workspace,
    federation: Federation,
    command: str,
    answered: Known,
    body: bodies.State,
    tensor_table: str,
    content: Content,
    now: datetime,
) -> Known:
    """Seal what is remembered of the round of the model `answered`, for the statement that is sealed next.

    A command that was killed between the two, or runs again and remembers the same, finds the one that is there.
    Raises FedmedError FM-RES-*.
    """
    found = workspace.record.newest("state", round=answered.round_number)
    if found is not None and found.payload == content.sha256:
        return found

    def build(
        opening: Opening, payload: list[predicates.Payload], subject: list[statement.Subject]
    ) -> statement.Statement:
        predicate = predicates.StatePredicate(
            **opening.fields(),
            kind="state",
            federation=federation.under(answered),
            recipients=[opening.sender],
            round=answered.round_number,
            attempt=1,
            ack=None,
            base_model=answered.payload,
            tensor_table=tensor_table,
            payload=payload,
            body=body,
        )
        return statement.make("state", subject, predicate)

    return sealing.say(workspace, command, "state", answered.round_number, [content], build, now)


def named(workspace: Workspace, federation: Federation, state: str, answered: Known) -> Statement:
    """The state with this id, which must be this workspace's own of the round of the model `answered`.

    Raises FedmedError FM-STA-01 (missing, damaged, or none of this workspace), FM-STA-02 (of another round).
    """
    if workspace.record.own_seq(state) is None:
        raise FedmedError("FM-STA-01", f"state {state[:16]}...: this workspace has sealed none with that id")
    said = read(workspace, state)
    predicate = said.predicate
    if not isinstance(predicate, predicates.StatePredicate):
        raise FedmedError("FM-STA-02", f"{state[:16]}...: expected a state, got the {said.kind} with that id")
    found = (predicate.round, predicate.base_model, predicate.federation)
    if found != (answered.round_number, answered.payload, federation.under(answered)):
        where = f"expected that of round {answered.round_number} and its model, got that of round {predicate.round}"
        raise FedmedError("FM-STA-02", f"state {state[:16]}...: {where}")
    return said


def read(workspace: Workspace, state: str) -> Statement:
    """The statement of a state in the archive. Raises FedmedError FM-STA-01."""
    try:
        return archived.read_archived(workspace, state)
    except FedmedError as error:
        raise _damaged(state, error) from error


def read_payload(workspace: Workspace, state: str) -> bytes:
    """Its tensors, checked against their digest again. Raises FedmedError FM-STA-01."""
    try:
        return archived.read_payload(workspace, state, PAYLOAD)
    except FedmedError as error:
        raise _damaged(state, error) from error


def verify_payload(workspace: Workspace, state: str) -> None:
    """As `read_payload`, of tensors that are too long to be held. Raises FedmedError FM-STA-01."""
    try:
        for _ in archived.payload_chunks(workspace, state, PAYLOAD):
            pass
    except FedmedError as error:
        raise _damaged(state, error) from error


def _damaged(state: str, error: FedmedError) -> FedmedError:
    return FedmedError("FM-STA-01", f"state {state[:16]}...: {error.message}", local=error.local)
