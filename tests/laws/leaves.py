"""The leaves of the layout reader by name: the one in Python, and the compiled one where it was compiled."""

from __future__ import annotations

from fhirbridge.layout.leaf import Leaf, compiled
from fhirbridge.layout.plain import Plain

COMPILED = compiled()
LEAVES: dict[str, Leaf] = {"pure": Plain()} | ({} if COMPILED is None else {"compiled": COMPILED})
