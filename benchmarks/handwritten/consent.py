"""Consents ⇄ Consent, by hand."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.handwritten import common
from benchmarks.handwritten.common import (
    Words,
    concept,
    opt,
    parts,
    put,
    read_concept,
    read_reference,
    reference,
    simple,
)
from fhirbridge.binding import Binding
from fhirbridge.records import Consent, Provision, Ref
from fhirbridge.records.consent import Attachment, Verification
from mappings import extensions, local, published, terms

STATUSES = {
    "expired": "active",
    "refused": "rejected",
    "withdrawn": "inactive",
    "superseded": "inactive",
    "unknown": "inactive",
    "entered_in_error": "entered-in-error",
}
STATUSES_R5 = STATUSES | {"proposed": "draft", "refused": "not-done", "unknown": "unknown"}
STATUS_WORDS = {"rejected": "refused", "not-done": "refused", "entered-in-error": "entered_in_error"}
FINER = frozenset({"expired", "withdrawn", "superseded"})
SCOPES = {
    "treatment": "treatment",
    "privacy_sharing": "patient-privacy",
    "research": "research",
    "rems_enrollment": "treatment",
    "recording": "treatment",
    "touch": "treatment",
    "telehealth": "treatment",
    "financial": "patient-privacy",
}
SCOPE_WORDS = {"treatment": "treatment", "patient-privacy": "privacy_sharing", "research": "research"}
SCOPE_DISPLAYS = {coded.code: coded.display for coded in terms.CONSENT_SCOPE.table.values()}
PATIENT_CONSENT = {
    "coding": [
        {"system": terms.LOINC, "code": terms.PATIENT_CONSENT.code, "display": terms.PATIENT_CONSENT.display},
    ]
}
CATEGORY = Words.of(terms.CONSENT_CATEGORY)
CATEGORY_LOINC = Words.of(terms.CONSENT_CATEGORY_LOINC)
LEGAL_BASIS = Words.of(terms.LEGAL_BASIS)
ACTION = Words.of(terms.CONSENT_ACTION)
ACTOR_ROLE = Words.of(terms.ACTOR_ROLE)
PURPOSE = Words.of(terms.PURPOSE)
SENSITIVITY = Words.of(terms.SENSITIVITY)


class Consents:
    """Consents ⇄ Consent in R4. ``model`` is the Consent model of ``fhir.resources``."""

    statuses = STATUSES

    def __init__(self, binding: Binding, model: Any) -> None:
        self.binding, self.model = binding, model
        self.system = binding.sid("consent")
        self.kinds = Words.local(binding, local.CONSENT_KIND)

    def url(self, definition: Any) -> str:
        """The URL of an extension."""
        return str(definition.written_url(self.binding))

    def write(self, record: Consent) -> bytes:
        """The Consent of a consent."""
        status = self.statuses.get(record.state, record.state)
        node: dict[str, Any] = {
            "resourceType": "Consent",
            "id": self.binding.resource_id("consent", record.id),
            "meta": common.meta(self.binding, record),
            "identifier": [
                {"system": self.system, "value": record.id},
                *map(common.identifier, record.additional_identifiers),
            ],
            "status": status,
            "category": self.categories(record),
        }
        found = self.extensions(record)
        if self.says_less(record.state, status):
            found += simple(self.url(extensions.INTERNAL_STATUS), "valueCode", record.state)
        put(node, language=record.language, verification=[self.verification(one) for one in record.verifications])
        self.restructured(record, node, found)
        put(node, extension=found)
        return bytes(self.model.model_validate(node).model_dump_json().encode())

    def says_less(self, state: str, status: str) -> bool:
        """Whether the code of the state says less than its word."""
        return state in FINER or state == "unknown"

    def scope(self, record: Consent) -> dict[str, Any]:
        """The coding of the scope."""
        code = SCOPES[record.consent_type]
        return {"coding": [{"system": terms.CONSENT_SCOPE.system, "code": code, "display": SCOPE_DISPLAYS[code]}]}

    def categories(self, record: Consent) -> list[dict[str, Any]]:
        """Our type where the scope says less, those of the record, and that it is a consent."""
        own = [] if record.consent_type in SCOPE_WORDS.values() else [self.kinds.write(record.consent_type)]
        return [
            *own,
            *((CATEGORY_LOINC if one in CATEGORY_LOINC.concepts else CATEGORY).write(one) for one in record.categories),
            PATIENT_CONSENT,
        ]

    def verification(self, value: Verification) -> dict[str, Any]:
        """One check."""
        node: dict[str, Any] = {"verified": value.verified}
        put(
            node,
            verifiedWith=opt(reference, value.verified_with),
            verificationDate=str(value.dates[0]) if value.dates else None,
        )
        return node

    def restructured(self, record: Consent, node: dict[str, Any], found: list[dict[str, Any]]) -> None:
        """The elements that R5 has elsewhere."""
        node["scope"] = self.scope(record)
        node["patient"] = reference(record.patient)
        node["dateTime"] = str(record.signed_at)
        root: dict[str, Any] = {"type": record.decision}
        put(
            root,
            period=opt(common.period, record.period),
            provision=[self.provision(one) for one in record.provisions],
        )
        node["provision"] = root
        put(
            node,
            performer=[reference(one) for one in record.grantors],
            organization=[reference(one) for one in record.custodians],
            policy=[
                {name: value for name, value in (("authority", one.authority), ("uri", one.uri)) if value is not None}
                for one in record.policies
            ],
            policyRule=LEGAL_BASIS.write(record.legal_bases[0]) if record.legal_bases else None,
        )
        if record.sources:
            first = record.sources[0]
            put(
                node,
                sourceReference=opt(reference, first.reference),
                sourceAttachment=opt(self.attachment, first.attachment),
            )

    def attachment(self, value: Attachment) -> dict[str, Any]:
        """A signed document."""
        node: dict[str, Any] = {}
        put(
            node,
            contentType=value.content_type,
            language=value.language,
            url=value.url,
            size=value.size,
            hash=value.hash,
            title=value.title,
            creation=opt(str, value.creation),
        )
        return node

    def provision(self, rule: Provision) -> dict[str, Any]:
        """A rule and its exceptions."""
        node: dict[str, Any] = {"type": rule.effect}
        put(
            node,
            **self.conditions(rule),
            provision=[self.provision(one) for one in rule.exceptions],
            **{"class": [{"system": terms.RESOURCE_TYPES_R4, "code": one} for one in rule.resource_types]},
        )
        return node

    def conditions(self, rule: Provision) -> dict[str, Any]:
        """What all releases call the same."""
        return {
            "period": opt(common.period, rule.period),
            "actor": [{"role": ACTOR_ROLE.write(one.role), "reference": reference(one.party)} for one in rule.actors],
            "action": [ACTION.write(one) for one in rule.actions],
            "purpose": [PURPOSE.coding(one) if isinstance(one, str) else common.coding(one) for one in rule.purposes],
            "securityLabel": [
                SENSITIVITY.coding(one) if isinstance(one, str) else common.coding(one) for one in rule.labels
            ],
            "code": [concept(one) for one in rule.codes],
            "dataPeriod": opt(common.period, rule.data_period),
            "data": [{"meaning": one.meaning, "reference": reference(one.item)} for one in rule.data],
        }

    def extensions(self, record: Consent) -> list[dict[str, Any]]:
        """The extensions of all releases, but for the state."""
        found: list[dict[str, Any]] = []
        for witness in record.witnesses:
            if witness.at is None and witness.role is None:
                found += simple(published.CONSENT_WITNESS.url, "valueReference", reference(witness.party))
            else:
                found.append(
                    parts(
                        self.url(extensions.WITNESS),
                        party=("valueReference", reference(witness.party)),
                        at=("valueDateTime", opt(str, witness.at)),
                        role=("valueCodeableConcept", opt(concept, witness.role)),
                    )
                )
        for study in record.studies:
            found += simple(published.RESEARCH_STUDY.url, "valueReference", reference(study))
        found += simple(self.url(extensions.RECORDED_AT), "valueDateTime", opt(str, record.recorded_at))
        found += simple(self.url(extensions.RELATED_ENCOUNTER), "valueReference", opt(reference, record.encounter))
        for note in record.notes:
            found += simple(self.url(extensions.NOTE), "valueAnnotation", common.note(note))
        if record.grantor_capacity is not None:
            capacity = record.grantor_capacity
            found.append(
                parts(
                    self.url(extensions.GRANTOR_CAPACITY),
                    relationship=("valueCodeableConcept", opt(concept, capacity.relationship)),
                    capable=("valueBoolean", capacity.capable),
                    assessedBy=("valueReference", opt(reference, capacity.assessed_by)),
                    assessedAt=("valueDateTime", opt(str, capacity.assessed_at)),
                )
            )
        if record.interpreter is not None:
            found.append(
                parts(
                    self.url(extensions.INTERPRETER),
                    party=("valueReference", opt(reference, record.interpreter.party)),
                    language=("valueCode", record.interpreter.language),
                )
            )
        if record.withdrawal is not None:
            withdrawal = record.withdrawal
            found.append(
                parts(
                    self.url(extensions.WITHDRAWAL),
                    at=("valueDateTime", str(withdrawal.at)),
                    by=("valueReference", opt(reference, withdrawal.by)),
                    reason=("valueCodeableConcept", opt(concept, withdrawal.reason)),
                    scope=("valueCode", opt(lambda word: word.replace("_", "-"), withdrawal.scope)),
                    dataHandling=("valueCode", withdrawal.data_handling),
                )
            )
        found += simple(self.url(extensions.SUPERSEDES), "valueReference", opt(reference, record.supersedes))
        return found

    def read(self, data: bytes) -> Consent:
        """The consent of a Consent."""
        node = self.model.model_validate_json(data)
        values: dict[str, Any] = {
            "id": common.own_id(node.identifier, self.system),
            "state": STATUS_WORDS.get(node.status, node.status),
        }
        common.read_meta(self.binding, node.meta, values)
        categories = []
        for one in node.category:
            coding = one.coding[0] if one.coding else None
            if coding is None:
                categories.append(read_concept(one))
            elif coding.system == self.binding.code_system("consent-kind"):
                values["consent_type"] = self.kinds.read(one)
            elif coding.system == terms.CONSENT_SCOPE.system:
                values.setdefault("consent_type", SCOPE_WORDS[coding.code])
            elif coding.code != terms.PATIENT_CONSENT.code:
                categories.append((CATEGORY_LOINC if coding.system == terms.LOINC else CATEGORY).read(one))
        put(
            values,
            language=node.language,
            categories=categories,
            verifications=[self.read_verification(one) for one in node.verification or ()],
        )
        self.read_extensions(node, values)
        self.read_restructured(node, values)
        return Consent.model_validate(values)

    def read_verification(self, node: Any) -> dict[str, Any]:
        """One check."""
        value: dict[str, Any] = {"verified": node.verified}
        put(
            value,
            verified_with=opt(read_reference, node.verifiedWith),
            dates=[common.moment(node.verificationDate)] if node.verificationDate else [],
        )
        return value

    def read_restructured(self, node: Any, values: dict[str, Any]) -> None:
        """The elements that R5 has elsewhere."""
        values.setdefault("consent_type", SCOPE_WORDS[node.scope.coding[0].code])
        values["patient"] = read_reference(node.patient)
        values["signed_at"] = common.moment(node.dateTime)
        values["decision"] = node.provision.type
        policies = []
        for one in node.policy or ():
            policy: dict[str, Any] = {}
            put(policy, uri=one.uri, authority=one.authority)
            policies.append(policy)
        sources: list[dict[str, Any]] = []
        if node.sourceReference:
            sources.append({"reference": read_reference(node.sourceReference)})
        if node.sourceAttachment:
            sources.append({"attachment": self.read_attachment(node.sourceAttachment)})
        put(
            values,
            period=opt(common.read_period, node.provision.period),
            provisions=[self.read_provision(one) for one in node.provision.provision or ()],
            grantors=[read_reference(one) for one in node.performer or ()],
            custodians=[read_reference(one) for one in node.organization or ()],
            legal_bases=[LEGAL_BASIS.read(node.policyRule)] if node.policyRule else [],
            policies=policies,
            sources=sources,
        )

    def read_attachment(self, node: Any) -> dict[str, Any]:
        """A signed document."""
        value: dict[str, Any] = {}
        put(
            value,
            content_type=node.contentType,
            language=node.language,
            url=node.url,
            size=opt(int, node.size),
            hash=opt(lambda digest: base64.b64encode(digest).decode(), node.hash),
            title=node.title,
            creation=opt(common.moment, node.creation),
        )
        return value

    def read_provision(self, node: Any) -> dict[str, Any]:
        """A rule and its exceptions."""
        value: dict[str, Any] = {"effect": node.type}
        put(
            value,
            **self.read_conditions(node),
            resource_types=[one.code for one in node.class_fhir or ()],
            exceptions=[self.read_provision(one) for one in node.provision or ()],
        )
        return value

    def read_conditions(self, node: Any) -> dict[str, Any]:
        """What all releases call the same."""
        return {
            "period": opt(common.read_period, node.period),
            "actors": [
                {"role": ACTOR_ROLE.read(one.role), "party": read_reference(one.reference)} for one in node.actor or ()
            ],
            "actions": [ACTION.read(one) for one in node.action or ()],
            "purposes": [PURPOSE.words[one.system, one.code] for one in node.purpose or ()],
            "labels": [SENSITIVITY.words[one.system, one.code] for one in node.securityLabel or ()],
            "codes": [read_concept(one) for one in node.code or ()],
            "data_period": opt(common.read_period, node.dataPeriod),
            "data": [{"meaning": one.meaning, "item": read_reference(one.reference)} for one in node.data or ()],
        }

    def read_extensions(self, node: Any, values: dict[str, Any]) -> None:
        """The extensions of all releases."""
        one_each: dict[str, Callable[[Any], dict[str, Any]]] = {
            self.url(extensions.INTERNAL_STATUS): lambda one: {"state": one.valueCode},
            self.url(extensions.RECORDED_AT): lambda one: {"recorded_at": common.moment(one.valueDateTime)},
            self.url(extensions.RELATED_ENCOUNTER): lambda one: {"encounter": read_reference(one.valueReference)},
            self.url(extensions.SUPERSEDES): lambda one: {"supersedes": read_reference(one.valueReference)},
            self.url(extensions.GRANTOR_CAPACITY): self.read_capacity,
            self.url(extensions.INTERPRETER): self.read_interpreter,
            self.url(extensions.WITHDRAWAL): self.read_withdrawal,
        }
        several: dict[str, tuple[str, Callable[[Any], Any]]] = {
            published.CONSENT_WITNESS.url: ("witnesses", lambda one: {"party": read_reference(one.valueReference)}),
            self.url(extensions.WITNESS): ("witnesses", self.read_witness),
            published.RESEARCH_STUDY.url: ("studies", lambda one: read_reference(one.valueReference)),
            self.url(extensions.NOTE): ("notes", lambda one: common.read_note(one.valueAnnotation)),
        }
        for one in node.extension or ():
            if one.url in one_each:
                values.update(one_each[one.url](one))
            elif one.url in several:
                field, read = several[one.url]
                values.setdefault(field, []).append(read(one))

    def read_witness(self, one: Any) -> dict[str, Any]:
        """A witness with a time or a role."""
        said = common.by_url(one.extension)
        value: dict[str, Any] = {"party": read_reference(said["party"].valueReference)}
        if "at" in said:
            value["at"] = common.moment(said["at"].valueDateTime)
        if "role" in said:
            value["role"] = read_concept(said["role"].valueCodeableConcept)
        return value

    def read_capacity(self, one: Any) -> dict[str, Any]:
        """The capacity of the grantor."""
        said = common.by_url(one.extension)
        value: dict[str, Any] = {}
        if "relationship" in said:
            value["relationship"] = read_concept(said["relationship"].valueCodeableConcept)
        if "capable" in said:
            value["capable"] = said["capable"].valueBoolean
        if "assessedBy" in said:
            value["assessed_by"] = read_reference(said["assessedBy"].valueReference)
        if "assessedAt" in said:
            value["assessed_at"] = common.moment(said["assessedAt"].valueDateTime)
        return {"grantor_capacity": value}

    def read_interpreter(self, one: Any) -> dict[str, Any]:
        """The interpreter."""
        said = common.by_url(one.extension)
        value: dict[str, Any] = {}
        if "party" in said:
            value["party"] = read_reference(said["party"].valueReference)
        if "language" in said:
            value["language"] = said["language"].valueCode
        return {"interpreter": value}

    def read_withdrawal(self, one: Any) -> dict[str, Any]:
        """The withdrawal."""
        said = common.by_url(one.extension)
        value: dict[str, Any] = {"at": common.moment(said["at"].valueDateTime)}
        if "by" in said:
            value["by"] = read_reference(said["by"].valueReference)
        if "reason" in said:
            value["reason"] = read_concept(said["reason"].valueCodeableConcept)
        if "scope" in said:
            value["scope"] = said["scope"].valueCode.replace("-", "_")
        if "dataHandling" in said:
            value["data_handling"] = said["dataHandling"].valueCode
        return {"withdrawal": value}


class ConsentsR5(Consents):
    """Consents ⇄ Consent in R5."""

    statuses = STATUSES_R5

    def says_less(self, state: str, status: str) -> bool:
        return state in FINER or state == "proposed"

    def categories(self, record: Consent) -> list[dict[str, Any]]:
        return [self.scope(record), *super().categories(record)]

    def verification(self, value: Verification) -> dict[str, Any]:
        node: dict[str, Any] = {"verified": value.verified}
        put(
            node,
            verifiedWith=opt(reference, value.verified_with),
            verifiedBy=opt(reference, value.verified_by),
            verificationType=opt(concept, value.type),
            verificationDate=[str(one) for one in value.dates],
        )
        return node

    def restructured(self, record: Consent, node: dict[str, Any], found: list[dict[str, Any]]) -> None:
        node |= {
            "subject": reference(record.patient),
            "date": record.signed_at[:10],
            "decision": record.decision,
        }
        if "T" in record.signed_at:
            found += simple(self.url(extensions.CONSENTED_AT), "valueDateTime", str(record.signed_at))
        custodians = [reference(one) for one in record.custodians]
        grantees: list[dict[str, Any]] = []
        for party in recipients(record.provisions):
            grantee = reference(party)
            if grantee not in grantees:
                grantees.append(grantee)
        put(
            node,
            period=opt(common.period, record.period),
            provision=[self.provision(one) for one in record.provisions],
            grantor=[reference(one) for one in record.grantors],
            grantee=grantees,
            manager=custodians,
            controller=custodians,
            regulatoryBasis=[LEGAL_BASIS.write(one) for one in record.legal_bases],
            sourceReference=[reference(one.reference) for one in record.sources if one.reference is not None],
            sourceAttachment=[self.attachment(one.attachment) for one in record.sources if one.attachment is not None],
        )
        if record.policies:
            put(node, policyBasis=opt(lambda uri: {"url": uri}, record.policies[0].uri))
            found += simple(self.url(extensions.POLICY_AUTHORITY), "valueUri", record.policies[0].authority)

    def attachment(self, value: Attachment) -> dict[str, Any]:
        node = super().attachment(value)
        put(node, size=opt(str, value.size))
        return node

    def provision(self, rule: Provision) -> dict[str, Any]:
        node: dict[str, Any] = {}
        put(
            node,
            **self.conditions(rule),
            resourceType=[{"system": terms.RESOURCE_TYPES_R5, "code": one} for one in rule.resource_types],
            extension=simple(self.url(extensions.PROVISION_EFFECT), "valueCode", rule.effect),
            provision=[self.provision(one) for one in rule.exceptions],
        )
        return node

    def read_verification(self, node: Any) -> dict[str, Any]:
        value: dict[str, Any] = {"verified": node.verified}
        put(
            value,
            verified_with=opt(read_reference, node.verifiedWith),
            verified_by=opt(read_reference, node.verifiedBy),
            type=opt(read_concept, node.verificationType),
            dates=[common.moment(one) for one in node.verificationDate or ()],
        )
        return value

    def read_restructured(self, node: Any, values: dict[str, Any]) -> None:
        values["patient"] = read_reference(node.subject)
        values["signed_at"] = common.moment(node.date)
        values["decision"] = node.decision
        policy: dict[str, Any] = {}
        if node.policyBasis:
            policy["uri"] = node.policyBasis.url
        for one in node.extension or ():
            if one.url == self.url(extensions.CONSENTED_AT):
                values["signed_at"] = common.moment(one.valueDateTime)
            elif one.url == self.url(extensions.POLICY_AUTHORITY):
                policy["authority"] = one.valueUri
        put(
            values,
            period=opt(common.read_period, node.period),
            provisions=[self.read_provision(one) for one in node.provision or ()],
            grantors=[read_reference(one) for one in node.grantor or ()],
            custodians=[read_reference(one) for one in node.manager or ()],
            legal_bases=[LEGAL_BASIS.read(one) for one in node.regulatoryBasis or ()],
            policies=[policy] if policy else [],
            sources=[
                *({"reference": read_reference(one)} for one in node.sourceReference or ()),
                *({"attachment": self.read_attachment(one)} for one in node.sourceAttachment or ()),
            ],
        )

    def read_provision(self, node: Any) -> dict[str, Any]:
        value: dict[str, Any] = {"effect": node.extension[0].valueCode}
        put(
            value,
            **self.read_conditions(node),
            resource_types=[one.code for one in node.resourceType or ()],
            exceptions=[self.read_provision(one) for one in node.provision or ()],
        )
        return value


def recipients(rules: tuple[Provision, ...]) -> Iterator[Ref]:
    """Whom the rules permit to receive."""
    for rule in rules:
        if rule.effect == "permit":
            yield from (one.party for one in rule.actors if one.role in ("recipient", "primary_recipient"))
        yield from recipients(rule.exceptions)
