"""Who a patient is, as far as a profile tells: year of birth, age, sex, the first digits of the postcode.

Ages are differences of calendar years, so that together with the year of birth they tell no more than that. Whether
somebody is over the highest age that is told is decided for the last moment that the source knows of, and whole: the
age, the band and the year of birth give way together (45 CFR 164.514(b)(2)(i)(C)).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from fhirbridge.fhir.json import Tree
from fhirbridge.research.deidentify.person import Person
from fhirbridge.research.deidentify.profile import Ages, Postcode, Profile

SEXES = ("female", "male", "other", "unknown")
_BANDS = ((0, 17), (18, 24), *((start, start + 9) for start in range(25, 85, 10)), (85, 89))
_US_POSTCODE = re.compile(r"([0-9]{5})(?:-?[0-9]{4})?")
_US = frozenset({"US", "USA"})
_OLDEST_EVER = 130


@dataclass(frozen=True, slots=True)
class DemographicRow:
    """One patient. ``age`` is at the first dose, in years; ``None`` with the band ``90+`` where it is not told.

    ``band`` is one of :func:`bands`; ``postcode`` has as many digits as the profile tells, ``000`` where the area has
    few people; ``deceased`` says whether the patient is known to have died.
    """

    patient: str
    sex: str | None = None
    birth_year: int | None = None
    age: int | None = None
    band: str | None = None
    postcode: str | None = None
    deceased: bool = False

    def __repr__(self) -> str:
        return "DemographicRow(…)"


def bands(ages: Ages) -> tuple[str, ...]:
    """Every age band that a profile with these rules can tell, youngest first."""
    oldest = ages.oldest
    told = [f"{low}-{min(high, oldest) if oldest else high}" for low, high in _BANDS if not oldest or low <= oldest]
    return (*told, f"{oldest + 1 if oldest else 90}+")


def demographics(patient: Tree, person: Person, profile: Profile) -> DemographicRow:
    """The row of a FHIR Patient, or of an empty tree and what ``person`` knows. Nothing in it makes this raise."""
    birth = _text(patient, "birthDate") or person.birth_date
    death = _text(patient, "deceasedDateTime")
    year, age, band = _age(birth, death, person, profile.ages)
    sex = _text(patient, "gender") or person.sex
    return DemographicRow(
        person.pseudonym,
        sex if sex in SEXES else None,
        year if profile.ages.birth_year else None,
        age,
        band,
        postcode(address_in_use(patient) or person.postcode, profile.postcode),
        patient.get("deceasedBoolean") is True or death is not None,
    )


def is_over(birth: str | None, person: Person, ages: Ages, *others: str | None) -> bool:
    """Whether the person is, at the last that is known of them, over the highest age that is told.

    Decided by calendar years: somebody who turns 90 in that year counts as 90. Without any moment it is not known, and
    everybody counts as over.
    """
    born = _year(birth)
    if not ages.oldest or born is None:
        return False
    known = [moment.year for moment in (person.first_dose, person.until) if moment is not None]
    known += [year for one in others if (year := _year(one)) is not None]
    return not known or max(known) - born > ages.oldest


def _age(birth: str | None, death: str | None, person: Person, ages: Ages) -> tuple[int | None, int | None, str | None]:
    born = _year(birth)
    if born is None:
        return None, None, None
    if is_over(birth, person, ages, death):
        return None, None, bands(ages)[-1]
    if person.first_dose is None:
        return born, None, None
    age = person.first_dose.year - born
    if not 0 <= age <= _OLDEST_EVER:
        return None, None, None
    return born, age, _band(age, ages)


def _band(age: int, ages: Ages) -> str:
    for text in bands(ages)[:-1]:
        if age <= int(text.partition("-")[2]):
            return text
    return bands(ages)[-1]


def postcode(text: str | None, rules: Postcode) -> str | None:
    """The digits of a US postcode that are told: three, with ``000`` for the areas of few people, or all five.

    A postcode of another country is told by no profile: the rule about three digits is about American ones.
    """
    found = _US_POSTCODE.fullmatch((text or "").strip())
    if found is None or rules.digits == 0:
        return None
    if found[1][:3] in rules.restricted:
        return "000"
    return found[1][: rules.digits]


def address_in_use(patient: Tree) -> str | None:
    """The postcode of the address in the United States that is in use: the first that is not marked as old."""
    addresses: Any = patient.get("address")
    for one in addresses if isinstance(addresses, list) else ():
        if isinstance(one, dict) and one.get("use") != "old" and one.get("country", "US") in _US:
            found = _text(one, "postalCode")
            if found is not None:
                return found
    return None


def _text(tree: Tree, name: str) -> str | None:
    value = tree.get(name)
    return value if isinstance(value, str) else None


def _year(text: str | None) -> int | None:
    if text is None or re.match(r"[12][0-9]{3}(?:-|\Z)", text) is None:
        return None
    year = int(text[:4])
    return year if year >= dt.MINYEAR else None
