"""What is done with data at a site, and the explicit exceptions: what the decision about consent is asked."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from fhirbridge.config.table import Table
from fhirbridge.records.base import Sensitivity
from fhirbridge.records.consent import Purpose

# How consents name somebody or something: SYSTEM|VALUE of an identifier.
Named = Annotated[str, StringConstraints(max_length=2048, pattern=r"^[^\s|]+\|\S(.*\S)?$")]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
Basis = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"\S")]
SiteAct: TypeAlias = Literal["treat", "share", "research", "regulatory_report", "store"]
ExceptedAct: TypeAlias = Literal["treat", "share", "research", "regulatory_report", "emergency"]
AfterWithdrawal: TypeAlias = Literal["retract", "delete", "notify", "keep"]


class ExceptionSettings(Table):
    """A table of ``consent.exceptions``: a legal exception. These kinds go under this act, whatever the patient
    signed; with ``recipients``, only to those."""

    name: Word
    act: ExceptedAct
    kinds: Annotated[tuple[Word, ...], Field(min_length=1)]
    basis: Basis
    recipients: tuple[Named, ...] = ()


class LabelSettings(Table):
    """A table of ``consent.labels``: which content is sensitive: records of these kinds, or with one of these codes."""

    label: Sensitivity
    kinds: tuple[Word, ...] = ()
    codes: tuple[Named, ...] = ()


class ConsentSettings(Table):
    """``[consent]``: what holds for the whole clinic, beside what its patients signed."""

    exceptions: tuple[ExceptionSettings, ...] = ()
    labels: tuple[LabelSettings, ...] = ()


class SiteConsentSettings(Table):
    """``[site.NAME.consent]``: what happens there to what is sent, and who it is that receives it."""

    act: SiteAct = "share"
    recipients: tuple[Named, ...] = ()
    studies: tuple[Named, ...] = ()
    purposes: tuple[Purpose, ...] = ()
    after_withdrawal: AfterWithdrawal = "retract"
    pull: SiteAct | None = None
    trust: bool = False
