"""Transactions and batches: many interactions in one request, together or each for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tests.faults.interactions import Conditions, Effect, Refusal, Visit, outcome
from tests.faults.store import Address, Commit

Tree: TypeAlias = dict[str, Any]
# Takes the changes of some effects into the store: a commit for each effect that has one.
Committer: TypeAlias = Callable[[list[Effect]], list[Commit | None]]
# The status that a request's script has for the nth entry of a batch, or 0.
EntryStatus: TypeAlias = Callable[[int], int]
_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "GET": 3}


def transaction(visit: Visit, entries: list[Tree], commit: Committer) -> list[Tree]:
    """All or nothing. References to a ``fullUrl`` of the bundle become addresses. Raises :class:`Refusal`."""
    places: list[Address | None] = []
    merged: set[int] = set()
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries):
        condition = _condition(entry)
        if condition and condition in seen:
            if not visit.ways.merges_conditions:
                raise Refusal(400, visit.ways.text("twice"))
            merged.add(number)
            places.append(places[seen[condition]])
            continue
        if condition:
            seen[condition] = number
        places.append(_place(visit, entry, number))
    kept = [number for number in range(len(entries)) if number not in merged]
    written = [places[number] for number in kept if _method(entries[number]) != "GET"]
    if len(set(written)) != len(written):
        raise Refusal(400, visit.ways.text("twice"))
    pairs = zip(entries, places, strict=True)
    named = {entry["fullUrl"]: place for entry, place in pairs if place is not None and "fullUrl" in entry}
    visit.coming = {place for place in written if place is not None}
    effects: dict[int, Effect] = {}
    for number in sorted(kept, key=lambda one: _ORDER.get(_method(entries[one]), 9)):
        entry, place = entries[number], places[number]
        if "resource" in entry:
            entry = {**entry, "resource": _resolved(visit, entry["resource"], named)}
        effects[number] = perform(visit, entry, place[1] if place else "")
    commits = commit([effects[number] for number in kept])
    return [_answer(visit, entries[number], effects[number], made) for number, made in zip(kept, commits, strict=True)]


def batch(visit: Visit, entries: list[Tree], commit: Committer, status_of: EntryStatus) -> list[Tree]:
    """Each entry for itself."""
    answers: list[Tree] = []
    for number, entry in enumerate(entries):
        refused = status_of(number)
        if refused:
            said = outcome("throttled", visit.ways.text("throttled"))
            answers.append({"response": {"status": str(refused), "outcome": said}})
            continue
        try:
            effect = perform(visit, entry, _new_id(visit, number))
            answers.append(_answer(visit, entry, effect, commit([effect])[0]))
        except Refusal as refusal:
            answers.append({"response": {"status": str(refusal.status), "outcome": refusal.body}})
    return answers


def perform(visit: Visit, entry: Tree, new_id: str) -> Effect:
    """Do what one entry asks. Raises :class:`Refusal`."""
    request, resource = entry["request"], entry.get("resource", {})
    path, _, query = str(request["url"]).partition("?")
    kind, _, rest = path.strip("/").partition("/")
    conditions = Conditions(
        if_match=request.get("ifMatch", ""),
        if_none_match=request.get("ifNoneMatch", ""),
        if_none_exist=request.get("ifNoneExist", ""),
    )
    match _method(entry):
        case "POST":
            return visit.create(resource, new_id, conditions)
        case "PUT" if query:
            return visit.update_where(resource, query, new_id, conditions)
        case "PUT":
            return visit.update((kind, rest), resource, conditions)
        case "DELETE":
            return visit.delete((kind, rest), conditions)
        case "GET" if rest:
            return visit.read((kind, rest.partition("/_history/")[0]), rest.partition("/_history/")[2])
        case "GET":
            return visit.search(kind, query)
        case _:
            raise Refusal(400, "this method has no place in a bundle")


def _place(visit: Visit, entry: Tree, number: int) -> Address | None:
    """Where the resource of an entry is or will be, so that others can refer to it."""
    method, (path, _, query) = _method(entry), str(entry["request"]["url"]).partition("?")
    kind, _, own = path.strip("/").partition("/")
    if method in ("PUT", "DELETE", "GET") and own:
        return kind, own
    if method == "GET":
        return None
    condition = query if method == "PUT" else entry["request"].get("ifNoneExist", "")
    if method == "POST" and visit.ways.conditional_create == "ignored":
        condition = ""
    there = visit.target(kind, condition) if condition else None
    given = entry.get("resource", {}).get("id") if method == "PUT" else None
    return there or (kind, given or _new_id(visit, number))


def _condition(entry: Tree) -> str:
    kind, _, query = str(entry["request"]["url"]).partition("?")
    condition = query if _method(entry) == "PUT" else str(entry["request"].get("ifNoneExist", "")).rpartition("?")[2]
    return f"{kind}?{condition}" if condition and _method(entry) in ("PUT", "POST") else ""


def _method(entry: Tree) -> str:
    return str(entry.get("request", {}).get("method", ""))


def _resolved(visit: Visit, node: Any, named: dict[str, Address]) -> Any:
    if isinstance(node, list):
        return [_resolved(visit, one, named) for one in node]
    if not isinstance(node, dict):
        return node
    tree = {name: _resolved(visit, value, named) for name, value in node.items()}
    reference = tree.get("reference")
    if isinstance(reference, str):
        if reference in named:
            tree["reference"] = "/".join(named[reference])
        elif "?" in reference:
            kind, _, query = reference.partition("?")
            there = visit.target(kind, query)
            if there is None:
                raise Refusal(404, visit.ways.text("reference"))
            tree["reference"] = "/".join(there)
        elif reference.startswith("urn:uuid:"):
            raise Refusal(400, visit.ways.text("reference"))
    return tree


def _new_id(visit: Visit, number: int) -> str:
    # The head moves with every commit, so no id comes twice.
    return f"s{visit.store.head + 1}-{number}"


def _answer(visit: Visit, entry: Tree, effect: Effect, made: Commit | None) -> Tree:
    if _method(entry) == "GET":
        return {"response": {"status": "200 OK"}, "resource": effect.held.body if effect.held else effect.body}
    commit = made or effect.held
    response: Tree = {"status": {200: "200 OK", 201: "201 Created"}[effect.status]}
    if commit is not None:
        etag = str(commit.version) if visit.ways.bundle_etag == "bare" else f'W/"{commit.version}"'
        version = f"/_history/{commit.version}" if visit.ways.location_has_version else ""
        response |= {"location": f"{commit.type}/{commit.id}{version}", "etag": etag}
    if effect.unchanged:
        response["outcome"] = outcome("informational", "SUCCESSFUL_UPDATE_NO_CHANGE", "information")
    return {"response": response}
