"""A gate for the tests: a consent's body is one word, and every consent of the patient has to say yes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from fhirbridge.ledger import Action, Asked, Consents, Evidence, Verdict

PATIENT = "patient-1"


def consent(said: str | None, revision: int | str = 1, *, record: str = "c-1", **other: str) -> Evidence:
    """A consent that says ``yes``, ``no``, ``yes until 1500``, ``no until 1500``; None: cannot be read."""
    values = {"patient": PATIENT, "source": ""} | other
    body = None if said is None else said.encode()
    reason = "" if said is not None else "consent.unknown_code"
    return Evidence(record=record, revision=revision, body=body, reason=reason, **values)


class Signed:
    """Permits a PUT where there are consents and all say yes; a RETRACT always. Safe for threads."""

    def __init__(self) -> None:
        self.known: dict[str, Consents] = {}
        self.asked: list[Asked] = []
        self._answers: dict[tuple[str, int, Action], Verdict] = {}
        self._lock = threading.Lock()

    def knows(self, patient: str, version: int) -> bool:
        """See ``Gate``."""
        return patient in self.known and self.known[patient].version == version

    def learn(self, consents: Consents) -> None:
        """See ``Gate``."""
        self.known[consents.patient] = consents

    def decide(self, patient: str, version: int, asked: Sequence[Asked], now: float) -> Sequence[Verdict]:
        """See ``Gate``."""
        with self._lock:
            assert self.knows(patient, version)
            self.asked.extend(asked)
            return [self._decide(self.known[patient], one.action, now) for one in asked]

    def _decide(self, consents: Consents, action: Action, now: float) -> Verdict:
        named = ",".join(f"{one.record}@{one.revision}" for one in consents.evidence)
        if action is Action.RETRACT:
            answer = Verdict(permit=True, act="retract", reason="permitted", consents=named)
        else:
            answer = _said(consents, named, now)
        # The same object for the same answer.
        name = (consents.patient, consents.version, action)
        if self._answers.get(name) != answer:
            self._answers[name] = answer
        return self._answers[name]


def _said(consents: Consents, named: str, now: float) -> Verdict:
    if not consents.evidence:
        return Verdict(permit=False, act="share", reason="no-consent")
    if any(one.body is None for one in consents.evidence):
        return Verdict(permit=False, act="share", reason="unreadable", consents=named)
    words = [one.body.decode().split() for one in consents.evidence if one.body is not None]
    ends = [float(word[2]) for word in words if len(word) > 1 and float(word[2]) > now]
    # What is said until some time is turned round after it.
    yes = [(word[0] == "yes") is (len(word) == 1 or now < float(word[2])) for word in words]
    reason = "permitted" if all(yes) else "withdrawn"
    return Verdict(permit=all(yes), act="share", reason=reason, consents=named, until=min(ends, default=None))
