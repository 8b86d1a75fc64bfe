"""Resources of other types (Patient, Condition, medication), de-identified for views: an allow-list by path.

What the profile does not name is left out and counted: text, contained resources, extensions, identifiers, everything
nobody thought of. An extension that changes the meaning of a resource in a way nobody here knows, or rules to read it
by, drop the whole resource: without it, what is left would say something else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

from fhirbridge.errors import ConfigError
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.base import Ref
from fhirbridge.records.text import DateTime, Decimal
from fhirbridge.research.deidentify import references
from fhirbridge.research.deidentify.clock import Clock
from fhirbridge.research.deidentify.course import Course
from fhirbridge.research.deidentify.demographics import address_in_use, is_over, postcode
from fhirbridge.research.deidentify.person import Person
from fhirbridge.research.deidentify.profile import Profile
from fhirbridge.research.deidentify.records import Deidentifier
from fhirbridge.research.deidentify.references import Names
from fhirbridge.research.deidentify.rules import Rule

_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_LABELS = {"DEID": "deidentify", "PSEUD": "pseudonymize"}
_MODIFIERS = ("modifierExtension", "implicitRules")
_ALWAYS = frozenset({"resourceType", "id", "meta"})
# Elements that are often there and never kept, which may be told by name.
_ELEMENTS = frozenset(
    {"text", "language", "contained", "extension", "identifier", "note", "maritalStatus", "multipleBirthBoolean"}
    | {"multipleBirthInteger", "onsetAge", "onsetRange", "onsetString", "abatementAge", "abatementString", "stage"}
    | {"evidence", "dispenseRequest", "substitution", "eventHistory", "detectedIssue", "priorPrescription", "basedOn"}
    | {"supportingInformation", "informationSource", "derivedFrom", "insurance", "groupIdentifier", "period", "use"}
    | {"state", "display", "system", "value", "reference", "type", "coding", "code", "start", "end", "performer"}
)
_DEEPEST = 64
ResourceReason: TypeAlias = Literal["", "type", "modifier", "malformed"]


def labels(profile: Profile) -> list[Tree]:
    """What ``meta.security`` of everything that a profile gives says: DEID or PSEUD."""
    return [{"system": _ACT_CODE, "code": profile.label, "display": _LABELS[profile.label]}]


class DeidentifiedResource(NamedTuple):
    """``resource`` is ``None`` where nothing can be given, and ``reason`` says why; ``paths`` were left out."""

    resource: Tree | None
    paths: tuple[str, ...] = ()
    reason: ResourceReason = ""

    @property
    def dropped(self) -> Counter[str]:
        """What was left out, by path."""
        return Counter(self.paths)

    def __repr__(self) -> str:
        return f"DeidentifiedResource({self.reason or 'given'})"


class _At(NamedTuple):
    """Where a value stands: whose it is, and the demographic facts that some rules look at."""

    course: Course
    person: Person
    resource: Tree


Leaf: TypeAlias = Callable[[Json, _At], Json]
Node: TypeAlias = "dict[str, Leaf | Node]"


class ResourceDeidentifier:
    """The rules for resources of a :class:`Deidentifier`: the same names, the same clock, the same codes."""

    def __init__(self, work: Deidentifier) -> None:
        self._work, self._profile = work, work.profile
        self._labels = labels(work.profile)
        self._elements = _ELEMENTS | {
            step for rules in work.profile.resources.values() for path in rules for step in path.split(".")
        }
        self._trees = {name: self._tree(rules) for name, rules in work.profile.resources.items()}

    def resource(self, tree: Tree, person: Person) -> DeidentifiedResource:
        """A resource of this person, de-identified. It never raises for what stands in a resource."""
        type_ = tree.get("resourceType")
        rules = self._trees.get(type_) if isinstance(type_, str) else None
        if rules is None:
            return DeidentifiedResource(None, (), "type")
        assert isinstance(type_, str)  # it is a name of the table
        own = tree.get("id")
        if not isinstance(own, str):
            return DeidentifiedResource(None, (), "malformed")
        if next(_modifiers(tree, 0), None) is not None:
            return DeidentifiedResource(None, (), "modifier")
        course = self._work.course(person)
        at = _At(course, person, tree)
        is_patient = type_ == "Patient"
        name = person.pseudonym if is_patient else course.names.once(type_, f"{type_}/{own}")
        lost: list[str] = []
        made: Tree = {"resourceType": type_, "id": name, "meta": {"security": self._labels}}
        made |= self._object({key: one for key, one in tree.items() if key not in _ALWAYS}, rules, at, type_, lost)
        return DeidentifiedResource(made, tuple(lost))

    def _object(self, node: Tree, rules: Node, at: _At, path: str, lost: list[str]) -> Tree:
        made: Tree = {}
        for name, value in node.items():
            # A name that no element has may itself say something.
            own = f"{path}.{name if name in rules or name in self._elements else '(other)'}"
            rule = rules.get(name)
            found = None if rule is None else self._value(value, rule, at, own, lost)
            if found is None or found in ([], {}):
                lost.append(own)
            else:
                made[name] = found
        return made

    def _value(self, value: Json, rule: Leaf | Node, at: _At, path: str, lost: list[str]) -> Json:
        if isinstance(value, list):
            found = [self._value(one, rule, at, path, lost) for one in value if not isinstance(one, list)]
            kept = [one for one in found if one is not None and one != {}]
            lost.extend([path] * (len(value) - len(kept) if kept else 0))
            return kept
        if isinstance(rule, dict):
            return self._object(value, rule, at, path, lost) if isinstance(value, dict) else None
        return rule(value, at)

    def _tree(self, rules: Mapping[str, Rule]) -> Node:
        root: Node = {}
        for path, rule in rules.items():
            if rule.action == "drop":
                continue
            *above, last = path.split(".")
            node = root
            for step in above:
                below = node.setdefault(step, {})
                if not isinstance(below, dict):
                    raise ConfigError(
                        f"resources.{path}: what stands above it has a rule already", code="config.profile"
                    )
                node = below
            node[last] = self._leaf(rule)
        return root

    def _leaf(self, rule: Rule) -> Leaf:
        if rule.action == "words":
            words = frozenset(rule.words)
            return lambda value, at: value if isinstance(value, str) and value in words else None
        made: Leaf = getattr(self, f"_{rule.action}")
        return made

    def _boolean(self, value: Json, at: _At) -> Json:
        return value if isinstance(value, bool) else None

    def _count(self, value: Json, at: _At) -> Json:
        return value if type(value) is int and 0 <= value <= self._work.limits.largest_count else None

    def _code(self, value: Json, at: _At) -> Json:
        """A CodeableConcept, or a Coding, by its codes alone."""
        if not isinstance(value, dict):
            return None
        codings = value.get("coding")
        if not isinstance(codings, list):
            return self._coding(value)
        kept = [found for one in codings if isinstance(one, dict) and (found := self._coding(one)) is not None]
        return {"coding": kept} if kept else None

    def _coding(self, node: Tree) -> Tree | None:
        system, code = node.get("system"), node.get("code")
        if not isinstance(system, str) or not isinstance(code, str):
            return None
        found = self._work.codes.coding(system, code)
        return None if found is None else {"system": found.system, "code": found.code}

    def _time(self, value: Json, at: _At) -> Json:
        return _moved(value, at.course.clock)

    def _period(self, value: Json, at: _At) -> Json:
        if not isinstance(value, dict):
            return None
        ends = {name: _moved(value.get(name), at.course.clock) for name in ("start", "end")}
        return {name: text for name, text in ends.items() if text is not None} or None

    def _quantity(self, value: Json, at: _At) -> Json:
        if (
            not isinstance(value, dict)
            or value.get("system", "http://unitsofmeasure.org") != "http://unitsofmeasure.org"
        ):
            return None
        number, unit = value.get("value"), value.get("code")
        if isinstance(number, bool) or not isinstance(unit, str):
            return None
        try:
            told = self._work.limits.in_unit(Decimal(str(number)), unit)
        except ValueError:
            return None
        if told is None:
            return None
        return {"value": told, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}

    def _year(self, value: Json, at: _At) -> Json:
        """The year of birth, unless it tells of an age that is not told."""
        if not isinstance(value, str) or re.match(r"[12][0-9]{3}(?:-|\Z)", value) is None:
            return None
        death = at.resource.get("deceasedDateTime")
        ages = self._profile.ages
        over = is_over(value, at.person, ages, death if isinstance(death, str) else None)
        return value[:4] if ages.birth_year and not over else None

    def _postcode(self, value: Json, at: _At) -> Json:
        """Of the address in use, where it is one in the United States."""
        in_use = isinstance(value, str) and value == address_in_use(at.resource)
        return postcode(value, self._profile.postcode) if in_use else None

    def _record(self, value: Json, at: _At) -> Json:
        return self._reference(value, at, lambda type_, system, name, names: names.own(type_, name))

    def _person(self, value: Json, at: _At) -> Json:
        if self._profile.people.staff == "drop":
            return self._reference(value, at, None)
        return self._reference(value, at, _staff)

    def _place(self, value: Json, at: _At) -> Json:
        if self._profile.people.places == "drop":
            return None
        return self._reference(value, at, lambda type_, system, name, names: names.shared(type_, system, name))

    def _patient(self, value: Json, at: _At) -> Json:
        return {"reference": f"Patient/{at.person.pseudonym}"}

    def _reference(self, value: Json, at: _At, name_of: Callable[[str, str | None, str, Names], str] | None) -> Json:
        ref = _ref(value)
        if ref is None:
            return None
        type_, system, name = references.address(ref)
        if name is None:
            return None
        if references.is_patient(type_):
            subject = _ref(at.resource.get("subject"))
            mine = subject is not None and references.address(subject) == references.address(ref)
            return self._patient(value, at) if mine else None
        if name_of is None or not references.is_known(type_) or type_ is None:
            return None
        return {"reference": f"{type_}/{name_of(type_, system, name, at.course.names)}"}


def _staff(type_: str, system: str | None, name: str, names: Names) -> str:
    return names.own(type_, name) if references.is_relative(type_) else names.shared(type_, system, name)


def _moved(value: Json, clock: Clock) -> Json:
    if not isinstance(value, str):
        return None
    try:
        found = clock.moved(DateTime(value))
    except ValueError:
        return None
    return None if found is None else str(found)


def _ref(value: Json) -> Ref | None:
    """A reference of a resource as one of a record, as far as it can be read."""
    if not isinstance(value, dict):
        return None
    literal, type_, named = value.get("reference"), value.get("type"), value.get("identifier")
    type_ = type_ if isinstance(type_, str) else None
    if isinstance(literal, str):
        found, name = references.of_literal(literal)
        return None if name is None else Ref.model_construct(type=type_ or found, literal=literal)
    if isinstance(named, dict) and isinstance(named.get("value"), str):
        system = named.get("system")
        own = references.identifier(None, named["value"]).model_copy(
            update={"system": system if isinstance(system, str) else None}
        )
        return Ref.model_construct(type=type_, identifier=own)
    return None


def _modifiers(value: Json, depth: int) -> Iterator[str]:
    """Whatever in a resource changes the meaning of what stands around it; too deep to look at counts as such."""
    if depth > _DEEPEST:
        yield "depth"
    elif isinstance(value, dict):
        for name, member in value.items():
            if name in _MODIFIERS and member not in (None, [], {}, ""):
                yield name
            yield from _modifiers(member, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _modifiers(one, depth + 1)
