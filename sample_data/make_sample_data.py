"""Make the sample data of fedmed: three hospitals that never existed, with four tasks each.

The same seed gives the same bytes. Each patient has a random stream of their own, so that one can be made
alone (`--only mr-tumour/st-olav/p001`, `--only xray-fracture/st-olav/p001`); of tables a hospital (`--only
table-heart/st-olav`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mr_hospitals
import table_hospitals
import xray_files
import xray_hospitals

SEED = 2026


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        help="one patient, as TASK/HOSPITAL/p001, or a table, as TASK/HOSPITAL; repeatable",
    )
    args = parser.parse_args()
    for task, hospitals, write_patient in (
        (mr_hospitals.TASK, mr_hospitals.HOSPITALS, mr_hospitals.write_patient),
        (xray_hospitals.TASK, xray_hospitals.HOSPITALS, xray_files.write_patient),
    ):
        for hospital in hospitals:
            for number in range(1, hospital.patients + 1):
                if not args.only or f"{task}/{hospital.name}/p{number:03d}" in args.only:
                    write_patient(args.out, hospital, number, args.seed)
    for task, write_table in table_hospitals.TASKS.items():
        for table_hospital in table_hospitals.HOSPITALS:
            if not args.only or f"{task}/{table_hospital.name}" in args.only:
                write_table(args.out, table_hospital, args.seed)


if __name__ == "__main__":
    main()
