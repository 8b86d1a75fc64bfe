"""Checked text: numbers, dates and times that keep the characters they were written with.

``0.50`` is not ``0.5`` in FHIR, ``2026-11`` is not ``2026-11-01``, and an offset of ``-05:00`` says where the clinic
was (trap T16). ``Decimal ==`` and ``datetime`` forget all of that, so a record holds the text and converts on request.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
from functools import total_ordering
from typing import Any, ClassVar, Self

from jiter import LosslessFloat
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE]([+-]?[0-9]+))?")
# The official observation-decimal.json goes to E-245; `1e999999999` is a denial of service (reliability §2).
_MOST_CHARACTERS = 400
_MOST_EXPONENT = 400


@total_ordering
class Decimal:
    """A JSON number by its text. Equal when the text is equal; ordered by value.

    ``Decimal("0.50")``, ``.text``, ``.as_decimal()``. Raises ``ValueError`` for text that is no JSON number.
    """

    __slots__ = ("_value", "text")
    text: str
    _value: decimal.Decimal

    def __init__(self, text: str) -> None:
        match = _NUMBER.fullmatch(text)
        if match is None or len(text) > _MOST_CHARACTERS or abs(int(match[1] or 0)) > _MOST_EXPONENT:
            raise ValueError("not a JSON number of reasonable size")
        object.__setattr__(self, "text", text)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("Decimal is immutable")

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.text,)

    def as_decimal(self) -> decimal.Decimal:
        """The value as ``decimal.Decimal``; computed once."""
        try:
            return self._value
        except AttributeError:
            object.__setattr__(self, "_value", decimal.Decimal(self.text))
            return self._value

    def __eq__(self, other: object) -> bool:
        if type(other) is Decimal:
            return self.text == other.text
        if type(other) is int or type(other) is LosslessFloat:
            return self.text == str(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(int(self.text)) if self.text.lstrip("-").isdigit() else hash(self.text)

    def __lt__(self, other: Decimal) -> bool:
        return self.as_decimal() < other.as_decimal()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return "Decimal(…)"

    @classmethod
    def _validate(cls, value: Any) -> Decimal:
        kind = type(value)
        if kind is cls:
            return value  # type: ignore[no-any-return]
        if kind is int or kind is LosslessFloat or kind is decimal.Decimal:
            try:
                return cls(str(value))
            except ValueError:
                raise PydanticCustomError("number_size", "a number of reasonable size is wanted") from None
        raise PydanticCustomError("number_type", "a JSON number is wanted, without quotes")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._validate)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "number"}


_DAY = (
    r"(?!0000)[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    r"|(?!0000)(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29"
)
_PARTIAL = rf"(?!0000)[0-9]{{4}}(?:-(?:0[1-9]|1[0-2]))?|{_DAY}"
# Seconds may be 60 (a leap second, kept by servers); 24:00 is not a FHIR time.
_OFFSET = r"(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)"
_CLOCK = rf"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{{1,9}})?{_OFFSET}"


class _Moment(str):
    """Text of a point or a span in time that has been checked; it stays a ``str``."""

    __slots__ = ()
    pattern: ClassVar[re.Pattern[str]]
    _format: ClassVar[str]
    _wanted: ClassVar[str]
    _code: ClassVar[str]

    def __new__(cls, text: str) -> Self:
        if cls.pattern.fullmatch(text) is None:
            raise ValueError(cls._wanted)
        return super().__new__(cls, text)

    def as_datetime(self, zone: dt.tzinfo = dt.UTC) -> dt.datetime:
        """The earliest moment the text can mean; ``zone`` serves only where the text has no time of day."""
        text = str(self)
        if "T" not in text:
            year, month, day = (*map(int, text.split("-")), 1, 1)[:3]
            return dt.datetime(year, month, day, tzinfo=zone)
        extra = dt.timedelta(seconds=text[17:19] == "60")
        fraction = re.search(r"\.[0-9]+", text)
        if fraction:
            text = text.replace(fraction[0], fraction[0][:7].ljust(7, "0"))
        return dt.datetime.fromisoformat(text.replace(":60", ":59", 1) if extra else text) + extra

    @classmethod
    def _validate(cls, value: Any) -> Self:
        if isinstance(value, str):
            if isinstance(value, cls):
                return value
            if cls.pattern.fullmatch(value) is not None:
                return str.__new__(cls, value)
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+", value):
                raise PydanticCustomError("naive_time", "a time without an offset from UTC says no moment")
        raise PydanticCustomError(cls._code, cls._wanted)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._validate)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": cls._format, "description": cls._wanted}


class Date(_Moment):
    """A day, a month or a year: ``2026-11-20``, ``2026-11``, ``2026``."""

    __slots__ = ()
    pattern = re.compile(_PARTIAL)
    _format = "date"
    _wanted = "a date is wanted, such as 2026-11-20, 2026-11 or 2026"
    _code = "date"


class DateTime(_Moment):
    """A date, or a moment with seconds and an offset: ``2026-11-20T10:41:00-05:00``."""

    __slots__ = ()
    # What is usual comes first.
    pattern = re.compile(rf"(?:{_DAY}){_CLOCK}|{_PARTIAL}")
    _format = "date-time"
    _wanted = "a date, or a time with seconds and offset, is wanted, such as 2026-11-20T10:41:00-05:00"
    _code = "date_time"


class Instant(_Moment):
    """A moment with seconds and an offset, never a bare date: ``2026-11-20T10:41:00.120-05:00``."""

    __slots__ = ()
    pattern = re.compile(rf"(?:{_DAY}){_CLOCK}")
    _format = "date-time"
    _wanted = "a time with seconds and offset is wanted, such as 2026-11-20T10:41:00-05:00"
    _code = "instant"
