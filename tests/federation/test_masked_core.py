"""Secure aggregation without files: every drop-out, and every attack on shares that was found in review.

The attacks are run, refused, and run again on a copy of the protocol without the check that stops them.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.exchange import bundles, mismatches, seeds, shamir, unmasking
from fedmed.exchange.unmasking import Proof
from fedmed.learning import masking
from tests import masked
from tests.coded import code_of
from tests.masked import Masked, asked, recovered, replies
from tests.vectors import samples

if TYPE_CHECKING:
    from fedmed.exchange.bundles import Requested
    from fedmed.exchange.unmasking import Reply

CLIP, CASES, ELEMENTS = 0.5, 1000, 5


class World:
    """N sites that have all sent a masked update, in one context."""

    def __init__(self, num_sites: int, colluders: int | None = None, ring: int = 32) -> None:
        self.circle = masked.circle(num_sites)
        self.context = masked.context(self.circle, colluders)
        self.quantiser = masking.Quantiser(num_sites, ring, CLIP, CASES)  # type: ignore[arg-type]
        drawn = np.random.RandomState(num_sites)
        self.changes = {site: drawn.uniform(-0.2, 0.2, ELEMENTS).astype(np.float32) for site in self.names}
        self.cases = {site: int(drawn.randint(1, CASES + 1)) for site in self.names}
        self.plain = {site: self.quantiser.quantise(self.changes[site], self.cases[site]).vector for site in self.names}
        self.sent = {site: masked.masked(self.context, self.circle.mask[site], self.plain[site]) for site in self.names}

    @property
    def names(self) -> list[str]:
        return self.circle.names

    def of(self, included: tuple[str, ...] | list[str]) -> dict[str, Masked]:
        return {site: self.sent[site] for site in sorted(included)}

    def tables(self, included: list[str]) -> dict[str, bundles.Table]:
        return {site: self.sent[site].table for site in included}

    def weighted_mean(self, included: tuple[str, ...]) -> np.ndarray:
        total = sum(self.cases[site] * self.changes[site].astype(np.float64) for site in included)
        return np.asarray(total) / sum(self.cases[site] for site in included)


WORLDS: dict[int, World] = {}


def world(num_sites: int) -> World:
    """Made once; nothing changes it."""
    if num_sites not in WORLDS:
        WORLDS[num_sites] = World(num_sites)
    return WORLDS[num_sites]


def subsets(num_sites: int) -> list[tuple[str, ...]]:
    """Every set of sites that may be included."""
    of = world(num_sites)
    sizes = range(of.context.threshold, num_sites + 1)
    return [included for size in sizes for included in combinations(of.names, size)]


def require_the_mean(of: World, included: tuple[str, ...], holders: list[str]) -> float:
    """The largest error, as a part of the bound."""
    sent = of.of(included)
    found = recovered(of.context, sent, replies(of.context, of.circle, sent, holders))
    assert found.unmasking is not None
    assert (found.proofs, found.complaints) == ([], [])
    unmasking.require_seeds(of.context, found.unmasking, of.tables(list(sent)))
    cases, mean = masked.mean(of.context, of.quantiser, sent, found.unmasking)
    assert cases == sum(of.cases[site] for site in included)
    exact = of.weighted_mean(included)
    bound = of.quantiser.error(cases, len(included)) + CLIP * 2**-24  # and the rounding to float32
    error = float(np.abs(mean - exact).max() / bound)
    assert error <= 1
    return error


@pytest.mark.parametrize("num_sites", [3, 4, 5, 6, 7, 8])
def test_whoever_drops_out_the_mean_is_the_plain_one(num_sites: int) -> None:
    """All sets of sites, each opened by as few replies as can be, by another choice of sites every time."""
    of = world(num_sites)
    for turn, included in enumerate(subsets(num_sites)):
        choices = list(combinations(included, of.context.threshold))
        require_the_mean(of, included, list(choices[turn % len(choices)]))


@pytest.mark.slow
@pytest.mark.parametrize("num_sites", [3, 4, 5, 6, 7, 8])
def test_whoever_drops_out_and_whoever_answers(num_sites: int) -> None:
    of = world(num_sites)
    for included in subsets(num_sites):
        for size in range(of.context.threshold, len(included) + 1):
            for holders in combinations(included, size):
                require_the_mean(of, included, list(holders))


def test_the_ring_of_64_bits_is_exact_to_float32() -> None:
    of = World(5, ring=64)
    require_the_mean(of, tuple(of.names[1:]), of.names[1:])
    assert of.quantiser.error(100, 5) < 1e-15


def test_one_reply_too_few_opens_nothing() -> None:
    of = world(5)
    sent = of.of(of.names)
    said = replies(of.context, of.circle, sent, of.names[: of.context.threshold - 1])
    assert recovered(of.context, sent, said).unmasking is None


def test_requests_that_would_open_too_little_are_refused() -> None:
    of = world(5)
    own = of.circle.mask["site-aa"]

    def answered(included: list[str], order: int = 1) -> str:
        request = asked(of.context, of.of(included), "site-aa")[::order]
        return code_of(lambda: unmasking.reply(of.context, own, request))

    assert answered(of.names) == "ok"
    assert answered(of.names[:3]) == "FM-SHR-10", "fewer than the threshold"
    assert answered(of.names[1:]) == "FM-SHR-10", "a site that is not in the sum opens it"
    assert answered(of.names, -1) == "FM-SHR-10", "out of order"


# --- the slot swap, and its kin -------------------------------------------------------------------------------------


def swapped(of: World, holder: str, victim: str, slot: str) -> list[Requested]:
    """The coordinator hands the victim's bundle out in the slot of a colluder, as if the colluder had dealt it."""
    request = asked(of.context, of.of([each for each in of.names if each != victim]), holder)
    stolen = next(each for each in asked(of.context, of.of(of.names), holder) if each.dealer == victim)
    return [replace(stolen, dealer=slot) if each.dealer == slot else each for each in request]


