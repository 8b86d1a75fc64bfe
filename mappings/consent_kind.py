"""What a consent is about ⇄ ``scope`` and ``category`` (specification §3.4.1).

R4 has a scope; R5 has none, and the scope's coding stands among the categories. The scope has three codes for eight
types of consent: our own code stands beside it where it says less than the record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Extensions, below, decode_each
from fhirbridge.codec.leaf import Term, a_list, an_object, at, concept, concept_node, keys_of
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.base import Concept
from fhirbridge.records.consent import Consent
from mappings import local, terms

# The scope of each type; the types whose scope alone means them come first.
SCOPE = {
    "treatment": "treatment",
    "privacy_sharing": "patient_privacy",
    "research": "research",
    "rems_enrollment": "treatment",
    "recording": "treatment",
    "touch": "treatment",
    "telehealth": "treatment",
    "financial": "patient_privacy",
}
_PLAIN = {scope: type_ for type_, scope in reversed(SCOPE.items())}
OTHER = "other"
PATIENT_CONSENT = concept_node([(terms.LOINC, *terms.PATIENT_CONSENT)])
_CATEGORY = Term({**terms.CONSENT_CATEGORY.concepts(), **terms.CONSENT_CATEGORY_LOINC.concepts()}, or_concept=True)


class ConsentKind:
    """``scope`` (R4) and ``category``: the type of the consent, its scope as others coded it, further categories.

    The record's ``scope`` holds what stands beside the coding that follows from the type. A consent of others that has
    neither a scope we know nor our own code is of the type ``other``.
    """

    name = "category"
    fields = ("consent_type", "scope", "categories")
    carries = tuple(path for name in ("scope", "category") for path in below(name, concept.carries))

    def __init__(self, binding: Binding) -> None:
        self._r5 = binding.release.is_r5
        self._scopes = {type_: terms.CONSENT_SCOPE.coding(scope) for type_, scope in SCOPE.items()}
        self._plain = {terms.CONSENT_SCOPE.key(scope): type_ for scope, type_ in _PLAIN.items()}
        self._kinds = {
            word: node for word, node in local.CONSENT_KIND.concepts(binding).items() if word not in _PLAIN.values()
        }
        self._types = local.CONSENT_KIND.words(binding)
        self._usual = {type_: self._elements(type_, {}, ()) for type_ in (*SCOPE, OTHER)}

    def write(self, record: Consent, node: Tree, extensions: list[Tree]) -> None:
        if record.scope is None and not record.categories:
            node.update(self._usual[record.consent_type])
            return
        self._check(record)
        scope = {} if record.scope is None else concept.encode(record.scope)
        node.update(self._elements(record.consent_type, scope, map(_CATEGORY.encode, record.categories)))

    def _elements(self, type_: str, beside: Tree, further: Iterable[Json]) -> Tree:
        """The elements that say a type, with what stands beside the scope's own coding and the further categories."""
        scope = beside
        if type_ != OTHER:
            scope = {**beside, "coding": [self._scopes[type_], *beside.get("coding", ())]}
        items = [self._kinds[type_]] if type_ in self._kinds else []
        items = [*items, *further, PATIENT_CONSENT]
        if not self._r5:
            return {"scope": scope or {"text": OTHER}, "category": items}
        return {"category": items if type_ == OTHER else [scope, *items]}

    def _check(self, record: Consent) -> None:
        """Refuse what would read back as another type: the scope is a modifier, so a doubt about it is no detail."""
        if (scope := record.scope) is not None:
            if any(key in self._plain for key in _keys(scope)):
                reason = "a code of the scope that follows from the type"
                raise Refused.at("record.scope", "scope", reason, "leave it out")
            if record.consent_type == OTHER and self._r5:
                raise Refused.at("consent.scope", "scope", "R5 has no scope, and the type does not say it", "send R4")
            if record.consent_type == OTHER and not scope.codings and scope.text == OTHER:
                raise Refused.at("record.scope", "scope", "it says no more than the type", "leave it out")
        for position, category in enumerate(record.categories):
            for key in _keys(category) if isinstance(category, Concept) else ():
                other = self._types.get(key, record.consent_type) != record.consent_type
                if other or (self._r5 and key in self._plain):
                    place = f"categories[{position}]"
                    raise Refused.at("record.category", place, "a code that says the type", "remove it")

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        items = at("category", a_list, node["category"]) if "category" in node else []
        scope = self._scope_item(node, items)
        own = {self._types[key] for item in items for key in keys_of(item) if key in self._types}
        said = {self._plain[key] for key in keys_of(scope) if key in self._plain}
        if len(own) > 1 or len(said) > 1:
            raise Refused.at("resource.contradiction", "category", "the codes say different types of consent")
        type_ = next(iter(own or said), OTHER)
        if said and _PLAIN[SCOPE[type_]] not in said:
            raise Refused.at("resource.contradiction", "category", "scope and category say different types of consent")
        values["consent_type"] = type_
        beside = self._beside(scope, type_)
        if beside:
            values["scope"] = beside
        others = [(index, item) for index, item in enumerate(items) if not (self._r5 and item is scope)]
        values["categories"] = decode_each("category", _CATEGORY, self._further(others, type_))

    def _scope_item(self, node: Tree, categories: list[Json]) -> Json:
        if not self._r5:
            if "scope" not in node:
                raise Refused.at("resource.missing", "scope", "a required element is missing")
            return at("scope", an_object, node["scope"])
        return next((item for item in categories if any(key in self._plain for key in keys_of(item))), None)

    def _beside(self, scope: Json, type_: str) -> Tree:
        """The scope without the coding that follows from the type."""
        if scope is None:
            return {}
        value: Tree = at("scope", concept.decode, scope)
        codings = value.pop("codings", [])
        if type_ != OTHER:
            own = terms.CONSENT_SCOPE.key(SCOPE[type_])
            first = next((index for index, key in enumerate(keys_of(scope)) if key == own), None)
            codings = [one for index, one in enumerate(codings) if index != first]
        elif not codings and value.get("text") == OTHER:
            return {}
        return value | {"codings": codings} if codings else value

    def _further(self, items: list[tuple[int, Json]], type_: str) -> list[tuple[int, Json]]:
        """The categories without those that the mapping itself writes: our code, first; the LOINC code, last."""
        if type_ in self._kinds:
            mine = next((one for one in items if [self._types.get(key) for key in keys_of(one[1])] == [type_]), None)
            items = [one for one in items if one is not mine]
        always = next((one for one in reversed(items) if keys_of(one[1]) == keys_of(PATIENT_CONSENT)), None)
        return [one for one in items if one is not always]


def _keys(value: Concept) -> list[tuple[Any, Any]]:
    return [(one.system, one.code) for one in value.codings]
