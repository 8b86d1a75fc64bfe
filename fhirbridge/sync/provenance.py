"""One Provenance for each bundle (specification §9.5): what was written, when, by whom, out of which records. Pure.

Its id follows from the id of the bundle, which the ledger holds before the first byte leaves, so it is written once
however often the bundle is tried. Its targets have no version: that is known only to the server.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from fhirbridge import __version__
from fhirbridge.binding import Binding
from fhirbridge.fhir.json import Tree

_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
# The activity by whether something was there before, for R4 and R4B, and for R5.
_ACTIVITY = {
    (False, False): (_OPERATION, "CREATE"),
    (False, True): (_OPERATION, "UPDATE"),
    (True, False): (_LIFECYCLE, "originate"),
    (True, True): (_LIFECYCLE, "amend"),
}


@dataclass(frozen=True, slots=True)
class Written:
    """One resource of the bundle: its address there, the record it came from, the hash of its content."""

    reference: str
    kind: str
    record: str
    revision: str
    content: str
    exists: bool


def provenance_id(binding: Binding, bundle: str) -> str:
    """The resource id of a bundle's Provenance."""
    return binding.resource_id("provenance", bundle)


def provenance(binding: Binding, bundle: str, written: Sequence[Written], recorded: float, run: str) -> Tree:
    """The Provenance of a bundle that is about to be sent at ``recorded`` (epoch seconds) by the run ``run``."""
    system, code = _ACTIVITY[binding.release.is_r5, any(one.exists for one in written)]
    clinic: Tree = {
        "type": "Organization",
        "identifier": {"system": binding.sid("organization"), "value": binding.clinic.domain},
    }
    device: Tree = {
        "type": "Device",
        "identifier": {"system": binding.sid("device"), "value": f"fhirbridge-{__version__}"},
        "display": f"fhirbridge {__version__}",
    }
    moment = dt.datetime.fromtimestamp(recorded, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "resourceType": "Provenance",
        "id": provenance_id(binding, bundle),
        "meta": {"tag": [{"system": binding.code_system("run"), "code": run}]},
        "target": [{"reference": one.reference} for one in written],
        "recorded": moment,
        "activity": {"coding": [{"system": system, "code": code}]},
        "agent": [
            _agent("author", clinic),
            _agent("assembler", device) | {"onBehalfOf": clinic},
            _agent("transmitter", device) | {"onBehalfOf": clinic},
        ],
        "entity": [_entity(binding, one) for one in _records(written)],
    }


def _records(written: Sequence[Written]) -> list[Written]:
    """One for each record: the first of its resources, which carries all of it."""
    found: dict[tuple[str, str], Written] = {}
    for one in written:
        found.setdefault((one.kind, one.record), one)
    return list(found.values())


def _entity(binding: Binding, one: Written) -> Tree:
    value = f"{one.kind}/{one.record}@{one.revision}#{one.content[:32]}"
    return {"role": "source", "what": {"identifier": {"system": binding.sid("record-revision"), "value": value}}}


def _agent(role: str, who: Tree) -> Tree:
    return {"type": {"coding": [{"system": _PARTICIPANT, "code": role}]}, "who": who}
