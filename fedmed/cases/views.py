"""Side, view and body part of a radiograph, in closed codes: free text may name somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedmed.cases import dicomfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SIDES = ("L", "R", "B")
VIEWS = ("AP", "PA", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LAT", "LATERAL", "OBL", "OBLIQUE")  # PS3.3 C.8.1.2, usage
SHORTER = {"LATERAL": "LAT", "OBLIQUE": "OBL"}
BODY_PARTS = (  # of PS3.16 annex L, what radiographs show
    "ABDOMEN", "ANKLE", "ARM", "CALCANEUS", "CHEST", "CLAVICLE", "CSPINE", "ELBOW", "EXTREMITY", "FEMUR", "FINGER",
    "FOOT", "FOREARM", "HAND", "HEAD", "HEEL", "HIP", "HUMERUS", "JAW", "KNEE", "LEG", "LSPINE", "NECK", "PATELLA",
    "PELVIS", "RADIUS", "RIB", "SACRUM", "SCAPULA", "SHOULDER", "SKULL", "SPINE", "STERNUM", "TIBIA", "TOE", "TSPINE",
    "ULNA", "WRIST",
)  # fmt: skip


def of_header(data: Any) -> dict[str, str]:
    """What a header says, as covariates `laterality`, `view` and `body_part`; what it does not say is left out."""
    view = dicomfile.code(data, ("ViewPosition",), VIEWS)
    said = {
        "laterality": dicomfile.code(data, ("ImageLaterality", "Laterality"), SIDES),
        "view": SHORTER.get(view, view),
        "body_part": dicomfile.code(data, ("BodyPartExamined",), BODY_PARTS),
    }
    return {name: value for name, value in said.items() if value}


def agreed(several: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """What several images of a case say alike; one that says nothing contradicts nobody."""
    values: dict[str, set[str]] = {}
    for one in several:
        for name, value in one.items():
            values.setdefault(name, set()).add(value)
    return {name: found.pop() for name, found in values.items() if len(found) == 1}
