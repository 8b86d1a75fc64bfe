"""The tables of a dataset: their columns, and the rows that a de-identified record gives.

A table's shape and the function that makes its rows stand side by side in its module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fhirbridge.records import AdverseEvent, Assessment, Consent, Record, Session, VitalSign
from fhirbridge.research.columns import TableShape
from fhirbridge.research.tables import adverse_events, assessments, consents, course, patients, sessions, vitals
from fhirbridge.research.tables.seen import Seen

# Made of records, one after another.
OF_RECORDS: dict[str, TableShape] = {
    shape.name: shape
    for shape in (
        sessions.SHAPE,
        sessions.ADMINISTRATIONS,
        vitals.SHAPE,
        assessments.SHAPE,
        assessments.ITEMS,
        consents.SHAPE,
        adverse_events.SHAPE,
    )
}
# All of them, in the order in which they are shown.
TABLES: dict[str, TableShape] = {
    patients.SHAPE.name: patients.SHAPE,
    sessions.SHAPE.name: sessions.SHAPE,
    sessions.ADMINISTRATIONS.name: sessions.ADMINISTRATIONS,
    vitals.SHAPE.name: vitals.SHAPE,
    course.SHAPE.name: course.SHAPE,
    assessments.SHAPE.name: assessments.SHAPE,
    assessments.ITEMS.name: assessments.ITEMS,
    consents.SHAPE.name: consents.SHAPE,
    adverse_events.SHAPE.name: adverse_events.SHAPE,
}
Rows = Iterable[tuple[Any, ...]]


def _session(record: Any, seen: Seen) -> Iterable[tuple[str, Rows]]:
    yield sessions.SHAPE.name, (sessions.row(record, seen),)
    yield sessions.ADMINISTRATIONS.name, sessions.administrations(record, seen)


def _vital_sign(record: Any, seen: Seen) -> Iterable[tuple[str, Rows]]:
    return ((vitals.SHAPE.name, vitals.rows(record, seen)),)


def _assessment(record: Any, seen: Seen) -> Iterable[tuple[str, Rows]]:
    yield assessments.SHAPE.name, (assessments.row(record, seen),)
    yield assessments.ITEMS.name, assessments.items(record, seen)


def _consent(record: Any, seen: Seen) -> Iterable[tuple[str, Rows]]:
    return ((consents.SHAPE.name, (consents.row(record, seen),)),)


def _adverse_event(record: Any, seen: Seen) -> Iterable[tuple[str, Rows]]:
    return ((adverse_events.SHAPE.name, (adverse_events.row(record, seen),)),)


# The rows of each kind of record, table by table.
ROWS: Mapping[str, Callable[[Any, Seen], Iterable[tuple[str, Rows]]]] = {
    Session.kind: _session,
    VitalSign.kind: _vital_sign,
    Assessment.kind: _assessment,
    Consent.kind: _consent,
    AdverseEvent.kind: _adverse_event,
}
# The field of a record that says where it stands.
_STATUS = {Consent.kind: "state", AdverseEvent.kind: "record_status"}
VOID = "entered_in_error"


def is_void(record: Record) -> bool:
    """Whether the record says that it was recorded in error."""
    return bool(record.__dict__[_STATUS.get(record.kind, "status")] == VOID)


__all__ = ["OF_RECORDS", "ROWS", "TABLES", "Rows", "Seen", "is_void"]
