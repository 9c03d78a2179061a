"""A site of peer_nvflare.py: NVFLARE runs this in each of its client processes."""

from __future__ import annotations

import sys

import nvflare.client as flare
import peer_work
import torch

if __name__ == "__main__":
    job = sys.argv[1]
    torch.set_num_threads(1)
    flare.init()
    site = int(flare.get_site_name().rpartition("-")[2])
    while flare.is_running():
        received = flare.receive()
        model = peer_work.network(job)
        model.load_state_dict({name: torch.as_tensor(value) for name, value in received.params.items()})
        loss = peer_work.train(job, model, site)
        params = {name: value.numpy() for name, value in model.state_dict().items()}
        flare.send(flare.FLModel(params=params, metrics={"train_loss": loss}))
