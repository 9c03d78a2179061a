"""Taking masks off a sum: what a site reveals of the shares it holds, and what the coordinator makes of the replies.

For one site either the self seed is revealed (it is in the sum) or its pair seeds (it is not), never both: with both,
its update would lie open. Source: PRIVACY.md section 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from fedmed.errors import FedmedError
from fedmed.exchange import bundles, canonical, seeds, shamir
from fedmed.exchange.bundles import Requested, Table
from fedmed.exchange.certificates import MaskKey
from fedmed.exchange.fields import Digest, SenderName, Sent
from fedmed.exchange.seeds import Context, Masks

UNMASK = "unmask.json"
Share = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[str, Field(pattern=r"^[0-9a-f]{62}$")]
_Opened = dict[tuple[str, str], bytes]


class Shown(Sent):
    """A site's shares of one included dealer's secrets: of its self seed, and of its pair seed with each site that is
    not included, by name. Without `own`: the bundle that the dealer signed does not hold them.
    """

    dealer: SenderName
    own: Share | None = Field(repr=False)
    pairs: list[Share] = Field(max_length=97, repr=False)


class Reply(Sent):
    """All that a site reveals in one attempt; the dealers are the included sites, by name."""

    shown: list[Shown] = Field(min_length=3, max_length=100)


class Included(Sent):
    """A site in the sum: the id of its update, and its self seed, which hides nothing any more."""

    site: SenderName
    update: Digest
    seed: Seed = Field(repr=False)


class PairSeed(Sent):
    """What an included site and one that is not had in common."""

    site: SenderName
    absent: SenderName
    seed: Seed = Field(repr=False)


class Unmasking(Sent):
    """`unmask.json`: what anyone needs to take the masks off the sum of the archived updates again."""

    context: Digest
    included: list[Included] = Field(min_length=3, max_length=100)
    pairs: list[PairSeed] = Field(max_length=2500)


class Proof(Sent):
    """Who spoiled a secret of `dealer`: its pair seed with `secret`, or its self seed where that is the dealer.

    `holder`: the replied share of `site` is not the one that the dealer committed to. `dealer`: the shares that
    `holders` replied are, and they do not give the seed that it committed to. Signed files alone show it (`is_proven`).
    """

    fault: Literal["holder", "dealer"]
    site: SenderName
    dealer: SenderName
    secret: SenderName
    holders: list[SenderName] = Field(min_length=1, max_length=100)


@dataclass(frozen=True)
class Recovered:
    """`unmasking` once every seed is known; else more replies are needed, or a dealer among `proofs` spoiled the sum.

    `complaints`: holder and dealer, of whom one does not tell the truth about a bundle; nobody can prove which.
    """

    unmasking: Unmasking | None = field(repr=False)
    proofs: list[Proof]
    complaints: list[tuple[str, str]]


# --- at a site ------------------------------------------------------------------------------------------------------


def reply(context: Context, own: MaskKey, asked: Sequence[Requested]) -> Reply:
    """What this site, which is included itself, reveals of the included ones; they come by name, each once.

    Raises FedmedError FM-SHR-10 (fewer sites than the threshold, one twice or out of order, or without this one),
    FM-SHR-08 (what the request brings is not what a dealer signed).
    """
    names = [each.dealer for each in asked]
    _require_set(context, names)
    if own.certificate.site not in names:
        raise FedmedError("FM-SHR-10", "included sites: this site is asked for its shares, and is not among them")
    absent = _absent(context, names)
    return Reply(shown=[_shown(context, own, each, absent) for each in asked])


def _shown(context: Context, own: MaskKey, asked: Requested, absent: Sequence[str]) -> Shown:
    try:
        shares = bundles.open_(context, own, asked)
    except FedmedError as error:
        if error.code != "FM-SHR-09":
            raise
        return Shown(dealer=asked.dealer, own=None, pairs=[])
    return Shown(
        dealer=asked.dealer,
        own=shares[context.position(asked.dealer) - 1].hex(),
        pairs=[shares[context.position(name) - 1].hex() for name in absent],
    )


# --- at the coordinator ---------------------------------------------------------------------------------------------


def recover(
    context: Context, updates: Mapping[str, str], tables: Mapping[str, Table], replies: Mapping[str, Reply]
) -> Recovered:
    """Every seed that the sum of these sites needs, from the replies that are in; `updates` are the ids, by site.

    Raises FedmedError FM-SHR-10 when a reply is not about exactly these sites.
    """
    names = sorted(updates)
    _require_set(context, names)
    for holder, said in replies.items():
        require_about(context, said, names, holder)
    absent = _absent(context, names)
    proofs: list[Proof] = []
    opened = {holder: _opened(context, replies[holder]) for holder in sorted(replies)}
    own = {name: _secret(context, name, name, tables[name], opened, proofs) for name in names}
    pairs = {
        (name, other): _secret(context, name, other, tables[name], opened, proofs) for name in names for other in absent
    }
    complaints = [
        (holder, each.dealer) for holder, said in sorted(replies.items()) for each in said.shown if each.own is None
    ]
    if None in own.values() or None in pairs.values():
        return Recovered(None, proofs, complaints)
    found = Unmasking(
        context=context.x,
        included=[Included(site=name, update=updates[name], seed=(seed or b"").hex()) for name, seed in own.items()],
        pairs=[PairSeed(site=a, absent=b, seed=(seed or b"").hex()) for (a, b), seed in pairs.items()],
    )
    return Recovered(found, proofs, complaints)


def _secret(
    context: Context, dealer: str, secret: str, table: Table, opened: Mapping[str, _Opened], proofs: list[Proof]
) -> bytes | None:
    """One seed, out of the first shares that are good; who spoiled it is added to `proofs`."""
    good: dict[str, bytes] = {}
    for holder, shares in opened.items():
        share = shares.get((dealer, secret))
        if share is None:
            continue
        if _is_good(context, dealer, secret, holder, share, table):
            good[holder] = share
        else:
            proofs.append(Proof(fault="holder", site=holder, dealer=dealer, secret=secret, holders=[holder]))
    if len(good) < context.threshold:
        return None
    holders = sorted(good)[: context.threshold]
    seed = _combined(context, dealer, secret, {holder: good[holder] for holder in holders}, table)
    if seed is None:
        proofs.append(Proof(fault="dealer", site=dealer, dealer=dealer, secret=secret, holders=holders))
    return seed


def is_proven(context: Context, proof: Proof, table: Table, replies: Mapping[str, Reply]) -> bool:
    """Whether the dealer's table and the replies, whose signatures were checked, show what the proof says."""
    names = {proof.site, proof.dealer, proof.secret, *proof.holders}
    if not names <= set(context.sites) or not set(proof.holders) <= set(replies):
        return False
    if not all(_has_form(context, replies[holder]) for holder in proof.holders):
        return False
    shares = {holder: _opened(context, replies[holder]).get((proof.dealer, proof.secret)) for holder in proof.holders}
    found = {holder: share for holder, share in shares.items() if share is not None}
    good = {
        holder: share
        for holder, share in found.items()
        if _is_good(context, proof.dealer, proof.secret, holder, share, table)
    }
    if proof.fault == "holder":
        return proof.holders == [proof.site] and len(found) == 1 and not good
    enough = len(good) == len(proof.holders) == context.threshold and proof.site == proof.dealer
    return enough and _combined(context, proof.dealer, proof.secret, good, table) is None


