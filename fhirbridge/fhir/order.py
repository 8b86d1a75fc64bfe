"""Which of our resource types come before which: the types that are written, and the patients they are about."""

from __future__ import annotations

# Who must be there before whom. A reference is made literal only towards what comes before: which of two records that
# name each other came first must not decide what either of them says.
DELIVERY_ORDER = ("Patient", "Consent", "Procedure", "MedicationAdministration", "Observation", "AdverseEvent")
