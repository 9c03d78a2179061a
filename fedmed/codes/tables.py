"""Tables whose rows are cases."""

from __future__ import annotations

from fedmed.codes.code import CONFIG, DATA, Code

CODES: dict[str, Code] = {
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
}
