"""Trust in the roster: who agreed to what, whose keys are known, what a restored workspace goes on from."""

from __future__ import annotations

from fedmed.codes.code import TRUST, Code

CODES: dict[str, Code] = {
    "FM-ROS-01": Code(
        TRUST,
        "a model carries an approval that is not good",
        "call the coordinator: hospitals agreed to another federation than this one, or did not agree",
    ),
}
