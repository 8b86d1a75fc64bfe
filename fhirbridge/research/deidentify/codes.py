"""Codes of open vocabularies: a system from a list, a code of the right shape, and enough patients who have it.

A code system alone is no proof: anybody can write a medical record number with SNOMED's address beside it. So a code
must look like one of its system, and ``Census`` counts in how many patients each one was seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from fhirbridge.records.base import Coding, Concept, Model, filler
from fhirbridge.research.deidentify.profile import Codes

Key: TypeAlias = tuple[str, str]
MASKED_SYSTEM = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
# A shape that is a list of words and nothing else.
_LIST = re.compile(r"[A-Za-z0-9-]+(\|[A-Za-z0-9-]+)*")
_make_coding: Callable[[dict[str, Any]], Coding] = filler(Coding)
_make_concept: Callable[[dict[str, Any]], Concept] = filler(Concept)


def _coding(system: str, code: str) -> Coding:
    return _make_coding({"system": system, "code": code, "display": None, "version": None, "user_selected": None})


def concept_of(codings: tuple[Coding, ...]) -> Concept:
    """A concept of codes alone."""
    return _make_concept({"text": None, "codings": codings})


#: Says that something was said here which is not shown.
MASKED = concept_of((_coding(MASKED_SYSTEM, "masked"),))


class CodeList:
    """Which codes may be shown: those of the profile's shapes that ``common`` holds."""

    __slots__ = ("_codes", "_common", "_concepts", "_known", "_listed")

    _MOST = 20_000

    def __init__(self, codes: Codes, common: frozenset[Key]) -> None:
        self._codes, self._common = codes, common
        self._listed = frozenset(name for name, shape in codes.systems.items() if _LIST.fullmatch(shape.pattern))
        self._known: dict[Key, Coding | None] = {}
        # By the identity of a coding that is kept in the other.
        self._concepts: dict[int, Concept] = {}

    def coding(self, system: str | None, code: str | None) -> Coding | None:
        """The code, without words and version, or ``None``."""
        if system is None or code is None:
            return None
        try:
            return self._known[system, code]
        except KeyError:
            if len(self._known) >= self._MOST:
                self._known.clear()
                self._concepts.clear()
            shown = self.has_shape(system, code) and (system in self._listed or (system, code) in self._common)
            found = self._known[system, code] = _coding(system, code) if shown else None
            return found

    def has_shape(self, system: str, code: str) -> bool:
        """Whether the code looks like one of a system that may be shown."""
        shape = self._codes.systems.get(system)
        return shape is not None and shape.fullmatch(code) is not None

    def is_item(self, text: str) -> bool:
        """Whether the text is the id of an item of a scale."""
        return self._codes.items.fullmatch(text) is not None

    def concept(self, concept: Concept) -> Concept | None:
        """The codes of a concept that may be shown, or ``None`` where there are none."""
        codings = concept.codings
        if len(codings) == 1:
            # Nearly all concepts have one code, and a clinic uses few.
            only = codings[0]
            found = self.coding(only.system, only.code)
            if found is None:
                return None
            made = self._concepts.get(id(found))
            if made is None:
                made = self._concepts[id(found)] = concept_of((found,))
            return made
        kept = [found for one in codings if (found := self.coding(one.system, one.code)) is not None]
        return concept_of(tuple(kept)) if kept else None


def codes_in(value: object) -> Iterator[Key]:
    """Every (system, code) in a record or a part of one."""
    if isinstance(value, Coding):
        if value.system is not None and value.code is not None:
            yield value.system, value.code
    elif isinstance(value, tuple):
        for one in value:
            yield from codes_in(one)
    elif isinstance(value, Model):
        for one in value.__dict__.values():
            if isinstance(one, (Model, tuple)):
                yield from codes_in(one)


class Census:
    """Counts patients by code, up to the number that matters; memory grows with codes, not with records."""

    __slots__ = ("_enough", "_fewest", "_seen", "_shapes")

    def __init__(self, codes: Codes) -> None:
        self._fewest = codes.fewest_patients
        self._shapes = CodeList(codes, frozenset())
        self._seen: dict[Key, set[str]] = {}
        self._enough: set[Key] = set()

    def add(self, found: Iterable[Key], patient: str) -> None:
        """A patient, by any name that is always the same, has these codes."""
        for key in found:
            if key in self._enough or not self._shapes.has_shape(*key):
                continue
            who = self._seen.setdefault(key, set())
            who.add(patient)
            if len(who) >= self._fewest:
                self._enough.add(key)
                del self._seen[key]

    def common(self) -> frozenset[Key]:
        """The codes that enough patients have."""
        return frozenset(self._enough)
