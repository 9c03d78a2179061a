"""One job through Flower's simulation, as its own examples do it: two Ray actors of one core. Run by training.py.

work/peers/flwr/bin/python benchmarks/peer_flower.py empty|real
"""

from __future__ import annotations

import sys
from typing import Any

import peer_work
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

JOB = sys.argv[1] if len(sys.argv) > 1 else "empty"
client, server = ClientApp(), ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    torch.set_num_threads(1)
    model = peer_work.network(JOB)
    arrays: Any = message.content["arrays"]
    model.load_state_dict(arrays.to_torch_state_dict())
    loss = peer_work.train(JOB, model, int(context.node_config["partition-id"]))
    metrics = MetricRecord({"train_loss": loss, "num-examples": peer_work.BATCHES * peer_work.BATCH})
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:  # noqa: ARG001
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=peer_work.SITES, min_available_nodes=peer_work.SITES)
    first = ArrayRecord(peer_work.network(JOB).state_dict())
    found = strategy.start(grid=grid, initial_arrays=first, num_rounds=peer_work.ROUNDS[JOB])
    losses = [found.train_metrics_clientapp[number]["train_loss"] for number in sorted(found.train_metrics_clientapp)]
    assert len(losses) == peer_work.ROUNDS[JOB], losses
    print("losses", losses)


if __name__ == "__main__":
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": 2}}
    run_simulation(server, client, num_supernodes=peer_work.SITES, backend_config=resources)
