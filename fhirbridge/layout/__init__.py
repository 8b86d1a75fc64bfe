"""Layouts: resources of a layout that was read before are read without parsing them.

A clinic's resources repeat themselves: two heart rates differ in ids, times and numbers, and in little else. When a
resource was read the plain way and left no residue, its layout is learned. A resource falls into *atoms*, its members
and the items of its extension; an atom falls into *segments*, bytes that stay, and *slots*, values that may vary. A
later body whose atoms are known is a record with other values in the slots, and nothing else: it is built from them,
and validated where a varying value counts.

What makes that safe:

- a layout is found by writing the record with marks in place of its values (:mod:`fhirbridge.layout.marks`), so a
  slot is a value that the mapping writes unchanged; a mapping that looks into a marked value is found out, and such a
  resource is always read the plain way;
- only ids, times, numbers, identifier values and remarks are marked, never a code, a unit or a word that means a code;
- texts that the mapping compares must compare as they did;
- a validator of a model is left out only where it did not look at any marked value;
- atoms are combined freely only where no rule looks at the fields of both (:mod:`fhirbridge.layout.groups`);
- the resource id must be the one that the record's id gives, and the profiles those that the record satisfies;
- what a mapping asks of a marked text (whether it equals another, holds a character, how it begins) is a condition
  under which the layout holds;
- a body with an escape, and everything else that does not fit to the last byte, is read the plain way.

What is done for every body, the walk and the building, is a *leaf* (:mod:`fhirbridge.layout.leaf`): compiled C where a
compiler was found, else Python. The laws hold both against the plain way.
"""

from fhirbridge.layout.bound import Claim, every
from fhirbridge.layout.leaf import leaf_in_use
from fhirbridge.layout.reader import Layouts

__all__ = ["Claim", "Layouts", "every", "leaf_in_use"]
