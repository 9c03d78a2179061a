"""One job through NVFLARE's simulator: its FedAvg recipe, all sites at once, in-process. Run by training.py.

work/peers/nvflare/bin/python benchmarks/peer_nvflare.py empty|real FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import peer_work
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe import SimEnv

if __name__ == "__main__":
    job, folder = sys.argv[1], sys.argv[2]
    recipe = FedAvgRecipe(
        name=job,
        model=peer_work.network(job),
        min_clients=peer_work.SITES,
        num_rounds=peer_work.ROUNDS[job],
        train_script=str(Path(__file__).with_name("peer_nvflare_client.py")),
        train_args=job,
    )
    print(recipe.execute(SimEnv(num_clients=peer_work.SITES, workspace_root=folder)).get_result())
