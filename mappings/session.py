"""Treatment sessions ⇄ Procedure (specification §3.1)."""

from __future__ import annotations

from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.codec.element import (
    Element,
    Elements,
    Extensions,
    Forbidden,
    Many,
    Rule,
    Rules,
    Slots,
    Span,
    Status,
    decode_each,
    has_member,
)
from fhirbridge.codec.extension import Complex, Simple
from fhirbridge.codec.leaf import (
    Inside,
    Term,
    a_list,
    at,
    concept,
    concept_node,
    keys_of,
    moment,
    period,
    reference,
)
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import BoundMapping, Kind
from fhirbridge.records import Ref, Session
from fhirbridge.records.session import Performer
from mappings import extensions, local, terms
from mappings.administration import Administrations, administration_codecs
from mappings.common import NOTES, Meta, identifiers, term
from mappings.psychotherapy import psychotherapy

STATUS = {
    "preparation": "preparation",
    "planned": "preparation",
    "in_progress": "in-progress",
    "not_done": "not-done",
    "cancelled": "not-done",
    "no_show": "not-done",
    "on_hold": "on-hold",
    "stopped": "stopped",
    "aborted": "stopped",
    "completed": "completed",
    "entered_in_error": "entered-in-error",
    "unknown": "unknown",
}
# Read only: SNOMED codes that say the route without our own coding beside them. The generic one says none.
_ROUTES = {
    (terms.SNOMED, "14152002"): "iv_infusion",
    (terms.SNOMED, "386358000"): "iv_push",
    (terms.SNOMED, "76601001"): "im",
    (terms.SNOMED, "386356001"): "im",
    (terms.SNOMED, "386362006"): "sc",
}
_SESSION_TYPE = {
    "iv_infusion": "ketamine_iv_infusion",
    "iv_push": "ketamine_iv_push",
    "im": "ketamine_im",
    "sc": "ketamine_sc",
    "intranasal": "ketamine_intranasal",
    "esketamine_intranasal": "esketamine_intranasal",
    "oral": "ketamine_oral",
    "sublingual": "ketamine_sublingual",
    "kap": "kap_session",
}


class SessionCode:
    """``code``: SNOMED by route, our session type, and the billing code of an esketamine visit."""

    name = "code"
    fields = ("modality", "billing_code", "code")
    carries = ("code.coding.system", "code.coding.code")

    def __init__(self, binding: Binding) -> None:
        kinds = local.SESSION_TYPE.codings(binding)
        labels = {word: coded.display for word, coded in local.SESSION_TYPE.table.items()}
        self._nodes: dict[tuple[str, str | None], Tree] = {}
        for modality, kind in _SESSION_TYPE.items():
            codings = [terms.SESSION_PROCEDURE.coding(modality), kinds[kind]]
            for billing in (None, *terms.BILLING.table):
                more = [] if billing is None else [terms.BILLING.coding(billing)]
                self._nodes[modality, billing] = {"coding": codings + more, "text": labels[kind]}
        words = {kind: modality for modality, kind in _SESSION_TYPE.items()}
        self._types = {key: words[kind] for key, kind in local.SESSION_TYPE.words(binding).items()}
        self._exact = {frozenset(keys_of(node)): said for said, node in self._nodes.items()}

    def modality_of(self, code: Tree) -> str:
        """The modality that a concept's codings say: by our session type, else by route, else ``other``."""
        keys = keys_of(code)
        for table in (self._types, _ROUTES):
            words = {table[key] for key in keys if key in table}
            if len(words) > 1:
                raise Refused.at("resource.contradiction", "code", "the codings say different kinds of session")
            if words:
                return words.pop()
        return "other"

    def write(self, record: Session, node: Tree, extensions: list[Tree]) -> None:
        if record.code is None:
            node["code"] = self._nodes[record.modality, record.billing_code]
            return
        node["code"] = concept.encode(record.code)
        if self.modality_of(node["code"]) != record.modality or record.billing_code is not None:
            raise Refused.at(
                "record.code",
                "code",
                "the code does not say the modality, or hides the billing code",
                "leave the code out",
            )

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if "code" not in node:
            raise Refused.at("resource.missing", "code", "a required element is missing")
        code = node["code"]
        said = self._exact.get(frozenset(keys_of(code)))
        if said is not None:
            values["modality"], values["billing_code"] = said
        else:
            values["modality"] = self.modality_of(code)
            values["code"] = at("code", concept.decode, code)


