"""The federation in force: whose key may say what, and within which limits. The trust root once it is approved."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import bodies_roster, keys, predicates, sshsig, statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.exchange import bodies_roster
    from fedmed.exchange.artifact import Envelope
    from fedmed.exchange.bodies_roster import Quoted
    from fedmed.exchange.record import Known
    from fedmed.exchange.statement import Statement

COORDINATOR = "coordinator"


@dataclass(frozen=True)
class Owner:
    """Whom a key belongs to."""

    name: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Federation:
    """One version of the federation. `digest` is the id of its statement, `recipe`, `tensors` and `preprocessing` the
    SHA-256 of its payloads; only a later version has the last one. `former` are keys that their owners have replaced
    since people approved: name and raw key, the oldest first. `seq` is the number of its statement: the coordinator
    numbered what came before this version below it.
    """

    digest: str
    founding: predicates.Founding
    body: bodies_roster.Federation
    recipe: str
    tensors: str
    preprocessing: str | None
    expires: str
    former: tuple[tuple[str, bytes], ...] = ()
    seq: int = 0

    @property
    def site_names(self) -> list[str]:
        return sorted(member.name for member in self.body.roster)

    @property
    def membership(self) -> predicates.Membership:
        founding = self.founding
        return predicates.Membership(id=founding.id, title=founding.title, version=founding.version, digest=self.digest)

    @property
    def root(self) -> str:
        """The id of the version that people approved: whose fingerprint they compare."""
        return self.founding.approved or self.digest

    def is_known(self, membership: predicates.Membership) -> bool:
        """Whether it names this version, or one before it."""
        founding = self.founding
        is_same = (membership.id, membership.title) == (founding.id, founding.title)
        newest = {1: self.root, founding.version - 1: founding.previous, founding.version: self.digest}
        is_true = newest.get(membership.version, membership.digest) == membership.digest
        return is_same and membership.version <= founding.version and is_true

    def under(self, model: Known) -> predicates.Membership:
        """The version that a model names: what answers it names that one too."""
        return self.membership.model_copy(update={"version": model.version, "digest": model.federation})

    def owner(self, public_key: bytes) -> Owner | None:
        """Who signs with this key, or None for a stranger."""
        line = keys.public_line(public_key)
        if line == self.body.coordinator:
            return Owner(COORDINATOR, statement.COORDINATOR_KINDS)
        return next(
            (Owner(member.name, statement.SITE_KINDS) for member in self.body.roster if member.key == line),
            None,
        )

    def former_owner(self, public_key: bytes) -> Owner | None:
        """Who signed with this key before it was replaced."""
        name = next((name for name, key in self.former if key == public_key), None)
        if name is None:
            return None
        return Owner(name, statement.COORDINATOR_KINDS if name == COORDINATOR else statement.SITE_KINDS)

    def replaced_last(self, name: str) -> bytes | None:
        """The key behind the one in force, if there is any."""
        return next((key for owner, key in reversed(self.former) if owner == name), None)

    def key_of(self, name: str) -> bytes:
        """The raw public key that is in force for a site or the coordinator."""
        return keys.parse_public_line(self.body.coordinator if name == COORDINATOR else self.member(name).key)

    def member(self, name: str) -> bodies_roster.Member:
        return next(member for member in self.body.roster if member.name == name)

    def readers(self, *names: str) -> list[str]:
        """Whom payloads for these are encrypted to; nobody where they are sent in clear."""
        if self.body.encryption == "none":
            return []
        return [self.body.coordinator_age if name == COORDINATOR else self.member(name).age for name in names]

    def sites(self) -> list[predicates.Actor]:
        """All sites as recipients, by name."""
        return [statement.actor(name, self.key_of(name)) for name in self.site_names]

    def coordinator(self) -> predicates.Actor:
        return statement.actor(COORDINATOR, self.key_of(COORDINATOR))


def from_statement(verified: Statement, statement_id: str) -> Federation:
    """The federation that a verified `federation` statement describes."""
    predicate = verified.predicate
    if not isinstance(predicate, predicates.FederationPredicate):
        raise TypeError("not a federation statement")
    digests = {subject.name: subject.digest.sha256 for subject in verified.subject}
    return Federation(
        statement_id,
        predicate.federation,
        predicate.body,
        verified.digest_of("recipe.json"),
        verified.digest_of("tensors.json"),
        digests.get(statement.PREPROCESSING),
        predicate.expires,
        tuple(_replaced(each) for each in predicate.body.rotations),
        predicate.seq,
    )


def _replaced(quote: Quoted) -> tuple[str, bytes]:
    """Whose key a rotation replaced, and that key: the one that signed it."""
    signature = sshsig.decode(sshsig.from_line(quote.signature))
    return statement.decode(quote.statement.encode()).sender, signature.public_key


def agrees(said: Statement, envelope: Envelope, owner: Owner | None, kind: str) -> None:
    """Signature, kind and sender say the same. Raises FedmedError FM-SIG-05."""
    sender, key = said.predicate.sender, keys.fingerprint(envelope.signature.public_key)
    if said.kind != kind or sender.key != key or (owner is not None and sender.name != owner.name):
        raise FedmedError("FM-SIG-05", f"signed as {kind} by {key}, but says {said.kind} by {sender.name} {sender.key}")
    if kind not in (statement.COORDINATOR_KINDS if sender.name == COORDINATOR else statement.SITE_KINDS):
        raise FedmedError("FM-SIG-05", f"{kind} cannot come from {sender.name}")


def allowed_signers(federation: Federation, valid_after: str, revoked: Mapping[str, str] = MappingProxyType({})) -> str:
    """The roster in the form of `ssh-keygen -Y verify -f`: one line a key, with its kinds and dates (UTC).

    `revoked` says when the keys with these fingerprints were taken back; by which number, that form cannot tell.
    """
    actors: list[tuple[predicates.Actor, str, tuple[str, ...]]]
    actors = [(federation.coordinator(), federation.body.coordinator, statement.COORDINATOR_KINDS)]
    actors += [(each, federation.member(each.name).key, statement.SITE_KINDS) for each in federation.sites()]
    lines = []
    for actor, key, kinds in actors:
        namespaces = ",".join(statement.namespace(kind) for kind in kinds)
        until = min(federation.expires, revoked.get(actor.key, federation.expires))
        dates = f'valid-after="{_openssh(valid_after)}",valid-before="{_openssh(until)}"'
        lines.append(f'{actor.name} namespaces="{namespaces}",{dates} {key}\n')
    return "".join(lines)


def _openssh(time: str) -> str:
    return time.translate(str.maketrans("", "", "-:T"))
