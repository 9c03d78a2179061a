"""`check`: what of a folder can be used, case by case, and why the rest cannot; as a page, a table and pictures.

It reads and never changes a file of the data folder, and stops at no fault: the report is written, whatever it says.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed import files, logs, recipe
from fedmed.cases import datalist, find, remembered
from fedmed.cases.labels import Labelling
from fedmed.errors import CODES, FedmedError
from fedmed.reporting import check as report_page
from fedmed.reporting import sheets
from fedmed.settings import DataFolder
from fedmed.site import desk, preview
from fedmed.site import preprocessing as numbers
from fedmed.site.surveyed import report_of
from fedmed.site.virtual import described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from fedmed.cases.datalist import Datalist
    from fedmed.cases.find import Survey
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Recipe
    from fedmed.reporting.check import Report

    Progress = Callable[[str, int, int], None]

KEY = "pseudonym.key"
DEFAULT_OUT = "check-report"


@dataclass(frozen=True)
class Subject:
    """What is checked, and by what: in a workspace its own folder, key and earlier folds."""

    data: DataFolder
    root: Path
    recipe: Recipe
    labelling: Labelling
    key: bytes
    before: Datalist | None
    memory: Path
    preprocessing: Preprocessing | None = None


@dataclass(frozen=True)
class Options:
    """`again` reads unchanged files too; `preview` is how many cases are drawn; `show_ids` names files."""

    again: bool = False
    preview: int = 0
    show_ids: bool = False

    @property
    def is_local(self) -> bool:
        """Pictures of patients and names of their files are for this hospital alone."""
        return self.show_ids or self.preview > 0


@dataclass(frozen=True)
class Checked:
    """`read` studies were read, the others are unchanged since an earlier check. `written` are files of `out`."""

    report: Report
    read: int
    written: tuple[Path, ...]


def check(
    data: Path | None,
    root: Path,
    recipe_path: Path | None,
    out: Path | None,
    now: datetime,
    *,
    options: Options,
    progress: Progress,
) -> Checked:
    """Check `data` by a recipe, or the data folder of the workspace `root`; write check.html and check.csv to `out`.

    Raises FedmedError FM-USE-01 (no recipe, or `out` in the data folder), FM-NRM-02 (preview), FM-RCP-*, FM-SET-*,
    FM-KEY-*, FM-RES-*, FM-DAT-04 to -07, -10, -15, -49 and -53: what is wrong with settings or the folder itself. What
    is wrong with cases stands in the report.
    """
    subject, folder = _in_workspace(root, recipe_path, out) if data is None else _of_folder(data, recipe_path, out)
    memory = remembered.conditions(subject.recipe, subject.data.layout, subject.labelling.label_map, subject.key)
    if options.preview:
        _require_pictures(subject)
    with remembered.opened(subject.memory, memory, again=options.again) as known:
        seen = find.survey(
            subject.data,
            subject.recipe,
            pseudonym_key=subject.key,
            label_map=subject.labelling.label_map,
            absent=subject.labelling.absent,
            progress=lambda done, total: progress("reading cases", done, total),
            examine=known.examine,
        )
    _log(seen)
    told = report_of(seen, subject.recipe, subject.labelling.absent, subject.before, now, show_ids=options.show_ids)
    report = replace(told, local=options.is_local)
    if options.preview:
        report = replace(report, sheets=tuple(_sheets(seen, report, subject, options.preview, progress)))
    read = known.read if isinstance(subject.recipe, recipe.Imaging) else report.funnel.found  # rows are read at once
    return Checked(report, read, _write(folder, report))


def _require_pictures(subject: Subject) -> None:
    """What the model will see can be drawn. Raises FedmedError FM-USE-01 for a table, FM-NRM-02 before there are the
    numbers that images go through.
    """
    if not isinstance(subject.recipe, recipe.Imaging):
        raise FedmedError("FM-USE-01", "--preview: the rows of a table have no pictures", next="leave it out")
    needed = subject.recipe.data.normalisation
    if needed != "image" and subject.preprocessing is None:
        raise FedmedError(
            "FM-NRM-02",
            f"--preview: what the model will see depends on fitted numbers (normalisation: {needed}), got none",
            next="leave --preview out, or repeat it in the workspace behind the first fedmed train-local",
        )


def _in_workspace(root: Path, recipe_path: Path | None, out: Path | None) -> tuple[Subject, Path]:
    """By the recipe that was approved, or by the one given."""
    site = desk.peek(root)
    logs.open_logs(root / "logs")
    chosen = recipe.load(recipe_path) if recipe_path is not None else desk.require_approved(site).recipe
    folder = DataFolder(root=str(site.data_root), layout=site.data.layout)
    before = datalist.load(site.cases_file) if site.cases_file.exists() else None
    target = _made(root / "reports" / "check" if out is None else out, site.data_root)
    files.make_private(root / "cache")
    memory = root / "cache" / "check.jsonl"
    consent, key = desk.approved(site), desk.pseudonym_key(root)
    is_approved = consent is not None and recipe.digest(consent.recipe) == recipe.digest(chosen)
    fitted = numbers.current(site) if is_approved else None
    labelling = desk.labelling(site, chosen)
    return Subject(folder, site.data_root, chosen, labelling, key, before, memory, fitted), target


def _of_folder(data: Path, recipe_path: Path | None, out: Path | None) -> tuple[Subject, Path]:
    """With a key of the out folder's own, so that a case has one alias there from check to check."""
    if recipe_path is None:
        next_ = "name one: fedmed check DATA --recipe recipes/NAME.yaml"
        raise FedmedError("FM-USE-01", "--recipe: expected a recipe to check the data by, got none", next=next_)
    chosen = recipe.load(recipe_path)
    folder = _described(data, chosen)
    target = _made(out or Path(DEFAULT_OUT), data)
    return Subject(folder, data, chosen, Labelling({}), _key(target), None, target / "check.jsonl"), target


