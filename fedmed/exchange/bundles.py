"""Shares of a site's seeds: dealt to all sites, sealed to each of them, and opened by the one they are for.

A bundle is bound to its dealer, its recipient and the context twice, by what it is sealed for and by its first bytes:
without that a coordinator hands one site's bundle out as another's and has its masks opened by honest sites. Source:
PRIVACY.md section 1; HPKE, RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, base mode.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pydantic import Field, ValidationError

from fedmed.errors import FedmedError
from fedmed.exchange import canonical, seeds, shamir
from fedmed.exchange.certificates import MaskKey
from fedmed.exchange.fields import Digest, Sent
from fedmed.exchange.seeds import Context, Masks

BUNDLES, SHARES = "bundles.bin", "shares.json"
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_OVERHEAD = 32 + 16  # bytes: HPKE's encapsulated key, and the tag


class Row(Sent):
    """What a dealer says of what one holder gets: SHA-256 of its sealed bundle, and commitments to the shares in it."""

    bundle: Digest
    shares: list[Digest] = Field(min_length=3, max_length=100)

    @property
    def digest(self) -> str:
        """What the dealer's statement lists for this holder: the rest of the table need not travel to check a row."""
        return hashlib.sha256(canonical.encode(self.model_dump(mode="json"))).hexdigest()


class Table(Sent):
    """`shares.json`, all in roster order. `seeds`: commitments to the dealer's pair seed with each site, and at its own
    place to its self seed. `rows`: one for each holder.
    """

    seeds: list[Digest] = Field(min_length=3, max_length=100)
    rows: list[Row] = Field(min_length=3, max_length=100)

    @property
    def dealt(self) -> list[str]:
        """The digests of the rows, for the statement."""
        return [row.digest for row in self.rows]


@dataclass(frozen=True)
class Deal:
    """What a site masks its vector with, and the two payloads that let others take the masks off again.

    The seeds are in memory only, and forgotten with this.
    """

    masks: Masks
    bundles: bytes = field(repr=False)
    table: Table = field(repr=False)


def deal(context: Context, own: MaskKey, vector: str) -> Deal:
    """Seeds, shares and sealed bundles of this site for the vector with this SHA-256, new at every call.

    Raises FedmedError FM-SHR-05.
    """
    mine, count = context.position(own.certificate.site), len(context.sites)
    every = [
        seeds.self_seed(context, own, vector) if place == mine else seeds.pair_seed(context, own, place)
        for place in range(1, count + 1)
    ]
    random = seeds.polynomials(context, own, vector, shamir.randomness(context.threshold))
    split = [shamir.split(seed, context.threshold, count, drawn) for seed, drawn in zip(every, random, strict=True)]
    held = [list(shares) for shares in zip(*split, strict=True)]
    sealed = [_seal(context, mine, holder, shares) for holder, shares in enumerate(held, start=1)]
    committed = [
        seeds.commitment(context, min(mine, place), max(mine, place), seed) for place, seed in enumerate(every, start=1)
    ]
    rows = [_row(context, mine, holder, bundle, held[holder - 1]) for holder, bundle in enumerate(sealed, start=1)]
    masks = Masks(added=(*every[mine - 1 :],), subtracted=(*every[: mine - 1],))
    return Deal(masks, b"".join(sealed), Table(seeds=committed, rows=rows))


def _row(context: Context, dealer: int, holder: int, sealed: bytes, shares: Sequence[bytes]) -> Row:
    committed = [
        seeds.share_commitment(context, dealer, holder, secret, share) for secret, share in enumerate(shares, start=1)
    ]
    return Row(bundle=hashlib.sha256(sealed).hexdigest(), shares=committed)


def table_to_bytes(table: Table) -> bytes:
    """`shares.json`."""
    return canonical.encode(table.model_dump(mode="json"))


def read_table(data: bytes, sha256: str, context: Context, dealer: str, dealt: Sequence[str]) -> Table:
    """The table with the digest that the dealer's statement tells, whose rows have those it lists, for exactly these
    sites.

    Raises FedmedError FM-SHR-07.
    """
    count = len(context.sites)
    try:
        canonical.decode(data)
        table = Table.model_validate_json(data, strict=True)
        if {len(table.seeds), len(table.rows), *(len(row.shares) for row in table.rows)} != {count}:
            raise ValueError("another number of sites")
        if table.dealt != list(dealt) or hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError("other rows than the statement lists")
    except (FedmedError, ValidationError, ValueError) as error:
        message = f"{SHARES} of {dealer}: expected commitments for {count} sites, as its statement lists them"
        raise FedmedError("FM-SHR-07", message, local=str(error)) from error
    return table


