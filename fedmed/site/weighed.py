"""What becomes of an update at the coordinator, and how large its file will be: said before anybody consents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation
    from fedmed.recipe import Recipe

FILE = 5400  # bytes of statement, signature and container around the tensors, as sealed files have them
ENCRYPTED = 2000  # more for `body.json` and the age headers
MASKED, SEALED, SHARE = 2500, 570, 100  # more for masks: a file, for each holder, and for each share that it holds


def file_bytes(federation: Federation, chosen: Recipe, tensors: int) -> int:
    """About how long the file of an update is whose tensors have so many bytes. With masks the shares of all seeds for
    all sites travel in it.
    """
    count, size = len(federation.site_names), FILE + tensors
    if federation.body.encryption == "age":
        size += ENCRYPTED
    if chosen.aggregation.masks:
        size += MASKED + count * (SEALED + SHARE * count)
    return size


def words(federation: Federation, chosen: Recipe) -> tuple[str, str]:
    """How many sites a round has, what an update may count, and whether a person looks at it.

    Raises FedmedError FM-SHR-06 for masks that would not be safe.
    """
    body, limits = federation.body, federation.body.limits
    told, least = f"{limits.rounds} rounds, at least {{}} sites each", limits.min_sites
    if chosen.aggregation.masks:
        from fedmed.learning import masking_terms  # noqa: PLC0415 - numpy, which most federations need not for this

        weight, bounds = chosen.strategy.weight, [member.max_num_cases for member in body.roster]
        colluders, ring, is_equal = chosen.aggregation.colluders, chosen.aggregation.ring, weight == "equal"
        agreed = masking_terms.terms(bounds, colluders, ring, min_sites=least, equal=is_equal)
        counts = "all sites count the same" if is_equal else f"a site counts for at most {agreed.largest} {weight}"
        masked = "masked updates cannot be compared: none is held for a person to look at, no share is capped"
        return told.format(agreed.least), f"{masked}; {counts}"
    if chosen.aggregation.central:
        return told.format(least), "no update is held for a person to look at; all sites count the same"
    held = (
        f"beyond {limits.max_norm_ratio} times the median norm or below a cosine of {limits.min_cosine} to the others"
    )
    share = f"share of a site at most {limits.max_share}"
    return f"{told.format(least)}, {share}", f"an update is held for a person to look at {held}"
