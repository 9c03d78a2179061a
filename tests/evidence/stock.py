"""A file judged by stock tools alone, as an auditor without fedmed would: the commands of FORMAT.md section 3.

The auditor has the roster (`allowed_signers`), reads kind, sender, time and digests out of `statement.json`, and knows
nothing of schemas, tensors, rounds or of what the federation asks for.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed.auditor import inspection
from fedmed.exchange import federation
from tests.coded import code_of
from tests.vectors.make_vectors import DATA
from tests.vectors.test_vectors import federation_of

if TYPE_CHECKING:
    from collections.abc import Sequence

CREATED = "2031-03-01T08:00:00Z"
# signatures, whose key it is, and bytes that were not signed: no file with such a defect may pass the stock tools
SEEN_BY_BOTH = {"FM-SIG-01", "FM-SIG-03", "FM-SIG-04", "FM-SIG-05", "FM-TRU-10"}


def allowed_signers(federation_path: Path) -> str:
    """What `fedmed keys allowed-signers --federation FILE` prints."""
    return federation.allowed_signers(inspection.read_federation(federation_path).federation, CREATED)


def judged(path: Path, roster: str) -> str:
    """`ok`, or the step that refused it: `tar`, `statement`, `ssh-keygen`, `sha256sum`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        if not _is_fine(["tar", "-xf", str(path.resolve()), "--no-same-owner"], unpacked):
            return "tar"
        try:
            said = json.loads((unpacked / "statement.json").read_text("utf-8"))
            predicate = said["predicate"]
            sender, kind, created = predicate["sender"]["name"], predicate["kind"], predicate["created"]
            sums = [f"{each['digest']['sha256']}  {each['name']}\n" for each in said["subject"]]
            known = {part["name"] for part in predicate["payload"]}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "statement"
        (folder / "allowed_signers").write_text(roster)
        if not _is_signed(unpacked, folder / "allowed_signers", sender, kind, created):
            return "ssh-keygen"
        (folder / "sums").write_text("".join(line for line in sums if line[66:-1] in known))
        if known and not _is_fine(["sha256sum", "--check", "--strict", "--status", str(folder / "sums")], unpacked):
            return "sha256sum"
        return "ok"


def _is_signed(folder: Path, roster: Path, sender: Any, kind: Any, created: Any) -> bool:
    time = "".join(letter for letter in str(created) if letter not in "-:T")
    options = ["-f", str(roster), "-I", str(sender), "-n", f"{kind}@fedmed.v1", "-s", "statement.json.sig"]
    command = ["ssh-keygen", "-Y", "verify", *options, f"-Overify-time={time}"]
    if not (folder / "statement.json.sig").is_file():
        return False
    return _is_fine(command, folder, (folder / "statement.json").read_bytes())


def _is_fine(command: Sequence[str], folder: Path, given: bytes = b"") -> bool:
    return subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False).returncode == 0


def both(name: str) -> tuple[str, str]:
    """How fedmed and how the stock tools end for one vector."""
    path, known = DATA / name, DATA / federation_of(name)
    return code_of(lambda: inspection.verify(path, known)), judged(path, allowed_signers(known))
