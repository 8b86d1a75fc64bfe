"""Patients, staff and how records point to them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, TypedDict

from fhirbridge.synth.chance import Chance

FAMILIES = (
    "Smith", "Johnson", "Garcia", "Nguyễn", "O'Brien", "Müller", "van der Berg-Østergård", "Kowalska", "Ægisdóttir",
    "Okonkwo", "de la Cruz", "St. John", "Null", "O'Brien; DROP TABLE patients;--", "李", "D’Angelo", "True", "Ng",
    "Петрова", "الحسن", "Åkesson", "Brown", "Williams", "Lee",
)  # fmt: skip
GIVENS = (
    "Ana", "Zoë", "James", "Mary-Lou", "José María", "Nguyệt", "小龍", "Ólafur", "Fatima", "Jean-Luc", "X Æ", "Olga",
    "Robert", "Siobhán", "Li", "Emma", "Noah", "Priya", "Renée", "Kwame",
)  # fmt: skip
# Free text where it belongs: who wrote a note when there is only a name.
NOTE_AUTHORS = ("O'Brien; DROP TABLE notes;--", "Ægir Ólafsson, RN", "李 護理師", "night shift", "Renée “Ren” D’Angelo")
_SEXES = (("female", 0.58), ("male", 0.39), ("other", 0.02), ("unknown", 0.01))
_OLDEST, _YOUNGEST = dt.date(1945, 1, 1).toordinal(), dt.date(2006, 12, 31).toordinal()


class Demographics(TypedDict):
    """A patient as a registration desk knows one, in no format of anybody's."""

    id: str
    identifier: dict[str, str]
    family: str
    given: str
    birth_date: str
    sex: str


@dataclass(frozen=True, slots=True)
class Directory:
    """Makes references by identifier in the systems that the clinic at ``domain`` owns (specification §9.1, §9.4)."""

    domain: str

    def identifier(self, system: str, value: str) -> dict[str, str]:
        """An identifier in the clinic's ``system``, such as ``treatment-session``."""
        return {"system": f"https://{self.domain}/sid/{system}", "value": value}

    def ref(self, kind: str, system: str, value: str) -> dict[str, Any]:
        """A pointer to the ``kind`` (a FHIR type) that the clinic calls ``value`` in ``system``."""
        return {"type": kind, "identifier": self.identifier(system, value)}

    def patient(self, index: int) -> dict[str, Any]:
        """The patient with this index, counted from 0."""
        return self.ref("Patient", "patient", patient_number(index))

    def staff(self, number: str) -> dict[str, Any]:
        """A nurse (``RN-7``), physician (``MD-2``) or therapist (``TH-1``)."""
        return self.ref("Practitioner", "practitioner", number)


def patient_number(index: int) -> str:
    """The clinic's number for the patient with this index: ``P-000001`` for index 0."""
    return f"P-{index + 1:06d}"


def demographics(directory: Directory, seed: int, index: int) -> Demographics:
    """Name, birth date and sex of one patient; some names are odd on purpose."""
    chance = Chance(seed, index, "person")
    number = patient_number(index)
    return {
        "id": number,
        "identifier": directory.identifier("patient", number),
        "family": chance.pick(FAMILIES),
        "given": chance.pick(GIVENS),
        "birth_date": dt.date.fromordinal(chance.between(_OLDEST, _YOUNGEST)).isoformat(),
        "sex": chance.weighted(_SEXES),
    }
