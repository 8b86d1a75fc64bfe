"""An access token out of the answer of a token endpoint (RFC 6749 §5.1), with bounds on all that is said about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fhirbridge.client.auth.sealed import Sealed
from fhirbridge.fhir.json import Json

# What a bearer token is made of (RFC 6750 §2.1); no server takes headers without bound.
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_LONGEST = 16_384
# Seconds. SMART wants 300 at most; one that is not said, or cannot be meant, is taken for that.
_USUAL_LIFE = 300.0
_SHORTEST_LIFE = 1.0
# Whoever promises more is asked anew after an hour.
_LONGEST_LIFE = 3_600.0
# So that a token does not run out on its way.
_MARGIN = 30.0
_SHARE = 0.2


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Token(Sealed):
    """``until`` is when it is no longer used (``time.monotonic``); ``granted`` the scope, ``None`` if not said."""

    value: str = field(repr=False)
    until: float
    granted: str | None = None


def is_token(text: str) -> bool:
    """Whether a text can be a bearer token."""
    return len(text) <= _LONGEST and _B64TOKEN.fullmatch(text) is not None


def read_token(tree: Json, started: float) -> Token | None:
    """The token in an answer to a request that began at ``started`` (``time.monotonic``); ``None`` if it holds none
    that can be used."""
    if not isinstance(tree, dict):
        return None
    value, sort, scope = tree.get("access_token"), tree.get("token_type"), tree.get("scope")
    if not isinstance(value, str) or not is_token(value):
        return None
    if not isinstance(sort, str) or sort.lower() != "bearer":
        return None
    life = _life(tree.get("expires_in"))
    until = started + life - min(_MARGIN, life * _SHARE)
    return Token(value, until, scope if isinstance(scope, str) and scope.strip() else None)


def _life(said: Json) -> float:
    # Some servers put it in quotes. A number with a fraction is kept as its text.
    text = str(said)
    if isinstance(said, bool) or re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text) is None:
        return _USUAL_LIFE
    return min(max(float(text), _SHORTEST_LIFE), _LONGEST_LIFE)
