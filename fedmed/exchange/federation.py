"""The federation in force: whose key may say what, and within which limits. The trust root once it is approved."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import keys, predicates, statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.exchange import bodies_roster
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
    SHA-256 of its payloads; only a second version has the last one.
    """

    digest: str
    founding: predicates.Founding
    body: bodies_roster.Federation
    recipe: str
    tensors: str
    preprocessing: str | None
    expires: str

    @property
    def site_names(self) -> list[str]:
        return sorted(member.name for member in self.body.roster)

    @property
    def membership(self) -> predicates.Membership:
        founding = self.founding
        return predicates.Membership(id=founding.id, title=founding.title, version=founding.version, digest=self.digest)

    @property
    def root(self) -> str:
        """The id of the first version: whose fingerprint people compare."""
        return self.founding.previous or self.digest

    @property
    def earlier(self) -> predicates.Membership | None:
        """The version before this one: what was approved, and what fingerprints speak about."""
        founding = self.founding
        if founding.previous is None:
            return None
        version = founding.version - 1
        return predicates.Membership(id=founding.id, title=founding.title, version=version, digest=founding.previous)

    def owner(self, public_key: bytes) -> Owner | None:
        """Who signs with this key, or None for a stranger."""
        line = keys.public_line(public_key)
        if line == self.body.coordinator:
            return Owner(COORDINATOR, statement.COORDINATOR_KINDS)
        return next(
            (Owner(member.name, statement.SITE_KINDS) for member in self.body.roster if member.key == line),
            None,
        )

    def member(self, name: str) -> bodies_roster.Member:
        return next(member for member in self.body.roster if member.name == name)

    def readers(self, *names: str) -> list[str]:
        """Whom payloads for these are encrypted to; nobody where they are sent in clear."""
        if self.body.encryption == "none":
            return []
        return [self.body.coordinator_age if name == COORDINATOR else self.member(name).age for name in names]

    def sites(self) -> list[predicates.Actor]:
        """All sites as recipients, by name."""
        return [statement.actor(name, keys.parse_public_line(self.member(name).key)) for name in self.site_names]

    def coordinator(self) -> predicates.Actor:
        return statement.actor(COORDINATOR, keys.parse_public_line(self.body.coordinator))


def from_statement(verified: Statement, statement_id: str) -> Federation:
    """The federation that a verified `federation` statement describes."""
    predicate = verified.predicate
    if not isinstance(predicate, predicates.FederationPredicate):
        raise TypeError("not a federation statement")
    return Federation(
        statement_id,
        predicate.federation,
        predicate.body,
        verified.digest_of("recipe.json"),
        verified.digest_of("tensors.json"),
        verified.digest_of(statement.PREPROCESSING) if predicate.federation.version > 1 else None,
        predicate.expires,
    )


def require_successor(known: Federation, said: Statement) -> None:
    """`said` is `known` with the numbers that were fitted on all sites, and nothing else: it needs no new consent.

    Raises FedmedError FM-NRM-05.
    """
    predicate, after = said.predicate, from_statement(said, "")
    founding, before = after.founding, known.founding
    changed = {
        "version": (founding.version, founding.previous) != (before.version + 1, known.digest)
        or known.preprocessing is not None,
        "id or title": (founding.id, founding.title) != (before.id, before.title),
        "roster or limits": after.body != known.body,
        "recipe": after.recipe != known.recipe,
        "tensors": after.tensors != known.tensors,
        "date of expiry": after.expires != known.expires,
        "recipients": getattr(predicate, "recipients", None) != known.sites(),
    }
    if any(changed.values()):
        names = ", ".join(name for name, is_changed in changed.items() if is_changed)
        raise FedmedError("FM-NRM-05", f"federation version {founding.version}: another {names} than was approved")


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
