"""Records to FHIR and back inside a Python program, without any server.

python examples/records_to_fhir.py
"""

from __future__ import annotations

from fhirbridge.fhir.json import canonical, dump
from fhirbridge.mapping import Binding, Clinic, Mappings, Release
from fhirbridge.records import VitalSign, parse, to_json

# Made once for each site. The id key decides the resource ids: the same key gives the same ids, for ever.
clinic = Clinic(domain="clinic.example", id_key=b"an example key, not a secret")
mappings = Mappings(Binding(clinic, Release.R4))

record = parse(
    VitalSign,
    {
        "id": "V-1",
        "revision": 1,
        "patient": {
            "type": "Patient",
            "identifier": {"system": "https://clinic.example/sid/patient", "value": "P-1"},
        },
        "sign": "heart_rate",
        "status": "final",
        "measured_at": "2026-11-20T10:41:00-05:00",
        "readings": [{"name": "value", "value": 72, "unit": "/min"}],
    },
)

written = mappings.to_fhir(record)
for part in written.parts:
    print(part.role, part.resource_type, part.id)

body = dump(written.parts[0].resource)
reading = mappings.read(body)
print("the same record:", canonical(to_json(reading.record)) == canonical(to_json(record)))
print("left over:", list(reading.residue))
