"""Adverse events ⇄ AdverseEvent, by hand."""

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
    read_concept,
    read_reference,
    reference,
    simple,
)
from fhirbridge.binding import Binding
from fhirbridge.records import AdverseEvent, Concept
from fhirbridge.records.adverse_event import Action, Causality, Participant
from mappings import extensions, local, published, terms

STATUSES = {
    "in_progress": "in-progress",
    "entered_in_error": "entered-in-error",
    "draft": "in-progress",
    "amended": "completed",
}
STATUS_WORDS = {"in-progress": "in_progress", "entered-in-error": "entered_in_error"}
FINER = frozenset({"draft", "amended"})
EVENT = Words.of(terms.EVENT)
SERIOUSNESS = Words.of(terms.SERIOUSNESS)
CRITERION = Words.of(terms.SERIOUSNESS_CRITERION)
SEVERITY = Words.of(terms.SEVERITY)
OUTCOME = Words.of(terms.OUTCOME_R4)
OUTCOME_NCIT = Words.of(terms.OUTCOME_NCIT)
CAUSALITY = Words.of(terms.CAUSALITY)
RELATEDNESS = Words.of(terms.RELATEDNESS)
FUNCTION = Words.of(terms.PARTICIPANT_FUNCTION)
MISHAP = Words.of(terms.MISHAP)
MISHAPS_SAID = {terms.label(word): word for word in terms.MISHAP_R4_CORE.table}
GRADES = {coded.code: int(grade) for grade, coded in terms.GRADE.table.items()}


def mishap(value: str | Concept) -> dict[str, Any]:
    """A kind of mishap; one that HL7's terminology has no code for is said in words."""
    if isinstance(value, str) and value not in MISHAP.concepts:
        return {"text": terms.label(value)}
    return MISHAP.write(value)


def read_mishap(node: Any) -> Any:
    """The kind of mishap of a CodeableConcept."""
    word = MISHAPS_SAID.get(node.text)
    return word if word is not None and not node.coding else MISHAP.read(node)


