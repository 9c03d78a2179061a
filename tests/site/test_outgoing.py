"""No word of a patient's is in anything that leaves or is logged to be shown; and the search would see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fedmed import logs
from fedmed.cases import datalist, tokens, words
from fedmed.errors import FedmedError
from fedmed.exchange import agekeys, bodies, bodies_roster, predicates, sealing, statement
from fedmed.site import check, desk, outgoing, partition
from tests import planted, radiographs, small
from tests.coded import code_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENTS = tuple(f"q{number:02d}" for number in range(12))
VOLUMES: dict[str, Any] = {"hospital": planted.volumes, "patients": PATIENTS[:5], "channels": ("MR",)}
FILMS: dict[str, Any] = {"hospital": planted.films, "patients": PATIENTS, "channels": ("XR",)}


def silent(*_: Any) -> None:
    """Nobody watches."""


def volumes(root: Path, **more: Any) -> small.Federation:
    return small.founded(root, ("aa", "bb"), **VOLUMES, **more)


def films(root: Path, **more: Any) -> small.Federation:
    return small.founded(root, ("aa", "bb"), recipe=radiographs.fields(), **FILMS, **more)


WORLDS = [
    pytest.param(volumes, planted.OF_VOLUMES, id="volumes"),
    pytest.param(films, planted.OF_FILMS, id="films"),
]


def leaving(site: Path) -> dict[str, bytes]:
    """What may be seen outside: sealed files, the shareable log, the reports of the check."""
    paths = [*(site / "outbox").iterdir(), *(site / "archive").iterdir(), site / "logs/shareable.log"]
    paths += [*(site / "reports/check").iterdir()]
    return {path.name: path.read_bytes() for path in paths}


def pseudonyms(site: Path) -> list[bytes]:
    cases = datalist.load(site / "cases.json")
    entries = [*cases.training, *cases.validation, *cases.testing]
    return [name.encode() for entry in entries for name in (entry.case[5:], entry.patient[8:])]


@pytest.mark.slow
@pytest.mark.parametrize(("found", "planted_words"), WORLDS)
def test_nothing_planted_leaves(
    found: Callable[[Path], small.Federation], planted_words: dict[str, str], tmp_path: Path
) -> None:
    """check and partition for real, and an update that is sealed without having been trained."""
    world = found(tmp_path)
    site = world.site("aa")
    check.check(None, site, None, None, small.now(), options=check.Options(), progress=silent)
    partition.partition(site, small.now())
    small.seal_update(site)
    small.seal_report(site, mean=0.5, n=3)
    files = leaving(site)
    assert {"check.html", "check.csv", "shareable.log", "update-r0000-aa.fedmed", "report-r0000-aa.fedmed"} <= set(
        files
    )
    for name, data in files.items():
        assert planted.told(planted_words, data) == [], name
        if name.endswith(".fedmed"):
            assert not [alias for alias in pseudonyms(site) if alias in data], name
    assert outgoing.refusal(outgoing.search(site, silent)) is None
    own = b"".join(path.read_bytes() for path in (tmp_path / "data-aa").rglob("*") if path.is_file())
    own += " ".join(map(str, (tmp_path / "data-aa").rglob("*"))).encode()
    compressed = {"NIfTI descrip", "NIfTI extension"}
    assert set(planted.told(planted_words, own)) == set(planted_words) - compressed, "they are in the data"


def test_twenty_kinds_are_planted_and_each_is_known(tmp_path: Path) -> None:
    """The search before signing knows every one of them, and would know it in a statement."""
    key = b"k" * 32
    for folder, planted_words in (
        (planted.volumes(tmp_path / "v", PATIENTS[:2]), planted.OF_VOLUMES),
        (planted.films(tmp_path / "f", PATIENTS[:2]), planted.OF_FILMS),
    ):
        known = words.of_folder(folder, key, silent)
        for kind, word in planted_words.items():
            said = {"PatientName": f"{word}^0", "PatientID": f"{word}0", "file name": f"{word}0"}
            said |= {"folder name": f"{word}_q00", "CSV patient column": f"{word}q00", "NIfTI descrip": word}
            if "UID" in kind:
                said[kind] = f"{word}.0.0" if kind.startswith("SOP") else f"{word}.0"
            if folder.name == "f":
                said["file name"] = f"{word}_q00"
            text = f'{{"a":"x","b":["{said.get(kind, word)}"]}}'
            assert tokens.among(key, known, text, ()), kind
    assert len(planted.OF_VOLUMES) + len(planted.OF_FILMS) >= 20


def sealed(root: Path, by: str) -> str:
    """The code of sealing a statement in which somebody wrote this."""
    with desk.opened(root, small.now()) as site:
        consent = desk.require_approved(site)
        agreed = consent.agreement.federation

        def build(opening: Any, payload: Any, _: Any) -> statement.Statement:
            predicate = predicates.ApprovalPredicate(
                **opening.fields(),
                kind="approval",
                federation=agreed.membership,
                recipients=[agreed.coordinator()],
                ack=agreed.digest,
                payload=payload,
                body=bodies_roster.Approval(by=by),
            )
            return statement.make("approval", statement.about("approval", agreed.digest), predicate)

        looked = outgoing.guarded(site, consent, build)
        return code_of(lambda: sealing.say(site.workspace, "test", "approval", None, [], looked, small.now()))


@pytest.mark.parametrize("leak", ["p01-nansen", "of NANSEN p01", "x: Nansen_P01"])
def test_a_leak_is_found_before_anything_is_signed(leak: str, moved: tuple[Path, Path]) -> None:
    site, data = moved
    (data / "p01-nansen").mkdir()
    (data / "nansen_p01").mkdir()
    partition.partition(site, small.now())
    before = sorted((site / "archive").iterdir())
    assert sealed(site, leak) == "FM-IDN-06"
    assert sorted((site / "archive").iterdir()) == before
    assert (
        "nansen p01" in (site / "logs/local.log").read_text() or "p01 nansen" in (site / "logs/local.log").read_text()
    )
    assert "nansen" not in (site / "logs/shareable.log").read_text().lower()
    for harmless in ("somebody", "nansen", "p01", "images"):
        assert sealed(site, harmless) == "ok", harmless


def test_a_pseudonym_is_found_too(world: small.Federation) -> None:
    site = world.site("aa")
    partition.partition(site, small.now())
    entry = datalist.load(site / "cases.json").training[0]
    assert sealed(site, entry.case) == "FM-IDN-06"
    assert sealed(site, f"x {entry.patient}") == "FM-IDN-06"
    assert sealed(site, "case-0123456789abcdef") == "ok"


def test_what_the_federation_says_itself_is_no_finding(moved: tuple[Path, Path]) -> None:
    """A folder that is called like the recipe, the site or a metric would stop every round."""
    site, data = moved
    for name in ("phantom", "validation", "sensitivity", "training", "federation", "ball", "local_steps"):
        (data / name).mkdir()
    partition.partition(site, small.now())
    assert sealed(site, "phantom: validation, sensitivity, training, ball, local_steps") == "ok"


def test_before_partition_nothing_is_known_and_nothing_found(tmp_path: Path) -> None:
    world = small.founded(tmp_path)
    assert sealed(world.site("aa"), "p01.nii.gz") == "ok"


def test_digests_are_private_and_name_nobody(world: small.Federation) -> None:
    site = world.site("aa")
    partition.partition(site, small.now())
    for name in ("words", "pseudonyms"):
        path = site / f"state/{name}.bin"
        assert path.stat().st_mode & 0o777 == 0o600
        assert len(path.read_bytes()) % 8 == 0
    assert b"phantom" not in (site / "state/words.bin").read_bytes()


def test_outgoing_files_and_the_log_are_searched_anew(moved: tuple[Path, Path]) -> None:
    """By what lies in the data folder now, whatever partition knew."""
    site, data = moved
    assert sealed(site, "Grimsdalen Ola") == "ok"
    with desk.opened(site, small.now()) as opened:
        sealing.post(opened.workspace, opened.workspace.record.said[-1])
    logs.shareable.info("FM-DAT-11 case-1: no file for Oladalen")
    assert outgoing.refusal(outgoing.search(site, silent)) is None
    (data / "Oladalen").mkdir()
    refusal = outgoing.refusal(outgoing.search(site, silent))
    assert refusal is not None
    assert (refusal.code, refusal.message) == ("FM-IDN-07", "words or pseudonyms of patients: shareable.log 1")
    (data / "Grimsdalen_Ola").mkdir()
    refusal = outgoing.refusal(outgoing.search(site, silent))
    assert refusal is not None
    assert refusal.code == "FM-IDN-06"
    assert "Grimsdalen" not in refusal.message
    assert "grimsdalen ola" in (site / "logs/local.log").read_text()


def test_before_approval_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    world = small.founded(tmp_path, approved=False)
    assert code_of(lambda: outgoing.search(world.site("aa"), silent)) == "FM-TRU-07"


@pytest.fixture
def encrypting(tmp_path: Path) -> small.Federation:
    """Payloads are for their recipients alone; nothing is partitioned, so nothing is looked for before it is signed."""
    return small.founded(tmp_path / "encrypting", limits={"encryption": "age"})


def update_of(searched: outgoing.Searched) -> outgoing.Looked:
    return next(looked for looked in searched.files if looked.name.startswith("update"))


def test_what_is_encrypted_is_opened(encrypting: small.Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors and what `body.json` tells: a name of a metric that is a patient's would stand there alone."""
    site = encrypting.site("aa")
    metric = bodies.Metric(metric="grimsdalen_ola", label="all", n=1, mean="0.5", sd=None)
    monkeypatch.setattr(small, "_on_validation_cases", lambda _: metric)
    small.seal_update(site)
    assert b"grimsdalen" not in (site / "outbox" / "update-r0000-aa.fedmed").read_bytes()
    assert update_of(outgoing.search(site, silent)) == outgoing.Looked("update-r0000-aa.fedmed", 0, 2, 0)
    (encrypting.root / "data-aa" / "Grimsdalen_Ola").mkdir()
    searched = outgoing.search(site, silent)
    assert update_of(searched) == outgoing.Looked("update-r0000-aa.fedmed", 1, 2, 0)
    refusal = outgoing.refusal(searched)
    assert refusal is not None
    assert (refusal.code, refusal.message) == (
        "FM-IDN-06",
        "words or pseudonyms of patients: update-r0000-aa.fedmed 1",
    )
    (site / "keys" / "age.key").unlink()
    agekeys.create(site / "keys" / "age.key")
    searched = outgoing.search(site, silent)
    assert update_of(searched) == outgoing.Looked("update-r0000-aa.fedmed", 0, 0, 2)
    refusal = outgoing.refusal(searched)
    assert refusal is not None
    told = "encrypted payloads that were not looked at: update-r0000-aa.fedmed 2"
    assert (refusal.code, refusal.message) == ("FM-AGE-02", told)