def _described(data: Path, chosen: Recipe) -> DataFolder:
    """A folder whose files are named in a way of its own needs a workspace, which says so in fedmed.yaml."""
    try:
        return described(data, chosen)
    except FedmedError as error:
        if error.code == "FM-DAT-05":
            error.next = f"give one hospital's folder, laid out like that; or {CODES[error.code].remedy}"
        raise


def _made(out: Path, data: Path) -> Path:
    """The folder of the report, private if new. Raises FedmedError FM-USE-01 where it would lie among the data."""
    if out.resolve().is_relative_to(data.resolve()):
        raise FedmedError("FM-USE-01", "--out: inside the data folder, which is only ever read", next="choose another")
    if not out.is_dir():  # somebody else's folder keeps its rights, and the files are private in any case
        files.make_private(out)
    return out


def _key(out: Path) -> bytes:
    path = out / KEY
    if not path.exists():
        files.write_atomic(path, secrets.token_bytes(desk.PSEUDONYM_KEY_BYTES), mode=0o600)
    return desk.key_in(path)


def _sheets(seen: Survey, report: Report, subject: Subject, most: int, progress: Progress) -> Iterator[bytes]:
    """Pages of up to `most` cases: at most half of them with a doubt, the others as their pseudonyms fall."""
    usable = [each for each in seen.studies if each.case and each.is_usable]
    odd, plain = ([each for each in usable if each.status == status] for status in ("warn", "ok"))
    half = (most + 1) // 2
    chosen = [*odd[:half], *plain, *odd[half:]][:most]
    folds = {row.case: row.fold for row in report.rows}
    notes = {
        each.examined.alias: "  ".join([folds[each.examined.alias], *sorted({one.code for one in each.judgements})])
        for each in chosen
    }
    strips = preview.strips(
        [each.case for each in chosen if each.case],
        subject.root,
        subject.recipe,
        subject.labelling.label_map,
        subject.preprocessing,
        notes,
        lambda done, total: progress("drawing cases", done, total),
    )
    by = subject.recipe
    classes = by.data.labels if isinstance(by, recipe.Segmentation | recipe.Localisation) else {}
    return sheets.pages(strips, f"{by.name}: what the model will see", classes)


def _write(out: Path, report: Report) -> tuple[Path, ...]:
    """Private either way; what names files or shows patients has `local` in its name."""
    name = "check-local" if report.local else "check"
    written = []
    for suffix, data in ((".html", report_page.to_html(report)), (".csv", report_page.to_csv(report))):
        files.write_atomic(out / f"{name}{suffix}", data, mode=0o600)
        written.append(out / f"{name}{suffix}")
    for stale in out.glob("preview-local-[0-9][0-9].png"):
        stale.unlink()
    for number, sheet in enumerate(report.sheets, start=1):
        files.write_atomic(out / f"preview-local-{number:02d}.png", sheet, mode=0o600)
        written.append(out / f"preview-local-{number:02d}.png")
    return tuple(written)


def _log(seen: Survey) -> None:
    for each in seen.studies:
        for one in each.judgements:
            logs.shareable.info("%s %s: %s", one.code, one.severity, one.message)
            logs.local.info("%s %s: %s %s", one.code, one.severity, one.message, "; ".join(each.examined.paths))
    for line in seen.local:
        logs.local.info("%s", line)
