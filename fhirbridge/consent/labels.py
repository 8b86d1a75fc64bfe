"""Security labels: what they mean to a rule, and which content carries which.

The words are the record's, the codes HL7's (v3-Confidentiality, v3-ActCode). How labels of consents are to be read is
said by the comment on ``Consent.provision.securityLabel`` in R4 and R5: confidentiality is a high-water mark, for other
labels subsumption holds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from fhirbridge.consent.policies import LabelRule
from fhirbridge.consent.ternary import MAYBE, NO, YES, Tri
from fhirbridge.fhir.json import Json
from fhirbridge.records.base import Coding
from fhirbridge.records.consent import Provision

if TYPE_CHECKING:
    from fhirbridge.consent.facts import Facts

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
PSYCHOTHERAPY_NOTES = "psychotherapy_notes"
_RANK = {"unrestricted": 0, "low": 1, "moderate": 2, "normal": 3, "restricted": 4, "very_restricted": 5}
_WORD = {
    CONFIDENTIALITY: {
        "U": "unrestricted", "L": "low", "M": "moderate", "N": "normal", "R": "restricted", "V": "very_restricted",
    },
    ACT_CODE: {
        "PSY": "psychiatry", "PSYTHPN": PSYCHOTHERAPY_NOTES, "MH": "mental_health", "BH": "behavioral_health",
        "SUD": "substance_use", "ETH": "substance_abuse",
    },
}  # fmt: skip
WORDS = _WORD[CONFIDENTIALITY] | _WORD[ACT_CODE]
_IN_WORDS = frozenset(WORDS.values())
# v3-ActCode: what a label is a part of. SPI is all that is specially protected.
_SPECIAL = frozenset({"SPI"})
_WITHIN: dict[str, frozenset[str]] = {
    "ETHUD": frozenset({"substance_use"}) | _SPECIAL,
    "OPIOIDUD": frozenset({"substance_use"}) | _SPECIAL,
    "COGN": frozenset({"behavioral_health"}) | _SPECIAL,
    "DVD": frozenset({"behavioral_health"}) | _SPECIAL,
    "EMOTDIS": frozenset({"behavioral_health"}) | _SPECIAL,
    **dict.fromkeys(
        ("psychiatry", "mental_health", "behavioral_health", "substance_use", PSYCHOTHERAPY_NOTES), _SPECIAL
    ),
}
# The code system sets these side by side, and people mean the same by them: a label of one group may be another's.
_KIN = (
    frozenset({"psychiatry", "mental_health", "behavioral_health"}),
    frozenset({"substance_use", "substance_abuse"}),
)
# 42 CFR Part 2: what a consent must speak of, and what carries the notice of 2.32.
_PART_2 = frozenset({"substance_use", "substance_abuse", "ETHUD", "OPIOIDUD"})
_KNOWN = frozenset(_RANK) | frozenset(_WITHIN) | frozenset({"substance_abuse"}) | _SPECIAL


def word_of(label: str) -> str:
    """The record's word of a label; a v3 code that the record has no word for stays as it is."""
    return WORDS.get(label, label)


class Marks(NamedTuple):
    """The labels of data: the highest confidentiality (-1: none), and the other labels."""

    rank: int
    others: frozenset[str]

    @property
    def substance_use(self) -> bool:
        """Whether the data are substance use records (42 CFR Part 2)."""
        return not self.others.isdisjoint(_PART_2)


@functools.lru_cache(maxsize=4_096)
def marks_of(labels: frozenset[str]) -> Marks:
    """The labels as rules look at them. All data of a clinic share a few sets of labels, so each is looked at once."""
    words = frozenset(WORDS.get(label, label) for label in labels)
    return Marks(max((_RANK[word] for word in words if word in _RANK), default=-1), words - _RANK.keys())


