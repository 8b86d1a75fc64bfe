"""The judge sees what is wrong, and only that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.fhir.json import Tree
from tests.faults.clinic import SID, observation
from tests.faults.identity import marks
from tests.faults.judge import Report, events_of, judge
from tests.faults.store import Commit

CHARTS = {f"{SID}/patient|P-{number}": f"Patient/p{number}" for number in range(9)}


class Log:
    """A commit log written by hand."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []

    def write(self, resource: Tree, action: str = "", *, own: str = "", by: str = "client") -> Log:
        told, address = marks(resource), own or str(resource["id"])
        versions = [one for one in self.commits if one.id == address]
        there = bool(versions) and versions[-1].is_there
        n = len(self.commits) + 1
        values = {name: getattr(told, name) for name in told.__slots__}
        made = Commit(
            n=n,
            first=n,
            of=1,
            request=n,
            by=by,
            method="DELETE" if action == "delete" else "PUT",
            action=action or ("update" if there else "create"),  # type: ignore[arg-type]
            type=resource["resourceType"],
            id=address,
            version=len(versions) + 1,
            key="",
            condition="",
            body=None if action in ("delete", "forget") else resource,
            **(values | {"retracts": told.retracts or action == "delete"}),
        )
        self.commits.append(made)
        return self


def found(queued: list[Tree], log: Log, **more: object) -> Report:
    return judge(events_of(queued), log.commits, charts=CHARTS, **more)  # type: ignore[arg-type]


def names(report: Report) -> dict[str, int]:
    said = {
        name: len(getattr(report, name))
        for name in ("lost", "dropped", "extra", "inversions", "after_retraction", "wrong_patient")
    }
    return {name: count for name, count in said.items() if count}


V1, V2 = observation(1, 1, 1), observation(1, 1, 2)
WITHDRAWN = observation(1, 1, 3, status="entered-in-error")


def test_each_event_once_is_clean() -> None:
    report = found([V1, V2, observation(2, 2)], Log().write(V1).write(observation(2, 2)).write(V2))
    assert report.clean
    assert str(report).startswith("events 3, commits 3: lost 0, dropped 0, extra 0")


@pytest.mark.parametrize("log", [Log(), Log().write(V1), Log().write(V2).write(V2, "delete", by="hospital")])
def test_what_is_not_there_in_its_newest_revision_is_lost(log: Log) -> None:
    report = found([V1, V2], log)
    assert names(report) == {"lost": 1, "dropped": 1}
    assert names(found([V1, V2], log, surfaced=report.lost)) == {"lost": 1}


def test_a_newer_revision_that_says_the_same_need_not_be_sent() -> None:
    same = {**V2, "valueQuantity": V1["valueQuantity"]}
    assert found([V1, same], Log().write(V1)).clean
    secret = {**same, "meta": {**same["meta"], "security": [{"code": "R"}]}}
    assert names(found([V1, secret], Log().write(V1))) == {"lost": 1, "dropped": 1}


def test_other_content_than_was_queued_is_lost() -> None:
    assert names(found([V1], Log().write({**V1, "status": "preliminary"}))) == {"lost": 1, "dropped": 1}


def test_what_a_server_forgot_is_lost_until_it_is_there_again() -> None:
    log = Log().write(V1).write(V1, "forget", by="hospital")
    assert names(found([V1], log)) == {"lost": 1, "dropped": 1}
    assert found([V1], log.write(V1, own="s9")).clean


def test_a_second_resource_for_one_record_is_extra_even_if_it_is_removed_again() -> None:
    log = Log().write(V1).write(V1, own="s2")
    assert names(found([V1], log)) == {"extra": 1}
    assert names(found([V1], log.write(V1, "delete", own="s2"))) == {"extra": 1}


def test_what_nobody_queued_is_extra() -> None:
    assert names(found([V1], Log().write(V1).write(observation(5, 1)))) == {"extra": 1}


def test_a_version_that_says_the_same_is_counted_and_allowed() -> None:
    report = found([V1], Log().write(V1).write(V1))
    assert (report.clean, report.rewrites) == (True, 1)