class Categories:
    """``category``: psychiatry, or whatever others gave instead. R4 has room for one."""

    name = "category"
    fields = ("categories",)
    carries = tuple(f"category.{path}" for path in ("text", "coding.system", "coding.code"))

    def __init__(self, binding: Binding) -> None:
        self._psychiatry = concept_node([(terms.SNOMED, *terms.PSYCHIATRY_SERVICE)])
        self._repeats = binding.release.is_r5

    def write(self, record: Session, node: Tree, extensions: list[Tree]) -> None:
        items = [concept.encode(one) for one in record.categories] or [self._psychiatry]
        if not self._repeats and len(items) > 1:
            raise Refused.at("record.too_many", "category", "R4 and R4B have room for one category", "keep one")
        node["category"] = items if self._repeats else items[0]

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if "category" not in node:
            return
        items = at("category", a_list, node["category"]) if self._repeats else [node["category"]]
        if len(items) != 1 or keys_of(items[0]) != keys_of(self._psychiatry):
            values["categories"] = decode_each("category", concept, enumerate(items))


class OnBehalfOf:
    """For whom a performer acted: native, but in an extension where R5 forbids it beside a practitioner (prc-1)."""

    fields = ("on_behalf_of",)

    def __init__(self, binding: Binding) -> None:
        self._native = Element("onBehalfOf", "on_behalf_of", reference)
        self._extension = Simple(binding, extensions.PERFORMER_ON_BEHALF_OF, "on_behalf_of")
        self._restricted = binding.release.is_r5
        self.carries = self._native.carries + self._extension.carries

    def _rule(self, actor: Ref) -> Rule:
        forbidden = self._restricted and (actor.points_to("Practitioner") or actor.points_to("PractitionerRole"))
        return self._extension if forbidden else self._native

    def write(self, record: Performer, node: Tree, extensions: list[Tree]) -> None:
        self._rule(record.actor).write(record, node, extensions)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        self._native.read(node, extensions, values)
        self._extension.read(node, extensions, values)


def _performer(binding: Binding) -> Rules:
    function = Term(local.PERFORMER_FUNCTION.concepts(binding), or_concept=True)
    if binding.release.is_r5:
        when: Rule = Element("period", "period", period)
    else:
        when = Simple(binding, extensions.PERFORMER_PERIOD, "period")
    return Rules(
        Element("function", "function", function),
        Element("actor", "actor", reference, required=True),
        OnBehalfOf(binding),
        when,
    )


def _renamed_in_r5(binding: Binding) -> tuple[Rule, ...]:
    """The elements that R5 renames, merges or adds (specification §4.3)."""
    indication = term(terms.INDICATION)
    if not binding.release.is_r5:
        return (
            Simple(
                binding,
                extensions.RECORDED_AT,
                "recorded_at",
                aliases=("http://hl7.org/fhir/5.0/StructureDefinition/extension-Procedure.recorded",),
            ),
            Span("performed", "started_at", "ended_at"),
            Element("asserter", "reported_by", reference),
            Elements("reasonCode", "indications", indication),
            Elements("reasonReference", "conditions", reference),
            Elements("complication", "complications", concept),
            Elements("complicationDetail", "complication_conditions", reference),
            Elements("usedReference", "equipment", reference),
            Elements("usedCode", "equipment_codes", concept),
            Simple(binding, extensions.SUPPORTING_RECORD, "supporting_records"),
        )

    def split(name: str, concepts: str, refs: str, codec: Any = concept) -> Slots:
        return Slots(
            name,
            Many(concepts, Inside("concept", codec), has_member("concept")),
            Many(refs, Inside("reference", reference), has_member("reference")),
        )

    return (
        Element("recorded", "recorded_at", moment),
        Span("occurrence", "started_at", "ended_at"),
        Element("reportedReference", "reported_by", reference),
        Forbidden("reportedBoolean", "the record names who reported, it has no yes or no"),
        split("reason", "indications", "conditions", indication),
        split("complication", "complications", "complication_conditions"),
        split("used", "equipment_codes", "equipment"),
        Elements("supportingInfo", "supporting_records", reference),
    )


