"""fedmed.yaml (a workspace's local, unsigned settings) and federation.yaml (the coordinator's draft of who and limits).

Neither changes what is learned, except `label_map` and `absent`, which are hashed into every update.
"""

import functools
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, field_validator, model_validator

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.strict import PlainText, Strict
from fedmed.yaml_text import read_yaml

MAX_BYTES = 256 * 1024
MAX_WORKERS = 64
SITE_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
RESERVED = {
    "coordinator",
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}
NumCases = Annotated[int, Field(ge=1, le=1_000_000)]
Pattern = Annotated[str, Field(min_length=1, max_length=256)]
Header = Annotated[PlainText, Field(min_length=1, max_length=200)]


def _below_the_root(path: str) -> str:
    if path.startswith(("/", "\\")) or ".." in path.split("/"):
        raise ValueError("expected a path below the data root")
    return path


class TableLayout(Strict):
    """A table whose rows are the cases: a CSV file below the data root.

    `columns` names the columns of a file without a line of names. `case` and `patient` name the columns that say which
    case and whose it is; `missing` are cells that mean nothing was recorded. With `where`, only the rows that hold
    these values belong to this site.
    """

    file: Annotated[Pattern, AfterValidator(_below_the_root)]
    columns: Annotated[tuple[Header, ...], Field(min_length=1, max_length=1000)] | None = None
    delimiter: Literal[",", ";", "\t"] | None = None
    decimal: Literal[".", ","] = "."
    missing: Annotated[tuple[Annotated[str, Field(max_length=32)], ...], Field(max_length=32)] = ("?", "NA", "NaN")
    case: Header | None = None
    patient: Header | None = None
    where: dict[Header, StrictInt | StrictFloat | PlainText] = Field(default_factory=dict)


