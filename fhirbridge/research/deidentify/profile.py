"""A profile of de-identification: what becomes of every field, of dates, people, ages, places and codes.

``Profile.load("safe-harbor")`` reads one of those that come with fhirbridge, ``Profile.load(path)`` one of your own,
which may say ``extends = "shifted"`` and then only what differs. A profile names what may pass; what it does not name
is left out and counted.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

from fhirbridge.errors import ConfigError
from fhirbridge.fhir.json import canonical
from fhirbridge.mapping import kinds
from fhirbridge.records.base import Model
from fhirbridge.research.deidentify.rules import (
    RECORD_ACTIONS,
    RESOURCE_ACTIONS,
    Rule,
    fits,
    part_of,
    read_rule,
)

SHIPPED = ("safe-harbor", "limited", "shifted")
Dates: TypeAlias = Literal["keep", "shift", "from-first-dose"]
TimeOfDay: TypeAlias = Literal["keep", "hour", "drop"]
Choice: TypeAlias = Literal["pseudonym", "drop"]
Label: TypeAlias = Literal["DEID", "PSEUD"]
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Times:
    """``horizon_days``: how far from the first dose a moment may lie; 0 for any distance."""

    dates: Dates
    time_of_day: TimeOfDay = "keep"
    fewest_days: int = 7
    most_days: int = 365
    keep_weekday: bool = False
    horizon_days: int = 0


@dataclass(frozen=True, slots=True)
class People:
    """What becomes of staff and relatives, and of organisations and places."""

    staff: Choice = "drop"
    places: Choice = "drop"


@dataclass(frozen=True, slots=True)
class Ages:
    """``oldest``: the highest age that is told as a number; 0 for any. ``birth_year``: whether it is told."""

    oldest: int = 0
    birth_year: bool = False


@dataclass(frozen=True, slots=True)
class Postcode:
    """How many digits of a US postcode are told (0, 3 or 5), and the three digits that become 000."""

    digits: int = 0
    restricted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Numbers:
    """Limits of numbers: digits, the largest count, the range of points."""

    digits: int = 7
    largest_count: int = 9999
    points: tuple[int, int] = (-1000, 10000)


@dataclass(frozen=True, slots=True)
class Codes:
    """Which code systems may be shown and what their codes look like; from how many patients on; ids of items."""

    systems: Mapping[str, re.Pattern[str]]
    items: re.Pattern[str]
    fewest_patients: int = 5


@dataclass(frozen=True, slots=True)
class Profile:
    """A frozen profile. ``records``, ``parts`` and ``resources`` hold the rules by field or by path; ``digest`` names
    the content of the profile, whatever file it came from.
    """

    name: str
    title: str
    label: Label
    times: Times
    people: People
    ages: Ages
    postcode: Postcode
    numbers: Numbers
    codes: Codes
    records: Mapping[str, Mapping[str, Rule]]
    parts: Mapping[str, Mapping[str, Rule]]
    resources: Mapping[str, Mapping[str, Rule]]
    digest: str

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """The profile of that name, or in that file. Raises :class:`ConfigError` with all that is wrong in it."""
        own, below = _read(name_or_path), 0
        # Pseudonyms depend on the name: a profile that says something else must not give the same ones.
        if "name" not in own:
            raise ConfigError("a profile has a name of its own", code="config.profile", hint='name = "…"')
        tree = own
        while isinstance(tree.get("extends"), str):
            below += 1
            if below > _DEEPEST:
                raise ConfigError("profiles extend each other without end", code="config.profile")
            lower = _read(tree["extends"])
            tree = _laid(lower, {name: value for name, value in tree.items() if name != "extends"})
        return cls.read(tree)

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> Self:
        """The profile that a tree as of a TOML file says. Raises :class:`ConfigError`."""
        reader = _Reader()
        values = {
            "name": reader.text(tree, "name"),
            "title": reader.text(tree, "title"),
            "label": reader.word(tree, "label", Label),
            "times": reader.times(reader.table(tree, "times")),
            "people": reader.people(reader.table(tree, "people")),
            "ages": reader.ages(reader.table(tree, "ages")),
            "postcode": reader.postcode(reader.table(tree, "postcode")),
            "numbers": reader.numbers(reader.table(tree, "numbers")),
            "codes": reader.codes(reader.table(tree, "codes")),
            **reader.rules(tree),
        }
        reader.only(tree, "", set(values))
        if reader.faults:
            raise ConfigError(
                f"the profile of de-identification is wrong: {'; '.join(reader.faults)}",
                code="config.profile",
                hint="docs/deidentify.md lists what a profile can say",
            )
        return cls(**values, digest=hashlib.sha256(canonical(tree)).hexdigest())

    def unnamed(self) -> list[str]:
        """The fields of records, and of parts that the rules reach, that the profile does not name: left out."""
        found = []
        for kind, (model, rules) in self._tables().items():
            found += [f"{kind}.{name}" for name in model.model_fields if name not in rules]
        return found

    def _tables(self) -> dict[str, tuple[type[Model], Mapping[str, Rule]]]:
        models: dict[str, type[Model]] = {kind: kinds()[kind].record for kind in self.records}
        found: dict[str, tuple[type[Model], Mapping[str, Rule]]] = {}
        while models:
            name, model = models.popitem()
            rules = self.records[name] if name in self.records else self.parts.get(name, {})
            found[name] = (model, rules)
            for field, rule in rules.items():
                part = part_of(model.model_fields[field].annotation) if rule.action == "inside" else None
                if part is not None and part.__name__ not in found:
                    models[part.__name__] = part
        return found


def _read(name_or_path: str | Path) -> dict[str, Any]:
    shipped = files("fhirbridge.research.deidentify") / "profiles" / f"{name_or_path}.toml"
    try:
        if isinstance(name_or_path, str) and re.fullmatch(r"[a-z-]+", name_or_path) and shipped.is_file():
            return tomllib.loads(shipped.read_text("utf-8"))
        return tomllib.loads(Path(name_or_path).read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the profile of de-identification is not TOML: {error}", code="config.profile") from None
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            "the profile of de-identification cannot be read",
            code="config.profile",
            hint=f"one of {', '.join(SHIPPED)}",
        ) from None


def _laid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``: tables are joined, everything else is replaced."""
    joined = dict(below)
    for name, value in above.items():
        old = joined.get(name)
        joined[name] = _laid(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return joined


class _Reader:
    """Reads a tree and keeps what is wrong with it, all of it."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def table(self, tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        value = tree.get(name, {})
        if not isinstance(value, dict):
            self.faults.append(f"{name}: a table is wanted")
            return {}
        return value

    def only(self, table: Mapping[str, Any], path: str, known: set[str]) -> None:
        self.faults += [f"{path}{'.' if path else ''}{name}: no such key" for name in table if name not in known]

    def text(self, table: Mapping[str, Any], name: str) -> str:
        value = table.get(name)
        if not isinstance(value, str) or not value:
            self.faults.append(f"{name}: a text is wanted")
            return ""
        return value

    def word(self, table: Mapping[str, Any], path: str, words: Any, default: str | None = None) -> Any:
        value = table.get(path.rpartition(".")[2], default)
        if value not in get_args(words):
            self.faults.append(f"{path}: one of {', '.join(get_args(words))} is wanted")
        return value

    def whole(self, table: Mapping[str, Any], path: str, default: int, low: int, high: int) -> int:
        value = table.get(path.rpartition(".")[2], default)
        if type(value) is not int or not low <= value <= high:
            self.faults.append(f"{path}: a whole number from {low} to {high} is wanted")
            return default
        return value

    def flag(self, table: Mapping[str, Any], path: str) -> bool:
        value = table.get(path.rpartition(".")[2], False)
        if not isinstance(value, bool):
            self.faults.append(f"{path}: true or false is wanted")
        return bool(value)

    def times(self, table: Mapping[str, Any]) -> Times:
        self.only(table, "times", {"dates", "time_of_day", "fewest_days", "most_days", "keep_weekday", "horizon_days"})
        fewest = self.whole(table, "times.fewest_days", 7, 4, 36_500)
        most = self.whole(table, "times.most_days", 365, 7, 36_500)
        keep_weekday = self.flag(table, "times.keep_weekday")
        if fewest > most or (keep_weekday and -(-fewest // 7) > most // 7):
            self.faults.append("times.most_days: at least fewest_days, and with keep_weekday a week between them")
        return Times(
            self.word(table, "times.dates", Dates),
            self.word(table, "times.time_of_day", TimeOfDay, "keep"),
            fewest,
            most,
            keep_weekday,
            self.whole(table, "times.horizon_days", 0, 0, 36_500),
        )

    def people(self, table: Mapping[str, Any]) -> People:
        self.only(table, "people", {"staff", "places"})
        return People(
            self.word(table, "people.staff", Choice, "drop"), self.word(table, "people.places", Choice, "drop")
        )

    def ages(self, table: Mapping[str, Any]) -> Ages:
        self.only(table, "ages", {"oldest", "birth_year"})
        return Ages(self.whole(table, "ages.oldest", 0, 0, 120), self.flag(table, "ages.birth_year"))

    def postcode(self, table: Mapping[str, Any]) -> Postcode:
        self.only(table, "postcode", {"digits", "restricted"})
        restricted = table.get("restricted", [])
        if not isinstance(restricted, list) or not all(
            isinstance(one, str) and re.fullmatch("[0-9]{3}", one) for one in restricted
        ):
            self.faults.append("postcode.restricted: a list of three digits each is wanted")
            restricted = []
        digits = self.whole(table, "postcode.digits", 0, 0, 5)
        if digits not in (0, 3, 5):
            self.faults.append("postcode.digits: 0, 3 or 5 is wanted")
        return Postcode(digits, frozenset(restricted))

    def numbers(self, table: Mapping[str, Any]) -> Numbers:
        self.only(table, "numbers", {"digits", "largest_count", "points"})
        points = table.get("points", [-1000, 10000])
        if not isinstance(points, list) or [type(one) for one in points] != [int, int]:
            self.faults.append("numbers.points: the lowest and the highest are wanted")
            points = [0, 0]
        return Numbers(
            self.whole(table, "numbers.digits", 7, 3, 30),
            self.whole(table, "numbers.largest_count", 9999, 1, 2**31 - 1),
            (points[0], points[1]),
        )

    def codes(self, table: Mapping[str, Any]) -> Codes:
        self.only(table, "codes", {"systems", "items", "fewest_patients"})
        systems = {
            name: self.pattern(value, f"codes.systems.{name}") for name, value in self.table(table, "systems").items()
        }
        items = self.pattern(table.get("items", "(?!)"), "codes.items")
        return Codes(systems, items, self.whole(table, "codes.fewest_patients", 5, 1, 1_000_000))

    def pattern(self, value: object, path: str) -> re.Pattern[str]:
        try:
            return re.compile(value if isinstance(value, str) else "(")
        except re.error:
            self.faults.append(f"{path}: a regular expression is wanted")
            return re.compile("(?!)")

    def rules(self, tree: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Rule]]]:
        """The rules of records, of their parts and of other resources, each checked against what it is about."""
        found: dict[str, dict[str, dict[str, Rule]]] = {"records": {}, "parts": {}, "resources": {}}
        models = _models()
        for section, tables in found.items():
            allowed = RESOURCE_ACTIONS if section == "resources" else RECORD_ACTIONS
            for name in self.table(tree, section):
                tables[name] = {}
                if section != "resources" and name not in models[section]:
                    self.faults.append(f"{section}.{name}: there is no such {section[:-1]}")
                    continue
                for field, value in self.table(self.table(tree, section), name).items():
                    path = f"{section}.{name}.{field}"
                    rule = read_rule(value, allowed)
                    if rule is None:
                        self.faults.append(f"{path}: not a rule")
                        continue
                    if section != "resources":
                        self.check(models[section][name], field, rule, path)
                    tables[name][field] = rule
                if section != "resources":
                    self.complete(models[section][name], tables[name], f"{section}.{name}")
        return found

    def check(self, model: type[Model], field: str, rule: Rule, path: str) -> None:
        about = model.model_fields.get(field)
        if about is None:
            self.faults.append(f"{path}: there is no such field")
        elif not fits(rule.action, about.annotation):
            self.faults.append(f"{path}: {rule.action} does not fit what stands there")
        elif rule.action == "inside" and (part_of(about.annotation) is None or _holds_itself(about.annotation)):
            self.faults.append(f"{path}: its parts hold each other without end")

    def complete(self, model: type[Model], rules: Mapping[str, Rule], path: str) -> None:
        """A record without a field that it must have would be no record."""
        for field, about in model.model_fields.items():
            if about.is_required() and rules.get(field, Rule("drop")).action == "drop":
                self.faults.append(f"{path}.{field}: every {path.rpartition('.')[2]} needs it")


def _models() -> dict[str, dict[str, type[Model]]]:
    records: dict[str, type[Model]] = {name: kind.record for name, kind in kinds().items()}
    parts: dict[str, type[Model]] = {}
    waiting = list(records.values())
    while waiting:
        for about in waiting.pop().model_fields.values():
            part = part_of(about.annotation)
            if part is not None and part.__name__ not in parts:
                parts[part.__name__] = part
                waiting.append(part)
    return {"records": records, "parts": parts}


def _holds_itself(annotation: Any) -> bool:
    start = part_of(annotation)
    seen: set[type[Model]] = set()
    waiting = [start] if start is not None else []
    while waiting:
        for about in waiting.pop().model_fields.values():
            part = part_of(about.annotation)
            if part is start:
                return True
            if part is not None and part not in seen:
                seen.add(part)
                waiting.append(part)
    return False
