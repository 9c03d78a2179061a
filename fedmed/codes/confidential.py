"""Encrypted payloads: for whom and by whom."""

from __future__ import annotations

from fedmed.codes.code import PROTOCOL, TRUST, Code

CODES: dict[str, Code] = {
    "FM-AGE-01": Code(
        PROTOCOL,
        "a file is encrypted in a federation that agreed to send in clear, or in clear where it agreed to encrypt",
        "send nothing back, and call the sender: federation.yaml of the coordinator says what was agreed",
    ),
    "FM-AGE-02": Code(
        TRUST,
        "an encrypted payload does not open with the age key of this workspace",
        "ask the sender for the file again; if it stays so, keys/age.key is not the one that joined",
    ),
    "FM-AGE-03": Code(
        TRUST,
        "an encrypted payload was made by another sender, or for another round or federation",
        "do not use the file, and call its sender: somebody passed on another's payload as his own",
    ),
    "FM-AGE-04": Code(
        PROTOCOL,
        "an encrypted payload is not an age file of the agreed size for the agreed number of recipients",
        "ask the sender for the file again; if it stays so, it was not made by fedmed",
    ),
}
