"""Vital signs around a session (specification §3.2)."""

from __future__ import annotations

from typing import Any

from fhirbridge.fhir.json import Tree
from fhirbridge.synth.chance import Chance
from fhirbridge.synth.course import Course
from fhirbridge.synth.exact import amount, fixed
from fhirbridge.synth.people import NOTE_AUTHORS
from fhirbridge.synth.plan import Plan, Visit
from fhirbridge.synth.sessions import PRE_DISCHARGE

# Planned time, minutes after the dose, what is measured then.
SCHEDULES: dict[str, tuple[tuple[str, int, tuple[str, ...]], ...]] = {
    "full": (
        ("baseline", -30, ("blood_pressure", "heart_rate", "oxygen_saturation", "temperature")),
        ("pre_dose", -5, ("blood_pressure", "heart_rate", "respiratory_rate", "oxygen_saturation")),
        ("post_15min", 15, ("blood_pressure", "heart_rate", "oxygen_saturation")),
        ("post_30min", 30, ("blood_pressure", "heart_rate", "oxygen_saturation")),
        ("post_40min", 40, ("blood_pressure", "heart_rate", "respiratory_rate", "oxygen_saturation")),
        ("post_60min", 60, ("blood_pressure", "heart_rate", "oxygen_saturation")),
        ("post_90min", 90, ("blood_pressure", "heart_rate")),
        ("post_120min", 120, ("blood_pressure", "heart_rate", "respiratory_rate", "oxygen_saturation")),
        ("pre_discharge", PRE_DISCHARGE, ("blood_pressure", "heart_rate", "oxygen_saturation")),
    ),
    "rems": (
        ("pre_dose", -5, ("blood_pressure", "heart_rate", "respiratory_rate", "oxygen_saturation", "temperature")),
        ("post_40min", 40, ("blood_pressure", "heart_rate", "oxygen_saturation")),
        ("pre_discharge", PRE_DISCHARGE, ("blood_pressure", "heart_rate", "oxygen_saturation")),
    ),
}
OFFSETS = {minute: amount(minute, "min") for minute in range(-60, 181)}
HIGH_SYSTOLIC, CRITICAL_SYSTOLIC = 160, 180
_LOW_SATURATION = 92
_MISSING = 0.006
_ABSENT = ("not_performed", "error", "asked_declined", "temp_unknown")
_NOTES = ("Patient moved.", "Cuff re-applied — value plausible.", "Cold fingers; sensor changed.")
_ROOM_AIR = {"delivery": "room_air"}
_ADULT_CUFF, _LARGE_CUFF = {"text": "adult"}, {"text": "large adult"}
_LARGE_CUFF_TENTHS = 1000
_KILOGRAMS_PER_POUND = 0.45359237
_CENTIMETRES_PER_INCH = 2.54


