"""What a row needs to know beside its record: the patient, the first dose, the doses of the sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fhirbridge.records import Session
from fhirbridge.records.session import NOT_GIVEN
from fhirbridge.research.tables.values import days, minutes, moment, seconds, span, word

_NOTHING_GIVEN = frozenset({"not_done", "entered_in_error"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One patient as the rows see them: the pseudonym, and the doses on the de-identified calendar.

    Every profile keeps the spans between the moments of one patient, so spans are taken there. ``first_dose`` is in
    epoch seconds, ``first_day`` the number of its day; ``doses`` are the sessions' doses in epoch seconds, by their
    pseudonyms.
    """

    patient: str
    first_dose: float | None = None
    first_day: int | None = None
    doses: Mapping[str, float] = field(default_factory=dict, repr=False)

    def from_first_dose(self, text: Any) -> float | None:
        """The minutes from the patient's first dose to a moment."""
        return None if text is None else span(self.first_dose, seconds(text))

    def days_from_first_dose(self, text: Any) -> float | None:
        """The days from the day of the patient's first dose to a day."""
        return None if text is None else days(self.first_day, text)

    def from_dose(self, session: str | None, text: Any) -> float | None:
        """The minutes from the dose of a session to a moment."""
        dose = None if session is None else self.doses.get(session)
        return None if dose is None or text is None else span(dose, seconds(text))


def measured(fields: Mapping[str, Any], session: str | None, seen: Seen) -> tuple[Any, ...]:
    """Status and times of a measurement, for the columns ``MEASURED`` of :mod:`.common`."""
    at = fields["measured_at"]
    return (
        fields["status"],
        word(fields["timepoint"]),
        minutes(fields["offset_from_dose"]),
        seen.from_dose(session, at),
        seen.from_first_dose(at),
        seen.days_from_first_dose(at),
        moment(at),
    )


def dose_text(session: Session) -> str | None:
    """When the session's first drug was given: the earliest start of an administration that says a time of day."""
    if session.status in NOT_GIVEN:
        return None
    starts = [
        one.period.start
        for one in session.administrations
        if one.period is not None and one.period.start is not None and one.status not in _NOTHING_GIVEN
    ]
    timed = [start for start in starts if seconds(start) is not None]
    return min(timed, key=lambda start: seconds(start) or 0.0, default=None)


def anchor_text(session: Session) -> str | None:
    """When the session counts as a dose of the patient: the time of its dose, else its beginning."""
    if session.status in NOT_GIVEN or not session.administrations:
        return None
    return dose_text(session) or (session.started_at if seconds(session.started_at) is not None else None)
