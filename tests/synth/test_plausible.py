"""The clinic is like a clinic: courses, doses, scales, events; and the truth can be found in the records again."""

from __future__ import annotations

import statistics
from collections import defaultdict
from decimal import Decimal

import pytest

from fhirbridge.fhir.json import Tree
from fhirbridge.records.session import NOT_GIVEN
from fhirbridge.synth import (
    CADSS6_SHARE,
    DISSOCIATION_PER_MMHG,
    PEAK_MINUTE,
    SYSTOLIC_REFERENCE,
    Options,
    PatientTruth,
    expected_dissociation,
    truths,
)
from fhirbridge.synth.course import RESPONSES
from fhirbridge.synth.symptoms import GRADES
from tests.synth.clinics import large, of_kind


@pytest.fixture(scope="module")
def truth() -> list[PatientTruth]:
    return list(truths(Options(patients=300, seed=11, corrections=0.0)))


def pressures(modality: str = "") -> dict[str, list[int]]:
    """Systolic readings by planned time."""
    sessions = {tree["id"] for tree in of_kind("session", large()) if tree["modality"] == modality or not modality}
    found = defaultdict(list)
    for tree in of_kind("vital_sign", large()):
        if tree["sign"] == "blood_pressure" and tree["session"]["identifier"]["value"] in sessions:
            systolic = tree["readings"][0].get("value")
            if systolic is not None:
                found[tree["timepoint"]].append(systolic)
    return found


def scores(scale: str) -> dict[str, list[int]]:
    """Scores by planned time."""
    found = defaultdict(list)
    for tree in of_kind("assessment", large()):
        if tree["scale"] == scale and "score" in tree:
            found[tree.get("timepoint", "")].append(tree["score"])
    return found


@pytest.mark.parametrize("modality", ["iv_infusion", "esketamine_intranasal", "im", "oral"])
def test_blood_pressure_peaks_at_forty_minutes_and_settles_by_two_hours(modality: str) -> None:
    means = {timepoint: statistics.fmean(found) for timepoint, found in pressures(modality).items()}
    means.pop("unscheduled", None)
    assert max(means, key=means.__getitem__) == "post_40min"
    rise = means["post_40min"] - means["pre_dose"]
    assert rise == pytest.approx(RESPONSES[modality].rise, rel=0.25)
    assert abs(means["post_120min"] - means["pre_dose"]) < 0.12 * rise + 1


def test_routes_differ_in_height() -> None:
    mean = {name: statistics.fmean(pressures(name)["post_40min"]) for name in ("iv_infusion", "oral")}
    assert mean["iv_infusion"] > mean["oral"] + 5


@pytest.mark.parametrize("scale", ["cadss", "cadss6"])
def test_dissociation_peaks_at_forty_minutes_and_settles_by_two_hours(scale: str) -> None:
    means = {timepoint: statistics.fmean(found) for timepoint, found in scores(scale).items()}
    assert max(means, key=means.__getitem__) == "post_40min"
    assert means["pre_dose"] < 0.1 * means["post_40min"]
    assert means["post_120min"] < 0.12 * means["post_40min"]


def test_the_true_peak_lies_near_forty_minutes(truth: list[PatientTruth]) -> None:
    minutes = [session.systolic_peak_minute for patient in truth for session in patient.sessions]
    assert statistics.fmean(minutes) == pytest.approx(PEAK_MINUTE, abs=0.3)
    assert all(33 < minute < 47 for minute in minutes)


def test_the_coefficient_can_be_found_in_the_records_again(truth: list[PatientTruth]) -> None:
    """Within each route, CADSS at 40 minutes rises with the pressure recorded at 40 minutes as documented."""
    modality = {session.session: session.modality for patient in truth for session in patient.sessions}
    systolic: dict[str, int] = {}
    cadss: dict[str, int] = {}
    for tree in large():
        if tree.get("timepoint") != "post_40min" or "session" not in tree:
            continue
        session = tree["session"]["identifier"]["value"]
        if tree.get("sign") == "blood_pressure" and "value" in tree["readings"][0]:
            systolic[session] = tree["readings"][0]["value"]
        elif tree.get("scale") == "cadss" and "score" in tree:
            cadss[session] = tree["score"]
    pairs = [(systolic[one], cadss[one], modality[one]) for one in systolic.keys() & cadss.keys()]
    slope, offset = statistics.linear_regression(
        [pressure - SYSTOLIC_REFERENCE for pressure, _, _ in pairs],
        [score - expected_dissociation(route, SYSTOLIC_REFERENCE) for _, score, route in pairs],
    )
    assert slope == pytest.approx(DISSOCIATION_PER_MMHG, abs=0.03)
    assert offset == pytest.approx(0, abs=0.4)


