"""The recipes that are shipped, their README, and the rules that one field alone cannot break."""

from pathlib import Path

import pytest
import yaml

from fedmed import recipe as recipes
from fedmed.errors import FedmedError
from fedmed.learning import strategies
from fedmed.recipe import TASKS

FOLDER = Path(__file__).parents[1] / "recipes"
FILES = sorted(FOLDER.glob("*.yaml"))
SIZE_FIELDS = {
    "name",
    "description",
    "data.spacing",
    "data.image_size",
    "network",
    "training.patch_size",
    "training.batch_size",
    "training.local_steps",
    "training.optimizer.client_lr",
    "evaluation.batch_size",
    "evaluation.min_distance",
}


def schema_fields():
    """Every key that a recipe may have, at any depth."""
    schemas = [model.model_json_schema(by_alias=True) for model in TASKS.values()]
    parts = [part for schema in schemas for part in [schema, *schema["$defs"].values()]]
    return sorted({key for part in parts for key in part.get("properties", {})})


def leaves(data, place=""):
    for key, value in data.items():
        path = f"{place}{key}"
        if isinstance(value, dict) and path not in SIZE_FIELDS:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def test_the_list_of_fields_goes_deep():
    assert {"schema", "min_slices", "rotate_range", "blocks_up", "warmup_rounds", "window_batch"} <= set(
        schema_fields()
    )


