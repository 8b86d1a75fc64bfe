"""Scopes of a service that acts by itself: ``system/Observation.cu`` (SMART 2) and ``system/Observation.write`` (1).

What is needed is said in the letters of SMART 2: create, read, update, delete, search.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

Version: TypeAlias = Literal[1, 2]
# What is done with resources of each type: some of the letters of "cruds".
Needs: TypeAlias = Mapping[str, str]

_LETTERS = "cruds"
_READ, _WRITE = frozenset("rs"), frozenset("cud")
_WORDS = {"read": _READ, "write": _WRITE, "*": _READ | _WRITE}
_SCOPE = re.compile(r"(system|user|patient)/(\*|[A-Z][A-Za-z]*)\.(read|write|\*|(?=[cruds])c?r?u?d?s?)")


def scopes(needs: Needs, version: Version) -> str:
    """The scopes to ask for, of a server that speaks this version."""
    asked: list[str] = []
    for name, letters in needs.items():
        if version == 2:
            asked.append(f"system/{name}.{''.join(one for one in _LETTERS if one in letters)}")
        else:
            asked += [f"system/{name}.{word}" for word in ("read", "write") if _WORDS[word] & set(letters)]
    return " ".join(asked)


def version_of(capabilities: Iterable[str], supported: Iterable[str]) -> Version:
    """The version of a server by its ``capabilities``, or by the ``supported`` scopes where those say nothing.

    Version 2 where both say nothing: it is what SMART describes since 2021.
    """
    said = set(capabilities)
    if "permission-v2" in said:
        return 2
    if "permission-v1" in said:
        return 1
    words = [found[3] for one in supported if (found := _SCOPE.fullmatch(one)) is not None]
    return 1 if words and all(word in _WORDS for word in words) else 2


def missing(asked: str, granted: str) -> tuple[str, ...]:
    """The scopes of ``asked`` that ``granted`` does not cover, in whichever version either is written.

    One that was narrowed by a query (``system/Observation.rs?category=…``) covers only itself.
    """
    given = granted.split()
    return tuple(one for one in dict.fromkeys(asked.split()) if one not in given and not _covered(one, given))


def _covered(asked: str, given: Sequence[str]) -> bool:
    wanted = _SCOPE.fullmatch(asked)
    if wanted is None:
        return False
    needed = _letters(wanted[3])
    for one in given:
        found = _SCOPE.fullmatch(one)
        if found is not None and found[1] == wanted[1] and found[2] in ("*", wanted[2]):
            needed -= _letters(found[3])
    return not needed


def _letters(word: str) -> frozenset[str]:
    return _WORDS.get(word) or frozenset(word)
