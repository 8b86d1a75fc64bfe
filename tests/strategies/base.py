"""Strategies for the parts that all records share. Everything is a JSON tree, as it stands on an NDJSON line.

``optional`` leaves a member out or generates it, so that each field of a model appears both ways; the laws check that a
strategy generates every field there is.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import Any

from hypothesis import strategies as st

from fhirbridge.records import Decimal

DOMAIN = "clinic.example"
Tree = dict[str, Any]

_ALPHABET = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
words = st.one_of(
    st.sampled_from(["nausea", "O'Brien; DROP TABLE", "Ünïcödé 💉", 'a<b>&"c"', "=1+1", "blood pressure increased"]),
    st.text(_ALPHABET, min_size=1, max_size=20).filter(
        lambda text: text.strip(" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0") != "" and not text.isspace()
    ),
)
codes = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,11}", fullmatch=True)
uris = codes.map(lambda code: f"https://example.org/{code}")
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9\-]{0,20}", fullmatch=True)
languages = st.sampled_from(["en", "en-US", "es", "de-CH"])
booleans = st.booleans()
counts = st.integers(1, 500)


def decimals(low: float, high: float, places: int = 2) -> st.SearchStrategy[Any]:
    """Numbers in a range by their text: integers, trailing zeros and exponents among them."""
    low, high = (decimal.Decimal(str(bound)) for bound in (low, high))  # type: ignore[assignment]
    plain = st.decimals(low, high, allow_nan=False, places=places).map(lambda value: Decimal(f"{value:f}"))
    whole = st.integers(math.ceil(low), math.floor(high))
    exact = st.decimals(low, high, allow_nan=False, places=6).map(lambda value: Decimal(f"{value:f}"))
    exponent = whole.filter(bool).map(lambda value: Decimal(f"{value}e0"))
    return st.one_of(whole, plain, exact, exponent)


_zones = st.sampled_from(["Z", "+00:00", "-05:00", "-04:00", "+05:30", "+14:00"])
_days = st.dates(dt.date(2024, 1, 1), dt.date(2027, 12, 31))
_times = st.times().map(lambda time: time.replace(microsecond=0).isoformat())
_fractions = st.sampled_from(["", ".1", ".120", ".123456789"])
instants = st.builds(lambda day, time, part, zone: f"{day}T{time}{part}{zone}", _days, _times, _fractions, _zones)
days = _days.map(str)
dates = st.one_of(days, days.map(lambda day: day[:7]), days.map(lambda day: day[:4]))
date_times = st.one_of(instants, dates)
day_times = st.one_of(instants, days)


def spans(times: st.SearchStrategy[str] = instants) -> st.SearchStrategy[tuple[str, str]]:
    """A start and an end that is not before it, as instants with the same offset."""
    return st.builds(
        lambda day, hours, one, two, part, zone: (
            f"{day}T{min(one, two)}{part}{zone}",
            f"{day + dt.timedelta(days=hours)}T{max(one, two)}{part}{zone}",
        ),
        _days,
        st.integers(0, 3),
        _times,
        _times,
        _fractions,
        _zones,
    )


def tree(
    required: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[Tree]:
    """An object with all required members and any of the optional ones."""
    return st.fixed_dictionaries(required, optional=optional)


def some(items: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[list[Any]]:
    """One or more items: an empty list and a missing one are the same to a record."""
    return st.lists(items, min_size=1, max_size=most)


codings = tree({"system": uris, "code": codes}, {"display": words, "version": words, "user_selected": booleans})
concepts = st.one_of(
    tree({"text": words}, {"codings": some(codings)}),
    tree({"codings": some(codings)}, {"text": words}),
)
coded_concepts = tree({"codings": some(codings)}, {"text": words})
periods = st.one_of(
    spans().map(lambda span: {"start": span[0], "end": span[1]}),
    date_times.map(lambda time: {"start": time}),
    date_times.map(lambda time: {"end": time}),
)
identifiers = tree(
    {"system": uris, "value": words},
    {"type": concepts, "use": st.sampled_from(["usual", "official", "temp", "secondary", "old"])},
)


def refs(*types: str) -> st.SearchStrategy[Tree]:
    """References to one of the types: by identifier, or, without one, by literal address or by display alone."""
    kinds = st.sampled_from(types)
    return st.one_of(
        tree({"type": kinds, "identifier": identifiers}, {"display": words}),
        st.builds(lambda kind, code: {"type": kind, "literal": f"{kind}/{code}"}, kinds, codes),
        tree({"type": kinds, "display": words}, {}),
    )


patients = st.builds(
    lambda code: {"type": "Patient", "identifier": {"system": f"https://{DOMAIN}/sid/patient", "value": code}}, codes
)
practitioners = refs("Practitioner", "PractitionerRole")
# R4 lets a practitioner sign a remark, but no practitioner role.
_authors = refs("Practitioner", "Patient", "RelatedPerson", "Organization")
notes = st.one_of(
    tree({"text": words}, {"author": _authors, "time": date_times}),
    tree({"text": words, "author_name": words}, {"time": date_times}),
)


def amounts(
    unit: str | st.SearchStrategy[str], low: float, high: float, *, comparator: bool = True
) -> st.SearchStrategy[Tree]:
    """A number in a range with its unit."""
    units = st.just(unit) if isinstance(unit, str) else unit
    comparators = {"comparator": st.sampled_from(["<", "<=", ">=", ">"])} if comparator else {}
    return tree({"value": decimals(low, high), "unit": units}, comparators)


offsets = amounts("min", -100, 600)
revisions = st.one_of(st.integers(0, 10_000), instants)
SENSITIVITIES = ["psychotherapy_notes", "mental_health", "behavioral_health", "substance_use", "substance_abuse"]
RECORD_REQUIRED = {"id": ids, "revision": revisions, "patient": patients}
RECORD_OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "additional_identifiers": some(identifiers),
    "encounter": refs("Encounter"),
    "sensitivity": st.lists(st.sampled_from(SENSITIVITIES), min_size=1, max_size=3, unique=True),
    "source": uris,
    "notes": some(notes),
}
