"""SMART Backend Services: a token for an assertion that is signed with a key of our own (SMART App Launch 2.2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fhirbridge.client.auth.assertion import assertion
from fhirbridge.client.auth.client_credentials import compare
from fhirbridge.client.auth.discovery import Place, discover
from fhirbridge.client.auth.endpoint import Exchange, ask_token
from fhirbridge.client.auth.notice import Notice, Once, Tell, log
from fhirbridge.client.auth.renewed import Renewed
from fhirbridge.client.auth.scope import Needs, scopes
from fhirbridge.client.auth.signing import SigningKey
from fhirbridge.client.auth.token import Token
from fhirbridge.client.auth.trouble import Trouble, refused

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# Seconds. A clock that is off by less is no cause for a refusal; one that is off by more is not corrected in silence
# of the people whose records it dates.
_SMALLEST_SKEW = 60.0
_LARGEST_SKEW = 900.0
# For how long an older key is used after the newest was not known; a hospital reads a JWKS again within hours.
_KEY_HOLDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Service:
    """What a service and the hospital have agreed on. ``base`` is the FHIR server's address.

    The token endpoint is ``token_url``, or what the server says, at its own origin or one of ``origins``. ``scope`` is
    asked for, or what ``needs`` say in the version that the server speaks. ``jku`` is where our JWKS is published.
    """

    base: str
    client_id: str
    token_url: str | None = None
    origins: frozenset[str] = frozenset()
    scope: str | None = None
    needs: Needs = field(default_factory=dict)
    jku: str | None = None


class SmartBackend(Renewed):
    """``keys`` are those that the hospital may know, the newest first, which signs.

    A hospital may not have read the newest key yet: when it says ``invalid_client``, the next older one is tried once,
    and used for an hour. A clock that is off is corrected by the endpoint's ``Date``, within 15 minutes and with a
    warning. So a refusal costs three requests at most; then :class:`Renewed` asks no more for a while.

    ``clock`` gives epoch seconds, ``monotonic`` seconds that never go back; ``tell`` hears warnings.
    """

    def __init__(
        self,
        channel: Exchange,
        service: Service,
        keys: Sequence[SigningKey],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        tell: Tell = log,
    ) -> None:
        super().__init__(monotonic)
        self._channel, self._service, self._keys = channel, service, tuple(keys)
        self._clock, self._tell = clock, Once(tell)
        self._place: Place | None = None
        self._skew = 0.0
        # The key to begin with until a moment of ``monotonic``, if it is not the newest.
        self._known: tuple[SigningKey, float] | None = None

    def _fetch(self) -> Token | Trouble:
        place = self._found_place()
        if isinstance(place, Trouble):
            return place
        keys = self._signers(place)
        if not keys:
            said = f"the token endpoint takes none of our keys ({', '.join(one.algorithm for one in self._keys)})"
            return refused("site.token_algorithm", said, "fhirbridge keys new --alg makes one of the other sort")
        scope = self._service.scope or scopes(self._service.needs, place.version)
        token = self._asked(place, keys, scope)
        if isinstance(token, Trouble):
            # An endpoint that has moved is looked for anew.
            self._place = None
        else:
            compare(scope, token, self._tell)
        return token

    def _found_place(self) -> Place | Trouble:
        if self._place is not None:
            return self._place
        service = self._service
        found: Place | Trouble
        if service.token_url is not None and service.scope is not None:
            found = Place(service.token_url)
        else:
            trusted = service.origins if service.token_url is None else service.origins | {service.token_url}
            found = discover(self._channel, service.base, trusted, self._clock())
        if service.token_url is not None:
            # What the server says of an endpoint does not count then; only which scopes and algorithms it knows.
            if isinstance(found, Place):
                found = replace(found, token_url=service.token_url)
            elif found.sort == "refused":
                found = Place(service.token_url)
        if isinstance(found, Place):
            self._place = found
        return found

    def _signers(self, place: Place) -> list[SigningKey]:
        """The keys that the endpoint can take, in the order in which they are tried."""
        taken = [one for one in self._keys if not place.algorithms or one.algorithm in place.algorithms]
        if self._known is not None and self._monotonic() < self._known[1]:
            known = self._known[0]
            taken.sort(key=lambda one: one is not known)
        return taken[:2]

    def _asked(self, place: Place, keys: Sequence[SigningKey], scope: str) -> Token | Trouble:
        found = self._request(place, keys[0], scope)
        if isinstance(found, Trouble) and found.sort == "refused" and found.date is not None:
            skew = found.date - self._clock()
            if abs(skew) > _LARGEST_SKEW:
                said = f"{found.message}; the clock here is {-skew:+.0f} s off the endpoint's"
                return refused("site.clock", said, "set the clock of this machine")
            if abs(skew - self._skew) > _SMALLEST_SKEW:
                self._skew = skew
                told = f"the clock here is {-skew:+.0f} s off that of the token endpoint; assertions allow for it"
                self._tell(Notice("site.clock", told, "set the clock of this machine"))
                found = self._request(place, keys[0], scope)
        if isinstance(found, Trouble) and found.refusal == "invalid_client" and len(keys) > 1:
            other = self._request(place, keys[1], scope)
            if isinstance(other, Token):
                self._keep(keys[1])
                return other
        return found

    def _keep(self, key: SigningKey) -> None:
        """Begin with this key for a while."""
        self._known = key, self._monotonic() + _KEY_HOLDS
        if key is not self._keys[0]:
            said = "the hospital does not know the newest key yet; an older one is used"
            self._tell(Notice("site.key", said, "give it the JWKS that fhirbridge keys jwks prints"))

    def _request(self, place: Place, key: SigningKey, scope: str) -> Token | Trouble:
        now, started = self._clock(), self._monotonic()
        signed = assertion(key, self._service.client_id, place.token_url, now + self._skew, self._service.jku)
        form = {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": signed,
        }
        return ask_token(self._channel, place.token_url, form, {}, now=now, started=started)
