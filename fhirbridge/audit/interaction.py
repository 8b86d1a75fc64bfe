"""What a request is in FHIR's own words, and how it may be written down: whose data it names stays keyed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote, urlencode

from fhirbridge.audit.keys import Keys

# Of FHIR's restful-interaction codes.
Interaction: TypeAlias = Literal[
    "read",
    "vread",
    "search",
    "create",
    "update",
    "delete",
    "batch",
    "transaction",
    "capabilities",
    "operation",
    "history",
]
# Asking for these takes nothing of any patient to the site but addresses that it has given out itself.
QUIET: frozenset[Interaction] = frozenset({"read", "vread", "capabilities", "history"})
# What a search may say in clear: how it wants its answer. Every other value may be about a patient.
_PLAIN = frozenset(
    {"_count", "_elements", "_format", "_include", "_lastUpdated", "_offset", "_revinclude", "_since", "_sort",
     "_summary", "_total", "_type"}
)  # fmt: skip
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
# As binding.Binding.resource_id makes them: keyed already.
_OURS = re.compile(r"f[0-9a-f]{32}")
_ALL_OURS = re.compile(r"(?:[A-Z][A-Za-z]{1,63}/f[0-9a-f]{32}(?:\n|\Z))*")
_WORD = re.compile(r"_search|_history|metadata|\.well-known|smart-configuration|\$[a-z][a-z-]{0,63}")
_SYSTEM = re.compile(r"(?:https?://|urn:)[A-Za-z0-9._:/%~+-]{1,1024}")
_KEYED = "~"


class Place(NamedTuple):
    """A resource's address as it may be written down: ``id`` where it is one of ours, else ``keyed``; neither where the
    server is yet to say."""

    type: str
    id: str
    keyed: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: what it is, which resources it names, and, for a search, its words."""

    interaction: Interaction
    places: tuple[Place, ...] = ()
    query: str | None = None
    quiet: bool = False


class Masks:
    """Writes down requests to the site at ``base``."""

    def __init__(self, base: str, keys: Keys) -> None:
        self._base, self._keys = base.rstrip("/"), keys

    def place(self, resource_type: str, own: str) -> Place:
        """A resource of the site. An id that a server chose may be the number of a patient: it stands keyed."""
        named = resource_type if _TYPE.fullmatch(resource_type) else "Resource"
        if _OURS.fullmatch(own):
            return Place(named, own, "")
        return Place(named, "", self._keys.name("address", self._base, resource_type, own))

    def are_ours(self, places: Sequence[str]) -> bool:
        """Whether each of these addresses, ``Type/id``, is of an id of ours."""
        return _ALL_OURS.fullmatch("\n".join(places)) is not None

    def asked(self, method: str, address: str, body: bytes | None, inside: Iterable[tuple[str, str]]) -> Asked:
        """What a request is. ``inside`` as in :class:`fhirbridge.client.witness.Request`."""
        path, _, query = address.removeprefix(self._base).lstrip("/").partition("?")
        steps = [unquote(step) for step in path.split("/") if step]
        entries = [(verb, url.removeprefix(self._base).lstrip("/")) for verb, url in inside]
        if not steps and method == "POST":
            places = tuple(one for _, url in entries if (one := self._named(url)) is not None)
            return Asked("batch", places, quiet=bool(entries) and all(verb == "GET" for verb, _ in entries))
        interaction = _interaction(method, steps, query)
        quiet = interaction in QUIET
        if interaction == "search":
            form = query if method == "GET" else (body or b"").decode("utf-8", "replace")
            quiet = all(name in _PLAIN for name, _ in parse_qsl(form, keep_blank_values=True))
            return Asked("search", (), f"{method} {self._path(steps)}{self._query(form)}", quiet)
        place = self._named(path)
        if place is None and interaction in ("create", "update", "delete") and steps and _TYPE.fullmatch(steps[0]):
            place = Place(steps[0], "", "")
        return Asked(interaction, () if place is None else (place,), quiet=quiet)

    def _named(self, url: str) -> Place | None:
        steps = [unquote(step) for step in url.partition("?")[0].split("/")]
        named = len(steps) > 1 and _TYPE.fullmatch(steps[0]) and _WORD.fullmatch(steps[1]) is None
        return self.place(steps[0], steps[1]) if named else None

    def _path(self, steps: list[str]) -> str:
        known = (_TYPE, _OURS, _WORD)
        return "/".join(
            one if any(form.fullmatch(one) for form in known) else self._keyed("path", one) for one in steps
        )

    def _query(self, form: str) -> str:
        pairs = parse_qsl(form, keep_blank_values=True)
        said = [(self._name(name), value if name in _PLAIN else self._value(name, value)) for name, value in pairs]
        return f"?{urlencode(said, safe='|:/~')}" if said else ""

    def _name(self, name: str) -> str:
        return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}", name) else self._keyed("parameter", name)

    def _value(self, name: str, value: str) -> str:
        system, bar, rest = value.rpartition("|")
        if bar and (not system or _SYSTEM.fullmatch(system)):
            return f"{system}|{self._keyed('token', system, rest)}"
        return self._keyed("value", name, value)

    def _keyed(self, *parts: str) -> str:
        return _KEYED + self._keys.name(*parts)


def _interaction(method: str, steps: list[str], query: str) -> Interaction:
    match method, steps:
        case _, ["metadata"] | [".well-known", *_]:
            return "capabilities"
        case _, [*_, last] if last.startswith("$"):
            return "operation"
        case ("GET", [_, _, "_history", _]):
            return "vread"
        case ("GET", [*_, "_history"]):
            return "history"
        case ("POST", [*_, "_search"]):
            return "search"
        case ("GET", [_, _]) if not query:
            return "read"
        case ("GET" | "HEAD", _):
            return "search"
        case ("POST", _):
            return "create"
        case ("DELETE", _):
            return "delete"
        case _:
            return "update"
