"""The audit trail: an AuditEvent for everything that leaves, is asked, is denied or is handed out, in files that show
whether anybody changed them.

:class:`Auditor` is what the rest of fhirbridge talks to. ``verify`` says whether the trail is what was written.
"""

from __future__ import annotations

from fhirbridge.audit.acts import PURGE, REKEY, Act
from fhirbridge.audit.auditor import SILENCE, Auditor, Denied, Ending, How, Leaving
from fhirbridge.audit.concern import concerning
from fhirbridge.audit.configured import audit_folder, audit_keys, open_audit

__all__ = [
    "PURGE",
    "REKEY",
    "SILENCE",
    "Act",
    "Auditor",
    "Denied",
    "Ending",
    "How",
    "Leaving",
    "audit_folder",
    "audit_keys",
    "concerning",
    "open_audit",
]
