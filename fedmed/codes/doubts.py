"""What the data check finds beside them: by themselves these exclude no case."""

from __future__ import annotations

from fedmed.codes.code import DATA, Code

CODES: dict[str, Code] = {
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
}
