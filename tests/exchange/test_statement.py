"""The closed schema of each kind. What each field refuses one by one is in the vectors."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import FedmedError
from fedmed.exchange import bodies, canonical, predicates, statement
from fedmed.exchange.keys import fingerprint, public_line
from tests.coded import code_of
from tests.vectors import samples


def decode(value: dict[str, Any]) -> statement.Statement:
    return statement.decode(canonical.encode(value))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every object in a statement."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    found = [path] if isinstance(value, dict) else []
    return found + [place for key, part in inner for place in places(part, (*path, key))]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize("kind", samples.KINDS)
def test_a_good_statement_is_read_and_written_back(kind: str) -> None:
    value, _ = samples.of_kind(kind)
    said = decode(value)
    assert (said.kind, said.sender) == (kind, value["predicate"]["sender"]["name"])
    assert statement.encode(said) == canonical.encode(value)


@pytest.mark.parametrize("kind", samples.KINDS)
def test_an_unknown_field_is_refused_in_every_object(kind: str) -> None:
    good, _ = samples.of_kind(kind)
    paths = places(good)
    assert len(paths) >= 7
    for path in paths:
        value = copy.deepcopy(good)
        at(value, path)["surprise"] = 1
        assert code_of(lambda value=value: decode(value)) == "FM-FRM-03", path


@pytest.mark.parametrize("kind", samples.KINDS)
def test_a_missing_field_is_refused_in_every_object(kind: str) -> None:
    good, _ = samples.of_kind(kind)
    for path in places(good):
        for key in at(good, path):
            value = copy.deepcopy(good)
            del at(value, path)[key]
            assert code_of(lambda value=value: decode(value)) == "FM-FRM-03", (*path, key)


@pytest.mark.parametrize("kind", samples.KINDS)
def test_no_field_takes_another_type(kind: str) -> None:
    """1, "1" and true are three things; an object is no list."""
    good, _ = samples.of_kind(kind)
    for path in places(good):
        for key, kept in at(good, path).items():
            for other in (True, 1, "1", {"a": 1}, [[]]):
                if type(other) is type(kept) or kept is None:
                    continue
                value = copy.deepcopy(good)
                at(value, path)[key] = other
                assert code_of(lambda value=value: decode(value)) == "FM-FRM-03", (*path, key, other)


@pytest.mark.parametrize("kind", samples.KINDS)
@pytest.mark.parametrize("other", samples.KINDS)
def test_one_kind_is_no_other(kind: str, other: str) -> None:
    value, _ = samples.of_kind(kind)
    value["predicateType"] = statement.predicate_type(other)
    assert code_of(lambda: decode(value)) == ("ok" if kind == other else "FM-FRM-03")
    value["predicate"]["kind"] = other
    assert code_of(lambda: decode(value)) == ("ok" if kind == other else "FM-FRM-03")


def test_a_field_has_one_name() -> None:
    """The Python names of `_type` and `predicateType` are no second spelling."""
    for wire, python in (("_type", "type"), ("predicateType", "predicate_type")):
        value, _ = samples.of_kind("join")
        value[python] = value.pop(wire)
        assert code_of(lambda value=value: decode(value)) == "FM-FRM-03"


@pytest.mark.parametrize("kind", ["join", "approval", "report"])
def test_subject_and_predicate_speak_about_the_same(kind: str) -> None:
    value, _ = samples.of_kind(kind)
    value["subject"][0]["digest"]["sha256"] = "f" * 64
    assert code_of(lambda: decode(value)) == "FM-FRM-03"


def test_payloads_and_subjects_stand_in_one_order() -> None:
    value, _ = samples.of_kind("federation")
    value["subject"].reverse()
    assert code_of(lambda: decode(value)) == "FM-FRM-03"
    value["predicate"]["payload"].reverse()
    assert code_of(lambda: decode(value)) == "FM-FRM-03"


def test_a_namespace_names_a_kind_or_nothing() -> None:
    assert [statement.kind_of(statement.namespace(kind)) for kind in samples.KINDS] == list(samples.KINDS)
    for other in ("update", "update@fedmed.v2", "update@fedmed.v1@x", "@fedmed.v1", "release@fedmed.v1", "file", ""):
        assert statement.kind_of(other) is None, other


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)))
def test_times_are_whole_seconds_that_sort_as_text(moment: datetime) -> None:
    assert statement.from_time(statement.to_time(moment)) == moment.replace(microsecond=0)
    assert (statement.to_time(moment) < samples.CREATED) == (
        moment.replace(microsecond=0) < statement.from_time(samples.CREATED)
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (-1e-12, "0"),
        (1, "1"),
        (0.1, "0.1"),
        (1 / 3, "0.333333333"),
        (-2.5, "-2.5"),
        (1e6, "1000000"),
    ],
)
def test_decimal_strings(value: float, text: str) -> None:
    assert bodies.decimal(value) == text


@given(st.floats(-1e14, 1e14))
def test_a_decimal_string_is_one_that_the_schema_takes(value: float) -> None:
    text = bodies.decimal(value)
    score = bodies.Metric(metric="dice", label="all", n=1, mean=text, sd=None)
    assert float(score.mean or "") == pytest.approx(value, abs=1e-9, rel=1e-12)


def test_a_message_of_the_schema_names_the_place() -> None:
    value, _ = samples.of_kind("update")
    value["predicate"]["body"]["num_cases"] = -1
    with pytest.raises(FedmedError, match=r"predicate\.update\.body\.num_cases"):
        decode(value)


def test_the_roster_has_room_for_each_only_once() -> None:
    good, _ = samples.of_kind("federation")
    for change in (
        {"name": "st-olav"},
        {"name": "coordinator"},
        {"key": public_line(samples.public("st-olav"))},
        {"key": public_line(samples.public("coordinator"))},
    ):
        value = copy.deepcopy(good)
        value["predicate"]["body"]["roster"][0].update(change)
        assert code_of(lambda value=value: decode(value)) == "FM-FRM-03", change


def test_a_party_is_name_and_fingerprint() -> None:
    public = samples.public("riks")
    assert statement.actor("riks", public) == predicates.Actor(name="riks", key=fingerprint(public))
