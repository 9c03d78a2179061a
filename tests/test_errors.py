"""The taxonomy: one code, one cause, one remedy; each raised somewhere and each named by a test."""

from __future__ import annotations

import ast
import functools
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fedmed
from fedmed.cli.app import app
from fedmed.codes import code as exits
from fedmed.codes import (
    confidential,
    data,
    doubts,
    machine,
    masking,
    privacy,
    protocol,
    roster,
    setup,
    shares,
    tables,
    trust,
)
from fedmed.errors import CODES, FedmedError, about

PACKAGE, TESTS = Path(fedmed.__file__).parent, Path(__file__).parent
CODE = re.compile(r"FM-[A-Z]{3}-[0-9]{2}")
PUBLISHED = {1, 2, 3, 4, 5, 6, 7, 8, 75}


def constants(tree: ast.AST) -> set[str]:
    """Codes in string constants that are no docstring."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return {
        code
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        for code in CODE.findall(node.value)
    }


def areas(path: Path) -> set[str]:
    """Codes that `read_yaml` and `validate` make for the area that a call names."""
    return {
        f"FM-{keyword.value.value}-0{number}"
        for node in calls()[path]
        for keyword in node.keywords
        if keyword.arg == "area" and isinstance(keyword.value, ast.Constant)
        for number in (1, 2, 3)
    }


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """Every module of the package, parsed."""
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def calls() -> dict[Path, list[ast.Call]]:
    """Every call in a module."""
    return {path: [node for node in ast.walk(tree) if isinstance(node, ast.Call)] for path, tree in trees().items()}


@functools.cache
def in_package() -> dict[str, set[str]]:
    """Code -> files of the package that use it, outside of the taxonomy itself."""
    found: dict[str, set[str]] = {}
    for path, tree in trees().items():
        if path.parent.name == "codes":
            continue
        for code in constants(tree) | areas(path):
            found.setdefault(code, set()).add(str(path.relative_to(PACKAGE)))
    return found


@functools.cache
def in_tests() -> set[str]:
    return {
        code for path in TESTS.rglob("*.py") if path != Path(__file__) for code in CODE.findall(path.read_text("utf-8"))
    }


def test_every_code_is_raised_somewhere() -> None:
    assert sorted(set(CODES) - set(in_package())) == []


def test_every_code_that_is_raised_exists() -> None:
    assert {code: where for code, where in in_package().items() if code not in CODES} == {}


def test_every_code_is_named_by_a_test() -> None:
    assert sorted(set(CODES) - in_tests()) == []


def test_no_test_names_a_code_that_does_not_exist() -> None:
    areas_ = {code[:6] for code in CODES}
    assert sorted(code for code in in_tests() - set(CODES) if code[:6] in areas_) == []


@pytest.mark.parametrize("code", CODES)
def test_a_row_of_the_taxonomy(code: str) -> None:
    row = CODES[code]
    assert CODE.fullmatch(code)
    assert row.exit in PUBLISHED
    for text in (row.meaning, row.remedy):
        assert text
        assert text.strip() == text
        assert not text.endswith((".", "!"))
        assert not re.match(r"[A-Z][a-z]", text), "lower case"
    assert row.remedy != row.meaning


def test_no_code_stands_in_two_tables() -> None:
    assert sum(
        len(area.CODES)
        for area in (
            confidential,
            data,
            doubts,
            machine,
            masking,
            privacy,
            protocol,
            roster,
            setup,
            shares,
            tables,
            trust,
        )
    ) == len(CODES)


def test_codes_of_an_area_are_numbered_without_a_gap() -> None:
    by_area: dict[str, list[int]] = {}
    for code in CODES:
        by_area.setdefault(code[:6], []).append(int(code[7:]))
    assert {area: numbers for area, numbers in by_area.items() if numbers != list(range(1, len(numbers) + 1))} == {}


def test_exit_codes_are_the_published_ones() -> None:
    assert (exits.OK, exits.BUG, exits.USAGE, exits.CONFIG, exits.TRUST) == (0, 1, 2, 3, 4)
    assert (exits.PROTOCOL, exits.DATA, exits.PRIVACY, exits.RESOURCES, exits.WAITING) == (5, 6, 7, 8, 75)


def test_an_error_has_a_next_step() -> None:
    plain = FedmedError("FM-SIG-03", "a model: SHA256:x is not in the roster", local="/home/somebody")
    assert (str(plain), plain.exit_code) == ("FM-SIG-03 a model: SHA256:x is not in the roster", 4)
    assert plain.next == CODES["FM-SIG-03"].remedy
    assert FedmedError("FM-SIG-03", "x", next="fedmed status").next == "fedmed status"
    assert "/home" not in str(plain)


def test_messages_are_in_lower_case() -> None:
    """The first word of a message is no capitalised word; acronyms and names of files may stand there."""
    wrong = [
        (str(path.relative_to(PACKAGE)), first)
        for path, found in calls().items()
        for node in found
        if getattr(node.func, "id", "") == "FedmedError" and len(node.args) > 1
        for first in [first_text(node.args[1])]
        if re.match(r"[A-Z][a-z]+ ", first)
    ]
    assert wrong == []


def first_text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr) and node.values:
        return first_text(node.values[0])
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_remedies_that_are_commands_name_commands_that_exist() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {group.name for group in app.registered_groups} | {"--help"}
    told = {code: row.remedy.split()[1] for code, row in CODES.items() if row.remedy.startswith("fedmed ")}
    assert {code: verb for code, verb in told.items() if verb not in names} == {}


def test_explain_lists_all() -> None:
    done = CliRunner().invoke(app, ["explain", "--json"])
    listed = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    assert {code: (row["exit"], row["meaning"], row["next"]) for code, row in listed.items()} == {
        code: (row.exit, row.meaning, row.remedy.replace(" -w HERE", "")) for code, row in CODES.items()
    }


def test_a_file_that_is_none_is_named_behind_next_alone() -> None:
    """A glob that matched nothing, or one of several files: the message goes to a log, and a name may identify."""
    named = {
        "FM-FRM-01": "'a b.fedmed': give",
        "FM-WAI-04": "'a b.fedmed': copy",
        "FM-SIG-03": "fedmed inspect 'a b.fedmed'",
    }
    for code, words in named.items():
        with pytest.raises(FedmedError) as refused, about(Path("a b.fedmed")):
            raise FedmedError(code, "not that")
        assert refused.value.next.startswith(words)
        assert refused.value.message == "not that"
