"""What all records share: the frozen base, references, coded concepts, amounts, notes.

A record speaks the clinic's words. ``Term`` fields hold one of those words or, where somebody else's vocabulary was
used, a ``Concept`` with its codes as they came.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, Strict, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.records.text import DateTime, Decimal, Instant


def about(description: str, *, example: Any, unit: str | None = None, default: Any = None) -> Any:
    """A field's documentation (JSON Schema for the clinic's engineers); ``default=...`` makes it required."""
    extra: dict[str, JsonValue] | None = {"unit": unit} if unit else None
    return Field(default=default, description=description, examples=[example], json_schema_extra=extra)


REQUIRED: Any = ...

Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=1, le=2_147_483_647)]
# FHIR strings may not be empty nor blank, and control characters other than tab and line ends are not allowed.
Text = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=1_000_000,
        pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*[^\s\x00-\x1f][^\x00-\x08\x0b\x0c\x0e-\x1f]*$",
    ),
]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^\S+$")]
# A FHIR code: no outer and no double white space; letters and digits beyond that are the code system's affair.
Code = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\s]+( [^\s]+)*$")]
Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$")]
RecordId = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\s]+$")]


class Model(BaseModel):
    """Frozen, closed to unknown fields, and silent: no value shows in a ``repr`` or an error text."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    __str__ = __repr__


