"""The lines of a budget store, as they must be: whatever else stands in it stops everything."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from fedmed.exchange.fields import Digest, SenderName, Sent

Name = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]  # of a patient, a reservation or a federation
Steps = Annotated[int, Field(ge=1, le=10**12)]


def _probability(text: str) -> str:
    if not 0 < float(text) < 1:
        raise ValueError("expected a probability")
    return text


def _by_name(persons: list[str]) -> list[str]:
    if persons != sorted(set(persons)):
        raise ValueError("patients stand once each, by name")
    return persons


class Founded(Sent):
    """The first line: SHA-256 of the key behind the names of patients."""

    what: Literal["founded"]
    key: Digest


class Cohort(Sent):
    what: Literal["cohort"]
    persons: Annotated[list[Name], Field(min_length=1), AfterValidator(_by_name)]


class Reservation(Sent):
    """One training that will look at the patients of `cohort`. `recipe` is the digest of what was agreed."""

    what: Literal["reserved"]
    id: Name
    workspace: SenderName
    federation: Name
    recipe: Digest
    round: Annotated[int, Field(ge=0, le=10_000)]
    patients_per_step: Annotated[int, Field(ge=1, le=10**6)]
    num_patients: Annotated[int, Field(ge=1, le=10**7)]
    noise_multiplier: Annotated[str, Field(pattern=r"^(0\.(0[1-9]|[1-9][0-9])|[1-9][0-9]{0,3}\.[0-9]{2})$")]
    steps: Steps
    delta: Annotated[str, Field(pattern=r"^[0-9][0-9.e-]{0,24}$"), AfterValidator(_probability)]
    cohort: Digest


class Charge(Sent):
    """Steps of a reservation that were taken and thrown away."""

    what: Literal["charged"]
    id: Name
    steps: Steps


class Confirmation(Sent):
    """The update that came of a reservation: nothing more comes of it."""

    what: Literal["confirmed"]
    id: Name
    sealed: Digest


Line = Founded | Cohort | Reservation | Charge | Confirmation
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="what")])


def read(facts: dict[str, Any]) -> Line:
    """Raises ValueError, without a word of what stands there."""
    try:
        return _LINE.validate_python(facts)
    except ValidationError as error:
        raise ValueError(f"{error.error_count()} faults") from None