def require_about(context: Context, said: Reply, names: Sequence[str], holder: str) -> None:
    """The reply of `holder` is about exactly these included sites. Raises FedmedError FM-SHR-10."""
    if [each.dealer for each in said.shown] != list(names) or holder not in names or not _has_form(context, said):
        raise FedmedError("FM-SHR-10", f"reply of {holder}: it is not about the {len(names)} sites that are included")


def _has_form(context: Context, said: Reply) -> bool:
    """Each site once, by name, and of each a share for every site that is not there, or none at all."""
    names = [each.dealer for each in said.shown]
    count = len(_absent(context, names))
    fits = all(len(each.pairs) == (0 if each.own is None else count) for each in said.shown)
    return fits and names == sorted(set(names)) and set(names) <= set(context.sites)


def _opened(context: Context, said: Reply) -> _Opened:
    """The shares of a reply, by dealer and by the secret's other end; none of a dealer whose bundle held none."""
    absent = _absent(context, [each.dealer for each in said.shown])
    found: _Opened = {}
    for each in said.shown:
        if each.own is not None:
            found[each.dealer, each.dealer] = bytes.fromhex(each.own)
            found |= {(each.dealer, name): bytes.fromhex(share) for name, share in zip(absent, each.pairs, strict=True)}
    return found


