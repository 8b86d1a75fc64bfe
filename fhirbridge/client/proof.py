"""What is known of a server: what it claims and what was proven by trial. A document that the ledger keeps.

A trial is made on one resource type; a server's abilities are those of its machinery and hold for all types alike,
except where the server declares a type otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias, get_args

from fhirbridge.fhir.capability import Capabilities, SmartConfiguration
from fhirbridge.fhir.json import Json, Tree

AbilityName: TypeAlias = Literal[
    "create",
    "update",
    "delete",
    "update_create",
    "if_match",
    "if_none_match",
    "conditional_create",
    "conditional_create_tag",
    "bare_if_none_exist",
    "conditional_update",
    "idempotency_key",
    "identifier_search",
    "tag_search",
    "transaction",
    "batch",
    "every_entry",
    "decimals",
]
ABILITIES: tuple[AbilityName, ...] = get_args(AbilityName)
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Ability:
    """One ability: ``None`` where nothing is claimed or nothing was tried; ``detail`` is a status or a short word."""

    claimed: bool | None = None
    proven: bool | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """Entries of a bundle: the most that passed, and the fewest that were refused (``None``: never refused)."""

    passed: int
    refused: int | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of a probe. ``at`` is in epoch seconds, ``index_lag`` in seconds until a search found what was stored
    (``None``: not tried, or never found). ``left`` names what the trial could not remove again."""

    base: str
    at: float
    fhir_version: str | None = None
    software: str | None = None
    trial_type: str | None = None
    run: str | None = None
    abilities: Mapping[AbilityName, Ability] = field(default_factory=dict)
    entries: Limit | None = None
    index_lag: float | None = None
    smart: SmartConfiguration | None = None
    left: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def ability(self, name: AbilityName) -> Ability:
        """One ability; one of which nothing is known, if it was neither claimed nor tried."""
        return self.abilities.get(name, _NOTHING_KNOWN)

    def proven(self, name: AbilityName) -> bool | None:
        """Whether an ability was proven, disproven, or not tried (``None``)."""
        return self.ability(name).proven

    def as_json(self) -> Tree:
        """The document as it is kept and printed."""
        tree = asdict(self)
        tree["version"] = _VERSION
        tree["abilities"] = {name: asdict(self.ability(name)) for name in ABILITIES}
        return tree

    @classmethod
    def from_json(cls, tree: Json) -> Proof | None:
        """A kept document; ``None`` for anything else, also for one that another version wrote: probe again then."""
        if not isinstance(tree, dict) or tree.get("version") != _VERSION:
            return None
        try:
            abilities = {name: Ability(**tree["abilities"][name]) for name in ABILITIES}
            limit, smart = tree["entries"], tree["smart"]
            return cls(
                base=_text(tree["base"]),
                at=float(tree["at"]),
                fhir_version=_text_or_none(tree["fhir_version"]),
                software=_text_or_none(tree["software"]),
                trial_type=_text_or_none(tree["trial_type"]),
                run=_text_or_none(tree["run"]),
                abilities=_checked(abilities),
                entries=None if limit is None else _limit(limit),
                index_lag=None if tree["index_lag"] is None else float(tree["index_lag"]),
                smart=None if smart is None else _smart(smart),
                left=_texts(tree["left"]),
                notices=_texts(tree["notices"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


def claims(declared: Capabilities, types: Iterable[str]) -> dict[AbilityName, bool | None]:
    """What a server claims for all of ``types`` that it names: yes if it does for each, no if it denies it for one."""
    named = [declared.types[one] for one in types if one in declared.types]

    def each(answers: list[bool | None]) -> bool | None:
        if False in answers:
            return False
        return True if answers and None not in answers else None

    return {
        "create": each(["create" in one.interactions or None for one in named]),
        "update": each(["update" in one.interactions or None for one in named]),
        "delete": each(["delete" in one.interactions or None for one in named]),
        "update_create": each([one.update_create for one in named]),
        "if_match": each([_VERSIONING.get(one.versioning or "") for one in named]),
        "if_none_match": None,
        "conditional_create": each([one.conditional_create for one in named]),
        "conditional_create_tag": each([one.conditional_create and ("_tag" in one.search or None) for one in named]),
        "bare_if_none_exist": None,
        "conditional_update": each([one.conditional_update for one in named]),
        "idempotency_key": None,
        "identifier_search": each(["identifier" in one.search or None for one in named]),
        "tag_search": each(["_tag" in one.search or None for one in named]),
        "transaction": "transaction" in declared.system or None,
        "batch": "batch" in declared.system or None,
        "every_entry": None,
        "decimals": None,
    }


_NOTHING_KNOWN = Ability()
# https://hl7.org/fhir/R5/valueset-versioning-policy.html
_VERSIONING = {"versioned-update": True, "no-version": False}


def _checked(abilities: Mapping[AbilityName, Ability]) -> Mapping[AbilityName, Ability]:
    for one in abilities.values():
        if not all(isinstance(value, bool | None) for value in (one.claimed, one.proven)):
            raise TypeError("an ability is yes, no or not known")
        _text(one.detail)
    return abilities


def _limit(tree: Tree) -> Limit:
    refused = tree["refused"]
    return Limit(int(tree["passed"]), None if refused is None else int(refused))


def _smart(tree: Tree) -> SmartConfiguration:
    return SmartConfiguration(
        tree["token_endpoint"] is True,
        tree["private_key_jwt"] is True,
        _texts(tree["algorithms"]),
        _texts(tree["capabilities"]),
    )


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError("text is wanted")
    return value


def _text_or_none(value: Json) -> str | None:
    return None if value is None else _text(value)


def _texts(values: Json) -> tuple[str, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError("a list is wanted")
    return tuple(map(_text, values))
