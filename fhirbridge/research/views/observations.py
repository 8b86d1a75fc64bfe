"""The views of Observations: ``vitals``, ``assessments``, ``assessment_items``."""

from __future__ import annotations

from typing import Any

from fhirbridge.fhir.json import Tree
from fhirbridge.research.columns import OTHER
from fhirbridge.research.deidentify.references import DOMAIN
from fhirbridge.research.tables import assessments, vitals
from fhirbridge.research.tables.values import STANDARD
from fhirbridge.research.views.parts import (
    NOTHING_HERE,
    Select,
    coded,
    column,
    columns,
    quantities,
    says,
    union,
    when,
    words,
)
from fhirbridge.research.views.probes import Probes, extension

# No scale of the records has more.
MOST_ITEMS = 40
_MINUTES = {"min": "value", "s": "value / 60", "h": "value * 60", "d": "value * 1440"}
# Value in the standard unit, by unit; the standard units themselves need nothing.
_WAYS: dict[str, tuple[str, str]] = {
    "kPa": ("mm[Hg]", "value * 7.50061682704169751877"),
    "[degF]": ("Cel", "(value - 32) / 1.8"),
    "K": ("Cel", "value - 273.15"),
    "g": ("kg", "value / 1000"),
    "[lb_av]": ("kg", "value * 0.45359237"),
    "[in_i]": ("cm", "value * 2.54"),
    "m": ("cm", "value * 100"),
}


