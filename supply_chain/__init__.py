"""What fhirbridge is built of: under which licences, in which versions, with which known faults.

python -m supply_chain licences --write docs/licences.md
python -m supply_chain sbom --write build/fhirbridge.cdx.json
python -m supply_chain audit
"""
