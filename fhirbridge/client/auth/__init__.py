"""Who sends a request, and how that is shown: every way behind one seam, :class:`Authorization`.

authorization   the seam; nobody, a bearer token, a user and a password
asked           a token that somebody else renews, in a file, a keyring or behind a command
renewed         tokens for all threads: cached, one fetch at a time, renewed once after a 401, no storm after a refusal
client_credentials, smart_backend   the two ways to get one: a secret, or an assertion signed with a key of our own
discovery, endpoint, token, scope, trouble   the server's SMART configuration, the request, its answer, what is missing
signing, assertion   keys, their JWKs, the assertion; sealed keeps them out of reprs and pickles
"""

from __future__ import annotations

from fhirbridge.client.auth.asked import AskedBearer
from fhirbridge.client.auth.authorization import Anonymous, Authorization, Basic, Bearer
from fhirbridge.client.auth.client_credentials import ClientCredentials, Registered
from fhirbridge.client.auth.notice import Notice, Tell
from fhirbridge.client.auth.scope import Needs
from fhirbridge.client.auth.signing import ALGORITHMS, Algorithm, SigningKey, new_key, read_key
from fhirbridge.client.auth.smart_backend import Service, SmartBackend
from fhirbridge.client.auth.token import is_token

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Anonymous",
    "AskedBearer",
    "Authorization",
    "Basic",
    "Bearer",
    "ClientCredentials",
    "Needs",
    "Notice",
    "Registered",
    "Service",
    "SigningKey",
    "SmartBackend",
    "Tell",
    "is_token",
    "new_key",
    "read_key",
]