def test_the_truth_is_what_the_records_say(truth: list[PatientTruth]) -> None:
    by_session = {session.session: session for patient in truth for session in patient.sessions}
    given = {tree["id"] for tree in of_kind("session", large()) if tree["status"] not in NOT_GIVEN}
    assert given == by_session.keys()
    for tree in large():
        if tree.get("timepoint") == "post_40min" and "score" in tree:
            session = by_session[tree["session"]["identifier"]["value"]]
            if tree["scale"] == "cadss":
                assert tree["score"] == session.dissociation_40
            elif tree["scale"] == "cadss6":
                assert tree["score"] == round(session.dissociation_40 * CADSS6_SHARE)


def test_responders_get_better_and_non_responders_do_not(truth: list[PatientTruth]) -> None:
    answer = {patient.patient: patient.answer for patient in truth}
    for scale, floor in (("phq9", 0.5), ("madrs", 0.5), ("gad7", 0.45), ("qids_sr16", 0.45), ("pcl5", 0.45)):
        change = defaultdict(list)
        before: dict[str, int] = {}
        for tree in of_kind("assessment", large()):
            if tree["scale"] != scale or "score" not in tree or "session" in tree:
                continue
            number = tree["patient"]["identifier"]["value"]
            if tree.get("timepoint") == "baseline":
                before[number] = tree["score"]
            elif "timepoint" not in tree and before.get(number):
                change[answer[number]].append(1 - tree["score"] / before[number])
        assert statistics.fmean(change["remitter"]) > statistics.fmean(change["responder"]) > floor
        assert abs(statistics.fmean(change["non_responder"])) < 0.15


def test_most_patients_answer_and_a_quarter_do_not(truth: list[PatientTruth]) -> None:
    silent = sum(patient.answer == "non_responder" for patient in truth) / len(truth)
    assert 0.17 < silent < 0.33


def test_a_series_has_six_induction_sessions_over_three_weeks() -> None:
    series = defaultdict(list)
    for tree in of_kind("session", large()):
        if tree["status"] not in NOT_GIVEN and tree["series"]["phase"] == "induction":
            series[tree["series"]["identifier"]["value"]].append(tree)
    for trees in series.values():
        planned = 8 if trees[0]["modality"] == "esketamine_intranasal" else 6
        assert [tree["session_number"] for tree in trees] == list(range(1, planned + 1))
        assert all(tree["series"]["planned_sessions"] == planned for tree in trees)
    phases = {tree["series"]["phase"] for tree in of_kind("session", large())}
    assert phases == {"induction", "optimization", "maintenance", "taper"}


def number(value: object) -> Decimal:
    return Decimal(str(value))


def test_doses_are_the_weight_times_the_dose_by_weight_exactly() -> None:
    checked = 0
    for tree in of_kind("session", large()):
        doses = tree.get("administrations", [])
        if len(doses) == 1 and "dose_per_weight" in doses[0]:
            dose = doses[0]
            assert number(dose["dose"]["value"]) == number(dose["dose_per_weight"]["value"]) * number(
                dose["dosing_weight"]["value"]
            )
            checked += 1
    assert checked > 1000


def test_rate_and_volume_agree_with_dose_period_and_concentration() -> None:
    for tree in of_kind("session", large()):
        for dose in tree.get("administrations", []):
            amount = number(dose["dose"]["value"])
            if "concentration" in dose:
                assert number(dose["volume"]["value"]) * number(dose["concentration"]["value"]) == amount
            if "rate" in dose:
                rate = number(dose["rate"]["value"]) / (60 if dose["rate"]["unit"] == "mg/h" else 1)
                minutes = minutes_between(dose["period"])
                assert rate * minutes == pytest.approx(amount)


