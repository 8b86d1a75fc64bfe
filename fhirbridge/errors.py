"""Every error fhirbridge raises, in one tree.

    FhirbridgeError                 code, message, hint
    ├── Refused                     a list of faults: what was wrong, where, what to do
    │   ├── RecordRefused           a record of the clinic breaks its own rules
    │   ├── ResourceRefused         a FHIR resource cannot become a record without loss of meaning
    │   └── NotExpressible          a record cannot be said in the target release
    ├── JsonError                   text that is not JSON, or JSON that two readers would read differently
    ├── ConfigError                 fhirbridge.toml or the environment is wrong                   (exit 2)
    ├── UsageError                  the command line is wrong                                     (exit 2)
    ├── SourceError                 a file that cannot be read as records at all                  (exit 2)
    ├── LedgerError                 the durable state of the deliveries
    │   ├── LedgerUnavailable       locked, full, read-only, out of reach: nothing was written, try again
    │   ├── LedgerMismatch          made with another id key, by a newer version, or no ledger    (exit 2)
    │   ├── LeaseLost               somebody else holds these patients' lanes now
    │   └── ConsentChanged          what was permitted when the lanes were claimed has to be decided anew
    ├── VaultError                  something that is sealed cannot be opened, or may not be sealed   (exit 2)
    ├── Leaking                     something stands in a dataset that must not
    ├── AuditError                  the audit trail is not what it was, or cannot be read
    │   └── AuditUnavailable        it cannot be written; nothing leaves without it
    └── SiteError                   a FHIR server
        ├── SiteUnreachable         no answer: refused, timed out, broken off                     (exit 3)
        ├── SiteRefused             an answer with an error status, its OperationOutcome parsed
        └── SiteUntrusted           an answer that must not be believed or followed

Messages carry paths and codes, never the values of a record: they end in logs and tickets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: ``code`` is stable, ``path`` says where, ``hint`` what to do next."""

    code: str
    path: str
    reason: str
    hint: str = ""

    def under(self, prefix: str) -> Fault:
        """The same fault seen from one level up; ``prefix`` is a member name or ``name[index]``."""
        if not self.path:
            return replace(self, path=prefix)
        joint = "" if self.path.startswith("[") else "."
        return replace(self, path=f"{prefix}{joint}{self.path}")

    def as_json(self) -> dict[str, str]:
        """The fault as one JSON object, for reject files and ``--json``."""
        pairs = {"code": self.code, "path": self.path, "reason": self.reason, "hint": self.hint}
        return {key: value for key, value in pairs.items() if value}

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        advice = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.reason} [{self.code}]{advice}"


class FhirbridgeError(Exception):
    """The root of the tree. ``code`` is stable, ``hint`` says what to do next."""

    code = "fhirbridge"

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        advice = f" ({self.hint})" if self.hint else ""
        return f"{self.message} [{self.code}]{advice}"


class Refused(FhirbridgeError):
    """One or more faults, all of them at once."""

    code = "refused"

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(map(str, self.faults)))

    @classmethod
    def at(cls, code: str, path: str, reason: str, hint: str = "") -> Refused:
        """A refusal with a single fault."""
        return cls([Fault(code, path, reason, hint)])

    def under(self, prefix: str) -> list[Fault]:
        """The faults as seen from one level up."""
        return [fault.under(prefix) for fault in self.faults]

    def __str__(self) -> str:
        return self.message


class RecordRefused(Refused):
    """A record of the clinic breaks its own rules."""

    code = "record"


class ResourceRefused(Refused):
    """A FHIR resource cannot become a record without loss of meaning."""

    code = "resource"


class NotExpressible(Refused):
    """A record cannot be said in the target release without changing its meaning (decision D6)."""

    code = "not-expressible"


class JsonError(FhirbridgeError):
    """Text that is not JSON, or JSON that two readers would read differently."""

    code = "json"


class ConfigError(FhirbridgeError):
    """fhirbridge.toml or the environment is wrong."""

    code = "config"


class UsageError(FhirbridgeError):
    """The command line is wrong."""

    code = "usage"


class SourceError(FhirbridgeError):
    """A file that cannot be read as records at all."""

    code = "source"


class LedgerError(FhirbridgeError):
    """The ledger could not do what was asked; nothing was changed."""

    code = "ledger"


class LedgerUnavailable(LedgerError):
    """Locked, full, read-only or out of reach. Nothing was written; the same call works when the cause is gone."""

    code = "ledger.unavailable"


class LedgerMismatch(LedgerError):
    """Not the ledger that belongs here: another id key, a newer schema, or no ledger of ours."""

    code = "ledger.mismatch"


class LeaseLost(LedgerError):
    """A worker's hold on some lanes is over; ``lanes`` are their numbers. Nothing was changed, in any lane."""

    code = "ledger.lease"

    def __init__(self, message: str, *, lanes: Iterable[int], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.lanes = frozenset(lanes)


class ConsentChanged(LedgerError):
    """The consents of patients changed after their ``lanes`` were claimed, or a permission ended. Nothing was begun."""

    code = "ledger.consent-changed"

    def __init__(self, message: str, *, lanes: Iterable[int], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.lanes = frozenset(lanes)


class VaultError(FhirbridgeError):
    """Something that is sealed cannot be opened, or the keys are of no use. Nothing was read in part."""

    code = "vault"


class Leaking(FhirbridgeError):
    """Something stands in the dataset that must not; nothing was kept of it. A leak as text says where and why."""

    code = "dataset.leak"

    def __init__(self, leaks: Iterable[object]) -> None:
        self.leaks = tuple(leaks)
        places = "; ".join(map(str, self.leaks[:10]))
        hint = "mend the profile, or the source; docs/deidentify.md tells the rules"
        super().__init__(f"the leak check found something, so there is no dataset: {places}", hint=hint)


class AuditError(FhirbridgeError):
    """The audit trail is not what it was, or cannot be read."""

    code = "audit"


class AuditUnavailable(AuditError):
    """The audit trail cannot be written: disk full, wrong rights. What it was to announce is not done."""

    code = "audit.unavailable"


class SiteError(FhirbridgeError):
    """A FHIR server did not do what was asked."""

    code = "site"


class SiteUnreachable(SiteError):
    """No answer. ``sent`` tells whether a first byte had left, so that a write may have happened."""

    code = "site.unreachable"

    def __init__(self, message: str, *, sent: bool = False, code: str | None = None, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.sent = sent


class SiteRefused(SiteError):
    """An answer with an error status. ``issues`` are those of its OperationOutcome (code and expression only).

    ``retry_after`` is that header as the server wrote it; ``signals`` are issue codes and vendors' error numbers.
    """

    code = "site.refused"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        issues: Iterable[Fault] = (),
        hint: str = "",
        retry_after: str | None = None,
        signals: Iterable[str] = (),
        code: str | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status
        self.issues = tuple(issues)
        self.retry_after = retry_after
        self.signals = frozenset(signals)


class SiteUntrusted(SiteError):
    """An answer that must not be believed or followed: a foreign link, an oversized body, not JSON."""

    code = "site.untrusted"
