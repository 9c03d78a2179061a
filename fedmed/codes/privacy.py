"""The privacy of patients: budgets and what may not be spent any more."""

from __future__ import annotations

from fedmed.codes.code import PRIVACY, PROTOCOL, Code

CODES: dict[str, Code] = {
    "FM-PRV-01": Code(
        PRIVACY,
        "the recipe asks for differential privacy, and this workspace has no budget store of its hospital",
        "put privacy: {budget_dir: FOLDER} into fedmed.yaml, one folder for the whole hospital,"
        " in no workspace and not among the data",
    ),
    "FM-PRV-02": Code(
        PRIVACY,
        "the hospital's budget store cannot be read or written",
        "mount the folder that fedmed.yaml names as privacy.budget_dir, or check its permissions",
    ),
    "FM-PRV-03": Code(
        PRIVACY,
        "the hospital's budget store is damaged, cut or older than this workspace remembers it",
        "restore the newest copy of the store: nothing is trained until it holds every reservation. If no such copy is"
        " left, nobody knows what these patients have spent: train with dp only on patients that no such training has"
        " seen, in a new workspace with a new budget_dir, or take part without dp",
    ),
    "FM-PRV-04": Code(
        PRIVACY,
        "the privacy budget does not have what this round would spend",
        "see what spent it: fedmed privacy status -w HERE. The hospital may raise privacy.max_epsilon in fedmed.yaml,"
        " to 10 at most; else tell the coordinator to go on without this site",
    ),
    "FM-PRV-05": Code(
        PRIVACY,
        "the store cannot tell which patients these are",
        "fedmed partition",
    ),
    "FM-PRV-06": Code(
        PRIVACY,
        "there are fewer patients than a step is meant to take",
        "ask the coordinator for a smaller dp.patients_per_step, or take part without this recipe",
    ),
    "FM-PRV-07": Code(
        PRIVACY,
        "noise at the coordinator would drown what so few sites have learned",
        "use dp or aggregation.masking instead, or set aggregation.central.force: true in recipe.yaml",
    ),
    "FM-PRV-08": Code(
        PROTOCOL,
        "an update says something else of its patients' privacy than the recipe asks for",
        "ask the site for another update, by the version that the others use: fedmed train-local --again",
    ),
}