@pytest.mark.parametrize("field", schema_fields())
def test_the_readme_explains_every_field(field):
    text = (FOLDER / "README.md").read_text("utf-8")
    assert any(written in text for written in (f"`{field}`", f".{field}`", f"`{field}."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_recipe_loads_under_its_own_name(path):
    recipe = recipes.load(path)
    assert recipe.name == path.name.removesuffix(".yaml").replace(".", "-")
    assert recipe.description
    assert path.name in (FOLDER / "README.md").read_text("utf-8")
    assert recipes.from_bytes(recipes.to_bytes(recipe)) == recipe


@pytest.mark.parametrize("small_path", [path for path in FILES if ".small." in path.name], ids=lambda path: path.name)
def test_a_small_recipe_differs_in_size_only(small_path):
    path = small_path.with_name(small_path.name.replace(".small.", "."))
    full, small = (
        dict(leaves(recipes.load(each).model_dump(mode="json", by_alias=True))) for each in (path, small_path)
    )
    changed = {field for field in full.keys() | small.keys() if full.get(field) != small.get(field)}
    assert changed <= SIZE_FIELDS


BASE = yaml.safe_load((FOLDER / "tumour-segmentation-mr.small.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"training": {**BASE["training"], "patch_size": [32, 32, 34]}}, "multiples of 4"),
        ({"training": {**BASE["training"], "patch_size": [4, 4, 4]}}, "not all 4"),
        ({"network": {"name": "SegResNet", "blocks_down": [1, 1], "blocks_up": [1, 1]}}, "one shorter"),
        ({"network": {"name": "UNet", "channels": [8, 8], "strides": [2, 2]}}, "expected 1 strides"),
        ({"network": {"name": "torch.nn.Sequential"}}, "network"),
        ({"network": {"name": "UNet", "channels": [8, 8], "strides": [2], "norm": "batch"}}, "norm"),
        ({"augment": [{"name": "RandRotate90", "prob": 0.5, "spatial_axes": [1, 1]}]}, "two different axes"),
        (
            {
                "augment": [{"name": "RandRotate90", "prob": 0.5, "spatial_axes": [0, 2]}],
                "training": {**BASE["training"], "patch_size": [32, 32, 40]},
            },
            "equal sides",
        ),
        ({"training": {**BASE["training"], "local_epochs": 2}}, "either local_steps or local_epochs"),
        ({"data": {name: each for name, each in BASE["data"].items() if name != "spacing"}}, "spacing must be given"),
        ({"data": {**BASE["data"], "spacing": "federated", "normalisation": "site"}}, "spacing must be given"),
        ({"data": {**BASE["data"], "normalisation": "none"}}, "normalisation"),
        ({"strategy": {"name": "cyclic"}, "update": {"encoding": "fp16"}}, "cyclic needs update.encoding fp32"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_built(change, words):
    refused(BASE, change, words)


def refused(base, change, words):
    with pytest.raises(FedmedError, match=words) as caught:
        recipes.parse({**base, **change}, "recipe")
    assert caught.value.code == "FM-RCP-03"


FILM = yaml.safe_load((FOLDER / "fracture-classification-xray.small.yaml").read_text("utf-8"))
SCAN = yaml.safe_load((FOLDER / "tumour-classification-mr.yaml").read_text("utf-8"))
RESNET = {"name": "ResNet"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": {**RESNET, "norm": "batch"}}, "batch_norm .* must be given"),
        ({"network": {"name": "DenseNet121", "norm": "group", "batch_norm": "local"}}, "belongs to norm: batch"),
        ({"network": {**RESNET, "batch_norm": "average"}}, "belongs to norm: batch"),
        ({"network": {**RESNET, "norm": "batch", "batch_norm": "mine"}}, "average"),
        (
            {
                "network": {**RESNET, "norm": "batch", "batch_norm": "frozen"},
                "training": {**FILM["training"], "batch_size": 1},
            },
            "batch_size of at least 2",
        ),
        ({"network": {"name": "UNet", "channels": [8, 8], "strides": [2]}}, "network"),
        ({"network": {**RESNET, "layers": [1, 1, 1]}}, "layers"),
        ({"network": {**RESNET, "conv1_t_size": 4}}, "conv1_t_size"),
        ({"augment": [{"name": "RandFlip", "prob": 0.5, "spatial_axis": 2}]}, "axes 0 .rows. and 1"),
        ({"augment": [{"name": "RandRotate90", "prob": 0.5, "spatial_axes": [0, 2]}]}, "axes 0 .rows. and 1"),
        (
            {
                "augment": [{"name": "RandRotate90", "prob": 0.5, "spatial_axes": [0, 1]}],
                "data": {**FILM["data"], "image_size": [64, 72]},
            },
            "image_size with equal sides",
        ),
        ({"data": {**FILM["data"], "slices": {"axcodes": "LPS"}}}, "(?i)slices belong to volumes"),
        ({"data": {**FILM["data"], "modality": "MR"}}, "(?i)slices belong to volumes"),
        ({"data": {**FILM["data"], "image_size": [8, 72]}}, "image_size"),
        ({"data": {**FILM["data"], "labels": {1: "one", 3: "three"}}}, "without a gap"),
        ({"data": {**FILM["data"], "labels": {1: "one", 2: "one"}}}, "same name"),
        ({"training": {**FILM["training"], "balance": "both"}}, "balance"),
        ({"training": {**FILM["training"], "loss": {"name": "DiceLoss"}}}, "(?i)CrossEntropyLoss"),
        ({"evaluation": {"metrics": ["dice"]}}, "auroc"),
        ({"evaluation": {"metrics": []}}, "metrics"),
        ({"evaluation": {"unit": "slice"}}, "unit"),
        ({"task": "detection"}, "segmentation, classification, localisation"),
    ],
)
def test_what_cannot_work_in_classification_is_refused_too(change, words):
    refused(FILM, change, words)


MARK = yaml.safe_load((FOLDER / "fracture-localisation-xray.small.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": RESNET}, "network"),
        ({"network": {**MARK["network"], "norm": "batch"}}, "norm"),
        ({"data": {**MARK["data"], "image_size": [96, 100]}}, "multiples of 8, and not both 8"),
        (
            {"network": {**MARK["network"], "strides": [4, 4, 2]}, "data": {**MARK["data"], "image_size": [32, 32]}},
            "not both 32",
        ),
        ({"data": {**MARK["data"], "modality": "MR", "slices": {}}}, "(?i)localisation is for radiographs"),
        ({"augment": [{"name": "RandFlip", "prob": 0.5, "spatial_axis": 2}]}, "axes 0 .rows. and 1"),
        ({"training": {**MARK["training"], "balance": "loss"}}, "balance"),
        ({"training": {**MARK["training"], "loss": {"name": "DiceLoss"}}}, "(?i)FocalLoss"),
        ({"evaluation": {"metrics": ["auprc"]}}, "froc"),
        ({"evaluation": {"min_distance": 0}}, "min_distance"),
    ],
)
def test_what_cannot_work_in_localisation_is_refused_too(change, words):
    refused(MARK, change, words)


@pytest.mark.parametrize("slices", [{"axcodes": "RAS"}, {"middle": 0}, {"middle": 1.5}, None])
def test_slices_are_of_three_planes_and_from_the_middle(slices):
    refused(SCAN, {"data": {**SCAN["data"], "slices": slices}}, "slices")


@pytest.mark.parametrize("key", ["patch_size", "foreground"])
def test_a_field_of_the_other_task_is_unknown(key):
    with pytest.raises(FedmedError, match=key) as caught:
        recipes.parse({**FILM, "training": {**FILM["training"], key: 1}}, "recipe")
    assert caught.value.code == "FM-RCP-02"


@pytest.mark.parametrize("policy", ["average", "local", "frozen"])
def test_every_policy_of_batch_norm_can_be_asked_for(policy):
    network = {**RESNET, "norm": "batch", "batch_norm": policy}
    assert recipes.parse({**FILM, "network": network}, "recipe").network.batch_norm == policy


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe", b"- a list", b"a: [1, 2", b"seed: 1\nseed: 2\n", b"x" * (recipes.MAX_BYTES + 1)],
    ids=["not UTF-8", "a list", "an open bracket", "a key twice", "too large"],
)
def test_what_is_no_recipe_file(tmp_path, data):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(data)
    with pytest.raises(FedmedError) as caught:
        recipes.load(path)
    assert caught.value.code == "FM-RCP-01"


def test_why_a_recipe_cannot_be_read(tmp_path):
    link, folder = tmp_path / "link.yaml", tmp_path / "folder.yaml"
    link.symlink_to(FOLDER / "heart-disease-table.yaml")
    folder.mkdir()
    for path, why in ((link, "a symbolic link"), (tmp_path / "none.yaml", "no such file or directory"), (folder, "")):
        with pytest.raises(FedmedError, match=f"{path.name}: cannot be read: {why}") as caught:
            recipes.load(path)
        assert caught.value.next.startswith("give the recipe itself"), "there is no line that could be named"


def test_a_recipe_that_travels_has_one_form():
    chosen = recipes.load(FOLDER / "tumour-segmentation-mr.small.yaml")
    data = recipes.to_bytes(chosen)
    assert recipes.from_bytes(data) == chosen
    for other in (data + b"\n", data.replace(b'"seed":20', b'"seed":20.0'), b"[" * 100_000, data[:-1]):
        with pytest.raises(FedmedError) as caught:
            recipes.from_bytes(other)
        assert caught.value.code == "FM-RCP-01"


HEART = yaml.safe_load((FOLDER / "heart-disease-table.yaml").read_text("utf-8"))
BREAST = yaml.safe_load((FOLDER / "breast-survival-table.yaml").read_text("utf-8"))
PAIN = {"name": "pain", "levels": [1, 2]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": []}, "columns"),
        ({"columns": [{"name": "age"}, {"name": "age"}]}, "stands twice"),
        ({"columns": [{"name": "age"}, {"name": "num"}]}, "both input and outcome"),
        ({"columns": [{"name": "pain", "levels": [1]}]}, "levels"),
        ({"columns": [{"name": "pain", "levels": [1, 1]}]}, "a level stands twice"),
        ({"columns": [{"name": "pain", "levels": [1, "1"]}]}, "a level stands twice"),
        ({"columns": [{"name": "pain", "levels": [False, True]}]}, "levels"),
        ({"columns": [{"name": "pain", "levels": [1.5, 2.5]}]}, "levels"),
        ({"columns": [{"name": ""}]}, "name"),
        ({"labels": {1: "mild", 2: "severe"}}, "expected one label"),
        ({"labels": {1: "mild", 3: "severe"}, "outcome": {"column": "num"}}, "without a gap"),
        ({"imputation": "guess"}, "imputation"),
        ({"normalisation": "image"}, "normalisation"),
    ],
)
def test_what_cannot_work_with_a_table_is_refused(change, words):
    refused(HEART, {"data": {**HEART["data"], **change}}, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": {"name": "ResNet"}}, "network"),
        ({"network": {"name": "MLP", "hidden": []}}, "hidden"),
        ({"augment": [{"name": "RandGaussianNoise", "prob": 0.5, "std": 0.1}]}, "augment"),
        ({"evaluation": {"metrics": ["auroc"]}}, "c_index"),
        ({"training": {**BREAST["training"], "batch_size": 1}}, "batch_size"),
        ({"training": {**BREAST["training"], "loss": {"name": "CrossEntropyLoss"}}}, "CoxPHLoss"),
        ({"data": {**BREAST["data"], "outcome": {"time": "T", "event": "T"}}}, "stands twice"),
    ],
)
def test_what_cannot_work_with_a_survival_is_refused(change, words):
    refused(BREAST, change, words)


