"""What was given in a session: doses from the weight, exactly, and the pump's rates."""

from __future__ import annotations

from typing import Any, NamedTuple

from fhirbridge.fhir.json import Tree
from fhirbridge.synth.chance import Chance
from fhirbridge.synth.exact import amount, fixed, plain
from fhirbridge.synth.plan import Plan, Visit

INFUSION_MINUTES = 40
# An interrupted infusion runs at full rate up to this minute, then at half the rate.
SLOWED_AT = 20
STOPPED_AFTER = 10
_STOP_REASONS = ("patient asked to stop", "blood pressure above the limit of the protocol", "severe dissociation")
_ESKETAMINE_DEVICE_MG = 28
# The label starts with 56 mg; this clinic goes up to 84 mg from the third session on.
_SESSIONS_AT_56_MG = 2


def administrations(chance: Chance, plan: Plan, visit: Visit) -> list[Tree]:
    """The administrations of a visit that took place; the last one's period ends when the dosing ended."""
    if plan.modality == "esketamine_intranasal":
        return [_esketamine(chance, plan, visit)]
    milli_mg = plan.weight_tenths * visit.per_kg_hundredths
    if plan.modality == "iv_infusion":
        return _infusion(chance, plan, visit, milli_mg)
    return [_single(chance, plan, visit, milli_mg)]


def _identifier(plan: Plan, visit: Visit, number: int) -> dict[str, str]:
    return plan.directory.identifier("administration", f"{visit.session}-{number}")


def _period(visit: Visit, start: int, end: int) -> dict[str, str]:
    return {"start": visit.day.at(visit.dose_minute + start), "end": visit.day.at(visit.dose_minute + end)}


def _lot(chance: Chance, visit: Visit) -> dict[str, str]:
    year = int(visit.day.text[:4]) + 1
    return {
        "lot_number": f"{chance.pick('ABCDEHK')}{chance.between(100, 9999)}",
        "expiry": f"{year}-{chance.between(1, 12):02d}",
    }


def _esketamine(chance: Chance, plan: Plan, visit: Visit) -> Tree:
    devices = 2 if visit.number <= _SESSIONS_AT_56_MG else 3
    return {
        "identifier": _identifier(plan, visit, 1),
        "medication": "esketamine",
        "route": "intranasal",
        "dose": amount(devices * _ESKETAMINE_DEVICE_MG, "mg"),
        "period": _period(visit, 0, 5 * (devices - 1)),
        "formulation": {"text": "nasal spray 28 mg per device"},
        "device_count": devices,
        **_lot(chance, visit),
        "self_administered": True,
    }


def _weighed(plan: Plan, visit: Visit, milli_mg: int) -> Tree:
    hundredths = visit.per_kg_hundredths
    # Half of the nurses write 0.50 where others write 0.5, and both must survive.
    per_kg = fixed(hundredths, 2) if visit.nurse < "RN-5" else plain(hundredths, 2)
    return {
        "dose": amount(plain(milli_mg, 3), "mg"),
        "dose_per_weight": amount(per_kg, "mg/kg"),
        "dosing_weight": amount(plain(plan.weight_tenths, 1), "kg"),
        "dosing_weight_kind": "actual",
    }


def _infusion(chance: Chance, plan: Plan, visit: Visit, milli_mg: int) -> list[Tree]:
    lot = _lot(chance, visit)
    concentration = chance.pick((1, 2))

    def part(number: int, start: int, end: int, nano_mg: int) -> Tree:
        given = {**_weighed(plan, visit, milli_mg), "dose": amount(plain(nano_mg, 9), "mg")}
        if visit.interruption:
            # The planned dose by weight is not what this part gave.
            del given["dose_per_weight"]
        return {
            "identifier": _identifier(plan, visit, number),
            "medication": "ketamine" if visit.site == "main" else "ketamine_hydrochloride",
            "route": "intravenous",
            **given,
            "rate": _rate(visit, nano_mg, end - start),
            "period": _period(visit, start, end),
            "concentration": amount(concentration, "mg/mL"),
            "volume": amount(plain(nano_mg // concentration, 9), "mL"),
            **lot,
        }

    whole = milli_mg * 1_000_000
    if not visit.interruption:
        return [part(1, 0, INFUSION_MINUTES, whole) | _wasted(chance, milli_mg)]
    first = part(1, 0, SLOWED_AT, whole // 2)
    if visit.interruption == "slowed":
        return [first, part(2, SLOWED_AT, SLOWED_AT + INFUSION_MINUTES, whole // 2)]
    second = part(2, SLOWED_AT, SLOWED_AT + STOPPED_AFTER, whole // 8)
    reason = {"text": chance.pick(_STOP_REASONS)}
    wasted = amount(plain(whole - whole // 2 - whole // 8, 9), "mg")
    return [first, second | {"wasted": wasted, "status": "stopped", "status_reason": reason}]


def _rate(visit: Visit, nano_mg: int, minutes: int) -> dict[str, Any]:
    # The pumps of the second site are set in mg/min, those of the main site in mg/h.
    if visit.site == "second":
        return amount(plain(nano_mg // minutes, 9), "mg/min")
    return amount(plain(nano_mg * 60 // minutes, 9), "mg/h")


def _wasted(chance: Chance, milli_mg: int) -> Tree:
    # A vial holds 50 mg; what is left over of a controlled substance must be accounted for.
    left = -milli_mg % 50_000
    return {"wasted": amount(plain(left, 3), "mg")} if left and chance.happens(0.6) else {}


class _Way(NamedTuple):
    """How a single dose of a modality is given: route, minutes, mg/mL (0: no liquid), formulation, sites."""

    route: str
    minutes: int
    strength: int
    formulation: str = ""
    sites: tuple[str, ...] = ()


_MUSCLES = ("left deltoid", "right deltoid", "left vastus lateralis")
_WAYS = {
    "iv_push": _Way("intravenous", 2, 10),
    "im": _Way("intramuscular", 1, 50, sites=_MUSCLES),
    "kap": _Way("intramuscular", 1, 50, sites=_MUSCLES),
    "sc": _Way("subcutaneous", 1, 50, sites=("abdomen", "left upper arm")),
    "intranasal": _Way(
        "intranasal", 10, 100, "compounded nasal spray", ("left nostril", "right nostril", "both nostrils")
    ),
    "sublingual": _Way("sublingual", 15, 0, "troche"),
    "oral": _Way("oral", 5, 0, "capsule"),
    "other": _Way("buccal", 15, 0, "rapid dissolving tablet"),
}


def _single(chance: Chance, plan: Plan, visit: Visit, milli_mg: int) -> Tree:
    way = _WAYS[plan.modality]
    given: Tree = {
        "identifier": _identifier(plan, visit, 1),
        "medication": "ketamine",
        "route": way.route,
        **_weighed(plan, visit, milli_mg),
        "period": _period(visit, 0, way.minutes),
    }
    if way.formulation:
        given["formulation"] = {"text": way.formulation}
    if way.strength:
        given["concentration"] = amount(way.strength, "mg/mL")
        given["volume"] = amount(plain(milli_mg * 100 // way.strength, 5), "mL")
    given |= _lot(chance, visit)
    if way.sites:
        given["site"] = {"text": chance.pick(way.sites)}
    given["self_administered"] = not way.strength
    return given