def test_a_bundle_in_another_sites_slot_is_refused() -> None:
    of = world(5)
    for holder in of.names[1:]:
        request = swapped(of, holder, victim="site-aa", slot="site-ab")
        signed = next(each for each in asked(of.context, of.of(of.names), holder) if each.dealer == "site-ab")
        forwarded = [replace(each, dealt=signed.dealt) if each.dealer == "site-ab" else each for each in request]
        own = of.circle.mask[holder]
        assert code_of(lambda own=own, sent=forwarded: unmasking.reply(of.context, own, sent)) == "FM-SHR-08"


def test_a_colluder_who_signs_a_peers_bundle_as_its_own_gets_no_share_opened() -> None:
    """The colluder's own signature makes the digest right; what the bundle is sealed for does not change by that."""
    of = world(5)
    for holder in of.names[1:]:
        said = unmasking.reply(of.context, of.circle.mask[holder], swapped(of, holder, "site-aa", "site-ab"))
        shown = next(each for each in said.shown if each.dealer == "site-ab")
        assert (shown.own, shown.pairs) == (None, [])


def test_without_the_binding_the_slot_swap_opens_one_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """N = 5, c = 1, t = 4. The victim is called late, so its pair seeds are revealed beside the stolen self seed."""
    monkeypatch.setattr(bundles, "_info", lambda context, _dealer, _holder: seeds.array("share bundle", context.x))
    monkeypatch.setattr(seeds, "share_commitment", lambda *said: hashlib.sha256(said[-1]).hexdigest())
    of = World(5)
    victim, colluder = "site-aa", "site-ab"
    place = of.context.position
    opened: dict[str, Reply] = {
        holder: unmasking.reply(of.context, of.circle.mask[holder], swapped(of, holder, victim, colluder))
        for holder in of.names[1:]
    }
    stolen = {  # where the colluder's pair seed with the absent victim would stand is the victim's self seed
        place(holder): bytes.fromhex(said.shown[0].pairs[0]) for holder, said in opened.items()
    }
    self_seed = shamir.combine(stolen)
    pairs = {
        dealer: shamir.combine(
            {
                place(holder): bytes.fromhex(next(e for e in said.shown if e.dealer == dealer).pairs[0])
                for holder, said in opened.items()
            }
        )
        for dealer in of.names[2:]
    }
    pairs[colluder] = seeds.pair_seed(of.context, of.circle.mask[colluder], place(victim))
    assert None not in (self_seed, *pairs.values())
    open_ = of.sent[victim].vector.copy()
    masking.mask(open_, (), [seed for seed in (self_seed, *pairs.values()) if seed], seeds.keystream(of.context))
    assert np.array_equal(open_, of.plain[victim])


