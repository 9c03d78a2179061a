"""What a signed file says: an in-toto Statement v1 whose predicate is a closed schema per kind.

Nothing here is trusted before its signature was checked, and nothing beyond the schema can be said at all.
"""

import functools
import hashlib
from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from fedmed.errors import FedmedError
from fedmed.exchange import canonical, keys, predicates, sshsig
from fedmed.exchange.fields import Digest, Sent, Text

MAX_BYTES = 1 << 20
SITE_KINDS = ("join", "approval", "fingerprint", "update", "unmask-reply", "report", "rotation", "receipt", "state")
COORDINATOR_KINDS = ("federation", "model", "unmask-request", "revocation", "rotation", "receipt", "state")
KINDS = tuple(dict.fromkeys((*SITE_KINDS, *COORDINATOR_KINDS)))
STATEMENT_TYPE: Literal["https://in-toto.io/Statement/v1"] = "https://in-toto.io/Statement/v1"


class Sha256(Sent):
    sha256: Digest


class Subject(Sent):
    name: Text
    digest: Sha256


ANSWERED = "answered.json"  # the recipient's own statements
APPROVALS = "approvals.json"  # who agreed to the federation
PAYLOADS = {
    "join": [],
    "federation": ["recipe.json", "tensors.json"],
    "approval": [],
    "fingerprint": [],
    "revocation": [],
    "rotation": [],
    "receipt": [ANSWERED],
    "model": ["model.safetensors", APPROVALS],
    "update": ["update.safetensors"],
    "unmask-request": ["request.json"],
    "unmask-reply": ["reply.json"],
    "report": [],
    "state": ["state.safetensors"],
}
PRIVATE = "body.json"  # where payloads are encrypted, what the body does not say in clear
HIDING = ("fingerprint", "model", "update", "report")  # kinds that have one then
ENCRYPTED = (*HIDING, "unmask-request", "unmask-reply")  # kinds whose payloads may be encrypted
PREPROCESSING = "preprocessing.json"  # a second version of a federation adds it
SHARES = ["bundles.bin", "shares.json"]  # a masked update adds them
UNMASK = "unmask.json"  # a model of masked updates adds it


