"""What is kept ready for one person while their records go by."""

from __future__ import annotations

from fhirbridge.records.base import Record, Ref
from fhirbridge.research.deidentify import references
from fhirbridge.research.deidentify.clock import Clock
from fhirbridge.research.deidentify.references import Names


class Course:
    """The clock, the names and the patient of one person, and the record that is being read."""

    __slots__ = ("clock", "names", "patient", "record", "refs", "subject")

    _MOST = 4096

    def __init__(self, clock: Clock, names: Names, pseudonym: str) -> None:
        self.clock, self.names = clock, names
        self.patient = references.named("Patient", pseudonym)
        self.record: Record | None = None
        self.subject: tuple[str | None, str | None] = (None, None)
        # References that were made before: a session is named by all that was measured in it.
        self.refs: dict[tuple[str, str | None, str | None, str | None], Ref | None] = {}

    def begin(self, record: Record) -> None:
        """The next record; what it calls its patient is the patient, wherever else it stands in it."""
        self.record = record
        subject = record.patient.__dict__
        named = subject["identifier"]
        known = (subject["literal"], None if named is None else named.value)
        if known != self.subject:
            self.subject = known
            self.refs.clear()

    def is_subject(self, ref: Ref) -> bool:
        """Whether a reference means the patient of the record."""
        literal, name = self.subject
        if ref.literal is not None:
            return ref.literal == literal
        return name is not None and ref.identifier is not None and ref.identifier.value == name

    def remember(self, key: tuple[str, str | None, str | None, str | None], ref: Ref | None) -> Ref | None:
        """Keep what was made of a reference."""
        if len(self.refs) >= self._MOST:
            self.refs.clear()
        self.refs[key] = ref
        return ref
