"""Does the systolic pressure at 40 minutes predict dissociation, and who withdrew?   python question.py DATASET"""

import csv
import sys
from pathlib import Path

import duckdb

FOLDER = Path(sys.argv[1])
AT_40_MINUTES = """
    select regr_slope(dissociation, pressure), corr(dissociation, pressure), count(*) from (
        select score - avg(score) over (partition by modality) as dissociation,
            systolic - avg(systolic) over (partition by modality) as pressure
        from sessions
        join (select session, standard_value as systolic from vitals
              where name = 'systolic' and timepoint = 'post_40min' and value is not null) using (session)
        join (select session, score from assessments where scale = 'cadss' and timepoint = 'post_40min') using (session)
        where score is not null)"""
STATUS = "select status, count(*), count(distinct patient) from sessions group by status order by status"
with duckdb.connect(str(FOLDER / "dataset.duckdb"), read_only=True) as database:
    ((slope, r, n),) = database.execute(AT_40_MINUTES).fetchall()
    print(f"{slope:+.4f} points of CADSS for each mm[Hg] within a modality; r = {r:.2f}, {n} sessions")
    for status, sessions, patients in database.execute(STATUS).fetchall():
        print(f"{status}: {sessions} sessions of {patients} patients")
with (FOLDER / "exclusions.csv").open(encoding="utf-8", newline="") as file:
    for row in csv.DictReader(file):
        if row["reason"] in ("withdrawn", "refused"):
            print(f"{row['reason']}: {row['patients']} patients are not in the dataset, {row['meaning']}")