def _extensions(binding: Binding) -> tuple[Rule, ...]:
    def local_term(system: local.LocalCodeSystem) -> Term:
        return Term(system.concepts(binding), or_concept=True)

    return (
        Simple(binding, extensions.SESSION_NUMBER, "session_number"),
        Complex(binding, extensions.TREATMENT_SERIES, "series", codecs={"phase": local_term(local.TREATMENT_PHASE)}),
        Complex(binding, extensions.KETAMINE_ADMINISTRATION, "administrations", codecs=administration_codecs(binding)),
        Simple(binding, extensions.MONITORING_PERIOD, "monitoring"),
        Complex(binding, extensions.DISCHARGE_READINESS, "discharge"),
        Complex(binding, extensions.REMS_SESSION, "rems", codecs={"program": local_term(local.REMS_PROGRAM)}),
        Complex(
            binding,
            extensions.CONCOMITANT_MEDICATION_FLAG,
            "concomitant_medications",
            codecs={"class": local_term(local.CONCOMITANT_CLASS)},
            fields={"class": "medication_class"},
        ),
        Complex(binding, extensions.VITALS_ACCEPTABLE, "vitals_acceptable"),
        Complex(binding, extensions.KAP_DETAIL, "kap"),
        Simple(binding, extensions.ADVERSE_EVENT_REF, "adverse_events"),
        Simple(binding, extensions.FOLLOW_UP_DATE, "next_visit"),
    )


def bind(kind: Kind, binding: Binding) -> BoundMapping:
    """The mapping of sessions for one site."""
    rules = Rules(
        Meta(binding),
        identifiers(binding, "treatment-session"),
        Elements("basedOn", "based_on", reference),
        Elements("partOf", "part_of", reference),
        Status("status", "status", STATUS, extensions.INTERNAL_STATUS.written_url(binding)),
        Element("statusReason", "status_reason", concept),
        Categories(binding),
        SessionCode(binding),
        Element("subject", "patient", reference, required=True),
        Element("encounter", "encounter", reference),
        Element("recorder", "recorded_by", reference),
        Elements("performer", "performers", _performer(binding)),
        Element("location", "location", reference),
        Elements("bodySite", "body_sites", concept),
        Element("outcome", "outcome", term(terms.SESSION_OUTCOME)),
        Elements("report", "reports", reference),
        Elements("followUp", "follow_up", concept),
        NOTES,
        Elements(
            "focalDevice",
            "focal_devices",
            Rules(Element("action", "action", concept), Element("manipulated", "device", reference, required=True)),
        ),
        *_renamed_in_r5(binding),
        *_extensions(binding),
    )
    administrations = Administrations(binding)

    def projections(record: Session, resource: Tree) -> Any:
        yield from administrations.parts(record, resource)
        yield from psychotherapy(binding, record, resource)

    return BoundMapping(kind, binding, rules, profiles=_profiles(binding), projections=projections)


def _profiles(binding: Binding) -> Any:
    claimed = ("http://hl7.org/fhir/us/core/StructureDefinition/us-core-procedure",)
    if binding.overlay.us_core and not binding.release.is_r5:
        # us-core-7: a session always has its time; code and subject are required of every record.
        return lambda record, resource: claimed
    return lambda record, resource: ()


KIND = Kind("session", Session, "Procedure", bind)