class Observations:
    """Makes the views of Observations out of what the mappings write."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        rich = probes.resource(
            "vital_sign",
            timepoint="baseline",
            offset_from_dose={"value": 1, "unit": "min"},
            replicate_number=1,
            derivation="measured",
            position="sitting",
        )
        self._url = {one["url"].rpartition("/")[2]: one["url"] for one in rich["extension"]}
        pressure = probes.resource(
            "vital_sign",
            sign="blood_pressure",
            absent_reason=None,
            readings=[
                {"name": "systolic", "value": 20, "unit": "kPa"},
                {"name": "diastolic", "value": 10, "unit": "kPa"},
                {"name": "mean", "value": 13, "unit": "kPa"},
            ],
        )
        self._components = {
            name: one["code"]
            for name, one in zip(("systolic", "diastolic", "mean"), pressure["component"], strict=True)
        }
        self._original = pressure["component"][0]["extension"][0]["url"]

    def vitals(self) -> Select:
        """The view of the table ``vitals``."""
        shape = vitals.SHAPE
        probes = self._probes
        signs = shape.column("sign").vocabulary or ()
        # What these signs cannot be without, whatever happens.
        needed: dict[str, dict[str, Any]] = {
            "bmi": {"absent_reason": None, "readings": [{"name": "value", "value": 20, "unit": "kg/m2"}]},
            "blood_pressure": {
                "absent_reason": None,
                "readings": [{"name": name, "absent_reason": "not_performed"} for name in ("systolic", "diastolic")],
            },
        }
        sign = probes.conditions(
            signs,
            lambda word: probes.resource("vital_sign", sign=word, **needed.get(word, {})),
            lambda one: coded("code", one["code"]),
        )
        oxygen: dict[str, Any] = {"sign": "oxygen_saturation"}
        delivery = probes.conditions(
            shape.column("oxygen_delivery").vocabulary or (),
            lambda word: probes.resource("vital_sign", **oxygen, oxygen={"delivery": word}),
            lambda one: coded(
                _extended(extension(one, "o2-delivery")["url"], "CodeableConcept"),
                extension(one, "o2-delivery")["valueCodeableConcept"],
            ),
        )
        breathed = probes.resource("vital_sign", **oxygen, oxygen={
            "delivery": "room_air", "flow": {"value": 2, "unit": "L/min"}, "fio2": {"value": 28, "unit": "%"},
        })  # fmt: skip
        flow = _extended(extension(breathed, "o2-flow")["url"], "Quantity")
        fio2 = f"component.where({coded('code', breathed['component'][0]['code'])}).value.ofType(Quantity)"
        position = self._term("position", vitals.SHAPE.column("position").vocabulary or (), "observation-bodyPosition")
        return {
            "select": [
                self._head("vital", "vital-sign"),
                words("sign", sign, always=True),
                self._readings(),
                *self._shared(),
                columns(
                    column("replicate_number", f"{_extended(self._url['replicate-number'], 'positiveInt')}", "integer")
                ),
                position,
                self._derivation("derivation"),
                words(
                    "oxygen_delivery",
                    delivery,
                    other=f"{_extended(extension(breathed, 'o2-delivery')['url'], 'CodeableConcept')}.exists()",
                ),
                union(*quantities(flow, _one("oxygen_flow"), {"L/min": "value", "mL/min": "value / 1000"})),
                union(*quantities(fio2, _one("fio2"), {"%": "value", "1": "value * 100"})),
            ]
        }

    def assessments(self) -> Select:
        """The view of the table ``assessments``."""
        shape = assessments.SHAPE
        asked = self._probes.resource("assessment", administration_mode="self_administered")
        mode = _extended(extension(asked, "administration-mode")["url"], "code")
        modes = {word: says(mode, word.replace("_", "-")) for word in shape.column("mode").vocabulary or ()}
        return {
            "select": [
                self._head("assessment", "scale"),
                self._scale(),
                columns(
                    column("score", "value.ofType(Quantity).value", "decimal"),
                    column("comparator", "value.ofType(Quantity).comparator", "code"),
                ),
                self._absent(),
                *self._shared(),
                words("mode", modes),
            ]
        }

    def items(self) -> Select:
        """The view of the table ``assessment_items``: the first of them, as many as any scale has."""
        return {
            "select": [
                self._head("assessment", "scale", session=False),
                self._scale(),
                union(*(self._item(f"component[{place}]") for place in range(MOST_ITEMS))),
            ]
        }

    def _item(self, at: str) -> Select:
        # De-identified items have no codes of others, so their id stands in words.
        answer = f"{at}.value.ofType(CodeableConcept).coding.where(code.exists()).first().code"
        return {
            "forEach": f"where({at}.code.text.exists())",
            "select": [
                columns(
                    column("item", f"{at}.code.text", "code"),
                    column("value", f"{at}.value.ofType(Quantity).value", "decimal"),
                    column("answer", answer, "code"),
                ),
                self._absent(f"{at}."),
            ],
        }

    def _head(self, own: str, name: str, *, session: bool = True) -> Select:
        found = [
            column("patient", "subject.getReferenceKey(Patient)", "id"),
            column(own, f"identifier.where(system = '{_sid(name)}').value.first()"),
        ]
        if session:
            found.append(column("session", "partOf.where(type = 'Procedure').identifier.value.first()"))
        return columns(*found)

    def _shared(self) -> list[Select]:
        offset = _extended(self._url["offset-from-dose"], "Duration")
        return [
            columns(
                column("status", "status", "code"), column("measured_at", "effective.ofType(dateTime)", "dateTime")
            ),
            self._term("timepoint", vitals.SHAPE.column("timepoint").vocabulary or (), "nominal-timepoint"),
            union(*quantities(offset, _one("planned_minute"), _MINUTES)),
            self._interpretation(),
        ]

    def _term(self, field: str, vocabulary: tuple[str, ...], name: str) -> Select:
        conditions = self._probes.conditions(
            [word for word in vocabulary if word != OTHER],
            lambda word: self._probes.resource("vital_sign", **{field: word}),
            lambda one: coded(
                _extended(extension(one, name)["url"], "CodeableConcept"), extension(one, name)["valueCodeableConcept"]
            ),
        )
        return words(field, conditions, other=f"{_extended(self._url[name], 'CodeableConcept')}.exists()")

    def _interpretation(self) -> Select:
        found = self._probes.conditions(
            [word for word in vitals.SHAPE.column("interpretation").vocabulary or () if word != OTHER],
            lambda word: self._probes.resource("vital_sign", interpretation=[word]),
            lambda one: coded("interpretation.first()", one["interpretation"][0]),
        )
        # Words without a code are a band in words, and no interpretation.
        return words("interpretation", found, other="interpretation.first().coding.exists()")

    def _absent(self, prefix: str = "") -> Select:
        path = f"{prefix}dataAbsentReason"
        found = self._probes.conditions(
            [word for word in vitals.SHAPE.column("absent_reason").vocabulary or () if word != OTHER],
            lambda word: self._probes.resource("vital_sign", absent_reason=word),
            lambda one: coded(path, one["dataAbsentReason"]),
        )
        return words("absent_reason", found, other=f"{path}.exists()")

    def _derivation(self, name: str, prefix: str = "") -> Select:
        path = prefix + _extended(self._url["derivation"], "code")
        found = {word: says(path, word.replace("_", "-")) for word in vitals.SHAPE.column(name).vocabulary or ()}
        return words(name, found)

    def _readings(self) -> Select:
        """One branch for each number of a blood pressure, one for everything else."""
        pressure = " or ".join(f"({coded('code', code)})" for code in self._components.values())
        finding = "value.ofType(CodeableConcept).coding.where(code.exists()).first().code"
        return union(
            *(
                {
                    "forEach": f"where({_component(code)}.exists())",
                    "select": [
                        columns(column("name", f"'{name}'", "code"), column("finding", NOTHING_HERE, "code")),
                        self._values(f"{_component(code)}."),
                        self._absent(f"{_component(code)}."),
                        self._derivation("reading_derivation", f"{_component(code)}."),
                    ],
                }
                for name, code in self._components.items()
            ),
            {
                "forEach": f"where(component.where({pressure}).exists().not())",
                "select": [
                    columns(
                        column("name", "'value'", "code"),
                        column("finding", finding, "code"),
                    ),
                    self._values(""),
                    self._absent(),
                    columns(column("reading_derivation", NOTHING_HERE, "code")),
                ],
            },
        )

    def _values(self, prefix: str) -> Select:
        """The number as recorded, which stands in an extension where it was converted."""
        recorded = prefix + _extended(self._original, "Quantity")
        written = f"{prefix}value.ofType(Quantity)"
        return union(
            *_quantity(recorded),
            *_quantity(f"where({recorded}.exists().not()).{written}"),
            when(f"(({recorded}.exists()) or ({written}.exists())).not()", *_value("", "", "")),
        )

    def _scale(self) -> Select:
        found = self._probes.conditions(
            [word for word in assessments.SHAPE.column("scale").vocabulary or () if word != OTHER],
            lambda word: self._probes.resource("assessment", scale=word),
            lambda one: coded("code", one["code"]),
        )
        survey = self._probes.resource("assessment")["category"][0]
        return words("scale", found, other=coded("category", survey), always=True)


def _component(code: Tree) -> str:
    return f"component.where({coded('code', code)})"


def _quantity(path: str) -> list[Select]:
    standard = sorted(set(STANDARD.values()))
    same = " or ".join(f"code = '{unit}'" for unit in standard)
    return [
        {"forEach": f"{path}.where({same})", "column": _value("value", "value", "code")},
        *(
            {"forEach": f"{path}.where(code = '{unit}')", "column": _value("value", way, f"'{wanted}'")}
            for unit, (wanted, way) in _WAYS.items()
        ),
    ]


def _value(value: str, standard: str, unit: str) -> list[Select]:
    return [
        column("value", value or NOTHING_HERE, "decimal"),
        column("unit", "code" if value else NOTHING_HERE, "code"),
        column("standard_value", standard or NOTHING_HERE, "decimal"),
        column("standard_unit", unit or NOTHING_HERE, "code"),
        column("comparator", "comparator" if value else NOTHING_HERE, "code"),
    ]


def _one(name: str) -> Any:
    return lambda unit, expression: [column(name, expression, "decimal")]


def _extended(url: str, type_: str) -> str:
    return f"extension('{url}').value.ofType({type_})"


def _sid(name: str) -> str:
    return f"https://{DOMAIN}/sid/{name}"
