"""Secure aggregation as a round: who masks, who is asked for shares, and what is never answered."""

from __future__ import annotations

from fedmed.codes.code import CONFIG, PROTOCOL, TRUST, WAITING, Code

CODES: dict[str, Code] = {
    "FM-MSK-01": Code(
        TRUST,
        "not all sites of the roster have approved this federation, as far as the model shows",
        "send nothing, and ask the coordinator for the approvals of all sites",
    ),
    "FM-MSK-02": Code(
        TRUST,
        "more sites than may collude are not confirmed by this operator",
        "call each of these hospitals, compare the fingerprint of its join, and run: fedmed keys pin SITE -w HERE",
    ),
    "FM-MSK-03": Code(
        PROTOCOL,
        "a model and the recipe do not agree about masks",
        "send nothing, and ask the coordinator why",
    ),
    "FM-MSK-04": Code(
        PROTOCOL,
        "a masked update of this round and attempt is sealed already, and another one would give both away",
        "leave out --again: the one that is sealed is posted again",
    ),
    "FM-MSK-05": Code(
        PROTOCOL,
        "an update is masked, or not, or masked for another model or number of sites, against what was agreed",
        "call that site: it does not answer the model that the coordinator sent",
    ),
    "FM-MSK-06": Code(
        CONFIG,
        "a class that this hospital never labels would be learned by too few others to hide them",
        "leave this federation, or found one without masking: absent in fedmed.yaml cannot go with it",
    ),
    "FM-MSK-07": Code(
        WAITING,
        "the masks of this round are still on",
        "run at the coordinator, and at each site that it asks: fedmed unmask",
    ),
    "FM-MSK-08": Code(
        TRUST,
        "a request does not bring what the sites it names have signed for this round and model",
        "answer nothing, and ask the coordinator why",
    ),
    "FM-MSK-09": Code(
        TRUST,
        "a request is about another set of sites than the one that this site has answered in this attempt",
        "answer nothing: two sums that differ by one site show that site; ask the coordinator why",
    ),
    "FM-MSK-10": Code(
        PROTOCOL,
        "a request is about a round or attempt that is closed here, or that this site has sent no update in",
        "nothing here; if the coordinator is still in that round, bring it the newest files of this site",
    ),
    "FM-MSK-11": Code(
        TRUST,
        "a request names fewer sites than a sum must have, or not this one",
        "answer nothing, and ask the coordinator why",
    ),
    "FM-MSK-12": Code(
        TRUST,
        "after a first answer on this model a request asks about another set of sites, and proves no reason",
        "ask the coordinator why; if the reason is good: fedmed unmask --consent REASON -w HERE",
    ),
    "FM-MSK-13": Code(
        TRUST,
        "the sites of a sum differ by few from those of the last one that this site has answered",
        "the agreed recipe says set_change: refuse; wait until the others are back, or ask the coordinator",
    ),
    "FM-MSK-14": Code(
        PROTOCOL,
        "a site spoiled a sum, as its signed files prove",
        "open the next attempt without that site: fedmed aggregate --void REASON -w HERE",
    ),
    "FM-MSK-15": Code(
        PROTOCOL,
        "there is nothing that could be declared void",
        "fedmed status",
    ),
    "FM-MSK-16": Code(
        PROTOCOL,
        "a site sent a second masked update in one attempt of a round",
        "call that site: the first one counts, and a second one is never made by accident",
    ),
    "FM-MSK-17": Code(
        PROTOCOL,
        "a reply answers a request that was never sent, or answers it a second time",
        "call that site: the first reply counts, and a second one is never made by accident",
    ),
    "FM-MSK-18": Code(
        PROTOCOL,
        "sites did not mask with the same seed: one of them saw another model or another key",
        "call the sites that are named; their updates cannot be in one sum",
    ),
    "FM-MSK-19": Code(
        TRUST,
        "what a request brings does not prove that a site spoiled an attempt",
        "answer nothing, and ask the coordinator why",
    ),
    "FM-MSK-20": Code(
        PROTOCOL,
        "another attempt of a round has another clip than the one before",
        "send nothing, and ask the coordinator why",
    ),
    "FM-MSK-21": Code(
        PROTOCOL,
        "too few sites are left that can open the sum of this round",
        "take the newest model as the result of this federation, or found a new one",
    ),
}
