"""Secure aggregation: mask certificates, shares, and what comes of them."""

from __future__ import annotations

from fedmed.codes.code import CONFIG, TRUST, Code

CODES: dict[str, Code] = {
    "FM-SHR-01": Code(
        TRUST,
        "a mask certificate is not signed by its site's own key, for this federation",
        "send nothing, and call that site over the phone: somebody may have put a key of his own in its place",
    ),
    "FM-SHR-02": Code(
        TRUST,
        "a model does not list exactly one mask certificate of each site, all with different keys",
        "send nothing, and ask the coordinator why",
    ),
    "FM-SHR-03": Code(
        TRUST,
        "a model lists a mask certificate of this site whose private keys this site does not hold",
        "send nothing; if this workspace was restored from a backup, call the coordinator",
    ),
    "FM-SHR-04": Code(
        TRUST,
        "a model lists an older mask certificate of a site than one before it did",
        "send nothing, and call that site: has it restored a backup",
    ),
    "FM-SHR-05": Code(
        TRUST,
        "a mask key gives the same secret to everybody",
        "send nothing, and call that site: its fedmed does not make such keys",
    ),
    "FM-SHR-06": Code(
        CONFIG,
        "secure aggregation cannot protect anybody with these numbers of sites, colluders or cases",
        "change aggregation in the recipe, or max_num_cases in federation.yaml, before the federation is founded",
    ),
}
