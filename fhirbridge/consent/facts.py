"""A subject, as far as the rules of a patient's consents look at it: what is the same for many rules is found once."""

from __future__ import annotations

import datetime as dt
import math

from fhirbridge.consent.labels import Marks
from fhirbridge.consent.moments import bounds
from fhirbridge.consent.subject import Subject


def data_span(subject: Subject, zone: dt.tzinfo) -> tuple[float, float] | None:
    """From when to when the data are, or ``None`` where they do not say so, or in a way that is no FHIR time."""
    start, end = subject.start, subject.end
    try:
        if start is None:
            return None if end is None else (-math.inf, bounds(end, zone)[1])
        first = bounds(start, zone)
        return first if end is None else (first[0], max(first[1], bounds(end, zone)[1]))
    except ValueError:
        return None


class Facts:
    """The subject, its ``marks`` (labels as rules see them), and its time as a ``span``."""

    __slots__ = ("_span", "_zone", "marks", "subject")

    def __init__(self, subject: Subject, zone: dt.tzinfo, marks: Marks) -> None:
        self.subject = subject
        self.marks = marks
        self._zone = zone

    @property
    def span(self) -> tuple[float, float] | None:
        """When the data are from, as :func:`data_span` says."""
        try:
            return self._span
        except AttributeError:
            self._span: tuple[float, float] | None = data_span(self.subject, self._zone)
            return self._span