def test_the_same_bundle_twice_is_refused() -> None:
    of = world(5)
    request = asked(of.context, of.of(of.names), "site-aa")
    doubled = [request[0], request[0], *request[2:]]
    own = of.circle.mask["site-aa"]
    assert code_of(lambda: unmasking.reply(of.context, own, doubled)) == "FM-SHR-10"
    renamed = [request[0], replace(request[0], dealer=request[1].dealer), *request[2:]]
    said = unmasking.reply(of.context, own, renamed)
    assert said.shown[1].own is None


def test_a_bundle_of_another_round_or_attempt_is_refused() -> None:
    of = world(5)
    other = masked.context(of.circle, model="cd" * 32)
    before = {site: masked.masked(other, of.circle.mask[site], of.plain[site]) for site in of.names}
    said = unmasking.reply(of.context, of.circle.mask["site-aa"], asked(of.context, before, "site-aa"))
    assert all(each.own is None for each in said.shown)


@given(st.integers(0, 1200), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_any_bit_of_a_bundle_matters(byte: int, bit: int) -> None:
    of = world(5)
    request = asked(of.context, of.of(of.names), "site-aa")
    data = bytearray(request[1].sealed)
    data[byte % len(data)] ^= 1 << bit
    own = of.circle.mask["site-aa"]
    spoiled = replace(request[1], sealed=bytes(data))
    assert code_of(lambda: bundles.open_(of.context, own, spoiled)) == "FM-SHR-08"
    row = request[1].row.model_copy(update={"bundle": hashlib.sha256(data).hexdigest()})
    signed = replace(spoiled, row=row, dealt=row.digest)
    assert code_of(lambda: bundles.open_(of.context, own, signed)) == "FM-SHR-09"


def test_a_site_that_registers_a_peers_mask_key_makes_no_oracle_of_it() -> None:
    """The list is refused (tests/exchange/test_certificates.py). Even in a list that nobody checked, the peer opens
    nothing that was sealed for the other: its own name and certificate are in what a bundle is sealed for.
    """
    of = masked.circle(5)
    thief, peer = of.mask["site-ab"], of.mask["site-ac"]
    said = {**thief.certificate.model_dump(), "kem": peer.certificate.kem}
    listed = [each if each.site != "site-ab" else each.model_validate(said) for each in of.certificates]
    context = seeds.context(masked.MODEL, listed, 4)
    dealt = bundles.deal(context, of.mask["site-aa"], "0" * 64)
    stolen = bundles.bundle_of(dealt.bundles, context, "site-aa", "site-ab")
    row = dealt.table.rows[1]
    request = bundles.Requested("site-aa", row.digest, row, stolen)
    assert code_of(lambda: bundles.open_(context, peer, request)) == "FM-SHR-09"
    as_the_thief = replace(peer, certificate=listed[1])
    assert code_of(lambda: bundles.open_(context, as_the_thief, request)) == "ok", "the key does fit"


def test_an_old_key_that_was_stolen_opens_what_is_sealed_to_it() -> None:
    """Why no index may fall: rolled back to it, every site would seal its shares to the thief."""
    of = masked.circle(5)
    dealt = bundles.deal(masked.context(of), of.mask["site-aa"], "0" * 64)
    row = dealt.table.rows[2]
    sealed = bundles.bundle_of(dealt.bundles, masked.context(of), "site-aa", "site-ac")
    request = bundles.Requested("site-aa", row.digest, row, sealed)
    assert len(bundles.open_(masked.context(of), of.mask["site-ac"], request)) == 5
    renewed = replace(of, mask={**of.mask, "site-ac": masked.circle(5, index=2).mask["site-ac"]})
    later = masked.context(renewed)
    again = bundles.deal(later, of.mask["site-aa"], "0" * 64)
    row = again.table.rows[2]
    sealed = bundles.bundle_of(again.bundles, later, "site-aa", "site-ac")
    request = bundles.Requested("site-aa", row.digest, row, sealed)
    assert code_of(lambda: bundles.open_(later, of.mask["site-ac"], request)) == "FM-SHR-09"


# --- who spoiled it -------------------------------------------------------------------------------------------------


def with_wrong_share(said: Reply, dealer: str) -> Reply:
    shown = [
        each.model_copy(update={"own": "00" * 31 + "07"}) if each.dealer == dealer else each for each in said.shown
    ]
    return said.model_copy(update={"shown": shown})


def test_a_holder_who_replies_another_share_is_named_and_the_others_are_enough() -> None:
    of = world(5)
    sent = of.of(of.names)
    said = replies(of.context, of.circle, sent, of.names)
    said["site-ac"] = with_wrong_share(said["site-ac"], "site-aa")
    found = recovered(of.context, sent, said)
    assert found.unmasking is not None
    assert [(each.fault, each.site, each.dealer) for each in found.proofs] == [("holder", "site-ac", "site-aa")]
    assert unmasking.is_proven(of.context, found.proofs[0], of.sent["site-aa"].table, said)


def dealt_badly(of: World, dealer: str, spoil: str) -> Masked:
    """A dealer whose bundles open and whose shares are those it committed to, and who shared something else."""
    own, context = of.circle.mask[dealer], of.context
    mine, count = context.position(dealer), len(context.sites)
    honest = bundles.deal(context, own, "0" * 64)
    random = bytes(range(shamir.randomness(context.threshold) % 251)) + b"x" * 1000
    wrong = b"\1" * 31 if spoil == "seed" else None
    split = shamir.split(wrong or b"\0" * 31, context.threshold, count, random[: shamir.randomness(context.threshold)])
    if wrong is None:  # the sum of a share and 2^250 at every x: the secret is no seed any more
        split = [((int.from_bytes(share) + 2**250) % shamir.PRIME).to_bytes(32) for share in split]
    rows, sealed = [], []
    for holder in range(1, count + 1):
        shares = [split[holder - 1]] * count
        sealed.append(bundles._seal(context, mine, holder, shares))
        rows.append(bundles._row(context, mine, holder, sealed[-1], shares))
    table = bundles.Table(seeds=honest.table.seeds, rows=rows)
    return Masked(of.plain[dealer], b"".join(sealed), table)


@pytest.mark.parametrize("spoil", ["seed", "beyond"])
def test_a_dealer_who_shared_another_seed_is_named(spoil: str) -> None:
    of = world(5)
    sent = {**of.of(of.names[:4]), "site-ac": dealt_badly(of, "site-ac", spoil)}
    said = replies(of.context, of.circle, sent, of.names[:4])
    found = recovered(of.context, sent, said)
    assert found.unmasking is None
    assert {(each.fault, each.site) for each in found.proofs} == {("dealer", "site-ac")}
    assert {each.secret for each in found.proofs} == {"site-ac", "site-ae"}
    assert all(unmasking.is_proven(of.context, each, sent["site-ac"].table, said) for each in found.proofs)


def test_nobody_is_named_for_what_the_files_do_not_show() -> None:
    of = world(5)
    sent = of.of(of.names)
    said = replies(of.context, of.circle, sent, of.names)
    table = sent["site-aa"].table

    def proven(fault: str, site: str, holders: list[str]) -> bool:
        proof = Proof.model_validate(
            {"fault": fault, "site": site, "dealer": "site-aa", "secret": "site-aa", "holders": holders}
        )
        return unmasking.is_proven(of.context, proof, table, said)

    assert not proven("holder", "site-ac", ["site-ac"])
    assert not proven("dealer", "site-aa", of.names[:4])
    assert not proven("dealer", "site-aa", of.names[:3])
    said["site-ac"] = with_wrong_share(said["site-ac"], "site-aa")
    assert proven("holder", "site-ac", ["site-ac"])
    assert not proven("holder", "site-ab", ["site-ac"]), "another site than the holder"
    assert not proven("holder", "site-ab", ["site-ab"])
    assert not proven("dealer", "site-aa", of.names[:4]), "one of the shares is not the dealer's"
    assert not proven("dealer", "site-ab", of.names[:4]), "another site than the dealer"
    assert not proven("holder", "site-zz", ["site-zz"]), "a site that does not exist"
    del said["site-ab"]
    assert not proven("dealer", "site-aa", of.names[:4]), "a reply that is not there"
    first = said["site-ac"].shown[0].model_copy(update={"pairs": ["00" * 32]})
    said["site-ac"] = said["site-ac"].model_copy(update={"shown": [first, *said["site-ac"].shown[1:]]})
    assert not proven("holder", "site-ac", ["site-ac"]), "a reply that has another form"


def test_a_bundle_that_does_not_open_is_a_complaint_that_names_two() -> None:
    of = world(5)
    junk = bundles._seal(of.context, 3, 1, [b"\0" * 32] * 5)
    place = sum(bundles._size(of.context, 3, holder) for holder in range(1, 1))
    data = junk + of.sent["site-ac"].bundles[place + len(junk) :]
    rows = list(of.sent["site-ac"].table.rows)
    rows[0] = rows[0].model_copy(update={"bundle": hashlib.sha256(junk).hexdigest()})
    table = of.sent["site-ac"].table.model_copy(update={"rows": rows})
    sent = {**of.of(of.names), "site-ac": Masked(of.sent["site-ac"].vector, data, table)}
    found = recovered(of.context, sent, replies(of.context, of.circle, sent, of.names))
    assert found.complaints == [("site-aa", "site-ac")]
    assert found.proofs == []
    assert found.unmasking is not None, "the other four shares are enough"


def test_whoever_answered_another_model_is_a_mismatch_with_everyone() -> None:
    of = world(5)
    astray = masked.context(of.circle, model="cd" * 32)
    sent = {**of.of(of.names), "site-ac": masked.masked(astray, of.circle.mask["site-ac"], of.plain["site-ac"])}
    found = mismatches.found(of.context, {site: each.table for site, each in sent.items()})
    assert found == [
        ("site-aa", "site-ac"),
        ("site-ab", "site-ac"),
        ("site-ac", "site-ad"),
        ("site-ac", "site-ae"),
    ]
    assert mismatches.fewest(found) == ["site-ac"]
    assert mismatches.found(of.context, of.tables(of.names)) == []


@pytest.mark.parametrize("is_astray", [False, True])
def test_with_that_update_in_the_sum_nothing_cancels(is_astray: bool) -> None:
    """Different models to different sites, so that one update alone would survive the sum: no mask cancels then."""
    of = world(5)
    sent = of.of(of.names)
    if is_astray:
        other = masked.context(of.circle, model="cd" * 32)
        sent["site-ac"] = masked.masked(other, of.circle.mask["site-ac"], of.plain["site-ac"])
    total = np.sum([each.vector for each in sent.values()], axis=0, dtype=np.uint32)
    own = [each.masks.added[0] for each in sent.values() if each.masks]
    masking.mask(total, (), own, seeds.keystream(of.context))
    plain = np.sum(list(of.plain.values()), axis=0, dtype=np.uint32)
    assert np.count_nonzero(total == plain) == (0 if is_astray else len(plain))


def test_the_fewest_sites_are_left_out() -> None:
    star = [("aa", name) for name in ("bb", "cc", "dd")]
    assert mismatches.fewest([]) == []
    assert mismatches.fewest([("aa", "bb")]) == ["aa"]
    assert mismatches.fewest(star) == ["aa"]
    assert mismatches.fewest([*star, ("bb", "cc"), ("cc", "dd")]) == ["aa", "cc"]
    path = [("aa", "bb"), ("bb", "cc"), ("cc", "dd"), ("dd", "ee")]
    assert mismatches.fewest(path) == ["bb", "dd"]


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14))
def test_the_fewest_are_as_few_as_trying_everything_finds(drawn: set[tuple[int, int]]) -> None:
    pairs = sorted({(f"s{min(pair)}", f"s{max(pair)}") for pair in drawn if pair[0] != pair[1]})
    names = sorted({site for pair in pairs for site in pair})
    tried = (set(chosen) for size in range(len(names) + 1) for chosen in combinations(names, size))
    least = next(chosen for chosen in tried if all(chosen & set(pair) for pair in pairs))
    found = set(mismatches.fewest(pairs))
    assert len(found) == len(least)
    assert all(found & set(pair) for pair in pairs)


