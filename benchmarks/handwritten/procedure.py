"""Treatment sessions ⇄ Procedure, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.handwritten import common
from benchmarks.handwritten.common import (
    Words,
    concept,
    opt,
    parts,
    put,
    quantity,
    read_concept,
    read_quantity,
    reference,
)
from fhirbridge.binding import Binding
from fhirbridge.records import Administration, Session
from mappings import extensions, local, terms

STATUSES = {
    "planned": "preparation",
    "in_progress": "in-progress",
    "not_done": "not-done",
    "cancelled": "not-done",
    "no_show": "not-done",
    "on_hold": "on-hold",
    "aborted": "stopped",
    "entered_in_error": "entered-in-error",
}
STATUS_WORDS = {"in-progress": "in_progress", "not-done": "not_done", "on-hold": "on_hold"} | {
    "entered-in-error": "entered_in_error"
}
FINER = frozenset({"planned", "cancelled", "no_show", "aborted"})
TYPES = {"esketamine_intranasal": "esketamine_intranasal", "kap": "kap_session"}
PSYCHIATRY = {
    "coding": [
        {
            "system": terms.SNOMED,
            "code": terms.PSYCHIATRY_SERVICE.code,
            "display": terms.PSYCHIATRY_SERVICE.display,
        }
    ]
}
INDICATION = Words.of(terms.INDICATION)
OUTCOME = Words.of(terms.SESSION_OUTCOME)
ROUTE = Words.of(terms.ROUTE)
DRUG = Words.of(terms.DRUG)
# Administration fields by part and type of the extension; medication, route and the statuses are coded.
AMOUNTS = {
    "dose": "dose",
    "dosePerWeight": "dose_per_weight",
    "dosingWeight": "dosing_weight",
    "rate": "rate",
    "concentration": "concentration",
    "volume": "volume",
    "wasted": "wasted",
}
CONCEPTS = {"formulation": "formulation", "product": "product", "site": "site", "statusReason": "status_reason"}


class Procedures:
    """Sessions ⇄ Procedure in R4. ``model`` is the Procedure model of ``fhir.resources``."""

    def __init__(self, binding: Binding, model: Any) -> None:
        self.binding, self.model = binding, model
        self.system = binding.sid("treatment-session")
        self.types = Words.local(binding, local.SESSION_TYPE)
        self.functions = Words.local(binding, local.PERFORMER_FUNCTION)
        self.phases = Words.local(binding, local.TREATMENT_PHASE)
        self.programs = Words.local(binding, local.REMS_PROGRAM)
        self.classes = Words.local(binding, local.CONCOMITANT_CLASS)

    def url(self, definition: Any) -> str:
        """The URL of an extension."""
        return str(definition.written_url(self.binding))

    def write(self, record: Session) -> bytes:
        """The Procedure of a session."""
        node: dict[str, Any] = {
            "resourceType": "Procedure",
            "id": self.binding.resource_id("session", record.id),
            "meta": common.meta(self.binding, record),
            "identifier": [
                {"system": self.system, "value": record.id},
                *map(common.identifier, record.additional_identifiers),
            ],
            "status": STATUSES.get(record.status, record.status),
            "code": self.code(record),
            "subject": reference(record.patient),
        }
        found = self.extensions(record)
        put(
            node,
            statusReason=opt(concept, record.status_reason),
            encounter=opt(reference, record.encounter),
            recorder=opt(reference, record.recorded_by),
            performer=[self.performer(one) for one in record.performers],
            location=opt(reference, record.location),
            bodySite=[concept(one) for one in record.body_sites],
            outcome=opt(OUTCOME.write, record.outcome),
            followUp=[concept(one) for one in record.follow_up],
            note=[common.note(one) for one in record.notes],
            basedOn=[reference(one) for one in record.based_on],
            partOf=[reference(one) for one in record.part_of],
            report=[reference(one) for one in record.reports],
        )
        self.renamed(record, node, found)
        put(node, extension=found)
        return bytes(self.model.model_validate(node).model_dump_json().encode())

    def code(self, record: Session) -> dict[str, Any]:
        """SNOMED by route, our type of session, and the billing code."""
        if record.code is not None:
            return concept(record.code)
        coded = terms.SESSION_PROCEDURE.table[record.modality]
        own = self.types.coding(TYPES.get(record.modality, f"ketamine_{record.modality}"))
        codings = [{"system": terms.SNOMED, "code": coded.code, "display": coded.display}, own]
        if record.billing_code is not None:
            codings.append({"system": terms.HCPCS, "code": record.billing_code})
        return {"coding": codings, "text": own["display"]}

    def performer(self, value: Any) -> dict[str, Any]:
        """One performer with the function."""
        node = {"actor": reference(value.actor)}
        put(node, function=opt(self.functions.write, value.function))
        return node

    def renamed(self, record: Session, node: dict[str, Any], found: list[dict[str, Any]]) -> None:
        """The elements that R5 names otherwise."""
        category = [concept(one) for one in record.categories] or [PSYCHIATRY]
        put(
            node,
            category=category[0],
            asserter=opt(reference, record.reported_by),
            reasonCode=[INDICATION.write(one) for one in record.indications],
            reasonReference=[reference(one) for one in record.conditions],
            complication=[concept(one) for one in record.complications],
            complicationDetail=[reference(one) for one in record.complication_conditions],
            usedReference=[reference(one) for one in record.equipment],
            usedCode=[concept(one) for one in record.equipment_codes],
        )
        if record.ended_at == record.started_at:
            node["performedDateTime"] = str(record.started_at)
        else:
            node["performedPeriod"] = {"start": str(record.started_at)}
            put(node["performedPeriod"], end=opt(str, record.ended_at))
        if record.recorded_at is not None:
            found.append({"url": self.url(extensions.RECORDED_AT), "valueDateTime": str(record.recorded_at)})

    def extensions(self, record: Session) -> list[dict[str, Any]]:
        """The extensions, but for the one of R4 alone."""
        found: list[dict[str, Any]] = []
        if record.status in FINER:
            found.append({"url": self.url(extensions.INTERNAL_STATUS), "valueCode": record.status})
        if record.session_number is not None:
            found.append({"url": self.url(extensions.SESSION_NUMBER), "valuePositiveInt": record.session_number})
        if record.series is not None:
            found.append(
                parts(
                    self.url(extensions.TREATMENT_SERIES),
                    identifier=("valueIdentifier", opt(common.identifier, record.series.identifier)),
                    phase=("valueCodeableConcept", opt(self.phases.write, record.series.phase)),
                    plannedSessions=("valuePositiveInt", record.series.planned_sessions),
                    protocol=("valueString", record.series.protocol),
                )
            )
        found += [self.administration(one) for one in record.administrations]
        if record.monitoring is not None:
            period = common.period(record.monitoring)
            found.append({"url": self.url(extensions.MONITORING_PERIOD), "valuePeriod": period})
        if record.discharge is not None:
            discharge = record.discharge
            found.append(
                parts(
                    self.url(extensions.DISCHARGE_READINESS),
                    ready=("valueBoolean", discharge.ready),
                    assessedAt=("valueDateTime", opt(str, discharge.assessed_at)),
                    assessedBy=("valueReference", opt(reference, discharge.assessed_by)),
                    tool=("valueCodeableConcept", opt(concept, discharge.tool)),
                    score=("valueQuantity", opt(quantity, discharge.score)),
                    escortPresent=("valueBoolean", discharge.escort_present),
                    leftAt=("valueDateTime", opt(str, discharge.left_at)),
                    minutesToReady=("valueDuration", opt(quantity, discharge.minutes_to_ready)),
                )
            )
        if record.rems is not None:
            rems = record.rems
            found.append(
                parts(
                    self.url(extensions.REMS_SESSION),
                    program=("valueCodeableConcept", opt(self.programs.write, rems.program)),
                    enrolled=("valueBoolean", rems.enrolled),
                    firstTreatment=("valueBoolean", rems.first_treatment),
                    enrollmentId=("valueIdentifier", opt(common.identifier, rems.enrollment_id)),
                    formSubmittedAt=("valueDateTime", opt(str, rems.form_submitted_at)),
                    formId=("valueIdentifier", opt(common.identifier, rems.form_id)),
                )
            )
        for flag in record.concomitant_medications:
            members: dict[str, tuple[str, Any]] = {
                "class": ("valueCodeableConcept", self.classes.write(flag.medication_class)),
                "taking": ("valueBoolean", flag.taking),
            }
            found.append(parts(self.url(extensions.CONCOMITANT_MEDICATION_FLAG), **members))
        if record.vitals_acceptable is not None:
            found.append(
                parts(
                    self.url(extensions.VITALS_ACCEPTABLE),
                    preAdministration=("valueBoolean", record.vitals_acceptable.pre_administration),
                    preCompletion=("valueBoolean", record.vitals_acceptable.pre_completion),
                )
            )
        if record.kap is not None:
            found.append(
                parts(
                    self.url(extensions.KAP_DETAIL),
                    phase=("valueCode", record.kap.phase),
                    setting=("valueCodeableConcept", opt(concept, record.kap.setting)),
                    touchConsent=("valueReference", opt(reference, record.kap.touch_consent)),
                    music=("valueBoolean", record.kap.music),
                    integrationDate=("valueDateTime", opt(str, record.kap.integration_date)),
                )
            )
        for event in record.adverse_events:
            found.append({"url": self.url(extensions.ADVERSE_EVENT_REF), "valueReference": reference(event)})
        if record.next_visit is not None:
            found.append({"url": self.url(extensions.FOLLOW_UP_DATE), "valueDateTime": str(record.next_visit)})
        return found

    def administration(self, given: Administration) -> dict[str, Any]:
        """One drug given."""
        drug = given.medication
        members: dict[str, tuple[str, Any]] = {
            "identifier": ("valueIdentifier", opt(common.identifier, given.identifier)),
            "medication": ("valueCodeableConcept", {"text": drug} if drug == "esketamine" else DRUG.write(drug)),
            "route": ("valueCodeableConcept", opt(ROUTE.write, given.route)),
            "dosingWeightKind": ("valueCode", given.dosing_weight_kind),
            "period": ("valuePeriod", opt(common.period, given.period)),
            "deviceCount": ("valuePositiveInt", given.device_count),
            "lotNumber": ("valueString", given.lot_number),
            "expiry": ("valueDate", opt(str, given.expiry)),
            "selfAdministered": ("valueBoolean", given.self_administered),
            "status": ("valueCode", opt(lambda status: STATUSES.get(status, status), given.status)),
        }
        for part, field in AMOUNTS.items():
            members[part] = ("valueQuantity", opt(quantity, getattr(given, field)))
        for part, field in CONCEPTS.items():
            members[part] = ("valueCodeableConcept", opt(concept, getattr(given, field)))
        return parts(self.url(extensions.KETAMINE_ADMINISTRATION), **members)

    def read(self, data: bytes) -> Session:
        """The session of a Procedure."""
        node = self.model.model_validate_json(data)
        values: dict[str, Any] = {
            "id": common.own_id(node.identifier, self.system),
            "status": STATUS_WORDS.get(node.status, node.status),
            "patient": common.read_reference(node.subject),
        }
        common.read_meta(self.binding, node.meta, values)
        values["modality"] = "other"
        for coding in node.code.coding or ():
            if coding.system == terms.HCPCS:
                values["billing_code"] = coding.code
            elif (coding.system, coding.code) in self.types.words:
                word = self.types.words[coding.system, coding.code]
                values["modality"] = {"kap_session": "kap"}.get(word, word.removeprefix("ketamine_"))
        if values["modality"] == "other":
            values["code"] = read_concept(node.code)
        put(
            values,
            status_reason=opt(read_concept, node.statusReason),
            encounter=opt(common.read_reference, node.encounter),
            recorded_by=opt(common.read_reference, node.recorder),
            performers=[self.read_performer(one) for one in node.performer or ()],
            location=opt(common.read_reference, node.location),
            body_sites=[read_concept(one) for one in node.bodySite or ()],
            outcome=opt(OUTCOME.read, node.outcome),
            follow_up=[read_concept(one) for one in node.followUp or ()],
            notes=[common.read_note(one) for one in node.note or ()],
            based_on=[common.read_reference(one) for one in node.basedOn or ()],
            part_of=[common.read_reference(one) for one in node.partOf or ()],
            reports=[common.read_reference(one) for one in node.report or ()],
        )
        self.read_renamed(node, values)
        self.read_extensions(node, values)
        return Session.model_validate(values)

    def read_performer(self, node: Any) -> dict[str, Any]:
        """One performer with the function."""
        value = {"actor": common.read_reference(node.actor)}
        put(value, function=opt(self.functions.read, node.function))
        return value

    def read_renamed(self, node: Any, values: dict[str, Any]) -> None:
        """The elements that R5 names otherwise."""
        if [one.code for one in node.category.coding or ()] != [terms.PSYCHIATRY_SERVICE.code]:
            values["categories"] = [read_concept(node.category)]
        put(
            values,
            reported_by=opt(common.read_reference, node.asserter),
            indications=[INDICATION.read(one) for one in node.reasonCode or ()],
            conditions=[common.read_reference(one) for one in node.reasonReference or ()],
            complications=[read_concept(one) for one in node.complication or ()],
            complication_conditions=[common.read_reference(one) for one in node.complicationDetail or ()],
            equipment=[common.read_reference(one) for one in node.usedReference or ()],
            equipment_codes=[read_concept(one) for one in node.usedCode or ()],
        )
        if node.performedDateTime:
            values["started_at"] = values["ended_at"] = common.moment(node.performedDateTime)
        else:
            values["started_at"] = common.moment(node.performedPeriod.start)
            put(values, ended_at=opt(common.moment, node.performedPeriod.end))
        for one in node.extension or ():
            if one.url == self.url(extensions.RECORDED_AT):
                values["recorded_at"] = common.moment(one.valueDateTime)

    def read_extensions(self, node: Any, values: dict[str, Any]) -> None:
        """The extensions, but for the one of R4 alone."""
        read: dict[str, Callable[[Any], dict[str, Any]]] = {
            self.url(extensions.INTERNAL_STATUS): lambda one: {"status": one.valueCode},
            self.url(extensions.SESSION_NUMBER): lambda one: {"session_number": one.valuePositiveInt},
            self.url(extensions.TREATMENT_SERIES): self.read_series,
            self.url(extensions.MONITORING_PERIOD): lambda one: {"monitoring": common.read_period(one.valuePeriod)},
            self.url(extensions.DISCHARGE_READINESS): self.read_discharge,
            self.url(extensions.REMS_SESSION): self.read_rems,
            self.url(extensions.VITALS_ACCEPTABLE): self.read_acceptable,
            self.url(extensions.KAP_DETAIL): self.read_kap,
            self.url(extensions.FOLLOW_UP_DATE): lambda one: {"next_visit": common.moment(one.valueDateTime)},
        }
        for one in node.extension or ():
            if one.url in read:
                values.update(read[one.url](one))
            elif one.url == self.url(extensions.KETAMINE_ADMINISTRATION):
                values.setdefault("administrations", []).append(self.read_administration(one))
            elif one.url == self.url(extensions.CONCOMITANT_MEDICATION_FLAG):
                said = common.by_url(one.extension)
                kind = self.classes.read(said["class"].valueCodeableConcept)
                flag = {"medication_class": kind, "taking": said["taking"].valueBoolean}
                values.setdefault("concomitant_medications", []).append(flag)
            elif one.url == self.url(extensions.ADVERSE_EVENT_REF):
                values.setdefault("adverse_events", []).append(common.read_reference(one.valueReference))

    def read_series(self, one: Any) -> dict[str, Any]:
        """The series."""
        said, value = common.by_url(one.extension), {}
        if "identifier" in said:
            value["identifier"] = common.read_identifier(said["identifier"].valueIdentifier)
        if "phase" in said:
            value["phase"] = self.phases.read(said["phase"].valueCodeableConcept)
        if "plannedSessions" in said:
            value["planned_sessions"] = said["plannedSessions"].valuePositiveInt
        if "protocol" in said:
            value["protocol"] = said["protocol"].valueString
        return {"series": value}

    def read_discharge(self, one: Any) -> dict[str, Any]:
        """Readiness to leave."""
        said, value = common.by_url(one.extension), {}
        if "ready" in said:
            value["ready"] = said["ready"].valueBoolean
        if "assessedAt" in said:
            value["assessed_at"] = common.moment(said["assessedAt"].valueDateTime)
        if "assessedBy" in said:
            value["assessed_by"] = common.read_reference(said["assessedBy"].valueReference)
        if "tool" in said:
            value["tool"] = read_concept(said["tool"].valueCodeableConcept)
        if "score" in said:
            value["score"] = read_quantity(said["score"].valueQuantity)
        if "escortPresent" in said:
            value["escort_present"] = said["escortPresent"].valueBoolean
        if "leftAt" in said:
            value["left_at"] = common.moment(said["leftAt"].valueDateTime)
        if "minutesToReady" in said:
            value["minutes_to_ready"] = read_quantity(said["minutesToReady"].valueDuration)
        return {"discharge": value}

    def read_rems(self, one: Any) -> dict[str, Any]:
        """What the REMS form asks."""
        said, value = common.by_url(one.extension), {}
        if "program" in said:
            value["program"] = self.programs.read(said["program"].valueCodeableConcept)
        if "enrolled" in said:
            value["enrolled"] = said["enrolled"].valueBoolean
        if "firstTreatment" in said:
            value["first_treatment"] = said["firstTreatment"].valueBoolean
        if "enrollmentId" in said:
            value["enrollment_id"] = common.read_identifier(said["enrollmentId"].valueIdentifier)
        if "formSubmittedAt" in said:
            value["form_submitted_at"] = common.moment(said["formSubmittedAt"].valueDateTime)
        if "formId" in said:
            value["form_id"] = common.read_identifier(said["formId"].valueIdentifier)
        return {"rems": value}

    def read_acceptable(self, one: Any) -> dict[str, Any]:
        """The form's questions about vital signs."""
        said, value = common.by_url(one.extension), {}
        if "preAdministration" in said:
            value["pre_administration"] = said["preAdministration"].valueBoolean
        if "preCompletion" in said:
            value["pre_completion"] = said["preCompletion"].valueBoolean
        return {"vitals_acceptable": value}

    def read_kap(self, one: Any) -> dict[str, Any]:
        """Details of psychotherapy."""
        said, value = common.by_url(one.extension), {}
        if "phase" in said:
            value["phase"] = said["phase"].valueCode
        if "setting" in said:
            value["setting"] = read_concept(said["setting"].valueCodeableConcept)
        if "touchConsent" in said:
            value["touch_consent"] = common.read_reference(said["touchConsent"].valueReference)
        if "music" in said:
            value["music"] = said["music"].valueBoolean
        if "integrationDate" in said:
            value["integration_date"] = common.moment(said["integrationDate"].valueDateTime)
        return {"kap": value}

    def read_administration(self, one: Any) -> dict[str, Any]:
        """One drug given."""
        said = common.by_url(one.extension)
        value: dict[str, Any] = {}
        if "identifier" in said:
            value["identifier"] = common.read_identifier(said["identifier"].valueIdentifier)
        drug = said["medication"].valueCodeableConcept
        value["medication"] = "esketamine" if drug.text == "esketamine" else DRUG.read(drug)
        if "route" in said:
            value["route"] = ROUTE.read(said["route"].valueCodeableConcept)
        if "dosingWeightKind" in said:
            value["dosing_weight_kind"] = said["dosingWeightKind"].valueCode
        if "period" in said:
            value["period"] = common.read_period(said["period"].valuePeriod)
        if "deviceCount" in said:
            value["device_count"] = said["deviceCount"].valuePositiveInt
        if "lotNumber" in said:
            value["lot_number"] = said["lotNumber"].valueString
        if "expiry" in said:
            value["expiry"] = common.moment(said["expiry"].valueDate)
        if "selfAdministered" in said:
            value["self_administered"] = said["selfAdministered"].valueBoolean
        if "status" in said:
            value["status"] = STATUS_WORDS.get(said["status"].valueCode, said["status"].valueCode)
        for part, field in AMOUNTS.items():
            if part in said:
                value[field] = read_quantity(said[part].valueQuantity)
        for part, field in CONCEPTS.items():
            if part in said:
                value[field] = read_concept(said[part].valueCodeableConcept)
        return value


