"""Who looks at a patient's consents waits for who changes them, and nobody waits for ever."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from fhirbridge.errors import ConsentChanged, LeaseLost, LedgerUnavailable
from fhirbridge.ledger import Ledger, Outgoing, Result, State, Where
from tests.ledger.bench import TIMEOUT, VAULT, Bench, item
from tests.ledger.gates import PATIENT, Signed, consent


@pytest.fixture
def gated(bench: Bench) -> Bench:
    """A bench whose gate permits what all consents of a patient say yes to; patient-1 said yes."""
    bench.gate = Signed()
    bench.sign(consent("yes"))
    return bench


def test_nothing_begins_while_a_withdrawal_is_being_written(gated: Bench, ready: str) -> None:
    gated.offer(item("r1"))
    (held,) = gated.held()
    engine = sa.create_engine(ready)
    with (
        Ledger.open(ready, vault=VAULT, clock=gated.clock, patience=0.05) as hasty,
        engine.connect() as clinic,
    ):
        gated.ledger.keep_evidence([consent("no", 2)], connection=clinic)
        for look in (
            lambda: hasty.begin([Outgoing("b", [held], "digest")]),
            lambda: hasty.still_permitted(held.lease),
        ):
            with pytest.raises(LedgerUnavailable) as refused:
                look()
            assert refused.value.code == "ledger.locked"
        clinic.commit()
        assert hasty.still_permitted(held.lease) is None
        with pytest.raises(ConsentChanged):
            hasty.begin([Outgoing("b", [held], "digest")])
    engine.dispose()


@pytest.mark.parametrize(
    "store", [pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))], indirect=True
)
def test_a_claim_passes_by_a_patient_whose_consents_are_being_written(gated: Bench, ready: str) -> None:
    gated.ledger.effect()
    gated.offer(item("r1"), item("s1", lane="patient-2"))
    gated.sign(consent("yes", patient="patient-2"))
    engine = sa.create_engine(ready)
    with engine.connect() as clinic:
        gated.ledger.keep_evidence([consent("no", 2)], connection=clinic)
        assert [one.record for one in gated.held()] == ["s1"]
        clinic.commit()
    engine.dispose()
    assert not gated.claim()
    assert gated.rows("r1")[0].state is State.BLOCKED


def test_the_time_of_a_request_is_read_when_no_look_is_under_way_any_more(gated: Bench) -> None:
    """Who has to wait for the patient's row may wait long: a request that began meanwhile may last from then on."""
    engine = gated.ledger._store.engine

    def locked(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT") and "FROM fhirbridge_patient" in statement:
            gated.clock.now += 100.0

    sa.event.listen(engine, "after_cursor_execute", locked)
    before = gated.clock.now
    gated.sign(consent("no", 2))
    sa.event.remove(engine, "after_cursor_execute", locked)
    patient = gated.ledger.patient(PATIENT)
    assert patient is not None
    assert patient.requested_at == before + 100.0


def test_workers_and_clinics_at_once_lock_nobody_out(ready: str, bench: Bench) -> None:
    """Two sites, few patients, four workers, and consents that change all the time: no deadlock, nothing lost."""
    patients, sites = [f"patient-{n}" for n in range(4)], ("north", "south")
    for site in sites:
        bench.ledger.enqueue(
            [item(f"r{n}-{key}", lane=key, event=float(n)) for key in patients for n in range(12)], site=site, run="run"
        )
    bench.sign(*[consent("yes", patient=key) for key in patients])
    troubles: list[BaseException] = []
    bundles, revisions = itertools.count(), itertools.count(2)
    done = threading.Event()

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - whatever goes wrong in a thread is to fail the test
                troubles.append(error)

        return run

    def deliver(site: str, worker: str, gate: Signed) -> None:
        while not done.is_set() or bench.ledger.next_due(site) is not None:
            for claim in bench.ledger.claim(site, worker, gate=gate, timeout=TIMEOUT, lanes=2, limit=6):
                try:
                    if bench.ledger.still_permitted(claim.lease) is None:
                        bench.ledger.release([claim.lease])
                        continue
                    bundle = f"b{next(bundles)}"
                    bench.ledger.begin([Outgoing(bundle, claim.deliveries, "digest")])
                    bench.ledger.settle([Result(one, State.ACKED, bundle) for one in claim.deliveries])
                except ConsentChanged:
                    bench.ledger.release([claim.lease])
                except LeaseLost:
                    continue

    def sign() -> None:
        chance = Random(7)  # noqa: S311 - to be the same each time
        for _ in range(25):
            several = chance.sample(patients, 2)
            said = chance.choice(["yes", "no"])
            bench.sign(*[consent(said, next(revisions), patient=key) for key in several])
            bench.ledger.effect()
        bench.sign(*[consent("yes", next(revisions), patient=key) for key in patients])
        bench.ledger.effect()
        done.set()

    threads = [threading.Thread(target=guarded(sign))]
    for number, site in enumerate((*sites, *sites)):
        work = guarded(lambda site=site, number=number: deliver(site, f"w{number}", Signed()))  # type: ignore[misc]
        threads.append(threading.Thread(target=work))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
    bench.ledger.effect()
    for site in sites:
        guarded(lambda site=site: deliver(site, "last", Signed()))()  # type: ignore[misc]
    assert not troubles
    rows = bench.ledger.find(Where(), limit=1_000)
    assert {one.state for one in rows} == {State.ACKED}
    assert len(rows) == 2 * 4 * 12
