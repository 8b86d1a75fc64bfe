"""What is queued and what is not, and that filling the ledger is all or nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.errors import LedgerError, LedgerMismatch
from fhirbridge.ledger import Action, Adopted, Decision, Ledger, Server, State, Where
from fhirbridge.ledger.payload import MOST_BYTES, blobs, pack, unpack
from fhirbridge.ledger.revision import rank
from fhirbridge.ledger.schema import payload
from fhirbridge.records import Instant
from tests.ledger.bench import BODY, SITE, VAULT, Bench, item

D = Decision


def decisions(bench: Bench, *items: object, **other: object) -> list[Decision]:
    return [one.decision for one in bench.offer(*items, **other)]  # type: ignore[arg-type]


def test_unchanged_content_is_not_queued_again(bench: Bench) -> None:
    assert decisions(bench, item()) == [D.QUEUED]
    assert decisions(bench, item()) == [D.UNCHANGED]
    bench.send(State.ACKED)
    (answer,) = bench.offer(item())
    assert (answer.decision, answer.state, answer.server) == (D.UNCHANGED, State.ACKED, Server.PRESENT)
    assert len(bench.rows()) == 1


def test_an_older_revision_never_goes_also_behind_one_whose_content_did_not_change(bench: Bench) -> None:
    assert decisions(bench, item(revision=2), item(revision=1)) == [D.QUEUED, D.OUTDATED]
    assert decisions(bench, item(revision=9, content="content of 2")) == [D.UNCHANGED]
    assert decisions(bench, item(revision=5)) == [D.OUTDATED]
    assert bench.ledger.known(SITE, [("session", "r1")])[0].revision == "9"


def test_a_newer_revision_replaces_one_that_waits_and_queues_behind_one_under_way(bench: Bench) -> None:
    bench.offer(item(revision=1))
    bench.offer(item(revision=2))
    assert [one.state for one in bench.rows()] == [State.SUPERSEDED, State.QUEUED]
    held = bench.held()
    bundle = bench.begin(held)
    bench.offer(item(revision=3))
    assert not bench.claim("another")
    assert [one.state for one in bench.rows()] == [State.SUPERSEDED, State.IN_FLIGHT, State.QUEUED]
    bench.settle(held, State.ACKED, bundle)
    assert [one.revision for one in bench.held()] == ["3"]


def test_of_several_revisions_in_one_call_only_the_newest_goes(bench: Bench) -> None:
    assert decisions(bench, item(revision=1), item("r2"), item(revision=3)) == [D.SUPERSEDED, D.QUEUED, D.QUEUED]
    assert [(one.record, one.revision) for one in bench.held()] == [("r2", "1"), ("r1", "3")]


def test_the_same_revision_with_other_content_is_a_conflict_unless_the_mapping_changed(bench: Bench) -> None:
    bench.offer(item())
    assert decisions(bench, item(content="other")) == [D.CONFLICT]
    remapped = item(content="other", mapping="2.0")
    assert decisions(bench, remapped) == [D.REMAPPED]
    assert decisions(bench, remapped, resend=True) == [D.QUEUED]
    assert [one.content for one in bench.held()] == ["other"]


def test_a_record_whose_patient_changed_is_refused_until_it_has_a_new_generation(bench: Bench) -> None:
    bench.offer(item())
    bench.send(State.ACKED)
    assert decisions(bench, item(revision=2, lane="patient-2")) == [D.MOVED]
    assert bench.retract(revision=2).decision is D.QUEUED
    assert decisions(bench, item(revision=2, lane="patient-2", generation=1)) == [D.QUEUED]
    assert decisions(bench, item(revision=3)) == [D.OUTDATED]
    held = {(one.lease.key, one.generation, one.action) for one in bench.held()}
    assert held == {("patient-1", 0, Action.RETRACT), ("patient-2", 1, Action.PUT)}


def test_a_retraction_wins_over_a_late_retry_and_stays(bench: Bench) -> None:
    bench.offer(item())
    held = bench.held()
    bundle = bench.begin(held)
    assert bench.retract().decision is D.QUEUED
    bench.settle(held, State.QUEUED, bundle, reason="429")
    assert [one.state for one in bench.rows()] == [State.RETRACTED, State.QUEUED]
    assert [one.action for one in bench.send(State.ACKED)] == [Action.RETRACT]
    (known,) = bench.ledger.known(SITE, [("session", "r1")])
    assert (known.server, known.withdrawn) == (Server.RETRACTED, True)
    assert decisions(bench, item(revision=7)) == [D.RETRACTED]
    assert bench.retract(revision=8).decision is D.UNCHANGED
    assert not bench.claim()


def test_a_failure_that_a_newer_revision_overtook_waits_for_nobody(bench: Bench) -> None:
    bench.offer(item())
    held = bench.held()
    bundle = bench.begin(held)
    bench.offer(item(revision=2))
    bench.settle(held, State.REJECTED, bundle, reason="422")
    assert not bench.ledger.failed(SITE)
    assert [one.state for one in bench.rows()] == [State.SUPERSEDED, State.QUEUED]


def test_preview_says_what_enqueue_says_and_writes_nothing(bench: Bench) -> None:
    bench.offer(item("r1"), item("r2"))
    offered = [item("r1"), item("r2", 2), item("r3"), item("r1", 2, lane="patient-2"), item("r3", 2)]
    before = bench.ledger.standing()
    foretold = bench.ledger.preview(offered, site=SITE)
    assert bench.ledger.standing() == before
    assert foretold == bench.offer(*offered)


@pytest.mark.parametrize("kept", [True, False])
def test_enqueue_is_part_of_the_callers_own_transaction(bench: Bench, ready: str, kept: bool) -> None:
    engine = sa.create_engine(ready)
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS visit (id INTEGER)"))
        connection.commit()
        connection.execute(sa.text("INSERT INTO visit VALUES (1)"))
        bench.ledger.enqueue([item()], site=SITE, run="run-1", marks={"visits": "1"}, connection=connection)
        assert not bench.rows()
        connection.commit() if kept else connection.rollback()
        assert len(bench.rows()) == int(kept)
        assert bench.ledger.mark("visits") == ("1" if kept else None)
        assert connection.execute(sa.text("SELECT count(*) FROM visit")).scalar() == int(kept)
        connection.execute(sa.text("DROP TABLE visit"))
        connection.commit()
    engine.dispose()


def test_a_connection_to_another_database_is_refused(bench: Bench) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(LedgerMismatch) as refused:
        bench.ledger.enqueue([item()], site=SITE, run="run-1", connection=connection)
    assert refused.value.code == "ledger.foreign"
    engine.dispose()


def test_one_bad_item_leaves_nothing_of_the_call(bench: Bench) -> None:
    with pytest.raises(LedgerError) as refused:
        bench.offer(item("r1"), item("r2", revision="yesterday"))
    assert refused.value.code == "ledger.revision"
    assert bench.ledger.standing().counts == {}


def test_what_the_site_holds_is_taken_over_once_and_then_unchanged(bench: Bench) -> None:
    found = Adopted(
        "session", "r1", "primary", 0, 1, "Procedure", "f-r1", "patient-1", "content of 1", "1.0", Server.PRESENT, "4"
    )
    assert bench.ledger.adopt([found, found], site=SITE, run="read") == 1
    assert bench.ledger.adopt([replace(found, version="5")], site=SITE, run="read") == 0
    assert decisions(bench, item()) == [D.UNCHANGED]
    assert decisions(bench, item(revision=2)) == [D.QUEUED]
    (held,) = bench.held()
    assert (held.server, held.version) == (Server.PRESENT, "4")


def test_bodies_come_back_byte_for_byte_and_patients_are_never_packed_together(bench: Bench) -> None:
    offered = [item(f"r{n}", lane=f"patient-{n % 3}", body=b"%d " % n + BODY * (n % 5)) for n in range(30)]
    bench.offer(*offered)
    assert {one.record: one.body for one in bench.held()} == {one.record: one.body for one in offered}
    blobs_of_lane = "SELECT count(DISTINCT lane) FROM fhirbridge_delivery WHERE payload IS NOT NULL GROUP BY payload"
    with bench.ledger._store.read() as connection:
        assert set(connection.execute(sa.text(blobs_of_lane)).scalars()) == {1}


def test_what_is_handed_in_and_out_shows_no_body(bench: Bench) -> None:
    bench.offer(item())
    (held,) = bench.held()
    assert b"SECRET" in (held.body or b"")
    assert "SECRET" not in repr(held) + repr(item())


@given(st.lists(st.binary(max_size=MOST_BYTES // 3), max_size=12))
def test_blobs_keep_every_body(bodies: list[bytes]) -> None:
    found = []
    for blob in blobs(bodies):
        assert len(blob.data) <= MOST_BYTES
        data = unpack(VAULT, "lane", ("here", 1), pack(VAULT, "lane", ("here", 1), blob.data))
        found.extend(data[start : start + length] for start, length in blob.places)
    assert found == bodies


DAMAGED = [b"", b"\x01", b"\x01\xffname", b"\x01\x03\xff\xfe\xfd" + bytes(40), bytes(100)]


@pytest.mark.parametrize("data", [*DAMAGED, "flip", "cut", "longer", "text"])
def test_a_damaged_blob_is_an_error_of_ours_and_nothing_of_it_is_read(bench: Bench, data: bytes | str) -> None:
    bench.offer(item())
    with bench.ledger._store.write() as connection:
        there = connection.execute(sa.select(payload.c.data)).scalar_one()
        changes = {"flip": there[:-1] + bytes([there[-1] ^ 1]), "cut": there[:-1], "longer": there + b"\0"}
        if data == "text":
            if connection.dialect.name != "sqlite":
                pytest.skip("a column of bytes holds no text on PostgreSQL")
            connection.execute(sa.text("UPDATE fhirbridge_payload SET data = 'words'"))
        else:
            new = changes[data] if isinstance(data, str) else data
            connection.execute(sa.update(payload).values(data=new))
    for read in (bench.claim, lambda: bench.ledger.bodies([1])):
        with pytest.raises(LedgerError) as refused:
            read()
        assert refused.value.code == "ledger.tampered"


INSTANTS = (
    st.datetimes(timezones=st.timezones())
    .map(lambda at: at.isoformat(timespec="microseconds"))
    .filter(lambda text: text.count(":") == 3)
)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_numbers_rank_by_value(one: int, other: int) -> None:
    assert (rank(one) < rank(other)) == (one < other)


@given(INSTANTS, INSTANTS, st.integers(0, 2**63 - 1))
def test_instants_rank_by_moment_and_behind_every_number(one: str, other: str, number: int) -> None:
    try:
        earlier = Instant(one).as_datetime() < Instant(other).as_datetime()
    except ValueError:
        return
    assert (rank(one) < rank(other)) == earlier
    assert rank(number) < rank(one)


def test_two_ledgers_see_the_same(bench: Bench, ready: str) -> None:
    bench.offer(item())
    with Ledger.open(ready, vault=VAULT) as other:
        assert len(other.find(Where(site=SITE))) == 1