def test_inputs_of_a_network_are_numbers_and_levels_but_the_first():
    data = {**HEART["data"], "columns": [{"name": "age"}, PAIN, {"name": "kind", "levels": ["a", "b", "c"]}]}
    chosen = recipes.parse({**HEART, "data": data}, "recipe")
    assert chosen.data.width == 1 + 1 + 2
    assert chosen.data.names == ("age", "pain", "kind", "num")
    assert chosen.num_outputs == 1
    several = {**data, "labels": {1: "mild", 2: "severe"}, "outcome": {"column": "num"}}
    assert recipes.parse({**HEART, "data": several}, "recipe").num_outputs == 3
    assert recipes.load(FOLDER / "heart-disease-table.yaml").data.width == 13
    assert recipes.load(FOLDER / "breast-survival-table.yaml").data.width == 39


ROW = yaml.safe_load((FOLDER / "heart-disease-table.yaml").read_text("utf-8"))
SGD = {"name": "SGD", "client_lr": 0.1}
NEEDED = {
    "fedavg": {},
    "fednova": {},
    "fedavgm": {},
    "fedadam": {"server_lr": 0.1},
    "fedyogi": {"server_lr": 0.1},
    "fedadagrad": {"server_lr": 0.1},
    "scaffold": {},
    "norm_clipped_mean": {},
    "krum": {"f": 1},
    "multi_krum": {"f": 1},
    "geometric_median": {},
    "median": {},
    "trimmed_mean": {"trim": 0.2},
}


