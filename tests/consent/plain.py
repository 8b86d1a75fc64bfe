"""The plain words in which ``cases.toml`` states what was signed, what is about to happen, and the answer.

A consent is a line and the rules below it, each indented under what it is an exception to::

    sharing active deny period=2026-01-01..2026-12-31
      permit to=HOSPITAL-1 for=treatment
        deny labelled=psychotherapy_notes

A question is an act, what it is about, and the answer::

    treat HOSPITAL-1 : session on=2026-03-01 -> deny not-covered | why
"""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from fhirbridge.consent import Act, Evidence, Found, LabelRule, LegalException, Part, Policies, Subject, Unreadable
from fhirbridge.records import Consent, parse
from fhirbridge.records.base import Ref
from tests.strategies.base import Tree

SID = "https://clinic.example/sid"
PATIENT = {"type": "Patient", "identifier": {"system": f"{SID}/patient", "value": "P-1"}}
NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
SYSTEMS = {
    "LOINC": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "ACT": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "CONF": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "REASON": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "ROLE": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
    "ACTION": "http://terminology.hl7.org/CodeSystem/consentaction",
    "SCOPE": "http://terminology.hl7.org/CodeSystem/consentscope",
    "OTHER": "https://elsewhere.example/codes",
}
_TYPES = {
    "sharing": "privacy_sharing",
    "rems": "rems_enrollment",
}
_PEOPLE = {
    "NURSE": "Practitioner",
    "MD": "Practitioner",
    "MOTHER": "RelatedPerson",
    "P": "Patient",
    "KET": "ResearchStudy",
}
_RESOURCES = {
    "session": "Procedure",
    "vital_sign": "Observation",
    "assessment": "Observation",
    "adverse_event": "AdverseEvent",
    "consent": "Consent",
    "document": "DocumentReference",
}


def name(text: str) -> Tree:
    """Whom or what a name of the table stands for, as a reference."""
    kind, colon, value = text.partition(":")
    if colon and kind == "CALLED":
        return {"type": "Organization", "display": value}
    if colon and kind == "AT":
        return {"literal": value}
    if colon and kind == "NPI":
        return {"type": "Organization", "identifier": {"system": "http://hl7.org/fhir/sid/us-npi", "value": value}}
    if colon and kind == "PLAIN":
        return {"type": "Organization", "identifier": {"value": value}}
    if colon:
        return {"type": kind, "identifier": {"system": f"{SID}/{kind.lower()}", "value": value}}
    type_ = _PEOPLE.get(text.partition("-")[0], "Organization")
    return {"type": type_, "identifier": {"system": f"{SID}/{type_.lower()}", "value": text}}


def ref(text: str) -> Ref:
    return parse(Ref, name(text))


def coding(text: str) -> Tree:
    system, _, code = text.partition("|")
    return {"system": SYSTEMS.get(system, system), "code": code}


def _word(text: str) -> Any:
    return coding(text) if "|" in text else text


def _concept(text: str) -> Any:
    return {"codings": [coding(text)]} if "|" in text else text


def _span(text: str) -> Tree:
    start, _, end = text.partition("..")
    return {key: value for key, value in (("start", start), ("end", end)) if value}


