"""Whether two converters say the same: without that, comparing their speed would mean nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any


def unlike(pairs: Iterable[tuple[bytes, bytes]]) -> Counter[str]:
    """How often which element path differs between two JSON texts; numbers are compared by value, order by name.

    Paths have no positions and no values, so they can be shown.
    """
    found: Counter[str] = Counter()
    for one, other in pairs:
        found.update(set(_unlike(json.loads(one), json.loads(other), "")))
    return found


def _unlike(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {*one, *other}:
            here = f"{path}.{name}" if path else name
            if name in one and name in other:
                yield from _unlike(one[name], other[name], here)
            else:
                yield here
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for mine, theirs in zip(_ordered(one), _ordered(other), strict=True):
            yield from _unlike(mine, theirs, path)
    elif one != other:
        yield path


def _ordered(items: list[Any]) -> list[Any]:
    # The order of extensions means nothing: two converters may well differ in it.
    if items and all(isinstance(item, dict) and "url" in item for item in items):
        return sorted(items, key=lambda item: (item["url"], json.dumps(item, sort_keys=True)))
    return items
