"""The clinic's mapping modules: sessions, vital signs, assessments, consents, adverse events.

fhirbridge finds them through the entry-point group ``fhirbridge.mappings``, like a hospital's own.
"""
