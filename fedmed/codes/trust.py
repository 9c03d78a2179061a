"""Keys, signatures, digests, time, identifiers."""

from __future__ import annotations

from fedmed.codes.code import TRUST, Code

CODES: dict[str, Code] = {
    "FM-KEY-01": Code(TRUST, "a private key is readable by others", "chmod 600 keys/*.key"),
    "FM-KEY-02": Code(
        TRUST,
        "a key is missing or is not an OpenSSH Ed25519 key",
        "restore keys/ from your own backup, or found a new workspace",
    ),
    "FM-SIG-01": Code(
        TRUST,
        "the signature does not belong to these bytes",
        "copy the file again; if it fails again, call the sender",
    ),
    "FM-SIG-02": Code(
        TRUST,
        "the signature is not in the one form that fedmed accepts",
        "ask the sender to seal the file with fedmed",
    ),
    "FM-SIG-03": Code(TRUST, "the key that signed is not in the federation", "fedmed inspect FILE"),
    "FM-SIG-04": Code(
        TRUST, "the key signed in a role it does not have", "ask the sender to seal the file with fedmed"
    ),
    "FM-SIG-05": Code(
        TRUST, "signature, kind and sender of a file disagree", "ask the sender to seal the file with fedmed"
    ),
    "FM-TRU-01": Code(
        TRUST,
        "the fingerprint typed is not the federation's",
        "ask the coordinator to read the fingerprint again",
    ),
    "FM-TRU-02": Code(
        TRUST, "the file belongs to another federation or another version of this one", "fedmed inspect FILE"
    ),
    "FM-TRU-03": Code(
        TRUST,
        "a sender signed two different statements with one number",
        "call the sender: one file is in archive/, the other in quarantine/",
    ),
    "FM-TRU-04": Code(
        TRUST,
        "a sender's statements have two successors",
        "call the sender: one file is in archive/, the other in quarantine/",
    ),
    "FM-TRU-05": Code(TRUST, "the sender went back in time, as after a restored backup", "call the sender"),
    "FM-TRU-06": Code(
        TRUST,
        "this workspace went back in time, as after a restored backup",
        "call the other side; with its receipt (there: fedmed recover --for NAME) in inbox/: fedmed recover -w HERE",
    ),
    "FM-TRU-07": Code(TRUST, "the site has not approved the federation", "fedmed approve"),
    "FM-TRU-08": Code(
        TRUST, "the ledger was changed", "keep a copy of the workspace as it is, and find out who or what changed it"
    ),
    "FM-TRU-09": Code(
        TRUST,
        "this site, or its key, is not in the federation's roster",
        "ask the coordinator to admit your join file",
    ),
    "FM-TRU-10": Code(
        TRUST,
        "a payload is not the one that was signed",
        "copy the file again; if it fails again, call the sender",
    ),
    "FM-TRU-11": Code(
        TRUST,
        "a file of the archive is missing or damaged",
        "put an intact copy into archive/ under the same name; inbox/ or outbox/ may still hold it",
    ),
    "FM-TRU-12": Code(
        TRUST, "a join has another fingerprint than the one given", "ask the site to read its fingerprint again"
    ),
    "FM-TIM-01": Code(
        TRUST,
        "the file has expired",
        "ask the sender for a new one, or fedmed train-local --accept-expired REASON -w HERE",
    ),
    "FM-TIM-02": Code(
        TRUST,
        "the file was signed in the future",
        "check this computer's clock and call the sender, or --trust-clock REASON",
    ),
}