def with_strategy(training=None, **strategy):
    return recipes.parse({**ROW, "training": {**ROW["training"], **(training or {})}, "strategy": strategy}, "recipe")


def test_a_section_without_keys_is_refused_in_plain_words() -> None:
    with pytest.raises(FedmedError, match=r"recipe: strategy: expected keys and values, got 'fedadam'$") as caught:
        recipes.parse({**ROW, "strategy": "fedadam"}, "recipe")
    assert caught.value.code == "FM-RCP-03"


@pytest.mark.parametrize(
    ("strategy", "training", "words"),
    [
        ({"name": "fedprox"}, {}, "strategy.name: expected one of fedavg, .*, got .fedprox.$"),
        ({"name": "fedavg", "server_lr": 1}, {}, "unknown key strategy.server_lr, which does not belong here$"),
        ({"server_lr": 1}, {}, "unknown key strategy.server_lr, which does not belong here$"),
        ({"name": "fedadam", "server_lr": -1}, {}, "strategy.server_lr: expected greater than 0, got -1$"),
        ({"name": "fedadam"}, {}, "strategy.server_lr: field required"),
        ({"name": "fedyogi"}, {}, "strategy.server_lr: field required"),
        ({"name": "fedadagrad"}, {}, "strategy.server_lr: field required"),
        ({"name": "fedavgm", "momentum": 1}, {}, "less than 1"),
        ({"name": "krum"}, {}, "strategy.f: field required"),
        ({"name": "krum", "f": 0}, {}, "greater than or equal to 1"),
        ({"name": "krum", "f": 1, "weight": "cases"}, {}, "equal"),
        ({"name": "median", "weight": "patients"}, {}, "equal"),
        ({"name": "trimmed_mean"}, {}, "trim"),
        ({"name": "trimmed_mean", "trim": 0.5}, {}, "less than or equal to 0.49"),
        ({"name": "norm_clipped_mean", "clip_norm": 0}, {}, "greater than 0"),
        ({"name": "fednova"}, {"optimizer": {"name": "AdamW", "client_lr": 0.1}}, "fednova needs SGD"),
        ({"name": "fednova"}, {"optimizer": SGD, "proximal_mu": 10}, "client_lr . proximal_mu below 1"),
        ({"name": "fednova"}, {"optimizer": SGD, "personal": "head", "head_steps": 1}, "fednova needs all layers"),
        ({"name": "scaffold", "weight": "cases"}, {"optimizer": SGD}, "equal"),
        ({"name": "scaffold"}, {"optimizer": {"name": "AdamW", "client_lr": 0.1}}, "scaffold needs SGD"),
        ({"name": "scaffold"}, {"optimizer": {**SGD, "momentum": 0.9}}, "momentum must be 0"),
    ],
)
def test_strategies_that_cannot_work_are_refused(strategy, training, words):
    with pytest.raises(FedmedError, match=words) as caught:
        with_strategy(training, **strategy)
    assert caught.value.code in ("FM-RCP-02", "FM-RCP-03")


