"""Trust in the roster: who agreed to what, whose keys are known, what a restored workspace goes on from."""

from __future__ import annotations

from fedmed.codes.code import TRUST, USAGE, Code

CODES: dict[str, Code] = {
    "FM-ROS-01": Code(
        TRUST,
        "a model carries an approval that is not good",
        "call the coordinator: hospitals agreed to another federation than this one, or did not agree",
    ),
    "FM-ROS-02": Code(
        TRUST,
        "the fingerprint typed is not that of the site's join",
        "have it read again there (fedmed keys fingerprint); if it stays another, call the coordinator",
    ),
    "FM-ROS-03": Code(USAGE, "there is no other site of that name in the federation", "fedmed status"),
}
