"""Datasets for research: which study, under which profile, with which key."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from fhirbridge.config.consent import Named
from fhirbridge.config.secret import Secret
from fhirbridge.config.table import Table

Project = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,64}$")]


class ResearchSettings(Table):
    """``[research]``: the project whose pseudonyms a dataset has, and what its study is to consents.

    ``key`` is 32 random bytes in base64. What stands here can be said on the command line too.
    """

    project: Project = "dataset"
    key: Secret | None = None
    profile: str = "safe-harbor"
    studies: tuple[Named, ...] = ()
    recipients: tuple[Named, ...] = ()
    title: str = ""
    authors: tuple[str, ...] = ()
    licence: str = ""
