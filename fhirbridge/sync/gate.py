"""The gate of one site: what the ledger asks before it hands out a delivery, answered from the patient's consents.

The decision itself is :mod:`fhirbridge.consent`. Here is what it is asked: which act a delivery is, and about what. Who
asks for something twice gets the same answer object, and for a patient whose consents are known nothing is read anew.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec

from fhirbridge.consent import RETRACTION, Act, Decider, Decision, Policies, Subject
from fhirbridge.ledger import Action, Asked, Consents, Known, Ledger, Server, State, Verdict
from fhirbridge.records import Consent
from fhirbridge.site import Site
from fhirbridge.sync.evidence import read
from fhirbridge.sync.subject import Subjects, shared_in

# Patients whose consents are kept ready, those asked about last.
_MOST_PATIENTS = 1_000
# Different answers kept of one patient: rules tell few sorts of data apart.
_MOST_ANSWERS = 1_000
NOTIFY = Act("notify_withdrawal")
RETRACT = Act("retract")
_TAKEN_BACK = Subject(RETRACTION)
# Seconds after which it is decided anew whether a site is told of a withdrawal, when nobody had looked whether it has
# anything of the patient.
_SOON = 1.0
# The reason for a delivery of which the ledger keeps nothing that could be judged.
_NO_SUBJECT = Verdict(False, "", "unknown-subject")
UNFULFILLED = "obligation"
_NOTICE = "redisclosure-notice"


@dataclass(slots=True)
class _Ready:
    """One patient's consents, ready to be asked, and the answers given until ``until`` (epoch seconds)."""

    version: int
    decider: Decider
    # What of that which no two resources share the rules look at.
    by_one: frozenset[str]
    since: float = 0.0
    until: float | None = 0.0
    # Whether the site was ever given anything of the patient; nobody has looked yet: None.
    reached: bool | None = None
    # By the identity of the decision, which is kept along with the answer so that nothing else gets its number.
    answers: dict[tuple[int, str], tuple[Decision, Verdict]] = field(default_factory=dict)
    # By kind, type and what the subject shares with others.
    usual: dict[tuple[str, str, str], Verdict] = field(default_factory=dict)


