"""Consents as JSON trees, with every field of the model, also the nested ones, present and absent."""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

from hypothesis import strategies as st

from fhirbridge.records import consent as model
from tests.strategies.base import (
    RECORD_OPTIONAL,
    RECORD_REQUIRED,
    Tree,
    booleans,
    codings,
    concepts,
    counts,
    date_times,
    languages,
    patients,
    periods,
    practitioners,
    refs,
    some,
    tree,
    uris,
    words,
)

OPPOSITE = {"permit": "deny", "deny": "permit"}
OPT_IN = {"codings": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]}
OPT_OUT = {"codings": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]}
effects = st.sampled_from(["permit", "deny"])
parties = refs("Practitioner", "PractitionerRole", "Organization", "Patient", "RelatedPerson")
resource_types = st.sampled_from(["Observation", "Procedure", "MedicationAdministration", "AdverseEvent"])


def word_or(alias: Any, other: st.SearchStrategy[Tree]) -> st.SearchStrategy[Any]:
    """A word of one of the model's vocabularies, or somebody else's coding."""
    return st.one_of(st.sampled_from(alias.__args__), other)


conditions: dict[str, st.SearchStrategy[Any]] = {
    "actors": some(tree({"role": word_or(model.ActorRole, concepts), "party": parties}, {})),
    "actions": some(word_or(model.Action, concepts)),
    "purposes": some(word_or(model.Purpose, codings)),
    "labels": some(word_or(model.Label, codings)),
    "resource_types": some(resource_types),
    "document_types": some(codings),
    "codes": some(concepts),
    "data_period": periods,
    "data": some(
        tree(
            {
                "meaning": st.sampled_from(model.DataMeaning.__args__),  # type: ignore[attr-defined]
                "item": refs("Procedure", "Observation", "Encounter"),
            },
            {},
        )
    ),
}


def rules(effect: st.SearchStrategy[str], levels: int, inner: Any) -> st.SearchStrategy[Tree]:
    """A rule; ``inner`` gives, for its effect, the strategy of the effects of its exceptions."""

    def with_exceptions(own: str) -> st.SearchStrategy[Tree]:
        optional = {"period": periods, **conditions}
        if levels > 1:
            optional["exceptions"] = some(rules(inner(own), levels - 1, inner))
        return tree({"effect": st.just(own)}, optional)

    return effect.flatmap(with_exceptions)


def alternate(effect: str) -> st.SearchStrategy[str]:
    """The effect that R5 can say within ``effect``."""
    return st.just(OPPOSITE[effect])


def any_effect(effect: str) -> st.SearchStrategy[str]:
    """Any effect: what R4 can say within ``effect``."""
    return effects


