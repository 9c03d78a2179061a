"""Form, rounds, tensors, laps, and what is remembered between rounds."""

from __future__ import annotations

from fedmed.codes.code import CONFIG, DATA, PROTOCOL, TRUST, USAGE, WAITING, Code

_HELD = "call the site; then fedmed aggregate --include SITE --reason WHY -w HERE, or ask it for train-local --again"
CODES: dict[str, Code] = {
    "FM-FRM-01": Code(
        PROTOCOL, "not a fedmed file", "give a *.fedmed file; if it is one, copy it again from the sender"
    ),
    "FM-FRM-02": Code(PROTOCOL, "the statement is not canonical JSON", "ask the sender to seal the file with fedmed"),
    "FM-FRM-03": Code(
        PROTOCOL,
        "the statement does not follow the schema of its kind",
        "ask the sender for its version of fedmed",
    ),
    "FM-FRM-04": Code(
        PROTOCOL, "the file is larger than the federation allows", "ask the sender for the file of this federation"
    ),
    "FM-FRM-05": Code(
        PROTOCOL,
        "the container holds other members than the statement says",
        "ask the sender to seal the file again",
    ),
    "FM-RND-01": Code(PROTOCOL, "the file answers a round or attempt that does not exist", "fedmed status"),
    "FM-RND-02": Code(PROTOCOL, "the file starts from another model than this round's", "fedmed status"),
    "FM-RND-03": Code(PROTOCOL, "a file of this kind is not expected here", "fedmed inspect FILE"),
    "FM-TEN-01": Code(
        PROTOCOL,
        "the tensors are not exactly those of the federation",
        "ask the sender to train with the federation's recipe",
    ),
    "FM-TEN-02": Code(
        PROTOCOL,
        "a tensor holds NaN, infinity or a number beyond 1e30",
        "ask the sender to train again: fedmed train-local --again",
    ),
    "FM-TEN-03": Code(
        PROTOCOL,
        "the number of cases is above the bound declared for the site",
        "ask the site for the true number",
    ),
    "FM-TEN-04": Code(
        PROTOCOL,
        "a file of initial weights is not a safetensors file",
        "save the weights as safetensors; a pickle is never opened",
    ),
    "FM-ENC-01": Code(
        PROTOCOL,
        "a weight changed by more than the recipe's encoding of updates can say",
        "tell the coordinator: this needs a recipe with update: {encoding: fp32} or bf16, or a lower client_lr",
    ),
    "FM-ENC-02": Code(
        PROTOCOL,
        "an encoded update holds what its encoding never writes",
        "ask the sender to seal the update again: fedmed train-local --again",
    ),
    "FM-ENC-03": Code(
        PROTOCOL,
        "an update is not compressed as the recipe says",
        "ask the sender to seal the update again with the federation's recipe: fedmed train-local --again",
    ),
    "FM-SCR-01": Code(
        WAITING,
        "an update is held: its norm is far above the median of the round",
        _HELD,
    ),
    "FM-SCR-02": Code(
        WAITING,
        "an update is held: it points away from the others of the round",
        _HELD,
    ),
    "FM-SCR-03": Code(USAGE, "the site to include has no held update in the open round", "fedmed status"),
    "FM-STR-01": Code(
        WAITING,
        "fewer updates are in than the recipe's strategy needs",
        "ask the sites that are named for their files: fedmed status -w HERE",
    ),
    "FM-STR-02": Code(
        CONFIG,
        "fewer sites are admitted than the recipe's strategy needs",
        "admit more sites with fedmed admit, or choose another strategy in recipe.yaml",
    ),
    "FM-STR-03": Code(
        PROTOCOL,
        "an update says another number of steps than the recipe gives for its cases",
        "ask the sender to train with the federation's recipe: fedmed train-local --again",
    ),
    # laps: weights that go from site to site
    "FM-CYC-01": Code(
        WAITING,
        "in this lap another site trains before this one",
        "put the update of that site into inbox/ and run the command again",
    ),
    "FM-CYC-02": Code(
        PROTOCOL,
        "an update does not go on from the one that comes before it in the lap",
        "ask its sender to train again from the update before: fedmed train-local --again",
    ),
    "FM-CYC-03": Code(
        PROTOCOL,
        "an update of a lap is not addressed to the coordinator and the next site alone",
        "ask its sender to seal the file with fedmed",
    ),
    "FM-CYC-04": Code(
        PROTOCOL,
        "the order of a lap is not the one that the recipe's seed gives",
        "ask the coordinator for its version of fedmed, and why the order is another one",
    ),
    "FM-CYC-05": Code(PROTOCOL, "an update of another site is not what this site waits for", "fedmed inspect FILE"),
    "FM-CYC-06": Code(
        PROTOCOL,
        "a lap ended before enough sites had trained, and nothing of it counts",
        "nothing: the next lap begins with the sites that were still to come",
    ),
    # what a site or a strategy remembers between rounds
    "FM-STA-01": Code(
        TRUST,
        "what this workspace remembered of a round is missing or damaged",
        "restore archive/ from a backup of this workspace; fedmed ledger verify -w HERE says whether it is whole",
    ),
    "FM-STA-02": Code(
        PROTOCOL,
        "what is remembered belongs to another round, model or federation than the file that names it",
        "restore the whole workspace from one backup; without one it needs a new federation",
    ),
    "FM-STA-03": Code(
        PROTOCOL,
        "what is remembered does not have the tensors that the recipe needs",
        "restore the whole workspace from one backup; without one it needs a new federation",
    ),
    "FM-STA-04": Code(
        WAITING,
        "the model that says whether this site's last update counted has not arrived",
        "put that model into inbox/ and run the command again",
    ),
    # models that fit a site better than the common one
    "FM-PER-01": Code(
        CONFIG,
        "a round of this site has no more steps than the head alone takes",
        "ask for a recipe with fewer head_steps or more local_epochs",
    ),
    "FM-PER-02": Code(
        DATA,
        "the personal model of this site, which its validation cases chose, is missing or damaged",
        "make it again with: fedmed train-local -w HERE",
    ),
    # normalisation
    "FM-NRM-01": Code(
        DATA,
        "the fitted numbers that images are normalised by cannot be read",
        "restore state/preprocessing.json from a backup of this workspace",
    ),
    "FM-NRM-02": Code(
        DATA,
        "the recipe has images normalised by fitted numbers, and there are none here",
        "have them fitted first: fedmed train-local -w HERE",
    ),
    "FM-NRM-03": Code(
        DATA,
        "a channel has no grey values to normalise by, or none that can be told in a file",
        "look at the images of that channel: fedmed partition -w HERE, and logs/local.log",
    ),
    "FM-NRM-04": Code(
        PROTOCOL,
        "no common spacing can be found: most hospitals have too few cases of one to tell it, or it is above 20 mm",
        "give data.spacing in the recipe, and found a new federation with it",
    ),
    "FM-NRM-05": Code(
        TRUST,
        "a second version of the federation changes more than the numbers fitted on all sites",
        "tell the coordinator over the phone what is named; what changes needs a new federation",
    ),
    "FM-NRM-06": Code(
        PROTOCOL,
        "an update was made with other fitted numbers than the federation's",
        "ask the site to train again with the federation's: fedmed train-local --again",
    ),
    "FM-NRM-07": Code(
        PROTOCOL,
        "a fingerprint does not fit the recipe or the federation's limits",
        "ask the site for a corrected one: fedmed train-local --again",
    ),
    "FM-NRM-08": Code(
        PROTOCOL,
        "the initial weights that start keeps until the fingerprints are in are missing or damaged",
        "fedmed start",
    ),
}
