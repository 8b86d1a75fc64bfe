"""What was edited is not believed where it is used: nothing is handed out, decided or told by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from fhirbridge.errors import LedgerError
from fhirbridge.ledger import Server, State, Tampered, Where
from tests.ledger.bench import SITE, Bench, item
from tests.ledger.gates import PATIENT, Signed, consent

Use = Callable[[Bench], object]


def edit(bench: Bench, statement: str) -> None:
    with bench.ledger._store.write() as connection:
        assert connection.execute(sa.text(statement)).rowcount


def claim(bench: Bench) -> object:
    return bench.claim()


def offer(bench: Bench) -> object:
    return bench.offer(item(revision=2))


QUEUED = [
    ("UPDATE fhirbridge_delivery SET content = 'another'", claim),
    ("UPDATE fhirbridge_delivery SET content = 'another'", offer),
    ("UPDATE fhirbridge_delivery SET action = 'retract'", claim),
    ("UPDATE fhirbridge_delivery SET start = 1", claim),
    ("UPDATE fhirbridge_delivery SET length = length - 1", lambda bench: bench.ledger.bodies([1])),
    ("UPDATE fhirbridge_delivery SET event = event + 1", claim),
    ("UPDATE fhirbridge_delivery SET mark = seal", claim),
    ("UPDATE fhirbridge_resource SET resource_id = 'f-another'", claim),
    ("UPDATE fhirbridge_resource SET server_id = 'another'", claim),
    ("UPDATE fhirbridge_resource SET server = 'present'", claim),
    ("UPDATE fhirbridge_resource SET generation = 1", claim),
    ("UPDATE fhirbridge_payload SET data = (SELECT seal FROM fhirbridge_delivery)", claim),
    ("DELETE FROM fhirbridge_payload", claim),
    ("UPDATE fhirbridge_lane SET deliveries = 0", offer),
    ("UPDATE fhirbridge_resource SET server = 'gone'", lambda bench: bench.ledger.learn(1, server=Server.PRESENT)),
]


@pytest.mark.parametrize(("statement", "use"), QUEUED, ids=[statement for statement, _ in QUEUED])
def test_what_was_edited_while_it_waited_is_not_handed_out(bench: Bench, statement: str, use: Use) -> None:
    bench.offer(item())
    edit(bench, statement)
    with pytest.raises(LedgerError) as refused:
        use(bench)
    assert refused.value.code == "ledger.tampered"
    assert "SECRET" not in str(refused.value)
    assert next(bench.ledger.tampered())


SETTLED = [
    ("UPDATE fhirbridge_delivery SET state = 'acked'", offer),
    ("UPDATE fhirbridge_delivery SET reason = 'another'", lambda bench: bench.ledger.replay(Where(site=SITE))),
    ("UPDATE fhirbridge_delivery SET state = 'rejected'", lambda bench: bench.ledger.replay(Where(site=SITE))),
    ("UPDATE fhirbridge_delivery SET state = 'queued', settled_at = NULL", claim),
    ("UPDATE fhirbridge_delivery SET version = '9'", lambda bench: bench.ledger.known(SITE, [("session", "r1")])),
    ("UPDATE fhirbridge_event SET reason = 'another'", lambda bench: bench.ledger.history(SITE, "session", "r1")),
    ("UPDATE fhirbridge_decision SET effect = 'deny'", lambda bench: bench.ledger.decisions(SITE, "session", "r1")),
    ("UPDATE fhirbridge_resource SET withdrawn = true", lambda bench: list(bench.ledger.each_known(SITE))),
    ("UPDATE fhirbridge_kept SET value = (SELECT min(seal) FROM fhirbridge_delivery)", lambda b: b.ledger.proof(SITE)),
]


@pytest.mark.parametrize(("statement", "use"), SETTLED, ids=[statement for statement, _ in SETTLED])
def test_what_was_edited_after_it_was_over_is_not_believed(bench: Bench, statement: str, use: Use) -> None:
    bench.gate = Signed()
    bench.sign(consent("yes"))
    bench.ledger.effect()
    bench.offer(item())
    bench.ledger.keep_proof(SITE, "{}")
    bench.send(State.PARKED, reason="site.422")
    edit(bench, statement)
    edit(bench, "UPDATE fhirbridge_lane SET ready_at = 0")
    with pytest.raises(LedgerError) as refused:
        use(bench)
    assert refused.value.code == "ledger.tampered"


def test_a_body_of_one_delivery_does_not_go_as_that_of_another(bench: Bench) -> None:
    bench.offer(item("r1", body=b"one"))
    bench.offer(item("r2", body=b"two"))
    bench.offer(item("s1", body=b"another's", lane="patient-2"))
    with bench.ledger._store.read() as connection:
        blobs = connection.execute(sa.text("SELECT data FROM fhirbridge_payload ORDER BY id")).scalars().all()
    for other in blobs[1:]:
        with bench.ledger._store.write() as connection:
            connection.execute(sa.text("UPDATE fhirbridge_payload SET data = :data WHERE id = 1"), {"data": other})
        with pytest.raises(LedgerError) as refused:
            bench.claim()
        assert refused.value.code == "ledger.tampered"


def test_a_deleted_delivery_is_missed_and_so_is_one_that_was_added(bench: Bench) -> None:
    bench.offer(item("r1"), item("r2"))
    assert list(bench.ledger.tampered()) == []
    edit(bench, "DELETE FROM fhirbridge_delivery WHERE id = 1")
    assert Tampered("fhirbridge_lane", 1, "how many deliveries there are of it") in list(bench.ledger.tampered())


def test_looking_goes_on_behind_what_is_no_text_at_all(bench: Bench, store: str) -> None:
    if store != "sqlite":
        pytest.skip("PostgreSQL takes no such text")
    bench.offer(item("r1"), item("r2", lane="patient-2"))
    edit(bench, "UPDATE fhirbridge_resource SET kind = CAST(x'fffe' AS TEXT) WHERE id = 1")
    edit(bench, "UPDATE fhirbridge_lane SET key = x'00' WHERE id = 2")
    found = {(one.table, one.id) for one in bench.ledger.tampered()}
    assert found >= {("fhirbridge_resource", 1), ("fhirbridge_lane", 2), ("fhirbridge_delivery", 2)}
    with pytest.raises(LedgerError) as refused:
        bench.claim()
    assert refused.value.code in ("ledger.foreign", "ledger.tampered")


def test_an_id_that_was_learnt_while_a_delivery_was_under_way_stays_and_is_proven(bench: Bench) -> None:
    bench.offer(item("r1"), item("r2"))
    held = bench.held()
    bundle = bench.begin(held)
    bench.ledger.learn(held[0].resource, server=Server.PRESENT, server_id="77")
    bench.settle(held, State.ACKED, bundle, version="3")
    found = {one.record: one for one in bench.ledger.known(SITE, [("session", "r1"), ("session", "r2")])}
    assert {name: (one.server_id, one.version, one.acked) for name, one in found.items()} == {
        "r1": ("77", "3", held[0].id),
        "r2": (None, "3", held[1].id),
    }
    assert list(bench.ledger.tampered()) == []


def test_workers_may_go_on_while_it_is_looked(bench: Bench) -> None:
    bench.offer(*[item(f"r{n}", lane=f"{PATIENT}-{n}") for n in range(5)])
    looking = bench.ledger.tampered()
    assert next(looking, None) is None
    bench.send(State.ACKED)
    assert list(bench.ledger.tampered()) == []
