"""Lossless JSON: a tree in which every number is the text it was written with (design §4.1, trap T16).

A tree is made of ``dict``, ``list``, ``str``, ``bool``, ``None``, ``int`` and, for numbers that are no plain integers,
``LosslessFloat`` (as read) or ``Decimal`` (as written by a mapping). Both compare equal when their text is equal.
"""

from __future__ import annotations

import json as stdlib
import re
from typing import Any, TypeAlias

import jiter
import msgspec
from jiter import LosslessFloat

from fhirbridge.errors import JsonError
from fhirbridge.records.text import Decimal

Json: TypeAlias = Any
Tree: TypeAlias = dict[str, Any]

# jiter reads `-0` as the integer 0; only then is the slower reader needed.
_NEGATIVE_ZERO = re.compile(rb"-0(?=[\s,}\]])|-0\Z")
_LARGEST_INT = 2**63 - 1


def parse(data: bytes) -> Json:
    """Read one JSON text. Raises :class:`JsonError`: broken text, NaN, a repeated member, a lone surrogate, 200
    levels.
    """
    try:
        if _NEGATIVE_ZERO.search(data):
            return _parse_keeping_negative_zero(data)
        return jiter.from_json(data, allow_inf_nan=False, float_mode="lossless-float", catch_duplicate_keys=True)
    except ValueError as error:
        raise JsonError(*_explain(str(error))) from None


def parse_object(data: bytes) -> Tree:
    """Read one JSON object. Raises :class:`JsonError` for anything else."""
    tree = parse(data)
    if not isinstance(tree, dict):
        raise JsonError("a JSON object is wanted", code="json.object")
    return tree


def dump(tree: Json) -> bytes:
    """Write a tree as compact JSON, members in the order of the tree."""
    return _encode(_PLAIN, tree)


def canonical(tree: Json) -> bytes:
    """Write a tree as canonical JSON: members sorted, no white space, numbers by their text."""
    return _encode(_SORTED, tree)


def _explain(message: str) -> tuple[str]:
    # jiter's messages name the fault and the place, but may quote a member's name: keep neither quote nor value.
    place = re.search(r"at line \d+ column \d+", message)
    where = f" {place[0]}" if place else ""
    if "duplicate key" in message.lower():
        return (f"a member is written twice{where}",)
    if "recursion" in message.lower():
        return (f"nested too deeply{where}",)
    return (f"not valid JSON{where}",)


def _parse_keeping_negative_zero(data: bytes) -> Json:
    jiter.from_json(data, allow_inf_nan=False, float_mode="lossless-float", catch_duplicate_keys=True)
    return stdlib.loads(data, parse_float=Decimal, parse_int=lambda text: Decimal(text) if text == "-0" else int(text))


def _hook(value: object) -> object:
    if isinstance(value, Decimal):
        return msgspec.Raw(value.text.encode())
    if isinstance(value, LosslessFloat):
        return msgspec.Raw(str(value).encode())
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON tree")


_PLAIN = msgspec.json.Encoder(enc_hook=_hook)
_SORTED = msgspec.json.Encoder(enc_hook=_hook, order="sorted")


def _encode(encoder: msgspec.json.Encoder, tree: Json) -> bytes:
    try:
        return encoder.encode(tree)
    except OverflowError:
        return encoder.encode(_with_large_integers_as_text(tree))


def _with_large_integers_as_text(tree: Json) -> Json:
    if isinstance(tree, dict):
        return {key: _with_large_integers_as_text(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_large_integers_as_text(value) for value in tree]
    if type(tree) is int and abs(tree) > _LARGEST_INT:
        return Decimal(str(tree))
    return tree
