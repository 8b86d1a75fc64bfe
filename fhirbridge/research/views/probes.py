"""How the mappings write a word: found out by writing a record with it, so that no code stands in two places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Mappings
from fhirbridge.records import parse
from fhirbridge.records.vitals import FINDINGS
from fhirbridge.research.deidentify.references import DOMAIN

_COMMON: Tree = {
    "id": "probe",
    "revision": 1,
    "patient": {"type": "Patient", "identifier": {"system": "https://probe.example", "value": "probe"}},
}
_OBSERVED: Tree = {**_COMMON, "status": "final", "measured_at": "2026-01-01"}
_RECORDS: dict[str, Tree] = {
    "vital_sign": {**_OBSERVED, "sign": "heart_rate", "absent_reason": "not_performed"},
    "assessment": {**_OBSERVED, "scale": "phq9", "absent_reason": "not_performed"},
    "session": {
        **_COMMON,
        "modality": "iv_infusion",
        "status": "completed",
        "started_at": "2026-01-01",
        "administrations": [{"medication": "ketamine"}],
    },
    "consent": {
        **_COMMON,
        "consent_type": "research",
        "state": "active",
        "decision": "permit",
        "signed_at": "2026-01-01",
    },
    "adverse_event": {**_COMMON, "record_status": "completed", "actuality": "actual", "verbatim": "probe"},
}


class Probes:
    """The mappings of de-identified resources, asked how they write words."""

    def __init__(self) -> None:
        self._mappings = Mappings(Binding(Clinic(DOMAIN, bytes(16)), Release.R4))

    def resource(self, kind: str, **fields: Any) -> Tree:
        """The resource of a record of ``kind`` with these fields and nothing else."""
        model = self._mappings.kinds[kind].record
        tree = {**_RECORDS[kind], **fields}
        if tree.get("sign") in {*FINDINGS} and "finding" in fields:
            tree.pop("absent_reason")
        record = parse(model, {name: value for name, value in tree.items() if value is not None})
        return self._mappings.to_fhir(record).parts[0].resource

    def conditions(
        self, words: Iterable[str], write: Callable[[str], Tree], condition: Callable[[Tree], str]
    ) -> Mapping[str, str]:
        """By word, the condition that ``condition`` finds in the resource that ``write`` makes with it."""
        return {word: condition(write(word)) for word in words}


def extension(resource: Tree, url: str) -> Tree:
    """The extension of a resource whose URL ends in ``url``. Raises ``KeyError``."""
    for one in resource.get("extension", ()):
        if one["url"].rpartition("/")[2] == url:
            found: Tree = one
            return found
    raise KeyError(url)