class Bedside:
    """One session's monitor: writes the vital signs of a visit that took place."""

    __slots__ = ("_chance", "_course", "_extras", "_head", "_link", "_nurse", "_oxygen", "_plan", "_visit")

    def __init__(self, chance: Chance, plan: Plan, visit: Visit, course: Course) -> None:
        self._chance = chance
        self._plan = plan
        self._visit = visit
        self._course = course
        self._nurse = [plan.directory.staff(visit.nurse)]
        self._link = plan.directory.ref("Procedure", "treatment-session", visit.session)
        self._head: Tree = {
            "kind": "vital_sign",
            "id": "",
            "revision": 1,
            "patient": plan.patient,
            "encounter": plan.directory.ref("Encounter", "encounter", visit.encounter),
        }
        if chance.happens(0.3):
            self._head["source"] = f"https://{plan.directory.domain}/monitor-{visit.site}"
        # A few patients are given oxygen once they are drowsy.
        self._oxygen = chance.happens(0.08)
        self._extras: Tree = {"position": "supine" if plan.modality == "iv_infusion" else "sitting"}
        if visit.site == "main":
            self._extras["body_site"] = {"text": chance.pick(("left arm", "right arm"))}
            self._extras["cuff_size"] = _LARGE_CUFF if plan.weight_tenths >= _LARGE_CUFF_TENTHS else _ADULT_CUFF
        if chance.happens(0.2):
            self._extras["device"] = plan.directory.ref("Device", "device", f"BP-{chance.between(1, 9)}")

    def at(self, timepoint: str, minute: int, signs: tuple[str, ...]) -> list[Tree]:
        """What was measured at one planned time."""
        records = [self._measure(sign, timepoint, minute) for sign in signs]
        if minute == 40 and self._plan.modality == "iv_infusion" and self._chance.happens(0.1):
            records.append(self._capnography())
            records.append(self._rhythm())
        if minute == 40 and self._course.systolic_40 >= HIGH_SYSTOLIC:
            records.append(self._repeat())
        return records

    def _record(self, timepoint: str, minute: int, replicate: int = 0) -> Tree:
        chance = self._chance
        clock = self._visit.dose_minute + minute
        at, second = self._visit.day.at, chance.below(60)
        tree = self._head.copy()
        tree["id"] = chance.identifier()
        if chance.random() < 0.01:
            tree["notes"] = [{"text": chance.pick(_NOTES), "author_name": chance.pick(NOTE_AUTHORS)}]
        tree["status"] = "final"
        tree["measured_at"] = at(clock, second)
        tree["recorded_at"] = at(clock + 1, second)
        tree["session"] = self._link
        tree["timepoint"] = timepoint
        tree["offset_from_dose"] = OFFSETS[minute]
        if replicate:
            tree["replicate_number"] = replicate
        tree["performers"] = self._nurse
        tree["derivation"] = "measured"
        return tree

    def _measure(self, sign: str, timepoint: str, minute: int) -> Tree:
        tree = self._record(timepoint, minute)
        if self._chance.random() < _MISSING:
            return self._absent(tree, sign)
        if sign == "blood_pressure":
            return self._pressure(tree, minute)
        if sign == "oxygen_saturation":
            return self._saturation(tree, minute)
        tree["sign"] = sign
        tree["readings"] = [self._simple(sign, minute)]
        return tree

    def _absent(self, tree: Tree, sign: str) -> Tree:
        reason = self._chance.pick(_ABSENT)
        del tree["derivation"]
        tree["sign"] = sign
        if sign == "blood_pressure":
            tree["readings"] = [{"name": name, "absent_reason": reason} for name in ("systolic", "diastolic")]
        else:
            tree["absent_reason"] = reason
        return tree

    def _pressure(self, tree: Tree, minute: int) -> Tree:
        chance, course = self._chance, self._course
        systolic = course.systolic_40 if minute == 40 else round(course.systolic_at(minute) + chance.normal(0, 2.5))
        diastolic = min(round(course.diastolic_at(minute) + chance.normal(0, 2.5)), systolic - 15)
        if systolic >= HIGH_SYSTOLIC:
            tree["interpretation"] = ["critically_high" if systolic >= CRITICAL_SYSTOLIC else "high"]
        tree["sign"] = "blood_pressure"
        readings: list[dict[str, Any]] = [
            {"name": "systolic", "value": systolic, "unit": "mm[Hg]"},
            {"name": "diastolic", "value": diastolic, "unit": "mm[Hg]"},
        ]
        if chance.random() < _MISSING:
            readings[1] = {"name": "diastolic", "absent_reason": "error"}
        elif self._visit.site == "second":
            mean = diastolic + round((systolic - diastolic) / 3)
            readings.append({"name": "mean", "value": mean, "unit": "mm[Hg]", "derivation": "calculated"})
        tree["readings"] = readings
        tree.update(self._extras)
        return tree

    def _saturation(self, tree: Tree, minute: int) -> Tree:
        chance, effect = self._chance, self._course.effect(minute)
        helped = self._oxygen and effect > 0.1
        value = min(100, round(97.6 + chance.normal(0, 0.9) - (0.3 if helped else 1.6) * effect))
        if value < _LOW_SATURATION:
            tree["interpretation"] = ["low"]
        tree["sign"] = "oxygen_saturation"
        tree["readings"] = [{"name": "value", "value": value, "unit": "%"}]
        if helped:
            litres = 2 if self._visit.nurse < "RN-5" else 3
            tree["oxygen"] = {"delivery": "nasal_cannula", "flow": amount(litres, "L/min")}
            if self._visit.site == "second":
                tree["oxygen"]["fio2"] = amount(24 + 4 * (litres - 1), "%")
        elif minute < 0 or self._visit.site == "second":
            tree["oxygen"] = _ROOM_AIR
        return tree

    def _simple(self, sign: str, minute: int) -> dict[str, Any]:
        chance, course = self._chance, self._course
        if sign == "heart_rate":
            value = round(course.heart_rate_at(minute) + chance.normal(0, 2.5))
            return {"name": "value", "value": value, "unit": "/min"}
        if sign == "respiratory_rate":
            value = round(15.5 + chance.normal(0, 1.4) - 1.5 * course.effect(minute))
            return {"name": "value", "value": value, "unit": "/min"}
        celsius = 36.7 + chance.normal(0, 0.2)
        if self._visit.site == "second":
            return {"name": "value", "value": fixed(round(18 * celsius + 320), 1), "unit": "[degF]"}
        return {"name": "value", "value": fixed(round(10 * celsius), 1), "unit": "Cel"}

    def _repeat(self) -> Tree:
        return self._pressure(self._record("unscheduled", 41, replicate=2), 41)

    def _capnography(self) -> Tree:
        tree = self._record("post_40min", 40)
        millimetres = round(38 + self._chance.normal(0, 2.5))
        if self._visit.site == "second":
            tree["sign"] = "etco2_fraction"
            # Of the 713 mm[Hg] that dry gas has at sea level.
            tree["readings"] = [{"name": "value", "value": fixed(round(1000 * millimetres / 713), 1), "unit": "%"}]
        else:
            tree["sign"] = "etco2"
            tree["readings"] = [{"name": "value", "value": millimetres, "unit": "mm[Hg]"}]
        return tree

    def _rhythm(self) -> Tree:
        tree = self._record("post_40min", 40)
        tree["sign"] = "heart_rhythm"
        tree["finding"] = {"text": self._chance.pick(("sinus rhythm", "sinus tachycardia"))}
        return tree


