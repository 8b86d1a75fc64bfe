"""Vital signs and rating scales ⇄ Observation, by hand."""

from __future__ import annotations

from typing import Any

from benchmarks.handwritten import common
from benchmarks.handwritten.common import UCUM, Words
from fhirbridge.binding import Binding
from fhirbridge.records import Assessment, Decimal, VitalSign
from fhirbridge.records.vitals import BP_PARTS, Item, Measurement, Observed
from mappings import extensions, local, published, terms

LOINC_OF = {coded.code: word for word, coded in terms.VITAL.table.items()}
SIGNS = {word: [word] for word in terms.VITAL.table} | {"oxygen_saturation": ["oxygen_saturation", "pulse_oximetry"]}
STATUSES = {"entered_in_error": "entered-in-error"}
STATUS_WORDS = {code: word for word, code in STATUSES.items()}
MODES = {"self_administered": "self-administered"}
MODE_WORDS = {code: word for word, code in MODES.items()}
VITAL_CODES = {
    sign: {
        "coding": [
            {"system": terms.LOINC, "code": terms.VITAL.table[one].code, "display": terms.VITAL.table[one].display}
            for one in words
        ],
        "text": terms.label(sign),
    }
    for sign, words in SIGNS.items()
}
PART_CODES = {word: {"coding": VITAL_CODES[word]["coding"]} for word in (*BP_PARTS, "fio2")}
ITEM_CODES = Words(terms.LOINC, terms.SCALE_ITEM.table)
ABSENT = Words.of(terms.ABSENT_REASON)
INTERPRETATION = Words.of(terms.INTERPRETATION)
POSITION = Words.of(terms.POSITION)


def category(code: str, display: str) -> dict[str, Any]:
    """An observation category."""
    return {"coding": [{"system": terms.OBSERVATION_CATEGORY.system, "code": code, "display": display}]}


VITAL_SIGNS, EXAM, SURVEY = (
    category("vital-signs", "Vital Signs"),
    category("exam", "Exam"),
    category("survey", "Survey"),
)


def number(value: Decimal, unit: str, comparator: str | None = None) -> dict[str, Any]:
    """A Quantity of a number and its unit."""
    node = {"value": value.as_decimal(), "unit": unit, "system": UCUM, "code": unit}
    if comparator is not None:
        node["comparator"] = comparator
    return node