def test_an_encrypted_payload_that_rotted_is_no_finding_of_nothing(encrypting: small.Federation) -> None:
    site = encrypting.site("aa")
    small.seal_update(site)
    path = site / "outbox" / "update-r0000-aa.fedmed"
    data = bytearray(path.read_bytes())
    data[data.rindex(b"age-encryption.org/v1") + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(FedmedError, match="FM-TRU-10 update-r0000-aa") as rotten:
        outgoing.search(site, silent)
    assert rotten.value.message == "update-r0000-aa.fedmed: body.json of update aa: not what was signed"


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"x" * 2000), lambda path: path.mkdir()])
def test_what_is_no_file_of_fedmed_s_is_told(spoil: Callable[[Path], object], encrypting: small.Federation) -> None:
    """By whatever name it lies there: nothing is passed over as if it had been read."""
    site = encrypting.site("aa")
    (site / "outbox" / "notes.txt").write_text("x")
    assert outgoing.search(site, silent).others == 1
    spoil(site / "outbox" / "z.fedmed")
    with pytest.raises(FedmedError, match="FM-FRM-01 z") as refused:
        outgoing.search(site, silent)
    assert refused.value.message.startswith("z.fedmed: ")


def test_what_was_found_does_not_hide_what_was_not_read() -> None:
    searched = outgoing.Searched((outgoing.Looked("a.fedmed", 1), outgoing.Looked("b.fedmed", 0, 0, 2)), 9)
    refusal = outgoing.refusal(searched)
    assert refusal is not None
    assert refusal.code == "FM-IDN-06"
    assert refusal.message.endswith("a.fedmed 1; encrypted payloads that were not looked at: b.fedmed 2")


def test_what_an_encrypted_file_will_say_is_looked_at_before_it_is_signed(
    encrypting: small.Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = encrypting.site("aa")
    (encrypting.root / "data-aa" / "Grimsdalen_Ola").mkdir()
    partition.partition(site, small.now())
    metric = bodies.Metric(metric="grimsdalen_ola", label="all", n=1, mean="0.5", sd=None)
    monkeypatch.setattr(small, "_on_validation_cases", lambda _: metric)
    assert code_of(lambda: small.seal_update(site)) == "FM-IDN-06"
