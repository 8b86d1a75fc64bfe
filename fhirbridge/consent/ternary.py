"""Whether a condition holds: no, perhaps, yes.

Perhaps is for what cannot be known: a code that nobody here knows, an actor that is named in another way than the
recipient, data whose time is not known. A rule that perhaps applies must deny where it could deny, and must not permit.
All of several conditions is ``min``, any of several values is ``max``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

Tri: TypeAlias = Literal[0, 1, 2]
NO: Final = 0
MAYBE: Final = 1
YES: Final = 2


def any_of(answers: Iterable[Tri]) -> Tri:
    """Yes if one is yes, no if all are no."""
    return max(answers, default=NO)


def every(answers: Iterable[Tri]) -> Tri:
    """Yes if all are yes, no if all are no; some are and some are not is perhaps. Without any: perhaps."""
    found = set(answers)
    return found.pop() if len(found) == 1 else MAYBE