class Observations:
    """What both kinds share. ``model`` is the Observation model of ``fhir.resources`` for the release."""

    def __init__(self, binding: Binding, model: Any, identifier_name: str) -> None:
        self.binding, self.model = binding, model
        self.system = binding.sid(identifier_name)
        self.timepoint = Words.local(binding, local.NOMINAL_TIMEPOINT)

    def url(self, definition: Any) -> str:
        """The URL of an extension."""
        return str(definition.written_url(self.binding))

    def shared(self, record: Observed) -> dict[str, Any]:
        """The elements of the fields of ``Observed``."""
        found: list[dict[str, Any]] = []
        if record.timepoint is not None:
            concept = self.timepoint.write(record.timepoint)
            found.append({"url": self.url(extensions.NOMINAL_TIMEPOINT), "valueCodeableConcept": concept})
        if record.offset_from_dose is not None:
            offset = common.quantity(record.offset_from_dose)
            found.append({"url": self.url(extensions.OFFSET_FROM_DOSE), "valueDuration": offset})
        if record.replicate_number is not None:
            found.append({"url": self.url(extensions.REPLICATE_NUMBER), "valuePositiveInt": record.replicate_number})
        if record.derivation is not None:
            code = record.derivation.replace("_", "-")
            found.append({"url": self.url(extensions.DERIVATION), "valueCode": code})
        session = [] if record.session is None else [common.reference(record.session)]
        node: dict[str, Any] = {
            "resourceType": "Observation",
            "id": self.binding.resource_id(record.kind, record.id),
            "meta": common.meta(self.binding, record),
            "extension": found,
            "identifier": [
                {"system": self.system, "value": record.id},
                *map(common.identifier, record.additional_identifiers),
            ],
            "status": STATUSES.get(record.status, record.status),
            "subject": common.reference(record.patient),
            "effectiveDateTime": str(record.measured_at),
        }
        common.put(
            node,
            partOf=[*session, *map(common.reference, record.part_of)],
            encounter=None if record.encounter is None else common.reference(record.encounter),
            issued=None if record.recorded_at is None else str(record.recorded_at),
            performer=[common.reference(one) for one in record.performers],
            derivedFrom=[common.reference(one) for one in record.derived_from],
            note=[common.note(one) for one in record.notes],
        )
        return node

    def finish(self, node: dict[str, Any]) -> bytes:
        """A validated model as JSON."""
        if not node["extension"]:
            del node["extension"]
        return bytes(self.model.model_validate(node).model_dump_json().encode())

    def read_shared(self, node: Any, found: dict[str, Any]) -> dict[str, Any]:
        """The values of the fields of ``Observed``."""
        values: dict[str, Any] = {
            "id": common.own_id(node.identifier, self.system),
            "status": STATUS_WORDS.get(node.status, node.status),
            "patient": common.read_reference(node.subject),
            "measured_at": common.moment(node.effectiveDateTime),
        }
        common.read_meta(self.binding, node.meta, values)
        others = [common.read_identifier(one) for one in node.identifier if one.system != self.system]
        if others:
            values["additional_identifiers"] = others
        refs = [common.read_reference(one) for one in node.partOf or ()]
        session = next((ref for ref in refs if ref.get("type") == "Procedure"), None)
        if session is not None:
            values["session"] = session
            refs.remove(session)
        if refs:
            values["part_of"] = refs
        if node.encounter:
            values["encounter"] = common.read_reference(node.encounter)
        if node.issued:
            values["recorded_at"] = common.moment(node.issued)
        if node.performer:
            values["performers"] = [common.read_reference(one) for one in node.performer]
        if node.derivedFrom:
            values["derived_from"] = [common.read_reference(one) for one in node.derivedFrom]
        if node.note:
            values["notes"] = [common.read_note(one) for one in node.note]
        if one := found.get(self.url(extensions.NOMINAL_TIMEPOINT)):
            values["timepoint"] = self.timepoint.read(one.valueCodeableConcept)
        if one := found.get(self.url(extensions.OFFSET_FROM_DOSE)):
            values["offset_from_dose"] = common.read_quantity(one.valueDuration)
        if one := found.get(self.url(extensions.REPLICATE_NUMBER)):
            values["replicate_number"] = one.valuePositiveInt
        if one := found.get(self.url(extensions.DERIVATION)):
            values["derivation"] = one.valueCode.replace("-", "_")
        return values


