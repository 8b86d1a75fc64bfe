"""The rules of one model at one path, made into one function.

A record has some forty fields, most of them empty. A loop over the rules takes longer than the rules themselves, so the
function is written out, one or two lines for a field, as ``dataclasses`` writes an ``__init__``. Nothing in it comes
from data: the names are those of the model's fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pydantic_core import PydanticCustomError

from fhirbridge.records.base import Model, checks, filler
from fhirbridge.records.vitals import Assessment, Item, Measurement, VitalSign

if TYPE_CHECKING:
    from fhirbridge.research.deidentify.course import Course

#: What makes the new value of an old one, or ``None`` where it is left out. Whatever is left out or changed on the way
#: is added to the list.
Act: TypeAlias = "Callable[[Any, Course, list[str]], Any]"
KEEP = "keep"
DROP = "drop"
# The fields that the validators of these models look at. Where none of them was left out or changed, the record holds
# together as it did before, and is not asked again: that takes a third of the time.
_OBSERVED = {"sensitivity", "measured_at", "offset_from_dose", "session", "part_of", "absent_reason"}
LOOKED_AT: dict[type[Model], frozenset[str]] = {
    VitalSign: frozenset({*_OBSERVED, "sign", "readings", "finding", "oxygen"}),
    Assessment: frozenset({*_OBSERVED, "comparator", "score", "scale", "answer", "items", "interpretation"}),
    Measurement: frozenset({"value", "unit", "absent_reason"}),
    Item: frozenset({"item", "code", "value", "answer", "absent_reason"}),
}


class Inline(NamedTuple):
    """A value that needs no function: the text of an expression over ``course``."""

    text: str


class Step(NamedTuple):
    """What is done with a field: ``act`` is a function, an expression, ``KEEP`` or ``DROP``."""

    name: str
    act: Act | Inline | str
    path: str
    is_list: bool
    required: bool


class Shape(NamedTuple):
    """``of`` gives the new model, or ``None`` where something is missing that it must have, or where it does not hold
    together any more; ``values`` are those it would have had, ``None`` in the first case.
    """

    of: Act
    values: Callable[[Any, Course, list[str]], dict[str, Any] | None]
    whole: Callable[[dict[str, Any]], Any]


def holds_together(made: Model, found: Iterable[Callable[[Any], Any]]) -> bool:
    """Whether a model passes its own validators."""
    try:
        for check in found:
            check(made)
    except (PydanticCustomError, ValueError):
        return False
    return True


def shape_of(model: type[Model], steps: Iterable[Step]) -> Shape:
    """The shape of a model, with a step for each of its fields."""
    listed, fill, found = list(steps), filler(model), checks(model, "after")

    def whole(values: dict[str, Any]) -> Model | None:
        made = fill(values)
        return made if holds_together(made, found) else None

    looked_at = LOOKED_AT.get(model, frozenset(model.model_fields))
    left_out = {step.name for step in listed if step.act == DROP}
    # Without validators there is nothing to ask; with a field left out that they look at, they are always asked.
    trusted = not found or (model in LOOKED_AT and left_out.isdisjoint(looked_at))
    made = _written(listed, looked_at, fill if trusted else whole, whole)
    return Shape(made["of"], made["values"], whole)


def _written(
    steps: list[Step], looked_at: frozenset[str], sound: Callable[[Any], Any], whole: Callable[[Any], Any]
) -> dict[str, Any]:
    space: dict[str, Any] = {"sound": sound, "whole": whole}
    # First the fields that validators look at: what else is left out does not change whether the record holds together.
    first: list[str] = []
    then: list[str] = []
    members = []
    for number, step in enumerate(steps):
        given, here, act = f"given[{step.name!r}]", f"v{number}", step.act
        lines = first if step.name in looked_at else then
        if act == DROP:
            here = "()" if step.is_list else "None"
            then.append(f"if {given if step.is_list else f'{given} is not None'}: lost.append({step.path!r})")
        elif act == KEEP:
            here = given
        elif isinstance(act, Inline):
            here = act.text
        else:
            space[f"a{number}"] = act
            lines += _lines(step, given, here, f"a{number}(")
        members.append(f"{step.name!r}: {here}")
    body = ["given = model.__dict__", "before = len(lost)", *first, "unchanged = len(lost) == before", *then]
    new = f"{{{', '.join(members)}}}"
    for name, ending in (("of", f"return (sound if unchanged else whole)({new})"), ("values", f"return {new}")):
        text = "\n    ".join([f"def {name}(model, course, lost):", *body, ending])
        exec(text, space)  # noqa: S102 - made of field names alone
    return space


def _lines(step: Step, given: str, here: str, call: str) -> list[str]:
    if step.is_list:
        return [f"{here} = {given}", f"if {here}: {here} = {call}{here}, course, lost)"]
    lines = [
        f"{here} = {given}",
        f"if {here} is not None:",
        f"    {here} = {call}{here}, course, lost)",
        f"    if {here} is None:",
        f"        lost.append({step.path!r})",
    ]
    return [*lines, "        return None"] if step.required else lines