def test_a_hundred_sites_of_whom_many_disagree_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"s{place:02}" for place in range(100)]
    bad = names[3:30:3]
    pairs = sorted({tuple(sorted((one, other))) for one in bad for other in names if one != other})
    assert mismatches.fewest(pairs) == bad  # type: ignore[arg-type]
    ring = [tuple(sorted(pair)) for pair in zip(names, [*names[1:], names[0]], strict=True)]
    monkeypatch.setattr(mismatches, "MAX_STEPS", 100)
    found = set(mismatches.fewest(ring))  # type: ignore[arg-type]
    assert all(found & set(pair) for pair in ring)
    assert len(found) < 67


# --- payloads -------------------------------------------------------------------------------------------------------


def test_a_table_is_the_one_that_the_statement_lists() -> None:
    of = world(5)
    table = of.sent["site-aa"].table
    data = bundles.table_to_bytes(table)

    def read(given: bytes, dealt: list[str] | None = None, sha256: str = "") -> str:
        digest = sha256 or samples.sha256(given)
        return code_of(lambda: bundles.read_table(given, digest, of.context, "site-aa", dealt or table.dealt))

    assert bundles.read_table(data, samples.sha256(data), of.context, "site-aa", table.dealt) == table
    assert read(data, sha256=samples.sha256(data + b" ")) == "FM-SHR-07"
    assert read(data + b" ") == "FM-SHR-07"
    assert read(data.replace(b'"seeds"', b'"seedz"')) == "FM-SHR-07"
    assert read(b"[]") == "FM-SHR-07"
    assert read(data, of.sent["site-ab"].table.dealt) == "FM-SHR-07"
    four = world(4).sent["site-aa"].table
    assert read(bundles.table_to_bytes(four), four.dealt) == "FM-SHR-07"


