"""Small worlds of consents, acts and resources, in which rules and questions often meet."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import strategies as st

from fhirbridge.consent import Act, Evidence, Found, LabelRule, LegalException, Part, Policies, Subject, Unreadable
from fhirbridge.records import Consent, parse
from tests.consent.plain import PATIENT, coding, name, ref
from tests.strategies.base import Tree
from tests.strategies.consent import OPPOSITE, OPT_IN

_NAMES = ["HOSPITAL-1", "HOSPITAL-2", "NPI:7", "CALLED:Somebody", "NURSE-9", "MOTHER-1", "AT:Organization/1"]
_LABELS = ["normal", "restricted", "very_restricted", "psychiatry", "mental_health", "substance_use", "substance_abuse"]
_PURPOSES = ["treatment", "coordination_of_care", "payment", "research", "emergency_treatment"]
_TIMES = ["2026-02-01", "2026-06-01T10:00:00Z", "2026-09", "2026-11-10T10:00:00-05:00", "2026-11-20", "2026-12-24"]
_CODES = ["LOINC|85354-9", "SCT|422587007", "OTHER|x"]
_MEANINGS = ("instance", "related", "dependents", "authoredby")
_DATA = ["Observation:O-1", "Procedure:S-7", "Encounter:E-5"]


_STATES = ["active"] * 24 + ["refused", "withdrawn", "superseded", "inactive", "unknown", "draft"]
_KINDS = ["privacy_sharing"] * 8 + ["research"] * 4 + ["other", "treatment"]


def seldom(draw: st.DrawFn, times: int = 5) -> bool:
    """True once in so many times; not at the small end, to which examples lean."""
    return bool(draw(st.sampled_from([False] * (times - 1) + [True])))


def _some(items: list[Any], most: int = 2) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(items), min_size=1, max_size=most, unique_by=repr)


@st.composite
def _spans(draw: st.DrawFn) -> Tree:
    start, end = sorted(draw(st.lists(st.sampled_from(_TIMES), min_size=2, max_size=2, unique=True)))
    return draw(st.sampled_from([{"start": start}, {"end": end}, {"start": start, "end": end}]))


_actors = [{"role": role, "party": name(one)} for one in _NAMES for role in ("recipient", "primary_recipient")]
_actors.append({"role": "custodian", "party": name("HOSPITAL-1")})
_conditions: dict[str, st.SearchStrategy[Any]] = {
    "actors": _some(_actors),
    "actions": _some(["disclose", "use", "access", {"text": "sell"}]),
    "purposes": _some([*_PURPOSES, coding("OTHER|FooBar")]),
    "labels": _some([*_LABELS, coding("ACT|HIV"), coding("OTHER|secret")]),
    "resource_types": _some(["Observation", "Procedure", "DocumentReference"]),
    "document_types": _some([coding("LOINC|51851-4"), coding("OTHER|x")]),
    "codes": _some([{"codings": [coding(one)]} for one in _CODES] + [{"text": "the accident"}]),
    "data_period": _spans(),
    "period": _spans(),
    "data": _some(
        [
            {"meaning": m, "item": name(one)}
            for m in ("instance", "related", "dependents", "authoredby")
            for one in _DATA
        ]
    ),
}


def rules(effects: st.SearchStrategy[str], levels: int = 3, *, alternating: bool = False) -> st.SearchStrategy[Tree]:
    """A rule with few conditions, and exceptions; ``alternating``: each level the opposite of the one above."""

    def built(effect: str) -> st.SearchStrategy[Tree]:
        chosen = st.lists(st.sampled_from(sorted(_conditions)), max_size=2, unique=True)
        parts = chosen.flatmap(lambda names: st.fixed_dictionaries({one: _conditions[one] for one in names}))
        inner = st.just([])
        if levels > 1:
            below = st.just(OPPOSITE[effect]) if alternating else st.sampled_from(["permit", "deny"])
            inner = st.lists(rules(below, levels - 1, alternating=alternating), max_size=2)  # type: ignore[assignment]
        return st.builds(lambda part, within: {"effect": effect, **part, "exceptions": within}, parts, inner)

    return effects.flatmap(built)


denials = rules(st.just("deny")).map(lambda rule: only(rule, "deny"))
permits = rules(st.just("permit")).map(lambda rule: only(rule, "permit"))


def only(rule: Tree, effect: str) -> Tree:
    """The rule with this effect at every depth."""
    return {**rule, "effect": effect, "exceptions": [only(one, effect) for one in rule["exceptions"]]}


@st.composite
def consent_trees(draw: st.DrawFn, *, alternating: bool = False) -> Tree:
    """A consent of the small world as a JSON tree."""
    decision = draw(st.sampled_from(["permit", "deny"]))
    inner = st.just(OPPOSITE[decision]) if alternating else st.sampled_from(["permit", "deny"])
    tree: Tree = {
        "id": draw(st.sampled_from(["C1", "C2", "C3"])),
        "revision": draw(st.sampled_from([1, 2, "2026-01-05T09:00:00Z"])),
        "patient": PATIENT,
        "consent_type": draw(st.sampled_from(_KINDS)),
        "state": draw(st.sampled_from(_STATES)),
        "decision": decision,
        "signed_at": draw(st.sampled_from(["2026-01-05", "2026-03-01T09:00:00-05:00", "2026-08-01"])),
        "provisions": draw(st.lists(rules(inner, alternating=alternating), max_size=3)),
    }
    if seldom(draw):
        tree["period"] = draw(_spans())
    if tree["state"] == "withdrawn" or seldom(draw, 12):
        tree["withdrawal"] = {"at": draw(st.sampled_from(_TIMES))}
        if draw(st.booleans()):
            tree["withdrawal"]["scope"] = draw(st.sampled_from(["all", "future_sharing", "research"]))
    if seldom(draw):
        tree["supersedes"] = {"type": "Consent", "identifier": {"value": draw(st.sampled_from(["C1", "C2", "C3"]))}}
    if seldom(draw, 8):
        tree["grantors"] = [draw(st.sampled_from([PATIENT, name("MOTHER-1")]))]
        tree["grantor_capacity"] = {"capable": draw(st.booleans())}
    if tree["consent_type"] == "research" and draw(st.booleans()):
        tree["studies"] = [name(draw(st.sampled_from(["KET-1", "KET-2"])))]
    if seldom(draw, 8):
        tree["categories"] = [draw(st.sampled_from(["emergency_only", "deidentified_data"]))]
    one = tree["provisions"][0] if len(tree["provisions"]) == 1 else None
    conditional = one is not None and "period" not in one and len(one) > 2 and one["effect"] != decision
    if not alternating and conditional and draw(st.booleans()):
        tree["decision_implied"] = True
        if draw(st.booleans()):
            tree["legal_bases"] = [OPT_IN]
    return tree


consents = consent_trees().map(lambda tree: parse(Consent, tree))


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    """A consent, one found elsewhere, or, seldom, one that cannot be read."""
    if seldom(draw, 20):
        return Unreadable("X9", "resource.polarity")
    one = draw(consents)
    return Found(one, "https://hospital.example/fhir", draw(st.booleans())) if seldom(draw, 12) else one


def _refs(names: list[str], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(names), max_size=most, unique=True).map(lambda chosen: tuple(map(ref, chosen)))


acts = st.builds(
    Act,
    st.sampled_from(["treat", "share", "research"] * 4 + ["regulatory_report", "emergency", "store", "retract"]),
    _refs(_NAMES, 2),
    _refs(["KET-1", "KET-2"], 1),
    st.lists(st.sampled_from(_PURPOSES), max_size=2, unique=True).map(tuple),
)
parts = st.builds(Part, st.sampled_from(_LABELS), st.sampled_from(["notes", "kap"]))
_pairs = [(coding(one)["system"], coding(one)["code"]) for one in _CODES]
subjects = st.builds(
    Subject,
    kind=st.sampled_from(["session", "vital_sign", "document", "retraction"]),
    resource_type=st.sampled_from(["Observation", "Procedure", "DocumentReference", ""]),
    codes=st.frozensets(st.sampled_from(_pairs), max_size=2),
    labels=st.frozensets(st.sampled_from([*_LABELS, *_LABELS, "HIV", "OPIOIDUD", "psychotherapy_notes"]), max_size=3),
    start=st.sampled_from([None, *_TIMES, "not a time"]),
    end=st.sampled_from([None, "2026-11-10T12:00:00-05:00", "2026-12-31"]),
    own=_refs(["Observation:O-1", "Observation:O-2", "Procedure:S-7"], 1),
    related=_refs(["Procedure:S-7", "Procedure:S-8", "Encounter:E-5"], 2),
    authors=_refs(["NURSE-9", "HOSPITAL-1"], 2),
    document_types=st.frozensets(st.just(("http://loinc.org", "51851-4")), max_size=1),
    parts=st.frozensets(parts, max_size=2),
)
_FIRST = dt.datetime(2025, 12, 1, tzinfo=dt.UTC)
# Mostly when the consents of this world are signed, and any moment of its fourteen months.
moments = st.one_of(
    st.sampled_from([_FIRST + dt.timedelta(days=300 + day, hours=day) for day in range(80)]),
    st.integers(0, 425 * 24 * 60).map(lambda minutes: _FIRST + dt.timedelta(minutes=minutes)),
)
policies = st.builds(
    Policies,
    st.lists(
        st.just(LegalException("report", "regulatory_report", frozenset({"session"}), "a law", (ref("HOSPITAL-1"),))),
        max_size=1,
    ).map(tuple),
    st.lists(st.just(LabelRule("HIV", frozenset({"session"}))), max_size=1).map(tuple),
)