@pytest.mark.parametrize("strategy", [{"name": "median"}, {"name": "trimmed_mean", "trim": 0.2}])
def test_the_middle_of_what_is_mostly_zero_is_no_step(strategy):
    update = {"encoding": "topk", "fraction": 0.01}
    refused({**ROW, "strategy": strategy}, {"update": update}, "cannot have update.encoding topk")
    assert recipes.parse({**ROW, "strategy": {"name": "krum", "f": 1}, "update": update}, "recipe")


MASKED = {"masking": "dm2", "clip": {"norm": 1.0}}
PLAIN_ROW = {name: value for name, value in ROW["training"].items() if not name.startswith("fine_tune")}
SGD_ROW = {**ROW, "training": {**PLAIN_ROW, "optimizer": {"name": "SGD", "client_lr": 0.01}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"aggregation": {"masking": "dm2"}}, "needs clip"),
        ({"aggregation": {"masking": "ckks"}}, "'none' or 'dm2'"),
        ({"aggregation": {**MASKED, "ring": 16}}, "ring"),
        ({"aggregation": {**MASKED, "colluders": 0}}, "colluders"),
        ({"aggregation": {**MASKED, "clip": {"norm": 0}}}, "norm"),
        ({"aggregation": {"masking": "none", "clip": {"norm": 1.0}}}, "only with masking: dm2"),
        ({"aggregation": {"colluders": 2}}, "only with masking: dm2"),
        *(
            ({"strategy": {"name": name, **NEEDED.get(name, {})}, "aggregation": MASKED}, f"not for strategy {name}")
            for name in ("cyclic", "fednova", "scaffold", "norm_clipped_mean", "krum", "multi_krum", "geometric_median")
        ),
        ({"strategy": {"name": "median"}, "aggregation": MASKED}, "not for strategy median"),
        ({"strategy": {"name": "trimmed_mean", **NEEDED["trimmed_mean"]}, "aggregation": MASKED}, "trimmed_mean"),
        ({"update": {"encoding": "topk", "fraction": 0.1}, "aggregation": MASKED}, "not for update.encoding topk"),
        ({"update": {"encoding": "bf16"}, "aggregation": MASKED}, "only whole numbers"),
        ({"update": {"compress": "zstd"}, "aggregation": MASKED}, "compress zstd"),
        ({"stopping": {"patience": 2}, "aggregation": MASKED}, "not for stopping"),
        ({"training": {**SGD_ROW["training"], "ditto_lambda": 1.0}, "aggregation": MASKED}, "not for ditto_lambda"),
    ],
)
def test_what_masks_would_hide_from_a_recipe_that_needs_it_is_refused(change, words):
    refused(SGD_ROW, change, words)


