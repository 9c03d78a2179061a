"""Hospitals that mask, without files: their keys, their certificates, and the federation that lists them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedmed.exchange import bodies_roster, bundles, certificates, keys, predicates, seeds, unmasking
from fedmed.exchange.bundles import Requested
from fedmed.exchange.federation import Federation
from fedmed.learning import masking, masking_terms
from tests.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedmed.exchange.bundles import Table
    from fedmed.exchange.certificates import Certificate, MaskKey
    from fedmed.exchange.seeds import Context, Masks
    from fedmed.exchange.unmasking import Recovered, Reply, Unmasking
    from fedmed.learning.masking import Quantiser

FEDERATION_ID = "5eed" * 8


@dataclass(frozen=True)
class Circle:
    """N sites by name, each with its signing key and mask keys."""

    federation: Federation
    signing: dict[str, Ed25519PrivateKey]
    mask: dict[str, MaskKey]

    @property
    def names(self) -> list[str]:
        return sorted(self.mask)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return tuple(self.mask[name].certificate for name in self.names)


def circle(num_sites: int, index: int = 1) -> Circle:
    names = [f"site-{chr(ord('a') + place // 26)}{chr(ord('a') + place % 26)}" for place in range(num_sites)]
    signing = {name: samples.key(name) for name in names}
    id_ = None if index == 1 else FEDERATION_ID
    mask = {name: certificates.create(signing[name], name, id_, index) for name in names}
    return Circle(federation(signing), signing, mask)


def federation(signing: dict[str, Ed25519PrivateKey]) -> Federation:
    """Only what is looked at when masks are made."""
    roster = [
        bodies_roster.Member.model_construct(name=name, key=keys.public_line(key.public_key().public_bytes_raw()))
        for name, key in signing.items()
    ]
    founding = predicates.Founding(id=FEDERATION_ID, title="Masked", version=1, previous=None, approved=None)
    body = bodies_roster.Federation.model_construct(roster=roster)
    return Federation("0" * 64, founding, body, "0" * 64, "0" * 64, None, "2033-02-28T08:00:00Z")


@dataclass(frozen=True)
class Masked:
    """What a site sends: its masked vector, and what it dealt. Nobody else ever sees the seeds of its masks."""

    vector: np.ndarray
    bundles: bytes
    table: Table
    masks: Masks | None = None


MODEL = "ab" * 32


def context(of: Circle, colluders: int | None = None, model: str = MODEL) -> Context:
    threshold = masking_terms.parameters(len(of.names), colluders, 1000).threshold
    return seeds.context(model, of.certificates, threshold)


def masked(found: Context, own: MaskKey, vector: np.ndarray) -> Masked:
    """As `train-local` does it."""
    dealt = bundles.deal(found, own, hashlib.sha256(vector.tobytes()).hexdigest())
    hidden = vector.copy()
    masking.mask(hidden, dealt.masks.added, dealt.masks.subtracted, seeds.keystream(found))
    return Masked(hidden, dealt.bundles, dealt.table, dealt.masks)


def asked(found: Context, sent: dict[str, Masked], holder: str) -> list[Requested]:
    """The request for one site about all of these, as `unmask` makes it."""
    place = found.position(holder) - 1
    return [
        Requested(
            dealer,
            each.table.dealt[place],
            each.table.rows[place],
            bundles.bundle_of(each.bundles, found, dealer, holder),
        )
        for dealer, each in sorted(sent.items())
    ]


def replies(found: Context, of: Circle, sent: dict[str, Masked], holders: Sequence[str]) -> dict[str, Reply]:
    return {holder: unmasking.reply(found, of.mask[holder], asked(found, sent, holder)) for holder in holders}


def recovered(found: Context, sent: dict[str, Masked], said: dict[str, Reply]) -> Recovered:
    ids = {site: hashlib.sha256(site.encode()).hexdigest() for site in sent}
    return unmasking.recover(found, ids, {site: each.table for site, each in sent.items()}, said)


def mean(found: Context, quantiser: Quantiser, sent: dict[str, Masked], said: Unmasking) -> tuple[int, np.ndarray]:
    """Number of cases, and the mean in float32."""
    masks = unmasking.to_take_off(found, said)
    vectors = [each.vector for each in sent.values()]
    reads = [lambda first, count, vector=vector: vector[first : first + count] for vector in vectors]
    pooled = masking.pooled(
        quantiser, reads, len(vectors[0]) - 1, masks.added, masks.subtracted, seeds.keystream(found)
    )
    return pooled.cases, np.concatenate(list(pooled.pieces))