hashes = st.binary(min_size=20, max_size=20).map(lambda data: base64.b64encode(data).decode())
attachments = tree(
    {"title": words},
    {
        "url": uris,
        "content_type": st.sampled_from(["application/pdf", "image/tiff"]),
        "language": languages,
        "size": counts,
        "hash": hashes,
        "creation": date_times,
    },
)
sources = st.one_of(
    tree({"reference": refs("DocumentReference", "Contract", "QuestionnaireResponse", "Consent")}, {}),
    tree({"attachment": attachments}, {}),
)
# R5 has room for the authority of the first policy only.
policies = st.one_of(tree({"uri": uris}, {"authority": uris}), tree({"authority": uris}, {})).flatmap(
    lambda first: st.lists(tree({"uri": uris}, {}), max_size=2).map(lambda more: [first, *more])
)
withdrawals = tree(
    {"at": date_times},
    {
        "by": parties,
        "reason": concepts,
        "scope": st.sampled_from(["all", "future_sharing", "research"]),
        "data_handling": st.sampled_from(["keep", "retract", "delete", "notify"]),
    },
)
capacities = st.one_of(
    tree({"relationship": concepts}, {"capable": booleans, "assessed_by": practitioners, "assessed_at": date_times}),
    tree({"capable": booleans}, {"assessed_by": practitioners, "assessed_at": date_times}),
)
interpreters = st.one_of(tree({"party": parties}, {"language": languages}), tree({"language": languages}, {}))
verifications = tree(
    {"verified": booleans},
    {
        "verified_with": refs("Patient", "RelatedPerson"),
        "verified_by": refs("Organization", "Practitioner", "PractitionerRole"),
        "type": concepts,
        "dates": some(date_times, 3),
    },
)
_OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    **RECORD_OPTIONAL,
    "scope": concepts,
    "period": periods,
    "recorded_at": date_times,
    "grantors": some(refs("Patient", "RelatedPerson")),
    "grantor_capacity": capacities,
    "custodians": some(refs("Organization")),
    "categories": some(word_or(model.Category, concepts)),
    "sources": some(sources, 4),
    "policies": policies,
    "legal_bases": some(word_or(model.LegalBasis, concepts), 3),
    "witnesses": some(tree({"party": parties}, {"at": date_times, "role": concepts}), 3),
    "interpreter": interpreters,
    "language": languages,
    "verifications": some(verifications),
    "withdrawal": withdrawals,
    "supersedes": refs("Consent"),
    "studies": some(refs("ResearchStudy")),
}
# A consent about nothing we know has a scope in R4 alone, so it has a strategy of its own below.
NAMED_TYPES = [one for one in model.ConsentType.__args__ if one != "other"]  # type: ignore[attr-defined]
_END = dt.date(2028, 1, 1).isoformat()


def _in_order(record: Tree) -> Tree:
    """Give a state what it demands."""
    if record["state"] == "expired":
        record["period"] = record.get("period", {}) | {"end": _END}
    if record["state"] == "withdrawn":
        record.setdefault("withdrawal", {"at": _END})
    return record


def _consents(decided: st.SearchStrategy[Tree], types: list[str], optional: dict[str, Any]) -> st.SearchStrategy[Tree]:
    about = tree(
        {
            **RECORD_REQUIRED,
            "patient": patients,
            "consent_type": st.sampled_from(types),
            "state": st.sampled_from(model.ConsentState.__args__),  # type: ignore[attr-defined]
            "signed_at": date_times,
        },
        optional,
    )
    return st.builds(lambda said, record: _in_order({**record, **said}), decided, about)


def _decided(inner: Any) -> st.SearchStrategy[Tree]:
    return effects.flatmap(
        lambda decision: tree({"decision": st.just(decision)}, {"provisions": some(rules(inner(decision), 3, inner))})
    )


def _implied(rule: Tree) -> Tree:
    said: Tree = {"decision": OPPOSITE[rule["effect"]], "decision_implied": True, "provisions": [rule]}
    if rule["effect"] == "deny":
        # A rule that denies implies nothing by itself.
        said["legal_bases"] = [OPT_IN]
    return said


_single_rule = st.builds(
    lambda rule, purposes: _implied(
        {name: one for name, one in rule.items() if name != "period"} | {"purposes": purposes}
    ),
    rules(effects, 2, any_effect),
    conditions["purposes"],
)
_without_scope = {name: one for name, one in _OPTIONAL.items() if name != "scope"}
alternating = st.one_of(
    _consents(_decided(alternate), NAMED_TYPES, _OPTIONAL), _consents(_decided(alternate), ["other"], _without_scope)
)
"""Consents that every release can say."""
r4_only = st.one_of(
    _consents(_decided(any_effect), NAMED_TYPES, _OPTIONAL),
    _consents(_single_rule, NAMED_TYPES, _OPTIONAL),
    _consents(_decided(alternate), ["other"], _OPTIONAL),
)
"""Consents that R4 and R4B can say; R5 may refuse them."""
consents = st.one_of(alternating, r4_only)
"""Every consent that the model allows and the mappings were made for."""
