"""A second reading of a FHIR Consent, straight from its JSON: does it plainly permit sending data to one recipient?

It is short and strict, and shares nothing with the mapping or the decision: what it does not expect is no permission.
It knows only what the bodies of ``mutations.py`` use.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.consent.plain import SID, SYSTEMS

NO, MAYBE, YES = 0, 1, 2
_BASE = "https://fhirbridge.example/fhir/StructureDefinition"
_RECIPIENT = {"system": f"{SID}/organization", "value": "HOSPITAL-1"}
# Labels that surely are none of those that are asked about; that of substance use, only if it is the very one.
_LABELS = {(SYSTEMS["ACT"], code) for code in ("PSY", "PSYTHPN", "MH", "BH", "SUD")}
_LABELS |= {(SYSTEMS["CONF"], code) for code in ("R", "N", "V")}
_CONDITIONS = {"actor", "purpose", "securityLabel", "class", "resourceType"}
_HARMLESS = {"id", "extension", "period", "type", "provision"}


class Asked(NamedTuple):
    """What is asked: a resource type, its sensitivity code, the day."""

    resource_type: str
    label: str
    day: str


def permits(body: Any, r5: bool, asked: Asked) -> bool:
    """Whether the body, as it stands, says yes."""
    try:
        return _permits(body, r5, asked)
    except (AttributeError, KeyError, TypeError, IndexError):
        return False


def _permits(body: Any, r5: bool, asked: Asked) -> bool:
    if body["resourceType"] != "Consent" or body["status"] != "active" or "modifierExtension" in repr(body):
        return False
    matter = [coding for one in body["category"] for coding in one.get("coding", [])] if r5 else body["scope"]["coding"]
    if (SYSTEMS["SCOPE"], "patient-privacy") not in _pairs(matter):
        return False
    urls = [one["url"] for one in body.get("extension", [])]
    if f"{_BASE}/internal-status" in urls or f"{_BASE}/withdrawal" in urls:
        return False
    root = body.get("provision", {})
    period = body.get("period", {}) if r5 else root.get("period", {})
    if not period.get("start", "0000")[:10] <= asked.day <= period.get("end", "9999")[:10]:
        return False
    if r5:
        denies = body["decision"] != "permit"
        return not _denied(body.get("provision", []), denies, asked, r5)
    # Silence denies sharing (specification §3.4.3, step 5); nested rules still say what they say.
    effect = root.get("type", "deny")
    if _CONDITIONS & root.keys():
        # A root with conditions is one rule, and the rest is the opposite: only a permit can be granted by it.
        return effect == "permit" and not _denied([root], True, asked, r5)
    return not _denied(root.get("provision", []), effect != "permit", asked, r5)


def _denied(rules: list[Any], otherwise: bool, asked: Asked, r5: bool) -> bool:
    """Whether rules within something that denies, or permits, ``otherwise`` deny."""
    answers = []
    for rule in rules:
        denies = not otherwise if r5 else rule["type"] != "permit"
        answer = _matches(rule, asked)
        if answer != NO:
            answers.append((answer, _denied(rule.get("provision", []), denies, asked, r5)))
    if any(denied for _, denied in answers):
        return True
    return not any(answer == YES for answer, _ in answers) and otherwise


def _matches(rule: Any, asked: Asked) -> int:
    # What FHIR hangs at a primitive has a name that begins with a stroke, and is no condition.
    strange = {name for name in rule if not name.startswith("_")} - _CONDITIONS - _HARMLESS
    answers = [MAYBE if strange else YES]
    if "actor" in rule:
        answers.append(max(_actor(one) for one in rule["actor"]))
    if "purpose" in rule:
        found = _pairs(rule["purpose"])
        known = all(system == SYSTEMS["REASON"] for system, _ in found)
        answers.append(YES if (SYSTEMS["REASON"], "TREAT") in found else NO if known else MAYBE)
    if "securityLabel" in rule:
        found = _pairs(rule["securityLabel"])
        known = all(pair in _LABELS for pair in found)
        answers.append(YES if (SYSTEMS["ACT"], asked.label) in found else NO if known else MAYBE)
    for name in ("class", "resourceType"):
        named = [one["code"] for one in rule.get(name, ())]
        answers.append(YES if name not in rule or asked.resource_type in named else NO)
    return min(answers)


def _actor(one: Any) -> int:
    if (SYSTEMS["ROLE"], "IRCP") not in _pairs(one["role"].get("coding", ())):
        return MAYBE
    if one["reference"].get("type") in ("Patient", "RelatedPerson"):
        # No organisation is the patient's.
        return NO
    named = one["reference"].get("identifier", {})
    if named.get("system") != _RECIPIENT["system"] or "value" not in named:
        return MAYBE
    return YES if named["value"] == _RECIPIENT["value"] else NO


def _pairs(codings: Any) -> list[tuple[Any, Any]]:
    return [(one.get("system"), one.get("code")) for one in codings]
