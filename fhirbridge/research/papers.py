"""What lies beside the tables for people: README, CITATION, and texts of JSON."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fhirbridge.consent import DENIALS
from fhirbridge.research.columns import Column
from fhirbridge.research.deidentify.kanonymity import kanonymity
from fhirbridge.research.deidentify.profile import Profile
from fhirbridge.research.manifest import MEANINGS
from fhirbridge.research.permission import REASONS
from fhirbridge.research.sdtm import DOMAINS
from fhirbridge.research.tables import TABLES
from fhirbridge.research.views import view_definitions

_NOTICE = (
    "42 CFR part 2 prohibits unauthorized use or disclosure of substance use disorder records; it applies to whatever"
    " in here comes from such records."
)


@dataclass(frozen=True, slots=True)
class Paper:
    """How a dataset is to be cited: its title, its authors, under which licence it is given."""

    title: str = ""
    authors: tuple[str, ...] = ()
    licence: str = ""


def readme(paper: Paper, project: str, version: str, profile: Profile, rows: Mapping[str, int]) -> str:
    """``README.md``: what is in the folder, how to open it, what was done to the data."""
    listed = "\n".join(f"| `{name}` | {TABLES[name].meaning} | {count} |" for name, count in rows.items())
    return f"""# {paper.title or project}, {version}

{profile.title}. Made by fhirbridge from FHIR resources; only what the consents of the patients permit for this study is
in it. `exclusions.csv` says how much was left out, and why.

| table | a row is | rows |
| --- | --- | --- |
{listed}

- `*.parquet`: the tables. `dictionary.csv` and `dictionary.json` tell every column: meaning, unit, words, source.
- `dataset.duckdb`: the same tables in one file. `duckdb -readonly dataset.duckdb`
- `sdtm/`: {", ".join(domain.name for domain in DOMAINS)} in the names of CDISC SDTM; SDTM-like, not a submission.
- `views/`: SQL-on-FHIR ViewDefinitions that give these tables out of de-identified resources.
- `manifest.json`: how it was made, counts, hashes of files and of rows; `fhirbridge dataset check` compares.
- `diff.json`, from the second version on: which rows came, changed and went.

Names are pseudonyms of this project alone. Spans of time are exact. A moment is in UTC and, unless the profile keeps
dates, moved by one span for each patient: it says nothing about the calendar. Numbers of fewer than five patients are
not told.

When a newer version exists, use that: somebody may have withdrawn. {_NOTICE}
"""


def citation(paper: Paper, project: str, version: str, at: dt.datetime) -> str:
    """``CITATION.cff`` (format 1.2.0)."""
    authors = [f"  - name: {json.dumps(name, ensure_ascii=False)}" for name in paper.authors or ("The investigators",)]
    lines = [
        "cff-version: 1.2.0",
        "message: If you use this dataset, please cite it as below.",
        "type: dataset",
        f"title: {json.dumps(paper.title or project, ensure_ascii=False)}",
        f"version: {json.dumps(version)}",
        f"date-released: {json.dumps(at.date().isoformat())}",
        "authors:",
        *authors,
        *([f"license: {json.dumps(paper.licence)}"] if paper.licence else []),
    ]
    return "\n".join(lines) + "\n"


def words(paper: Paper, project: str, profile: Profile) -> Iterator[str]:
    """Every text that the program itself puts into a dataset: no word of it is a find of the leak check."""
    yield readme(paper, project, "", profile, dict.fromkeys(TABLES, 0))
    yield citation(paper, project, "", dt.datetime(1, 1, 1, tzinfo=dt.UTC))
    yield as_json(view_definitions())
    yield from (*DENIALS.values(), *REASONS.values(), *MEANINGS.values())
    for shape in TABLES.values():
        yield from (shape.name, shape.meaning)
        for one in shape.columns:
            yield from (one.name, one.meaning, one.class_, *one.source, *(one.vocabulary or ()))
    for domain in DOMAINS:
        for variable in domain.variables:
            yield from (variable.name, variable.label, *(variable.vocabulary or ()))
    yield from _OWN


# Words of the files themselves: of the README, the manifest, the views, the formats.
_OWN = (
    "README dataset tables column meaning unit words source class computed key quasi identifier exclusions stage",
    "reason",
    "manifest format project version previous content hash made with fhirbridge mapping python pyarrow duckdb profile",
    "name title label digest consent act at clinics own snapshot source resources counts patients records other",
    "skipped",
    "set aside excluded tables rows left out residue anonymity groups below reproduce files sha256 bytes changes",
    "ARROW schema PARQUET parquet cpp arrow zstd duckdb DUCKDB string double timestamp dictionary boolean",
    "investigators please cite below research study released type authors license message",
    "ViewDefinition resource select column path forEach forEachOrNull unionAll where constant status active",
)


def as_json(tree: Any) -> str:
    """A tree as JSON that people can read."""
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def anonymity(path: Path, columns: Sequence[Column]) -> dict[str, Any]:
    """The k-anonymity of the table of patients over its quasi-identifiers."""
    import pyarrow.parquet as pq

    quasi = [one.name for one in columns if one.quasi]
    found = asdict(kanonymity(pq.read_table(path), quasi))
    return {**found, "columns": quasi, "below": {str(few): count for few, count in found["below"].items()}}
