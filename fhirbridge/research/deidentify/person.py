"""What is known about one person before anything of them is de-identified."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """One patient, as the first pass over a source found them; never written anywhere.

    ``pseudonym`` and ``shift`` come from the project's key. ``first_dose`` is the moment from which offsets count, with
    the offset from UTC that the clinic had then; docs/deidentify.md says what is told without one. ``until`` is the
    last moment that the source tells of the person: whether somebody is over 89 is decided for then. ``birth_date`` is
    a FHIR date, ``zone`` a name of the IANA zone database.
    """

    pseudonym: str
    shift: dt.timedelta
    first_dose: dt.datetime | None = None
    birth_date: str | None = None
    sex: str | None = None
    postcode: str | None = None
    zone: str | None = None
    until: dt.datetime | None = None

    def __repr__(self) -> str:
        return "Person(…)"
