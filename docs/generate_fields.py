"""Write ``docs/fields.md``: every field of every record, and the elements it becomes, taken from the code.

python docs/generate_fields.py
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.codec.element import Rule
from fhirbridge.mapping import Kind, kinds
from fhirbridge.records import Model

PAGE = Path(__file__).with_name("fields.md")
KINDS = ("session", "vital_sign", "assessment", "consent", "adverse_event")
HEAD = """# Fields

Written by `docs/generate_fields.py` out of the record models and the mappings; do not edit. A field without a star may
be left out. *word* is one of the words listed under the table; where *concept* stands beside it, somebody else's coding
may be given instead. A FHIR column names the elements that hold the field in R4 and R4B, and in R5; an element in
quotes is an extension. `fhirbridge schema` prints the same as JSON Schema.
"""
_CLINIC = Clinic("clinic.example", b"a key that makes no difference here")
_PLAIN = {str: "text", int: "whole number", bool: "true or false"}


def page() -> str:
    """The whole page."""
    found = kinds()
    nested: dict[str, type[Model]] = {}
    parts = [HEAD, *(_kind(found[name], nested) for name in KINDS), "## Parts that records are made of\n"]
    done: set[str] = set()
    while waiting := [name for name in nested if name not in done]:
        for name in sorted(waiting):
            done.add(name)
            parts.append(f"### {name}\n\n{_summary(nested[name])}\n\n" + _table(nested[name], nested, None))
    return "\n".join(parts)


def _kind(kind: Kind, nested: dict[str, type[Model]]) -> str:
    elements = {release: _elements(kind, release) for release in (Release.R4, Release.R5)}
    title = f"## {kind.name} ⇄ {kind.resource_type}\n\n{_summary(kind.record)}\n\n"
    return title + _table(kind.record, nested, elements)


def _summary(model: type[Model]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _table(
    model: type[Model], nested: dict[str, type[Model]], elements: dict[Release, dict[str, list[str]]] | None
) -> str:
    heads = ["field", "what", "type", "example", *(["R4, R4B", "R5"] if elements else [])]
    lines = [_row(heads), _row(["---"] * len(heads))]
    words: list[str] = []
    for name, field in model.model_fields.items():
        star = "\\*" if field.is_required() else ""
        cells = [f"`{name}`{star}", _what(field), _type(field.annotation, nested), _example(field)]
        if elements:
            cells += [", ".join(said.get(name, [])) for said in elements.values()]
        lines.append(_row(cells))
        listed = [word for one in _literals(field.annotation) for word in get_args(one)]
        if listed:
            words.append(f"- `{name}`: " + ", ".join(f"`{word}`" for word in listed))
    return "\n".join(lines) + "\n" + ("\n" + "\n".join(words) + "\n" if words else "")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _what(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    unit = extra.get("unit") if isinstance(extra, dict) else None
    return (field.description or "") + (f"; in {unit}" if unit else "")


def _example(field: FieldInfo) -> str:
    text = json.dumps((field.examples or [""])[0], ensure_ascii=False)
    return f"`{text}`"


def _type(annotation: Any, nested: dict[str, type[Model]]) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type(get_args(annotation)[0], nested)
    if origin is tuple:
        return f"list of {_type(get_args(annotation)[0], nested)}"
    if origin is Literal:
        return "word"
    if origin in (Union, types.UnionType):
        names = [_type(one, nested) for one in get_args(annotation) if one is not type(None)]
        return " or ".join(dict.fromkeys(names))
    if isinstance(annotation, type) and issubclass(annotation, Model):
        nested[annotation.__name__] = annotation
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _PLAIN.get(annotation) or re.sub(r"(?<!^)(?=[A-Z])", " ", annotation.__name__).lower()


def _literals(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield annotation
    else:
        for one in get_args(annotation):
            yield from _literals(one)


def _elements(kind: Kind, release: Release) -> dict[str, list[str]]:
    """The top-level elements of each field, as the rules of the mapping name them."""
    found: dict[str, list[str]] = {}
    for rule in kind.bind(kind, Binding(_CLINIC, release)).rules.rules:
        named = list(dict.fromkeys(_roots(rule)))
        for field in rule.fields:
            found.setdefault(field, [])
            found[field] += [name for name in named if name not in found[field]]
    return found


def _roots(rule: Rule) -> Iterator[str]:
    paths = rule.carries or _named(rule)
    for path in paths:
        extension = re.match(r"(?:modifierE|e)xtension\(([^)]*)\)", path)
        yield f'"{extension[1].rpartition("/")[2]}"' if extension else f"`{path.partition('.')[0].partition('[')[0]}`"


def _named(rule: Rule) -> tuple[str, ...]:
    """The element of a rule that keeps nothing whole, such as a word's code."""
    url = getattr(rule, "url", "")
    return (f"extension({url})",) if url else tuple(filter(None, [getattr(rule, "name", "")]))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
