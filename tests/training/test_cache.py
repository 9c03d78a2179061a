"""The cache of prepared cases: the same bits with it and without it, and nothing it meets on a disk ends a round."""

import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import stat
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedmed import fingerprint, logs
from fedmed.cases import content, reading
from fedmed.cases.case import Shift
from fedmed.errors import FedmedError
from fedmed.preprocessing import Preprocessing
from fedmed.training import cache, fit, metrics, networks, patches, pictures, scoring, workers
from tests import radiographs

CPU = torch.device("cpu")
GIB = 1 << 30
KEY, OTHER = "a" * 64, "b" * 64
TENSORS = {
    "image": torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4),
    "label": torch.ones(1, 2, 3, 4, dtype=torch.uint8),
    "foreground": torch.zeros(0, 3, dtype=torch.int32),
    "affine": torch.eye(4, dtype=torch.float64),
}


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(logs.shareable, "info", lambda line, *more: lines.append(line % more if more else line))
    return lines


@pytest.fixture(autouse=True)
def room(monkeypatch):
    """Also where the tests write to a small disk."""
    monkeypatch.setattr(cache, "RESERVE", 0)


@pytest.fixture
def disk(tmp_path):
    return cache.Cache(tmp_path / "cache", GIB)


@pytest.fixture
def cases(ball_root, ball_cases):
    return [replace(case, content=content.digest(case, ball_root)) for case in ball_cases]


def made():
    return {name: tensor.clone() for name, tensor in TENSORS.items()}


def never():
    raise AssertionError("it was in the cache")


def equal(kept):
    return kept.tensors.keys() == TENSORS.keys() and all(
        torch.equal(kept.tensors[name], tensor) and kept.tensors[name].dtype == tensor.dtype
        for name, tensor in TENSORS.items()
    )


def files_of(disk):
    return sorted(disk.folder.iterdir())


# an entry


