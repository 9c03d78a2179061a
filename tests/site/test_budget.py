"""The budget store by itself: whose trainings compose, and what is done when its folder is not as it should be."""

from __future__ import annotations

import errno
import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.learning import accounting
from fedmed.learning.accounting import Event
from fedmed.site import budget
from fedmed.site.budget import Reserved, Store
from tests import small
from tests.coded import code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FEDERATION, RECIPE, KEY = "5eed" * 8, "ab" * 32, b"k" * 32


def named(number: int) -> str:
    """A patient, a reservation or a federation."""
    return f"{number:032x}"


def reserved(number: int, persons: Sequence[str], **changed: Any) -> Reserved:
    said: dict[str, Any] = {
        "id": named(1000 + number), "workspace": "st-olav", "federation": FEDERATION, "recipe": RECIPE, "round": 0,
        "patients_per_step": 4, "num_patients": 40, "noise_multiplier": 1.0, "steps": 50, "delta": 1e-5,
        "cohort": budget.cohort_of(persons),
    }  # fmt: skip
    return Reserved(**{**said, **changed})


def reserve(store: Store, number: int, persons: Sequence[str], **changed: Any) -> Reserved:
    found = reserved(number, persons, **changed)
    store.reserve(found, persons, small.now())
    return found


def founded(folder: Path) -> Store:
    store = Store(folder)
    store.found(KEY, small.now())
    (folder / "key").write_bytes(KEY)
    (folder / "key").chmod(0o600)
    return store


def of(times: float, noise: float = 1.0) -> float:
    """The epsilon of so many trainings of 50 steps."""
    return accounting.epsilon([Event(0.1, noise, round(50 * times))], 1e-5)


def test_who_was_in_what_composes(tmp_path: Path) -> None:
    one, two, three, four = (named(number) for number in range(4))
    store = founded(tmp_path)
    for number, persons in enumerate(([one, two], [three], [two, three])):
        reserve(store, number, persons)
    assert [store.spent([person], 1e-5) for person in (one, two, three, four)] == [of(1), of(2), of(2), 0]
    assert store.spent([one, two, three], 1e-5) == of(2), "of whoever has spent most"
    assert store.spent([one], 1e-5, [Event(0.1, 1.0, 50)]) == of(2)
    again = Store(tmp_path)
    assert again.reserved == store.reserved
    assert again.spent([two], 1e-5) == of(2)
    assert again.everyone() == [one, two, three]


def test_disjoint_cohorts_do_not_compose(tmp_path: Path) -> None:
    store = founded(tmp_path)
    reserve(store, 0, [named(1), named(2)])
    reserve(store, 1, [named(3), named(4)])
    assert store.spent([named(number) for number in range(1, 5)], 1e-5) == of(1)


def test_one_patient_more_or_another_split_resets_nobody(tmp_path: Path) -> None:
    store, cohort = founded(tmp_path), [named(number) for number in range(10)]
    reserve(store, 0, cohort)
    assert store.spent([*cohort, named(99)], 1e-5) == of(1)
    reserve(store, 1, [*cohort, named(99)])
    assert store.spent(cohort, 1e-5) == of(2)
    assert store.spent([named(99)], 1e-5) == of(1), "the new one was in the second alone"
    reserve(store, 2, [*cohort[:5], named(100)])
    assert store.spent([*cohort[5:], named(100)], 1e-5) == of(2)
    assert store.spent([cohort[0]], 1e-5) == of(3)


def test_trainings_of_one_set_are_composed_once(tmp_path: Path) -> None:
    """A thousand patients in three trainings are three sums at most, whatever their number."""
    store, cohort = founded(tmp_path), [named(number) for number in range(1000)]
    reserve(store, 0, cohort)
    reserve(store, 1, cohort[:500])
    assert [[each.id for each in group] for group in store.of(cohort)] == [[named(1000)], [named(1000), named(1001)]]


def test_what_a_crash_threw_away_is_charged_and_nothing_comes_back(tmp_path: Path) -> None:
    store = founded(tmp_path)
    found = reserve(store, 0, [named(1)])
    store.charge(found.id, 25, small.now())
    assert store.spent([named(1)], 1e-5) == of(1.5)
    store.confirm(found.id, "cd" * 32, small.now())
    assert store.spent([named(1)], 1e-5) == of(1.5)
    (again,) = Store(tmp_path).reserved.values()
    assert (again.extra, again.sealed) == (25, "cd" * 32)


def test_the_smallest_delta_counts(tmp_path: Path) -> None:
    store = founded(tmp_path)
    reserve(store, 0, [named(1)], delta=1e-7)
    assert store.spent([named(1)], 1e-5) == accounting.epsilon([Event(0.1, 1.0, 50)], 1e-7)


def spoiled(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[Path], None]:
    """The same store with other entries, each naming the one before: whoever writes it knows how a chain is made."""

    def spoil(path: Path) -> None:
        entries = [json.loads(line)["facts"] for line in path.read_bytes().splitlines()]
        change(entries)
        path.unlink()
        ledger = budget.Ledger(path)
        for facts in entries:
            ledger.append("budget", "note", small.now(), **facts)

    return spoil