def test_bundles_that_are_cut_or_longer_are_refused() -> None:
    of = world(5)
    data = of.sent["site-aa"].bundles
    assert bundles.bundle_of(data, of.context, "site-aa", "site-ae") == data[-len(data) // 5 :]
    for spoiled in (data[:-1], data + b"x", b""):
        assert code_of(lambda given=spoiled: bundles.bundle_of(given, of.context, "site-aa", "site-ab")) == "FM-SHR-07"


def test_revealed_seeds_are_those_of_the_sum_and_no_others() -> None:
    of = world(5)
    sent = of.of(of.names[:4])
    found = recovered(of.context, sent, replies(of.context, of.circle, sent, of.names[:4])).unmasking
    assert found is not None
    tables = of.tables(of.names[:4])

    def checked(**changed: object) -> str:
        return code_of(lambda: unmasking.require_seeds(of.context, found.model_copy(update=changed), tables))

    wrong = found.included[0].model_copy(update={"seed": found.included[1].seed})
    assert checked() == "ok"
    assert checked(included=[wrong, *found.included[1:]]) == "FM-SHR-11"
    assert checked(included=found.included[::-1]) == "FM-SHR-11"
    assert checked(included=found.included[:3]) == "FM-SHR-11"
    assert checked(pairs=[]) == "FM-SHR-11"
    assert checked(pairs=found.pairs[::-1]) == "FM-SHR-11"
    assert checked(pairs=[found.pairs[0].model_copy(update={"seed": "00" * 31}), *found.pairs[1:]]) == "FM-SHR-11"
    assert checked(context="0" * 64) == "FM-SHR-11"


def test_a_reply_is_about_the_sites_that_were_asked_for() -> None:
    of = world(5)
    sent = of.of(of.names)
    said = replies(of.context, of.circle, sent, of.names)
    fewer = of.of(of.names[:4])
    assert code_of(lambda: recovered(of.context, fewer, {"site-aa": said["site-aa"]})) == "FM-SHR-10"
    outside = replies(of.context, of.circle, fewer, ["site-aa"])["site-aa"]
    assert code_of(lambda: recovered(of.context, fewer, {"site-ae": outside})) == "FM-SHR-10"
    one = outside.shown[0].model_copy(update={"pairs": []})
    cut = outside.model_copy(update={"shown": [one, *outside.shown[1:]]})
    assert code_of(lambda: recovered(of.context, fewer, {"site-aa": cut})) == "FM-SHR-10"


def test_for_one_site_the_self_seed_or_the_pair_seeds_are_revealed() -> None:
    """Never both: of every secret of which a share leaves, one end is in the sum and the other is it, or is not."""
    of = world(6)
    for included in subsets(6):
        sent = of.of(included)
        said = unmasking.reply(of.context, of.circle.mask[included[0]], asked(of.context, sent, included[0]))
        absent = sorted(set(of.names) - set(included))
        own = of.circle.mask[included[0]]
        for shown, request in zip(said.shown, asked(of.context, sent, included[0]), strict=True):
            held = [share.hex() for share in bundles.open_(of.context, own, request)]
            place = of.names.index
            assert shown.own == held[place(shown.dealer)]
            assert shown.pairs == [held[place(name)] for name in absent]


def test_no_secret_is_ever_shown() -> None:
    of = world(5)
    own = of.circle.mask["site-aa"]
    dealt = bundles.deal(of.context, own, "0" * 64)
    secrets = [seed.hex() for seed in (*dealt.masks.added, *dealt.masks.subtracted)]
    request = asked(of.context, of.of(of.names[:4]), "site-aa")
    said = unmasking.reply(of.context, own, request)
    secrets += [share for shown in said.shown for share in (shown.own, *shown.pairs) if share]
    found = recovered(
        of.context, of.of(of.names[:4]), replies(of.context, of.circle, of.of(of.names[:4]), of.names[:4])
    )
    assert found.unmasking is not None
    secrets += [each.seed for each in (*found.unmasking.included, *found.unmasking.pairs)]
    shown = (dealt, dealt.masks, own, request, said, said.shown[0], found, found.unmasking)
    texts = [repr(each) + str(each) for each in shown]
    assert len(secrets) > 10
    assert not [secret for secret in secrets for text in texts if secret in text or repr(bytes.fromhex(secret)) in text]


# --- collusion ------------------------------------------------------------------------------------------------------


def seen_by(of: World, colluders: list[str], victim: str) -> dict[str, dict[int, bytes]]:
    """All shares of a victim's secrets that these sites can open, by the secret's other end and by position."""
    found: dict[str, dict[int, bytes]] = {name: {} for name in of.names}
    for holder in colluders:
        request = next(each for each in asked(of.context, of.of(of.names), holder) if each.dealer == victim)
        for name, share in zip(of.names, bundles.open_(of.context, of.circle.mask[holder], request), strict=True):
            found[name][of.context.position(holder)] = share
    return found


@pytest.mark.parametrize(("num_sites", "colluders"), [(3, 1), (4, 1), (5, 1), (5, 3), (8, 2), (8, 6)])
def test_colluders_and_the_coordinator_learn_the_sum_and_no_update(num_sites: int, colluders: int) -> None:
    """They have their own keys, all shares that they can open, all replies, and all masked updates.

    What is left on each honest update is a mask that none of that gives; it goes away only when all are added up.
    """
    of = World(num_sites, colluders)
    bad, good = of.names[:colluders], of.names[colluders:]
    sent = of.of(of.names)
    found = recovered(of.context, sent, replies(of.context, of.circle, sent, of.names)).unmasking
    assert found is not None
    stream = seeds.keystream(of.context)
    own = {each.site: bytes.fromhex(each.seed) for each in found.included}
    left = {}
    for victim in good:
        place = of.context.position(victim)
        shares = seen_by(of, bad, victim)
        assert all(len(of_secret) == colluders < of.context.threshold for of_secret in shares.values())
        known = [seeds.pair_seed(of.context, of.circle.mask[each], place) for each in bad]
        before = [seed for each, seed in zip(bad, known, strict=True) if of.context.position(each) < place]
        after = [seed for seed in known if seed not in before]
        left[victim] = of.sent[victim].vector.copy()
        masking.mask(left[victim], before, [own[victim], *after], stream)
        assert not np.any(left[victim] == of.plain[victim])
    assert len(good) >= 2
    together = np.sum(list(left.values()), axis=0, dtype=np.uint32)
    assert np.array_equal(together, np.sum([of.plain[each] for each in good], axis=0, dtype=np.uint32))


@pytest.mark.parametrize("num_sites", [3, 5, 8])
def test_as_many_as_the_threshold_learn_everything(num_sites: int) -> None:
    """The stated limit: whoever opens t bundles of a site has all its seeds."""
    of = world(num_sites)
    victim = of.names[-1]
    holders = of.names[: of.context.threshold]
    shares = seen_by(of, holders, victim)
    secrets = {name: shamir.combine(of_secret) for name, of_secret in shares.items()}
    place = of.context.position
    before = [seed for name, seed in secrets.items() if seed and place(name) < place(victim)]
    after = [seed for name, seed in secrets.items() if seed and place(name) >= place(victim)]
    opened = of.sent[victim].vector.copy()
    masking.mask(opened, before, after, seeds.keystream(of.context))
    assert np.array_equal(opened, of.plain[victim])
    fewer = seen_by(of, holders[:-1], victim)
    assert not [name for name in of.names if shamir.combine(fewer[name]) == secrets[name]]


def test_with_a_lower_threshold_two_sets_are_both_answered() -> None:
    """What the threshold is for: at t - 1 the coordinator splits the honest sites, and one update is the difference."""
    of = world(5)
    lower = replace(of.context, threshold=of.context.threshold - 1)
    with_it, without = of.names, of.names[1:]
    sent = {site: masked.masked(lower, of.circle.mask[site], of.plain[site]) for site in of.names}
    colluder, honest = of.names[4], of.names[:4]
    sums = []
    for included, asked_for in (
        (with_it, [honest[0], honest[1], colluder]),
        (without, [honest[2], honest[3], colluder]),
    ):
        some = {site: sent[site] for site in included}
        found = recovered(lower, some, replies(lower, of.circle, some, asked_for)).unmasking
        assert found is not None
        masks = unmasking.to_take_off(lower, found)
        total = np.sum([each.vector for each in some.values()], axis=0, dtype=np.uint32)
        masking.mask(total, masks.added, masks.subtracted, seeds.keystream(lower))
        sums.append(total)
    assert np.array_equal(sums[0] - sums[1], of.plain[of.names[0]])
    honest_answers, both = len(honest), 2 * of.context.threshold
    assert both > honest_answers + 2, "with the right threshold one of the two sets lacks a reply"
