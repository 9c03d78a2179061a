"""Every way fedmed can refuse, with a stable code, an exit code and the remedy.

One code has one cause. A message says what, where, expected and found; it is lower case, blames nobody and holds no
patient identifier and no path of the host. `local` text (paths, third-party exceptions) goes to the local log only.
"""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK, BUG, USAGE, CONFIG, TRUST, PROTOCOL, DATA, PRIVACY, RESOURCES, WAITING = 0, 1, 2, 3, 4, 5, 6, 7, 8, 75


@dataclass(frozen=True)
class Code:
    """One row of the taxonomy: what the code means and what to do about it."""

    exit: int
    meaning: str
    remedy: str


class FedmedError(Exception):
    """The one exception a command line shows: `FM-AREA-NN what: where, expected, got` and `next: ...`."""

    def __init__(self, code: str, message: str, *, next: str = "", local: str = "") -> None:  # noqa: A002
        super().__init__(message)
        self.code = code
        self.message = message
        self.next = next or CODES[code].remedy
        self.local = local

    def __reduce__(self) -> tuple[object, ...]:
        """Out of a worker process whole: an exception is else made again from its message alone."""
        return _again, (self.code, self.message, self.next, self.local)

    @property
    def exit_code(self) -> int:
        return CODES[self.code].exit

    def __str__(self) -> str:
        return f"{self.code} {self.message}"


def _again(code: str, message: str, next_: str, local: str) -> FedmedError:
    return FedmedError(code, message, next=next_, local=local)


@contextmanager
def about(path: Path) -> Iterator[None]:
    """What is refused inside names this file in its remedy: a hint can be run as it is printed."""
    try:
        yield
    except FedmedError as error:
        error.next = error.next.replace("FILE", shlex.quote(str(path)))
        raise


