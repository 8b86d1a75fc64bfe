"""The stream: deterministic, growing from the front, valid, in time order, corrected without changing the truth."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirbridge.errors import UsageError
from fhirbridge.fhir import json
from fhirbridge.fhir.json import Tree
from fhirbridge.records import parse, to_json
from fhirbridge.synth import Options, patients, records, records_of, truths
from tests.synth.clinics import MODELS, clinic, large, of_kind

seeds = st.integers(min_value=-(2**63), max_value=2**63)
small = st.builds(
    Options,
    patients=st.integers(0, 4),
    seed=seeds,
    domain=st.sampled_from(["clinic.example", "a-b.example:8443"]),
    consent=st.sampled_from(["mixed", "all-permit"]),
    corrections=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    sessions=st.sampled_from([None, 0, 1, 3]),
    vitals=st.sampled_from(["full", "rems"]),
    zone=st.sampled_from(["America/New_York", "Europe/Berlin", "Asia/Kolkata", "UTC"]),
)


def lines(trees: Iterable[Tree]) -> list[bytes]:
    return [json.dump(tree) for tree in trees]


@given(small)
@settings(max_examples=25)
def test_the_same_options_give_the_same_bytes(options: Options) -> None:
    assert lines(records(options)) == lines(records(options))
    assert list(patients(options)) == list(patients(options))


def test_the_bytes_are_those_of_every_other_machine() -> None:
    """A changed digest means that clinics made before are no longer reproducible: say so in the changelog."""
    made = hashlib.sha256(b"\n".join(lines(records(Options(patients=3, seed=7))))).hexdigest()
    assert made == "b2641f335c7d38dd31d0880ba17253e16f51e4ff1f3f7f8735d0d65dd67f290d"


@given(seeds, st.integers(0, 3), st.integers(1, 3))
@settings(max_examples=20)
def test_a_larger_clinic_starts_with_the_smaller_one(seed: int, few: int, more: int) -> None:
    smaller = lines(records(Options(patients=few, seed=seed, sessions=2)))
    larger = lines(records(Options(patients=few + more, seed=seed, sessions=2)))
    assert larger[: len(smaller)] == smaller


@given(seeds)
@settings(max_examples=10)
def test_patients_can_be_made_one_by_one_in_any_order(seed: int) -> None:
    options = Options(patients=3, seed=seed, sessions=1)
    apart = {index: lines(records_of(options, index)) for index in (2, 0, 1)}
    assert lines(records(options)) == [*apart[0], *apart[1], *apart[2]]


@given(small)
@settings(max_examples=25)
def test_every_record_parses_and_comes_back_byte_for_byte(options: Options) -> None:
    check_that_all_parse(records(options))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_record_of_a_clinic_parses_and_comes_back_byte_for_byte(seed: int) -> None:
    check_that_all_parse(clinic(Options(patients=60, seed=seed, corrections=0.1, sessions=5)))


def check_that_all_parse(trees: Iterable[Tree]) -> None:
    for tree in trees:
        line = json.dump(tree)
        read = json.parse_object(line)
        kind = read.pop("kind")
        back = to_json(parse(MODELS[kind], read))
        assert json.canonical(back) == json.canonical(tree)
        assert json.dump(back) == line


def test_no_two_records_share_an_id_unless_they_are_versions_of_one() -> None:
    trees = large()
    kinds_of = defaultdict(set)
    for tree in trees:
        kinds_of[tree["id"]].add((tree["kind"], tree["patient"]["identifier"]["value"]))
    assert all(len(owners) == 1 for owners in kinds_of.values())
    assert max(Counter((tree["id"], tree["revision"]) for tree in trees).values()) == 1


def test_a_patients_records_come_in_time_order_and_consent_comes_first() -> None:
    for _, group in itertools.groupby(large(), key=lambda tree: tree["patient"]["identifier"]["value"]):
        trees = list(group)
        assert trees[0]["kind"] == "consent"
        times = [moment(tree["measured_at"]) for tree in trees if "measured_at" in tree]
        assert times == sorted(times)
        starts = [moment(tree["started_at"]) for tree in of_kind("session", trees)]
        assert starts == sorted(starts)
        if starts:
            signed = [moment(tree["signed_at"]) for tree in of_kind("consent", trees) if "supersedes" not in tree]
            assert max(signed) < starts[0]


def moment(text: str) -> datetime:
    """The minute; within a minute the order of two devices means nothing."""
    return datetime.fromisoformat(text).replace(second=0)


def test_each_patient_stays_together() -> None:
    numbers = [
        number for number, _ in itertools.groupby(large(), key=lambda tree: tree["patient"]["identifier"]["value"])
    ]
    assert numbers == [patient["identifier"]["value"] for patient in patients(Options(patients=300, seed=11))]
    assert numbers == [truth.patient for truth in truths(Options(patients=300, seed=11))]


def test_what_a_record_points_to_within_the_clinic_exists() -> None:
    known = defaultdict(set)
    for tree in large():
        known[tree["kind"]].add(tree["id"])
    systems = {
        "treatment-session": "session",
        "consent": "consent",
        "adverse-event": "adverse_event",
        "vital-sign": "vital_sign",
    }
    pointed = set()
    for tree in large():
        for system, value in identifiers(tree):
            kind = systems.get(system.rpartition("/")[2])
            if kind is not None:
                assert value in known[kind]
                pointed.add(kind)
    assert pointed == set(systems.values())


def identifiers(tree: object) -> Iterable[tuple[str, str]]:
    if isinstance(tree, dict):
        if tree.keys() >= {"system", "value"}:
            yield tree["system"], tree["value"]
        for value in tree.values():
            yield from identifiers(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from identifiers(value)


@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_the_newest_revisions_say_what_a_clinic_without_corrections_says(share: float) -> None:
    options = Options(patients=12, seed=5, sessions=4, corrections=share)
    plain = {tree["id"]: tree for tree in clinic(replace(options, corrections=0.0))}
    newest: dict[str, Tree] = {}
    for tree in clinic(options):
        earlier = newest.get(tree["id"])
        assert earlier is None or tree["revision"] > earlier["revision"]
        newest[tree["id"]] = tree
    marks = ("revision", "status", "record_status")
    assert newest.keys() == plain.keys()
    for identifier, tree in newest.items():
        bare = {name: value for name, value in tree.items() if name not in marks}
        assert bare == {name: value for name, value in plain[identifier].items() if name not in marks}


def test_a_corrected_record_differs_from_the_first_and_says_that_it_was_corrected() -> None:
    first: dict[str, Tree] = {}
    corrected = Counter[tuple[str, str]]()
    for tree in clinic(Options(patients=40, seed=6, corrections=0.2)):
        if tree["kind"] == "consent":
            continue
        if tree["revision"] == 1:
            first[tree["id"]] = tree
            continue
        assert tree["revision"] == 2
        before = first[tree["id"]]
        assert {**before, "revision": 2, "status": 0, "record_status": 0} != {**tree, "status": 0, "record_status": 0}
        corrected[tree["kind"], tree.get("record_status") or tree["status"]] += 1
    assert {kind for kind, _ in corrected} == MODELS.keys() - {"consent"}
    statuses = {status for kind, status in corrected if kind in ("vital_sign", "assessment")}
    assert statuses == {"corrected", "amended", "entered_in_error"}
    assert {status for kind, status in corrected if kind == "adverse_event"} == {"amended"}


def test_the_share_of_corrections_is_the_one_asked_for() -> None:
    trees = [tree for tree in clinic(Options(patients=60, seed=1, corrections=0.1)) if tree["kind"] != "consent"]
    again = sum(tree["revision"] == 2 for tree in trees)
    assert 0.08 < again / (len(trees) - again) < 0.11


@given(seeds, st.integers(0, 4))
@settings(max_examples=15)
def test_the_cap_holds_for_every_patient(seed: int, cap: int) -> None:
    visits = Counter(
        tree["patient"]["identifier"]["value"]
        for tree in of_kind("session", records(Options(patients=4, seed=seed, sessions=cap, corrections=0.0)))
    )
    assert all(count <= cap for count in visits.values())


def test_the_domain_owns_every_identifier_system() -> None:
    for tree in clinic(Options(patients=10, seed=2, domain="other.example", sessions=2)):
        assert all(system.startswith("https://other.example/sid/") for system, _ in identifiers(tree))


def test_demographics_are_plain_words_with_odd_names_among_them() -> None:
    people = list(patients(Options(patients=300, seed=1)))
    assert len({person["id"] for person in people}) == 300
    assert any("DROP TABLE" in person["family"] for person in people)
    assert any(not person["family"].isascii() for person in people)
    assert {person["sex"] for person in people} == {"female", "male", "other", "unknown"}
    assert all(1945 <= datetime.fromisoformat(person["birth_date"]).year <= 2006 for person in people)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"patients": -1}, ["patients"]),
        ({"patients": 1, "corrections": 1.5, "sessions": -2}, ["corrections", "sessions"]),
        ({"patients": 1, "domain": "two words", "zone": "Mars/Olympus"}, ["domain", "zone"]),
        ({"patients": 1, "consent": "none", "vitals": "all", "zone": "../etc/passwd"}, ["consent", "vitals", "zone"]),
        ({"patients": 1, "corrections": float("nan"), "zone": ""}, ["corrections", "zone"]),
    ],
)
def test_wrong_options_are_refused_all_at_once(wrong: dict[str, object], names: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        Options(**wrong)  # type: ignore[arg-type]
    assert caught.value.code == "usage.synth"
    assert [part.partition(":")[0] for part in caught.value.message.split("; ")] == names
