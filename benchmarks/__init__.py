"""Benchmarks: how fast records become FHIR and come back, beside what a user would write instead.

``python -m benchmarks.map`` measures the mappings, ``python -m benchmarks.memory`` the memory of a long stream.
"""
