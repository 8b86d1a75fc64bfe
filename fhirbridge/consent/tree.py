"""A consent as a tree that people can read: what it says, one line for each rule. Data for a screen, without layout.

It names recipients and, where there is no identifier, what they are called: it is for the eyes of those who may see the
consent, and not for a log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fhirbridge.records.base import Coding, Concept, Period, Ref
from fhirbridge.records.consent import Consent, Provision


class Line(NamedTuple):
    """One line: how deep it stands, its words, the effect of a rule (else empty), and its path in the record."""

    depth: int
    text: str
    effect: str = ""
    path: str = ""


def tree(consent: Consent) -> tuple[Line, ...]:
    """The lines of a consent: what it is, who gave it, its decision, and the rules below it."""
    about = f"{_plain(consent.consent_type)} consent {consent.id}"
    lines = [
        Line(0, f"{about}, revision {consent.revision}, {_plain(consent.state)}"),
        Line(1, f"signed {consent.signed_at}", path="signed_at"),
    ]
    if consent.period is not None:
        lines.append(Line(1, f"holds {_time(consent.period)}", path="period"))
    lines += _about(consent)
    alone = not consent.provisions
    implied = " (not said: it follows from the one rule)" if consent.decision_implied else ""
    lines.append(
        Line(1, f"{consent.decision} {'everything' if alone else 'all else'}{implied}", consent.decision, "decision")
    )
    for position, one in enumerate(consent.provisions):
        lines += _rule(one, 2, f"provisions[{position}]")
    return tuple(lines)


def _about(consent: Consent) -> Iterator[Line]:
    if consent.grantors:
        capable = consent.grantor_capacity.capable if consent.grantor_capacity is not None else None
        able = "" if capable is None else ", able to consent" if capable else ", judged unable to consent"
        yield Line(1, f"given by {_listed(map(name_of, consent.grantors))}{able}", path="grantors")
    if consent.studies:
        yield Line(1, f"for the study {_listed(map(name_of, consent.studies))}", path="studies")
    if consent.categories:
        yield Line(1, f"category {_listed(map(_words, consent.categories))}", path="categories")
    if consent.supersedes is not None:
        yield Line(1, f"replaces {name_of(consent.supersedes)}", path="supersedes")
    if (withdrawal := consent.withdrawal) is not None:
        scope = f": {_plain(withdrawal.scope)}" if withdrawal.scope else ""
        handling = f"; data already shared: {withdrawal.data_handling}" if withdrawal.data_handling else ""
        yield Line(1, f"withdrawn {withdrawal.at}{scope}{handling}", path="withdrawal")


def _rule(rule: Provision, depth: int, path: str) -> Iterator[Line]:
    conditions = "; ".join(_conditions(rule)) or "everything"
    yield Line(depth, f"{rule.effect} {conditions}", rule.effect, path)
    for position, one in enumerate(rule.exceptions):
        yield from _rule(one, depth + 1, f"{path}.exceptions[{position}]")


def _conditions(rule: Provision) -> Iterator[str]:
    for word, values in (
        ("to", [f"{_words(one.role)} {name_of(one.party)}" for one in rule.actors]),
        ("action", [_words(one) for one in rule.actions]),
        ("for", [_words(one) for one in rule.purposes]),
        ("labelled", [_words(one) for one in rule.labels]),
        ("of type", list(rule.resource_types)),
        ("documents of type", [_words(one) for one in rule.document_types]),
        ("with code", [_words(one) for one in rule.codes]),
        ("data:", [f"{one.meaning} {name_of(one.item)}" for one in rule.data]),
    ):
        if values:
            yield f"{word} {_listed(values)}"
    if rule.data_period is not None:
        yield f"data {_time(rule.data_period)}"
    if rule.period is not None:
        yield f"applies {_time(rule.period)}"


def name_of(ref: Ref) -> str:
    """How a reference is shown: by type and identifier; by what it is called only where there is nothing else."""
    said = ref.identifier.value if ref.identifier is not None and ref.identifier.value else None
    return " ".join(filter(None, (ref.type if said or not ref.literal else None, said or ref.literal or ref.display)))


def _words(value: str | Coding | Concept) -> str:
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, Concept):
        return value.text or _listed(map(_words, value.codings))
    return value.display or value.code or value.system or ""


def _plain(word: str) -> str:
    return word.replace("_", " ")


def _listed(values: Iterable[str]) -> str:
    return " or ".join(values)


def _time(period: Period) -> str:
    parts = (f"from {period.start}" if period.start else "", f"to {period.end}" if period.end else "")
    return " ".join(filter(None, parts))