class AdverseEvents:
    """Adverse events ⇄ AdverseEvent in R4. ``model`` is the AdverseEvent model of ``fhir.resources``."""

    guide = published.AE4

    def __init__(self, binding: Binding, model: Any) -> None:
        self.binding, self.model = binding, model
        self.system = binding.sid("adverse-event")
        self.actions = Words.local(binding, local.ACTION_TAKEN)
        self.expected = Words.local(binding, local.EXPECTEDNESS)
        self.interest = {coded.code: word for word, coded in local.AESI.table.items()}

    def url(self, definition: Any) -> str:
        """The URL of an extension."""
        return str(definition.written_url(self.binding))

    def write(self, record: AdverseEvent) -> bytes:
        """The AdverseEvent of an adverse event."""
        node: dict[str, Any] = {
            "resourceType": "AdverseEvent",
            "id": self.binding.resource_id("adverse_event", record.id),
            "meta": common.meta(self.binding, record),
            "actuality": record.actuality,
            "subject": reference(record.patient),
        }
        put(
            node,
            encounter=opt(reference, record.encounter),
            detected=opt(str, record.detected_at),
            recordedDate=opt(str, record.recorded_at),
            recorder=opt(reference, record.recorded_by),
            location=opt(reference, record.location),
            seriousness=opt(lambda yes: SERIOUSNESS.write("serious" if yes else "non_serious"), record.serious),
            study=[reference(one) for one in record.studies],
            category=[mishap(one) for one in record.categories],
        )
        found = self.extensions(record)
        self.restructured(record, node, found)
        put(node, extension=found)
        return bytes(self.model.model_validate(node).model_dump_json().encode())

    def event(self, record: AdverseEvent) -> dict[str, Any]:
        """What happened, in codes and words."""
        codings = [] if record.term is None else [EVENT.coding(record.term)]
        node: dict[str, Any] = {"text": record.verbatim}
        put(node, coding=codings + [common.coding(one) for one in record.codings])
        return node

    def extensions(self, record: AdverseEvent) -> list[dict[str, Any]]:
        """The extensions that have the same names in all releases."""
        found: list[dict[str, Any]] = []
        if record.grade is not None:
            coded = terms.GRADE.table[str(record.grade)]
            coding = {"system": terms.NCIT, "code": coded.code, "display": coded.display}
            grade = {"coding": [coding], "text": f"grade {record.grade}"}
            found += simple(self.url(self.guide["ae-grade"]), "valueCodeableConcept", grade)
        for criterion in record.seriousness_criteria:
            found.append(
                parts(
                    self.url(self.guide["seriousness-criteria"]),
                    criterionCode=("valueCodeableConcept", CRITERION.write(criterion)),
                    criterionPresent=("valueBoolean", True),
                )
            )
        offset = opt(common.quantity, record.onset_offset)
        found += simple(self.url(extensions.OFFSET_FROM_DOSE), "valueDuration", offset)
        if record.expectedness is not None:
            found.append(
                parts(
                    self.url(extensions.EXPECTEDNESS),
                    value=("valueCodeableConcept", self.expected.write(record.expectedness.value)),
                    reference=("valueString", record.expectedness.reference),
                )
            )
        for word in record.special_interest:
            found += simple(self.url(extensions.AESI), "valueCode", word.replace("_", "-"))
        if record.record_status in FINER:
            found += simple(self.url(extensions.INTERNAL_STATUS), "valueCode", record.record_status)
        return found

    def restructured(self, record: AdverseEvent, node: dict[str, Any], found: list[dict[str, Any]]) -> None:
        """The elements that R5 has elsewhere."""
        node["identifier"] = {"system": self.system, "value": record.id}
        node["event"] = self.event(record)
        status = STATUSES.get(record.record_status, record.record_status)
        if status == "entered-in-error":
            node["modifierExtension"] = simple(self.guide["status"].url, "valueCode", status)
        else:
            found += simple(self.url(extensions.AE_STATUS), "valueCode", status)
        found += simple(self.url(self.guide["resolve-date"]), "valueDateTime", opt(str, record.resolved_at))
        put(
            node,
            date=opt(str, record.onset),
            severity=opt(SEVERITY.write, record.severity),
            outcome=opt(self.outcome, record.outcome),
            contributor=[reference(one) for one in record.contributors],
            resultingCondition=[reference(one) for one in record.resulting_conditions],
            suspectEntity=[
                {"instance": opt(reference, one.instance)}
                | ({"causality": [self.causality(cause) for cause in one.causality]} if one.causality else {})
                for one in record.suspects
            ],
        )
        for participant in record.participants:
            found.append(
                parts(
                    self.url(self.guide["participant"]),
                    function=("valueCodeableConcept", opt(FUNCTION.write, participant.function)),
                    actor=("valueReference", reference(participant.actor)),
                )
            )
        for action in record.actions:
            found.append(parts(published.MITIGATING_ACTION, item=self.action("value", action)))
        for prevention in record.preventive_actions:
            found += simple(self.url(extensions.PREVENTIVE_ACTION), "valueCodeableConcept", concept(prevention))
        for note in record.notes:
            found += simple(self.url(self.guide["note"]), "valueAnnotation", common.note(note))

    def outcome(self, word: Any) -> dict[str, Any]:
        """The outcome in both code systems."""
        codings = [words.coding(word) for words in self.outcomes() if word in words.concepts]
        return {"coding": codings, "text": terms.label(word)}

    def outcomes(self) -> tuple[Words, Words]:
        """The code systems of the outcome, in order."""
        return OUTCOME, OUTCOME_NCIT

    def causality(self, cause: Causality) -> dict[str, Any]:
        """One assessment."""
        node: dict[str, Any] = {}
        codings = self.assessed(cause)
        if codings:
            node["assessment"] = {"coding": codings}
            if isinstance(cause.assessment, str):
                node["assessment"]["text"] = terms.label(cause.assessment)
        put(node, productRelatedness=cause.relatedness_text, author=opt(reference, cause.author))
        return node

    def assessed(self, cause: Causality) -> list[dict[str, Any]]:
        """The codings of assessment and relatedness."""
        codings = [CAUSALITY.coding(cause.assessment)] if isinstance(cause.assessment, str) else []
        return codings if cause.relatedness is None else [*codings, RELATEDNESS.coding(cause.relatedness)]

    def action(self, stem: str, action: Action) -> tuple[str, Any]:
        """What was done, as the member of an ``[x]`` element."""
        if action.given is not None:
            return f"{stem}Reference", reference(action.given)
        if action.taken is None:
            return f"{stem}CodeableConcept", opt(concept, action.treatment)
        node = dict(self.actions.write(action.taken))
        if action.taken == "drug_withdrawn":
            coded = terms.ACTION_WITHDRAWN_NCIT
            further = {"system": terms.NCIT, "code": coded.code, "display": coded.display}
            node["coding"] = [*node["coding"], further]
        put(node, text=action.text)
        return f"{stem}CodeableConcept", node

    def read(self, data: bytes) -> AdverseEvent:
        """The adverse event of an AdverseEvent."""
        node = self.model.model_validate_json(data)
        values: dict[str, Any] = {"actuality": node.actuality, "patient": read_reference(node.subject)}
        common.read_meta(self.binding, node.meta, values)
        put(
            values,
            encounter=opt(read_reference, node.encounter),
            detected_at=opt(common.moment, node.detected),
            recorded_at=opt(common.moment, node.recordedDate),
            recorded_by=opt(read_reference, node.recorder),
            location=opt(read_reference, node.location),
            serious=opt(lambda one: SERIOUSNESS.read(one) == "serious", node.seriousness),
            studies=[read_reference(one) for one in node.study or ()],
            categories=[read_mishap(one) for one in node.category or ()],
        )
        self.read_restructured(node, values)
        self.read_extensions(node, values)
        return AdverseEvent.model_validate(values)

    def read_event(self, node: Any, values: dict[str, Any]) -> None:
        """What happened."""
        values["verbatim"] = node.text
        for coding in node.coding or ():
            word = EVENT.words.get((coding.system, coding.code))
            if word is not None:
                values["term"] = word
            else:
                further = {"system": coding.system, "code": coding.code, "display": coding.display}
                values.setdefault("codings", []).append({name: one for name, one in further.items() if one is not None})

    def read_restructured(self, node: Any, values: dict[str, Any]) -> None:
        """The elements that R5 has elsewhere."""
        values["id"] = node.identifier.value
        self.read_event(node.event, values)
        for one in node.modifierExtension or ():
            values["record_status"] = STATUS_WORDS.get(one.valueCode, one.valueCode)
        put(
            values,
            onset=opt(common.moment, node.date),
            severity=opt(SEVERITY.read, node.severity),
            outcome=opt(OUTCOME.read, node.outcome),
            contributors=[read_reference(one) for one in node.contributor or ()],
            resulting_conditions=[read_reference(one) for one in node.resultingCondition or ()],
            suspects=[
                {
                    "instance": read_reference(one.instance),
                    "causality": [self.read_causality(cause) for cause in one.causality or ()],
                }
                for one in node.suspectEntity or ()
            ],
        )

    def read_causality(self, node: Any) -> dict[str, Any]:
        """One assessment."""
        value = self.read_assessed(node.assessment)
        put(value, relatedness_text=node.productRelatedness, author=opt(read_reference, node.author))
        return value

    def read_assessed(self, node: Any) -> dict[str, Any]:
        """Assessment and relatedness from their codings."""
        value: dict[str, Any] = {}
        for coding in (node.coding if node else None) or ():
            if coding.system == CAUSALITY_SYSTEM:
                value["assessment"] = CAUSALITY.words[coding.system, coding.code]
            else:
                value["relatedness"] = RELATEDNESS.words[coding.system, coding.code]
        return value

    def read_action(self, node: Any, given: Any) -> dict[str, Any]:
        """What was done, from a concept or a reference."""
        if given:
            return {"given": read_reference(given)}
        word = self.actions.read(node)
        if not isinstance(word, str):
            return {"treatment": word}
        value = {"taken": word}
        if node.text and node.text != terms.label(word):
            value["text"] = node.text
        return value

    def read_extensions(self, node: Any, values: dict[str, Any]) -> None:
        """The extensions of all releases."""
        one_each: dict[str, Callable[[Any], dict[str, Any]]] = {
            self.url(self.guide["ae-grade"]): lambda one: {"grade": GRADES[one.valueCodeableConcept.coding[0].code]},
            self.url(extensions.OFFSET_FROM_DOSE): lambda one: {
                "onset_offset": common.read_quantity(one.valueDuration)
            },
            self.url(extensions.EXPECTEDNESS): self.read_expectedness,
            self.url(extensions.AE_STATUS): lambda one: {
                "record_status": STATUS_WORDS.get(one.valueCode, one.valueCode)
            },
            self.url(extensions.INTERNAL_STATUS): lambda one: {"record_status": one.valueCode},
        }
        several: dict[str, tuple[str, Callable[[Any], Any]]] = {
            self.url(extensions.AESI): ("special_interest", lambda one: self.interest[one.valueCode]),
            self.url(self.guide["seriousness-criteria"]): (
                "seriousness_criteria",
                lambda one: CRITERION.read(common.by_url(one.extension)["criterionCode"].valueCodeableConcept),
            ),
        }
        self.add_own(one_each, several)
        for one in sorted(node.extension or (), key=lambda one: one.url == self.url(extensions.INTERNAL_STATUS)):
            if one.url in one_each:
                values.update(one_each[one.url](one))
            elif one.url in several:
                field, read = several[one.url]
                values.setdefault(field, []).append(read(one))

    def add_own(
        self,
        one_each: dict[str, Callable[[Any], dict[str, Any]]],
        several: dict[str, tuple[str, Callable[[Any], Any]]],
    ) -> None:
        """The extensions of this release alone."""
        one_each[self.url(self.guide["resolve-date"])] = lambda one: {"resolved_at": common.moment(one.valueDateTime)}
        several[self.url(self.guide["participant"])] = "participants", self.read_participant
        several[published.MITIGATING_ACTION] = "actions", self.read_mitigation
        several[self.url(extensions.PREVENTIVE_ACTION)] = (
            "preventive_actions",
            lambda one: read_concept(one.valueCodeableConcept),
        )
        several[self.url(self.guide["note"])] = "notes", lambda one: common.read_note(one.valueAnnotation)

    def read_expectedness(self, one: Any) -> dict[str, Any]:
        """Whether the event was to be expected."""
        said = common.by_url(one.extension)
        value = {"value": self.expected.read(said["value"].valueCodeableConcept)}
        if "reference" in said:
            value["reference"] = said["reference"].valueString
        return {"expectedness": value}

    def read_participant(self, one: Any) -> dict[str, Any]:
        """Who took part."""
        said = common.by_url(one.extension)
        value: dict[str, Any] = {"actor": read_reference(said["actor"].valueReference)}
        if "function" in said:
            value["function"] = FUNCTION.read(said["function"].valueCodeableConcept)
        return value

    def read_mitigation(self, one: Any) -> dict[str, Any]:
        """What was done."""
        item = common.by_url(one.extension)["item"]
        return self.read_action(item.valueCodeableConcept, item.valueReference)