class SiteGate:
    """Decides for one site. May be shared by threads."""

    def __init__(self, act: Act, policies: Policies) -> None:
        self._act, self._policies = act, policies
        self._wondering: set[str] = set()
        self._patients: OrderedDict[str, _Ready] = OrderedDict()
        self._subjects = Subjects()
        self._lock = threading.Lock()

    def knows(self, patient: str, version: int) -> bool:
        """Whether this version of the patient's consents is ready."""
        with self._lock:
            ready = self._patients.get(patient)
            return ready is not None and ready.version == version

    def learn(self, consents: Consents) -> None:
        """Make a patient's consents ready."""
        decider = Decider(read(consents), self._policies)
        ready = _Ready(consents.version, decider, _OF_ONE & decider.looks_at(self._act))
        with self._lock:
            self._patients[consents.patient] = ready
            self._patients.move_to_end(consents.patient)
            if len(self._patients) > _MOST_PATIENTS:
                self._patients.popitem(last=False)

    @property
    def wonders(self) -> bool:
        """Whether :meth:`look` would find out something that a decision waits for."""
        return bool(self._wondering)

    def look(self, ledger: Ledger, site: str) -> None:
        """Find out, for the patients of whom it had to be known, whether ``site`` has, or had, anything of theirs.

        Rows are locked while the gate is asked, so it cannot look then. Raises :class:`LedgerError`.
        """
        with self._lock:
            waiting, self._wondering = self._wondering, set()
        for patient in waiting:
            reached = any(map(may_be_there, ledger.of_patient(site, patient)))
            with self._lock:
                if patient in self._patients:
                    self._patients[patient].reached = reached

    def decide(self, patient: str, version: int, asked: Sequence[Asked], now: float) -> Sequence[Verdict]:
        """One answer for each delivery, in order; ``now`` is in epoch seconds. The version must be known."""
        at = dt.datetime.fromtimestamp(now, dt.UTC)
        with self._lock:
            self._patients.move_to_end(patient)
            ready = self._patients[patient]
            if not ready.since <= now or (ready.until is not None and ready.until <= now):
                changes = ready.decider.until(at)
                ready.since, ready.until = now, None if changes is None else changes.timestamp()
                ready.answers.clear()
                ready.usual.clear()
            return [self._verdict(patient, ready, one, at) for one in asked]

    def _verdict(self, patient: str, ready: _Ready, asked: Asked, at: dt.datetime) -> Verdict:
        if asked.action is Action.RETRACT:
            return _answer(ready, RETRACT, ready.decider.decide(RETRACT, _TAKEN_BACK, at))
        if not asked.subject:
            # The clinic's own server is given everything; nothing else can be judged by nothing.
            stored = self._act.name == "store"
            return _answer(ready, self._act, ready.decider.decide(self._act, _STORED, at)) if stored else _NO_SUBJECT
        if asked.kind != Consent.kind:
            return self._of_data(ready, asked, at)
        subject = self._subjects.read(asked.kind, asked.resource_type, asked.subject)
        found = _answer(ready, self._act, ready.decider.decide(self._act, subject, at))
        if found.permit:
            return found
        # The site is told that a consent holds no longer, if it was ever given anything because of one.
        told = ready.decider.decide(NOTIFY, subject, at)
        if not told.permitted or ready.reached is False:
            return found
        if asked.acked or ready.reached:
            return _answer(ready, NOTIFY, told)
        self._wondering.add(patient)
        return replace(found, until=at.timestamp() + _SOON)

    def _of_data(self, ready: _Ready, asked: Asked, at: dt.datetime) -> Verdict:
        kind, resource_type, text = asked.kind, asked.resource_type, asked.subject
        if ready.by_one:
            subject = self._subjects.read(kind, resource_type, text, names="data" in ready.by_one)
            return _answer(ready, self._act, ready.decider.decide(self._act, subject, at))
        key = kind, resource_type, shared_in(text)
        usual = ready.usual.get(key)
        if usual is None:
            subject = self._subjects.read(kind, resource_type, text, own=False)
            usual = _answer(ready, self._act, ready.decider.decide(self._act, subject, at))
            if len(ready.usual) >= _MOST_ANSWERS:
                ready.usual.clear()
            ready.usual[key] = usual
        return usual


_STORED = Subject("")
# What no two resources share; most consents do not look at it.
_OF_ONE = frozenset({"period", "data"})


def gate_of(site: Site) -> SiteGate:
    """The gate for what is sent to a site."""
    return SiteGate(site.act, site.policies)


def may_be_there(row: Known) -> bool:
    """Whether the site holds, or held, something under this identity, as far as anybody knows."""
    if row.acked is not None or row.server in (Server.PRESENT, Server.RETRACTED, Server.GONE, Server.CONFLICT):
        return True
    # A doubt that nobody could clear up, or that nobody may ask about any more.
    doubted = row.state is State.PARKED and row.reason.startswith(("consent.", "doubt."))
    return row.server is Server.UNSEEN and (doubted or row.state in (State.UNKNOWN, State.IN_FLIGHT))


def fulfils(decision: Decision) -> bool:
    """Whether what a permission demands is done. Nothing is left out, masked or made anonymous on the way to or from a
    site: what would need that does not go. The notice of 42 CFR 2.32 stands in the resource already."""
    return all(one.name == _NOTICE for one in decision.obligations)


def _answer(ready: _Ready, act: Act, decision: Decision) -> Verdict:
    """The decision as the ledger keeps it; the same object for the same decision."""
    key = id(decision), act.name
    kept = ready.answers.get(key)
    if kept is not None:
        return kept[1]
    permit, reason = decision.permitted, decision.reason
    if permit and not fulfils(decision):
        permit, reason = False, UNFULFILLED
    consents = ",".join(dict.fromkeys(f"{step.consent}@{step.revision}" for step in decision.trail))
    trail = msgspec.json.encode([tuple(step) for step in decision.trail]).decode()
    verdict = Verdict(permit, act.name, reason, consents, trail, ready.until)
    if len(ready.answers) >= _MOST_ANSWERS:
        ready.answers.clear()
    ready.answers[key] = decision, verdict
    return verdict
