"""The clinic's records: sessions, vital signs, assessments, consents, adverse events. No FHIR in them.

``parse(Session, tree)`` makes a record from a lossless JSON tree or refuses it with every fault at once;
``to_json(record)`` gives the tree back, digit for digit, leaving out what is empty.
"""

from fhirbridge.records.adverse_event import AdverseEvent
from fhirbridge.records.base import Amount, Coding, Concept, Identifier, Model, Note, Period, Record, Ref
from fhirbridge.records.consent import Consent, Provision
from fhirbridge.records.parse import faults_of, parse, to_json
from fhirbridge.records.session import Administration, Session
from fhirbridge.records.text import Date, DateTime, Decimal, Instant
from fhirbridge.records.vitals import Assessment, Measurement, VitalSign

__all__ = [
    "Administration",
    "AdverseEvent",
    "Amount",
    "Assessment",
    "Coding",
    "Concept",
    "Consent",
    "Date",
    "DateTime",
    "Decimal",
    "Identifier",
    "Instant",
    "Measurement",
    "Model",
    "Note",
    "Period",
    "Provision",
    "Record",
    "Ref",
    "Session",
    "VitalSign",
    "faults_of",
    "parse",
    "to_json",
]
