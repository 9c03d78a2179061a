"""Differential privacy of sites: how long updates may be, how much noise a model gets, and what that has cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies, secret
from fedmed.exchange.bodies_privacy import CentralBlock
from fedmed.learning import accounting, central
from fedmed.learning.accounting import Event
from fedmed.noise import BYTES, gaussian

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedmed.coordinator.desk import Started
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.central import Adapting
    from fedmed.learning.strategy import Strategy
    from fedmed.recipe import Recipe
    from fedmed.recipe_aggregation import Central

ENOUGH = 30  # sites, below which the noise drowns what they learned
SMALLEST, LARGEST = 1e-6, 1e9  # a clip norm that adapts stays between them


def require_enough(recipe: Recipe, num_sites: int, rounds: int, elements: int, buffers: Sequence[str]) -> None:
    """Raises FedmedError FM-PRV-07 where there are so few sites that the noise is all there is, FM-RCP-03 where the
    network keeps statistics that no noise is for, or the count of clipped updates cannot have its share of the noise.
    """
    asked = recipe.aggregation.central
    if asked is None:
        return
    if buffers:
        raise FedmedError("FM-RCP-03", f"aggregation.central: {buffers[0]} is no weight that is learned, expected none")
    multiplier = noise_multiplier(asked, rounds)
    try:
        relative = central.relative_noise(
            central.noise_on_updates(multiplier, _adapting(asked, num_sites)), num_sites, elements
        )
    except ValueError as error:
        raise FedmedError("FM-RCP-03", f"aggregation.central.adaptive: {error}") from error
    if num_sites < ENOUGH and not asked.force:
        words = f"{num_sites} sites, expected at least {ENOUGH}: the noise on the mean would be {relative:.3g} times"
        raise FedmedError("FM-PRV-07", f"aggregation.central: {words} as long as the longest update may be")


def noise_multiplier(asked: Central, rounds: int) -> float:
    """Of a round, so that all of them together come to the target. Every site is in every round."""
    if asked.noise_multiplier is not None:
        return asked.noise_multiplier
    target = asked.target_epsilon or 0.0
    found = accounting.calibrate(target, asked.delta, 1.0, rounds)
    if found is None:
        raise FedmedError(
            "FM-RCP-03", f"aggregation.central.target_epsilon: {target:g} in {rounds} rounds is too little"
        )
    return found


def noised(found: Workspace, running: Started, base: Known, strategy: Strategy) -> Strategy:
    """`strategy` over the noised mean of the updates that answer `base`, where the recipe asks for that.

    The noise comes from a key of the operating system's that lives as long as this strategy.
    """
    asked = running.recipe.aggregation.central
    if asked is None:
        return strategy
    federation, said = running.agreement.federation, _said(found, base)
    num_sites, key = len(federation.site_names), secret.new_key()
    return central.central(
        strategy,
        clip_norm=float(said.clip_norm),
        noise_multiplier=central.noise_on_updates(float(said.noise_multiplier), _adapting(asked, num_sites)),
        num_sites=num_sites,
        noise=lambda start, count: gaussian(secret.stream(key, BYTES * start), count),
    )


def first(running: Started) -> CentralBlock | None:
    """What model r0 says; None where the recipe asks for no noise."""
    asked = running.recipe.aggregation.central
    if asked is None:
        return None
    return _block(asked, asked.clip_norm, noise_multiplier(asked, running.agreement.federation.body.limits.rounds), 0)


def following(
    found: Workspace, running: Started, base: Known, norms: Callable[[], Sequence[float]]
) -> CentralBlock | None:
    """What the model says that was made of updates of these L2 norms, which answer `base`."""
    asked = running.recipe.aggregation.central
    if asked is None:
        return None
    said = _said(found, base)
    clip_norm, num_sites = float(said.clip_norm), len(running.agreement.federation.site_names)
    if (adapting := _adapting(asked, num_sites)) is not None:
        noise = float(gaussian(secret.fresh(), 1)[0])
        moved = central.next_clip(clip_norm, adapting, norms(), num_sites, noise)
        clip_norm = min(LARGEST, max(SMALLEST, moved))
    return _block(asked, clip_norm, float(said.noise_multiplier), base.round_number + 1)


def said(found: Workspace) -> CentralBlock | None:
    """What the newest model says of it."""
    newest = found.record.newest("model")
    body = archived.read_archived(found, newest.id).predicate.body if newest else None
    return body.central if isinstance(body, bodies.Model) else None


def share(running: Started) -> float | None:
    """What every update counts, however much it was cut; None without noise: then each has its own."""
    has_noise = running.recipe.aggregation.central is not None
    return 1 / len(running.agreement.federation.site_names) if has_noise else None


def _block(asked: Central, clip_norm: float, multiplier: float, rounds: int) -> CentralBlock:
    spent = accounting.epsilon([Event(1.0, multiplier, rounds)], asked.delta) if rounds else 0.0
    return CentralBlock(
        unit="site",
        clip_norm=bodies.decimal(clip_norm),
        noise_multiplier=bodies.decimal(multiplier),
        epsilon=bodies.decimal(math.ceil(spent * 10) / 10),
        delta=bodies.decimal(asked.delta),
    )


def _said(found: Workspace, base: Known) -> CentralBlock:
    body = archived.read_archived(found, base.id).predicate.body
    if not isinstance(body, bodies.Model) or body.central is None:
        raise TypeError("a model of a recipe with central noise says how much of it")
    return body.central


def _adapting(asked: Central, num_sites: int) -> Adapting | None:
    if asked.adaptive is None:
        return None
    noise = asked.adaptive.count_noise
    count_noise = num_sites / 20 if noise is None else noise
    return central.Adapting(asked.adaptive.target_quantile, asked.adaptive.rate, count_noise)