def edited(number: int, **changed: Any) -> Callable[[Path], None]:
    return spoiled(lambda entries: entries[number].update(changed))


def lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True)))), None)[1]


@pytest.mark.parametrize(
    "spoil",
    [
        lines(lambda all_: [all_[0], all_[1].replace(b"0", b"1", 1), *all_[2:]]),
        lines(lambda all_: [b"hello\n", *all_]),
        lines(lambda all_: all_[1:]),
        lines(lambda all_: [all_[0], *all_[2:]]),
        lines(lambda all_: [*all_[:2], all_[3], all_[2]]),
        spoiled(lambda entries: entries.pop(0)),  # from here on every line follows from the one before
        spoiled(lambda entries: entries.insert(1, entries[0])),
        spoiled(lambda entries: entries.append(entries[2])),
        spoiled(lambda entries: entries.pop(1)),
        spoiled(lambda entries: entries[2].pop("cohort")),
        edited(2, steps=-50),
        edited(2, steps=0),
        edited(2, steps="50"),
        edited(2, noise_multiplier="0.00"),
        edited(2, noise_multiplier="1e9"),
        edited(2, noise_multiplier="nan"),
        edited(2, delta="1.0"),
        edited(2, delta="0"),
        edited(2, num_patients=0),
        edited(2, cohort="00" * 32),
        edited(2, sealed="x"),
        edited(2, what="refund"),
        edited(3, steps=-1),
        edited(3, id=named(7)),
        edited(1, persons=[]),
        edited(1, persons=[named(2), named(1)]),
        edited(1, persons=["Doe^Jane"]),
        edited(0, key="x"),
    ],
)
def test_whatever_does_not_belong_there_stops_everything(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    store = founded(tmp_path)
    found = reserve(store, 0, [named(1), named(2)])
    store.charge(found.id, 5, small.now())
    spoil(tmp_path / "budget.jsonl")
    assert code_of(lambda: Store(tmp_path)) == "FM-PRV-03"


def test_an_entry_torn_by_a_power_cut_was_never_promised(tmp_path: Path) -> None:
    store, path = founded(tmp_path), tmp_path / "budget.jsonl"
    reserve(store, 0, [named(1)])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"command":"budget","ev')
    again = Store(tmp_path)
    assert again.reserved == store.reserved
    reserve(again, 1, [named(1)])
    assert list(Store(tmp_path).reserved) == [named(1000), named(1001)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_reserves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Before every write: what is on the disk then can be read, and says no less than what was promised."""
    store = founded(tmp_path)
    reserve(store, 0, [named(1)])
    real, written, room = os.write, 0, 0

    def failing(fd: int, data: bytes) -> int:
        nonlocal written
        written += 1
        if written > room:
            raise OSError(number, os.strerror(number))
        return real(fd, bytes(data)[:40])

    monkeypatch.setattr(os, "write", failing)
    while code_of(partial(reserve, Store(tmp_path), 1, [named(1), named(2)])) != "ok":
        assert list(Store(tmp_path).reserved) == [named(1000)]
        written, room = 0, room + 1
    assert room > 10, "it was tried at every write until there was room"
    assert list(Store(tmp_path).reserved) == [named(1000), named(1001)]


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "budget.jsonl").mkdir()
    assert code_of(lambda: Store(tmp_path)) == "FM-PRV-02"


def test_the_key_of_another_store(tmp_path: Path) -> None:
    store = founded(tmp_path)
    assert budget.key_of(store) == KEY
    (tmp_path / "key").write_bytes(b"x" * 32)
    assert code_of(lambda: budget.key_of(store)) == "FM-PRV-03"
    (tmp_path / "key").write_bytes(KEY + b"longer")
    assert code_of(lambda: budget.key_of(store)) == "FM-PRV-02"
    (tmp_path / "key").unlink()
    assert code_of(lambda: budget.key_of(store)) == "FM-PRV-03"
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "key").chmod(0o644)
    assert code_of(lambda: budget.key_of(store)) == "FM-KEY-01"


@pytest.mark.usefixtures("durable")
def test_founding_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended before each call that changes the disk: the next one founds the store, with one key, whose name is last."""
    for at in range(1, 30):
        folder = tmp_path / str(at)
        folder.mkdir()
        calls = 0

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == at:  # noqa: B023
                    raise KeyboardInterrupt
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patched:
            for name in ("write", "fsync", "replace", "ftruncate"):
                patched.setattr(os, name, counted(getattr(os, name)))
            try:
                budget._found(Store(folder), small.now())
                break
            except KeyboardInterrupt:
                pass
        budget._found(Store(folder), small.now())
        assert len(budget.key_of(Store(folder))) == 32
        assert not (folder / "key.new").exists()
    assert at > 5