def _options(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    for word in words:
        key, _, value = word.partition("=")
        yield key, value.split(",")


_ROLES = {"to": "recipient", "primary": "primary_recipient", "custodian": "custodian"}
_MEANINGS = ("instance", "related", "dependents", "authoredby")


def rule(words: list[str]) -> Tree:
    """A rule from its words."""
    found: Tree = {"effect": words[0]}
    for key, values in _options(words[1:]):
        if key in _ROLES:
            found.setdefault("actors", []).extend({"role": _ROLES[key], "party": name(one)} for one in values)
        elif key == "role":
            found.setdefault("actors", []).append({"role": _concept(values[0]), "party": name(values[1])})
        elif key in _MEANINGS:
            found.setdefault("data", []).extend({"meaning": key, "item": name(one)} for one in values)
        elif key == "action":
            found["actions"] = [_concept(one) for one in values]
        elif key == "for":
            found["purposes"] = [_word(one) for one in values]
        elif key == "labelled":
            found["labels"] = [_word(one) for one in values]
        elif key == "type":
            found["resource_types"] = values
        elif key == "document":
            found["document_types"] = [coding(one) for one in values]
        elif key == "code":
            found["codes"] = [{"codings": [coding(one)]} for one in values]
        elif key == "words":
            found["codes"] = [{"text": one} for one in values]
        elif key == "data":
            found["data_period"] = _span(values[0])
        elif key == "during":
            found["period"] = _span(values[0])
        else:
            raise ValueError(key)
    return found


def _heading(words: list[str], number: int) -> tuple[Tree, str, bool]:
    """A consent without rules; where it was found; whether it may permit."""
    tree: Tree = {
        "id": f"C{number}",
        "revision": 1,
        "patient": PATIENT,
        "consent_type": _TYPES.get(words[0], words[0]),
        "state": words[1],
        "decision": words[2],
        "signed_at": "2026-01-05T09:00:00-05:00",
        "grantors": [PATIENT],
    }
    origin, may_permit = "", False
    for key, values in _options(words[3:]):
        value = values[0]
        if key in ("id", "language"):
            tree[key] = value
        elif key == "revision":
            tree[key] = int(value) if value.isdigit() else value
        elif key == "signed":
            tree["signed_at"] = value
        elif key == "period":
            tree["period"] = _span(value)
        elif key == "replaces":
            tree["supersedes"] = {"type": "Consent", "identifier": {"system": f"{SID}/consent", "value": value}}
        elif key == "withdrawn":
            day, _, scope = value.partition("/")
            tree["withdrawal"] = {"at": day} | ({"scope": scope} if scope else {})
        elif key == "by":
            tree["grantors"] = [name(one) for one in values]
        elif key == "capable":
            tree["grantor_capacity"] = {"capable": value == "yes"}
        elif key == "study":
            tree["studies"] = [name(one) for one in values]
        elif key == "category":
            tree["categories"] = [_concept(one) for one in values]
        elif key == "scope":
            tree["scope"] = {"codings": [coding(value)]}
        elif key == "policy":
            tree["legal_bases"] = [_concept(value)]
        elif key == "implied":
            tree["decision_implied"] = True
        elif key == "found":
            origin = value
        elif key == "may-permit":
            may_permit = True
        else:
            raise ValueError(key)
    return tree, origin, may_permit


def signed(text: str) -> list[Evidence]:
    """The consents that a text states."""
    found: list[tuple[Tree, str, bool]] = []
    unreadable: list[Evidence] = []
    inner: list[list[Tree]] = []
    for line in text.splitlines():
        words = shlex.split(line)
        if not words:
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        if words[0] == "unreadable":
            unreadable.append(Unreadable(words[1], words[2]))
        elif depth == 0:
            found.append(_heading(words, len(found) + 1))
            inner = [found[-1][0].setdefault("provisions", [])]
        else:
            one = rule(words)
            inner[depth - 1].append(one)
            inner[depth:] = [one.setdefault("exceptions", [])]
    return [*(_evidence(*one) for one in found), *unreadable]


def _evidence(tree: Tree, origin: str, may_permit: bool) -> Evidence:
    consent = parse(Consent, tree)
    return Found(consent, origin, may_permit) if origin else consent


def act(text: str) -> Act:
    words = shlex.split(text)
    given: dict[str, Any] = {"recipients": []}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            given["recipients"].append(ref(word))
        elif key == "for":
            given["purposes"] = tuple(value.split(","))
        elif key == "study":
            given["studies"] = tuple(ref(one) for one in value.split(","))
        elif key == "action":
            given["action"] = value
        else:
            raise ValueError(key)
    return Act(words[0], **given | {"recipients": tuple(given["recipients"])})  # type: ignore[arg-type]


def subject(text: str) -> Subject:
    """What an act is about; unless said otherwise, restricted psychiatric data of the tenth of November 2026."""
    words = shlex.split(text)
    kind = words[0]
    given: dict[str, Any] = {
        "resource_type": _RESOURCES.get(kind, ""),
        "labels": frozenset({"restricted", "psychiatry"}),
        "start": "2026-11-10T10:00:00-05:00",
        "end": "2026-11-10T12:00:00-05:00",
    }
    for key, values in _options(words[1:]):
        if key == "on":
            given["start"], _, end = values[0].partition("..")
            given["end"] = end or None
        elif key == "undated":
            given["start"] = given["end"] = None
        elif key == "labels":
            given["labels"] = frozenset(filter(None, values))
        elif key == "also":
            given["labels"] = given["labels"] | set(values)
        elif key == "code":
            given["codes"] = frozenset((coding(one)["system"], coding(one)["code"]) for one in values)
        elif key == "document":
            given["document_types"] = frozenset((coding(one)["system"], coding(one)["code"]) for one in values)
        elif key in ("own", "related", "authors"):
            given[key] = tuple(ref(one) for one in values)
        elif key == "part":
            given["parts"] = frozenset(Part(*one.split("/")) for one in values)  # type: ignore[arg-type]
        elif key == "type":
            given["resource_type"] = values[0]
        elif key == "state":
            given["state"] = values[0]
        else:
            raise ValueError(key)
    return Subject(kind, **given)


class Question(NamedTuple):
    """A question with its answer: effect, reason, and the obligations by name."""

    act: Act
    subject: Subject
    at: dt.datetime
    effect: str
    reason: str
    obligations: frozenset[str]
    why: str


def question(line: str) -> Question:
    asked, _, answer = line.partition("->")
    answer, _, why = answer.partition("|")
    doing, _, about = asked.partition(" : ")
    about, _, at = about.partition("@")
    effect, reason, *obligations = answer.split()
    moment = dt.datetime.fromisoformat(at.strip()) if at else NOW
    return Question(act(doing), subject(about), moment, effect, reason, frozenset(obligations), why.strip())


def policies(group: dict[str, Any]) -> Policies:
    """The configuration that a group of cases states."""
    exceptions = []
    for text in group.get("exceptions", ()):
        named, doing, kinds, *recipients = text.split()
        names = tuple(ref(one) for one in recipients)
        exceptions.append(LegalException(named, doing, frozenset(kinds.split(",")), "stated in the table", names))
    rules = []
    for text in group.get("labels", ()):
        label, key, values = text.split()
        listed = values.split(",")
        codes = (
            frozenset((coding(one)["system"], coding(one)["code"]) for one in listed) if key == "codes" else frozenset()
        )
        rules.append(LabelRule(label, frozenset(listed) if key == "kinds" else frozenset(), codes))
    return Policies(tuple(exceptions), tuple(rules))
