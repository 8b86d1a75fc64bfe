"""fhirbridge: a two-way adapter between a ketamine clinic's records and FHIR R4, R4B and R5."""

__version__ = "0.1.0"