class LabelTable(Strict):
    """A table of labels with columns of other names, or one that names cases instead of files.

    Either `path` is the column with paths below the data root, or `case` the one with what {case} stands for. Where
    that column has more or less than that, `pattern` says how it is written: `{case}.jpg`, or `archive/{path}`.
    `label` and `patient` are columns too. `values` says which number a cell of `label` stands for.
    """

    file: Annotated[Pattern, AfterValidator(_below_the_root)]
    path: Header | None = None
    case: Header | None = None
    pattern: Pattern | None = None
    label: Header = "label"
    patient: Header = "patient"
    values: dict[Annotated[str, Field(max_length=64)], int] = Field(default_factory=dict, max_length=64)

    @field_validator("values", mode="before")
    @classmethod
    def _numbers_are_text_in_a_table(cls, value: object) -> object:
        return {str(key): number for key, number in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _names_files_or_cases(self) -> Self:
        if (self.path is None) == (self.case is None):
            raise ValueError("give path or case: the column that says which image or which case a row is about")
        if self.pattern is not None and re.findall(r"{.*?}", self.pattern) != [f"{{{self.place}}}"]:
            raise ValueError(f"pattern holds {{{self.place}}} once and no other place")
        if len({self.key, self.label, self.patient}) < 3:
            raise ValueError("one column cannot be two things")
        return self

    @property
    def place(self) -> Literal["path", "case"]:
        return "path" if self.case is None else "case"

    @property
    def key(self) -> str:
        """The column that says what a row is about."""
        return self.case or self.path or ""


class Layout(Strict):
    """Where a site keeps what, as patterns below the data root with the places {patient} and {case}.

    A pattern that ends in `/` is a folder of DICOM files; any other is a NIfTI, PNG, JPEG or single DICOM file. `*`
    stands for any characters of one folder level. Masks have the pattern `label`: NIfTI, or a DICOM segmentation or
    structure set as .dcm or as a folder that holds one, which may be the folder of the images. Classes stand in a CSV
    table `labels` with the columns path (relative to the root), label, and if known patient, or as a LabelTable says.
    Boxes stand in a CSV table `boxes` with the columns path, x, y, width, height (pixels from the upper left corner),
    label, and if known patient. Without {patient} or such a column the patient is read from DICOM, or every other file
    is its own patient.
    `dataset` is the dataset.json of the Medical Segmentation Decathlon: its training list says which images count.
    Where the cases are no images but the rows of a table, there is `table` alone.
    """

    image: dict[str, Pattern] = Field(default_factory=dict, max_length=4)
    label: Pattern | None = None
    labels: Pattern | LabelTable | None = None
    boxes: Pattern | None = None
    dataset: Annotated[Pattern, AfterValidator(_below_the_root)] | None = None
    table: TableLayout | None = None

    @field_validator("image", "label")
    @classmethod
    def _stays_below_the_root(cls, value: dict[str, str] | str | None) -> dict[str, str] | str | None:
        for pattern in value.values() if isinstance(value, dict) else [value] if value else []:
            if pattern.startswith(("/", "\\")) or ".." in pattern.split("/") or "{case}" not in pattern:
                raise ValueError("a pattern is relative to the data root and holds {case}")
            if set(re.findall(r"{(.*?)}", pattern)) - {"case", "patient"}:
                raise ValueError("a pattern knows only {case} and {patient}")
        return value

    @field_validator("labels", "boxes")
    @classmethod
    def _table_below_the_root(cls, value: str | LabelTable | None) -> str | LabelTable | None:
        file = value.file if isinstance(value, LabelTable) else value
        if file and (file.startswith(("/", "\\")) or ".." in file.split("/") or not file.endswith(".csv")):
            raise ValueError("a table of labels or boxes is a .csv file below the data root")
        return value

    @property
    def tables(self) -> set[str]:
        """The files below the root that are tables beside images."""
        labels = self.labels.file if isinstance(self.labels, LabelTable) else self.labels
        return {file for file in (labels, self.boxes) if file}

    @model_validator(mode="after")
    def _images_or_rows(self) -> Self:
        if bool(self.image) == (self.table is not None) or (self.table and (self.label or self.labels or self.boxes)):
            raise ValueError("give image (with label, labels or boxes), or a table alone")
        return self

    @model_validator(mode="after")
    def _masks_or_classes(self) -> Self:
        if self.label and (self.labels or self.boxes):
            raise ValueError("give label (masks) or tables (labels of classes, boxes), not both")
        return self


class ShippedLayout(Strict):
    """A file of layouts/, or a hospital's own: how data lie in their folder. `about` says what was tried and what to
    know.
    """

    about: Annotated[PlainText, Field(max_length=400)] = ""
    layout: Layout


class DataFolder(Strict):
    root: str
    layout: Layout


class Privacy(Strict):
    """Where the whole hospital keeps what each patient's privacy has cost, and the most that it may ever cost."""

    budget_dir: Annotated[PlainText, Field(min_length=1, max_length=1000)]
    max_epsilon: Annotated[float, Field(gt=0, le=10)] = 10.0


class WorkspaceSettings(Strict):
    """fedmed.yaml."""

    role: Literal["coordinator", "site"]
    name: str = "coordinator"
    data: DataFolder | None = None
    label_map: dict[int, int] = Field(default_factory=dict)
    absent: tuple[Annotated[str, Field(max_length=64)], ...] = ()
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$")] = "auto"
    num_workers: int | Literal["auto"] = "auto"
    cache_gib: Annotated[float, Field(ge=0, le=1_000_000)] = 20.0
    checkpoint_minutes: Annotated[float, Field(ge=0, le=1440)] = 10.0
    inbox: str = "inbox"
    outbox: str = "outbox"
    privacy: Privacy | None = None

    @property
    def cache_bytes(self) -> int:
        """What prepared cases may take on the disk; 0: none are kept."""
        return int(self.cache_gib * (1 << 30))

    @field_validator("num_workers", mode="before")
    @classmethod
    def _auto_or_a_number(cls, value: object) -> object:
        if value != "auto" and not (type(value) is int and 0 <= value <= MAX_WORKERS):
            raise ValueError(f"expected auto or a number from 0 to {MAX_WORKERS}")
        return value

    @model_validator(mode="after")
    def _a_site_has_a_name_and_data(self) -> Self:
        if self.role == "site" and (self.data is None or not is_site_name(self.name)):
            raise ValueError("a site needs a name and data")
        return self


class FederationDraft(Strict):
    """federation.yaml: the limits that `start` seals. The roster comes from `admit`."""

    title: Annotated[PlainText, Field(min_length=1, max_length=120)]
    rounds: Annotated[int, Field(ge=1, le=10_000)] = 10
    min_sites: Annotated[int, Field(ge=1, le=100)] = 2
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.6
    deadline_days: Annotated[float, Field(gt=0, le=3650)] | None = None
    valid_days: Annotated[int, Field(ge=1, le=3650)] = 180
    federation_days: Annotated[int, Field(ge=1, le=3650)] = 730
    min_count: Annotated[int, Field(ge=1, le=1000)] = 10
    max_norm_ratio: Annotated[float, Field(ge=1, le=1_000_000)] = 5.0
    min_cosine: Annotated[float, Field(ge=-1, le=1)] = -0.5
    max_num_cases: NumCases | dict[str, NumCases] = 100_000
    encryption: Literal["none", "age"] = "none"

    def bound(self, site: str) -> int:
        """The most cases that an update of `site` may claim. Raises FedmedError FM-SET-03 for a site not listed."""
        if isinstance(self.max_num_cases, int):
            return self.max_num_cases
        if site not in self.max_num_cases:
            raise FedmedError("FM-SET-03", f"federation.yaml: max_num_cases: expected a number for {site}, got none")
        return self.max_num_cases[site]


def is_site_name(name: str) -> bool:
    """2-32 characters, lower case, no name that Windows reserves for a device."""
    return 2 <= len(name) <= 32 and SITE_NAME.fullmatch(name) is not None and name not in RESERVED


def load_workspace(folder: Path) -> WorkspaceSettings:
    """Read `folder`/fedmed.yaml. Raises FedmedError FM-SET-01, -02 or -03."""
    return _workspace(_text(folder / "fedmed.yaml"))


@functools.lru_cache(maxsize=64)
def _workspace(text: str) -> WorkspaceSettings:
    """Every command asks more than once, and a rehearsal for every act of every site."""
    return read_yaml(text, WorkspaceSettings, name="fedmed.yaml", area="SET")


def load_federation(folder: Path) -> FederationDraft:
    """Read `folder`/federation.yaml. Raises FedmedError FM-SET-01, -02 or -03."""
    return read_yaml(_text(folder / "federation.yaml"), FederationDraft, name="federation.yaml", area="SET")


def _text(path: Path) -> str:
    try:
        return files.read_bounded(path, MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        is_workspace = (path.parent / "fedmed.yaml").exists()
        next_ = f"restore {path.name} in the workspace" if is_workspace else ""
        message = f"{path.name}: not found or not readable here"
        raise FedmedError("FM-SET-01", message, next=next_, local=str(error)) from error
