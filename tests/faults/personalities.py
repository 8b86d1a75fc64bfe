"""What servers are like: five of them as data, and what each says of itself.

Sources: observations of HAPI 8.8 and SEKMET, vendors' documents and issue threads. Where a real server can do more than
is set here, the field's comment says so: each personality exists to make one way of writing necessary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

Tree: TypeAlias = dict[str, Any]
Lie: TypeAlias = Literal["", "boast", "modest", "bloated"]
LIES: tuple[Lie, ...] = get_args(Lie)
TYPES = ("Patient", "Consent", "Procedure", "MedicationAdministration", "Observation", "AdverseEvent", "Provenance")
VERSIONS = {"r4": "4.0.1", "r4b": "4.3.0", "r5": "5.0.0"}

_RACE = (
    "HAPI-0550: HAPI-0825: The operation has failed with a client-assigned ID constraint failure. This typically means "
    "that multiple client threads are trying to create a new resource with the same client-assigned ID at the same "
    "time, and this thread was chosen to be rejected."
)
_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "race": "somebody else wrote it at the same time",
        "guard": "the same condition was used a moment ago",
        "stale": "the version is not the current one",
        "many": "the condition matches more than one resource",
        "limit": "too many entries",
        "throttled": "too many requests",
        "reference": "a reference points to nothing",
        "parameter": "unknown search parameter",
        "no-create": "no resource has this id",
        "id": "the id is not allowed",
        "modifier": "modifier extensions are not understood",
        "required": "If-Match is required",
        "present": "the resource exists already",
        "twice": "one identity stands twice in the bundle",
    }
)


@dataclass(frozen=True, slots=True)
class Personality:
    """How one server behaves. The defaults are those of a server that keeps every rule of the specification."""

    name: str
    update_create: bool = True
    # ``racy``: judged by what was there when the request arrived. ``guarded``: a unique constraint on the condition
    # that forgets after ``guard_commits``. ``ignored``: the header has no effect, which makes a second resource.
    conditional_create: Literal["safe", "racy", "guarded", "ignored"] = "safe"
    guard_commits: int = 0
    conditional_update: bool = True
    if_match: Literal["412", "409", "ignored", "required"] = "412"
    if_none_match: bool = True
    # The name of the header whose key makes a POST happen once.
    idempotency_key: str = ""
    system: tuple[str, ...] = ("transaction", "batch")
    entries: int = 0
    entries_status: int = 413
    # Every nth request that writes, every nth entry of a batch; 0 for never.
    throttle_every: int = 0
    throttle_entry_every: int = 0
    retry_after: str = "1"
    # A write to what another request changed since this one arrived is refused with 409.
    refuses_races: bool = False
    answers_with_body: bool = True
    location_has_version: bool = True
    bundle_etag: Literal["weak", "bare"] = "weak"
    unchanged_keeps_version: bool = False
    merges_tags: bool = False
    merges_conditions: bool = False
    checks_references: bool = False
    numeric_ids: bool = True
    deletes: bool = True
    # Elements that are not stored, anywhere in the resource, without a word about it.
    ignores: tuple[str, ...] = ()
    refuses_modifiers: bool = False
    ignores_unknown_parameters: bool = False
    # The index takes up a resource only when somebody has searched for it in vain: the first look after a write knows
    # nothing of it, whenever it comes.
    index_after_miss: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)

    def text(self, what: str) -> str:
        """What it says about a refusal."""
        return self.texts.get(what, _TEXTS[what])


PERSONALITIES: Mapping[str, Personality] = MappingProxyType(
    {
        one.name: one
        for one in (
            Personality("strict", checks_references=True),
            Personality(
                "hapi",
                conditional_create="guarded",
                guard_commits=200,
                if_match="409",
                if_none_match=False,
                refuses_races=True,
                bundle_etag="bare",
                unchanged_keeps_version=True,
                merges_tags=True,
                merges_conditions=True,
                checks_references=True,
                numeric_ids=False,
                texts={
                    "race": _RACE,
                    "guard": "HAPI-0550: HAPI-2745: The operation has failed with a match URL constraint failure.",
                    "stale": "HAPI-0550: HAPI-0989: Trying to update a resource but this is not the current version",
                    "many": "HAPI-0958: Failed to process conditional request because the search matched 2 resources",
                    "reference": "HAPI-1094: Resource not found, specified in path: subject",
                    "parameter": "HAPI-0524: Unknown search parameter",
                    "id": "HAPI-0960: clients may only assign IDs which contain at least one non-numeric character",
                    "twice": "HAPI-0535: Transaction bundle contains multiple resources with ID",
                },
            ),
            Personality(
                "azure",
                conditional_create="racy",
                entries=500,
                entries_status=400,
                throttle_every=7,
                throttle_entry_every=11,
                texts={"limit": "The number of entries in the bundle exceeded the configured limit of 500."},
            ),
            Personality(
                "healthlake",
                # The real one takes a PUT to a new id; without it the key is the only safe way.
                update_create=False,
                conditional_create="ignored",
                conditional_update=False,
                if_none_match=False,
                idempotency_key="x-amz-fhir-idempotency-key",
                entries=160,
                entries_status=400,
                texts={"limit": "Bundle contains more than the maximum allowed 160 entries"},
            ),
            Personality(
                "oracle",
                update_create=False,
                conditional_create="ignored",
                conditional_update=False,
                if_match="required",
                if_none_match=False,
                system=(),
                answers_with_body=False,
                location_has_version=False,
                deletes=False,
                # Tags too: what cannot be kept cannot be searched for.
                ignores=("extension", "tag"),
                refuses_modifiers=True,
                ignores_unknown_parameters=True,
            ),
        )
    }
)


def personality(name: str, changes: Mapping[str, str] | None = None) -> Personality:
    """A personality, with some fields changed by their text (``{"entries": "20", "update_create": "false"}``).

    Raises ``KeyError`` for a name or a field that does not exist.
    """
    one = PERSONALITIES[name]
    kinds = {each.name: type(getattr(one, each.name)) for each in fields(one)}
    values: dict[str, Any] = {}
    for key, text in (changes or {}).items():
        kind = kinds[key]
        values[key] = text == "true" if kind is bool else tuple(text.split()) if kind is tuple else kind(text)
    return replace(one, **values)


def statement(one: Personality, release: str, lie: Lie) -> Tree:
    """Its CapabilityStatement. ``boast`` declares all, ``modest`` nothing, ``bloated`` the truth in five megabytes."""
    every, none = lie == "boast", lie == "modest"

    def says(able: bool) -> bool:
        return every or (able and not none)

    system = ("transaction", "batch") if every else () if none else one.system
    codes = ["read", "vread", "create", "search-type", "update", *(["delete"] if says(one.deletes) else [])]
    resources = [
        {
            "type": name,
            "interaction": [{"code": code} for code in codes],
            "versioning": "versioned-update" if says(one.if_match != "ignored") else "no-version",
            "updateCreate": says(one.update_create),
            "conditionalCreate": says(one.conditional_create != "ignored"),
            "conditionalUpdate": says(one.conditional_update),
            "searchParam": [{"name": name, "type": kind} for name, kind in parameters(name, release).items()],
        }
        for name in TYPES
    ]
    tree: Tree = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "fhirVersion": VERSIONS[release],
        "format": ["json"],
        "software": {"name": f"laboratory, {one.name}"},
        "rest": [{"mode": "server", "resource": resources, "interaction": [{"code": code} for code in system]}],
    }
    if lie == "bloated":
        tree["rest"][0]["documentation"] = "All of it matters. " * 270_000
    return tree


def parameters(resource_type: str, release: str) -> dict[str, str]:
    """The search parameters of a type: name and kind. AdverseEvent has no ``identifier`` before R5."""
    found = {"_id": "token", "_tag": "token", "identifier": "token", "code": "token", "date": "date"}
    if resource_type != "Patient":
        found |= {"patient": "reference", "subject": "reference"}
    if resource_type == "Provenance":
        found = {"_id": "token", "_tag": "token", "target": "reference"}
    if resource_type == "AdverseEvent" and release != "r5":
        found = {"_id": "token", "_tag": "token", "subject": "reference", "date": "date"}
    return found
