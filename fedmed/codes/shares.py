"""Secure aggregation: mask certificates, shares, and what comes of them."""

from __future__ import annotations

from fedmed.codes.code import CONFIG, PROTOCOL, TRUST, Code

CODES: dict[str, Code] = {
    "FM-SHR-01": Code(
        TRUST,
        "a mask certificate is not signed by its site's own key, for this federation",
        "send nothing, and call that site over the phone: somebody may have put a key of his own in its place",
    ),
    "FM-SHR-02": Code(
        TRUST,
        "mask certificates are not exactly one of each site, all with different keys",
        "send nothing, and ask the coordinator why",
    ),
    "FM-SHR-03": Code(
        TRUST,
        "a model lists a mask certificate of this site whose private keys this site does not hold",
        "send nothing; if this workspace was restored or lost its keys, get a receipt from the coordinator (there: "
        "fedmed recover --for SITE), put it into inbox/ and run: fedmed recover",
    ),
    "FM-SHR-04": Code(
        TRUST,
        "a model lists an older mask certificate of a site than one before it did",
        "send nothing, and call that site: has it restored a backup",
    ),
    "FM-SHR-05": Code(
        TRUST,
        "a mask key gives the same secret to everybody",
        "send nothing, and call that site: such keys are not made by accident",
    ),
    "FM-SHR-06": Code(
        CONFIG,
        "secure aggregation cannot protect anybody with these numbers of sites, colluders or cases",
        "change aggregation in the recipe, or max_num_cases in federation.yaml, before the federation is founded",
    ),
    "FM-SHR-07": Code(
        PROTOCOL,
        "the shares that come with a masked update are not of this round's sites, or not as its statement lists them",
        "call that site: nothing of this update can be counted",
    ),
    "FM-SHR-08": Code(
        TRUST,
        "a request brings a bundle of shares that the site it names did not sign for this one",
        "answer nothing, and ask the coordinator why",
    ),
    "FM-SHR-09": Code(
        PROTOCOL,
        "a sealed bundle does not hold the shares that the site which signed it committed to",
        "nothing here: the reply says so, and the other sites' shares may be enough",
    ),
    "FM-SHR-10": Code(
        PROTOCOL,
        "a request or reply is not about one set of sites, as many as the threshold or more",
        "answer nothing, and ask the coordinator why",
    ),
    "FM-SHR-11": Code(
        TRUST,
        "the seeds that a model reveals are not those that its sites committed to",
        "keep the files as they are, and ask the coordinator why",
    ),
    "FM-SHR-12": Code(
        PROTOCOL,
        "the sum of the masked updates is none that updates within the clip can have",
        "a site sent something else than an update: found a new federation without masking to see which; ask its sites",
    ),
    "FM-SHR-13": Code(
        PROTOCOL,
        "there is not exactly one model here that came of this round",
        "name a round that is over, in a folder that holds its files: the coordinator's archive/",
    ),
    "FM-SHR-14": Code(
        TRUST,
        "a model is not the one that the files it names give",
        "keep the files as they are, and ask the coordinator why",
    ),
    "FM-SHR-15": Code(
        PROTOCOL,
        "the model of this round cannot be computed again from signed files alone",
        "have it verified on the coordinator's computer: fedmed ledger verify",
    ),
}
