"""Unlikely inputs for what a site opens of its peers: tables of commitments, and bundles whose sealed text was changed.

The sites' keys are drawn anew in each process; which bytes change, and how, follows from the number alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from fedmed.exchange import bundles, seeds
from tests import masked

if TYPE_CHECKING:
    from fedmed.exchange.certificates import MaskKey

Change = Callable[[random.Random, bytes], bytes]
DEALER, HOLDER = "site-ab", "site-ad"


@dataclass(frozen=True)
class Sent:
    """What one of five sites dealt, and the bundle of it that another one opens."""

    context: seeds.Context
    own: MaskKey
    table: bundles.Table
    asked: bundles.Requested
    plain: bytes


@cache
def sent() -> Sent:
    circle = masked.circle(5)
    context = masked.context(circle)
    dealt = bundles.deal(context, circle.mask[DEALER], "0" * 64)
    holder = context.position(HOLDER)
    sealed = bundles.bundle_of(dealt.bundles, context, DEALER, HOLDER)
    row = dealt.table.rows[holder - 1]
    asked = bundles.Requested(DEALER, row.digest, row, sealed)
    info = bundles._info(context, context.position(DEALER), holder)
    own = circle.mask[HOLDER]
    return Sent(context, own, dealt.table, asked, bundles.SUITE.decrypt(sealed, own.kem, info))


def table_of_commitments(source: random.Random, changed: Change) -> tuple[Callable[[], object], bool]:
    """A changed `shares.json` under a statement that tells its digest and lists those of the rows."""
    of = sent()
    good = bundles.table_to_bytes(of.table)
    data, digest = changed(source, good), hashlib.sha256(good).hexdigest()
    return lambda: bundles.read_table(data, digest, of.context, DEALER, of.table.dealt), data == good


def bundle(source: random.Random, changed: Change) -> tuple[Callable[[], object], bool]:
    """Sealed as it must be, and signed by its dealer; what lies in it is changed, or the seal is."""
    of = sent()
    plain, sealed = of.plain, of.asked.sealed
    if source.random() < 0.5:
        plain = changed(source, of.plain)
        info = bundles._info(of.context, of.context.position(DEALER), of.context.position(HOLDER))
        public = X25519PublicKey.from_public_bytes(bytes.fromhex(of.own.certificate.kem))
        sealed = bundles.SUITE.encrypt(plain, public, info)
    else:
        sealed = changed(source, of.asked.sealed)
        plain = of.plain if sealed == of.asked.sealed else b""
    row = of.asked.row.model_copy(update={"bundle": hashlib.sha256(sealed).hexdigest()})
    asked = replace(of.asked, sealed=sealed, row=row, dealt=row.digest)
    return lambda: bundles.open_(of.context, of.own, asked), plain == of.plain
