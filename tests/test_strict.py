"""What people write: nothing unknown, nothing twice, no surprise of YAML, and never a traceback."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from fedmed.errors import FedmedError
from fedmed.strict import PlainText, Strict, is_plain_text, validate
from fedmed.yaml_text import read_yaml
from tests.coded import code_of


class Inner(Strict):
    kind: Literal["ball"] = "ball"
    radius: float = 1.0


class Outer(Strict):
    title: PlainText
    rounds: int = 3
    inner: Inner = Inner()
    names: dict[int, str] = Field(default_factory=dict)


def read(text: str) -> Outer:
    return read_yaml(text, Outer, name="outer.yaml", area="SET")


def test_a_good_file() -> None:
    assert read("title: Bø\ninner: {radius: 2}\nnames: {1: a}") == Outer(
        title="Bø", inner=Inner(radius=2), names={1: "a"}
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "text",
        "title: a\ntitle: b",
        "title: a\ninner: {radius: 1, radius: 2}",
        "names: {1: a, 1: b}",
        "names: {1: a, 0x1: b}",
        "title: [",
        "title: a\n\tb: c",
        "title: \x00",
        "title: \x1b[2J",
        "title: a: b",
        "--- {title: a}\n--- {title: b}",
        "title: 2031-13-45",
        "title: !!timestamp soon",
        "title: !!int x",
        "title: !!float x",
        "title: !!python/object/apply:os.system [id]",
        "title: !!python/name:os.system",
        "title: !colour red",
        "<<: {title: a}",
        "base: &b {title: a}\n<<: *b",
        "? [a]\n: b",
        "? {a: b}\n: c",
        "null: a",
        "1.5: a",
        "names: {true: a}",
        "names: {yes: a}",
        "[" * 5000,
        "{a: " * 5000,
        "title: *nowhere",
        "title: &a [*a",
    ],
    ids=range(32),
)
def test_what_is_no_yaml_of_ours_is_unreadable(text: str) -> None:
    assert code_of(lambda: read(text)) == "FM-SET-01"


@pytest.mark.parametrize("text", ["title: a\ncolour: red", "title: a\ninner: {size: 1}", "tilte: a"])
def test_an_unknown_key_at_any_level(text: str) -> None:
    assert code_of(lambda: read(text)) == "FM-SET-02"


@pytest.mark.parametrize(
    "text",
    [
        "rounds: 1",
        "title: 1",
        "title: a\nrounds: many",
        "title: a\nrounds: 1.5",
        "title: a\ninner: {radius: .nan}",
        "title: a\ninner: {radius: .inf}",
        "title: a\ninner: {kind: cube}",
        "title: a\ninner: 3",
        "title: a\nnames: {a: b}",
        'title: "two\\nlines"',
        'title: "e\u0301"',
        "title: &a [*a]",
        "title: a\nrounds: 2031-01-01",
    ],
)
def test_a_value_outside_its_bounds(text: str) -> None:
    assert code_of(lambda: read(text)) == "FM-SET-03"


def test_only_a_number_where_one_is_expected_is_shown() -> None:
    """Settings hold paths and names, which may identify; what a path is may have been typed as digits."""
    with pytest.raises(FedmedError, match=r"rounds: .*, got 1\.5$"):
        read("title: a\nrounds: 1.5")
    for text in ("title: 19121212", "title: a\nrounds: Eva"):
        with pytest.raises(FedmedError) as refused:
            read(text)
        assert "19121212" not in refused.value.message
        assert "Eva" not in refused.value.message


def test_a_misspelt_key_is_told_the_nearest() -> None:
    with pytest.raises(FedmedError, match=r"unknown key inner\.raduis; did you mean radius\?"):
        read("title: a\ninner: {raduis: 2}")


def test_a_far_key_gets_no_guess() -> None:
    with pytest.raises(FedmedError, match=r"unknown key zzz$"):
        read("title: a\nzzz: 2")


def test_a_message_names_the_file_the_line_and_the_value() -> None:
    with pytest.raises(FedmedError, match=r"outer\.yaml line 2: the key 'title' stands twice"):
        read("title: a\ntitle: b")
    with pytest.raises(FedmedError, match=r"outer\.yaml: rounds: .* got 'many'"):
        read_yaml("title: a\nrounds: many", Outer, name="outer.yaml", area="RCP")


def test_a_value_of_the_settings_stays_in_the_local_log() -> None:
    """It may be a path, and a path may name a person."""
    with pytest.raises(FedmedError, match=r"outer\.yaml: rounds: ") as caught:
        read("title: a\nrounds: /home/nordmann")
    assert "nordmann" not in caught.value.message + caught.value.next
    assert "nordmann" in caught.value.local


@pytest.mark.parametrize("text", ["title: [", "- a"])
def test_settings_that_cannot_be_read_are_a_file_to_repair(text: str) -> None:
    with pytest.raises(FedmedError) as caught:
        read(text)
    assert caught.value.next == "correct outer.yaml in the workspace"


def test_a_long_value_is_not_repeated() -> None:
    with pytest.raises(FedmedError) as caught:
        read(f"title: a\nrounds: {'x' * 500}")
    assert len(str(caught.value)) < 200


@given(st.text(max_size=60) | st.text("titlerounds:{}[]&*!-? \n\"'|>%@`#,0123.", max_size=40))
def test_any_text_is_read_or_refused_with_a_code(text: str) -> None:
    assert code_of(lambda: read(text)) in ("ok", "FM-SET-01", "FM-SET-02", "FM-SET-03")


def test_values_of_code_and_other_areas() -> None:
    assert code_of(lambda: validate({"title": "a", "x": 1}, Outer, name="r", area="RCP")) == "FM-RCP-02"
    assert code_of(lambda: read_yaml("[", Outer, name="c", area="DAT", unreadable="FM-DAT-01")) == "FM-DAT-01"


def test_a_model_is_frozen_and_takes_no_nan() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Inner().radius = 2.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="finite"):
        Inner(radius=math.nan)


@pytest.mark.parametrize("text", ["a", "Bø \u6771\u4eac", "", "a\u00a0b", "\U0001f3e5"])
def test_plain_text(text: str) -> None:
    assert is_plain_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "\t",
        "\x1b",
        "\x7f",
        "\u0085",
        "\u200b",
        "\u202e",
        "\u2028",
        "\u2029",
        "\ufeff",
        "\ue000",
        "\ud800",
        "e\u0301",
    ],
)
def test_text_that_could_forge_a_line(text: str) -> None:
    assert not is_plain_text(f"a{text}b")
