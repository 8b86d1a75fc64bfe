"""OperationOutcome: what a server says was wrong.

Diagnostics quote names, numbers and whole identifiers, so an issue keeps its words apart: faults, errors and logs get
the severity, the code, the path and a vendor's error number; ``text`` is for the terminal of somebody who asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fhirbridge.errors import Fault
from fhirbridge.fhir.json import Json

ERRORS = frozenset({"fatal", "error"})
_SEVERITIES = ERRORS | {"warning", "information", "success"}
# https://hl7.org/fhir/R5/valueset-issue-type.html: anything else may be free text that strayed.
_CODES = frozenset(
    {
        "invalid", "structure", "required", "value", "invariant", "security", "login", "unknown", "expired",
        "forbidden", "suppressed", "processing", "not-supported", "duplicate", "multiple-matches", "not-found",
        "deleted", "too-long", "code-invalid", "extension", "too-costly", "business-rule", "conflict",
        "limited-filter", "transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled",
        "informational", "success",
    }
)  # fmt: skip
# FHIRPath of elements and positions only; a `where(…)` could quote a value.
_EXPRESSION = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\[[0-9]{1,6}\]|\.[A-Za-z][A-Za-z0-9]*|\.ofType\([A-Za-z]+\))*")
_VENDOR = re.compile(r"\bHAPI-[0-9]{3,5}\b|\bMSG_[A-Z_]{3,40}\b|\bSUCCESSFUL_[A-Z_]{3,60}\b")
# Azure: "The number of entries in the bundle exceeded the configured limit of 500", as 400 and not as 413.
_ENTRIES = r"(?:entries|entry|bundle|batch|transaction|request|payload|body)"
_MOST = r"(?:limit|maximum|too (?:many|large|big)|exceed)"
_OVER_LIMIT = re.compile(rf"(?is)\b{_ENTRIES}\b.{{0,80}}\b{_MOST}|\b{_MOST}.{{0,80}}\b{_ENTRIES}\b")
OVER_LIMIT = "over-limit"
_MOST_WORDS = 4_000


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue. ``paths`` are element paths, ``vendor`` error numbers.

    ``text`` may hold patient data and shows nowhere by itself.
    """

    severity: str
    code: str
    paths: tuple[str, ...] = ()
    vendor: tuple[str, ...] = ()
    text: str = field(default="", repr=False)

    def as_fault(self) -> Fault:
        """The issue without the server's words."""
        numbers = f" {', '.join(self.vendor)}" if self.vendor else ""
        return Fault(f"site.{self.code}", ", ".join(self.paths), f"the server says {self.severity}{numbers}")


def issues(outcome: Json) -> tuple[Issue, ...]:
    """The issues of an OperationOutcome; none for anything else."""
    if not isinstance(outcome, dict) or outcome.get("resourceType") != "OperationOutcome":
        return ()
    return tuple(_issue(one) for one in _dicts(outcome.get("issue")))


def signals(said: Iterable[Issue]) -> frozenset[str]:
    """What a refusal says, without its words: issue codes, vendors' error numbers, and :data:`OVER_LIMIT` where the
    words speak of a limit on bundles or bodies, which some servers say in no other way."""
    found: set[str] = set()
    for issue in said:
        found |= {issue.code, *issue.vendor}
        if issue.severity in ERRORS and _OVER_LIMIT.search(issue.text[:_MOST_WORDS]):
            found.add(OVER_LIMIT)
    return frozenset(found)


def _issue(tree: dict[str, Any]) -> Issue:
    severity, code = tree.get("severity"), tree.get("code")
    details = tree.get("details") if isinstance(tree.get("details"), dict) else {}
    words = [tree.get("diagnostics"), details.get("text") if isinstance(details, dict) else None]
    text = "\n".join(word for word in words if isinstance(word, str))
    codes = [one.get("code") for one in _dicts(details.get("coding") if isinstance(details, dict) else None)]
    spoken = " ".join([text, *(one for one in codes if isinstance(one, str))])
    return Issue(
        severity if isinstance(severity, str) and severity in _SEVERITIES else "error",
        code if isinstance(code, str) and code in _CODES else "unknown",
        tuple(dict.fromkeys(_paths(tree))),
        tuple(dict.fromkeys(_VENDOR.findall(spoken))),
        text,
    )


def _paths(tree: dict[str, Any]) -> Iterator[str]:
    for name in ("expression", "location"):
        listed = tree.get(name)
        for path in listed if isinstance(listed, list) else ():
            if isinstance(path, str) and len(path) <= 200 and _EXPRESSION.fullmatch(path):
                yield path


def _dicts(listed: Json) -> list[dict[str, Any]]:
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
