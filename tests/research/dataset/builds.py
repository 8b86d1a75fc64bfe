"""Builds for tests: a project with a key of its own, the study of the synthetic clinic."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from fhirbridge.consent import Act
from fhirbridge.records import Identifier, Ref
from fhirbridge.research.dataset import Built, Request, build
from fhirbridge.research.deidentify.key import ProjectKey
from fhirbridge.research.deidentify.profile import Profile
from tests.research.dataset.clinics import CLINIC

PROJECT = "KET-OUTCOMES"
KEY = ProjectKey(bytes(range(32)), PROJECT)
AT = dt.datetime(2026, 9, 1, tzinfo=dt.UTC)


def named(system: str, value: str) -> Ref:
    """A reference by identifier, as the synthetic clinic names things."""
    return Ref(identifier=Identifier(system=f"https://clinic.example/sid/{system}", value=value))


STUDY = Act("research", (named("organization", "UNIV"),), (named("study", "KET-OUTCOMES"),))


def request(source: Path, out: Path, *, profile: str = "shifted", resources: bool = False, **more: Any) -> Request:
    """What a test wants built."""
    given: dict[str, Any] = {
        "sources": (str(source),),
        "out": out,
        "clinic": CLINIC,
        "project": PROJECT,
        "key": KEY,
        "profile": Profile.load(profile),
        "act": STUDY,
        "at": AT,
        "set_aside": out.parent / "set-aside.ndjson",
        "with_resources": resources,
    }
    return Request(**{**given, **more})


def built(source: Path, out: Path, **more: Any) -> Built:
    """A finished dataset."""
    return build(request(source, out, **more))
