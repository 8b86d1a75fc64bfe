"""The words about consents: what is kept of them, what a gate is asked, and what it says. Times are epoch seconds.

A body is patient data: it is in no ``repr``. ``patient`` is the key of the patient's lanes, the same at every site.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from fhirbridge.ledger.states import Action, Server, State


@dataclass(frozen=True, slots=True)
class Evidence:
    """One revision of a consent of a patient: the clinic's own (``source`` is ""), or found at a site (its name).

    ``patient`` is the key of the patient's lanes. ``body`` is what a gate reads; None for one that could not be read,
    with the code in ``reason``.
    """

    patient: str
    source: str
    record: str
    revision: int | str
    body: bytes | None = field(repr=False)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Consents:
    """The newest revision of each consent of a patient. ``version`` grows with every change of them; 0: none yet."""

    patient: str
    version: int
    evidence: tuple[Evidence, ...] = ()


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A delivery about which a gate is asked; ``acked`` says that the site has acknowledged one of this identity."""

    kind: str
    record: str
    role: str
    generation: int
    revision: str
    resource_type: str
    action: Action
    subject: str
    server: Server
    acked: bool

    def __repr__(self) -> str:
        """Without what is patient data."""
        return f"Asked(kind={self.kind!r}, role={self.role!r}, action={self.action.value!r})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's answer: whether it may go, as which act, why, and by which consents ("c-1@2,c-3@1").

    ``trail`` is JSON text for people. ``until`` is when the answer may change by itself.
    """

    permit: bool
    act: str
    reason: str
    consents: str = ""
    trail: str = "[]"
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that was kept, and the delivery it was made on. ``at`` is when it was first made."""

    id: int
    at: float
    act: str
    permit: bool
    reason: str
    consents: str
    trail: str
    delivery: int
    role: str
    generation: int
    revision: str
    state: State


@dataclass(frozen=True, slots=True)
class Patient:
    """How far the newest change of a patient's consents has come: ``requested_at`` it was written down.

    From ``effective_at`` on, nothing goes that was decided before it; behind it while ``effective`` < ``version``.
    """

    key: str
    version: int
    requested_at: float | None
    effective: int
    effective_at: float | None
