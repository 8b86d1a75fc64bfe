"""Vital signs and assessments in which every field is generated."""

from __future__ import annotations

import typing

from hypothesis import strategies as st

from fhirbridge.records import vitals as model
from fhirbridge.records.plausible import RANGES
from tests.strategies import base as b
from tests.strategies.session import either, words

_COMPARATORS = st.sampled_from(["<", "<=", ">=", ">"])


def numbers(quantity: str) -> st.SearchStrategy[b.Tree]:
    """A plausible value of a quantity in any of its units."""
    return st.one_of(
        *(
            b.tree({"value": b.decimals(float(limits.low), float(limits.high)), "unit": st.just(unit)}, {})
            for unit, limits in RANGES[quantity].items()
        )
    )


def _with(comparator: str | None, tree: b.Tree, unit_allows: bool = True) -> b.Tree:
    return tree | ({"comparator": comparator} if comparator else {})


def measurements(name: str, quantity: str, *, derivation: bool) -> st.SearchStrategy[b.Tree]:
    """One number with everything that can stand beside it."""
    number = st.builds(_with, st.one_of(st.none(), _COMPARATORS), numbers(quantity))
    value = number.map(lambda tree: {"name": name} | tree)
    if not derivation:
        return value
    absent = either(model.AbsentReason).map(lambda reason: {"name": name, "absent_reason": reason})
    return st.builds(
        lambda tree, how: tree | ({"derivation": how} if how else {}),
        st.one_of(value, absent),
        st.one_of(st.none(), words(model.Derivation)),
    )


measurement = measurements("systolic", "systolic", derivation=True)
oxygen = b.tree(
    {},
    {
        "delivery": either(model.OxygenDelivery),
        "flow": st.one_of(b.amounts("L/min", 0, 80), b.amounts("mL/min", 0, 80_000, comparator=False)),
        "fio2": st.one_of(b.amounts("%", 15, 100), b.amounts("1", 0.15, 1, comparator=False)),
    },
).filter(bool)
reference_ranges = b.tree(
    {}, {"low": b.amounts("mm[Hg]", 0, 200), "high": b.amounts("mm[Hg]", 0, 200), "text": b.words}
).filter(bool)
SHARED: dict[str, st.SearchStrategy[object]] = {
    **b.RECORD_OPTIONAL,
    "recorded_at": b.instants,
    "timepoint": either(model.Timepoint),
    "offset_from_dose": b.offsets,
    "replicate_number": b.counts,
    "performers": b.some(b.practitioners),
    "derivation": words(model.Derivation),
    "derived_from": b.some(b.refs("Observation", "QuestionnaireResponse")),
    "reference_ranges": b.some(reference_ranges),
    "categories": b.some(b.concepts),
}
REQUIRED = {**b.RECORD_REQUIRED, "status": words(model.MeasurementStatus), "measured_at": b.day_times}
_procedures = b.refs("Procedure")
_parts = st.one_of(
    st.just({}),
    _procedures.map(lambda ref: {"session": ref}),
    b.some(b.refs("MedicationAdministration")).map(lambda refs: {"part_of": refs}),
    st.builds(
        lambda session, refs: {"session": session, "part_of": refs},
        _procedures,
        b.some(b.refs("MedicationAdministration", "Procedure")),
    ),
)
_SINGLE = [sign for sign in typing.get_args(model.VitalKind) if sign not in model.FINDINGS and sign != "blood_pressure"]
_blood_pressures = st.builds(
    lambda systolic, diastolic, mean: {"sign": "blood_pressure", "readings": [systolic, diastolic, *mean]},
    measurement,
    measurements("diastolic", "diastolic", derivation=True),
    st.lists(measurements("mean", "mean", derivation=True), max_size=1),
)
_singles = st.one_of(
    *(
        measurements("value", sign, derivation=False).map(lambda one, sign=sign: {"sign": sign, "readings": [one]})
        for sign in _SINGLE
    )
)
_findings = st.builds(
    lambda sign, finding: {"sign": sign, "finding": finding}, st.sampled_from(sorted(model.FINDINGS)), b.concepts
)
_absent = st.builds(
    lambda sign, reason: {"sign": sign, "absent_reason": reason},
    st.sampled_from([*(sign for sign in _SINGLE if sign != "bmi"), *sorted(model.FINDINGS)]),
    either(model.AbsentReason),
)
_oxygenated = st.builds(
    lambda reading, air: {"sign": "oxygen_saturation", "readings": [reading], "oxygen": air},
    measurements("value", "oxygen_saturation", derivation=False),
    oxygen,
)
_HEART_RATE = {"system": "http://loinc.org", "code": "8867-4"}
_coded = st.builds(
    lambda reading, coding: {"sign": "heart_rate", "readings": [reading], "code": {"codings": [_HEART_RATE, coding]}},
    measurements("value", "heart_rate", derivation=False),
    b.codings,
)
vital_signs = st.builds(
    lambda record, parts, value: record | parts | value,
    b.tree(
        REQUIRED,
        {
            **SHARED,
            "interpretation": b.some(either(model.Interpretation)),
            "position": either(model.Position),
            "body_site": b.concepts,
            "cuff_size": b.concepts,
            "method": b.concepts,
            "device": b.refs("Device"),
        },
    ),
    _parts,
    st.one_of(_blood_pressures, _singles, _findings, _absent, _oxygenated, _coded, _coded),
)

