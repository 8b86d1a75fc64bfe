"""An update of which nobody knows whether it was done is sent again only so often, whatever the site makes of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fhirbridge.ledger import State, Where
from fhirbridge.sync.doubt import MOST_ATTEMPTS
from fhirbridge.sync.reason import Reason
from tests.client.pushing import rate, register
from tests.client.server import FakeServer, Reply, Request, outcome, serving
from tests.sync.test_worker import Clinic


@contextmanager
def corrected() -> Iterator[tuple[Clinic, list[Request]]]:
    """A clinic whose record ``v1`` is at the site, and a correction of it in the queue; and the writes since."""
    with tempfile.TemporaryDirectory() as folder, serving(FakeServer()) as server:
        register(server, "P-1", "P-2")
        clinic = Clinic(server, Path(folder), provenance="never")
        clinic.queue(rate("v1"))
        clinic.deliver()
        clinic.queue(rate("v1", revision=2, value=80))
        yield clinic, []
        clinic.site.client.close()
        clinic.ledger.close()


def is_correction(request: Request) -> bool:
    return request.method == "POST" and b'"PUT"' in request.body and b"P-1" in request.body


@given(st.lists(st.booleans(), min_size=1, max_size=6))
@settings(max_examples=6, deadline=None)
def test_what_a_site_takes_each_time_and_never_as_it_was_sent_is_left_to_people(taken: list[bool]) -> None:
    """Every reply is lost; of some attempts the site has done nothing, of others something else than was asked for."""
    with corrected() as (clinic, sent):

        def behave(request: Request) -> Reply | None:
            if not is_correction(request):
                return None
            sent.append(request)
            if taken[(len(sent) - 1) % len(taken)]:
                (entry,) = request.tree["entry"]
                # No tags, and no unit: what a server does not know it does not keep.
                value = {"value": entry["resource"]["valueQuantity"]["value"]}
                clinic.server.put({**entry["resource"], "meta": {}, "valueQuantity": value})
            return Reply(cut=True)

        clinic.server.misbehave = behave
        clinic.deliver(patience=600)
        (row,) = clinic.known(("vital_sign", "v1"))
        if not any(taken):
            # An outage uses up nobody's attempts.
            assert row.state in (State.QUEUED, State.UNKNOWN)
            return
        assert row.state is State.PARKED
        first = taken.index(True) + 1
        assert len(sent) <= max(MOST_ATTEMPTS, first)


def test_a_person_can_have_it_sent_again() -> None:
    with corrected() as (clinic, sent):

        def drop(request: Request) -> Reply | None:
            if not is_correction(request):
                return None
            sent.append(request)
            (entry,) = request.tree["entry"]
            theirs = {name: entry["resource"][name] for name in entry["resource"] if name != "category"}
            clinic.server.put(theirs)
            return Reply(cut=True)

        clinic.server.misbehave = drop
        clinic.deliver()
        (row,) = clinic.ledger.failed("s")
        assert (row.state, row.reason, len(sent)) == (State.PARKED, "doubt.differs", MOST_ATTEMPTS)
        (fault,) = clinic.reports[-1].faults
        assert (fault.code, fault.path) == ("doubt.differs", "")
        clinic.server.misbehave = lambda request: None
        assert clinic.ledger.replay(Where(site="s", reason="doubt.")) == 1
        clinic.deliver()
        assert clinic.states() == {State.ACKED: 2}


def test_what_a_site_never_does_while_it_works_for_others_is_left_to_people() -> None:
    """The retry table gives a server error three attempts; the copy that was there before does not make them more."""
    with corrected() as (clinic, sent):

        def fail(request: Request) -> Reply | None:
            if is_correction(request):
                sent.append(request)
                return Reply(500, outcome("exception"))
            return None

        def sleep(seconds: float) -> None:
            clinic.clock.now += seconds
            clinic.queue(rate(f"w{len(clinic.reports)}-{clinic.clock.now}", "P-2"))

        clinic.server.misbehave = fail
        worker = clinic.worker()
        worker._sleep = sleep
        worker.run(lambda: len(sent) < 9 and not clinic.ledger.failed("s"), 10_000)
        (row,) = clinic.ledger.failed("s")
        assert (row.record, Reason.read(row.reason).why) == ("v1", "server-error")
        assert len(sent) == 3
