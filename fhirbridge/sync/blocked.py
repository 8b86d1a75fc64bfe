"""What is told of a resource that the patient's consents keep back. It is no error: nothing has to be mended."""

from __future__ import annotations

from fhirbridge.consent import DENIALS
from fhirbridge.errors import Fault

# The beginning of the reason that the ledger keeps with it; what follows is the reason of the decision.
AREA = "consent."
_OTHERS = {
    "unknown-subject": "an older version queued it, and kept nothing by which it could be judged",
    "obligation": "it is permitted only with content left out, masked or made anonymous, which is not done here",
}


def blocked(kind: str, record: str, reason: str) -> Fault:
    """The reason as people read it; ``reason`` is the ledger's."""
    why = reason.removeprefix(AREA)
    said = DENIALS.get(why) or _OTHERS.get(why, "the patient's consents do not permit it")
    return Fault(reason, "", said, f"fhirbridge consent explain {kind}/{record}")
