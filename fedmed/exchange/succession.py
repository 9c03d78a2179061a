"""Which version of a federation may follow which, without that anybody consents again.

It adds the numbers that were fitted on all sites, or keys whose owners have replaced them, and nothing else. A key that
its owner did not vouch for is a key that the coordinator put in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import predicates
from fedmed.exchange.federation import from_statement
from fedmed.exchange.keys import fingerprint, public_line
from fedmed.exchange.rotations import keys_of, require_proven

if TYPE_CHECKING:
    from collections.abc import Container

    from fedmed.exchange.federation import Federation, Owner
    from fedmed.exchange.statement import Statement


def require_successor(known: Federation, said: Statement, revoked: Container[str]) -> None:
    """`said` is the version behind `known`, with fitted numbers where it has none, or with other keys; `revoked` are
    the fingerprints of keys that vouch for nobody.

    Raises FedmedError FM-NRM-05 for any other change, FM-ROS-12 for a key without its owner's word.
    """
    after = from_statement(said, "")
    is_rotated = after.body.rotations != known.body.rotations or keys_of(after.body) != keys_of(known.body)
    _nothing_else(known, said, after, is_rotated=is_rotated)
    if is_rotated:
        _each_vouched_for(known, said, after, revoked)


def _nothing_else(known: Federation, said: Statement, after: Federation, *, is_rotated: bool) -> None:
    predicate, founding, before = said.predicate, after.founding, known.founding
    body, is_fitted = after.body, known.preprocessing is None and after.preprocessing is not None
    if is_rotated:
        old = keys_of(known.body)
        roster = [each.model_copy(update={"key": old.get(each.name, each.key)}) for each in body.roster]
        same = {"coordinator": known.body.coordinator, "roster": roster, "rotations": known.body.rotations}
        body = body.model_copy(update=same)
    changed = {
        "version": (founding.version, founding.previous) != (before.version + 1, known.digest),
        "numbers": after.preprocessing != known.preprocessing if is_rotated else not is_fitted,
        "consent": founding.approved != known.root,
        "id or title": (founding.id, founding.title) != (before.id, before.title),
        "roster or limits": body != known.body,
        "recipe": after.recipe != known.recipe,
        "tensors": after.tensors != known.tensors,
        "date of expiry": after.expires != known.expires,
        "recipients": getattr(predicate, "recipients", None) != known.sites(),
    }
    if any(changed.values()):
        names = ", ".join(name for name, is_changed in changed.items() if is_changed)
        raise FedmedError("FM-NRM-05", f"federation version {founding.version}: another {names} than was approved")


def _each_vouched_for(known: Federation, said: Statement, after: Federation, revoked: Container[str]) -> None:
    """The rotations before stand as they were, and the new ones, by keys of the version before, give the new keys."""
    predicate, before = said.predicate, known.body.rotations
    if not isinstance(predicate, predicates.FederationPredicate):
        raise TypeError("not a federation statement")
    version = predicate.federation.version
    if predicate.body.rotations[: len(before)] != before:
        raise FedmedError("FM-ROS-12", f"federation version {version}: not with the rotations of the version before")
    then = require_proven(predicate)
    for name, old in after.former[len(before) :]:
        if fingerprint(old) in revoked:  # whatever its number: who stole the key may have the next one, too
            raise FedmedError("FM-ROS-12", f"rotation of {name}: by a key that was revoked before")
    if then != _originally(known):
        raise FedmedError("FM-ROS-12", f"federation version {version}: a key that its owner did not replace")


def owner_since(known: Federation, later: Federation, public_key: bytes) -> Owner | None:
    """Whose key it is, of those that came into force behind `known` and up to `later`, by their owners' word alone."""
    before = known.body.rotations
    follows = (later.founding.id, later.root) == (known.founding.id, known.root)
    follows = follows and later.body.rotations[: len(before)] == before and _originally(later) == _originally(known)
    if not follows or known.former_owner(public_key) is not None:
        return None
    return later.owner(public_key) or later.former_owner(public_key)


def _originally(federation: Federation) -> dict[str, str]:
    """The keys when people approved, by name: of each the one that was replaced first, or that never was."""
    return keys_of(federation.body) | {name: public_line(key) for name, key in reversed(federation.former)}
