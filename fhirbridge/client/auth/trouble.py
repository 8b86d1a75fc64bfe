"""Why there is no token, as a value: many threads may have to raise it, each an error of its own.

A request that waits for a token has not left. So whatever happened at the token endpoint, a record is neither lost nor
failed: it waits until the endpoint has time (``busy``), can be reached (``away``), or people have acted (``refused``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from fhirbridge.errors import SiteError, SiteRefused, SiteUnreachable

_UNAUTHORIZED = 401
_BUSY = 429
# Until somebody asks again, where the endpoint itself has not said when.
SHORTEST = 1.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happened, without any word of the server but a code of RFC 6749 §5.2.

    ``wait`` is for how many seconds nobody asks again. ``refusal`` is the OAuth error where there was one, ``date`` the
    moment (epoch seconds) that the endpoint's ``Date`` header named.
    """

    sort: Literal["refused", "busy", "away"]
    code: str
    message: str
    hint: str = ""
    wait: float = SHORTEST
    refusal: str | None = None
    date: float | None = None

    def error(self, remaining: float) -> SiteError:
        """The error to raise, ``remaining`` seconds before anybody asks again.

        A refusal counts as 401 whatever the endpoint's status was: nothing more goes to the site until somebody acts.
        Patience counts as 429: a 503 might mean that a write was done, and none was sent.
        """
        match self.sort:
            case "refused":
                return SiteRefused(self.message, status=_UNAUTHORIZED, code=self.code, hint=self.hint)
            case "busy":
                later = str(math.ceil(remaining))
                return SiteRefused(self.message, status=_BUSY, code=self.code, hint=self.hint, retry_after=later)
            case "away":
                return SiteUnreachable(self.message, sent=False, code=self.code, hint=self.hint)


def refused(code: str, message: str, hint: str = "") -> Trouble:
    """Trouble that people have to end, before any request to the token endpoint was made."""
    return Trouble("refused", code, message, hint)
