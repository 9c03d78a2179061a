"""Layouts of public data sets that come with fedmed, as data: `init site --layout NAME` writes one into fedmed.yaml.

A hospital whose files are named in a way of its own writes such a file itself: `init site --layout FILE`.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fedmed import files, settings
from fedmed.errors import FedmedError
from fedmed.settings import ShippedLayout
from fedmed.yaml_text import read_yaml

OWN = "correct the file; fedmed/docs/DATA.md shows one"
FOLDER = resources.files("fedmed") / "layouts"


def names() -> list[str]:
    return sorted(path.name.removesuffix(".yaml") for path in FOLDER.iterdir() if path.name.endswith(".yaml"))


def load(name: str) -> ShippedLayout:
    """A layout by its name, or out of a YAML file. Raises FedmedError FM-USE-01 with the names that are known, FM-SET-*
    where the file is none."""
    if name.endswith((".yaml", ".yml")):
        return _own(Path(name))
    if name not in names():
        known = ", ".join(names())
        next_ = f"choose one of {known}, or write a file; fedmed/docs/DATA.md describes both"
        raise FedmedError("FM-USE-01", f"--layout: expected {known}, or a file .yaml", next=next_, local=name)
    text = (FOLDER / f"{name}.yaml").read_text("utf-8")
    return read_yaml(text, ShippedLayout, name=f"layouts/{name}.yaml", area="SET")


def _own(path: Path) -> ShippedLayout:
    try:
        text = files.read_bounded(path, settings.MAX_BYTES).decode("utf-8")
        return read_yaml(text, ShippedLayout, name="--layout", area="SET")
    except (OSError, UnicodeDecodeError) as error:
        raise FedmedError("FM-USE-01", "--layout: the file cannot be read", next=OWN, local=str(error)) from error
    except FedmedError as error:
        error.next = OWN
        raise
