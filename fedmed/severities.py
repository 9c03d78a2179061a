"""How much a finding of the data check matters: what counts by default, and what a recipe may make of it.

A recipe changes what is learned, so it says this, and `check` and `partition` both obey. What the reader refuses
cannot be trained on: it may be an error, never less than excluded. A doubt is about a case that is read and trained on
rightly as it is: it may be anything. A doubt about the whole folder has no case to exclude.
"""

from __future__ import annotations

from typing import Literal

from fedmed.errors import CODES

Severity = Literal["ignore", "warn", "exclude", "error"]
DOUBTS = (
    *("FM-CHK-05", "FM-CHK-07", "FM-CHK-08", "FM-CHK-09", "FM-CHK-10"),
    *("FM-DAT-59", "FM-DAT-60", "FM-DAT-61", "FM-DAT-62", "FM-DAT-63"),
    *("FM-DAT-67", "FM-DAT-68", "FM-DAT-69", "FM-DAT-70", "FM-DAT-74"),
)
OF_THE_FOLDER = (
    *("FM-CHK-02", "FM-CHK-03", "FM-CHK-04", "FM-CHK-06", "FM-DAT-75", "FM-DAT-76", "FM-DAT-77"),
    *("FM-IDN-01", "FM-IDN-02", "FM-IDN-03", "FM-IDN-04", "FM-IDN-05"),
)
AREAS = ("FM-DAT-", "FM-BOX-", "FM-TAB-")  # of what the reader refuses
OF_NO_CASE = {  # but of settings, tables and cases.json
    *(f"FM-DAT-{number:02d}" for number in (*range(1, 11), *range(42, 48), 49, 51, 53, 72, *range(83, 86))),
    *("FM-BOX-01", "FM-BOX-03"),
    *("FM-TAB-01", "FM-TAB-02", "FM-TAB-03", "FM-TAB-04", "FM-TAB-10"),
}


def default(code: str) -> Severity:
    """Doubts are shown, and everything else excludes."""
    return "warn" if code in DOUBTS or code in OF_THE_FOLDER else "exclude"


def allowed(code: str) -> tuple[Severity, ...]:
    """What a recipe may say of a code; nothing where it is no finding of the data check."""
    if code in DOUBTS:
        return "ignore", "warn", "exclude", "error"
    if code in OF_THE_FOLDER:
        return "ignore", "warn", "error"
    is_refusal = code in CODES and code.startswith(AREAS) and code not in OF_NO_CASE
    return ("exclude", "error") if is_refusal else ()
