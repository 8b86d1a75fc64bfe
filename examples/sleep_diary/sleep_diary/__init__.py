"""Nights of a sleep diary, a kind of record that fhirbridge itself does not know.

``docs/write-a-mapping.md`` goes through it line by line.
"""
