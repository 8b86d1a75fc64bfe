"""The views of Procedures: ``sessions`` and ``administrations``."""

from __future__ import annotations

from typing import Any

from fhirbridge.fhir.json import Tree
from fhirbridge.research.columns import OTHER, Column
from fhirbridge.research.deidentify.references import DOMAIN
from fhirbridge.research.tables import sessions
from fhirbridge.research.views.parts import Select, coded, column, columns, quantities, says, union, when, words
from fhirbridge.research.views.probes import Probes, extension

_CLASSES = tuple(one.name.removeprefix("takes_") for one in sessions.SHAPE.columns if one.name.startswith("takes_"))
# A rate that was changed more often is beyond a view; the table has it.
MOST_GIVEN = 12
_MINUTES = {"min": "value", "s": "value / 60", "h": "value * 60", "d": "value * 1440"}


class Sessions:
    """Makes the views of Procedures out of what the mappings write."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        rich = probes.resource(
            "session",
            session_number=1,
            series={"phase": "induction", "planned_sessions": 6},
            discharge={"ready": True},
            rems={"enrolled": True},
            concomitant_medications=[{"medication_class": "maoi", "taking": True}],
            vitals_acceptable={"pre_administration": True},
            kap={"phase": "dosing"},
        )
        self._url = {one["url"].rpartition("/")[2]: one["url"] for one in rich["extension"]}

    def sessions(self) -> Select:
        """The view of the table ``sessions``."""
        shape, probes = sessions.SHAPE, self._probes
        modality = probes.conditions(
            [word for word in shape.column("modality").vocabulary or () if word != OTHER],
            lambda word: probes.resource("session", modality=word),
            lambda one: coded("code", {"coding": one["code"]["coding"][-1:]}),
        )
        status = probes.conditions(
            shape.column("status").vocabulary or (), lambda word: probes.resource("session", status=word), self._status
        )
        phase = self._part("treatment-series", "phase", "CodeableConcept")
        outcome = self._words(
            shape.column("outcome"), lambda word: {"outcome": word}, lambda one: one["outcome"], "outcome"
        )
        indication = self._words(
            shape.column("indication"),
            lambda word: {"indications": [word]},
            lambda one: one["reasonCode"][0],
            "reasonCode.first()",
        )
        return {
            "select": [
                columns(
                    column("patient", "subject.getReferenceKey(Patient)", "id"),
                    column("session", _own()),
                    column("session_number", self._simple("session-number", "positiveInt"), "integer"),
                    column(
                        "planned_sessions", self._part("treatment-series", "plannedSessions", "positiveInt"), "integer"
                    ),
                    column("ready_to_leave", self._part("discharge-readiness", "ready", "boolean"), "boolean"),
                    column("escort_present", self._part("discharge-readiness", "escortPresent", "boolean"), "boolean"),
                    column("rems_enrolled", self._part("rems-session", "enrolled", "boolean"), "boolean"),
                    column("rems_first_treatment", self._part("rems-session", "firstTreatment", "boolean"), "boolean"),
                    column(
                        "vitals_acceptable_before",
                        self._part("vitals-acceptable", "preAdministration", "boolean"),
                        "boolean",
                    ),
                    column(
                        "vitals_acceptable_after",
                        self._part("vitals-acceptable", "preCompletion", "boolean"),
                        "boolean",
                    ),
                    column("kap_phase", self._part("kap-detail", "phase", "code"), "code"),
                ),
                union(
                    when(f"{_PERIOD}.exists()", column("started_at", f"{_PERIOD}.start", "dateTime")),
                    when(f"{_PERIOD}.exists().not()", column("started_at", "performed.ofType(dateTime)", "dateTime")),
                ),
                *(self._taking(name) for name in _CLASSES),
                words("modality", modality, other="code.exists()", always=True),
                words("status", status),
                self._words(
                    shape.column("phase"),
                    lambda word: {"series": {"phase": word}},
                    lambda one: extension(one, "treatment-series")["extension"][0]["valueCodeableConcept"],
                    phase,
                ),
                indication,
                outcome,
                union(
                    *quantities(
                        self._part("discharge-readiness", "minutesToReady", "Duration"),
                        lambda unit, expression: [column("minutes_to_ready", expression, "decimal")],
                        _MINUTES,
                    )
                ),
            ]
        }

    def administrations(self) -> Select:
        """The view of the table ``administrations``."""
        head = columns(column("patient", "subject.getReferenceKey(Patient)", "id"), column("session", _own()))
        url = self._url["ketamine-administration"]
        every = f"extension.where(url = '{url}')"
        given = (self._administration(f"{every}[{place}]", place + 1) for place in range(MOST_GIVEN))
        return {"select": [head, union(*given)]}

    def _administration(self, at: str, number: int) -> Select:
        shape, status = sessions.ADMINISTRATIONS, _part(at, "status", "code")
        return {
            "forEach": f"where({at}.exists() and ({says(status, 'entered-in-error')}).not())",
            "select": [
                columns(
                    column("number", str(number), "integer"),
                    column("dosing_weight_kind", _part(at, "dosingWeightKind", "code"), "code"),
                    column("rate", f"{_part(at, 'rate', 'Quantity')}.value", "decimal"),
                    column("rate_unit", f"{_part(at, 'rate', 'Quantity')}.code", "code"),
                    column("started_at", f"{_part(at, 'period', 'Period')}.start", "dateTime"),
                    column("device_count", _part(at, "deviceCount", "positiveInt"), "integer"),
                    column("self_administered", _part(at, "selfAdministered", "boolean"), "boolean"),
                    *(
                        column(name, f"{_part(at, part, 'Quantity')}.where(code = '{unit}').value", "decimal")
                        for name, part, unit in (
                            ("dose_per_weight", "dosePerWeight", "mg/kg"),
                            ("concentration", "concentration", "mg/mL"),
                            ("volume", "volume", "mL"),
                        )
                    ),
                ),
                self._given(shape.column("medication"), at, "medication"),
                self._given(shape.column("route"), at, "route"),
                _scaled("dose", _part(at, "dose", "Quantity"), {"mg": "value", "ug": "value / 1000"}),
                _scaled(
                    "dosing_weight",
                    _part(at, "dosingWeight", "Quantity"),
                    {"kg": "value", "g": "value / 1000", "[lb_av]": _POUNDS},
                ),
                words(
                    "status",
                    {word: says(status, word.replace("_", "-")) for word in shape.column("status").vocabulary or ()},
                ),
            ],
        }

    def _given(self, declared: Column, at: str, part: str) -> Select:
        path = _part(at, part, "CodeableConcept")

        def write(word: str) -> Tree:
            return self._probes.resource("session", administrations=[{"medication": "ketamine", part: word}])

        def condition(resource: Tree) -> str:
            parts = extension(resource, "ketamine-administration")["extension"]
            (concept,) = (one["valueCodeableConcept"] for one in parts if one["url"] == part)
            return coded(path, concept)

        found = self._probes.conditions([one for one in declared.vocabulary or () if one != OTHER], write, condition)
        return words(declared.name, found, other=f"{path}.exists()")

    def _status(self, resource: Tree) -> str:
        """The condition for the status of a session: some are told by an extension more finely than by FHIR's."""
        planned = extension(self._probes.resource("session", status="planned"), "internal-status")["url"]
        try:
            finer = extension(resource, "internal-status")
        except KeyError:
            return f"status = '{resource['status']}' and extension('{planned}').exists().not()"
        return says(f"extension('{planned}').value.ofType(code)", finer["valueCode"])

    def _words(self, declared: Column, fields: Any, concept: Any, path: str) -> Select:
        found = self._probes.conditions(
            [word for word in declared.vocabulary or () if word != OTHER],
            lambda word: self._probes.resource("session", **fields(word)),
            lambda one: coded(path, concept(one)),
        )
        return words(declared.name, found, other=f"{path}.exists()")

    def _simple(self, name: str, type_: str) -> str:
        return f"extension('{self._url[name]}').value.ofType({type_})"

    def _part(self, name: str, part: str, type_: str) -> str:
        return f"extension('{self._url[name]}').extension('{part}').value.ofType({type_})"

    def _taking(self, name: str) -> Select:
        probe = self._probes.resource("session", concomitant_medications=[{"medication_class": name, "taking": True}])
        flag = extension(probe, "concomitant-medication-flag")
        (class_,) = (one for one in flag["extension"] if one["url"] == "class")
        places = [f"extension.where(url = '{flag['url']}')[{place}]" for place in range(len(_CLASSES) + 1)]
        meant = {at: coded(_part(at, "class", "CodeableConcept"), class_["valueCodeableConcept"]) for at in places}
        known = " or ".join(f"({condition})" for condition in meant.values())
        return union(
            *(
                when(condition, column(f"takes_{name}", _part(at, "taking", "boolean"), "boolean"))
                for at, condition in meant.items()
            ),
            when(f"({known}).not()", column(f"takes_{name}", "'none'.where(false)", "boolean")),
        )


_PERIOD = "performed.ofType(Period)"
_POUNDS = "value * 0.45359237"


def _part(at: str, name: str, type_: str) -> str:
    """A part of an extension."""
    return f"{at}.extension('{name}').value.ofType({type_})"


def _scaled(name: str, path: str, factors: dict[str, str]) -> Select:
    def made(unit: str, expression: str) -> list[Select]:
        return [column(name, expression, "decimal")]

    return union(*quantities(path, made, factors))


def _own() -> str:
    return f"identifier.where(system = 'https://{DOMAIN}/sid/treatment-session').value.first()"