_CASES = "restore cases.json from a backup; without one, move it away and fedmed partition draws the folds anew"
CODES: dict[str, Code] = {
    "FM-BUG-01": Code(
        BUG,
        "fedmed itself failed",
        "send logs/shareable.log to the maintainers; the traceback is in logs/local.log",
    ),
    # --- usage, recipe, settings, federation -------------------------------------------------------------------
    "FM-USE-01": Code(USAGE, "the command line has a word or a combination that fedmed does not know", "fedmed --help"),
    "FM-USE-02": Code(USAGE, "the test fold is opened only for the last model", "fedmed evaluate"),
    "FM-RCP-01": Code(CONFIG, "a recipe could not be read as YAML", "check the file name and the line that is named"),
    "FM-RCP-02": Code(
        CONFIG,
        "a recipe has a key that fedmed does not know",
        "correct the key; recipes/README.md lists every field",
    ),
    "FM-RCP-03": Code(
        CONFIG,
        "a recipe has a value outside its bounds",
        "correct the value; recipes/README.md gives the bounds",
    ),
    "FM-SET-01": Code(
        CONFIG,
        "this folder is not a fedmed workspace, or its fedmed.yaml cannot be read",
        "fedmed init --help",
    ),
    "FM-SET-02": Code(
        CONFIG,
        "fedmed.yaml or federation.yaml has a key that fedmed does not know",
        "correct the key in the file",
    ),
    "FM-SET-03": Code(
        CONFIG,
        "fedmed.yaml or federation.yaml has a value outside its bounds",
        "correct the value in the file",
    ),
    "FM-SET-04": Code(CONFIG, "the workspace exists already and is left untouched", "fedmed status -w DIR"),
    "FM-SET-05": Code(CONFIG, "this command belongs to the other role", "run it in the other workspace"),
    "FM-SET-06": Code(
        CONFIG,
        "the name of a site is not allowed or already taken",
        "choose 2-32 of a-z, 0-9 and single hyphens, starting with a letter",
    ),
    "FM-FED-01": Code(CONFIG, "fewer sites are admitted than the federation needs", "fedmed status"),
    "FM-FED-02": Code(CONFIG, "the federation has started: its roster and recipe are frozen", "fedmed status"),
    "FM-FED-03": Code(CONFIG, "the federation has not started", "fedmed start"),
    "FM-FED-04": Code(
        CONFIG,
        "the recipe freezes batch norm, and there are no trained weights to freeze",
        "give weights that were trained before: fedmed start --weights FILE",
    ),
    "FM-FED-05": Code(
        CONFIG,
        "the initial weights are not those with which the federation was begun",
        "give the same weights as before: fedmed start --weights FILE, or without it if it was begun without",
    ),
    # --- trust: keys, signatures, digests, time -------------------------------------------------------------------
    "FM-KEY-01": Code(TRUST, "a private key is readable by others", "chmod 600 keys/*.key"),
    "FM-KEY-02": Code(
        TRUST,
        "a key is missing or is not an OpenSSH Ed25519 key",
        "restore keys/ from your own backup, or found a new workspace",
    ),
    "FM-SIG-01": Code(
        TRUST,
        "the signature does not belong to these bytes",
        "copy the file again; if it fails again, call the sender",
    ),
    "FM-SIG-02": Code(
        TRUST,
        "the signature is not in the one form that fedmed accepts",
        "ask the sender to seal the file with fedmed",
    ),
    "FM-SIG-03": Code(TRUST, "the key that signed is not in the federation", "fedmed inspect FILE"),
    "FM-SIG-04": Code(
        TRUST, "the key signed in a role it does not have", "ask the sender to seal the file with fedmed"
    ),
    "FM-SIG-05": Code(
        TRUST, "signature, kind and sender of a file disagree", "ask the sender to seal the file with fedmed"
    ),
    "FM-TRU-01": Code(
        TRUST,
        "the fingerprint typed is not the federation's",
        "ask the coordinator to read the fingerprint again",
    ),
    "FM-TRU-02": Code(
        TRUST, "the file belongs to another federation or another version of this one", "fedmed inspect FILE"
    ),
    "FM-TRU-03": Code(
        TRUST,
        "a sender signed two different statements with one number",
        "call the sender: one file is in archive/, the other in quarantine/",
    ),
    "FM-TRU-04": Code(
        TRUST,
        "a sender's statements have two successors",
        "call the sender: one file is in archive/, the other in quarantine/",
    ),
    "FM-TRU-05": Code(TRUST, "the sender went back in time, as after a restored backup", "call the sender"),
    "FM-TRU-06": Code(
        TRUST,
        "this workspace went back in time, as after a restored backup",
        "stop here and call the other side: files you signed are missing from archive/",
    ),
    "FM-TRU-07": Code(TRUST, "the site has not approved the federation", "fedmed approve"),
    "FM-TRU-08": Code(
        TRUST, "the ledger was changed", "keep a copy of the workspace as it is, and find out who or what changed it"
    ),
    "FM-TRU-09": Code(
        TRUST,
        "this site, or its key, is not in the federation's roster",
        "ask the coordinator to admit your join file",
    ),
    "FM-TRU-10": Code(
        TRUST,
        "a payload is not the one that was signed",
        "copy the file again; if it fails again, call the sender",
    ),
    "FM-TRU-11": Code(
        TRUST,
        "a file of the archive is missing or damaged",
        "put an intact copy into archive/ under the same name; inbox/ or outbox/ may still hold it",
    ),
    "FM-TRU-12": Code(
        TRUST, "a join has another fingerprint than the one given", "ask the site to read its fingerprint again"
    ),
    "FM-TIM-01": Code(
        TRUST, "the file has expired", "ask the sender for a new one, or fedmed train-local --accept-expired REASON"
    ),
    "FM-TIM-02": Code(
        TRUST,
        "the file was signed in the future",
        "check this computer's clock and call the sender, or --trust-clock REASON",
    ),
    # --- protocol: form, rounds, tensors --------------------------------------------------------------------------
    "FM-FRM-01": Code(
        PROTOCOL, "not a fedmed file", "give a *.fedmed file; if it is one, copy it again from the sender"
    ),
    "FM-FRM-02": Code(PROTOCOL, "the statement is not canonical JSON", "ask the sender to seal the file with fedmed"),
    "FM-FRM-03": Code(
        PROTOCOL,
        "the statement does not follow the schema of its kind",
        "ask the sender for its version of fedmed",
    ),
    "FM-FRM-04": Code(
        PROTOCOL, "the file is larger than the federation allows", "ask the sender for the file of this federation"
    ),
    "FM-FRM-05": Code(
        PROTOCOL,
        "the container holds other members than the statement says",
        "ask the sender to seal the file again",
    ),
    "FM-RND-01": Code(PROTOCOL, "the file answers a round or attempt that does not exist", "fedmed status"),
    "FM-RND-02": Code(PROTOCOL, "the file starts from another model than this round's", "fedmed status"),
    "FM-RND-03": Code(PROTOCOL, "a file of this kind is not expected here", "fedmed inspect FILE"),
    "FM-TEN-01": Code(
        PROTOCOL,
        "the tensors are not exactly those of the federation",
        "ask the sender to train with the federation's recipe",
    ),
    "FM-TEN-02": Code(
        PROTOCOL,
        "a tensor holds NaN, infinity or a number beyond 1e30",
        "ask the sender to train again: fedmed train-local --again",
    ),
    "FM-TEN-03": Code(
        PROTOCOL,
        "the number of cases is above the bound declared for the site",
        "ask the site for the true number",
    ),
    "FM-TEN-04": Code(
        PROTOCOL,
        "a file of initial weights is not a safetensors file",
        "save the weights as safetensors; a pickle is never opened",
    ),
    "FM-ENC-01": Code(
        PROTOCOL,
        "a weight changed by more than the recipe's encoding of updates can say",
        "tell the coordinator: this needs a recipe with update: {encoding: fp32} or bf16, or a lower client_lr",
    ),
    "FM-ENC-02": Code(
        PROTOCOL,
        "an encoded update holds what its encoding never writes",
        "ask the sender to seal the update again: fedmed train-local --again",
    ),
    "FM-ENC-03": Code(
        PROTOCOL,
        "an update is not compressed as the recipe says",
        "ask the sender to seal the update again with the federation's recipe: fedmed train-local --again",
    ),
    "FM-SCR-01": Code(
        WAITING,
        "an update is held: its norm is far above the median of the round",
        "call the site; then fedmed aggregate --include SITE --reason WHY, or ask it for fedmed train-local --again",
    ),
    "FM-SCR-02": Code(
        WAITING,
        "an update is held: it points away from the others of the round",
        "call the site; then fedmed aggregate --include SITE --reason WHY, or ask it for fedmed train-local --again",
    ),
    "FM-SCR-03": Code(USAGE, "the site to include has no held update in the open round", "fedmed status"),
    "FM-STR-01": Code(
        WAITING,
        "fewer updates are in than the recipe's strategy needs",
        "ask the sites that are named for their files: fedmed status",
    ),
    "FM-STR-02": Code(
        CONFIG,
        "fewer sites are admitted than the recipe's strategy needs",
        "admit more sites with fedmed admit, or choose another strategy in recipe.yaml",
    ),
    "FM-STR-03": Code(
        PROTOCOL,
        "an update says another number of steps than the recipe gives for its cases",
        "ask the sender to train with the federation's recipe: fedmed train-local --again",
    ),
    # --- laps: weights that go from site to site ------------------------------------------------------------------
    "FM-CYC-01": Code(
        WAITING,
        "in this lap another site trains before this one",
        "put the update of that site into inbox/ and run the command again",
    ),
    "FM-CYC-02": Code(
        PROTOCOL,
        "an update does not go on from the one that comes before it in the lap",
        "ask its sender to train again from the update before: fedmed train-local --again",
    ),
    "FM-CYC-03": Code(
        PROTOCOL,
        "an update of a lap is not addressed to the coordinator and the next site alone",
        "ask its sender to seal the file with fedmed",
    ),
    "FM-CYC-04": Code(
        PROTOCOL,
        "the order of a lap is not the one that the recipe's seed gives",
        "ask the coordinator for its version of fedmed, and why the order is another one",
    ),
    "FM-CYC-05": Code(PROTOCOL, "an update of another site is not what this site waits for", "fedmed inspect FILE"),
    "FM-CYC-06": Code(
        PROTOCOL,
        "a lap ended before enough sites had trained, and nothing of it counts",
        "nothing: the next lap begins with the sites that were still to come",
    ),
    # --- data and training ----------------------------------------------------------------------------------------
    "FM-DAT-01": Code(DATA, "cases.json cannot be read", _CASES),
    "FM-DAT-02": Code(DATA, "cases.json has a key that fedmed does not know", _CASES),
    "FM-DAT-03": Code(DATA, "cases.json has a value outside its bounds", _CASES),
    "FM-DAT-04": Code(
        DATA,
        "the data folder is not there, empty or cannot be listed",
        "correct the path (in a workspace data.root of fedmed.yaml), or mount the folder",
    ),
    "FM-DAT-05": Code(
        CONFIG,
        "no known layout fits the data folder",
        "describe how the files are named, as fedmed/docs/DATA.md shows, in a file for fedmed init site --layout",
    ),
    "FM-DAT-06": Code(
        CONFIG,
        "the layout and the recipe name different channels",
        "rename the keys below data: layout: image: in fedmed.yaml to the recipe's channels, for example MR to XR",
    ),
    "FM-DAT-07": Code(
        CONFIG, "label_map names a class that the recipe does not have", "correct label_map in fedmed.yaml"
    ),
    "FM-DAT-08": Code(
        DATA, "no case is usable", "look with fedmed check why, case by case, and repair what can be repaired"
    ),
    "FM-DAT-09": Code(
        DATA,
        "more cases are excluded than the recipe allows",
        "look with fedmed check which, repair them or move them out of the data folder",
    ),
    "FM-DAT-10": Code(
        DATA,
        "two cases or two patients would get the same pseudonym",
        "rename one of the two, or found a new workspace",
    ),
    "FM-DAT-11": Code(
        DATA, "a case has no image of one channel", "add the image, or move the case out of the data folder"
    ),
    "FM-DAT-12": Code(DATA, "a case has no label", "add the label, or move the case out of the data folder"),
    "FM-DAT-13": Code(
        DATA, "several files answer to one case", "make data.layout in fedmed.yaml narrower, or rename the files"
    ),
    "FM-DAT-14": Code(
        DATA, "the images of a case belong to different patients", "separate the studies into one folder each"
    ),
    "FM-DAT-15": Code(DATA, "a path leads out of the data folder", "copy the files into the data folder"),
    "FM-DAT-16": Code(
        DATA, "a file cannot be opened", "check the file's permissions and the disk; its path is in logs/local.log"
    ),
    "FM-DAT-17": Code(DATA, "a NIfTI file is damaged, incomplete or something else", "copy or convert the image again"),
    "FM-DAT-18": Code(
        DATA, "sform and qform of a NIfTI file disagree", "convert the image again, or repair the header in a copy"
    ),
    "FM-DAT-19": Code(
        DATA,
        "a NIfTI file does not say how it lies in the patient",
        "convert the image again: sform_code and qform_code are 0",
    ),
    "FM-DAT-20": Code(DATA, "an image is not three-dimensional", "write each volume into its own file"),
    "FM-DAT-21": Code(
        DATA,
        "the voxels of a NIfTI file are not plain numbers",
        "convert colour or complex images to one number a voxel",
    ),
    "FM-DAT-22": Code(DATA, "an image holds NaN or infinity", "convert the image again"),
    "FM-DAT-23": Code(
        DATA, "the spacing of an image cannot be true", "convert the image again; spacing is in millimetres"
    ),
    "FM-DAT-24": Code(
        DATA, "the axes of an image are not at right angles", "resample the image to a grid with right angles"
    ),
    "FM-DAT-25": Code(DATA, "an image is larger than fedmed reads", "crop or resample the image"),
    "FM-DAT-26": Code(DATA, "an image holds one single value", "export the image again"),
    "FM-DAT-27": Code(DATA, "the channels of a case lie on different grids", "resample the channels to one grid"),
    "FM-DAT-28": Code(
        DATA,
        "a label holds a value that the recipe does not name",
        "correct the label, or write label_map into fedmed.yaml",
    ),
    "FM-DAT-29": Code(
        DATA,
        "a label lies on another grid than its image",
        "write the mask on the grid of the image, with nearest neighbour",
    ),
    "FM-DAT-30": Code(
        DATA,
        "no DICOM series fits the recipe's rule",
        "export the right series, or move the case out of the data folder",
    ),
    "FM-DAT-31": Code(DATA, "several DICOM series fit the recipe's rule", "leave one of them in the folder"),
    "FM-DAT-32": Code(
        DATA,
        "a file of several frames does not say how they lie in the patient",
        "export the series as enhanced or single-frame DICOM, or as NIfTI; of a film one image is expected",
    ),
    "FM-DAT-33": Code(DATA, "a DICOM file is damaged or incomplete", "export the series again"),
    "FM-DAT-34": Code(
        DATA, "the decoder of a transfer syntax is missing", "install the package that is named, or export uncompressed"
    ),
    "FM-DAT-35": Code(
        DATA,
        "several slices lie at one position",
        "leave one copy, echo or time point in the folder; of one file, export each as a series",
    ),
    "FM-DAT-36": Code(DATA, "slices are missing", "export the series again"),
    "FM-DAT-37": Code(DATA, "the slices lie at uneven distances", "resample the series to even slices"),
    "FM-DAT-38": Code(
        DATA,
        "the slices are shifted against each other, as by a tilted gantry",
        "resample the series to a grid with right angles",
    ),
    "FM-DAT-39": Code(DATA, "a DICOM tag that the geometry needs is missing or unusable", "export the series again"),
    "FM-DAT-40": Code(DATA, "the pixels of an image are in colour", "export the image as greyscale"),
    "FM-DAT-41": Code(
        DATA, "the slices of one series differ in size, spacing or orientation", "export the series again"
    ),
    "FM-DAT-42": Code(DATA, "the cases cannot be divided among so many sites", "ask for fewer sites or a larger alpha"),
    "FM-DAT-43": Code(DATA, "this site's cases are not partitioned yet", "fedmed partition"),
    "FM-DAT-44": Code(DATA, "the cases were partitioned for another recipe", "fedmed partition"),
    "FM-DAT-45": Code(DATA, "a fold has no case", "add cases to the data folder, then fedmed partition"),
    "FM-DAT-46": Code(DATA, "a case changed since partition", "fedmed partition"),
    "FM-DAT-47": Code(
        DATA,
        "none of the patients of cases.json is found again",
        "restore keys/pseudonym.key from a backup, or move cases.json away: fedmed partition then draws the folds anew",
    ),
    "FM-DAT-48": Code(
        DATA, "a picture is damaged, incomplete or no PNG, JPEG or DICOM file", "export or copy the picture again"
    ),
    "FM-DAT-49": Code(
        DATA,
        "the table of labels cannot be read",
        "save it as CSV in UTF-8, with the columns path and label in its first line",
    ),
    "FM-DAT-50": Code(
        DATA, "an image has no row in the table of labels", "add the row, or move the image out of the data folder"
    ),
    "FM-DAT-51": Code(
        DATA,
        "a row of the table of labels has no image",
        "write paths relative to the data folder, as data.layout.image matches them, or add the image",
    ),
    "FM-DAT-52": Code(
        DATA, "two rows of the table of labels contradict each other about one case", "leave the row that is right"
    ),
    "FM-DAT-53": Code(
        CONFIG,
        "the layout has another kind of labels than the recipe needs: masks, classes or boxes",
        "name in data.layout of fedmed.yaml label (masks) for segmentation, labels (a CSV table) for classification, "
        "boxes (a CSV table) for localisation",
    ),
    "FM-DAT-54": Code(
        DATA,
        "a mask is no DICOM segmentation or structure set that fedmed reads",
        "export it as a binary, fractional or labelmap DICOM segmentation, as RTSTRUCT, or as NIfTI",
    ),
    "FM-DAT-55": Code(
        DATA,
        "a DICOM mask lies in another frame of reference than its image",
        "export the mask that was drawn on this series",
    ),
    "FM-DAT-56": Code(
        DATA,
        "frames or contours of a DICOM mask lie on no slice of the image",
        "leave the series it was drawn on in the folder, or write the mask on the grid of the image",
    ),
    "FM-DAT-57": Code(
        DATA, "a DICOM segmentation shows one slice of one segment several times", "export the segmentation again"
    ),
    "FM-DAT-58": Code(
        DATA,
        "segments of different classes overlap",
        "map all but one of them to 0 in label_map of fedmed.yaml, or export them without overlap",
    ),
    "FM-DAT-59": Code(
        DATA,
        "the tag SpacingBetweenSlices disagrees with the positions of the slices",
        "nothing, where the distance by the positions is right; else export the series again",
    ),
    "FM-DAT-60": Code(
        DATA,
        "an image has text burned into its pixels",
        "look at the image: a network may learn the text, and it may name the patient",
    ),
    "FM-DAT-61": Code(
        DATA,
        "an image has overlays, which are not read",
        "nothing, unless the overlay is the label: then export it as a DICOM segmentation or a mask",
    ),
    "FM-DAT-62": Code(
        DATA,
        "a CT has no air at its border",
        "nothing, where the patient fills the image; else export the series again, with RescaleSlope and Intercept",
    ),
    "FM-DAT-63": Code(
        DATA,
        "the pixel spacing of a radiograph is uncertain",
        "nothing, where lengths in mm do not matter; else export it with a calibrated PixelSpacing",
    ),
    "FM-DAT-64": Code(
        RESOURCES,
        "the process that decodes compressed pixels cannot be started",
        "close other programs, or export uncompressed; why is in logs/local.log",
    ),
    "FM-DAT-65": Code(
        DATA,
        "a DICOM file holds no pixels",
        "move reports, plans and dose files out of the folder, or export the image again",
    ),
    "FM-DAT-66": Code(
        DATA,
        "the decoder of compressed pixels crashed, or took too long, over a frame",
        "export the image again, uncompressed if it happens once more",
    ),
    "FM-DAT-67": Code(
        DATA,
        "a label lies slightly off the grid of its image, within what the recipe accepts",
        "look at it; where it was drawn on another image, write the mask on the grid of this one",
    ),
    "FM-DAT-68": Code(
        DATA,
        "a mask holds no class at all",
        "look whether nothing is there to be outlined; if something is, add it or move the case out",
    ),
    "FM-DAT-69": Code(
        DATA, "a mask has a class of one single voxel", "look at it: it may be a slip of the mouse, to be erased"
    ),
    "FM-DAT-70": Code(
        DATA,
        "a class touches the border of the image",
        "look whether the image was cut off, and whether the mask belongs to it",
    ),
    "FM-DAT-71": Code(
        DATA,
        "a structure set has points or open lines where an outline is needed",
        "map their ROI to 0 in label_map of fedmed.yaml, or export closed contours",
    ),
    "FM-DAT-72": Code(
        CONFIG,
        "absent in fedmed.yaml does not fit the recipe or label_map",
        "list below absent, by the recipe's names, the classes that nobody labels here, and no others",
    ),
    "FM-DAT-73": Code(
        DATA,
        "a label has a class that fedmed.yaml says is never labelled here",
        "take the class off absent in fedmed.yaml, or map its value in label_map to what it means",
    ),
    "FM-DAT-74": Code(
        DATA,
        "a segment or ROI number of a DICOM mask has another name than in the other cases",
        "look at it: a number must mean the same in every file; else export the masks with fixed numbers, or as NIfTI",
    ),
    "FM-DAT-75": Code(
        DATA,
        "different patients have images that look nearly the same",
        "look whether it is one patient under two names; meanwhile they are kept in one fold and at one site",
    ),
    "FM-DAT-76": Code(
        DATA,
        "patients with nearly the same images lie in different folds",
        "if it is one patient, move one of the copies out of the data folder, then fedmed partition",
    ),
    "FM-DAT-77": Code(
        DATA,
        "most patients have images that look nearly the same, so that copies cannot be told from them",
        "look at some of the images; where one patient has several names, correct them in the data",
    ),
    "FM-DAT-78": Code(
        CONFIG,
        "dataset.json is not that of the Medical Segmentation Decathlon or of nnU-Net",
        "correct the file, or leave data.layout.dataset out of fedmed.yaml",
    ),
    "FM-DAT-79": Code(
        CONFIG,
        "dataset.json names a class or a channel otherwise than the recipe",
        "write label_map into fedmed.yaml, or correct data.layout.image; logs/local.log has both names",
    ),
    "FM-DAT-80": Code(
        DATA,
        "dataset.json lists an image for training that is not there",
        "copy the image into the data folder; its path is in logs/local.log",
    ),
    "FM-BOX-01": Code(
        DATA,
        "the table of boxes cannot be read",
        "save it as CSV in UTF-8, with the columns path, x, y, width, height and label in its first line",
    ),
    "FM-BOX-02": Code(
        DATA,
        "an image has no row in the table of boxes",
        "add a row for each box, or, without a finding, one row with these cells empty",
    ),
    "FM-BOX-03": Code(
        DATA,
        "an image that the table of boxes names is not there",
        "write paths relative to the data folder, as data.layout.image matches them, or add the image",
    ),
    "FM-BOX-04": Code(
        DATA,
        "a box reaches out of its image",
        "write boxes in pixels of the stored image: left edge, upper edge, width and height",
    ),
    "FM-BOX-05": Code(DATA, "a box has no area", "correct its width and height, or delete its row"),
    "FM-BOX-06": Code(
        DATA,
        "a box is incomplete or not given in numbers",
        "fill x, y, width, height and label (a point for fractions); leave all five empty where there is no finding",
    ),
    "FM-BOX-07": Code(DATA, "two rows contradict each other about an image with boxes", "leave the row that is right"),
    "FM-BOX-08": Code(
        DATA,
        "an image has a box, and the table of labels says that it has no finding",
        "look at the image, and correct the table that is wrong",
    ),
    "FM-BOX-09": Code(
        DATA,
        "the table of labels names a finding that has no box",
        "look at the image, and add the box or correct the label",
    ),
    "FM-BOX-10": Code(
        DATA,
        "an image with boxes is stored in another orientation than it is shown in",
        "save the image upright, without an EXIF orientation, and the boxes with it",
    ),
    # --- tables whose rows are cases ------------------------------------------------------------------------------
    "FM-TAB-01": Code(
        DATA,
        "the table of cases cannot be read",
        "save it as CSV in UTF-8, with the names of the columns in its first line or in data.layout.table.columns",
    ),
    "FM-TAB-02": Code(
        CONFIG,
        "the table of cases has not the columns that the recipe and fedmed.yaml name",
        "rename the column in the table, or correct data.layout.table in fedmed.yaml",
    ),
    "FM-TAB-03": Code(
        CONFIG,
        "the layout has images where the recipe needs a table, or the other way round",
        "write data.layout in fedmed.yaml as the recipe's task needs it, for example table: {file: patients.csv}",
    ),
    "FM-TAB-04": Code(
        CONFIG,
        "no row of the table of cases fits data.layout.table.where",
        "correct data.layout.table.where in fedmed.yaml",
    ),
    "FM-TAB-05": Code(
        DATA,
        "several rows of the table are one case",
        "leave one row a case, or name another column as data.layout.table.case",
    ),
    "FM-TAB-06": Code(
        DATA,
        "a cell is no number, and its column has numbers",
        "correct the cell, list what stands there as data.layout.table.missing, or set data.layout.table.decimal",
    ),
    "FM-TAB-07": Code(
        DATA,
        "a cell is none of the levels that the recipe names for its column",
        "write the recipe's levels into the column, or list what stands there as data.layout.table.missing",
    ),
    "FM-TAB-08": Code(DATA, "the time of a survival is no number of 0 or more", "correct the time, or leave it empty"),
    "FM-TAB-09": Code(
        DATA, "a row has gaps, and the recipe drops such rows", "fill the gaps, or use a recipe with another imputation"
    ),
    "FM-TAB-10": Code(
        DATA,
        "a column has no value in any training row, so nothing can fill its gaps",
        "add the column's values for some patients, or use a recipe without that column",
    ),
    "FM-TRN-01": Code(
        DATA,
        "the loss or a weight is not finite, or absurdly large; nothing was sealed",
        "lower client_lr or set grad_clip in the recipe, or look for a broken case",
    ),
    "FM-TRN-02": Code(
        CONFIG,
        "the network that was built has layers the recipe excludes",
        "use norm: instance or norm: group",
    ),
    "FM-TRN-03": Code(
        DATA,
        "a case has no reference segmentation, which training and evaluation need",
        "set data.layout.label in fedmed.yaml, then fedmed partition",
    ),
    "FM-TRN-04": Code(
        DATA,
        "there is no case to train on",
        "fedmed partition",
    ),
    "FM-TRN-05": Code(
        DATA,
        "the recipe keeps layers at each site, and this site has none that were trained in a round that counted",
        "take part in a round first: fedmed train-local",
    ),
    # --- what a site or a strategy remembers between rounds --------------------------------------------------------
    "FM-STA-01": Code(
        TRUST,
        "what this workspace remembered of a round is missing or damaged",
        "restore archive/ from a backup of this workspace; fedmed ledger verify says whether it is whole",
    ),
    "FM-STA-02": Code(
        PROTOCOL,
        "what is remembered belongs to another round, model or federation than the file that names it",
        "restore the whole workspace from one backup; without one it needs a new federation",
    ),
    "FM-STA-03": Code(
        PROTOCOL,
        "what is remembered does not have the tensors that the recipe needs",
        "restore the whole workspace from one backup; without one it needs a new federation",
    ),
    "FM-STA-04": Code(
        WAITING,
        "the model that says whether this site's last update counted has not arrived",
        "put that model into inbox/ and run the command again",
    ),
    # --- models that fit a site better than the common one ---------------------------------------------------------
    "FM-PER-01": Code(
        CONFIG,
        "a round of this site has no more steps than the head alone takes",
        "ask for a recipe with fewer head_steps or more local_epochs",
    ),
    "FM-PER-02": Code(
        DATA,
        "the personal model of this site, which its validation cases chose, is missing or damaged",
        "make it again with: fedmed train-local",
    ),
    # --- what the data check finds beside them: by themselves these exclude no case -------------------------------
    "FM-CHK-01": Code(
        DATA,
        "the data have a finding that the recipe's severities call an error",
        "look with fedmed check which; repair the cases, or move them out of the data folder",
    ),
    "FM-CHK-02": Code(
        DATA,
        "a fold that models are scored on has few cases of a class, so its figures will be uncertain",
        "add cases of that class, or raise the fold's share in the recipe",
    ),
    "FM-CHK-03": Code(
        DATA,
        "a class of the recipe occurs in no case here",
        "look whether the table of labels numbers classes as the recipe does; if so, write label_map into fedmed.yaml",
    ),
    "FM-CHK-04": Code(
        DATA,
        "images of one class are stored inverted more often than those of another: a model may learn the device",
        "look at the pictures of fedmed check --preview; take the images of both classes from the same devices",
    ),
    "FM-CHK-05": Code(
        DATA,
        "the voxel size of a case is far from the usual one of this folder",
        "look whether it is the series that was meant, and whether its spacing is true",
    ),
    "FM-CHK-06": Code(
        DATA,
        "radiographs do not all say which side or view they show",
        "nothing, where the task does not depend on it; else export them with Laterality and ViewPosition",
    ),
    "FM-CHK-07": Code(
        DATA,
        "nothing says who the patient of a case is, so it counts as a patient of its own",
        "name the patient: by {patient} in data.layout, by a column patient in the table of labels, or by PatientID",
    ),
    "FM-CHK-08": Code(DATA, "one patient has the very same images twice", "move one copy out of the data folder"),
    "FM-CHK-09": Code(
        DATA,
        "two patients have the very same images: one may be trained on and the other tested",
        "find out whose images they are, and move the other copy out of the data folder",
    ),
    "FM-CHK-10": Code(
        DATA,
        "the CT numbers of a case lie far from the usual ones of this folder",
        "look whether it is a CT in Hounsfield units: a converter may have left the slope or intercept out",
    ),
    "FM-IDN-01": Code(
        DATA,
        "DICOM tags that identify patients hold values, as in any clinical export",
        "nothing leaves with them; give the folder to nobody, or de-identify a copy with your hospital's own tool",
    ),
    "FM-IDN-02": Code(
        DATA,
        "DICOM files hold private tags, whose meaning only their maker knows",
        "nothing leaves with them; give the folder to nobody, or have them removed in a copy",
    ),
    "FM-IDN-03": Code(
        DATA,
        "images may show text, and text in an image may name the patient and be learned",
        "look at the pictures of fedmed check --preview, and move out the images that show a name",
    ),
    "FM-IDN-04": Code(
        DATA,
        "names of files or folders hold the patient's name or id",
        "nothing leaves with them; show reports made with --show-ids to nobody outside",
    ),
    "FM-IDN-05": Code(
        DATA,
        "text stands beside the image in NIfTI headers or pictures",
        "nothing leaves with it; look at it before you give the files to anybody",
    ),
    "FM-IDN-06": Code(
        DATA,
        "a file that is to leave holds a word or pseudonym by which a patient could be recognised",
        "do not send it; logs/local.log says which: rename what is only called so, or tell the maintainers",
    ),
    "FM-IDN-07": Code(
        DATA,
        "logs/shareable.log holds a word by which a patient could be recognised",
        "do not show it to anybody; logs/local.log says which: tell the maintainers, without the word",
    ),
    # --- normalisation --------------------------------------------------------------------------------------------
    "FM-NRM-01": Code(
        DATA,
        "the fitted numbers that images are normalised by cannot be read",
        "restore state/preprocessing.json from a backup of this workspace",
    ),
    "FM-NRM-02": Code(
        DATA,
        "the recipe has images normalised by fitted numbers, and there are none here",
        "have them fitted first: fedmed train-local",
    ),
    "FM-NRM-03": Code(
        DATA,
        "a channel has no grey values to normalise by, or none that can be told in a file",
        "look at the images of that channel: fedmed partition, and logs/local.log",
    ),
    "FM-NRM-04": Code(
        PROTOCOL,
        "no common spacing can be found: most hospitals have too few cases of one to tell it, or it is above 20 mm",
        "give data.spacing in the recipe, and found a new federation with it",
    ),
    "FM-NRM-05": Code(
        TRUST,
        "a second version of the federation changes more than the numbers fitted on all sites",
        "tell the coordinator over the phone what is named; what changes needs a new federation",
    ),
    "FM-NRM-06": Code(
        PROTOCOL,
        "an update was made with other fitted numbers than the federation's",
        "ask the site to train again with the federation's: fedmed train-local --again",
    ),
    "FM-NRM-07": Code(
        PROTOCOL,
        "a fingerprint does not fit the recipe or the federation's limits",
        "ask the site for a corrected one: fedmed train-local --again",
    ),
    "FM-NRM-08": Code(
        PROTOCOL,
        "the initial weights that start keeps until the fingerprints are in are missing or damaged",
        "fedmed start",
    ),
    # --- the cache of prepared cases: lines of the log, a round goes on --------------------------------------------
    "FM-CAC-01": Code(
        DATA, "a cached case is damaged and is prepared again", "nothing; if it comes back, have the disk checked"
    ),
    "FM-CAC-02": Code(
        RESOURCES,
        "the cases of a round do not all fit into the cache, so some are prepared every time",
        "raise cache_gib in fedmed.yaml, if the disk has room",
    ),
    "FM-CAC-03": Code(
        RESOURCES,
        "the cache cannot be written to, so cases are prepared every time",
        "free some space on the workspace's disk, or check the permissions of cache/",
    ),
    # --- resources ------------------------------------------------------------------------------------------------
    "FM-RES-01": Code(RESOURCES, "the disk is full", "free some space and run the command again"),
    "FM-RES-02": Code(
        RESOURCES, "the disk refused a write", "check the folder's permissions and run the command again"
    ),
    "FM-RES-03": Code(
        RESOURCES, "the device asked for is not there", "set device: auto in fedmed.yaml, or --device cpu"
    ),
    "FM-RES-04": Code(
        RESOURCES,
        "the device ran out of memory",
        "use --device cpu, or a smaller window_batch or batch_size in the recipe",
    ),
    "FM-RES-05": Code(
        RESOURCES, "the inbox folder is not there", "mount or make the folder that fedmed.yaml names as inbox"
    ),
    "FM-RES-06": Code(
        RESOURCES,
        "another computer has this workspace open, or did when it was copied or went away",
        "keep a workspace on a local disk of one computer; if the other one is gone, delete state/lock.json here",
    ),
    # --- nothing to do yet ----------------------------------------------------------------------------------------
    "FM-WAI-01": Code(
        WAITING,
        "another fedmed command works in this workspace",
        "wait until it ends and run the command again",
    ),
    "FM-WAI-02": Code(
        WAITING,
        "the file that is needed has not arrived",
        "put the file into inbox/ and run the command again",
    ),
    "FM-WAI-03": Code(
        WAITING,
        "the round waits for sites",
        "wait, or close the round without them: fedmed aggregate --close",
    ),
    "FM-WAI-04": Code(WAITING, "the file is incomplete", "copy the file again"),
    "FM-WAI-05": Code(WAITING, "the file is early", "it is kept and used when its time comes"),
}
