"""Which version of a federation may follow which, without that anybody consents again.

It adds the numbers that were fitted on all sites, or keys whose owners have replaced them, and nothing else. A key that
its owner did not vouch for is a key that the coordinator put in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import predicates, rotations
from fedmed.exchange.federation import COORDINATOR, from_statement
from fedmed.exchange.keys import public_line

if TYPE_CHECKING:
    from collections.abc import Container

    from fedmed.exchange.federation import Federation
    from fedmed.exchange.statement import Statement


def require_successor(known: Federation, said: Statement, revoked: Container[str]) -> None:
    """`said` is the version behind `known`, with fitted numbers where it has none, or with other keys; `revoked` are
    the fingerprints of keys that vouch for nobody.

    Raises FedmedError FM-NRM-05 for any other change, FM-ROS-12 for a key without its owner's word.
    """
    after = from_statement(said, "")
    is_rotated = after.body.rotations != known.body.rotations or _keys(after) != _keys(known)
    _nothing_else(known, said, after, is_rotated=is_rotated)
    if is_rotated:
        _each_vouched_for(known, said, revoked)


def _keys(federation: Federation) -> dict[str, str]:
    return {COORDINATOR: federation.body.coordinator, **{each.name: each.key for each in federation.body.roster}}


def _nothing_else(known: Federation, said: Statement, after: Federation, *, is_rotated: bool) -> None:
    predicate, founding, before = said.predicate, after.founding, known.founding
    body, is_fitted = after.body, known.preprocessing is None and after.preprocessing is not None
    if is_rotated:
        old = _keys(known)
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


def _each_vouched_for(known: Federation, said: Statement, revoked: Container[str]) -> None:
    """The rotations before stand as they were, and the new ones, by keys of the version before, give the new keys."""
    predicate, before = said.predicate, known.body.rotations
    if not isinstance(predicate, predicates.FederationPredicate):
        raise TypeError("not a federation statement")
    told, version = predicate.body.rotations, predicate.federation.version
    if told[: len(before)] != before:
        raise FedmedError("FM-ROS-12", f"federation version {version}: not with the rotations of the version before")
    then = rotations.require_proven(predicate)
    for quote in told[len(before) :]:
        rotation, _ = rotations.quoted(quote, predicate.federation.id)
        if rotation.sender.key in revoked:  # whatever its number: who stole the key may have the next one, too
            raise FedmedError("FM-ROS-12", f"rotation of {rotation.sender.name}: by a key that was revoked before")
    if then != _originally(known):
        raise FedmedError("FM-ROS-12", f"federation version {version}: a key that its owner did not replace")


def _originally(federation: Federation) -> dict[str, str]:
    """The keys when people approved, by name: of each the one that was replaced first, or that never was."""
    return _keys(federation) | {name: public_line(key) for name, key in reversed(federation.former)}
