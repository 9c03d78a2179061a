"""One aggregation by Flower or NVFLARE, in a process and a virtual environment of its own.

    python aggregate_peers.py '{"contender": "Flower", "rule": "mean", "files": [...], "out": "..."}'

Reads what it is given with safetensors, aggregates with the peer's own call and writes the result with safetensors.
Prints the seconds of reading and aggregating, without imports, and a sample of the result.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

JOB: dict[str, Any] = json.loads(sys.argv[1])
TRIM = 0.2
SAMPLE = 1009  # every so many numbers


def flower() -> None:
    """`flwr.serverapp`: updates as a round's messages, each array as the bytes of Flower's own form."""
    from flwr.app import Array, ArrayRecord, Message, Metadata, MetricRecord, RecordDict  # noqa: PLC0415
    from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg  # noqa: PLC0415
    from safetensors.numpy import load_file, save_file  # noqa: PLC0415

    strategy = {"mean": FedAvg, "median": FedMedian, "trimmed mean": lambda: FedTrimmedAvg(beta=TRIM)}[JOB["rule"]]()
    begun = time.perf_counter()
    replies = []
    for number, path in enumerate(JOB["files"]):
        arrays = ArrayRecord({name: Array(array) for name, array in load_file(path).items()})
        content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 10})})
        replies.append(Message(content=content, metadata=Metadata(1, "", number, 0, "", "", begun, 1e5, "train")))
    made, _ = strategy.aggregate_train(1, replies)
    assert made is not None
    seconds = time.perf_counter() - begun
    result = {name: array.numpy() for name, array in made.items()}
    save_file(result, JOB["out"])
    tell(seconds, result)


def nvflare() -> None:
    """`WeightedAggregationHelper`, which every NVFLARE controller for averages uses: one update added after another."""
    from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper  # noqa: PLC0415

    if JOB["contender"] == "NVFLARE, numpy":
        from safetensors.numpy import load_file, save_file  # noqa: PLC0415
    else:
        from safetensors.torch import load_file, save_file  # noqa: PLC0415
    begun = time.perf_counter()
    helper = WeightedAggregationHelper()
    for number, path in enumerate(JOB["files"]):
        helper.add(load_file(path), 10.0, f"site-{number}", 0)
    result = helper.get_result()
    seconds = time.perf_counter() - begun
    save_file(result, JOB["out"])
    tell(seconds, result)


def tell(seconds: float, result: dict[str, Any]) -> None:
    import numpy as np  # noqa: PLC0415

    sample = float(sum(np.abs(np.asarray(result[name]).reshape(-1)[::SAMPLE]).sum(dtype=np.float64) for name in result))
    print(json.dumps({"seconds": seconds, "sample": sample}))


if __name__ == "__main__":
    flower() if JOB["contender"] == "Flower" else nvflare()