def of_intake(chance: Chance, plan: Plan, minute: int) -> list[Tree]:
    """Weight, height and body mass index, taken ``minute`` minutes after midnight of the day of intake."""
    kilograms = plan.weight_tenths / 10
    index = fixed(round(100_000 * kilograms / plan.height_cm**2), 1)
    if plan.home == "second":
        weight = amount(fixed(round(10 * kilograms / _KILOGRAMS_PER_POUND), 1), "[lb_av]")
        height = amount(fixed(round(10 * plan.height_cm / _CENTIMETRES_PER_INCH), 1), "[in_i]")
    else:
        weight = amount(fixed(plan.weight_tenths, 1), "kg")
        height = amount(plan.height_cm, "cm")
    records: list[Tree] = []
    for sign, reading in (("weight", weight), ("height", height), ("bmi", amount(index, "kg/m2"))):
        measured: Tree = {"derivation": "measured"}
        if sign == "bmi":
            sources = [plan.directory.ref("Observation", "vital-sign", record["id"]) for record in records]
            measured = {"derivation": "calculated", "derived_from": sources}
        records.append(
            {
                "kind": "vital_sign",
                "id": chance.identifier(),
                "revision": 1,
                "patient": plan.patient,
                "status": "final",
                "measured_at": plan.intake.at(minute),
                "recorded_at": plan.intake.at(minute + 1),
                "timepoint": "baseline",
                "performers": [plan.directory.staff("RN-1")],
                **measured,
                "sign": sign,
                "readings": [{"name": "value", **reading}],
            }
        )
    return records