M = TypeVar("M", bound=Model)
# The slots of a pydantic model. Setting them is what model_construct does, which takes thirty times as long.
_set_values, _set_given, _set_extra, _set_private = (
    vars(BaseModel)[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


@functools.cache
def filler(model: type[M]) -> Callable[[dict[str, Any]], M]:
    """A function that makes a model of values for all fields, as they are: nothing is checked."""
    # A frozen model never changes it.
    given = set(model.model_fields)
    new = object.__new__

    def filled(values: dict[str, Any]) -> M:
        made = new(model)
        _set_values(made, values)
        _set_given(made, given)
        _set_extra(made, None)
        _set_private(made, None)
        return made

    return filled


Check = Callable[[Any], Any]


@functools.cache
def checks(model: type[Model], mode: Literal["before", "after"]) -> tuple[Check, ...]:
    """The validators of a model as a whole: those that see its values before it is made, or the model itself after."""
    found = model.__pydantic_decorators__.model_validators.items()
    return tuple(getattr(model, name) for name, one in found if one.info.mode == mode)


@functools.cache
def assembler(model: type[M], after: tuple[Check, ...]) -> Callable[[dict[str, Any]], M]:
    """A function that makes a model of values for all fields, each validated before; of what must hold between them,
    ``after`` is checked.

    It raises what a validator of the whole raises, and ``ValueError`` where one would change a value.
    """
    before = checks(model, "before")
    fill: Callable[[dict[str, Any]], M] = filler(model)
    if not before and not after:
        return fill

    def assembled(values: dict[str, Any]) -> M:
        for adjust in before:
            if adjust(values) is not values:
                raise ValueError("a value would be changed")
        made = fill(values)
        for check in after:
            check(made)
        return made

    return assembled


class Coding(Model):
    """One code of one code system."""

    system: Uri | None = about("Code system", example="http://snomed.info/sct")
    code: Code | None = about("Code in that system", example="422587007")
    display: Text | None = about("The system's own words for the code", example="Nausea")
    version: Text | None = about("Version of the code system", example="2020-07-31")
    user_selected: Flag | None = about("Whether a person picked exactly this code", example=True)

    @model_validator(mode="after")
    def _says_something(self) -> Coding:
        if self.code is None and self.display is None and self.system is None:
            raise PydanticCustomError("empty", "a coding needs a code, a display or a system")
        return self


class Concept(Model):
    """A coded idea: codes, or words, or both."""

    text: Text | None = about("The idea in words", example="nausea")
    codings: tuple[Coding, ...] = about(
        "Its codes", example=[{"system": "http://snomed.info/sct", "code": "422587007"}], default=()
    )

    @model_validator(mode="after")
    def _says_something(self) -> Concept:
        if self.text is None and not self.codings:
            raise PydanticCustomError("empty", "a concept needs a text or a coding")
        return self


class Period(Model):
    """From a moment to a moment; either may be open."""

    start: DateTime | None = about("Start", example="2026-11-20T10:00:00-05:00")
    end: DateTime | None = about("End", example="2026-11-20T10:40:00-05:00")

    @model_validator(mode="after")
    def _runs_forward(self) -> Period:
        check_order(self.start, self.end)
        if self.start is None and self.end is None:
            raise PydanticCustomError("empty", "a period needs a start or an end")
        return self


_TO_THE_SECOND = len("2026-11-20T10:00:00-05:00")


def check_order(start: DateTime | None, end: DateTime | None) -> None:
    """Raise when a period ends before it starts; partial dates are compared as the span they cover (FHIR per-1)."""
    if start is None or end is None or start == end or end.startswith(str(start)):
        return
    if len(start) == len(end) == _TO_THE_SECOND and start[19:] == end[19:]:
        backwards = end < str(start)
    elif len(start) > 10 and len(end) > 10:
        backwards = end.as_datetime() < start.as_datetime()
    else:
        shared = min(len(start), len(end), 10)
        backwards = end[:shared] < start[:shared]
    if backwards:
        raise PydanticCustomError("period_order", "the end lies before the start")


class Identifier(Model):
    """A name that somebody gives to a thing, in a system of their own."""

    system: Uri | None = about("Who gives the name", example="https://clinic.example/sid/patient")
    value: Text | None = about("The name", example="P-1001")
    type: Concept | None = about("Kind of identifier", example={"text": "MRN"})
    use: Literal["usual", "official", "temp", "secondary", "old"] | None = about("Use", example="usual")

    @model_validator(mode="after")
    def _says_something(self) -> Identifier:
        if self.value is None and self.system is None:
            raise PydanticCustomError("empty", "an identifier needs a value")
        return self


class Ref(Model):
    """A pointer to a person or thing that is kept elsewhere: by identifier, or as a server's literal address."""

    type: Code | None = about("FHIR type of the target", example="Practitioner")
    identifier: Identifier | None = about(
        "Identifier of the target", example={"system": "https://clinic.example/sid/practitioner", "value": "RN-7"}
    )
    display: Text | None = about("Words for people; leave out names where you can", example="attending physician")
    literal: Uri | None = about("Address on a server, kept only where there is no identifier", example="Patient/123")

    @model_validator(mode="after")
    def _says_something(self) -> Ref:
        if self.identifier is None and self.literal is None and self.display is None:
            raise PydanticCustomError("empty", "a reference needs an identifier")
        if self.identifier is not None and self.literal is not None:
            raise PydanticCustomError("one_of", "with an identifier, the literal address is left out")
        return self

    def points_to(self, type_: str) -> bool:
        """Whether the target is of this FHIR type, as far as the reference says."""
        if self.type is not None:
            return self.type == type_
        return self.literal is not None and self.literal.split("/")[-2:-1] == [type_]


class Amount(Model):
    """A number with its UCUM unit."""

    value: Decimal = about("Number, digits kept as written", example=35, default=REQUIRED)
    unit: Code = about("UCUM code of the unit", example="mg", default=REQUIRED)
    comparator: Literal["<", "<=", ">=", ">"] | None = about("Where the true value lies beyond", example="<")


class Note(Model):
    """A remark."""

    text: Text = about("The remark", example="Tolerated well.", default=REQUIRED)
    author: Ref | None = about("Who wrote it", example={"type": "Practitioner", "identifier": {"value": "RN-7"}})
    author_name: Text | None = about("Who wrote it, where there is only a name", example="night shift")
    time: DateTime | None = about("When", example="2026-11-20T12:10:00-05:00")

    @model_validator(mode="after")
    def _one_author(self) -> Note:
        if self.author is not None and self.author_name is not None:
            raise PydanticCustomError("one_of", "give author or author_name, not both")
        return self


# Beyond "psychiatry", which every record of this clinic carries (specification §3.0).
Sensitivity = Literal["psychotherapy_notes", "mental_health", "behavioral_health", "substance_use", "substance_abuse"]
Revision = Annotated[int, Strict(), Field(ge=0, le=9_223_372_036_854_775_807)] | Instant


class Record(Model):
    """The fields of every record (specification §3.0)."""

    kind: ClassVar[str]

    id: RecordId = about("The clinic's own immutable id, never reused", example="6f2c1d0e", default=REQUIRED)
    revision: Revision = about(
        "Version of this record: a growing number, or the time of the change; nothing else orders versions",
        example=1,
        default=REQUIRED,
    )
    patient: Ref = about(
        "Whose record it is",
        example={"type": "Patient", "identifier": {"system": "https://clinic.example/sid/patient", "value": "P-1001"}},
        default=REQUIRED,
    )
    additional_identifiers: tuple[Identifier, ...] = about(
        "Names others gave it", example=[{"system": "https://lab.example/ids", "value": "9"}], default=()
    )
    encounter: Ref | None = about("Visit it belongs to", example={"type": "Encounter", "identifier": {"value": "E-55"}})
    sensitivity: tuple[Sensitivity, ...] = about(
        "Special protection beyond psychiatry", example=["substance_use"], default=()
    )
    source: Annotated[str, StringConstraints(max_length=2048, pattern=r"^[^\s#]+$")] | None = about(
        "System it was recorded in; the clinic's own when left out", example="https://clinic.example/monitor-2"
    )
    notes: tuple[Note, ...] = about("Remarks", example=[{"text": "Tolerated well."}], default=())

    @model_validator(mode="after")
    def _each_label_once(self) -> Record:
        if len(set(self.sensitivity)) != len(self.sensitivity):
            raise PydanticCustomError("repeated", "a sensitivity is listed twice")
        return self
