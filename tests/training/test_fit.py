from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss

from fedmed import logs
from fedmed.errors import FedmedError
from fedmed.training import checkpoints, devices, fit, networks, steps
from tests.rounds import Killed, killed_behind, same

CPU = torch.device("cpu")
SGD = {"name": "SGD", "client_lr": 0.05, "momentum": 0.9}


@pytest.fixture
def run(ball_root, ball_cases):
    """fit with everything given but what a test is about."""

    def fitted(recipe, params=None, cases=None, **changes):
        where = {"site": "a", "round": 0, "rounds": 3, "attempt": 0, "num_steps": 4, "device": CPU}
        start = networks.initial_params(recipe)[0] if params is None else params
        cases = ball_cases if cases is None else cases
        return fit.fit(recipe, start, cases, root=ball_root, label_map={}, **{**where, **changes})

    return fitted


def test_local_steps(recipe_of):
    assert recipe_of().training.num_steps(5) == 4
    epochs = recipe_of(local_steps=None, local_epochs=3)  # 3 times ceil(5 / 2)
    assert epochs.training.num_steps(5) == 9
    assert epochs.training.num_steps(1) == 3


def test_a_round_is_repeatable_and_every_coordinate_of_it_counts(recipe_of, run):
    recipe, seen = recipe_of(), []
    first = run(recipe, progress=lambda *at: seen.append(at))
    assert (first.num_steps, first.num_cases) == (4, 5)
    assert [at[:2] for at in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert first.train_loss == pytest.approx(np.mean([at[2] for at in seen]))
    again = run(recipe)
    assert same(first.params, again.params)
    assert first.train_loss == again.train_loss
    for change in ({"site": "b"}, {"round": 1}, {"attempt": 1}):
        assert not same(first.params, run(recipe, **change).params)


def test_training_leaves_the_start_and_torchs_random_state_alone(recipe_of, run):
    recipe = recipe_of()
    params, _ = networks.initial_params(recipe)
    kept = {name: tensor.copy() for name, tensor in params.items()}
    state = torch.get_rng_state()
    run(recipe, params)
    assert same(params, kept)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.slow
def test_training_learns(recipe_of, run):
    recipe = recipe_of(batch_size=4, optimizer={"name": "AdamW", "client_lr": 0.03})
    losses = []
    run(recipe, num_steps=40, progress=lambda *at: losses.append(at[2]))
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [{}, {"optimizer": SGD}, {"proximal_mu": 0.5, "grad_clip": 1.0}])
@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_killed_round_goes_on_bit_equal_from_every_step(recipe_of, run, tmp_path, step, optimizer):
    recipe, path = recipe_of(**optimizer), tmp_path / "checkpoint"
    whole = run(recipe)
    with pytest.raises(Killed):
        run(recipe, checkpoint=path, checkpoint_minutes=0, progress=killed_behind(step))
    steps = []
    resumed = run(recipe, checkpoint=path, checkpoint_minutes=0, progress=lambda *at: steps.append(at[0]))
    assert steps == list(range(step + 1, 5))
    assert same(whole.params, resumed.params)
    assert whole.train_loss == resumed.train_loss


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_number_of_loader_processes_does_not_matter(recipe_of, run, num_workers):
    assert same(run(recipe_of()).params, run(recipe_of(), num_workers=num_workers).params)


def test_a_checkpoint_is_due_by_the_clock_and_at_the_end(recipe_of, run, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(checkpoints, "save", lambda *given: saved.append(given[1].step))
    run(recipe_of(), checkpoint=tmp_path / "c", checkpoint_minutes=10)
    run(recipe_of(), checkpoint=tmp_path / "c", checkpoint_minutes=0)
    assert saved == [4, 1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"round": 1}, {"site": "b"}, {"attempt": 2}, {"rounds": 4}, {"num_steps": 5}])
def test_a_checkpoint_of_other_inputs_is_not_used(recipe_of, run, tmp_path, change, monkeypatch):
    said = []
    monkeypatch.setattr(logs.shareable, "info", lambda *words: said.append(words[0]))
    recipe, path = recipe_of(), tmp_path / "checkpoint"
    run(recipe, checkpoint=path)
    assert same(run(recipe, checkpoint=path, **change).params, run(recipe, **change).params)
    assert said == ["the checkpoint belongs to other inputs: training starts again"]