class VitalSigns(Observations):
    """Vital signs ⇄ Observation."""

    def __init__(self, binding: Binding, model: Any) -> None:
        super().__init__(binding, model, "vital-sign")
        self.delivery = Words.local(binding, local.O2_DELIVERY)

    def write(self, record: VitalSign) -> bytes:
        """The Observation of a vital sign."""
        node = self.shared(record)
        profile = terms.VITAL_PROFILE.get(record.sign)
        if profile is not None:
            node["meta"]["profile"] = [f"{terms.PROFILE}/{profile}"]
        node["category"] = [VITAL_SIGNS if profile is not None or record.sign.startswith("etco2") else EXAM]
        node["code"] = VITAL_CODES[record.sign]
        found = node["extension"]
        if record.position is not None:
            position = POSITION.write(record.position)
            found.append({"url": self.url(published.BODY_POSITION), "valueCodeableConcept": position})
        if record.cuff_size is not None:
            cuff = common.concept(record.cuff_size)
            found.append({"url": self.url(extensions.CUFF_SIZE), "valueCodeableConcept": cuff})
        components: list[dict[str, Any]] = []
        if record.absent_reason is not None:
            node["dataAbsentReason"] = ABSENT.write(record.absent_reason)
        elif record.finding is not None:
            node["valueCodeableConcept"] = common.concept(record.finding)
        elif record.sign == "blood_pressure":
            components = [self.component(reading) for reading in record.readings]
        else:
            reading = record.readings[0]
            if reading.value is not None and reading.unit is not None:
                node["valueQuantity"] = number(reading.value, reading.unit, reading.comparator)
        if record.oxygen is not None:
            if record.oxygen.delivery is not None:
                delivery = self.delivery.write(record.oxygen.delivery)
                found.append({"url": self.url(extensions.O2_DELIVERY), "valueCodeableConcept": delivery})
            if record.oxygen.flow is not None:
                flow = common.quantity(record.oxygen.flow)
                found.append({"url": self.url(extensions.O2_FLOW), "valueQuantity": flow})
            if record.oxygen.fio2 is not None:
                components.append({"code": PART_CODES["fio2"], "valueQuantity": common.quantity(record.oxygen.fio2)})
        common.put(
            node,
            component=components,
            interpretation=[INTERPRETATION.write(one) for one in record.interpretation],
            bodySite=None if record.body_site is None else common.concept(record.body_site),
            method=None if record.method is None else common.concept(record.method),
            device=None if record.device is None else common.reference(record.device),
        )
        return self.finish(node)

    def component(self, reading: Measurement) -> dict[str, Any]:
        """One number of a blood pressure."""
        node: dict[str, Any] = {"code": PART_CODES[reading.name]}
        if reading.derivation is not None:
            code = reading.derivation.replace("_", "-")
            node["extension"] = [{"url": self.url(extensions.DERIVATION), "valueCode": code}]
        if reading.value is not None and reading.unit is not None:
            node["valueQuantity"] = number(reading.value, reading.unit, reading.comparator)
        elif reading.absent_reason is not None:
            node["dataAbsentReason"] = ABSENT.write(reading.absent_reason)
        return node

    def read(self, data: bytes) -> VitalSign:
        """The vital sign of an Observation."""
        node = self.model.model_validate_json(data)
        found = common.by_url(node.extension)
        values = self.read_shared(node, found)
        values["sign"] = LOINC_OF[node.code.coding[0].code]
        if node.dataAbsentReason:
            values["absent_reason"] = ABSENT.read(node.dataAbsentReason)
        if node.valueCodeableConcept:
            values["finding"] = common.read_concept(node.valueCodeableConcept)
        if node.valueQuantity:
            values["readings"] = [{"name": "value"} | common.read_quantity(node.valueQuantity)]
        oxygen: dict[str, Any] = {}
        readings = []
        for component in node.component or ():
            name = LOINC_OF[component.code.coding[0].code]
            if name == "fio2":
                oxygen["fio2"] = common.read_quantity(component.valueQuantity)
            else:
                readings.append(self.read_component(name, component))
        if readings:
            values["readings"] = readings
        if one := found.get(self.url(extensions.O2_DELIVERY)):
            oxygen["delivery"] = self.delivery.read(one.valueCodeableConcept)
        if one := found.get(self.url(extensions.O2_FLOW)):
            oxygen["flow"] = common.read_quantity(one.valueQuantity)
        if oxygen:
            values["oxygen"] = oxygen
        if one := found.get(self.url(published.BODY_POSITION)):
            values["position"] = POSITION.read(one.valueCodeableConcept)
        if one := found.get(self.url(extensions.CUFF_SIZE)):
            values["cuff_size"] = common.read_concept(one.valueCodeableConcept)
        if node.interpretation:
            values["interpretation"] = [INTERPRETATION.read(one) for one in node.interpretation]
        if node.bodySite:
            values["body_site"] = common.read_concept(node.bodySite)
        if node.method:
            values["method"] = common.read_concept(node.method)
        if node.device:
            values["device"] = common.read_reference(node.device)
        return VitalSign.model_validate(values)

    def read_component(self, name: str, component: Any) -> dict[str, Any]:
        """One number of a blood pressure."""
        reading: dict[str, Any] = {"name": name}
        if component.valueQuantity:
            reading |= common.read_quantity(component.valueQuantity)
        if component.dataAbsentReason:
            reading["absent_reason"] = ABSENT.read(component.dataAbsentReason)
        for one in component.extension or ():
            if one.url == self.url(extensions.DERIVATION):
                reading["derivation"] = one.valueCode.replace("-", "_")
        return reading


