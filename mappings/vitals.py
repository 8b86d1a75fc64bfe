"""Vital signs ⇄ Observation (specification §3.2)."""

from __future__ import annotations

import decimal
from collections.abc import Iterable

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Elements, Extensions, Rules, by_url
from fhirbridge.codec.extension import Simple
from fhirbridge.codec.leaf import (
    Table,
    Term,
    a_list,
    an_object,
    at,
    concept,
    concept_node,
    keys_of,
    quantity,
    quantity_node,
)
from fhirbridge.errors import Fault, Refused
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import BoundMapping, Kind, Part
from fhirbridge.records import Amount, Decimal, Measurement, VitalSign
from fhirbridge.records.vitals import BP_PARTS, FINDINGS, Oxygen
from mappings import extensions, local, published, terms
from mappings.common import Meta, term
from mappings.observation import ABSENT_REASON, Category, Code, shared_rules

_QUANTITY = ("value", "code", "system", "comparator")
# Units outside the profiles' lists are converted, and the value as recorded rides along (specification §3.2).
# unit as recorded: (unit written, factor, offset, digits kept after the point)
CONVERSIONS: dict[str, tuple[str, str, str, str]] = {
    "kPa": ("mm[Hg]", "7.50061682704169751877", "0", "0.1"),
    "K": ("Cel", "1", "-273.15", "0.01"),
    "m": ("cm", "100", "0", "0.01"),
    "mL/min": ("L/min", "0.001", "0", "0.000001"),
    "1": ("%", "100", "0", "0.0001"),
}


def converted(value: Decimal, unit: str) -> tuple[Decimal, str]:
    """A value in the unit that the profiles allow; the same value where it is in one already."""
    if unit not in CONVERSIONS:
        return value, unit
    target, factor, offset, digits = CONVERSIONS[unit]
    exact = value.as_decimal() * decimal.Decimal(factor) + decimal.Decimal(offset)
    return Decimal(f"{exact.quantize(decimal.Decimal(digits)).normalize():f}"), target


class Number:
    """One number with its unit ⇄ ``valueQuantity``, with the value as recorded in an extension where it was
    converted.
    """

    carries = tuple(f"valueQuantity.{name}" for name in _QUANTITY)

    def __init__(self, binding: Binding) -> None:
        self.url = extensions.ORIGINAL_QUANTITY.written_url(binding)
        self.extension_carries = tuple(f"extension({self.url}).valueQuantity.{name}" for name in _QUANTITY)

    def write(self, value: Decimal, unit: str, comparator: str | None, node: Tree, found: list[Tree]) -> None:
        """Write the number into ``node`` and, where it was converted, the original into ``found``."""
        written, target = converted(value, unit)
        node["valueQuantity"] = quantity_node(written, target, comparator)
        if target != unit:
            found.append({"url": self.url, "valueQuantity": quantity_node(value, unit)})

    def read(self, node: Tree, found: Extensions) -> Tree:
        """The number as recorded: ``value``, ``unit`` and perhaps ``comparator``."""
        number: Tree = at("valueQuantity", quantity.decode, node["valueQuantity"])
        for position, item in found.get(self.url, ()):
            original = at(f"extension[{position}].valueQuantity", quantity.decode, item.get("valueQuantity"))
            number |= {"value": original["value"], "unit": original["unit"]}
        return number


