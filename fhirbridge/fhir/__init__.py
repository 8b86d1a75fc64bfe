"""What FHIR itself says, without any I/O."""
