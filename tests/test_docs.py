"""The documents say what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from fedmed.cli.app import app
from fedmed.errors import CODES
from fedmed.exchange import bodies, bodies_reports, bodies_roster
from fedmed.exchange.statement import KINDS, STATEMENT_TYPE
from fedmed.exchange.verdict import Outcome

TOP = Path(__file__).resolve().parents[1]


def commands() -> list[str]:
    """Every command a user can type, as `keys fingerprint`."""
    group = typer.main.get_command(app)
    names = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        names += [f"{name} {each}" for each in inner] if inner else [name]
    return names


def test_changelog_and_readme_know_every_command() -> None:
    changelog = (TOP / "CHANGELOG.md").read_text()
    assert len(commands()) >= 17
    assert [name for name in commands() if f"`{name}`" not in changelog] == []


def test_readme_lists_every_exit_code() -> None:
    readme = (TOP / "README.md").read_text()
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)}
    assert {row.exit for row in CODES.values()} | {0, 1, 7} == listed


def test_format_describes_every_kind_and_outcome() -> None:
    text = (TOP / "fedmed" / "docs" / "FORMAT.md").read_text()
    assert [kind for kind in KINDS if f"**{kind}**" not in text] == []
    assert [outcome for outcome in Outcome if not re.search(rf"^\|.*\b{outcome}\b.*\|", text, re.MULTILINE)] == []
    assert STATEMENT_TYPE in text


def test_format_names_every_field_of_every_body() -> None:
    text = (TOP / "fedmed" / "docs" / "FORMAT.md").read_text()
    told = (bodies_roster.Join, bodies_roster.Federation, bodies_roster.Limits, bodies_roster.Approval, bodies.Model)
    models = (
        *told,
        bodies.Parent,
        bodies.SiteAck,
        bodies.Update,
        bodies.UpdateFacts,
        bodies_reports.Report,
        bodies_reports.ReportFacts,
        bodies_reports.Score,
        bodies_reports.Curve,
        bodies_reports.Froc,
    )
    missing = {name for model in models for name in model.model_fields if f"`{name}`" not in text}
    assert missing == set()


def test_codes_in_documents_exist() -> None:
    for path in (TOP / "README.md", *(TOP / "fedmed" / "docs").glob("*.md")):
        assert set(re.findall(r"FM-[A-Z]{3}-\d{2}", path.read_text())) <= set(CODES), path.name


def test_readme_outputs_are_filled_in() -> None:
    assert "@@" not in (TOP / "README.md").read_text()


def test_links_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (TOP / "README.md").read_text()):
        assert target.startswith("http") or (TOP / target).exists(), target
