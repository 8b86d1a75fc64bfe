"""Two-way codecs between parts of a record and parts of a resource.

``leaf`` holds values (codes, quantities, references), ``element`` the rules that tie a record field to an element,
``extension`` the rules for extensions. A rule says both directions in one place, so they cannot drift apart; what a
rule reads and writes is also what the documentation and the conformance resources are made from.
"""