def _is_good(context: Context, dealer: str, secret: str, holder: str, share: bytes, table: Table) -> bool:
    source, target, other = context.position(dealer), context.position(holder), context.position(secret)
    return bundles.is_committed(context, source, target, other, share, table.rows[target - 1].shares[other - 1])


def _combined(context: Context, dealer: str, secret: str, shares: Mapping[str, bytes], table: Table) -> bytes | None:
    """The seed, if it is the one that was committed to."""
    seed = shamir.combine({context.position(holder): share for holder, share in shares.items()})
    return seed if seed is not None and is_seed(context, dealer, secret, seed, table) else None


def is_seed(context: Context, dealer: str, secret: str, seed: bytes, table: Table) -> bool:
    """Whether this is the seed that the dealer committed to."""
    source, other = context.position(dealer), context.position(secret)
    return seeds.commitment(context, min(source, other), max(source, other), seed) == table.seeds[other - 1]


# --- for everyone ---------------------------------------------------------------------------------------------------


def to_bytes(said: Unmasking | Reply) -> bytes:
    """Canonical JSON."""
    return canonical.encode(said.model_dump(mode="json"))


def from_bytes(data: bytes) -> Unmasking:
    """`unmask.json`, in its one form. Raises FedmedError FM-SHR-11."""
    try:
        canonical.decode(data)
        return Unmasking.model_validate_json(data, strict=True)
    except (FedmedError, ValidationError) as error:
        raise FedmedError("FM-SHR-11", f"{UNMASK}: not in its form", local=str(error)) from error


def require_seeds(context: Context, said: Unmasking, tables: Mapping[str, Table]) -> None:
    """Exactly the seeds that the sum of these sites needs, all of them the ones that they committed to.

    Raises FedmedError FM-SHR-11.
    """
    names = [each.site for each in said.included]
    expected = [(name, other) for name in names for other in _absent(context, names)]
    fits = said.context == context.x and [(each.site, each.absent) for each in said.pairs] == expected
    if not fits or names != sorted(tables) or not set(names) <= set(context.sites):
        raise FedmedError("FM-SHR-11", f"{UNMASK}: expected one seed for each site, and for each pair of in and out")
    told = [(each.site, each.site, each.seed) for each in said.included]
    told += [(each.site, each.absent, each.seed) for each in said.pairs]
    for dealer, secret, seed in told:
        if not is_seed(context, dealer, secret, bytes.fromhex(seed), tables[dealer]):
            raise FedmedError("FM-SHR-11", f"{UNMASK}: a seed of {dealer} is not the one that it committed to")


def to_take_off(context: Context, said: Unmasking) -> Masks:
    """The masks that are left in the sum, turned round: what is added here was subtracted there."""
    added: list[bytes] = []
    subtracted = [bytes.fromhex(each.seed) for each in said.included]
    for each in said.pairs:
        is_first = context.position(each.site) < context.position(each.absent)
        (subtracted if is_first else added).append(bytes.fromhex(each.seed))
    return Masks(tuple(added), tuple(subtracted))


def _absent(context: Context, names: Sequence[str]) -> list[str]:
    return [site for site in context.sites if site not in set(names)]


def _require_set(context: Context, names: Sequence[str]) -> None:
    fits = list(names) == sorted(set(names)) and set(names) <= set(context.sites)
    if not fits or len(names) < context.threshold:
        message = f"expected {context.threshold} or more of the {len(context.sites)} sites, each once, by name"
        raise FedmedError("FM-SHR-10", f"included sites: {message}, got {len(names)}")
