"""Write the tables of ``docs/deidentify.md``: what each profile does with each field, taken from the profiles.

python docs/generate_deidentify.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fhirbridge.mapping import kinds
from fhirbridge.research.deidentify import Profile
from fhirbridge.research.deidentify.profile import SHIPPED
from fhirbridge.research.deidentify.rules import Rule

PAGE = Path(__file__).with_name("deidentify.md")
MARK = "<!-- What follows is written by docs/generate_deidentify.py; do not edit. -->\n"
KINDS = ("session", "vital_sign", "assessment", "consent", "adverse_event")
# What a word of a rule comes to, by the word; a mapping has one text for each profile.
_TIMES = {
    "keep": "as it is",
    "shift": "moved by the patient's shift",
    "from-first-dose": "distance from the first dose",
}
_TOLD = {
    "keep": "kept",
    "count": "kept, if small",
    "points": "kept, within range",
    "measured": "kept, 7 digits",
    "unit": "kept, if known",
    "amount": "kept, within range",
    "code": "word or allowed code",
    "masked": "word, allowed code, or *masked*",
    "item": "kept, if the id of an item",
    "version": "kept, if a number",
    "term": "the coded term in its place",
    "id": "pseudonym",
    "named": "pseudonym",
    "record": "pseudonym",
    "patient": "pseudonym",
    "reset": "1",
    "inside": "part by part",
    "boolean": "kept",
    "quantity": "kept, within range",
    "words": "kept, if listed",
}
_BASIS = {"time": "C", "period": "C", "id": "R", "named": "R", "record": "R", "patient": "A, R", "person": "A, R"} | {
    "place": "B", "postcode": "B", "year": "C", "term": "text", "code": "text", "masked": "text", "item": "text",
}  # fmt: skip


def tables(profiles: list[Profile]) -> str:
    """All the tables, for these profiles side by side."""
    found: list[str] = []
    for kind in KINDS:
        found += [f"### {kind}\n", _table([profile.records[kind] for profile in profiles], profiles)]
    for part in profiles[0].parts:
        found += [f"### {part}\n", _table([profile.parts[part] for profile in profiles], profiles)]
    found.append("## What becomes of each element of other resources\n")
    for name in profiles[0].resources:
        found += [f"### {name} (FHIR)\n", _table([profile.resources[name] for profile in profiles], profiles)]
    return "\n".join(found)


def _table(rules: list[Mapping[str, Rule]], profiles: list[Profile]) -> str:
    names = list(dict.fromkeys(name for one in rules for name in one))
    head = ["field", *(profile.name for profile in profiles), "basis"]
    lines = [_row(head), _row(["---"] * len(head))]
    for name in names:
        found = [one.get(name, Rule("drop")) for one in rules]
        cells = [_told(rule, profile) for rule, profile in zip(found, profiles, strict=True)]
        lines.append(_row([f"`{name}`", *cells, _basis(found[0])]))
    return "\n".join(lines) + "\n"


def _told(rule: Rule, profile: Profile) -> str:
    action = rule.action
    if action == "drop":
        return "–"
    if action in ("time", "period"):
        return _TIMES[profile.times.dates]
    if action in ("person", "place"):
        choice = profile.people.staff if action == "person" else profile.people.places
        if choice == "pseudonym":
            return "pseudonym"
        return "pseudonym of the patient, if it is the patient; else –" if action == "person" else "–"
    if action == "year":
        return f"year, up to {profile.ages.oldest}" if profile.ages.oldest else "year"
    if action == "postcode":
        return f"{profile.postcode.digits} digits"
    return _TOLD[action]


def _basis(rule: Rule) -> str:
    why = rule.why or _BASIS.get(rule.action, "")
    return f"({why.replace(', ', ')(')})" if why and why not in ("text", "need") else why


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def unruled() -> Iterator[str]:
    """Kinds that are installed and that no table here speaks of."""
    yield from (name for name in kinds() if name not in KINDS)


def page(text: str) -> str:
    """The page with its tables as they are now."""
    return text.partition(MARK)[0] + MARK + "\n" + tables([Profile.load(name) for name in SHIPPED])


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
