"""Whether a FHIR Consent has the shape of one: every element known, of its type, nothing empty.

A mapping reads what it knows and keeps the rest beside it, which is right for data. A consent decides, so what is
broken in it must not be passed over, not even beside a code that was understood. This is FHIR's structure only: types,
lists, names, what is required; what the codes mean is the mapping's affair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from fhirbridge.errors import Fault
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.text import Date, DateTime, Instant

# The type of an element by its name; in a list, elements that repeat. Lower case: primitives, and what is kept closed.
Shape: TypeAlias = dict[str, "str | list[str]"]

_TYPES: dict[str, Shape] = {
    "Extension": {"url": "uri", "extension": ["Extension"]},
    "Coding": {"system": "uri", "version": "string", "code": "code", "display": "string", "userSelected": "boolean"},
    "CodeableConcept": {"coding": ["Coding"], "text": "string"},
    "Period": {"start": "dateTime", "end": "dateTime"},
    "Identifier": {
        "use": "code",
        "type": "CodeableConcept",
        "system": "uri",
        "value": "string",
        "period": "Period",
        "assigner": "Reference",
    },
    "Reference": {"reference": "string", "type": "uri", "identifier": "Identifier", "display": "string"},
    "Attachment": {
        "contentType": "code",
        "language": "code",
        "url": "uri",
        "creation": "dateTime",
        **dict.fromkeys(("data", "hash", "title"), "string"),
        **dict.fromkeys(("size", "height", "width", "frames", "pages", "duration"), "number"),
    },
    "Beside": {},
    "Actor": {"role": "CodeableConcept", "reference": "Reference"},
    "Data": {"meaning": "code", "reference": "Reference"},
    "Policy": {"authority": "uri", "uri": "uri"},
    "PolicyBasis": {"reference": "Reference", "url": "uri"},
    "Meta": {
        "versionId": "id",
        "lastUpdated": "instant",
        "source": "uri",
        "profile": ["uri"],
        "security": ["Coding"],
        "tag": ["Coding"],
    },
}
_RESOURCE: Shape = {
    "resourceType": "code",
    "meta": "Meta",
    "implicitRules": "uri",
    "language": "code",
    "text": "object",
    "contained": ["object"],
    "identifier": ["Identifier"],
    "status": "code",
    "category": ["CodeableConcept"],
}
_CONDITIONS: Shape = {
    "period": "Period",
    "actor": ["Actor"],
    "action": ["CodeableConcept"],
    "securityLabel": ["Coding"],
    "purpose": ["Coding"],
    "code": ["CodeableConcept"],
    "dataPeriod": "Period",
    "data": ["Data"],
}
_R4 = _TYPES | {
    "Provision": _CONDITIONS | {"type": "code", "class": ["Coding"], "provision": ["Provision"]},
    "Verification": {"verified": "boolean", "verifiedWith": "Reference", "verificationDate": "dateTime"},
    "Consent": _RESOURCE
    | {
        "scope": "CodeableConcept",
        "patient": "Reference",
        "dateTime": "dateTime",
        "performer": ["Reference"],
        "organization": ["Reference"],
        "sourceAttachment": "Attachment",
        "sourceReference": "Reference",
        "policy": ["Policy"],
        "policyRule": "CodeableConcept",
        "verification": ["Verification"],
        "provision": "Provision",
    },
}
_R5 = _TYPES | {
    "Provision": _CONDITIONS
    | {"documentType": ["Coding"], "resourceType": ["Coding"], "expression": "object", "provision": ["Provision"]},
    "Verification": {
        "verified": "boolean",
        "verificationType": "CodeableConcept",
        "verifiedBy": "Reference",
        "verifiedWith": "Reference",
        "verificationDate": ["dateTime"],
    },
    "Consent": _RESOURCE
    | {
        "subject": "Reference",
        "date": "date",
        "period": "Period",
        "grantor": ["Reference"],
        "grantee": ["Reference"],
        "manager": ["Reference"],
        "controller": ["Reference"],
        "sourceAttachment": ["Attachment"],
        "sourceReference": ["Reference"],
        "regulatoryBasis": ["CodeableConcept"],
        "policyBasis": "PolicyBasis",
        "policyText": ["Reference"],
        "verification": ["Verification"],
        "decision": "code",
        "provision": ["Provision"],
    },
}
# Of every element with members. A modifier extension has its shape, and is refused by the mapping.
_COMMON: Shape = {"id": "id", "extension": ["Extension"], "modifierExtension": ["Extension"]}
# What FHIR demands of each type.
_REQUIRED = {
    "Extension": ("url",),
    "Actor": ("role", "reference"),
    "Data": ("meaning", "reference"),
    "Verification": ("verified",),
}
_OF_R4 = _REQUIRED | {"Consent": ("resourceType", "status", "scope", "category")}
_OF_R5 = _REQUIRED | {"Consent": ("resourceType", "status"), "Actor": ()}
# The value of an extension, by the end of its name; those that are objects are kept closed.
_VALUES = {
    "Boolean": "boolean",
    **dict.fromkeys(("Integer", "Integer64", "Decimal", "PositiveInt", "UnsignedInt"), "number"),
    **dict.fromkeys(("String", "Markdown", "Base64Binary", "Time"), "string"),
    **dict.fromkeys(("Uri", "Url", "Canonical", "Oid", "Uuid"), "uri"),
    "Code": "code",
    "Id": "id",
    "DateTime": "dateTime",
    "Date": "date",
    "Instant": "instant",
    **{name: name for name in ("Coding", "CodeableConcept", "Period", "Identifier", "Reference", "Attachment", "Meta")},
    **dict.fromkeys(
        (
            "Address", "Age", "Annotation", "Availability", "CodeableReference", "ContactDetail", "ContactPoint",
            "Contributor", "Count", "DataRequirement", "Distance", "Dosage", "Duration", "Expression",
            "ExtendedContactDetail", "HumanName", "Money", "MonetaryComponent", "ParameterDefinition", "Quantity",
            "Range", "Ratio", "RatioRange", "RelatedArtifact", "SampledData", "Signature", "Timing",
            "TriggerDefinition", "UsageContext", "VirtualServiceDetail",
        ),
        "object",
    ),
}  # fmt: skip
_TEXT = {
    "string": re.compile(r"(?s).*\S.*"),
    "code": re.compile(r"\S+( \S+)*"),
    "uri": re.compile(r"\S+"),
    "id": re.compile(r"[A-Za-z0-9.\-]{1,64}"),
    "dateTime": DateTime.pattern,
    "date": Date.pattern,
    "instant": Instant.pattern,
}
_PRIMITIVE = _TEXT.keys() | {"boolean", "number"}


def misshapen(resource: Tree, *, r5: bool) -> tuple[Fault, ...]:
    """What breaks the shape of a Consent, each with its path; paths hold names of FHIR elements only."""
    return tuple(_members(resource, "Consent", _R5 if r5 else _R4, "Consent"))


def _members(node: Json, type_: str, types: dict[str, Shape], path: str) -> Iterator[Fault]:
    if not isinstance(node, dict) or not node:
        yield _fault(path, "an object with something in it is wanted here")
        return
    shape = types[type_] | _COMMON
    for name in (_OF_R5 if types is _R5 else _OF_R4).get(type_, ()):
        if name not in node:
            yield _fault(f"{path}.{name}", "a required element is missing")
    if type_ == "Extension" and ("extension" in node) == any(name.startswith("value") for name in node):
        yield _fault(path, "an extension has a value, or extensions, and not both")
    for name, member in node.items():
        known = name.removeprefix("_")
        wanted = shape.get(known) or (_value_type(known) if type_ == "Extension" else None)
        if wanted is None:
            yield _fault(path, "an element that does not exist here")
        elif known != name:
            yield from _beside(member, wanted, types, f"{path}._{known}")
        elif isinstance(wanted, list):
            yield from _items(member, wanted[0], types, f"{path}.{known}")
        else:
            yield from _value(member, wanted, types, f"{path}.{known}")


def _value_type(name: str) -> str | None:
    return _VALUES.get(name.removeprefix("value")) if name.startswith("value") else None


def _beside(member: Json, wanted: str | list[str], types: dict[str, Shape], path: str) -> Iterator[Fault]:
    """What hangs at a primitive: its id and extensions; for a list, one for each item or null."""
    repeats = isinstance(wanted, list)
    primitive = (wanted[0] if repeats else wanted) in _PRIMITIVE
    if not primitive or isinstance(member, list) != repeats:
        yield _fault(path, "only a primitive has something beside it")
        return
    for one in member if repeats else [member]:
        if one is not None or not repeats:
            yield from _members(one, "Beside", types, path)


def _items(member: Json, wanted: str, types: dict[str, Shape], path: str) -> Iterator[Fault]:
    if not isinstance(member, list) or not member:
        yield _fault(path, "an array with something in it is wanted here")
        return
    for position, item in enumerate(member):
        yield from _value(item, wanted, types, f"{path}[{position}]")


def _value(member: Json, wanted: str, types: dict[str, Shape], path: str) -> Iterator[Fault]:
    if wanted in types:
        yield from _members(member, wanted, types, path)
    elif wanted in _TEXT:
        if not isinstance(member, str) or _TEXT[wanted].fullmatch(member) is None:
            yield _fault(path, f"a FHIR {wanted} is wanted here")
    elif wanted == "boolean":
        if not isinstance(member, bool):
            yield _fault(path, "true or false is wanted here")
    elif wanted == "number":
        # R5 writes an integer64 as text.
        if isinstance(member, bool | dict | list) or member is None:
            yield _fault(path, "a number is wanted here")
    elif not isinstance(member, dict) or not member:
        yield _fault(path, "an object with something in it is wanted here")


def _fault(path: str, reason: str) -> Fault:
    return Fault("resource.type", path, reason)