class Statement(Sent):
    """A parsed statement. `payload[i]` describes `subject[i]`; without payload the one subject is what it is about."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Subject] = Field(min_length=1, max_length=8)
    predicate_type: Text = Field(alias="predicateType")
    predicate: predicates.AnyPredicate

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        kind, payload = self.predicate.kind, [part.name for part in self.predicate.payload]
        if self.predicate_type != predicate_type(kind):
            raise ValueError("predicateType and kind disagree")
        expected = payload_names(self.predicate)
        if payload != expected:
            raise ValueError(f"a {kind} has the payloads {expected}")
        _require_hidden(self.predicate)
        if kind != "update" and any(part.coding != "none" for part in self.predicate.payload):
            raise ValueError("only an update is compressed")
        names = [subject.name for subject in self.subject]
        if names != (payload or [SUBJECTS[kind]]):
            raise ValueError("subject and payload do not match")
        if not payload and self.digest_of(SUBJECTS[kind]) != _spoken_about(self.predicate):
            raise ValueError("subject and predicate speak about different things")
        return self

    @property
    def kind(self) -> str:
        return self.predicate.kind

    @property
    def is_encrypted(self) -> bool:
        """Whether its payloads are for the recipients alone."""
        return is_encrypted(self.predicate)

    @property
    def hides(self) -> bool:
        """Whether a part of its body stands in the encrypted `body.json`."""
        return any(part.name == PRIVATE for part in self.predicate.payload)

    @property
    def sender(self) -> str:
        return self.predicate.sender.name

    def digest_of(self, name: str) -> str:
        """SHA-256 of the payload or subject `name`."""
        return next(subject.digest.sha256 for subject in self.subject if subject.name == name)


def is_encrypted(predicate: predicates.AnyPredicate) -> bool:
    return any(part.enc == "age" for part in predicate.payload)


def is_of_masked(predicate: predicates.ModelPredicate) -> bool:
    """Whether the updates that a model was made of were masked: one that is encrypted shows it by a payload."""
    if is_encrypted(predicate):
        return any(part.name == UNMASK for part in predicate.payload)
    return predicate.body.is_of_masked


def require_whole(predicate: predicates.AnyPredicate) -> None:
    """What stands in clear or in `body.json` is all there, wherever it stands. Raises ValueError."""
    if isinstance(predicate, predicates.UpdatePredicate | predicates.ModelPredicate):
        predicate.body.require_whole()
    elif isinstance(predicate, predicates.FingerprintPredicate) and predicate.body is None:
        raise ValueError("a fingerprint has a body")


def _require_hidden(predicate: predicates.AnyPredicate) -> None:
    """All payloads are encrypted or none, and then the body tells nothing that `body.json` is for."""
    if not is_encrypted(predicate):
        require_whole(predicate)
        return
    if predicate.kind not in ENCRYPTED or any(part.enc == "none" for part in predicate.payload):
        raise ValueError("partly encrypted, or of a kind that never is")
    told: list[object] = []
    if isinstance(predicate, predicates.UpdatePredicate):
        told = [predicate.body.facts, predicate.body.privacy]
    elif isinstance(predicate, predicates.ReportPredicate):
        told = [predicate.body.facts]
    elif isinstance(predicate, predicates.FingerprintPredicate):
        told = [predicate.body]
    elif isinstance(predicate, predicates.ModelPredicate):
        parents = [part for each in predicate.body.parents for part in (each.weight, each.share)]
        told = [*parents, predicate.body.clip, *predicate.body.pooled, *(each.reason or None for each in predicate.ack)]
    if any(each is not None for each in told):
        raise ValueError("encrypted, and told in clear")


def payload_names(predicate: predicates.AnyPredicate) -> list[str]:
    """The payloads that this statement must have, in their order."""
    more: list[str] = []
    if isinstance(predicate, predicates.FederationPredicate) and predicate.federation.version > 1:
        more = [part.name for part in predicate.payload if part.name == PREPROCESSING][:1]
    elif isinstance(predicate, predicates.UpdatePredicate) and predicate.body.masked is not None:
        more = SHARES
    elif isinstance(predicate, predicates.ModelPredicate) and is_of_masked(predicate):
        more = [UNMASK]
    hidden = [PRIVATE] if is_encrypted(predicate) and predicate.kind in HIDING else []
    return [*PAYLOADS[predicate.kind], *more, *hidden]


def _spoken_about(predicate: predicates.AnyPredicate) -> str:
    """What a kind without payload is about: the key that joins or comes next, the federation that is approved or waits
    for fingerprints, the key that is taken back, the model that was scored.
    """
    if isinstance(predicate, predicates.JoinPredicate | predicates.RotationPredicate):
        return hashlib.sha256(sshsig.key_blob(keys.parse_public_line(predicate.body.key))).hexdigest()
    if isinstance(predicate, predicates.ApprovalPredicate | predicates.FingerprintPredicate):
        return predicate.federation.digest
    if isinstance(predicate, predicates.RevocationPredicate):
        return keys.digest_in(predicate.body.key)
    return predicate.base_model if isinstance(predicate, predicates.ReportPredicate) else ""


SUBJECTS = {
    "join": "signing-key",
    "approval": "federation",
    "fingerprint": "federation",
    "revocation": "signing-key",
    "rotation": "signing-key",
    "report": "model",
}


def predicate_type(kind: str) -> str:
    return f"urn:fedmed:v1:{kind}"


def namespace(kind: str) -> str:
    """The SSHSIG namespace: a signature for one kind can never pass for another."""
    return f"{kind}@fedmed.v1"


def kind_of(namespace_: str) -> str | None:
    kind, _, rest = namespace_.partition("@")
    return kind if rest == "fedmed.v1" and kind in KINDS else None


@functools.lru_cache(maxsize=32)  # a command looks at the same few statements again and again
def decode(raw: bytes) -> Statement:
    """Canonical parse, then the schema. Raises FedmedError FM-FRM-02, FM-FRM-03."""
    canonical.decode(raw)
    try:
        said = Statement.model_validate_json(raw, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise FedmedError("FM-FRM-03", f"statement.json: {place or 'top level'}: {fault['msg'].lower()}") from error
    if encode(said) != raw:  # pydantic also takes a field by its Python name
        raise FedmedError("FM-FRM-03", "statement.json: top level: a field under another name")
    return said


def encode(statement: Statement) -> bytes:
    """The bytes that are signed."""
    return canonical.encode(statement.model_dump(mode="json", by_alias=True))


def make(kind: str, subject: list[Subject], predicate: predicates.AnyPredicate) -> Statement:
    """A statement around its predicate."""
    return Statement(type=STATEMENT_TYPE, subject=subject, predicate_type=predicate_type(kind), predicate=predicate)


def about(kind: str, sha256: str) -> list[Subject]:
    """The subject of a kind without payload: what the statement speaks about."""
    return [Subject(name=SUBJECTS[kind], digest=Sha256(sha256=sha256))]


def actor(name: str, public_key: bytes) -> predicates.Actor:
    return predicates.Actor(name=name, key=keys.fingerprint(public_key))


def to_time(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
