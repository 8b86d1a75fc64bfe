"""All that can happen does happen in a clinic that is large enough; and what must not happen does not."""

from __future__ import annotations

import datetime as dt
from typing import get_args
from zoneinfo import ZoneInfo

import pytest

from fhirbridge.fhir.json import Tree
from fhirbridge.records.session import Modality, SessionStatus
from fhirbridge.synth import SECOND_ZONE, Options
from tests.synth.clinics import MODELS, clinic, large, of_kind


def words(kind: str, field: str) -> set[object]:
    return {tree[field] for tree in of_kind(kind, large()) if field in tree}


def test_all_five_kinds_occur() -> None:
    assert {tree["kind"] for tree in large()} == MODELS.keys()


def test_all_modalities_occur() -> None:
    assert words("session", "modality") == set(get_args(Modality))


def test_given_missed_and_stopped_sessions_occur() -> None:
    statuses = words("session", "status")
    assert statuses == {"completed", "stopped", "no_show", "cancelled", "not_done"}
    assert statuses <= set(get_args(SessionStatus))


def test_all_consent_types_and_states_occur() -> None:
    assert words("consent", "state") == {"active", "refused", "withdrawn", "superseded", "expired", "proposed"}
    assert words("consent", "consent_type") == {
        "treatment", "privacy_sharing", "research", "rems_enrollment", "recording", "touch", "telehealth", "financial",
    }  # fmt: skip


def test_consents_are_withdrawn_superseded_and_given_by_guardians() -> None:
    consents = list(of_kind("consent", large()))
    assert any("withdrawal" in tree for tree in consents)
    assert any(tree["grantors"][0]["type"] == "RelatedPerson" for tree in consents)
    replaced = {tree["id"] for tree in consents if tree["state"] == "superseded"}
    assert replaced == {tree["supersedes"]["identifier"]["value"] for tree in consents if "supersedes" in tree}
    labels = {label for tree in consents for rule in rules(tree) for label in rule.get("labels", [])}
    assert labels == {"psychotherapy_notes", "substance_use"}


def rules(tree: Tree) -> list[Tree]:
    """All provisions of a consent, at any depth."""
    found = []
    for rule in [*tree.get("provisions", []), *tree.get("exceptions", [])]:
        found += [rule, *rules(rule)]
    return found


def test_each_level_of_a_consent_is_the_opposite_of_the_one_above() -> None:
    """R5 cannot say anything else (trap T3)."""

    def check(effect: str, provisions: list[Tree]) -> None:
        for provision in provisions:
            assert provision["effect"] != effect
            check(provision["effect"], provision.get("exceptions", []))

    for tree in of_kind("consent", large()):
        check(tree["decision"], tree.get("provisions", []))


def test_vital_signs_and_scales_of_many_sorts_occur() -> None:
    assert words("vital_sign", "sign") == {
        "blood_pressure", "heart_rate", "respiratory_rate", "oxygen_saturation", "temperature", "etco2",
        "etco2_fraction", "weight", "height", "bmi", "heart_rhythm",
    }  # fmt: skip
    assert words("assessment", "scale") == {
        "phq9", "phq2", "gad7", "madrs", "qids_sr16", "pcl5", "cssrs_ideation", "cssrs_risk", "cadss", "cadss6",
        "bprs_positive4", "moaas", "rass", "pain_nrs",
    }  # fmt: skip


def test_units_of_both_sites_occur() -> None:
    units = {reading.get("unit") for tree in of_kind("vital_sign", large()) for reading in tree.get("readings", [])}
    assert units == {"mm[Hg]", "/min", "%", "Cel", "[degF]", "kg", "[lb_av]", "cm", "[in_i]", "kg/m2", None}


def test_oxygen_is_room_air_or_flow() -> None:
    oxygen = [tree["oxygen"] for tree in of_kind("vital_sign", large()) if "oxygen" in tree]
    assert {one["delivery"] for one in oxygen} == {"room_air", "nasal_cannula"}
    assert any("flow" in one and "fio2" in one for one in oxygen)


