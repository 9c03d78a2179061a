"""Data and training."""

from __future__ import annotations

from fedmed.codes.code import CONFIG, DATA, RESOURCES, Code

_CASES = "restore cases.json from a backup; without one, move it away and fedmed partition draws the folds anew"
CODES: dict[str, Code] = {
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
}