class LabelTest:
    """Whether data carry what a rule's list of labels names."""

    def __init__(self, rule: Provision, configured: frozenset[str]) -> None:
        named: set[str] = set()
        self._unknown = False
        for one in rule.labels:
            label = _label(one) if isinstance(one, Coding) else one
            if label is None or (label not in _KNOWN and label not in configured):
                self._unknown = True
            if label is not None:
                named.add(label)
        ranks = [_RANK[label] for label in named if label in _RANK]
        self._denies = rule.effect == "deny"
        self._mark = (min(ranks) if self._denies else max(ranks)) if ranks else None
        self._named = frozenset(named) - _RANK.keys()
        parts = {part for part, wholes in _WITHIN.items() if not wholes.isdisjoint(self._named)}
        self._sure = self._named | parts
        kin = {label for group in _KIN if not group.isdisjoint(self._named) for label in group}
        wholes = {whole for label in self._named for whole in _WITHIN.get(label, ())}
        self._perhaps = frozenset(kin | wholes) - self._sure

    def __call__(self, facts: Facts) -> Tri:
        """A permit reaches up to the confidentiality it names, a denial from there upwards.

        A permit that names labels does not reach substance use records which it does not name, whatever other label
        they carry too (42 CFR 2.31: a consent says which substance use information it is about).
        """
        marks = facts.marks
        if self._mark is not None and marks.rank >= 0:
            within = marks.rank >= self._mark if self._denies else marks.rank <= self._mark
            if within:
                return YES
        if not marks.others.isdisjoint(self._sure):
            return YES if self._denies or self._sure >= marks.others & _PART_2 else MAYBE
        if self._unknown or not marks.others.isdisjoint(self._perhaps):
            return MAYBE
        return NO


def _label(coding: Coding) -> str | None:
    """The label that a Coding names, or ``None`` where nobody here knows it."""
    return None if coding.code is None else _named(coding.system, coding.code)


def _named(system: object, code: str) -> str | None:
    """The record's word of a code; of HL7's sensitivities also those without a word, as they are.

    A code that reads like one of the words is none of them: it is unknown.
    """
    if system == CONFIDENTIALITY:
        return _WORD[CONFIDENTIALITY].get(code)
    if system == ACT_CODE:
        return _WORD[ACT_CODE].get(code, None if code in _IN_WORDS else code)
    return None


def codes_of(tree: Json) -> frozenset[tuple[str, str]]:
    """Every (system, code) of the Codings anywhere in a resource, but for its labels, profiles and tags in ``meta``."""
    found: set[tuple[str, str]] = set()
    pending: list[Json] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            system, code = node.get("system"), node.get("code")
            if isinstance(system, str) and isinstance(code, str):
                found.add((system, code))
            pending += [member for name, member in node.items() if name != "meta"]
    return frozenset(found)


def labels_of(resource: Json, kind: str, rules: Iterable[LabelRule] = ()) -> frozenset[str]:
    """The labels of a resource, or of its (system, code) pairs: what ``meta.security`` says and what the rules say.

    A rule applies to records of its kinds and to content with one of its codes. Labels are words of the record; a v3
    code that it has no word for stays a code. Labels of other code systems are ``system|code``, which only a rule that
    names them in the same way could match.
    """
    found: set[str] = set()
    if isinstance(resource, dict):
        found.update(_said(resource))
        codes: frozenset[tuple[str, str]] | None = None
    else:
        codes = frozenset(resource)
    for rule in rules:
        if kind in rule.kinds:
            found.add(word_of(rule.label))
        elif rule.codes:
            codes = codes_of(resource) if codes is None else codes
            if not rule.codes.isdisjoint(codes):
                found.add(word_of(rule.label))
    return frozenset(found)


def _said(resource: dict[str, Json]) -> Iterable[str]:
    meta = resource.get("meta")
    security = meta.get("security") if isinstance(meta, dict) else None
    for one in security if isinstance(security, list) else ():
        if isinstance(one, dict) and isinstance(one.get("code"), str):
            system, code = one.get("system"), str(one["code"])
            yield _named(system, code) or f"{system}|{code}"


def configured_labels(rules: Iterable[LabelRule]) -> frozenset[str]:
    """The labels that the configuration knows how to find."""
    return frozenset(word_of(rule.label) for rule in rules)
