import os

import numpy as np
import pytest

from fedmed.errors import FedmedError
from fedmed.training import checkpoints
from fedmed.training.checkpoints import Checkpoint

STATE = Checkpoint(
    3, 0.1 + 0.2, {"param/w": np.arange(6, dtype=np.float32).reshape(2, 3), "optimizer/0/step": np.float32(3)}
)


def test_round_trip(tmp_path):
    path = tmp_path / "checkpoint"
    assert checkpoints.load(path, "d") is None
    checkpoints.save(path, STATE, "d")
    found = checkpoints.load(path, "d")
    assert (found.step, found.loss_sum) == (3, 0.1 + 0.2)
    assert np.array_equal(found.tensors["param/w"], STATE.tensors["param/w"])
    assert found.tensors["optimizer/0/step"].shape == ()
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_other_inputs(tmp_path):
    checkpoints.save(tmp_path / "c", STATE, "d")
    assert checkpoints.load(tmp_path / "c", "e") == "the checkpoint belongs to other inputs: training starts again"


def test_no_damaged_byte_is_used(tmp_path):
    path = tmp_path / "c"
    checkpoints.save(path, STATE, "d")
    whole = path.read_bytes()
    for number in range(len(whole)):
        path.write_bytes(whole[:number] + bytes([whole[number] ^ 0x41]) + whole[number + 1 :])
        found = checkpoints.load(path, "d")
        # a blank of the header's padding may change; nothing that counts may
        assert isinstance(found, str) or (found.step, found.loss_sum) == (STATE.step, STATE.loss_sum), number
    for size in (0, 7, 8, 40, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert checkpoints.load(path, "d") == "the checkpoint is damaged: training starts again"


def test_a_folder_in_its_place(tmp_path):
    (tmp_path / "c").mkdir()
    assert checkpoints.load(tmp_path / "c", "d") == "the checkpoint cannot be read: training starts again"
    with pytest.raises(FedmedError) as caught:
        checkpoints.save(tmp_path / "c", STATE, "d")
    assert caught.value.code == "FM-RES-02"