_item_result = st.one_of(
    b.decimals(0, 10).map(lambda value: {"value": value}),
    b.concepts.map(lambda answer: {"answer": answer}),
    either(model.AbsentReason).map(lambda reason: {"absent_reason": reason}),
)
_item_code = st.one_of(
    st.sampled_from(["phq9-1", "phq9-9", "gad7-3", "cadss-1"]).map(lambda item: {"item": item}),
    b.codes.map(lambda item: {"item": item}),
    st.builds(
        lambda first, more: {"item": first["code"], "code": {"codings": [first, *more]}},
        b.codings,
        st.lists(b.codings, max_size=1),
    ),
)
items = st.builds(lambda code, result: code | result, _item_code, _item_result)


def _scored(scale: str) -> st.SearchStrategy[b.Tree]:
    low, high = model.SCALE_RANGES[scale]
    return st.builds(
        lambda value, comparator: _with(comparator, {"scale": scale, "score": value}),
        b.decimals(low, high, places=1),
        st.one_of(st.none(), _COMPARATORS),
    )


_some_items = st.lists(items, min_size=1, max_size=3, unique_by=lambda item: item["item"])
_answers = st.builds(lambda scale, answer: {"scale": scale, "answer": answer}, either(model.Scale), b.concepts)
_reasons = st.builds(
    lambda scale, why: {"scale": scale, "absent_reason": why}, either(model.Scale), either(model.AbsentReason)
)
_only_items = st.builds(lambda scale, some: {"scale": scale, "items": some}, either(model.Scale), _some_items)
_PHQ = {"system": "http://loinc.org", "code": "44261-6"}
_coded_scale = b.codings.map(lambda coding: {"scale": "phq9", "score": 3, "code": {"codings": [_PHQ, coding]}})
instruments = b.tree({}, {"url": b.uris, "version": b.words, "language": b.languages, "recall": b.words}).filter(bool)
assessments = st.builds(
    lambda record, parts, result, some: record | parts | result | ({"items": some} if some else {}),
    b.tree(
        REQUIRED,
        {
            **SHARED,
            "interpretation": b.some(st.one_of(words(model.Interpretation), b.coded_concepts)),
            "severity_band": b.words,
            "instrument": instruments,
            "administration_mode": words(model.Mode),
            "method": b.concepts,
            "device": b.refs("Device"),
            "body_site": b.concepts,
        },
    ),
    _parts,
    st.one_of(*map(_scored, model.SCALE_RANGES), _answers, _reasons, _only_items, _coded_scale),
    st.one_of(st.just([]), _some_items),
)