@pytest.mark.slow
def test_a_checkpoint_of_other_cases_params_or_recipe_is_not_used(recipe_of, run, tmp_path, ball_cases):
    recipe, path = recipe_of(), tmp_path / "checkpoint"
    params = {name: tensor + 1 for name, tensor in networks.initial_params(recipe)[0].items()}
    for start, chosen, cases in [
        (recipe, params, ball_cases),
        (recipe, None, ball_cases[:3]),
        (recipe_of(proximal_mu=1.0), None, ball_cases),
    ]:
        run(recipe, checkpoint=path)
        plain = run(start, chosen, cases)
        assert same(run(start, chosen, cases, checkpoint=path).params, plain.params)
        path.unlink()


def test_a_checkpoint_of_files_rewritten_under_the_same_names_is_not_used(recipe_of, run, tmp_path, ball_cases):
    steps = []
    for digest in ("0" * 64, "0" * 64, "1" * 64):
        cases = [replace(case, content=digest) for case in ball_cases]
        run(recipe_of(), None, cases, checkpoint=tmp_path / "c", progress=lambda *at: steps.append(at[0]))
    assert steps == [1, 2, 3, 4, 1, 2, 3, 4]


def test_the_order_of_the_case_list_does_not_matter(recipe_of, run, ball_cases):
    assert same(run(recipe_of()).params, run(recipe_of(), cases=ball_cases[::-1]).params)


def test_proximal_mu_holds_the_params_back(recipe_of, run):
    def moved(**training):
        recipe = recipe_of(optimizer={"name": "SGD", "client_lr": 0.05}, **training)
        start, _ = networks.initial_params(recipe)
        end = run(recipe, num_steps=10).params
        return sum(float(((end[name] - start[name]) ** 2).sum()) for name in start)

    assert moved(proximal_mu=5.0) < 0.5 * moved()


def test_grad_clip_bounds_a_step(recipe_of, run):
    recipe = recipe_of(optimizer={"name": "SGD", "client_lr": 1.0}, grad_clip=0.001)
    start, _ = networks.initial_params(recipe)
    end = run(recipe, num_steps=1).params
    length = np.sqrt(sum(float(((end[name] - start[name]) ** 2).sum()) for name in start))
    assert length == pytest.approx(0.001, rel=1e-2)


def test_a_loss_that_is_not_finite_is_refused_at_its_step(recipe_of, run, tmp_path):
    recipe = recipe_of()
    params, _ = networks.initial_params(recipe)
    next(iter(params.values()))[:] = np.nan
    with pytest.raises(FedmedError, match=r"the loss is nan at local step 1 of 4, cases case-\d, case-\d$") as caught:
        run(recipe, params, checkpoint=tmp_path / "c", checkpoint_minutes=0)
    assert caught.value.code == "FM-TRN-01"
    assert not (tmp_path / "c").exists()


def test_params_that_the_last_step_broke_are_refused(recipe_of, run):
    # the loss is finite (softmax of a huge bias is 0 and 1), the step behind it is not: 3e38 - 10 * 3e38
    optimizer = {"name": "SGD", "client_lr": 10.0, "weight_decay": 1.0}
    recipe = recipe_of(optimizer=optimizer, loss={"name": "DiceLoss"})
    params, _ = networks.initial_params(recipe)
    next(tensor for tensor in reversed(params.values()) if tensor.shape == (2,))[0] = 3e38
    with pytest.raises(FedmedError, match="the params are not finite at local step 1 of 1") as caught:
        run(recipe, params, num_steps=1)
    assert caught.value.code == "FM-TRN-01"


def test_no_case_and_no_label(recipe_of, run, ball_cases):
    with pytest.raises(FedmedError) as caught:
        run(recipe_of(), cases=[])
    assert caught.value.code == "FM-TRN-04"
    with pytest.raises(FedmedError) as caught:
        run(recipe_of(), cases=[replace(ball_cases[0], label=None)])
    assert caught.value.code == "FM-TRN-03"


