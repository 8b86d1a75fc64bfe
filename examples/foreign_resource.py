"""A resource that somebody else wrote: read, corrected, written back with everything of theirs that still holds.

python examples/foreign_resource.py
"""

from __future__ import annotations

from fhirbridge.errors import ResourceRefused
from fhirbridge.fhir.json import dump, parse_object
from fhirbridge.mapping import Binding, Clinic, Mappings, Release
from fhirbridge.records import VitalSign, parse, to_json

FOREIGN = b"""{
  "resourceType": "Observation", "id": "hr-7", "language": "en",
  "status": "final",
  "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category",
                            "code": "vital-signs"}]}],
  "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}],
           "text": "pulse at the bedside"},
  "subject": {"reference": "Patient/17"},
  "effectiveDateTime": "2026-11-20T10:41:00-05:00",
  "valueQuantity": {"value": 72.0, "unit": "beats/minute", "system": "http://unitsofmeasure.org", "code": "/min"}
}"""

mappings = Mappings(Binding(Clinic("clinic.example", b"an example key, not a secret"), Release.R4))
reading = mappings.from_fhir(parse_object(FOREIGN))
for entry in reading.residue:
    print(entry.op, entry.path)

# A correction: the record has another number now. What the other system said beside it stays where it was.
tree = to_json(reading.record)
del tree["kind"]
tree["readings"] = [{"name": "value", "value": 74, "unit": "/min"}]
written = mappings.to_fhir(parse(VitalSign, tree), reading.residue)
resource = written.parts[0].resource
print("written:", resource["code"]["text"], "/", dump(resource["valueQuantity"]).decode())
print("dropped:", list(written.dropped))

try:
    mappings.from_fhir({**parse_object(FOREIGN), "implicitRules": "https://elsewhere.example/rules"})
except ResourceRefused as refused:
    print("refused:", refused)
