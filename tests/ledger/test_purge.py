"""What is purged is gone from the files, what proves that something was sent stays, and consents go on denying."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fhirbridge.errors import LedgerError
from fhirbridge.ledger import Purged, Server, State, Where
from fhirbridge.ledger.payload import unpack
from fhirbridge.ledger.schema import consent as consents
from fhirbridge.ledger.schema import delivery, payload
from fhirbridge.ledger.seals import payload_place
from tests.ledger.bench import SITE, VAULT, Bench, Clock, item
from tests.ledger.gates import PATIENT, Signed, consent

OTHER = "patient-2"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    opened = Bench.open(f"sqlite:///{tmp_path / 'ledger.db'}", Clock())
    yield opened
    opened.ledger.close()


def everything(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in sorted(folder.iterdir()))


def sealed(bench: Bench, *columns: sa.Column[bytes]) -> list[bytes]:
    with bench.ledger._store.read() as connection:
        return [one for column in columns for one in connection.execute(sa.select(column)).scalars() if one]


def delivered(bench: Bench, *items: object, to: State = State.ACKED) -> None:
    bench.offer(*items)  # type: ignore[arg-type]
    bench.send(to)


def test_of_a_purged_patient_no_body_and_no_subject_is_left_in_any_file(bench: Bench, tmp_path: Path) -> None:
    bench.sign(consent("yes"), consent("yes", patient=OTHER))
    bench.sign(consent("no", 2))
    bench.gate = Signed()
    bench.sign(consent("yes", 3))
    delivered(bench, item("r1", subject="SUBJECT"), item("r2"), item("s1", lane=OTHER))
    delivered(bench, item("r1", 2, subject="SUBJECT"))
    bench.ledger.learn(1, server=Server.GONE, reason="test")
    older = sealed(bench, consents.c.body)[0]
    there = sealed(bench, payload.c.data, delivery.c.seal)
    mine = [one for one in there if one not in _of(bench, OTHER)]
    assert all(one in everything(tmp_path) for one in (*mine, older))
    counted = bench.ledger.purge_patient(PATIENT, rehearse=True)
    assert all(one in everything(tmp_path) for one in (*mine, older))
    assert bench.ledger.purge_patient(PATIENT) == counted == Purged(bodies=3, subjects=2, papers=2)
    left = everything(tmp_path)
    assert not [one for one in (*mine, older) if one in left]
    assert all(one in left for one in _of(bench, OTHER))
    assert bench.ledger.purge_patient(PATIENT) == Purged()
    assert not list(bench.ledger.tampered())


def _of(bench: Bench, patient: str) -> list[bytes]:
    ids = [
        one.id for one in bench.ledger.find(Where(site=SITE)) if one.record.startswith("s" if patient == OTHER else "r")
    ]
    with bench.ledger._store.read() as connection:
        rows = connection.execute(
            sa.select(delivery.c.seal, payload.c.data)
            .outerjoin(payload, payload.c.id == delivery.c.payload)
            .where(delivery.c.id.in_(ids))
        )
        return [one for row in rows for one in row if one]


def test_what_was_sent_is_told_and_can_be_taken_back_after_it_was_purged(bench: Bench) -> None:
    delivered(bench, item("r1", subject="SUBJECT"))
    story = bench.ledger.history(SITE, "session", "r1")
    bench.ledger.purge_patient(PATIENT)
    assert bench.ledger.history(SITE, "session", "r1") == story
    (known,) = bench.ledger.known(SITE, [("session", "r1")])
    # What the site holds is judged by it when the consents change.
    assert (known.server, known.acked_revision, known.subject) == (Server.PRESENT, "1", "SUBJECT")
    assert bench.ledger.bodies([known.acked or 0]) == {}
    assert bench.ledger.resend([known.resource], run="repair") == 0
    bench.retract()
    (held,) = bench.held()
    assert held.resource_id == "f-r1-primary-0"


def test_a_patient_of_whom_something_is_on_its_way_is_left_alone(bench: Bench) -> None:
    delivered(bench, item("r1"))
    bench.offer(item("r2"))
    with pytest.raises(LedgerError) as refused:
        bench.ledger.purge_patient(PATIENT)
    assert (refused.value.code, len(bench.ledger.bodies([1, 2]))) == ("ledger.open", 2)


def test_what_waits_for_a_person_keeps_its_body_also_in_a_blob_with_others(bench: Bench) -> None:
    bench.offer(item("r1", body=b"one"), item("r2", body=b"two"), item("r3", body=b"three"))
    held = {one.record: one for one in bench.held()}
    for record, to in (("r1", State.ACKED), ("r2", State.PARKED), ("r3", State.ACKED)):
        bench.settle([held[record]], to, bench.begin([held[record]]))
    done = bench.ledger.purge_patient(PATIENT)
    assert (done.bodies, done.needed) == (2, 1)
    assert bench.ledger.bodies([one.id for one in held.values()]) == {held["r2"].id: b"two"}
    with bench.ledger._store.read() as connection:
        (blob,) = connection.execute(sa.select(payload)).all()
    assert unpack(VAULT, PATIENT, payload_place(blob.id, blob.lane), blob.data) == bytes(3) + b"two" + bytes(5)
    assert not list(bench.ledger.tampered())
    assert bench.ledger.replay(Where(site=SITE)) == 1
    assert [one.body for one in bench.held()] == [b"two"]


def test_a_consent_that_denies_still_denies_after_a_purge(bench: Bench) -> None:
    bench.sign(consent("yes"))
    bench.sign(consent("no", 2))
    bench.ledger.effect()
    bench.ledger.purge_patient(PATIENT)
    (one,) = bench.ledger.consents(PATIENT).evidence
    assert (one.revision, one.body, bench.ledger.consents(PATIENT).version) == (2, b"no", 2)
    bench.gate = Signed()
    bench.offer(item())
    assert not bench.claim()
    assert bench.rows()[0].state is State.BLOCKED
    # An older one that is read once more does not come back.
    assert bench.sign(consent("yes")) == []


def test_a_purge_by_age_takes_what_is_over_and_not_the_last_of_its_identity(bench: Bench) -> None:
    delivered(bench, item("r1", body=b"one", subject="S"))
    delivered(bench, item("r1", 2, body=b"two", subject="S"))
    bench.ledger.enqueue([item("r1")], site="south", run="run")
    before = bench.clock.now + 1
    assert bench.ledger.purge(before, site="south") == Purged(needed=1)
    assert bench.ledger.purge(bench.clock.now) == Purged(needed=3)
    assert bench.ledger.purge(before, rehearse=True) == Purged(bodies=1, subjects=1, needed=2)
    assert bench.ledger.purge(before) == Purged(bodies=1, subjects=1, needed=2)
    assert bench.ledger.purge(before) == Purged(needed=2)
    (known,) = bench.ledger.known(SITE, [("session", "r1")])
    assert bench.ledger.bodies([known.acked or 0]) == {known.acked: b"two"}


def test_a_number_of_a_blob_is_never_given_twice(bench: Bench) -> None:
    delivered(bench, item("r1"))
    bench.ledger.purge_patient(PATIENT)
    bench.offer(item("r2"))
    with bench.ledger._store.read() as connection:
        assert connection.execute(sa.select(payload.c.id)).scalars().all() == [2]
