"""What holds between fhirbridge and any FHIR server, tried on real ones."""
