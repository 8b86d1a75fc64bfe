"""What two usual clients do with a hostile ``next`` link or redirect: the same scene, so that we know that it bites."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from tests.client.server import Reply
from tests.hostile.scene import Hospital


def fhirpy_follows(hospital: Hospital) -> None:
    """fhirpy's search, page after page."""
    from fhirpy import SyncFHIRClient

    client = SyncFHIRClient(
        hospital.base, authorization="Bearer canary-bearer", extra_headers={"X-Api-Key": "canary-api-key"}
    )
    with contextlib.suppress(Exception):
        client.resources("Patient").fetch_all()


def fhirclient_follows(hospital: Hospital) -> None:
    """fhirclient's search, page after page."""
    from fhirclient.auth import FHIRAuth
    from fhirclient.models.patient import Patient
    from fhirclient.server import FHIRServer

    server = FHIRServer(None, base_uri=hospital.base)
    server.auth = FHIRAuth.create("oauth2", state={"access_token": "canary-bearer"})
    server.session.headers["X-Api-Key"] = "canary-api-key"
    with contextlib.suppress(Exception):
        for _ in Patient.where({}).perform_iter(server):
            pass


CLIENTS: dict[str, Callable[[Hospital], None]] = {"fhirpy": fhirpy_follows, "fhirclient": fhirclient_follows}


def next_link(url: str) -> Callable[[str], Reply]:
    """A first page that names ``url`` as the next."""
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": url}]}
    return lambda path: Reply(body=bundle)


def redirect(url: str) -> Callable[[str], Reply]:
    """A redirect to ``url``."""
    return lambda path: Reply(307, headers={"Location": url})
