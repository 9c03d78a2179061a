"""Layouts of public data sets that come with fedmed, as data: `init site --layout NAME` writes one into fedmed.yaml."""

from __future__ import annotations

from importlib import resources

from fedmed.errors import FedmedError
from fedmed.settings import ShippedLayout
from fedmed.strict import read_yaml

FOLDER = resources.files("fedmed") / "layouts"


def names() -> list[str]:
    return sorted(path.name.removesuffix(".yaml") for path in FOLDER.iterdir() if path.name.endswith(".yaml"))


def load(name: str) -> ShippedLayout:
    """Raises FedmedError FM-USE-01 with the names that are known."""
    if name not in names():
        next_ = f"choose one of {', '.join(names())}; fedmed/docs/DATA.md describes them"
        raise FedmedError("FM-USE-01", f"--layout: expected {', '.join(names())}", next=next_, local=name)
    text = (FOLDER / f"{name}.yaml").read_text("utf-8")
    return read_yaml(text, ShippedLayout, name=f"layouts/{name}.yaml", area="SET")