def test_values_are_missing_here_and_there_with_a_reason() -> None:
    for kind in ("vital_sign", "assessment"):
        trees = list(of_kind(kind, large()))
        missing = sum("absent_reason" in tree for tree in trees) / len(trees)
        assert 0.002 < missing < 0.03
    pressures = [tree["readings"] for tree in of_kind("vital_sign", large()) if tree["sign"] == "blood_pressure"]
    assert any("absent_reason" in one[1] and "value" in one[0] for one in pressures)
    assert any("absent_reason" in one[0] for one in pressures)


def test_events_of_special_interest_near_misses_and_serious_events_occur() -> None:
    events = list(of_kind("adverse_event", large()))
    interests = {interest for tree in events for interest in tree.get("special_interest", [])}
    assert interests == {
        "sedation", "dissociation", "bp_increase", "respiratory_depression", "suicidality", "bladder", "abuse_misuse",
        "loss_of_consciousness",
    }  # fmt: skip
    near = [tree for tree in events if tree["actuality"] == "potential"]
    assert 0 < len(near) < len(events) / 20
    serious = [tree for tree in events if tree["serious"]]
    assert 0 < len(serious) < len(events) / 20
    assert {"nausea", "dizziness", "confusion"} <= words("adverse_event", "term")


def test_odd_names_stand_in_free_text_only() -> None:
    oddities = ("DROP", "李", "Ægir")
    seen = set()

    def check(value: object, path: str) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                check(inner, name)
        elif isinstance(value, list):
            for inner in value:
                check(inner, path)
        elif isinstance(value, str):
            for oddity in oddities:
                if oddity in value:
                    assert path in ("text", "author_name")
                    seen.add(oddity)

    for tree in large():
        check(tree, "")
    assert seen == set(oddities)


@pytest.mark.parametrize("sessions", [None, 2])
def test_all_permit_has_active_permits_and_nothing_else(sessions: int | None) -> None:
    trees = clinic(Options(patients=80, seed=3, consent="all-permit", sessions=sessions, vitals="rems"))
    consents = list(of_kind("consent", trees))
    assert {tree["state"] for tree in consents} == {"active"}
    assert {tree["decision"] for tree in consents} == {"permit"}
    assert not any("provisions" in tree or "withdrawal" in tree for tree in consents)
    types: dict[str, set[str]] = {}
    for tree in consents:
        types.setdefault(tree["patient"]["identifier"]["value"], set()).add(tree["consent_type"])
    assert len(types) == 80
    assert all({"treatment", "privacy_sharing", "research"} <= signed for signed in types.values())


def times(value: object) -> list[str]:
    """Every text that is a time of day with an offset."""
    if isinstance(value, dict):
        return [time for inner in value.values() for time in times(inner)]
    if isinstance(value, list):
        return [time for inner in value for time in times(inner)]
    return [value] if isinstance(value, str) and len(value) == 25 and value[10] == "T" and value[19] in "+-" else []


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
def test_offsets_are_those_of_the_place_on_the_day(zone: str) -> None:
    trees = clinic(Options(patients=70, seed=4, vitals="rems", corrections=0.0, zone=zone))
    zones = ZoneInfo(zone), ZoneInfo(SECOND_ZONE)
    offsets: dict[dt.tzinfo, set[dt.timedelta | None]] = {place: set() for place in zones}
    for tree in trees:
        for text in times(tree):
            time = dt.datetime.fromisoformat(text)
            places = [place for place in zones if time.replace(tzinfo=place).utcoffset() == time.utcoffset()]
            assert len(places) == 1
            offsets[places[0]].add(time.utcoffset())
    assert all(len(found) == 2 for found in offsets.values()), "summer and winter at both sites"


def test_one_patients_offset_switches_with_the_clocks_and_with_the_site() -> None:
    across_clocks = across_sites = False
    places: dict[str, set[str]] = {}
    for tree in of_kind("session", large()):
        places.setdefault(tree["patient"]["identifier"]["value"], set()).add(tree["started_at"][19:])
    for found in places.values():
        across_clocks |= found == {"-05:00", "-04:00"}
        across_sites |= bool(found & {"-05:00", "-04:00"}) and bool(found & {"-08:00", "-07:00"})
    assert across_clocks
    assert across_sites


def test_no_time_lies_before_the_epoch_or_after_the_last_course() -> None:
    days = {text[:10] for tree in large() for text in times(tree)}
    assert min(days) >= "2024-12-25"
    assert max(days) < "2027-03-01"