def bundle_of(data: bytes, context: Context, dealer: str, holder: str) -> bytes:
    """The one sealed bundle of `bundles.bin` that is for `holder`. Raises FedmedError FM-SHR-07."""
    source, target = context.position(dealer), context.position(holder)
    sizes = [_size(context, source, place) for place in range(1, len(context.sites) + 1)]
    if len(data) != sum(sizes):
        raise FedmedError("FM-SHR-07", f"{BUNDLES} of {dealer}: expected {sum(sizes)} bytes, got {len(data)}")
    first = sum(sizes[: target - 1])
    return data[first : first + sizes[target - 1]]


@dataclass(frozen=True)
class Requested:
    """What a request brings of one included site: the bundle for this recipient, and its row of the site's table.

    `dealt` is the row's digest as the site's own verified statement lists it.
    """

    dealer: str
    dealt: str
    row: Row
    sealed: bytes = field(repr=False)


def open_(context: Context, own: MaskKey, asked: Requested) -> list[bytes]:
    """This site's shares of all secrets of a dealer, in roster order, all of them the ones that it committed to.

    Raises FedmedError FM-SHR-08 when row or bundle are not what the dealer signed, FM-SHR-09 when the dealer signed a
    bundle that does not hold what it must.
    """
    source, target = context.position(asked.dealer), context.position(own.certificate.site)
    _require_signed(context, asked, own.certificate.site)
    info = _info(context, source, target)
    try:
        plain = SUITE.decrypt(asked.sealed, own.kem, info)
    except (InvalidTag, ValueError) as error:
        raise _spoiled(asked.dealer, "it is not sealed for this site, model and dealer") from error
    if plain[: len(info)] != info or len(asked.sealed) != _size(context, source, target):
        raise _spoiled(asked.dealer, "it was made for another site, model or dealer")
    body = plain[len(info) :]
    shares = [body[at : at + shamir.SHARE] for at in range(0, len(body), shamir.SHARE)]
    for secret, share in enumerate(shares, start=1):
        if not is_committed(context, source, target, secret, share, asked.row.shares[secret - 1]):
            raise _spoiled(asked.dealer, "a share in it is not the one that was committed to")
    return shares


def is_committed(context: Context, dealer: int, holder: int, secret: int, share: bytes, expected: str) -> bool:
    """Whether a share is the one that its dealer committed to (positions)."""
    return shamir.is_share(share) and seeds.share_commitment(context, dealer, holder, secret, share) == expected


def _require_signed(context: Context, asked: Requested, holder: str) -> None:
    """Raises FedmedError FM-SHR-08."""
    row, found = asked.row, hashlib.sha256(asked.sealed).hexdigest()
    if row.digest != asked.dealt or len(row.shares) != len(context.sites) or found != row.bundle:
        raise FedmedError("FM-SHR-08", f"bundle of {asked.dealer} for {holder}: not the one that {asked.dealer} signed")


def _seal(context: Context, dealer: int, holder: int, shares: Sequence[bytes]) -> bytes:
    info = _info(context, dealer, holder)
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(context.certificates[holder - 1].kem))
    return SUITE.encrypt(info + b"".join(shares), public, info)


def _info(context: Context, dealer: int, holder: int) -> bytes:
    """What a bundle is sealed for, and begins with."""
    source, target = context.certificates[dealer - 1], context.certificates[holder - 1]
    return seeds.array(
        "fedmed/1 share bundle", context.x, source.site, source.key, target.site, target.key, target.digest
    )


def _size(context: Context, dealer: int, holder: int) -> int:
    return _OVERHEAD + len(_info(context, dealer, holder)) + shamir.SHARE * len(context.sites)


def _spoiled(dealer: str, fault: str) -> FedmedError:
    return FedmedError("FM-SHR-09", f"bundle of {dealer}: {fault}")