class Numbers:
    """What was measured: ``value[x]``, ``component`` and ``dataAbsentReason``.

    A blood pressure has components and no value of its own; a finding is a ``valueCodeableConcept``; everything else a
    ``valueQuantity``. Inspired oxygen is a component of the saturation; its flow is not, for ``L/min`` is no unit of a
    vital sign (trap T8), unless a US server wants it there.
    """

    name = "value"
    fields = ("readings", "finding", "absent_reason")

    def __init__(self, binding: Binding) -> None:
        self._number = Number(binding)
        self._derivation = Simple(binding, extensions.DERIVATION, "derivation", Table(local.DERIVATION.codes()))
        self._codes = {
            name: concept_node([(terms.LOINC, *terms.VITAL.table[name])]) for name in (*BP_PARTS, "fio2", "o2_flow")
        }
        self._names = {terms.VITAL.key(name): name for name in self._codes}
        self._flow_component = binding.overlay.us_core_o2_flow_component and not binding.release.is_r5
        number = self._number
        self.triggers = ("valueQuantity", "valueCodeableConcept", "dataAbsentReason", "component")
        self.carries = (
            *number.carries,
            *number.extension_carries,
            *(f"valueCodeableConcept.{path}" for path in concept.carries),
            *(f"component.{path}" for path in (*number.carries, *number.extension_carries, *self._derivation.carries)),
        )

    def write(self, record: VitalSign, node: Tree, extensions: list[Tree]) -> None:
        fields = record.__dict__
        components = []
        if (absent := fields["absent_reason"]) is not None:
            node["dataAbsentReason"] = ABSENT_REASON.encode(absent)
        elif (finding := fields["finding"]) is not None:
            node["valueCodeableConcept"] = concept.encode(finding)
        elif fields["sign"] == "blood_pressure":
            components = [self._component(reading) for reading in fields["readings"]]
        else:
            reading = fields["readings"][0].__dict__
            self._number.write(reading["value"], reading["unit"], reading["comparator"], node, extensions)
        if (oxygen := fields["oxygen"]) is not None:
            components += self._oxygen_components(oxygen)
        if components:
            node["component"] = components

    def _component(self, reading: Measurement) -> Tree:
        fields = reading.__dict__
        node: Tree = {"code": self._codes[fields["name"]]}
        found: list[Tree] = []
        self._derivation.write(reading, node, found)
        if (value := fields["value"]) is not None:
            self._number.write(value, fields["unit"], fields["comparator"], node, found)
        else:
            node["dataAbsentReason"] = ABSENT_REASON.encode(reading.absent_reason)  # type: ignore[arg-type]
        if found:
            node["extension"] = found
        return node

    def _oxygen_components(self, oxygen: Oxygen) -> Iterable[Tree]:
        amounts: list[tuple[str, Amount | None]] = [("fio2", oxygen.fio2)]
        if self._flow_component:
            amounts.insert(0, ("o2_flow", oxygen.flow))
        for name, amount in amounts:
            if amount is not None:
                node: Tree = {"code": self._codes[name]}
                found: list[Tree] = []
                self._number.write(amount.value, amount.unit, amount.comparator, node, found)
                yield node | {"extension": found} if found else node

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        sign = values.get("sign")
        if "dataAbsentReason" in node:
            values["absent_reason"] = at("dataAbsentReason", ABSENT_REASON.decode, node["dataAbsentReason"])
        if "valueCodeableConcept" in node:
            values["finding"] = at("valueCodeableConcept", concept.decode, node["valueCodeableConcept"])
        if "valueQuantity" in node:
            if sign in FINDINGS or sign == "blood_pressure":
                raise Refused.at("resource.value", "valueQuantity", "this observation has no number of its own")
            values["readings"] = [{"name": "value"} | self._number.read(node, extensions)]
        if "component" in node:
            self._read_components(node, values)

    def _read_components(self, node: Tree, values: Tree) -> None:
        readings: dict[str, Tree] = {}
        faults: list[Fault] = []
        for position, component in enumerate(at("component", a_list, node["component"])):
            names = {self._names[key] for key in keys_of(an_object(component).get("code")) if key in self._names}
            where = f"component[{position}]"
            if len(names) > 1 or names & readings.keys():
                faults.append(Fault("resource.contradiction", where, "the same number stands twice, or two in one"))
            for name in names:
                try:
                    readings[name] = self._read_component(component)
                except Refused as refused:
                    faults += refused.under(where)
        if faults:
            raise Refused(faults)
        if "fio2" in readings:
            fio2 = readings.pop("fio2")
            values.setdefault("oxygen", {})["fio2"] = fio2
        readings.pop("o2_flow", None)
        if readings:
            values["readings"] = [{"name": name} | readings[name] for name in BP_PARTS if name in readings]

    def _read_component(self, component: Tree) -> Tree:
        found = by_url(component)
        reading: Tree = {}
        if "valueQuantity" in component:
            reading = self._number.read(component, found)
        if "dataAbsentReason" in component:
            reading["absent_reason"] = at("dataAbsentReason", ABSENT_REASON.decode, component["dataAbsentReason"])
        self._derivation.read(component, found, reading)
        return reading


