"""What the clinic decides beside its patients: explicit legal exceptions, and which content is sensitive."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from fhirbridge.consent.act import OUTWARD, ActName
from fhirbridge.records.base import Ref


@dataclass(frozen=True, slots=True)
class LegalException:
    """Records of these kinds go under this act whatever the patient signed, on the legal ``basis`` that is stated here.

    With ``recipients``, only to those. Raises ``ValueError`` for an act that discloses nothing, for no kinds, and for
    no basis: an exception is explicit or there is none.
    """

    name: str
    act: ActName
    kinds: frozenset[str]
    basis: str
    recipients: tuple[Ref, ...] = ()

    def __post_init__(self) -> None:
        if self.act not in OUTWARD or not self.kinds or not self.basis.strip() or not self.name:
            raise ValueError("an exception has a name, an act that discloses, kinds of records, and a legal basis")


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Content of these kinds, or with one of these codes as (system, code), carries the label, a word of the record."""

    label: str
    kinds: frozenset[str] = frozenset()
    codes: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Policies:
    """``zone`` is the clinic's: where a consent gives a day without a time, it is a day there."""

    exceptions: tuple[LegalException, ...] = ()
    labels: tuple[LabelRule, ...] = ()
    zone: dt.tzinfo = dt.UTC


NO_POLICIES = Policies()
