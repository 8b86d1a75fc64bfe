"""After a withdrawal is effective no byte leaves but of what it permits, however everything falls together.

Everything is tried (see ``interleavings``) on the ledger as it is; and on ledgers of which one part does not do its
duty, where the search has to find what goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import ColumnElement, and_, bindparam, exists, false, or_, select, update

from fhirbridge.ledger import Ledger, lease, locks, settle, withdrawal
from fhirbridge.ledger.schema import IS_REQUESTED, lane, patient
from tests.ledger.interleavings import Search, Setting, Violation

pytestmark = pytest.mark.slow

# A lease shorter than a request: a worker may lose its lane and be sending still.
SHORT_LEASE = Setting(lease=10.0, timeouts=(30.0,))
SHORT_REQUEST = Setting(timeouts=(10.0,))
TWO_SITES = Setting(sites=("north", "south"), timeouts=(10.0, 20.0), crashes=0, reads=False)
STEPS = {
    "claim", "read-check", "read-first-byte", "read-last-byte", "begin", "first-byte", "last-byte", "settle",
    "settle-doubt", "crash", "ask", "commit", "effect", "follow", "rescue", "tick",
}  # fmt: skip
FORBIDDEN = "a byte that was permitted before the withdrawal"
LATE = "not effective when its time was over"


POSTGRESQL = pytest.mark.xdist_group("postgresql")


def everything(url: str, setting: Setting) -> None:
    search = Search(url, setting)
    search.run()
    assert search.reached == (STEPS if setting.crashes else STEPS - {"crash"})
    assert search.worlds > 500


@pytest.mark.long
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("setting", [SHORT_LEASE, SHORT_REQUEST], ids=["short-lease", "short-request"])
def test_no_byte_leaves_that_an_effective_withdrawal_forbids(ready: str, setting: Setting) -> None:
    everything(ready, setting)


@pytest.mark.long
@pytest.mark.parametrize("store", [pytest.param("postgresql", marks=POSTGRESQL)], indirect=True)
def test_nor_does_it_where_rows_are_locked_one_by_one(ready: str) -> None:
    everything(ready, Setting(timeouts=(10.0,), crashes=0))


def waits_for(patch: pytest.MonkeyPatch, under_way: ColumnElement[bool]) -> None:
    """Let a change be effective when something else is not so."""
    quiet = select(patient.c.id, patient.c.key, patient.c.version).where(IS_REQUESTED, ~under_way)
    patch.setattr(withdrawal, "_REQUESTED", quiet.order_by(patient.c.id).limit(bindparam("most")))
    patch.setattr(withdrawal, "_STILL", quiet.where(patient.c.key.in_(bindparam("keys", expanding=True))))


HELD = and_(lane.c.worker.is_not(None), lane.c.consents < patient.c.version)
STRAY = lane.c.stray_until > bindparam("now")
IN_TIME = patient.c.requested_at + lane.c.timeout > bindparam("now")
MINE = lane.c.key == patient.c.key


def begins_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the consents before the first byte of a bundle."""
    patch.setattr(settle, "lease", SimpleNamespace(check=lease.check, permitted=lambda *_: None))


def reads_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the consents before a question about the patient."""
    patch.setattr(Ledger, "still_permitted", lambda self, held: self._clock() + held.timeout)


def looks_without_a_lock(patch: pytest.MonkeyPatch) -> None:
    """A look does not wait for who is writing a withdrawal at this moment."""
    patch.setattr(locks, "_SHARE", locks._PATIENTS)

    def unlocked(self: Ledger, held: Any) -> float | None:
        with self._store.read() as connection:
            seen = locks.share_patients(connection, [held.key])
        return self._clock() + held.timeout if seen[held.key].version == held.consents else None

    patch.setattr(Ledger, "still_permitted", unlocked)


def waits_for_nothing(patch: pytest.MonkeyPatch) -> None:
    """A withdrawal is effective as soon as it is requested."""
    waits_for(patch, false())


def waits_for_no_strays(patch: pytest.MonkeyPatch) -> None:
    """A worker that lost its lease is believed to send nothing."""
    waits_for(patch, exists().where(MINE, HELD, IN_TIME))


def forgets_strays(patch: pytest.MonkeyPatch) -> None:
    """A lane that is taken back does not remember that its worker may be sending."""
    patch.setattr(lease, "_STRAY", update(lane).where(lane.c.id == bindparam("it")).values(held=0))


def waits_half_the_time(patch: pytest.MonkeyPatch) -> None:
    """Half of the time that a request may last is believed to be enough."""
    half = patient.c.requested_at + lane.c.timeout / 2 > bindparam("now")
    waits_for(patch, exists().where(MINE, or_(HELD, STRAY), half))


def waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A withdrawal waits until workers give their lanes back, and no clock ends that."""
    waits_for(patch, exists().where(MINE, or_(HELD, STRAY)))


def waits_for_one_site(patch: pytest.MonkeyPatch) -> None:
    """What is under way at another site is not seen."""
    waits_for(patch, exists().where(MINE, lane.c.site == "north", or_(HELD, STRAY), IN_TIME))


BREAKS = [
    (begins_without_a_look, SHORT_REQUEST, FORBIDDEN),
    (reads_without_a_look, SHORT_REQUEST, FORBIDDEN),
    (looks_without_a_lock, SHORT_REQUEST, FORBIDDEN),
    (waits_for_nothing, SHORT_REQUEST, FORBIDDEN),
    (waits_for_no_strays, SHORT_LEASE, FORBIDDEN),
    (forgets_strays, SHORT_LEASE, FORBIDDEN),
    (waits_half_the_time, SHORT_LEASE, FORBIDDEN),
    (waits_for_ever, SHORT_REQUEST, LATE),
    (waits_for_one_site, TWO_SITES, FORBIDDEN),
]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("breaks", "setting", "said"), BREAKS, ids=[one[0].__name__ for one in BREAKS])
def test_the_search_finds_what_a_part_that_is_missing_lets_happen(
    ready: str,
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[pytest.MonkeyPatch], None],
    setting: Setting,
    said: str,
) -> None:
    breaks(monkeypatch)
    with pytest.raises(Violation, match=said):
        Search(ready, setting).run()


@pytest.mark.parametrize("store", [pytest.param("postgresql", marks=POSTGRESQL)], indirect=True)
def test_the_search_finds_a_look_that_locks_no_row(ready: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks_without_a_lock(monkeypatch)
    with pytest.raises(Violation, match=FORBIDDEN):
        Search(ready, SHORT_REQUEST).run()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_the_search_finds_a_worker_that_reckons_by_itself_how_long_a_request_may_last(ready: str) -> None:
    with pytest.raises(Violation, match=FORBIDDEN):
        Search(ready, SHORT_REQUEST, late=True).run()
