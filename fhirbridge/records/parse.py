"""From a JSON tree to a record and back."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fhirbridge.errors import Fault, RecordRefused
from fhirbridge.records.base import Model, Record

R = TypeVar("R", bound=Model)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")
# The tags pydantic puts into the path of a union, which name no field.
_UNION_TAGS = re.compile(r"(literal\[.*|[A-Z]\w*|constrained-.*|function-.*|nullable.*|int|str|bool)", re.DOTALL)


def parse(model: type[R], tree: Mapping[str, Any]) -> R:
    """Make a record of ``tree``. Raises :class:`RecordRefused` with every fault; no fault quotes a value."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise RecordRefused(faults_of(error, model)) from None


def to_json(record: Model) -> dict[str, Any]:
    """The record as a JSON tree: fields in the model's order, empty ones left out, numbers and times as their text."""
    tree: dict[str, Any] = {"kind": record.kind} if isinstance(record, Record) else {}
    for name, value in record.__dict__.items():
        if value is not None and value != ():
            tree[name] = _plain(value)
    return tree


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return to_json(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def faults_of(error: ValidationError, model: type[Model]) -> tuple[Fault, ...]:
    """Pydantic's errors as faults: one per place, with a path into the record and a hint, without any value."""
    places: dict[str, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False, include_context=True, include_input=False):
        places.setdefault(_path(detail["loc"]), []).append(detail)
    # Every alternative of a union complains; a complaint from deeper inside says more than "should be one of".
    deeper = {path for path in places if any(other.startswith((f"{path}.", f"{path}[")) for other in places)}
    return tuple(
        _fault(path, details, model)
        for path, details in places.items()
        if path not in deeper or all(detail["type"] not in ("model_type", "literal_error") for detail in details)
    )


def _path(location: Iterable[int | str]) -> str:
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _UNION_TAGS.fullmatch(step) is None:
            name = step if _NAME.fullmatch(step) else "(unreadable name)"
            path += f".{name}" if path else name
    return path


def _fault(path: str, details: list[ErrorDetails], model: type[Model]) -> Fault:
    chosen = next((one for one in details if one["type"] == "literal_error"), details[0])
    kind, message = chosen["type"], chosen["msg"]
    if kind == "extra_forbidden":
        name = path.rpartition(".")[2]
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        return Fault("record.unknown_field", path, "no such field", f"did you mean {near[0]}?" if near else "remove it")
    if kind == "missing":
        return Fault("record.missing", path, "a required field is missing", "add it")
    if kind == "literal_error":
        expected = chosen.get("ctx", {}).get("expected", "")
        return Fault("record.unknown_word", path, "not a word the record knows", f"one of {expected}")
    return Fault(f"record.{kind}", path, message, _HINTS.get(kind, ""))


_HINTS = {
    "naive_time": "add the offset, such as -05:00 or Z",
    "string_pattern_mismatch": "check for white space, blanks and control characters",
    "number_type": "write 0.5, not \"0.5\"; in Python, Decimal(\"0.5\")",
    "unit": "correct the unit or the number",
    "implausible": "check the unit and the decimal point",
}  # fmt: skip