def test_layers_that_stay_at_the_sites_cannot_be_masked():
    network = {**RESNET, "norm": "batch", "batch_norm": "local"}
    refused(FILM, {"network": network, "aggregation": MASKED}, "stay at the sites")
    refused(FILM, {"training": {**FILM["training"], "personal": "head"}, "aggregation": MASKED}, "stay at the sites")


@pytest.mark.parametrize("name", ["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_strategies_that_need_the_mean_alone_are_masked(name):
    rate = {} if name == "fedavg" else {"server_lr": 0.1}
    made = recipes.parse({**SGD_ROW, "strategy": {"name": name, **rate}, "aggregation": MASKED}, "recipe")
    assert made.aggregation.masks
    assert made.wire["ring"] == 32


CENTRAL = {"clip_norm": 1.0, "noise_multiplier": 1.1}
EQUAL_ROW = {**SGD_ROW, "strategy": {"weight": "equal"}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"aggregation": {"central": {"clip_norm": 1.0}}}, "give noise_multiplier or target_epsilon"),
        ({"aggregation": {"central": {**CENTRAL, "target_epsilon": 8}}}, "give noise_multiplier or target_epsilon"),
        ({"aggregation": {"central": {**CENTRAL, "clip_norm": 0}}}, "clip_norm"),
        ({"aggregation": {"central": {**CENTRAL, "noise_multiplier": 0}}}, "noise_multiplier"),
        ({"aggregation": {"central": {**CENTRAL, "adaptive": {"target_quantile": 1}}}}, "target_quantile"),
        ({"aggregation": {**MASKED, "central": CENTRAL}}, "hide from the coordinator"),
        ({"strategy": {"name": "median"}, "aggregation": {"central": CENTRAL}}, "not for strategy median"),
        ({"strategy": {"weight": "cases"}, "aggregation": {"central": CENTRAL}}, "every site counts the same"),
        ({"stopping": {"patience": 2}, "aggregation": {"central": CENTRAL}}, "not for stopping"),
    ],
)
def test_what_noise_at_the_coordinator_does_not_go_with(change, words):
    refused(EQUAL_ROW, change, words)


def test_running_statistics_get_no_noise():
    network = {**RESNET, "norm": "batch", "batch_norm": "average"}
    change = {"strategy": {"weight": "equal"}, "network": network, "aggregation": {"central": CENTRAL}}
    refused(FILM, change, "running statistics get no noise")


def test_noise_at_the_coordinator_travels_with_its_defaults():
    asked = {**CENTRAL, "adaptive": {}}
    made = recipes.parse({**EQUAL_ROW, "aggregation": {"central": asked}}, "recipe")
    assert made.aggregation.central.adaptive.count_noise is None
    assert recipes.from_bytes(recipes.to_bytes(made)) == made


def test_a_strategy_without_a_name_is_federated_averaging():
    assert with_strategy(weight="equal").strategy == with_strategy(name="fedavg", weight="equal").strategy


@pytest.mark.parametrize("name", NEEDED)
def test_every_strategy_of_a_recipe_is_made_and_travels(name):
    recipe = with_strategy({"optimizer": SGD}, name=name, **NEEDED[name])
    strategies.named(recipe.strategy.name, **recipe.strategy.settings(recipe.training, 0, 5, num_sites=7))
    assert recipes.from_bytes(recipes.to_bytes(recipe)) == recipe


def test_what_fednova_knows_of_a_round():
    training = {
        "optimizer": {**SGD, "momentum": 0.5},
        "proximal_mu": 0.2,
        "schedule": {"name": "polynomial", "power": 1},
    }
    recipe = with_strategy(training, name="fednova")
    found = recipe.strategy.settings(recipe.training, 1, 4, num_sites=7)
    assert found == {"momentum": 0.5, "proximal_mu": 0.2, "client_lr": pytest.approx(0.075)}


DP = {"clip_norm": 1.0, "patients_per_step": 8}
OPEN_FILM = {"training": {**FILM["training"], "balance": "none", "grad_clip": None}}


