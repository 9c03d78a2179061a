"""YAML that people write, as a closed model: read without running anything, and no key twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from fedmed.errors import FedmedError
from fedmed.strict import validate

if TYPE_CHECKING:
    from fedmed.strict import Model


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys in silence; a recipe that says two things says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int)) or isinstance(key, bool):  # `true` would pass for 1
                raise yaml.constructor.ConstructorError(None, None, "expected a plain key", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _load(text: str) -> Any:
    loader = _UniqueKeys(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_yaml(text: str, model: type[Model], *, name: str, area: str, unreadable: str = "") -> Model:
    """`text` as `model`.

    `area` names the codes: FM-<area>-01 unreadable (or `unreadable`), -02 unknown key, -03 bad value.
    Raises FedmedError with the field, what was expected and what was found.
    """
    data = read_mapping(text, name=name, area=area, unreadable=unreadable)
    return validate(data, model, name=name, area=area)


def read_mapping(text: str, *, name: str, area: str, unreadable: str = "") -> dict[str, Any]:
    """The keys and values of a YAML text. Raises FedmedError FM-<area>-01, or `unreadable`."""
    try:
        data = _load(text)
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # PyYAML lets all four out
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise FedmedError(
            unreadable or f"FM-{area}-01", f"{name}{line}: {problem}", next=_repair(name, area)
        ) from error
    if not isinstance(data, dict):
        message = f"{name}: expected keys and values, got {type(data).__name__}"
        raise FedmedError(unreadable or f"FM-{area}-01", message, next=_repair(name, area))
    return data


def _repair(name: str, area: str) -> str:
    """Settings that cannot be read are a file to repair; FM-SET-01's own remedy is for a folder without any."""
    return f"correct {name} in the workspace" if area == "SET" else ""
