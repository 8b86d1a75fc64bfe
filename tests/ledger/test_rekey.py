"""A key is rotated while workers go on; afterwards the old one can be dropped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fhirbridge.errors import LedgerError, LedgerUnavailable
from fhirbridge.ledger import Ledger, State, Where
from fhirbridge.ledger import rekey as rekeying
from tests.ledger.bench import ID_KEY, SITE, VAULT, Bench, Clock, item
from tests.ledger.gates import PATIENT
from tests.vault.tamper import fill
from tests.vault.vaults import vault_of

BOTH = vault_of(ID_KEY, "2027-01", "demo")
ONLY_NEW = vault_of(ID_KEY, "2027-01")


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[str]:
    address = f"sqlite:///{tmp_path / 'ledger.db'}"
    bench = Bench.open(address, Clock())
    fill(bench)
    bench.ledger.close()
    return address


def told(ledger: Ledger) -> list[object]:
    """Everything that can be read of a ledger."""
    rows = ledger.find(Where(), limit=10_000)
    patients = sorted({one.lane for one in ledger.each_known(SITE)})
    return [
        rows,
        list(ledger.each_known(SITE)),
        ledger.bodies([one.id for one in rows]),
        [ledger.consents(key) for key in patients],
        [ledger.history(one.site, one.kind, one.record) for one in rows],
        [ledger.decisions(one.site, one.kind, one.record) for one in rows],
        ledger.proof(SITE),
        ledger.limits(SITE),
        ledger.mark("a file"),
    ]


def test_after_a_rotation_everything_reads_the_same_without_the_old_key(filled: str) -> None:
    with Ledger.open(filled, vault=VAULT) as ledger:
        before, count = told(ledger), ledger.sealed_under()
        assert set(count) == {"demo"}
    with Ledger.open(filled, vault=BOTH) as ledger:
        assert told(ledger) == before
        assert sum(ledger.rekey()) == count["demo"]
        assert ledger.sealed_under() == {"2027-01": count["demo"]}
        assert sum(ledger.rekey()) == 0
    with Ledger.open(filled, vault=ONLY_NEW) as ledger:
        assert told(ledger) == before
        assert not list(ledger.tampered())


def test_a_rotation_that_was_broken_off_is_gone_on_with(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rekeying, "_COLUMNS", tuple(one._replace(batch=2) for one in rekeying._COLUMNS))
    with Ledger.open(filled, vault=BOTH) as ledger:
        count = ledger.sealed_under()["demo"]
        first = ledger.rekey()
        done = next(first) + next(first)
        first.close()  # type: ignore[attr-defined]
        assert ledger.sealed_under() == {"demo": count - done, "2027-01": done}
        assert not list(ledger.tampered())
        assert sum(ledger.rekey()) == count - done


def test_a_value_that_does_not_open_stops_the_rotation_and_is_named(filled: str) -> None:
    with Ledger.open(filled, vault=BOTH) as ledger:
        with ledger._store.write() as connection:
            connection.execute(sa.text("UPDATE fhirbridge_payload SET lane = lane + 1 WHERE id = 1"))
        with pytest.raises(LedgerError) as refused:
            list(ledger.rekey())
        assert refused.value.code == "ledger.tampered"
        assert "fhirbridge_payload" in str(refused.value)


def test_a_row_is_sealed_anew_by_who_holds_its_lane(ready: str) -> None:
    before = Bench.open(ready, Clock())
    before.offer(item("r1"))
    before.ledger.close()
    engine = sa.create_engine(ready)
    with Ledger.open(ready, vault=BOTH, patience=0.05) as ledger, engine.connect() as clinic:
        ledger.enqueue([item("r2")], site=SITE, run="run-2", connection=clinic)
        with pytest.raises(LedgerUnavailable) as refused:
            list(ledger.rekey())
        assert refused.value.code == "ledger.locked"
        clinic.commit()
        assert sum(ledger.rekey()) > 0
    engine.dispose()


def test_workers_and_intake_go_on_while_everything_is_sealed_anew(ready: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rekeying, "_COLUMNS", tuple(one._replace(batch=3) for one in rekeying._COLUMNS))
    old = Bench.open(ready, Clock())
    old.offer(*[item(f"r{n}", lane=f"patient-{n % 4}", subject="s") for n in range(24)])
    old.send(State.ACKED)
    old.ledger.close()
    clock = Clock()
    with Ledger.open(ready, vault=BOTH, clock=clock) as ledger, Ledger.open(ready, vault=BOTH, clock=clock) as other:
        troubles: list[BaseException] = []

        def work() -> None:
            bench = Bench(other, clock)
            try:
                for revision in (2, 3, 4):
                    bench.offer(*[item(f"r{n}", revision, lane=f"patient-{n % 4}", subject="s") for n in range(24)])
                    # A lane that is being sealed anew is passed by.
                    while (SITE, "session", State.QUEUED) in other.standing(SITE).counts:
                        bench.send(State.ACKED)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong in a thread is to fail the test
                troubles.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            list(ledger.rekey())
        thread.join()
        assert not troubles
        list(ledger.rekey())
        assert set(ledger.sealed_under()) == {"2027-01"}
        assert not list(ledger.tampered())
    with Ledger.open(ready, vault=ONLY_NEW) as ledger:
        assert {(one.revision, one.state) for one in ledger.find(Where(site=SITE))} == {
            (str(revision), State.ACKED) for revision in range(1, 5)
        }
        assert ledger.patient(PATIENT) is not None
