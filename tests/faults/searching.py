"""Searching: which resources fit, as the index knew them, in pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode

from tests.faults.personalities import parameters
from tests.faults.store import Address, Commit, Store, tokens

Tree: TypeAlias = dict[str, Any]
Query: TypeAlias = list[tuple[str, str]]
# What shapes an answer and selects nothing.
_SHAPING = frozenset({"_count", "_offset", "_format", "_pretty", "_total", "_sort", "_elements", "_summary"})


class UnknownParameter(Exception):
    """A search parameter that this type does not have."""


def parsed(text: str) -> Query:
    """A query as name and value; the order is kept, and a ``?`` or ``Type?`` in front is no part of it."""
    return parse_qsl(text.rpartition("?")[2], keep_blank_values=True)


def found(store: Store, resource_type: str, query: Query, head: int, *, release: str, ignoring: bool) -> list[Commit]:
    """The resources that fit as of commit ``head``, in the order in which they were made.

    Raises :class:`UnknownParameter` unless ``ignoring``, which leaves such a parameter out and so finds more.
    """
    known = parameters(resource_type, release)
    wanted: Query = []
    for name, value in query:
        if name in _SHAPING:
            continue
        if name.partition(":")[0].partition(".")[0] not in known:
            if ignoring:
                continue
            raise UnknownParameter
        wanted.append((name, value))
    hits = []
    for address in _candidates(store, resource_type, wanted):
        commit = store.current(address, head)
        if commit is not None and commit.body is not None and fits(commit.body, wanted):
            hits.append(commit)
    return sorted(hits, key=lambda one: store.history(one.address)[0].n)


def fits(resource: Tree, wanted: Query) -> bool:
    """Whether a resource satisfies every parameter."""
    return all(any(_fits_one(resource, name, one) for one in value.split(",")) for name, value in wanted)


def page(commits: list[Commit], query: Query, base: str, path: str) -> Tree:
    """A searchset: ``_count`` entries from ``_offset``, with a ``next`` link while there are more."""
    given = dict(query)
    size, start = int(given.get("_count", "50") or 50), int(given.get("_offset", "0"))
    entries = [
        {"fullUrl": f"{base}/{one.type}/{one.id}", "resource": one.body, "search": {"mode": "match"}}
        for one in commits[start : start + size]
    ]
    tree: Tree = {"resourceType": "Bundle", "type": "searchset", "total": len(commits), "entry": entries}
    if start + size < len(commits):
        more = [(name, value) for name, value in query if name != "_offset"] + [("_offset", str(start + size))]
        tree["link"] = [{"relation": "next", "url": f"{base}/{path}?{urlencode(more)}"}]
    return tree


def _candidates(store: Store, resource_type: str, wanted: Query) -> Iterable[Address]:
    for name, value in wanted:
        if name == "_id":
            return [(resource_type, one) for one in value.split(",")]
        if name in ("identifier", "_tag") and "|" in value and not value.startswith("|") and "," not in value:
            return store.indexed(resource_type, name, _unescaped(value))
    return store.of_type(resource_type)


def _fits_one(resource: Tree, name: str, value: str) -> bool:
    value = _unescaped(value)
    if name == "_id":
        return bool(resource["id"] == value)
    if name in ("identifier", "_tag"):
        return any(parameter == name and _token(token, value) for parameter, token in tokens(resource))
    if name == "code":
        coded = resource.get("code", {}).get("coding", ())
        return any(_token(f"{one.get('system', '')}|{one.get('code', '')}", value) for one in coded)
    if name == "date":
        names = ("effectiveDateTime", "performedDateTime", "occurrenceDateTime", "date", "dateTime")
        told = [str(resource[one]) for one in names if one in resource]
        told += [
            str(resource[one].get("start", "")) for one in ("performedPeriod", "occurrencePeriod") if one in resource
        ]
        return any(one.startswith(value.removeprefix("eq")) for one in told)
    references = _references(resource, name.partition(":")[0].partition(".")[0])
    if name.endswith("identifier"):
        return any(_token(_identifier_of(one), value) for one in references)
    return any(one.get("reference", "").rpartition("/")[2] == value.rpartition("/")[2] for one in references)


def _references(resource: Tree, name: str) -> list[Mapping[str, Any]]:
    names = ("subject", "patient") if name in ("subject", "patient") else (name,)
    held = [resource[one] for one in names if one in resource]
    return [one for several in held for one in (several if isinstance(several, list) else [several])]


def _identifier_of(reference: Mapping[str, Any]) -> str:
    one = reference.get("identifier", {})
    return f"{one.get('system', '')}|{one.get('value', '')}"


def _token(token: str, value: str) -> bool:
    return token == value if "|" in value else token.partition("|")[2] == value


def _unescaped(value: str) -> str:
    for escaped in ("\\|", "\\,", "\\$", "\\\\"):
        value = value.replace(escaped, escaped[1])
    return value
