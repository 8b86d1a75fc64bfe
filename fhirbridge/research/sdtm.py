"""The tables once more in the names of CDISC's SDTM: DM, EX, VS, AE, QS.

SDTM-like, not a submission: variables have their names and order, and where SDTM has a short code list (sex, severity,
yes and no) its words are used; there is no controlled terminology beyond that, no define.xml and no trial design.
Each variable is one expression over one of the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fhirbridge.research.columns import Class, Column
from fhirbridge.research.tables import TABLES

_YES_NO = ("Y", "N")
# Code and name of the tests, by what the table calls them.
TESTS: dict[str, tuple[str, str]] = {
    "systolic": ("SYSBP", "Systolic Blood Pressure"),
    "diastolic": ("DIABP", "Diastolic Blood Pressure"),
    "mean": ("MAP", "Mean Arterial Pressure"),
    "heart_rate": ("HR", "Heart Rate"),
    "respiratory_rate": ("RESP", "Respiratory Rate"),
    "oxygen_saturation": ("OXYSAT", "Oxygen Saturation"),
    "temperature": ("TEMP", "Temperature"),
    "etco2": ("ETCO2", "End Tidal Carbon Dioxide"),
    "etco2_fraction": ("FETCO2", "End Tidal Carbon Dioxide Fraction"),
    "weight": ("WEIGHT", "Weight"),
    "height": ("HEIGHT", "Height"),
    "bmi": ("BMI", "Body Mass Index"),
}
_SEX = {"female": "F", "male": "M", "other": "UNDIFFERENTIATED", "unknown": "U"}
_RELATED = {
    "not_related": "NOT RELATED", "unlikely_related": "UNLIKELY RELATED", "possibly_related": "POSSIBLY RELATED",
    "related": "RELATED",
}  # fmt: skip
_OUTCOME = {
    "resolved": "RECOVERED/RESOLVED", "recovering": "RECOVERING/RESOLVING", "ongoing": "NOT RECOVERED/NOT RESOLVED",
    "resolved_with_sequelae": "RECOVERED/RESOLVED WITH SEQUELAE", "fatal": "FATAL", "unknown": "UNKNOWN",
}  # fmt: skip
_TAKEN = {
    "dose_not_changed": "DOSE NOT CHANGED", "dose_reduced": "DOSE REDUCED", "dose_increased": "DOSE INCREASED",
    "drug_interrupted": "DRUG INTERRUPTED", "drug_withdrawn": "DRUG WITHDRAWN", "not_applicable": "NOT APPLICABLE",
    "unknown": "UNKNOWN",
}  # fmt: skip
_SERIOUS = (
    ("AESDTH", "death"), ("AESLIFE", "life_threatening"), ("AESHOSP", "hospitalization"), ("AESDISAB", "disability"),
    ("AESCONG", "birth_defect"), ("AESMIE", "other_important"), ("AESINTV", "intervention_required"),
)  # fmt: skip


class Variable(NamedTuple):
    """One variable: its name, its label, an SQL expression over a row of the table, what may stand in it.

    ``needs`` is a column of the table without which there is no such variable.
    """

    name: str
    label: str
    expression: str
    class_: Class
    vocabulary: tuple[str, ...] | None = None
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Domain:
    """One domain: the table it is made of, what is joined to it, its variables, and the order within a patient."""

    name: str
    table: str
    variables: tuple[Variable, ...]
    order: str
    where: str = "true"
    joined: str = ""

    def columns(self, tables: Mapping[str, Sequence[Column]]) -> tuple[Column, ...]:
        """The variables as columns, as far as the dataset has what they are made of."""
        return tuple(
            Column(one.name, one.label, one.class_, (self.table,), vocabulary=one.vocabulary)
            for one in (*_head(self.name), *self.variables)
            if not one.needs or any(column.name == one.needs for column in tables[self.table])
        )

    def query(self, study: str, tables: Mapping[str, Sequence[Column]], relations: Mapping[str, str]) -> str:
        """The SQL that makes the domain, its rows in order; ``relations`` are the tables as DuckDB reads them."""
        kept = {one.name for one in self.columns(tables)}
        head = _head(self.name)
        expressions = {one.name: one.expression for one in (*head, *self.variables)}
        expressions["STUDYID"] = "'" + study.replace("'", "''") + "'"
        chosen = ", ".join(f'{text} as "{name}"' for name, text in expressions.items() if name in kept)
        joined = self.joined.format(**relations)
        return f"""select {chosen.format(order=self.order)} from {relations[self.table]} as t {joined}
            where {self.where} order by t.patient, {self.order}"""  # noqa: S608


def _head(domain: str) -> tuple[Variable, ...]:
    found = (
        Variable("STUDYID", "Study Identifier", "", "code"),
        Variable("DOMAIN", "Domain Abbreviation", f"'{domain}'", "code", (domain,)),
        Variable("USUBJID", "Unique Subject Identifier", "t.patient", "pseudonym"),
    )
    if domain == "DM":
        return found
    number = "cast(row_number() over (partition by t.patient order by {order}) as integer)"
    return (*found, Variable(f"{domain}SEQ", "Sequence Number", number, "integer"))


def _words(name: str, label: str, column: str, words: Mapping[str, str]) -> Variable:
    cases = " ".join(f"when '{word}' then '{said}'" for word, said in words.items())
    return Variable(name, label, f"case {column} {cases} end", "code", tuple(dict.fromkeys(words.values())))


def _flag(name: str, label: str, column: str) -> Variable:
    return Variable(name, label, f"case when {column} then 'Y' when not {column} then 'N' end", "code", _YES_NO)


def _upper(name: str, label: str, table: str, column: str) -> Variable:
    words = TABLES[table].column(column).vocabulary or ()
    return _words(name, label, f"t.{column}", {word: word.replace("_", " ").upper() for word in words})


def _copied(name: str, label: str, table: str, column: str) -> Variable:
    declared = TABLES[table].column(column)
    return Variable(name, label, f"t.{column}", declared.class_, declared.vocabulary, column)


def _day(name: str, label: str, column: str = "t.days_from_first_dose") -> Variable:
    text = f"cast({column} + case when {column} >= 0 then 1 else 0 end as integer)"
    return Variable(name, label, text, "integer")


def _elapsed(name: str, column: str) -> tuple[Variable, ...]:
    return (
        Variable(f"{name}TPTNUM", "Planned Time Point Number (minutes from dose)", f"t.{column}", "offset"),
        Variable(f"{name}TPTREF", "Time Point Reference", f"case when t.{column} is not null then 'DOSE' end", "code",
                 ("DOSE",)),
    )  # fmt: skip


_TEST = "case when t.name = 'value' then cast(t.sign as varchar) else cast(t.name as varchar) end"
_VISIT = Variable("VISITNUM", "Visit Number", "s.session_number", "integer")
_SESSIONS = "left join {sessions} as s on t.session = s.session"

DOMAINS: tuple[Domain, ...] = (
    Domain(
        "DM",
        "patients",
        (
            _words("SEX", "Sex", "t.sex", _SEX),
            _copied("AGE", "Age", "patients", "age"),
            Variable("AGEU", "Age Units", "case when t.age is not null then 'YEARS' end", "code", ("YEARS",)),
            _flag("DTHFL", "Subject Death Flag", "t.deceased"),
        ),
        "t.patient",
    ),
    Domain(
        "EX",
        "administrations",
        (
            Variable("EXLNKID", "Link ID (the session)", "t.session", "pseudonym"),
            _upper("EXTRT", "Name of Treatment", "administrations", "medication"),
            _copied("EXDOSE", "Dose", "administrations", "dose"),
            Variable("EXDOSU", "Dose Units", "case when t.dose is not null then 'mg' end", "code", ("mg",)),
            _upper("EXROUTE", "Route of Administration", "administrations", "route"),
            _VISIT,
            Variable("EXSTDTC", "Start Date/Time of Treatment", "t.started_at", "shifted-time", needs="started_at"),
            _day("EXSTDY", "Study Day of Start of Treatment", "s.days_from_first_dose"),
        ),
        "s.days_from_first_dose, t.minutes_from_first_dose, t.session, t.number",
        joined=_SESSIONS,
    ),
    Domain(
        "VS",
        "vitals",
        (
            Variable("VSSPID", "Sponsor-Defined Identifier", "t.vital", "pseudonym"),
            _words("VSTESTCD", "Vital Signs Test Short Name", _TEST, {k: v[0] for k, v in TESTS.items()}),
            _words("VSTEST", "Vital Signs Test Name", _TEST, {k: v[1] for k, v in TESTS.items()}),
            _upper("VSPOS", "Vital Signs Position of Subject", "vitals", "position"),
            Variable("VSORRES", "Result or Finding in Original Units", "t.value", "number"),
            _copied("VSORRESU", "Original Units", "vitals", "unit"),
            Variable("VSSTRESN", "Numeric Result/Finding in Standard Units", "t.standard_value", "number"),
            _copied("VSSTRESU", "Standard Units", "vitals", "standard_unit"),
            Variable("VSSTAT", "Completion Status", "case when t.value is null then 'NOT DONE' end", "code",
                     ("NOT DONE",)),
            _upper("VSREASND", "Reason Not Done", "vitals", "absent_reason"),
            _VISIT,
            Variable("VSDTC", "Date/Time of Measurements", "t.measured_at", "shifted-time", needs="measured_at"),
            _day("VSDY", "Study Day of Vital Signs"),
            _copied("VSTPT", "Planned Time Point Name", "vitals", "timepoint"),
            *_elapsed("VS", "planned_minute"),
        ),
        "t.minutes_from_first_dose, t.vital, t.name",
        f"{_TEST} in ({', '.join(repr(name) for name in TESTS)})",
        _SESSIONS,
    ),
    Domain(
        "AE",
        "adverse_events",
        (
            Variable("AESPID", "Sponsor-Defined Identifier", "t.event", "pseudonym"),
            _upper("AETERM", "Reported Term for the Adverse Event (the clinic's word)", "adverse_events", "term"),
            _copied("AELLTCD", "Lowest Level Term Code", "adverse_events", "meddra_llt"),
            _copied("AEPTCD", "Preferred Term Code", "adverse_events", "meddra_pt"),
            _copied("AESOCCD", "System Organ Class Code", "adverse_events", "meddra_soc"),
            _upper("AESEV", "Severity/Intensity", "adverse_events", "severity"),
            _flag("AESER", "Serious Event", "t.serious"),
            _words("AEACN", "Action Taken with Study Treatment", "t.action_taken", _TAKEN),
            _words("AEREL", "Causality", "t.relatedness", _RELATED),
            _words("AEOUT", "Outcome of Adverse Event", "t.outcome", _OUTCOME),
            *(
                _flag(name, f"Serious: {criterion.replace('_', ' ')}", f"t.serious_{criterion}")
                for name, criterion in _SERIOUS
            ),
            Variable("AETOXGR", "Standard Toxicity Grade", "t.grade", "integer"),
            Variable("AESTDTC", "Start Date/Time of Adverse Event", "t.onset", "shifted-time", needs="onset"),
            Variable("AEENDTC", "End Date/Time of Adverse Event", "t.resolved_at", "shifted-time", needs="resolved_at"),
            _day("AESTDY", "Study Day of Start of Adverse Event"),
        ),
        "t.minutes_from_first_dose, t.event",
    ),
    Domain(
        "QS",
        "assessments",
        (
            Variable("QSSPID", "Sponsor-Defined Identifier", "t.assessment", "pseudonym"),
            _copied("QSCAT", "Category of Question", "assessments", "scale"),
            Variable("QSTESTCD", "Question Short Name: TOTAL, or the item", "coalesce(i.item, 'TOTAL')", "code"),
            Variable("QSORRES", "Finding in Original Units", "case when i.item is null then t.score else i.value end",
                     "number"),
            Variable("QSSTRESN", "Numeric Finding in Standard Units",
                     "case when i.item is null then t.score else i.value end", "number"),
            _upper("QSREASND", "Reason Not Done", "assessments", "absent_reason"),
            _VISIT,
            Variable("QSDTC", "Date/Time of Finding", "t.measured_at", "shifted-time", needs="measured_at"),
            _day("QSDY", "Study Day of Finding"),
            _copied("QSTPT", "Planned Time Point Name", "assessments", "timepoint"),
            *_elapsed("QS", "planned_minute"),
        ),
        "t.minutes_from_first_dose, t.assessment, i.item",
        joined="""join (select assessment, item, value from {assessment_items}
            union all select assessment, null, null from {assessments}) as i on t.assessment = i.assessment
            left join {sessions} as s on t.session = s.session""",
    ),
)  # fmt: skip
