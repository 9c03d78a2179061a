"""Third-party noise, silenced in one place.

MONAI and torch warn about their own deprecations and optional parts, to which a hospital's operator can do nothing.
What fedmed has to say about data or training it says itself, with a code.
"""

from __future__ import annotations

import logging
import warnings


def silence() -> None:
    """Called behind the imports of torch and of monai."""
    for module in (r"monai\..*", r"torch\..*"):
        for category in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.filterwarnings("ignore", category=category, module=module)
    logging.getLogger("monai").setLevel(logging.ERROR)
