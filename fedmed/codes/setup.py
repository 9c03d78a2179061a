"""Usage, recipe, settings and federation; and the one code of a bug."""

from __future__ import annotations

from fedmed.codes.code import BUG, CONFIG, USAGE, Code

CODES: dict[str, Code] = {
    "FM-BUG-01": Code(
        BUG,
        "fedmed itself failed",
        "send logs/shareable.log to the maintainers; the traceback is in logs/local.log",
    ),
    # usage, recipe, settings, federation
    "FM-USE-01": Code(USAGE, "the command line has a word or a combination that fedmed does not know", "fedmed --help"),
    "FM-USE-02": Code(USAGE, "the test fold is opened only for the last model", "fedmed evaluate"),
    "FM-RCP-01": Code(CONFIG, "a recipe could not be read as YAML", "check the file name and the line that is named"),
    "FM-RCP-02": Code(
        CONFIG,
        "a recipe has a key that fedmed does not know",
        "correct the key; recipes/README.md lists every field",
    ),
    "FM-RCP-03": Code(
        CONFIG,
        "a recipe has a value outside its bounds",
        "correct the value; recipes/README.md gives the bounds",
    ),
    "FM-SET-01": Code(
        CONFIG,
        "this folder is not a fedmed workspace, or its fedmed.yaml cannot be read",
        "fedmed init --help",
    ),
    "FM-SET-02": Code(
        CONFIG,
        "fedmed.yaml or federation.yaml has a key that fedmed does not know",
        "correct the key in the file",
    ),
    "FM-SET-03": Code(
        CONFIG,
        "fedmed.yaml or federation.yaml has a value outside its bounds",
        "correct the value in the file",
    ),
    "FM-SET-04": Code(CONFIG, "the workspace exists already and is left untouched", "fedmed status -w DIR"),
    "FM-SET-05": Code(CONFIG, "this command belongs to the other role", "run it in the other workspace"),
    "FM-SET-06": Code(
        CONFIG,
        "the name of a site is not allowed or already taken",
        "choose 2-32 of a-z, 0-9 and single hyphens, starting with a letter",
    ),
    "FM-FED-01": Code(CONFIG, "fewer sites are admitted than the federation needs", "fedmed status"),
    "FM-FED-02": Code(CONFIG, "the federation has started: its roster and recipe are frozen", "fedmed status"),
    "FM-FED-03": Code(CONFIG, "the federation has not started", "fedmed start"),
    "FM-FED-04": Code(
        CONFIG,
        "the recipe freezes batch norm, and there are no trained weights to freeze",
        "give weights that were trained before: fedmed start --weights FILE -w HERE",
    ),
    "FM-FED-05": Code(
        CONFIG,
        "the initial weights are not those with which the federation was begun",
        "give the same weights as before: fedmed start --weights FILE -w HERE, or without it if it was begun without",
    ),
}
