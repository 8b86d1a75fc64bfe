"""Records, de-identified: a new record of the same kind, made of what the profile names and of nothing else.

    work = Deidentifier(Profile.load("shifted"), key, common=census.common())
    found = work.record(record, person)
    found.record        # or None, and then found.reason says why
    found.dropped       # a Counter of the paths of what was left out

The rules of a profile are made into functions once, when a kind is first seen. A part that does not hold together any
more (an item without its answer) is left out; a record that does not is not given at all. Nothing is copied that is
not named, so what is new in a model is left out until a profile names it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from fhirbridge.records.base import Model, Record
from fhirbridge.research.deidentify.actions import Actions, each
from fhirbridge.research.deidentify.clock import Clock
from fhirbridge.research.deidentify.codes import CodeList, Key
from fhirbridge.research.deidentify.course import Course
from fhirbridge.research.deidentify.key import ProjectKey
from fhirbridge.research.deidentify.numbers import NumberLimits
from fhirbridge.research.deidentify.person import Person
from fhirbridge.research.deidentify.profile import Profile
from fhirbridge.research.deidentify.references import Names
from fhirbridge.research.deidentify.rules import Rule, part_of
from fhirbridge.research.deidentify.shape import DROP, KEEP, Act, Inline, Shape, Step, shape_of
from fhirbridge.residue import Entry

#: ``kind``: the profile has no rules for it. ``time``, ``required``: a moment, or something else, that it must have
#: cannot be told. ``incomplete``: with what was left out, it does not hold together.
Reason: TypeAlias = Literal["", "kind", "time", "required", "incomplete"]
# Where a day without a time and a moment stood in order, moving by less than a day may turn them round.
_SPANS = (("started_at", "ended_at"), ("onset", "resolved_at"))
_PEOPLE_AT_HAND = 256
_POSITION = re.compile(r"\[[0-9]+\]")


class Deidentified(NamedTuple):
    """``record`` is ``None`` where nothing can be given, and ``reason`` says why; ``paths`` are the paths of what was
    left out, once for each time.
    """

    record: Record | None
    paths: tuple[str, ...] = ()
    reason: Reason = ""

    @property
    def dropped(self) -> Counter[str]:
        """What was left out, by path. A path that ends in ``(rounded)`` was not left out but shortened."""
        return Counter(self.paths)

    def __repr__(self) -> str:
        return f"Deidentified({self.reason or 'given'})"


class Deidentifier:
    """A profile, bound to the key of a project. ``common`` are the codes that enough patients have (see ``Census``);
    without it no code of an open vocabulary is shown.

    Pseudonyms depend on the name of the profile as well, so that what two profiles make of the same people cannot be
    joined either.
    """

    def __init__(self, profile: Profile, key: ProjectKey, *, common: frozenset[Key] = frozenset()) -> None:
        self.profile, self.key = profile, key.under(profile.name)
        self.codes = CodeList(profile.codes, common)
        self.limits = NumberLimits(profile.numbers)
        self._actions = Actions(profile.people, self.codes, self.limits)
        self._shared: dict[tuple[str, str], str] = {}
        self._courses: dict[str, tuple[Person, Course]] = {}
        self._shapes: dict[type[Record], Shape | None] = {}

    def person(self, identity: str, **known: Any) -> Person:
        """The person called ``identity`` (whatever names a patient without doubt, in all sources of the project), with
        the pseudonym and the shift of this project and profile; ``known`` are further fields of :class:`Person`.
        """
        times = self.profile.times
        shift = self.key.shift(
            identity, fewest_days=times.fewest_days, most_days=times.most_days, keep_weekday=times.keep_weekday
        )
        return Person(self.key.pseudonym("Patient", identity), shift, **known)

    def course(self, person: Person) -> Course:
        """What is kept ready for a person; the last few hundred people are remembered."""
        found = self._courses.get(person.pseudonym)
        if found is None or found[0] is not person:
            if len(self._courses) >= _PEOPLE_AT_HAND:
                self._courses.clear()
            names = Names(self.key, person.pseudonym, self._shared)
            course = Course(Clock(self.profile.times, person), names, person.pseudonym)
            found = self._courses[person.pseudonym] = (person, course)
        return found[1]

    def record(self, record: Record, person: Person, residue: Sequence[Entry] = ()) -> Deidentified:
        """A record of this person, de-identified. It never raises for what stands in a record.

        Its residue, which nobody has looked at, is left out whole, and counted by path.
        """
        if residue:
            found = self.record(record, person)
            beside = [f"{record.kind} residue: {_POSITION.sub('', entry.path)}" for entry in residue]
            return found._replace(paths=(*found.paths, *beside))
        shape = self._shape_of(record)
        if shape is None:
            return Deidentified(None, (record.kind,), "kind")
        course = self.course(person)
        course.begin(record)
        lost: list[str] = []
        found = shape.of(record, course, lost)
        if found is not None:
            return Deidentified(found, tuple(lost))
        return self._again(shape, record, course)

    def _again(self, shape: Shape, record: Record, course: Course) -> Deidentified:
        """Why there is nothing to give; or, without the end that came to lie before its start, the record."""
        lost: list[str] = []
        values = shape.values(record, course, lost)
        if values is None:
            return Deidentified(None, tuple(lost), self._why(record, lost[-1]))
        found = _without_ends(shape, values, record.kind, lost)
        return Deidentified(found, tuple(lost), "" if found is not None else "incomplete")

    def _shape_of(self, record: Record) -> Shape | None:
        kind = type(record)
        try:
            return self._shapes[kind]
        except KeyError:
            rules = self.profile.records.get(record.kind)
            made = self._shapes[kind] = None if rules is None else self._shape(kind, rules, record.kind)
            return made

    def _why(self, record: Record, path: str) -> Reason:
        field = path.rpartition(".")[2]
        return "time" if self.profile.records[record.kind][field].action == "time" else "required"

    def _shape(self, model: type[Model], rules: Mapping[str, Rule], path: str) -> Shape:
        steps = []
        for name, about in model.model_fields.items():
            is_list = about.default == ()
            act = self._act(rules.get(name, Rule(DROP)), about.annotation, f"{path}.{name}")
            if is_list and not isinstance(act, (str, Inline)):
                act = each(act, f"{path}.{name}")
            steps.append(Step(name, act, f"{path}.{name}", is_list, about.is_required()))
        return shape_of(model, steps)

    def _act(self, rule: Rule, annotation: Any, path: str) -> Act | Inline | str:
        if rule.action in (KEEP, DROP):
            return rule.action
        if rule.action == "inside":
            part = part_of(annotation)
            assert part is not None  # the profile was checked
            return self._shape(part, self.profile.parts.get(part.__name__, {}), path).of
        return self._actions.named(rule.action, path)


def deidentify(record: Record, person: Person, work: Deidentifier) -> Deidentified:
    """:meth:`Deidentifier.record` as a function."""
    return work.record(record, person)


def _without_ends(shape: Shape, values: dict[str, Any], kind: str, lost: list[str]) -> Record | None:
    for start, end in _SPANS:
        if values.get(start) is not None and values.get(end) is not None:
            lost.append(f"{kind}.{end}")
            found: Record | None = shape.whole({**values, end: None})
            return found
    return None