def test_an_older_revision_over_a_newer_one_is_an_inversion() -> None:
    assert names(found([V1, V2], Log().write(V2).write(V1).write(V2))) == {"inversions": 1}


def test_nothing_may_follow_a_retraction() -> None:
    assert found([V1, V2, WITHDRAWN], Log().write(V1).write(V2).write(WITHDRAWN)).clean
    late = Log().write(V1).write(WITHDRAWN).write(V2)
    assert names(found([V1, V2, WITHDRAWN], late)) == {
        "lost": 1,
        "dropped": 1,
        "inversions": 1,
        "after_retraction": 1,
    }


def test_a_newer_revision_may_follow_a_retraction_that_was_one_of_the_record() -> None:
    anew = observation(1, 1, 4)
    assert found([V1, WITHDRAWN, anew], Log().write(V1).write(WITHDRAWN).write(anew)).clean


def test_what_the_hospital_deleted_may_not_come_back() -> None:
    log = Log().write(V1).write(V1, "delete", by="hospital").write(V2)
    assert names(found([V1, V2], log)) == {"after_retraction": 1}


def test_a_retraction_by_deleting_is_one() -> None:
    assert found([V1, WITHDRAWN], Log().write(V1).write(V1, "delete")).clean


def test_the_chart_of_somebody_else_is_seen_by_identifier_and_by_address() -> None:
    assert "wrong_patient" in names(found([V1], Log().write(observation(1, 2))))
    swapped = {**V1, "subject": {**V1["subject"], "reference": "Patient/p2"}}
    assert names(found([V1], Log().write(swapped))) == {"wrong_patient": 1}


def test_a_record_that_moves_to_another_patient_is_retracted_there_and_made_here() -> None:
    moved = observation(1, 2, 2)
    gone = observation(1, 1, 2, status="entered-in-error")
    assert found([V1, moved], Log().write(V1).write(gone).write(moved, own="g1")).clean
    assert names(found([V1, moved], Log().write(V1).write(moved, own="g1"))) == {"lost": 1, "dropped": 1}


def test_provenance_comes_along_but_not_twice() -> None:
    note = {"resourceType": "Provenance", "id": "n1", "target": [{"reference": "Observation/f1"}]}
    assert found([V1], Log().write(V1).write(note)).clean
    assert names(found([V1], Log().write(V1).write(note).write(note, own="n2"))) == {"extra": 1}


RECORDS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4)), unique=True, min_size=1, max_size=12).map(
    lambda pairs: [observation(number, number % 3, revision) for number, revision in pairs]
)


@given(RECORDS, st.randoms(use_true_random=False))
def test_any_order_of_records_is_clean_if_each_ones_revisions_rise(resources: list[Tree], dice: object) -> None:
    waiting = sorted(resources, key=lambda one: marks(one).revision)
    dice.shuffle(resources)  # type: ignore[attr-defined]
    log = Log()
    for one in resources:
        identity = marks(one).identity
        log.write(waiting.pop(next(n for n, other in enumerate(waiting) if marks(other).identity == identity)))
    assert found(resources, log).clean


@given(RECORDS, st.data())
def test_whatever_is_left_out_or_doubled_shows(resources: list[Tree], data: st.DataObject) -> None:
    newest: dict[str, Tree] = {}
    for one in sorted(resources, key=lambda each: marks(each).revision):
        newest[marks(one).identity] = one
    victim = data.draw(st.sampled_from(sorted(newest)))
    lacking, doubled = Log(), Log()
    for identity, one in newest.items():
        doubled.write(one)
        if identity != victim:
            lacking.write(one)
    assert found(resources, lacking).lost == (victim,)
    doubled.write(newest[victim], own="once-more")
    assert found(resources, doubled).extra == (victim,)


def test_what_was_queued_and_never_said_a_word_about_patients_is_judged_too(tmp_path: Path) -> None:
    plain = {"resourceType": "Basic", "id": "b1", "identifier": [{"system": "u", "value": "1"}]}
    assert found([plain], Log().write(plain)).clean
    again = [replace(one, id="b2", n=2) for one in Log().write(plain).commits]
    assert judge(events_of([plain]), [*Log().write(plain).commits, *again]).extra == ("Basic|u|1|primary",)