def test_a_coded_error_comes_out_of_a_loader_process(recipe_of, run, ball_cases):
    with pytest.raises(FedmedError) as caught:
        run(recipe_of(), cases=[replace(ball_cases[0], label=None)], num_workers=1)
    assert caught.value.code == "FM-TRN-03"


def test_a_full_device_has_a_code(recipe_of, run, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(steps, "step", full)
    with pytest.raises(FedmedError) as caught:
        run(recipe_of())
    assert caught.value.code == "FM-RES-04"
    assert "CUDA" not in caught.value.message


def test_any_other_runtime_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="bug"), devices.out_of_memory(CPU):
        raise RuntimeError("bug")


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.pick("cpu") == devices.pick("auto") == CPU
    for name in ("cuda", "cuda:0", "cuda:9"):
        with pytest.raises(FedmedError, match=f"device {name}: not found, this computer has cpu") as caught:
            devices.pick(name)
        assert caught.value.code == "FM-RES-03"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.pick("auto") == torch.device("cuda")
    assert devices.pick("cuda:1") == torch.device("cuda:1")
    with pytest.raises(FedmedError, match="cuda:0, cuda:1"):
        devices.pick("cuda:2")


@pytest.mark.parametrize(
    "name", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:0:1", "cpu:0", "cuda:\u0661"]
)
def test_a_name_that_no_device_has(name):
    with pytest.raises(FedmedError, match="expected auto, cpu, mps, cuda or cuda:N") as caught:
        devices.pick(name)
    assert caught.value.code == "FM-USE-01"


def test_cpu_asks_nothing_of_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("CUDA was asked"))
    assert devices.pick("cpu") == CPU
    assert devices.autocast(CPU) is not None


def test_steps_over_ready_batches_are_a_plain_loop_bit_for_bit(recipe_of):
    recipe = recipe_of(optimizer={"name": "SGD", "client_lr": 0.05, "momentum": 0.9}, proximal_mu=0.3)
    params, _ = networks.initial_params(recipe)
    random = torch.Generator().manual_seed(1)
    batches = [
        (torch.randn(2, 1, 8, 8, 8, generator=random), torch.randint(0, 2, (2, 1, 8, 8, 8), generator=random))
        for _ in range(3)
    ]
    run = steps.begin(recipe, params, CPU, 0.05)
    torch.manual_seed(5)
    losses = list(steps.each(recipe, run, batches))

    network = networks.loaded(recipe, params, CPU).train()
    start = [tensor.detach().clone() for tensor in network.parameters()]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, fused=True)
    loss_of = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False)
    torch.manual_seed(5)  # nothing draws between the steps: dropout goes on where the caller's random state is
    expected = []
    for images, labels in batches:
        loss = loss_of(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        for tensor, origin in zip(network.parameters(), start, strict=True):
            tensor.grad.add_(tensor.detach() - origin, alpha=0.3)
        optimizer.step()
        expected.append(loss.item())
    assert losses == expected
    assert (run.step, run.loss_sum) == (3, sum(expected))
    assert same(networks.get_params(run.network), networks.get_params(network))


def test_steps_with_a_place_seed_each_steps_dropout(recipe_of):
    recipe = recipe_of()
    params, _ = networks.initial_params(recipe)
    batch = (torch.ones(2, 1, 8, 8, 8), torch.ones(2, 1, 8, 8, 8, dtype=torch.int64))

    def trained(where, *seeds):
        run = steps.begin(recipe, params, CPU, 0.01)
        for each in seeds:
            torch.manual_seed(each)  # as if something else had drawn
            list(steps.each(recipe, run, [batch], where))
        return networks.get_params(run.network)

    assert same(trained((7, "a", 0, 1), 1, 2), trained((7, "a", 0, 1), 3, 4))
    assert not same(trained((7, "a", 0, 1), 1, 2), trained((7, "b", 0, 1), 1, 2))
    assert not same(trained(None, 1, 2), trained(None, 3, 4))


def test_a_seeded_device_draws_what_torch_would():
    with torch.random.fork_rng(devices=[]):
        devices.seed(CPU, 2**63 - 1)
        first = torch.randn(3)
        torch.manual_seed(2**63 - 1)
        assert torch.equal(first, torch.randn(3))
