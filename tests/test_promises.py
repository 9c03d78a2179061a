"""What people read of privacy: the words for no guarantee, for patients, for hospitals, and behind masks."""

from __future__ import annotations

from typing import Any

import pytest

from fedmed import promises, recipe
from fedmed.exchange.bodies_privacy import CentralBlock, PrivacyBlock
from tests import small

DP = {"target_epsilon": 4, "clip_norm": 1.0, "patients_per_step": 2}
CENTRAL = {"clip_norm": 1.0, "target_epsilon": 2}
MASKED = {"masking": "dm2", "clip": {"norm": 1.0}}
PATIENT = PrivacyBlock(unit="patient", epsilon="3.2", delta="0.00001", noise_multiplier="1.5")
SITE = CentralBlock(unit="site", clip_norm="1", noise_multiplier="9", epsilon="1.1", delta="0.00001")


def of(**fields: Any) -> recipe.Recipe:
    return recipe.parse({**small.RECIPE, "strategy": {"weight": "equal"}, **fields}, "phantom")


def test_without_any_nothing_is_promised() -> None:
    (line,) = promises.agreed(of())
    assert line == "no formal privacy guarantee: an update can tell something about the cases it was trained on"
    assert promises.so_far(of(), None) == promises.in_report(of(), None, None) == [promises.NO_GUARANTEE]


def test_patients() -> None:
    begin = "differential privacy of each training patient: epsilon "
    assert promises.agreed(of(dp=DP)) == [f"{begin}4 at delta 1e-05 over all rounds, of the weights alone"]
    assert promises.so_far(of(dp=DP), None) == promises.agreed(of(dp=DP))
    spent = f"{begin}3.2 at delta 0.00001 in this federation so far, of the weights alone"
    assert promises.so_far(of(dp=DP), PATIENT) == promises.in_report(of(dp=DP), PATIENT, None) == [spent]


@pytest.mark.parametrize(
    ("central", "said", "words"),
    [
        (CENTRAL, None, "epsilon 2 at delta 1e-05 over all rounds"),
        ({"clip_norm": 1.0, "noise_multiplier": 7.5}, None, "noise of 7.5 clip norms in each round"),
        (CENTRAL, SITE, "epsilon 1.1 at delta 0.00001 so far"),
    ],
)
def test_noise_at_the_coordinator_alone(central: dict[str, Any], said: CentralBlock | None, words: str) -> None:
    chosen = of(aggregation={"central": central})
    hospital, coordinator = promises.so_far(chosen, None, said)
    begin = "differential privacy of each hospital as a whole, towards whoever gets the models"
    assert hospital == f"{begin}: {words}, of the weights alone"
    assert coordinator == "towards the coordinator, who sees every update, a patient has no guarantee"
    assert not any(promises.NO_GUARANTEE in line for line in promises.agreed(chosen))


def test_both_kinds_of_noise() -> None:
    patient, hospital = promises.so_far(of(dp=DP, aggregation={"central": CENTRAL}), PATIENT, SITE)
    assert "each training patient: epsilon 3.2" in patient
    assert "each hospital as a whole, towards whoever gets the models: epsilon 1.1" in hospital


def test_a_report_says_what_masks_do_not_give() -> None:
    chosen = of(aggregation=MASKED)
    assert promises.in_report(chosen, None, None) == [promises.NO_GUARANTEE, *promises.UNMASKED_SUM]
    assert promises.so_far(chosen, None) == [promises.NO_GUARANTEE]
    for words in ("no differential privacy", "within the clip", "comes or goes between two rounds", "no outside proof"):
        assert sum(words in line for line in promises.UNMASKED_SUM) == 1