def test_images_with_dp_have_the_defaults_of_the_readme():
    recipe = recipes.parse({**FILM, **OPEN_FILM, "dp": DP}, "recipe")
    assert (recipe.dp.target_epsilon, recipe.dp.delta, recipe.dp.max_images) == (8.0, 1e-5, 1)
    assert recipes.from_bytes(recipes.to_bytes(recipe)) == recipe


@pytest.mark.parametrize(
    ("base", "change", "words"),
    [
        (FILM, {}, "training.balance: sampling"),
        (FILM, {"training": {**FILM["training"], "balance": "loss"}}, "training.balance: loss"),
        (FILM, {**OPEN_FILM, "network": {**RESNET, "norm": "batch", "batch_norm": "average"}}, "network.norm: batch"),
        (FILM, {**OPEN_FILM, "data": {**FILM["data"], "normalisation": "site"}}, "data.normalisation: site"),
        (FILM, {**OPEN_FILM, "data": {**FILM["data"], "normalisation": "federated"}}, "normalisation: federated"),
        (FILM, {**OPEN_FILM, "stopping": {"patience": 2}}, "stopping"),
        (FILM, {"training": {**OPEN_FILM["training"], "logit_calibration": 0.5}}, "logit_calibration"),
        (FILM, {"training": {**OPEN_FILM["training"], "grad_clip": 1.0}}, "grad_clip"),
        (FILM, {"training": {**OPEN_FILM["training"], "ditto_lambda": 0.1}}, "ditto_lambda"),
        (BASE, {"training": {**BASE["training"], "local_steps": None, "local_epochs": 1}}, "local_epochs"),
        (ROW, {}, "imputation: median .*fine_tune_steps"),
        (SGD_ROW, {"strategy": {"name": "scaffold"}}, "strategy scaffold"),
        (BREAST, {}, "task: survival"),
    ],
)
def test_what_tells_more_of_patients_than_the_noise_covers_is_refused(base, change, words):
    refused({**base, "dp": DP}, change, words)


def test_all_that_dp_excludes_is_named_at_once():
    training = {**FILM["training"], "grad_clip": 1.0, "fine_tune_steps": 5}
    with pytest.raises(FedmedError) as caught:
        recipes.parse({**FILM, "training": training, "stopping": {"patience": 2}, "dp": DP}, "recipe")
    named = ["training.balance: sampling", "training.grad_clip", "training.fine_tune_steps", "stopping"]
    assert [words in caught.value.message for words in named] == [True] * 4
    assert "data.normalisation" not in caught.value.message


@pytest.mark.parametrize(
    "dp",
    [
        {},
        {"clip_norm": 1.0},
        {**DP, "clip_norm": 0},
        {**DP, "patients_per_step": 0},
        {**DP, "target_epsilon": 10.1},
        {**DP, "target_epsilon": 0},
        {**DP, "delta": 0},
        {**DP, "delta": 0.1},
        {**DP, "max_images": 0},
        {**DP, "noise_multiplier": 0.1},
    ],
)
def test_dp_has_bounds(dp):
    with pytest.raises(FedmedError) as caught:
        recipes.parse({**FILM, **OPEN_FILM, "dp": dp}, "recipe")
    assert caught.value.code in ("FM-RCP-02", "FM-RCP-03")


def test_a_table_with_dp_brings_its_own_numbers():
    columns = [{"name": "age", "mean": 55, "sd": 10}, {"name": "cp", "levels": [1, 2]}]
    data = {**ROW["data"], "columns": columns, "normalisation": "none", "imputation": "constant"}
    assert recipes.parse({**SGD_ROW, "data": data, "dp": DP}, "recipe").data.columns[0].sd == 10
    refused(SGD_ROW, {"data": {**data, "normalisation": "site"}}, "belong to normalisation: none")
    unscaled = {**data, "normalisation": "site", "columns": columns[1:]}
    refused(SGD_ROW, {"data": unscaled}, "constant belongs to normalisation: none")
    scaled_levels = {**data, "columns": [{"name": "cp", "levels": [1, 2], "mean": 1}]}
    refused(SGD_ROW, {"data": scaled_levels}, "belong to numbers")
