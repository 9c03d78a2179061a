"""One field of the DICOM header of a case, by its keyword: what an experimenter divides hospitals by."""

from __future__ import annotations

import difflib
import warnings
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword
from pydicom.multival import MultiValue

from fedmed.cases import dicomfile, paths
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.cases.case import Case

NO_VALUE = {"SQ", "OB", "OW", "OD", "OF", "OL", "OV", "UN"}  # sequences and bulk data (PS3.5 6.2)


def check_keyword(keyword: str) -> None:
    """Raises FedmedError FM-USE-01 for what PS3.6 does not name, and for sequences and pixels."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        known = {name.lower(): name for name in keyword_dict}
        near = difflib.get_close_matches(keyword.lower(), known, n=1)
        hint = f"; did you mean {known[near[0]]}?" if near else ""
        raise FedmedError("FM-USE-01", f"--by: no keyword of DICOM{hint}", local=keyword)
    if NO_VALUE & set(dictionary_VR(tag).split(" or ")):
        raise FedmedError("FM-USE-01", f"--by {keyword}: a sequence or bulk data, expected a field with a value")


def value(case: Case, root: Path, keyword: str) -> str | int | float | None:
    """What the first file of the first channel says; None where it says nothing or is no DICOM file.

    Several values count as one text. Raises FedmedError FM-DAT-15, -16, -25 or -33.
    """
    first = next(iter(case.image.values()))[0]
    path = paths.locate(root, first, case.case)
    with paths.open_file(path, case.case) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = stream.read(132)
        if start[128:] != b"DICM" and start[:2] not in dicomfile.FIRST_GROUPS:
            return None
        try:
            data = dicomfile.parse(stream, case.case, stop_before_pixels=True, specific_tags=[keyword])
            found = data.get(keyword, data.file_meta.get(keyword))
            if isinstance(found, int | float):
                return int(found) if isinstance(found, int) else float(found)
            parts = found if isinstance(found, MultiValue) else [found]
            return "\\".join(str(part).strip() for part in parts if part is not None) or None
        except FedmedError:
            raise
        except Exception as error:  # the parser may raise anything on bytes it was not made for
            message = f"{case.case}: the header of a DICOM file cannot be read"
            raise FedmedError("FM-DAT-33", message, local=f"{first}: {error}") from error
