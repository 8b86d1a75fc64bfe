"""What a look at the site says: every case of theirs against ours, and that nothing is overwritten unseen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhirbridge.fhir.bundle import ABSENT, GONE, Copy
from fhirbridge.ledger import Server
from fhirbridge.sync.judge import Ours, judge

SYSTEMS = frozenset({"https://b/CodeSystem/revision"})


def resource(value: int, revision: int | None = 2, version: str = "5", chart: str = "Patient/p1", **more: Any) -> Any:
    tags = [] if revision is None else [{"system": "https://b/CodeSystem/revision", "code": str(revision)}]
    meta = {"versionId": version, "tag": tags}
    named = {"type": "Patient", "identifier": {"system": "s", "value": "x"}}
    return {"resourceType": "Observation", "v": value, "meta": meta, "subject": named | {"reference": chart}, **more}


OURS = resource(1, 2) | {"subject": {"type": "Patient", "identifier": {"system": "s", "value": "x"}}}
UNKNOWN = Ours(OURS, (0, 2))
ACKED = Ours(OURS, (0, 2), Server.PRESENT, "5", acked=True)


@pytest.mark.parametrize(
    ("ours", "copy", "do", "reason"),
    [
        (UNKNOWN, ABSENT, "send", ""),
        (ACKED, ABSENT, "park", "site.missing"),
        (replace(ACKED, server=Server.ABSENT), ABSENT, "send", ""),
        (UNKNOWN, GONE, "park", "site.gone"),
        (ACKED, GONE, "park", "site.gone"),
        (UNKNOWN, Copy(resource(1)), "adopt", ""),
        (ACKED, Copy(resource(1, version="9")), "adopt", ""),
        # An earlier revision of ours, in a ledger that was lost.
        (UNKNOWN, Copy(resource(7, 1)), "send", ""),
        (UNKNOWN, Copy(resource(7, 3)), "adopt", "site.newer"),
        (UNKNOWN, Copy(resource(7, 2)), "park", "conflict.unknown"),
        (UNKNOWN, Copy(resource(7, None)), "park", "conflict.unknown"),
        (UNKNOWN, Copy(resource(7, 2, status="entered-in-error")), "park", "conflict.retracted"),
        # The version that we wrote last, and one that somebody else wrote.
        (ACKED, Copy(resource(7, 1, "5")), "send", ""),
        (ACKED, Copy(resource(7, 1, "6")), "merge", ""),
        (UNKNOWN, Copy(resource(7, 1, chart="Patient/p2")), "park", "conflict.patient"),
        (ACKED, Copy(resource(1, chart="https://h.example/fhir/Patient/p2/_history/3")), "park", "conflict.patient"),
        (ACKED, Copy(resource(1, chart="https://h.example/fhir/Patient/p1/_history/3")), "adopt", ""),
    ],
)
def test_each_case_has_one_judgement(ours: Ours, copy: Copy, do: str, reason: str) -> None:
    found = judge(ours, copy, "Patient/p1", SYSTEMS)
    assert (found.do, found.reason) == (do, reason)
    if copy.resource is not None:
        # Whatever is written goes over the version that was seen.
        assert found.version == copy.resource["meta"]["versionId"]
