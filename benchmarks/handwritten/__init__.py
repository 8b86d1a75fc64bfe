"""The usual way: a converter written by hand over ``fhir.resources``.

A dictionary is built, validated by the model of the release (R4B stands in for R4: there is no R4 module) and dumped as
JSON; a resource is parsed into a model, its attributes are read, and a record is validated. It carries what the
mappings carry for the records that the synthetic clinic makes; it keeps no residue, refuses nothing beyond what the
models refuse, and reads only what it has written. The benchmark compares its output with that of the mappings, element
by element.
"""
