"""The demonstration: a made-up clinic goes to a real FHIR server and comes back the same.

``python -m fhirbridge.demo`` (or ``make demo``) needs the extra ``fhirbridge[demo]`` and no network.
"""
