"""A patient's fingerprint: the keyed hash of birth date, family name and first given name, by which a chart is known.

It tells whether two charts speak of one person without saying who that is. Names are compared by their letters alone:
``Müller-Lüdenscheidt`` and ``MULLER LUDENSCHEIDT`` are one.
"""

from __future__ import annotations

import datetime
import hmac
import re
import unicodedata
from collections.abc import Iterator

from fhirbridge.fhir.json import Json, Tree, canonical

FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# Names that somebody was given in passing, or to hide them.
_NOT_A_NAME = frozenset({"temp", "anonymous", "nickname"})


def fingerprint(key: bytes, birth_date: Json, family: Json, given: Json) -> str | None:
    """The fingerprint, 32 hex digits; ``None`` where one of the three is missing or no whole date, no name.

    ``key`` is the clinic's id key. ``given`` is the first given name, as a text or the first of a list.
    """
    first = next(iter(given), None) if isinstance(given, list) else given
    day, names = _day(birth_date), (_letters(family), _letters(first))
    if day is None or not all(names):
        return None
    return hmac.new(key, b"fingerprint|" + canonical([day, *names]), "sha256").hexdigest()[:32]


def fingerprints_of(patient: Tree, key: bytes) -> frozenset[str]:
    """The fingerprints of a FHIR Patient: one for each name, so that a new name makes no stranger of somebody."""
    listed = patient.get("name")
    born = patient.get("birthDate")
    found = (
        fingerprint(key, born, name.get("family"), name.get("given"))
        for name in (listed if isinstance(listed, list) else ())
        if isinstance(name, dict) and name.get("use") not in _NOT_A_NAME
    )
    return frozenset(one for one in found if one is not None)


def _day(text: Json) -> str | None:
    if not isinstance(text, str) or _DATE.fullmatch(text.strip()) is None:
        return None
    try:
        return datetime.date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        return None


def _letters(text: Json) -> str:
    return "".join(_spelt(text)) if isinstance(text, str) else ""


def _spelt(text: str) -> Iterator[str]:
    # Folding case can bring composed letters back, hence twice.
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return (character for character in folded if unicodedata.category(character).startswith("L"))
