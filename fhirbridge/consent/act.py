"""What is about to be done with a patient's data: constant for a site or a study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fhirbridge.records.base import Ref
from fhirbridge.records.consent import Action, Purpose

ActName: TypeAlias = Literal[
    "treat", "share", "research", "regulatory_report", "emergency", "store", "notify_withdrawal", "retract"
]
# The purpose and the action that are meant where an act does not say: an act without a purpose could not be judged by
# a rule that names one. Disclosing for coordination of care is part of treatment (v3-ActReason: COC below TREAT).
_USUAL: dict[str, tuple[tuple[Purpose, ...], Action]] = {
    "treat": (("treatment",), "disclose"),
    "share": (("coordination_of_care",), "disclose"),
    "research": (("research",), "use"),
    "regulatory_report": (("public_health",), "disclose"),
    "emergency": (("emergency_treatment",), "disclose"),
    "store": ((), "collect"),
    "notify_withdrawal": ((), "disclose"),
    "retract": ((), "disclose"),
}
# Acts that the patient's consents decide, and those that only an explicit exception permits.
BY_CONSENT = frozenset({"treat", "share", "research"})
BY_EXCEPTION = frozenset({"regulatory_report", "emergency"})
# Acts by which content reaches somebody who does not have it yet.
OUTWARD = BY_CONSENT | BY_EXCEPTION


@dataclass(frozen=True, slots=True)
class Act:
    """One way of using data. ``recipients`` are the names by which the one recipient is known, ``studies`` those of the
    one study; with none, nobody is named, and what a consent says about somebody in particular cannot be granted.

    ``purposes`` and ``action`` are words of the record; left out, they are the usual ones of the act. Raises
    ``ValueError`` for an act that is not in the table.
    """

    name: ActName
    recipients: tuple[Ref, ...] = ()
    studies: tuple[Ref, ...] = ()
    purposes: tuple[Purpose, ...] = ()
    action: Action | None = None
    # Looked up for every record: the hash of so many references is taken once.
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        if self.name not in _USUAL:
            raise ValueError(f"no such act; one of {', '.join(_USUAL)}")
        purposes, action = _USUAL[self.name]
        object.__setattr__(self, "purposes", self.purposes or purposes)
        object.__setattr__(self, "action", self.action or action)
        whole = (self.name, self.recipients, self.studies, self.purposes, self.action)
        object.__setattr__(self, "_hash", hash(whole))

    def __hash__(self) -> int:
        return self._hash