CAUSALITY_SYSTEM = terms.CAUSALITY.system


class AdverseEventsR5(AdverseEvents):
    """Adverse events ⇄ AdverseEvent in R5."""

    guide = published.AE5

    def outcomes(self) -> tuple[Words, Words]:
        return OUTCOME_NCIT, OUTCOME

    def restructured(self, record: AdverseEvent, node: dict[str, Any], found: list[dict[str, Any]]) -> None:
        node["identifier"] = [
            {"system": self.system, "value": record.id},
            *map(common.identifier, record.additional_identifiers),
        ]
        node["status"] = STATUSES.get(record.record_status, record.record_status)
        node["code"] = self.event(record)
        span = {"start": record.onset, "end": record.resolved_at}
        severity = opt(SEVERITY.write, record.severity)
        found += simple(self.url(self.guide["ae-severity"]), "valueCodeableConcept", severity)
        put(
            node,
            occurrencePeriod={name: str(time) for name, time in span.items() if time is not None} or None,
            outcome=[] if record.outcome is None else [self.outcome(record.outcome)],
            participant=[
                *({"actor": reference(one)} for one in record.contributors),
                *(self.participant(one) for one in record.participants),
            ],
            resultingEffect=[reference(one) for one in record.resulting_conditions],
            suspectEntity=[
                {"instanceReference": opt(reference, one.instance)} | cause
                for one in record.suspects
                for cause in [{"causality": self.causality(cause)} for cause in one.causality] or [{}]
            ],
            preventiveAction=[{"itemCodeableConcept": concept(one)} for one in record.preventive_actions],
            mitigatingAction=[dict([self.action("item", one)]) for one in record.actions],
            note=[common.note(one) for one in record.notes],
        )

    def participant(self, value: Participant) -> dict[str, Any]:
        """Who took part, in which function."""
        node = {"actor": reference(value.actor)}
        put(node, function=opt(FUNCTION.write, value.function))
        return node

    def causality(self, cause: Causality) -> dict[str, Any]:
        related: dict[str, Any] = {}
        put(related, coding=self.assessed(cause), text=cause.relatedness_text)
        node: dict[str, Any] = {}
        put(node, entityRelatedness=related or None, author=opt(reference, cause.author))
        return node

    def read_restructured(self, node: Any, values: dict[str, Any]) -> None:
        values["id"] = common.own_id(node.identifier, self.system)
        values["record_status"] = STATUS_WORDS.get(node.status, node.status)
        self.read_event(node.code, values)
        if node.occurrencePeriod:
            put(
                values,
                onset=opt(common.moment, node.occurrencePeriod.start),
                resolved_at=opt(common.moment, node.occurrencePeriod.end),
            )
        participants = [
            {"actor": read_reference(one.actor), "function": FUNCTION.read(one.function)}
            for one in node.participant or ()
            if one.function
        ]
        put(
            values,
            outcome=OUTCOME_NCIT.read(node.outcome[0]) if node.outcome else None,
            contributors=[read_reference(one.actor) for one in node.participant or () if not one.function],
            participants=participants,
            resulting_conditions=[read_reference(one) for one in node.resultingEffect or ()],
            suspects=[
                {
                    "instance": read_reference(one.instanceReference),
                    "causality": [self.read_causality(one.causality)] if one.causality else [],
                }
                for one in node.suspectEntity or ()
            ],
            actions=[
                self.read_action(one.itemCodeableConcept, one.itemReference) for one in node.mitigatingAction or ()
            ],
            preventive_actions=[read_concept(one.itemCodeableConcept) for one in node.preventiveAction or ()],
            notes=[common.read_note(one) for one in node.note or ()],
        )

    def read_causality(self, node: Any) -> dict[str, Any]:
        value = self.read_assessed(node.entityRelatedness)
        text = node.entityRelatedness.text if node.entityRelatedness else None
        put(value, relatedness_text=text, author=opt(read_reference, node.author))
        return value

    def add_own(
        self,
        one_each: dict[str, Callable[[Any], dict[str, Any]]],
        several: dict[str, tuple[str, Callable[[Any], Any]]],
    ) -> None:
        severity = self.url(self.guide["ae-severity"])
        one_each[severity] = lambda one: {"severity": SEVERITY.read(one.valueCodeableConcept)}