def minutes_between(period: Tree) -> int:
    start, end = (int(period[name][11:13]) * 60 + int(period[name][14:16]) for name in ("start", "end"))
    return end - start


def test_half_a_milligram_is_written_both_ways() -> None:
    texts = {
        str(dose["dose_per_weight"]["value"])
        for tree in of_kind("session", large())
        for dose in tree.get("administrations", [])
        if "dose_per_weight" in dose
    }
    assert {"0.5", "0.50"} <= texts


def test_an_interrupted_infusion_has_two_administrations_at_two_rates() -> None:
    interrupted = [tree for tree in of_kind("session", large()) if len(tree.get("administrations", [])) == 2]
    statuses = {tree["status"] for tree in interrupted}
    assert statuses == {"completed", "stopped"}
    for tree in interrupted:
        first, second = tree["administrations"]
        assert number(second["rate"]["value"]) * 2 == number(first["rate"]["value"])
        assert first["period"]["end"] == second["period"]["start"]
        assert ("status_reason" in tree) == (tree["status"] == "stopped")


def test_esketamine_sessions_carry_what_the_rems_form_asks() -> None:
    found = [
        tree
        for tree in of_kind("session", large())
        if tree["modality"] == "esketamine_intranasal" and tree["status"] == "completed"
    ]
    assert {tree["administrations"][0]["dose"]["value"] for tree in found} == {56, 84}
    for tree in found:
        dose = tree["administrations"][0]
        assert dose["dose"]["value"] == 28 * dose["device_count"]
        assert tree["billing_code"] == ("G2082" if dose["dose"]["value"] == 56 else "G2083")
        assert tree["rems"]["first_treatment"] == (tree["session_number"] == 1)
        assert minutes_between(tree["monitoring"]) >= 120
        assert tree["discharge"]["minutes_to_ready"]["value"] >= 120


def test_the_nine_items_add_up_to_the_score() -> None:
    complete = declined = 0
    for tree in of_kind("assessment", large()):
        if tree["scale"] != "phq9" or "items" not in tree:
            continue
        assert [item["item"] for item in tree["items"]] == [f"phq9-{item}" for item in range(1, 10)]
        if "score" in tree:
            assert sum(item["value"] for item in tree["items"]) == tree["score"]
            complete += 1
        else:
            assert tree["items"][8] == {"item": "phq9-9", "absent_reason": "asked_declined"}
            declined += 1
    assert complete > 1000
    assert declined


def test_grades_go_with_severities_and_criteria_with_seriousness() -> None:
    for tree in of_kind("adverse_event", large()):
        criteria = tree.get("seriousness_criteria", [])
        assert tree["serious"] == bool(criteria)
        if tree["actuality"] == "actual":
            assert tree["grade"] == (4 if "life_threatening" in criteria else GRADES[tree["severity"]])


def test_a_high_pressure_is_told_as_an_event_of_special_interest(truth: list[PatientTruth]) -> None:
    told = {
        tree["suspects"][0]["instance"]["identifier"]["value"]
        for tree in of_kind("adverse_event", large())
        if "bp_increase" in tree.get("special_interest", [])
    }
    assert told == {one.session for patient in truth for one in patient.sessions if one.systolic_40 >= 168}
    assert told


def test_every_event_of_a_session_is_named_in_it() -> None:
    named = {
        reference["identifier"]["value"]
        for tree in of_kind("session", large())
        for reference in tree.get("adverse_events", [])
    }
    at_the_clinic = {tree["id"] for tree in of_kind("adverse_event", large()) if "encounter" in tree}
    assert named == at_the_clinic


def test_nobody_is_treated_after_withdrawing_from_the_treatment() -> None:
    last: dict[str, str] = {}
    for tree in of_kind("session", large()):
        last[tree["patient"]["identifier"]["value"]] = tree["started_at"][:10]
    withdrawn = [
        tree
        for tree in of_kind("consent", large())
        if tree["consent_type"] == "treatment" and tree["state"] == "withdrawn"
    ]
    assert withdrawn
    for tree in withdrawn:
        assert tree["withdrawal"]["at"][:10] > last[tree["patient"]["identifier"]["value"]]