class Assessments(Observations):
    """Rating scales ⇄ Observation."""

    def __init__(self, binding: Binding, model: Any) -> None:
        super().__init__(binding, model, "scale")
        self.codes: dict[str, dict[str, Any]] = {}
        self.scales: dict[tuple[str, str] | str, str] = {}
        for scale, name in terms.SCALE_NAME.items():
            self.codes[scale] = {"text": name}
            self.scales[name] = scale
            if scale in terms.SCALE_LOINC.table:
                system, coded = terms.LOINC, terms.SCALE_LOINC.table[scale]
            elif scale in terms.SCALE_LOCAL:
                system, coded = binding.code_system("scale"), local.SCALE.table[terms.SCALE_LOCAL[scale]]
            else:
                continue
            self.codes[scale]["coding"] = [{"system": system, "code": coded.code, "display": coded.display}]
            self.scales[system, coded.code] = scale

    def write(self, record: Assessment) -> bytes:
        """The Observation of an assessment."""
        node = self.shared(record)
        node["category"] = [SURVEY]
        node["code"] = self.codes[record.scale] if isinstance(record.scale, str) else common.concept(record.scale)
        if record.instrument is not None:
            said = record.instrument
            node["extension"].append(
                common.parts(
                    self.url(extensions.INSTRUMENT),
                    url=("valueUri", said.url),
                    version=("valueString", said.version),
                    language=("valueCode", said.language),
                    recall=("valueString", said.recall),
                )
            )
        if record.administration_mode is not None:
            mode = MODES.get(record.administration_mode, record.administration_mode)
            node["extension"].append({"url": self.url(extensions.ADMINISTRATION_MODE), "valueCode": mode})
        if record.score is not None:
            node["valueQuantity"] = number(record.score, "{score}", record.comparator)
        elif record.answer is not None:
            node["valueCodeableConcept"] = common.concept(record.answer)
        elif record.absent_reason is not None:
            node["dataAbsentReason"] = ABSENT.write(record.absent_reason)
        band = [] if record.severity_band is None else [{"text": record.severity_band}]
        common.put(
            node,
            component=[self.component(item) for item in record.items],
            interpretation=[*band, *map(INTERPRETATION.write, record.interpretation)],
            method=None if record.method is None else common.concept(record.method),
            device=None if record.device is None else common.reference(record.device),
        )
        return self.finish(node)

    def component(self, item: Item) -> dict[str, Any]:
        """One item of a scale."""
        node: dict[str, Any] = {"code": {"text": item.item}}
        if item.code is not None:
            node["code"] = common.concept(item.code)
        elif item.item in terms.SCALE_ITEM.table:
            node["code"] = {"coding": [ITEM_CODES.coding(item.item)], "text": item.item}
        if item.value is not None:
            node["valueQuantity"] = number(item.value, "{score}")
        elif item.answer is not None:
            node["valueCodeableConcept"] = common.concept(item.answer)
        elif item.absent_reason is not None:
            node["dataAbsentReason"] = ABSENT.write(item.absent_reason)
        return node

    def read(self, data: bytes) -> Assessment:
        """The assessment of an Observation."""
        node = self.model.model_validate_json(data)
        found = common.by_url(node.extension)
        values = self.read_shared(node, found)
        code = node.code
        known = self.scales.get((code.coding[0].system, code.coding[0].code) if code.coding else code.text)
        values["scale"] = known or common.read_concept(code)
        if one := found.get(self.url(extensions.INSTRUMENT)):
            said = common.by_url(one.extension)
            values["instrument"] = {
                name: getattr(said[name], type_)
                for name, type_ in (
                    ("url", "valueUri"),
                    ("version", "valueString"),
                    ("language", "valueCode"),
                    ("recall", "valueString"),
                )
                if name in said
            }
        if one := found.get(self.url(extensions.ADMINISTRATION_MODE)):
            values["administration_mode"] = MODE_WORDS.get(one.valueCode, one.valueCode)
        if node.valueQuantity:
            values["score"] = node.valueQuantity.value
            if node.valueQuantity.comparator:
                values["comparator"] = node.valueQuantity.comparator
        if node.valueCodeableConcept:
            values["answer"] = common.read_concept(node.valueCodeableConcept)
        if node.dataAbsentReason:
            values["absent_reason"] = ABSENT.read(node.dataAbsentReason)
        if node.component:
            values["items"] = [self.read_component(one) for one in node.component]
        interpretation = []
        for one in node.interpretation or ():
            if one.coding:
                interpretation.append(INTERPRETATION.read(one))
            else:
                values["severity_band"] = one.text
        if interpretation:
            values["interpretation"] = interpretation
        if node.method:
            values["method"] = common.read_concept(node.method)
        if node.device:
            values["device"] = common.read_reference(node.device)
        return Assessment.model_validate(values)

    def read_component(self, component: Any) -> dict[str, Any]:
        """One item of a scale."""
        item: dict[str, Any] = {"item": component.code.text}
        if component.valueQuantity:
            item["value"] = component.valueQuantity.value
        if component.valueCodeableConcept:
            item["answer"] = common.read_concept(component.valueCodeableConcept)
        if component.dataAbsentReason:
            item["absent_reason"] = ABSENT.read(component.dataAbsentReason)
        return item
