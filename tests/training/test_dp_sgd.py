"""DP-SGD by patient: against plain loops and written-out numbers, and what neighbours and noise must look like."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from fedmed import noise
from fedmed.cases.case import Case, Row
from fedmed.exchange import secret
from fedmed.recipe import Localisation, Segmentation, load
from fedmed.training import dp_sgd, fit, networks, objective, private, steps
from fedmed.training.dp_sgd import Mechanism
from tests import tables

if TYPE_CHECKING:
    from collections.abc import Callable

CLIP = 1.0


def seeded(name: str) -> Callable[[int], bytes]:
    """A stream that a test can repeat. Never do this outside of tests and rehearsals."""
    return secret.stream(hashlib.sha256(name.encode()).digest())


def mechanism(take: Callable[[int], bytes], **changes: Any) -> Mechanism:
    constants = Mechanism(CLIP, 1.0, 8, 0.25, 2, "r", take, lambda _step: None)
    return dataclasses.replace(constants, **changes)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels)


def rows(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.RandomState(seed)
    inputs = torch.tensor(random.randn(count, 3), dtype=torch.float32) * 3
    return inputs, torch.tensor(random.randint(0, 2, count), dtype=torch.float32)


def by_hand(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, owner: list[int]) -> torch.Tensor:
    """One backward pass a patient, and a plain loop."""
    total = torch.zeros(sum(param.numel() for param in model.parameters()))
    for patient in sorted(set(owner)):
        mine = [place for place, each in enumerate(owner) if each == patient]
        model.zero_grad()
        sum(loss(model(images[place : place + 1]), labels[place : place + 1]) for place in mine).backward()
        gradient = torch.cat([param.grad.flatten() for param in model.parameters()]) / len(mine)
        total += gradient * min(1.0, CLIP / gradient.norm().item())
    return total


def test_the_sum_is_that_of_a_plain_loop() -> None:
    model, (images, labels), owner = network(), rows(9), [0, 0, 1, 2, 2, 2, 3, 4, 4]
    total, losses = dp_sgd.clipped_sum(model, loss, images, labels, owner, CLIP)
    assert torch.allclose(total.float(), by_hand(model, images, labels, owner), atol=2e-6)
    assert losses == pytest.approx([loss(model(images[i : i + 1]), labels[i : i + 1]).item() for i in range(9)])


def test_some_gradients_are_cut_and_some_are_not() -> None:
    """Else the test above would not see whether they are."""
    model, (images, labels) = network(), rows(9)
    alone = ((images[i : i + 1], labels[i : i + 1]) for i in range(9))
    norms = [dp_sgd.clipped_sum(model, loss, *each, [0], 1e9)[0].norm() for each in alone]
    assert min(norms) < CLIP < max(norms)


def test_one_patient_moves_the_sum_by_no_more_than_the_clip() -> None:
    """Two data sets that differ in one patient, with all of its images, are neighbours."""
    model, (images, labels), owner = network(), rows(12), [0, 1, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7]
    everybody, _ = dp_sgd.clipped_sum(model, loss, images * 100, labels, owner, CLIP)
    moved = []
    for left_out in range(8):
        kept = [place for place, each in enumerate(owner) if each != left_out]
        others = [owner[place] - (owner[place] > left_out) for place in kept]
        without, _ = dp_sgd.clipped_sum(model, loss, images[kept] * 100, labels[kept], others, CLIP)
        moved.append((everybody - without).to(torch.float64).norm().item())
    assert CLIP / 2 < max(moved) <= CLIP * (1 + 1e-6)


def test_a_patient_whose_image_is_not_a_number_adds_nothing() -> None:
    model, (images, labels) = network(), rows(3)
    images[1] = math.nan
    total, losses = dp_sgd.clipped_sum(model, loss, images, labels, [0, 1, 2], CLIP)
    without, _ = dp_sgd.clipped_sum(model, loss, images[[0, 2]], labels[[0, 2]], [0, 1], CLIP)
    assert torch.equal(total, without)
    assert math.isnan(losses[1])


def test_coins_fall_as_often_as_the_rate_says() -> None:
    take, counts = seeded("coins"), np.zeros(40)
    for _ in range(2000):
        counts[dp_sgd.drawn(take, 40, 0.2)] += 1
    assert abs(counts.mean() / 2000 - 0.2) < 0.006  # 4 standard deviations
    assert max(abs(counts / 2000 - 0.2)) < 0.05
    assert dp_sgd.drawn(take, 5, 1.0) == [0, 1, 2, 3, 4]
    sizes = [len(dp_sgd.drawn(take, 30, 4 / 30)) for _ in range(4000)]
    assert 0.009 < sizes.count(0) / 4000 < 0.02  # (1 - 4/30)^30 = .0137: nothing is drawn again


def test_every_image_of_a_patient_is_as_likely() -> None:
    take, counts = seeded("images"), np.zeros(5)
    for _ in range(3000):
        found = dp_sgd.chosen(take, 5, 2)
        assert len(set(found)) == 2
        counts[found] += 1
    assert max(abs(counts / 3000 - 0.4)) < 0.04
    assert dp_sgd.chosen(take, 2, 4) == [0, 1]


def test_the_noise_is_standard_normal() -> None:
    found = noise.gaussian(seeded("noise"), 400_001)
    assert abs(found.mean()) < 0.007
    assert abs(found.std() - 1) < 0.005
    ordered = np.sort(found)
    for share, expected in ((0.025, -1.95996), (0.1587, -1.0), (0.5, 0.0), (0.975, 1.95996)):
        assert abs(ordered[int(share * len(ordered))] - expected) < 0.02
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.007


def test_a_step_is_divided_by_the_expected_number_and_not_by_who_came() -> None:
    constants = mechanism(seeded("x"), noise_multiplier=0.0)
    assert torch.equal(dp_sgd.noised(torch.full((4,), 16.0), constants), torch.full((4,), 2.0))


def test_an_empty_step_is_noise_of_the_right_size() -> None:
    constants = mechanism(seeded("empty"), noise_multiplier=1.5)
    found = dp_sgd.noised(torch.zeros(200_000), constants)
    assert abs(found.std().item() - 1.5 * CLIP / 8) < 0.001


GIVEN = {
    "columns": [
        {"name": "age", "mean": 65, "sd": 15},
        {"name": "pressure", "mean": 140, "sd": 25},
        {"name": "pain", "levels": ["none", "mild", "severe"]},
    ],
    "normalisation": "none",
    "imputation": "constant",
}
DP = {"clip_norm": 1.0, "patients_per_step": 8}


def ward() -> list[Case]:
    """Thirty rows, two of each patient."""
    random = np.random.RandomState(1)
    found = []
    for number, case in enumerate(tables.cases([each % 2 for each in range(30)])):
        row = Row(number + 1, (float(random.randint(40, 90)), 120.0, float(random.randint(3))))
        found.append(dataclasses.replace(case, patient=f"patient-{number // 2:016x}", row=row))
    return found


def trained(tmp_path: Path, take: Callable[[int], bytes], **changes: Any) -> fit.Fitted:
    recipe = tables.tabular(data=GIVEN, dp=DP)
    settings: dict[str, Any] = {"num_steps": 5, "checkpoint": None, "progress": None, **changes}
    constants = mechanism(take, **settings.pop("constants", {}))
    return fit.fit(
        recipe, networks.initial_params(recipe)[0], ward(), root=tmp_path, label_map={}, site="aa", round=0, rounds=2,
        attempt=1, device=torch.device("cpu"), mechanism=constants, checkpoint_minutes=0, **settings,
    )  # fmt: skip


def test_the_same_stream_gives_the_same_weights_and_every_process_has_another(tmp_path: Path) -> None:
    one, two = (trained(tmp_path, seeded("same")).params["weight"] for _ in range(2))
    other, process = trained(tmp_path, seeded("other")), trained(tmp_path, secret.fresh())
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other.params["weight"])
    assert not np.array_equal(one, process.params["weight"])
    assert secret.fresh()(32) != secret.fresh()(32)


def test_how_many_are_held_at_a_time_does_not_change_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path, seeded("held")).params["weight"]
    monkeypatch.setattr(private, "MOST_ROWS", 1)
    assert np.allclose(whole, trained(tmp_path, seeded("held")).params["weight"], atol=1e-6)


def test_a_round_without_patients_is_a_round_of_noise(tmp_path: Path) -> None:
    found = trained(tmp_path, seeded("nobody"), constants={"rate": 0.0})
    assert found.train_loss == 0.0
    assert not np.array_equal(found.params["weight"], networks.initial_params(tables.tabular(data=GIVEN))[0]["weight"])


def test_a_killed_round_goes_on_with_other_noise_and_tells_which_steps_it_began(tmp_path: Path) -> None:
    checkpoint, begun = tmp_path / "r.safetensors", []

    def killed(step: int, _total: int, _loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    constants = {"tally": begun.append}
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, seeded("first"), constants=constants, checkpoint=checkpoint, progress=killed)
    left = checkpoint.read_bytes()
    after = [
        trained(tmp_path, seeded(name), constants=constants, checkpoint=checkpoint).params["weight"]
        for name in ("second", "third")
        if checkpoint.write_bytes(left)
    ]
    assert begun == [0, 1, 2, 3, 4, 3, 4]
    assert not np.array_equal(*after)


def test_a_checkpoint_knows_no_randomness(tmp_path: Path) -> None:
    """Whoever reads it cannot take the noise off: it is the same whatever is still to be drawn."""
    checkpoint = tmp_path / "r.safetensors"
    kept = []
    for later in ("a", "b"):
        parts = iter([seeded("first"), seeded(later)])
        stream = [next(parts)]

        def take(count: int, stream: list[Any] = stream) -> bytes:
            return stream[0](count)

        def switch(step: int, _total: int, _loss: float, stream: list[Any] = stream, parts: Any = parts) -> None:
            if step == 2:
                stream[0] = next(parts)
                raise KeyboardInterrupt

        checkpoint.unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, take, checkpoint=checkpoint, progress=switch)
        kept.append(checkpoint.read_bytes())
    assert kept[0] == kept[1]


def test_another_reservation_begins_anew(tmp_path: Path) -> None:
    checkpoint, begun = tmp_path / "r.safetensors", []
    trained(tmp_path, seeded("x"), checkpoint=checkpoint)
    trained(tmp_path, seeded("y"), checkpoint=checkpoint, constants={"reservation": "s", "tally": begun.append})
    assert begun == [0, 1, 2, 3, 4]


def test_a_private_network_still_learns(tmp_path: Path) -> None:
    """Little noise and many steps: the class of these rows is told by nothing, so look at the loss of one patient."""
    model, (images, labels) = network(), rows(40, 5)
    labels = (images[:, 0] > 0).float()
    optimizer, take = torch.optim.SGD(model.parameters(), 1.0), seeded("learn")
    constants = mechanism(take, noise_multiplier=0.5, expected=10)
    before = loss(model(images), labels).item()
    for _ in range(60):
        here = dp_sgd.drawn(take, 40, 0.25)
        total, _ = dp_sgd.clipped_sum(model, loss, images[here], labels[here], [*range(len(here))], CLIP)
        gradient = dp_sgd.noised(total, constants)
        for param, values in zip(
            model.parameters(), gradient.split([each.numel() for each in model.parameters()]), strict=True
        ):
            param.grad = values.view_as(param)
        optimizer.step()
    assert loss(model(images), labels).item() < 0.6 * before


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "fracture-classification-xray.small",
        "fracture-localisation-xray.small",
        "hippocampus-segmentation-mr.small",
        "tumour-classification-mr.small",
        "tumour-segmentation-ct.small",
        "tumour-segmentation-mr.small",
    ],
)
def test_every_network_of_the_recipes_has_gradients_by_patient(name: str) -> None:
    """As one backward pass a patient gives them, also for the masks that are encoded outside."""
    recipe = load(Path(__file__).parents[2] / "recipes" / f"{name}.yaml")
    model = networks.build(recipe).eval()
    run = steps.Run(
        model, objective.optimizer(recipe, model.parameters(), 0.1), objective.loss_function(recipe), [], []
    )
    torch.manual_seed(0)
    if isinstance(recipe, Segmentation):
        size = recipe.training.patch_size
        labels = torch.randint(0, recipe.num_classes, (3, 1, *size)).float()
    else:
        size = recipe.data.image_size
        is_map = isinstance(recipe, Localisation)
        labels = torch.rand(3, recipe.num_classes, *size) if is_map else torch.randint(0, recipe.num_classes, (3,))
        labels = torch.where(labels > 0.99, 1.0, labels) if is_map else labels
    images = torch.randn(3, len(recipe.data.channels), *size)
    made, encode = private._loss(recipe, run, frozenset())
    total, losses = dp_sgd.clipped_sum(model, made, images, encode(labels), [0, 0, 1], 1e9)
    expected = torch.zeros_like(total)
    for place, weight in ((0, 0.5), (1, 0.5), (2, 1.0)):
        model.zero_grad()
        value = run.loss(model(images[place : place + 1]), labels[place : place + 1])
        value.backward()
        assert losses[place] == pytest.approx(value.item(), rel=1e-4)
        expected += weight * torch.cat([param.grad.flatten() for param in model.parameters()])
    assert (total - expected).norm() < 1e-4 * expected.norm()
