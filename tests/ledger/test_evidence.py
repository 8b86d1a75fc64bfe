"""The consents of patients are kept, every revision; a change of them is told from the same said again."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from fhirbridge.errors import LedgerError
from fhirbridge.ledger import Evidence
from tests.ledger.bench import SITE, Bench, item
from tests.ledger.gates import PATIENT, consent


def version(bench: Bench, patient: str = PATIENT) -> int:
    return bench.ledger.consents(patient).version


def said(bench: Bench) -> dict[tuple[str, str], tuple[int | str, bytes | None]]:
    evidence = bench.ledger.consents(PATIENT).evidence
    return {(one.source, one.record): (one.revision, one.body) for one in evidence}


def test_the_newest_revision_counts_and_every_one_is_kept(bench: Bench) -> None:
    assert bench.sign(consent("yes")) == [PATIENT]
    assert bench.sign(consent("no", 10)) == [PATIENT]
    assert bench.sign(consent("maybe", 9)) == []
    assert version(bench) == 2
    assert said(bench) == {("", "c-1"): (10, b"no")}
    with bench.ledger._store.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM fhirbridge_consent")).scalar() == 3


def test_the_same_said_again_changes_nothing(bench: Bench) -> None:
    both = [consent("yes"), consent(None, "2026-01-01T00:00:00Z", record="h-1", source="south")]
    assert bench.sign(*both) == [PATIENT]
    assert bench.sign(*both, *both) == []
    assert version(bench) == 1
    assert said(bench) == {("", "c-1"): (1, b"yes"), ("south", "h-1"): ("2026-01-01T00:00:00Z", None)}


def test_consents_of_several_sources_with_one_name_are_several(bench: Bench) -> None:
    bench.sign(consent("yes"), consent("no", source="south"), consent("yes", source="west"))
    assert said(bench) == {("", "c-1"): (1, b"yes"), ("south", "c-1"): (1, b"no"), ("west", "c-1"): (1, b"yes")}


def test_another_content_of_one_revision_counts_from_when_it_came_and_an_old_one_does_not_come_back(
    bench: Bench,
) -> None:
    bench.sign(consent("yes"))
    assert bench.sign(consent("no")) == [PATIENT]
    # A file of before, read once more.
    assert bench.sign(consent("yes")) == []
    assert said(bench) == {("", "c-1"): (1, b"no")}
    assert bench.sign(consent("yes", 2)) == [PATIENT]


def test_what_cannot_be_read_is_evidence_too_with_its_reason(bench: Bench) -> None:
    bench.sign(consent("yes"), consent(None, 2))
    (one,) = bench.ledger.consents(PATIENT).evidence
    assert (one.revision, one.body, one.reason) == (2, None, "consent.unknown_code")
    assert bench.sign(Evidence(PATIENT, "", "c-1", 2, None, "consent.other")) == [PATIENT]


def test_each_patient_has_a_version_of_its_own(bench: Bench) -> None:
    assert bench.sign(consent("yes"), consent("yes", patient="patient-2")) == [PATIENT, "patient-2"]
    assert bench.sign(consent("no", 2, patient="patient-2")) == ["patient-2"]
    assert (version(bench), version(bench, "patient-2"), version(bench, "nobody")) == (1, 2, 0)


def test_a_revision_without_an_order_is_refused_and_nothing_is_kept(bench: Bench) -> None:
    with pytest.raises(LedgerError) as refused:
        bench.sign(consent("yes"), consent("yes", "soon", record="c-2"))
    assert refused.value.code == "ledger.revision"
    assert version(bench) == 0


def test_evidence_and_records_of_one_call_are_there_both_or_neither(bench: Bench, ready: str) -> None:
    engine = sa.create_engine(ready)
    with engine.connect() as clinic:
        bench.ledger.enqueue([item()], site=SITE, run="r", evidence=[consent("yes")], connection=clinic)
        bench.ledger.keep_evidence([consent("yes", record="c-2")], connection=clinic)
        clinic.rollback()
        assert (bench.rows(), version(bench)) == ([], 0)
        bench.ledger.enqueue([item()], site=SITE, run="r", evidence=[consent("yes")], connection=clinic)
        bench.ledger.keep_evidence([consent("yes", record="c-2")], connection=clinic)
        clinic.commit()
    engine.dispose()
    assert len(bench.rows()) == 1
    assert [one.record for one in bench.ledger.consents(PATIENT).evidence] == ["c-1", "c-2"]


@pytest.mark.parametrize("what", ["a revision", "the newest", "the version"])
def test_consents_of_which_some_are_gone_or_older_than_they_were_are_not_believed(bench: Bench, what: str) -> None:
    bench.sign(consent("yes"), consent("no", 2))
    change = {
        "a revision": "DELETE FROM fhirbridge_consent WHERE id = (SELECT min(id) FROM fhirbridge_consent)",
        "the newest": "DELETE FROM fhirbridge_consent WHERE id = (SELECT max(id) FROM fhirbridge_consent)",
        "the version": "UPDATE fhirbridge_patient SET version = version + 1",
    }[what]
    with bench.ledger._store.write() as connection:
        connection.execute(sa.text(change))
    for ask in (lambda: bench.ledger.consents(PATIENT), lambda: bench.sign(consent("yes", 3))):
        with pytest.raises(LedgerError) as refused:
            ask()
        assert refused.value.code == "ledger.tampered"


def test_whoever_has_a_lane_is_a_patient(bench: Bench) -> None:
    bench.offer(item("r1"), item("s1", lane="patient-2"))
    bench.ledger.enqueue([item("r1")], site="south", run="run-1")
    found = [bench.ledger.patient(key) for key in ("patient-1", "patient-2", "nobody")]
    assert [None if one is None else (one.key, one.version) for one in found] == [
        ("patient-1", 0),
        ("patient-2", 0),
        None,
    ]
    assert bench.ledger.patient_of("session", "r1") == ["patient-1"]
    assert bench.ledger.requested() == []