def test_what_was_made_once_is_mapped_from_then_on(disk):
    first = disk.through(KEY, made)
    assert first.is_mapped, "also the first time: what was made need not stay in memory"
    again = disk.through(KEY, never)
    assert equal(first)
    assert equal(again)
    assert (again.num_bytes, cache.Kept(made()).num_bytes) == (0, 24 * 4 + 24 + 16 * 8)
    assert [path.name for path in files_of(disk)] == [f"{KEY}.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_the_owner_may_read_it(disk):
    disk.through(KEY, made)
    assert stat.S_IMODE(disk.folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in files_of(disk)] == [0o600]


def test_whoever_alters_a_mapped_tensor_alters_no_entry(disk):
    disk.through(KEY, made).tensors["image"] += 1
    assert equal(disk.through(KEY, never))


def test_what_make_raises_comes_out_and_nothing_is_kept(disk):
    def refuses():
        raise FedmedError("FM-DAT-17", "case-1: the file ends early")

    with pytest.raises(FedmedError) as caught:
        disk.through(KEY, refuses)
    assert caught.value.code == "FM-DAT-17"
    assert not disk.folder.exists()


def spoiled(how, path):
    data = path.read_bytes()
    if how == "another's":
        shutil.copy(path.with_name(f"{OTHER}.safetensors"), path)
    elif isinstance(how, int):
        path.write_bytes(data[:how] + bytes([data[how] ^ 1]) + data[how + 1 :])
    else:
        path.write_bytes({"empty": b"", "short": data[:-1], "long": data + b"0", "text": b"x" * 100}[how])


@pytest.mark.parametrize("how", ["empty", "short", "long", "text", "another's", 3, 12, 200, -1])
def test_a_damaged_or_foreign_entry_is_made_again(disk, said, how):
    disk.through(KEY, made)
    disk.through(OTHER, lambda: {**made(), "image": torch.zeros(1, 2, 3, 4)})
    path = disk.folder / f"{KEY}.safetensors"
    spoiled(len(path.read_bytes()) - 1 if how == -1 else how, path)
    assert equal(disk.through(KEY, made))
    assert said == ["FM-CAC-01 a cached case is damaged: it is prepared again"]
    assert equal(disk.through(KEY, never)), "and is whole from then on"


def test_every_flipped_byte_is_noticed(disk, said):
    disk.through(KEY, made)
    path = disk.folder / f"{KEY}.safetensors"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert equal(disk.through(KEY, made)), place
    assert len(said) > len(whole) // 7 * 0.9  # a blank more or less in the header changes nothing


def test_a_half_written_entry_is_none(disk):
    disk.folder.mkdir()
    (disk.folder / f"{KEY}.123.part").write_bytes(b"half")
    assert equal(disk.through(KEY, made))


def write_often(folder, times):
    disk = cache.Cache(folder, GIB)
    for _ in range(times):
        assert equal(disk.through(KEY, made))
        disk._path(KEY).unlink(missing_ok=True)


def test_several_processes_write_the_same_entry(tmp_path):
    fork = multiprocessing.get_context("fork")
    crew = [fork.Process(target=write_often, args=(tmp_path, 30)) for _ in range(3)]
    for process in crew:
        process.start()
    for process in crew:
        process.join()
    assert [process.exitcode for process in crew] == [0, 0, 0]
    assert not list(tmp_path.glob("*.part"))


# room


def used(disk):
    return {path.name[0] for path in files_of(disk)}


def filled(tmp_path, max_bytes, names="abc"):
    disk = cache.Cache(tmp_path / "cache", GIB)
    for age, name in enumerate(names):
        disk.through(name * 64, made)
        os.utime(disk._path(name * 64), ns=(age, age))
    one = disk._path(names[0] * 64).stat().st_size
    return cache.Cache(disk.folder, max_bytes * one)


def test_the_least_recently_used_entry_goes_first(tmp_path, said):
    disk = filled(tmp_path, 3)
    disk.through("a" * 64, never)  # used just now, though it is the oldest
    assert disk.through("d" * 64, made).is_mapped
    assert used(disk) == set("acd")
    assert said == []


def test_what_this_round_uses_stays_and_what_does_not_fit_is_made_every_time(tmp_path, said):
    disk = filled(tmp_path, 3)
    for name in "cba":
        disk.through(name * 64, never)
    for _ in range(2):
        kept = disk.through("d" * 64, made)
        assert not kept.is_mapped
        assert equal(kept)
    assert used(disk) == set("abc")
    assert said == ["FM-CAC-02 cache_gib is too small for the cases of this round: some are prepared every time"]
    assert cache.Cache(disk.folder, disk.max_bytes).through("d" * 64, made).is_mapped, "the next round has other needs"


def test_a_file_that_is_no_entry_stays_and_takes_no_room(tmp_path, said):
    disk = filled(tmp_path, 3, "ab")
    other = disk.folder / "check.jsonl"
    other.write_bytes(bytes(2 * disk.max_bytes))
    os.utime(other, ns=(0, 0))
    disk.through("c" * 64, made)
    assert other.exists()
    assert used(disk) == set("abc")
    assert said == []


def test_half_written_files_take_room_and_go(tmp_path):
    disk = filled(tmp_path, 3)
    part = disk.folder / f"{OTHER}.1.part"
    part.write_bytes(bytes(10))
    os.utime(part, ns=(0, 0))
    disk.through("d" * 64, made)
    assert not part.exists()


def no_room(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage(GIB, GIB, 50))


def failing(name, number):
    def call(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return lambda monkeypatch: monkeypatch.setattr(cache.files.os, name, call)


def full_disk(monkeypatch):
    real = os.write

    def write(fd, data):
        real(fd, bytes(data)[:10])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(cache.files.os, "write", write)


@pytest.mark.parametrize(
    "refusing",
    [no_room, full_disk, failing("replace", errno.EIO), failing("fsync", errno.EIO)],
    ids=["nearly full", "full", "no new name", "no fsync"],
)
@pytest.mark.usefixtures("durable")
def test_a_disk_that_refuses_costs_a_line_and_no_round(disk, said, monkeypatch, refusing):
    disk.folder.mkdir()
    with monkeypatch.context() as patched:
        refusing(patched)
        for key in (KEY, OTHER):
            kept = disk.through(key, made)
            assert not kept.is_mapped
            assert equal(kept)
    assert len(said) == 1
    assert said[0].startswith("FM-CAC-03")
    assert files_of(disk) == [], "half an entry was left"
    assert disk.through(KEY, made).is_mapped


def test_a_folder_that_may_only_be_read_is_used_as_it_is(disk, said, monkeypatch):
    disk.through(KEY, made)
    real = os.open

    def read_only(path, flags, *more):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "read-only")
        return real(path, flags, *more)

    def no_touch(*_, **__):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(cache.files.os, "open", read_only)
    monkeypatch.setattr(cache.os, "utime", no_touch)
    assert disk.through(KEY, never).is_mapped
    assert not disk.through(OTHER, made).is_mapped
    assert said == ["FM-CAC-03 the cache cannot be written to: cases are prepared every time"]


def test_a_file_where_the_folder_should_be(tmp_path, said):
    (tmp_path / "cache").write_text("")
    assert equal(cache.Cache(tmp_path / "cache", GIB).through(KEY, made))
    assert [line[:9] for line in said] == ["FM-CAC-03"]


# the key


def test_everything_that_a_prepared_case_depends_on_is_in_its_key(recipe_of, cases, monkeypatch):
    case, recipe = cases[0], recipe_of()
    base = cache.key_of("patches", case, recipe, {}, None)
    data = recipe.data.model_dump(mode="json")

    def changed(**more):
        return recipe_of(top={"data": {**data, **more}})

    keys = [
        base,
        cache.key_of("scored", case, recipe, {}, None),
        cache.key_of("patches", cases[1], recipe, {}, None),
        cache.key_of("patches", case, recipe, {2: 1}, None),
        cache.key_of("patches", case, recipe, {}, Preprocessing()),
        cache.key_of("patches", case, recipe, {}, Preprocessing(spacing=(1, 1, 2))),
        *(
            cache.key_of("patches", case, changed(**more), {}, None)
            for more in [{"spacing": [2, 2, 1]}, {"axcodes": "LPS"}]
        ),
        cache.key_of("patches", case, changed(modality="CT"), {}, None),
        cache.key_of("patches", case, changed(labels={1: "ball", 2: "cube"}), {}, None),
    ]
    for row in (["new code", "numpy 9"], ["old code", "numpy 9"]):
        monkeypatch.setattr(cache, "_software", lambda row=row: row)
        keys.append(cache.key_of("patches", case, recipe, {}, None))
    assert len(set(keys)) == len(keys)


def test_what_changes_no_voxel_is_not_in_the_key(recipe_of, cases):
    case, recipe = cases[0], recipe_of()
    base = cache.key_of("patches", case, recipe, {}, None)
    data = {**recipe.data.model_dump(mode="json"), "max_excluded": 0.5, "split": {"validation": 0.3, "testing": 0.3}}
    others = [recipe_of(top={"data": data}), recipe_of(patch_size=[16, 16, 16]), recipe_of(top={"augment": []})]
    assert {cache.key_of("patches", case, other, {}, None) for other in others} == {base}
    renamed = replace(case, case="x", patient="y", group="q1", covariates={"age": 3})
    assert cache.key_of("patches", renamed, recipe, {}, None) == base


def test_the_noise_of_a_virtual_site_is_that_of_the_alias(recipe_of, cases):
    shifted = replace(cases[0], shift=Shift("noise", 0.5, 7))
    renamed = replace(shifted, case="x")
    assert len({cache.key_of("patches", case, recipe_of(), {}, None) for case in (shifted, renamed)}) == 2


def test_the_code_and_the_libraries_have_digest_and_version():
    code, *versions = cache._software()
    assert len(code) == 64
    assert f"torch {torch.__version__}" in versions or f"torch {torch.__version__.split('+')[0]}" in versions
    unknown = {line.strip() for line in versions if len(line.split()) == 1}
    assert unknown <= {"pylibjpeg-libjpeg", "pylibjpeg-rle"}, "every other library that decodes a pixel is needed"


def test_a_constant_outside_of_the_rooms_changes_the_digest_of_the_code(monkeypatch):
    digest_of = cache.files.sha256_file
    before = cache._software.__wrapped__()[0]
    changed = Path(fingerprint.__file__)  # which percentiles images are cut off at
    monkeypatch.setattr(cache.files, "sha256_file", lambda path: "new" if path == changed else digest_of(path))
    assert cache._software.__wrapped__()[0] != before


def test_a_case_whose_content_nobody_knows_is_not_cached(recipe_of, ball_cases, disk):
    kept = cache.prepared(disk, "patches", ball_cases[0], recipe_of(), {}, None, made)
    assert not kept.is_mapped
    assert not disk.folder.exists()


# rounds with it


def fitted(recipe, cases, root, disk, **changes):
    where = {"site": "a", "round": 0, "rounds": 3, "attempt": 0, "num_steps": 6, "device": CPU, "disk": disk}
    start, _ = networks.initial_params(recipe)
    return fit.fit(recipe, start, cases, root=root, label_map={}, **{**where, **changes})


def same(one, two):
    return all(np.array_equal(one.params[name], two.params[name]) for name in two.params) and (
        one.train_loss == two.train_loss
    )


@pytest.fixture
def reads(monkeypatch):
    """Aliases of the cases whose files were read."""
    seen = []
    real = reading.read_files
    monkeypatch.setattr(
        reading, "read_files", lambda alias, *more, **options: seen.append(alias) or real(alias, *more, **options)
    )
    return seen


@pytest.mark.slow
def test_a_round_gives_the_same_bits_with_a_cache_and_without(recipe_of, cases, ball_root, disk, reads):
    recipe = recipe_of()
    without = fitted(recipe, cases, ball_root, None)
    reads.clear()
    assert same(fitted(recipe, cases, ball_root, disk), without)
    assert sorted(reads) == [case.case for case in cases]
    reads.clear()
    assert same(fitted(recipe, cases, ball_root, disk), without)
    assert reads == [], "a later round reads no image"
    assert same(fitted(recipe, cases, ball_root, disk, num_workers=2), without)
    shutil.rmtree(disk.folder)
    assert same(fitted(recipe, cases, ball_root, disk, num_workers=2), without), "two processes fill it"
    assert len(files_of(disk)) == 5
    assert same(fitted(recipe, cases, ball_root, replace(disk, max_bytes=1)), without), "there is no room"


def test_a_round_goes_on_where_the_cache_was_wiped_or_spoiled(recipe_of, cases, ball_root, disk):
    recipe = recipe_of()
    without = fitted(recipe, cases, ball_root, disk)

    def spoil(step, _steps, _loss):
        for path in files_of(disk):
            path.unlink() if step == 2 else path.with_suffix(".part").write_bytes(b"x")

    assert same(fitted(recipe, cases, ball_root, disk, progress=spoil), without)


def test_evaluation_gives_the_same_scores_and_reads_nothing_twice(recipe_of, cases, ball_root, disk, reads):
    recipe = recipe_of(patch_size=[16, 16, 16])
    params, _ = networks.initial_params(recipe)

    def scores(disk):
        return scoring.evaluate(recipe, params, cases, root=ball_root, label_map={}, device=CPU, disk=disk)

    without = scores(None)
    assert {row.metric for each in without for row in each.rows} == set(metrics.METRICS)
    assert scores(disk) == without
    reads.clear()
    assert scores(disk) == without
    assert reads == []
    fitted(recipe, cases, ball_root, disk)
    assert len(files_of(disk)) == 10, "what is trained on and what is scored are kept apart"


@pytest.mark.slow
def test_pictures_are_kept_for_training_and_evaluation_alike(tmp_path, disk, monkeypatch):
    recipe = radiographs.recipe()
    cases = [replace(each, content=content.digest(each, tmp_path)) for each in radiographs.cases(tmp_path, [0, 1] * 3)]
    without = fitted(recipe, cases, tmp_path, None)
    assert same(fitted(recipe, cases, tmp_path, disk), without)

    def rated(disk):
        return scoring.evaluate(recipe, without.params, cases, root=tmp_path, label_map={}, device=CPU, disk=disk)

    scores = rated(None)
    assert rated(disk) == scores
    monkeypatch.setattr(pictures.pictures, "read", lambda *_: never())
    assert rated(disk) == scores
    assert same(fitted(recipe, cases, tmp_path, disk, num_workers=1), without)


def test_mapped_cases_take_no_memory_and_stay_at_hand(recipe_of, cases, ball_root, disk):
    drawn = patches.Patches(recipe_of(), cases, ball_root, {}, (7, "a", 0, 0), None, disk, memory_limit=1)
    for number in range(10):
        drawn[number]
    assert (len(drawn.kept), drawn.memory_bytes) == (5, 0)


def test_a_loader_process_that_is_no_fork_gets_no_copy_of_the_cases(recipe_of, cases, ball_root):
    drawn = patches.Patches(recipe_of(), cases, ball_root, {}, (7, "a", 0, 0))
    first = drawn[0]
    assert drawn.kept
    other = pickle.loads(pickle.dumps(drawn))
    assert (len(other.kept), other.memory_bytes) == (0, 0)
    assert all(torch.equal(one, two) for one, two in zip(other[0], first, strict=True))


# loader processes


@pytest.mark.parametrize(
    ("cores", "device", "threads", "method", "free", "expected"),
    [
        (1, "cpu", 1, "fork", GIB, 0),
        (2, "cpu", 2, "fork", GIB, 0),
        (4, "cpu", 4, "fork", GIB, 2),
        (16, "cpu", 8, "fork", GIB, 4),
        (2, "cuda", 2, "fork", GIB, 1),
        (16, "cuda", 8, "fork", GIB, 4),
        (16, "cuda", 1, "fork", GIB, 0),  # a rehearsal has a process for each core already
        (16, "cuda", 8, "spawn", GIB, 0),
        (16, "cuda", 8, "fork", 2 * 9 * 2 * 163840 - 1, 0),  # 9 batches of 2 samples of 32^3 voxels in 5 bytes
        (16, "cuda", 8, "fork", 2 * 9 * 2 * 163840, 4),
    ],
)
def test_how_many_loader_processes(
    recipe_of, cases, ball_root, tmp_path, monkeypatch, cores, device, threads, method, free, expected
):
    drawn = patches.Patches(recipe_of(patch_size=[32, 32, 32]), cases, ball_root, {}, (7, "a", 0, 0))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(workers, "SHARED", tmp_path)
    monkeypatch.setattr(workers.shutil, "disk_usage", lambda _: usage(GIB, 0, free))
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(workers.torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(workers.multiprocessing, "get_start_method", lambda: method)
    assert workers.count("auto", drawn, torch.device(device)) == expected
    assert workers.count(3, drawn, torch.device(device)) == 3
    small = patches.Patches(recipe_of(), cases, ball_root, {}, (7, "a", 0, 0))
    assert workers.count("auto", small, torch.device(device)) == 0


def test_a_sample_is_as_large_as_it_says(recipe_of, cases, ball_root, tmp_path):
    for drawn in (
        patches.Patches(recipe_of(), cases, ball_root, {}, (7, "a", 0, 0)),
        pictures.Pictures(radiographs.recipe(), radiographs.cases(tmp_path, [0, 1]), tmp_path, {}, (7, "a", 0, 0)),
    ):
        assert drawn.sample_bytes <= sum(tensor.nbytes for tensor in drawn.sample(0)) <= drawn.sample_bytes + 8


def test_a_loader_process_that_is_ended_from_outside_has_a_code(recipe_of, cases, ball_root, monkeypatch):
    monkeypatch.setattr(patches.Patches, "draw", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(FedmedError, match="a loader process ended early") as caught:
        fitted(recipe_of(), cases, ball_root, None, num_workers=1)
    assert caught.value.code == "FM-RES-04"
    assert "num_workers" in caught.value.next
