"""HTTP to a FHIR server: one guarded transport, the interactions, paging."""
