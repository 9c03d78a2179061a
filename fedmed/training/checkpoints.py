"""Half a round on the disk: params, optimiser and step in one safetensors file, never a pickle.

A checkpoint answers for the inputs it was made from. One of other inputs, or a damaged one, is not used: training
starts again, which costs time and never correctness.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from fedmed import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_BYTES = 64 << 30
KEY = "fedmed"


@dataclass(frozen=True)
class Checkpoint:
    """State after `step` local steps; `tensors` are named `param/NAME` and `optimizer/NUMBER/KEY`."""

    step: int
    loss_sum: float
    tensors: dict[str, np.ndarray]


def save(path: Path, checkpoint: Checkpoint, inputs: str) -> None:
    """Replace the file at `path` atomically. `inputs` is the digest of all that training depends on.

    Raises FedmedError FM-RES-01 or -02 when the disk refuses.
    """
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in checkpoint.tensors.items()}
    note = {"step": checkpoint.step, "loss_sum": checkpoint.loss_sum.hex(), "inputs": inputs}
    note["sha256"] = _checksum(note, tensors)
    files.write_atomic(path, safetensors.numpy.save(tensors, metadata={KEY: json.dumps(note)}), mode=0o600)


def load(path: Path, inputs: str) -> Checkpoint | str | None:
    """The checkpoint at `path`; None when there is no file; a sentence that says why it cannot be used."""
    try:
        data = files.read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError:
        return "the checkpoint cannot be read: training starts again"
    try:
        tensors = safetensors.numpy.load(data)
        note = _note(data)
        if note.pop("sha256") != _checksum(note, tensors):
            return "the checkpoint is damaged: training starts again"
        if note["inputs"] != inputs:
            return "the checkpoint belongs to other inputs: training starts again"
        return Checkpoint(int(note["step"]), float.fromhex(note["loss_sum"]), tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        return "the checkpoint is damaged: training starts again"


def _note(data: bytes) -> dict[str, Any]:
    """fedmed's own entry of the safetensors header, which is 8 bytes of length and JSON."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    note = json.loads(header["__metadata__"][KEY])
    if not isinstance(note, dict):
        raise TypeError("expected an object")
    return note


def _checksum(note: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """safetensors itself has none: a flipped bit of a tensor would be trained on."""
    return hashlib.sha256(json.dumps([sorted(note.items()), digest_of(tensors)]).encode()).hexdigest()


def digest_of(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.asarray(tensors[name], order="C")
        digest.update(json.dumps([name, tensor.dtype.str, list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
