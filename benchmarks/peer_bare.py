"""One job as a bare loop: no files, no federation, the mean of the sites' weights. Run by training.py.

    python benchmarks/peer_bare.py empty|real WORKERS

With 1 worker the sites take turns in this process and torch has all cores; with more, each is a process of one thread.
"""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any

import peer_work
import torch


def begin() -> None:
    torch.set_num_threads(1)


def visit(job: str, state: dict[str, Any], site: int) -> tuple[dict[str, Any], float]:
    model = peer_work.network(job)
    model.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
    loss = peer_work.train(job, model, site)
    return {name: value.numpy() for name, value in model.state_dict().items()}, loss


if __name__ == "__main__":
    job, workers = sys.argv[1], int(sys.argv[2])
    state = {name: value.numpy() for name, value in peer_work.network(job).state_dict().items()}
    sites = range(peer_work.SITES)
    pool = multiprocessing.get_context("spawn").Pool(workers, begin) if workers > 1 else None
    for number in range(peer_work.ROUNDS[job]):
        calls = [(job, state, site) for site in sites]
        found = pool.starmap(visit, calls, chunksize=1) if pool else [visit(*call) for call in calls]
        state = {name: sum(one[name] for one, _ in found) / len(found) for name in state}
        print(number, sum(loss for _, loss in found) / len(found))