class ProceduresR5(Procedures):
    """Sessions ⇄ Procedure in R5."""

    def renamed(self, record: Session, node: dict[str, Any], found: list[dict[str, Any]]) -> None:
        put(
            node,
            category=[concept(one) for one in record.categories] or [PSYCHIATRY],
            recorded=opt(str, record.recorded_at),
            reportedReference=opt(reference, record.reported_by),
            reason=[
                *({"concept": INDICATION.write(one)} for one in record.indications),
                *({"reference": reference(one)} for one in record.conditions),
            ],
            complication=[
                *({"concept": concept(one)} for one in record.complications),
                *({"reference": reference(one)} for one in record.complication_conditions),
            ],
            used=[
                *({"concept": concept(one)} for one in record.equipment_codes),
                *({"reference": reference(one)} for one in record.equipment),
            ],
        )
        if record.ended_at == record.started_at:
            node["occurrenceDateTime"] = str(record.started_at)
        else:
            node["occurrencePeriod"] = {"start": str(record.started_at)}
            put(node["occurrencePeriod"], end=opt(str, record.ended_at))

    def read_renamed(self, node: Any, values: dict[str, Any]) -> None:
        codes = [one.code for category in node.category for one in category.coding or ()]
        if codes != [terms.PSYCHIATRY_SERVICE.code]:
            values["categories"] = [read_concept(one) for one in node.category]
        put(
            values,
            recorded_at=opt(common.moment, node.recorded),
            reported_by=opt(common.read_reference, node.reportedReference),
            indications=[INDICATION.read(one.concept) for one in node.reason or () if one.concept],
            conditions=[common.read_reference(one.reference) for one in node.reason or () if one.reference],
            complications=[read_concept(one.concept) for one in node.complication or () if one.concept],
            complication_conditions=[
                common.read_reference(one.reference) for one in node.complication or () if one.reference
            ],
            equipment=[common.read_reference(one.reference) for one in node.used or () if one.reference],
            equipment_codes=[read_concept(one.concept) for one in node.used or () if one.concept],
        )
        if node.occurrenceDateTime:
            values["started_at"] = values["ended_at"] = common.moment(node.occurrenceDateTime)
        else:
            values["started_at"] = common.moment(node.occurrencePeriod.start)
            put(values, ended_at=opt(common.moment, node.occurrencePeriod.end))