class OxygenExtensions:
    """Delivery and flow of oxygen ⇄ extensions on the saturation, which alone must carry the record (decision D2)."""

    fields = only_with = ("oxygen",)

    def __init__(self, binding: Binding) -> None:
        delivery = Term(local.O2_DELIVERY.concepts(binding), or_concept=True)
        self._rules = (
            Simple(binding, extensions.O2_DELIVERY, "delivery", delivery),
            Simple(binding, extensions.O2_FLOW, "flow"),
        )
        self.carries = tuple(path for rule in self._rules for path in rule.carries)
        self.triggers = tuple(url for rule in self._rules for url in rule.triggers)

    def write(self, record: VitalSign, node: Tree, extensions: list[Tree]) -> None:
        if record.oxygen is not None:
            for rule in self._rules:
                rule.write(record.oxygen, node, extensions)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        oxygen: Tree = {}
        for rule in self._rules:
            rule.read(node, extensions, oxygen)
        if oxygen:
            values["oxygen"] = oxygen | values.get("oxygen", {})


def _codes() -> dict[str, Tree]:
    nodes = {}
    for sign in terms.VITAL.table:
        if sign in ("systolic", "diastolic", "mean", "pulse_oximetry", "fio2", "o2_flow"):
            continue
        names = ("oxygen_saturation", "pulse_oximetry") if sign == "oxygen_saturation" else (sign,)
        nodes[sign] = concept_node([(terms.LOINC, *terms.VITAL.table[name]) for name in names], terms.label(sign))
    return nodes


VITAL_SIGNS = concept_node([(terms.OBSERVATION_CATEGORY.system, *terms.OBSERVATION_CATEGORY.table["vital_signs"])])
EXAM = concept_node([(terms.OBSERVATION_CATEGORY.system, *terms.OBSERVATION_CATEGORY.table["exam"])])
PROCEDURE = concept_node([(terms.OBSERVATION_CATEGORY.system, *terms.OBSERVATION_CATEGORY.table["procedure"])])
CODES = _codes()
_KEYS = frozenset(key for node in CODES.values() for key in keys_of(node))


# The category of a sign: vital-signs where there is a profile, and for exhaled carbon dioxide; else exam.
CATEGORIES = {sign: VITAL_SIGNS if sign in terms.VITAL_PROFILE or sign.startswith("etco2") else EXAM for sign in CODES}
_PROFILES = {sign: (f"{terms.PROFILE}/{name}",) for sign, name in terms.VITAL_PROFILE.items()}


def profiles(record: VitalSign, resource: Tree) -> tuple[str, ...]:
    """The base profile of the sign: what a record must hold for it is checked by the record itself (T8, D4)."""
    return _PROFILES.get(record.sign, ())


class OxygenFlow:
    """The projection ``o2-flow``: the flow as an Observation of its own (trap T8)."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._meta = Meta(binding)
        self._code = concept_node([(terms.LOINC, *terms.VITAL.table["o2_flow"])], "oxygen flow")
        self._system = binding.sid("vital-sign")

    def __call__(self, record: VitalSign, resource: Tree) -> Iterable[Part]:
        if record.oxygen is None or record.oxygen.flow is None:
            return
        flow = record.oxygen.flow
        key = f"{record.id}-o2flow"
        node: Tree = {
            "resourceType": "Observation",
            "id": self._binding.resource_id("vital_sign", record.id, "o2-flow"),
            "meta": self._meta.of(record, key, "o2-flow"),
            "identifier": [{"system": self._system, "value": key}],
            "status": resource["status"],
            "category": [PROCEDURE],
            "code": self._code,
            "subject": resource["subject"],
            "effectiveDateTime": resource["effectiveDateTime"],
        }
        for name in ("partOf", "encounter", "issued", "performer"):
            if name in resource:
                node[name] = resource[name]
        value, unit = converted(flow.value, flow.unit)
        node["valueQuantity"] = quantity_node(value, unit, flow.comparator)
        yield Part("o2-flow", "Observation", node["id"], node)


def bind(kind: Kind, binding: Binding) -> BoundMapping:
    """The mapping of vital signs for one site; nothing differs between the releases but trap T8's flow component."""
    rules = Rules(
        *shared_rules(binding, "vital-sign", Code("sign", CODES), Category("sign", CATEGORIES.__getitem__)),
        Simple(binding, published.BODY_POSITION, "position", term(terms.POSITION)),
        Simple(binding, extensions.CUFF_SIZE, "cuff_size"),
        Elements("interpretation", "interpretation", term(terms.INTERPRETATION)),
        Numbers(binding),
        OxygenExtensions(binding),
    )
    return BoundMapping(kind, binding, rules, profiles=profiles, projections=OxygenFlow(binding))


def claims(resource: Tree) -> bool:
    """Whether an Observation is a vital sign: one of its codes says so."""
    return any(key in _KEYS for key in keys_of(resource.get("code")))


KIND = Kind("vital_sign", VitalSign, "Observation", bind, claims)
