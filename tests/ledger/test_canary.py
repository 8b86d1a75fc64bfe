"""Nothing that a record says can be found in the ledger's files by who has no key."""

from __future__ import annotations

import hashlib
import itertools
import json
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.errors import LedgerMismatch, NotExpressible, Refused
from fhirbridge.fhir.json import parse_object
from fhirbridge.ledger import Asked, Consents, Ended, Evidence, Ledger, Outgoing, Result, State, Verdict, Where
from fhirbridge.ledger.schema import metadata
from fhirbridge.ledger.store import Store
from fhirbridge.mapping import Mappings
from fhirbridge.sources import Line
from fhirbridge.sync.enqueue import Intake
from fhirbridge.sync.evidence import evidence_of
from fhirbridge.sync.plan import Planned, planned
from tests.kinds import KINDS
from tests.ledger.bench import ID_KEY, SITE, VAULT
from tests.ledger.canaries import MARKER, marked
from tests.ledger.older import filled
from tests.vault.vaults import DOMAIN, vault_of

ROOT = Path(__file__).resolve().parents[1] / "golden"
MAPPINGS = Mappings(Binding(Clinic(DOMAIN, ID_KEY), Release.R5), KINDS)
REVISION = "2026-11-23T04:05:06.789012Z"
# As a rank has it, in microseconds.
RANK = "63930902706789012"


def golden() -> list[dict[str, Any]]:
    """A record of each file of ``tests/golden``."""
    found = []
    for path in sorted(ROOT.rglob("*.json")):
        if path.name == "codes.json":
            continue
        tree = parse_object(path.read_bytes())
        record = tree.get("record", tree)
        if isinstance(record, dict) and record.get("kind") in KINDS and "resourceType" not in record:
            found.append(record)
    return found


def records() -> list[Line]:
    """Every golden record, with a marker in each text and one moment as revision."""
    lines = []
    for number, tree in enumerate(golden()):
        record, taken = marked(tree | {"revision": REVISION}, f"{number}")
        assert ("id",) in taken
        assert ("patient", "identifier", "value") in taken or "identifier" not in tree["patient"]
        lines.append(Line("records", number, record))
    return lines


class Talkative:
    """A gate that quotes what it is asked about, and permits all but every fourth."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._count = 0

    def knows(self, patient: str, version: int) -> bool:
        return self._known.get(patient) == version

    def learn(self, consents: Consents) -> None:
        self._known[consents.patient] = consents.version

    def decide(self, patient: str, version: int, asked: Sequence[Asked], now: float) -> Sequence[Verdict]:
        found = []
        for one in asked:
            self._count += 1
            trail = json.dumps([one.record, one.subject])
            found.append(Verdict(self._count % 4 != 0, "share", "a-code", f"{one.record}@1", trail))
        return found


def scanned(folder: Path, *words: str) -> dict[str, list[str]]:
    """In which files which of the words stand, as text of any usual sort."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes()
        for word in words:
            forms = (word.encode(), word.encode("utf-16-le"), word.encode().hex().encode())
            if any(form in data for form in forms):
                found.setdefault(path.name, []).append(word)
    return found


def fill(ledger: Ledger, mapped: list[Planned], lines: list[Line]) -> None:
    """Everything that a run writes: queued, sent, refused, in doubt, blocked, replaced; consents, marks, proofs."""
    intake = Intake(ledger, SITE, MAPPINGS.binding, "run-1")
    intake.take(mapped, evidence=evidence_of(lines, ID_KEY), marks={f"{MARKER}.ndjson": MARKER})
    ledger.keep_evidence([Evidence("p", "", f"{MARKER}-c", REVISION, None, "consent.unknown_code")])
    ledger.keep_proof(SITE, f'{{"{MARKER}": 1}}')
    ends = [State.ACKED, State.PARKED, State.REJECTED, State.UNKNOWN, State.QUEUED]
    gate, turn_of = Talkative(), itertools.cycle(ends)
    for turn in range(3):
        for claim in ledger.claim(SITE, f"w{turn}", gate=gate, timeout=30.0, lanes=1_000):
            fresh = [one for one in claim.deliveries if one.state is State.CLAIMED]
            for one in fresh:
                bundle = f"{turn}-{one.id}"
                ledger.begin([Outgoing(bundle, [one], "a digest")])
                end = next(turn_of)
                ledger.settle([Result(one, end, bundle, f"site.{end}", version="1")], ended=[Ended(bundle, "200")])
            ledger.release([claim.lease])
    ledger.replay(Where(site=SITE, states=(State.PARKED,)))


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return records()


@pytest.fixture(scope="module")
def mapped(lines: list[Line]) -> list[Planned]:
    found = []
    for line in lines:
        assert line.record is not None
        try:
            found.append(planned(line, line.record, MAPPINGS))
        except (NotExpressible, Refused):
            continue
    assert {one.record.kind for one in found} == set(KINDS)
    assert len(found) > len(lines) // 2
    return found


def test_no_word_of_any_record_stands_in_any_file_of_the_ledger(
    tmp_path: Path, mapped: list[Planned], lines: list[Line]
) -> None:
    """Not in the file, its log, its shared memory, nor in a backup; also after a purge and a new beginning."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", vault=VAULT) as ledger:
        fill(ledger, mapped, lines)
        # It is all there, for who has the keys.
        rows = ledger.find(Where(site=SITE), limit=10_000)
        assert all(MARKER in row.record and row.revision == REVISION for row in rows)
        assert any(MARKER.encode() in body for body in ledger.bodies([row.id for row in rows]).values())
        assert {row.state for row in rows} >= {State.ACKED, State.REJECTED, State.UNKNOWN, State.BLOCKED}
        source, copy = sqlite3.connect(tmp_path / "ledger.db"), sqlite3.connect(tmp_path / "backup.db")
        source.backup(copy)
        copy.close()
        source.close()
        names = {path.name for path in tmp_path.iterdir()}
        assert names >= {"ledger.db", "ledger.db-wal", "ledger.db-shm", "backup.db"}
        assert scanned(tmp_path, MARKER, REVISION, RANK) == {}
        assert not list(ledger.tampered())
        ledger.purge(9e12)
        assert scanned(tmp_path, MARKER, REVISION, RANK) == {}
    assert scanned(tmp_path, MARKER, REVISION, RANK) == {}


def test_no_word_of_any_record_stands_in_any_row_of_either_store(
    ready: str, mapped: list[Planned], lines: list[Line]
) -> None:
    with Ledger.open(ready, vault=VAULT) as ledger:
        fill(ledger, mapped, lines)
        with ledger._store.read() as connection:
            for table in metadata.sorted_tables:
                told = repr([tuple(row) for row in connection.execute(sa.select(table))])
                assert MARKER not in told, table.name
                assert REVISION not in told, table.name


# What was deleted in a ledger of before.
GONE = "Zq7gone"
# A ledger of before it was sealed.
CLEAR: dict[str, list[dict[str, Any]]] = {
    "patient": [{"key": "p1", "version": 1, "effective_version": 1, "requested_at": 1.0, "effective_at": 1.0}],
    "lane": [{"site": SITE, "key": "p1", "priority": 1, "ready_at": 9.0, "fence": 1, "held": 0}],
    "consent": [
        {
            "patient": 1,
            "source": "",
            "record": f"{MARKER}-c",
            "revision": "1",
            "rank": "0011",
            "codec": "zlib",
            "at": 1.0,
        }
        | {"content": "", "body": zlib.compress(MARKER.encode(), 0), "reason": ""}
    ],
    "decision": [
        {"at": 1.0, "site": SITE, "patient": 1, "act": "share", "effect": "permit", "reason": "permitted"}
        | {"consents": f"{MARKER}-c@1", "trail": f'["{MARKER}"]', "digest": "0" * 64}
    ],
    "resource": [
        {"site": SITE, "kind": "session", "record": f"{MARKER}-r", "role": "primary", "generation": 0, "lane": 1}
        | {"resource_type": "Procedure", "resource_id": "f-1", "revision": REVISION, "rank": f"1{RANK:0>20}"}
        | {"withdrawn": False, "server": "present", "version": "1", "acked": 1}
    ],
    "bundle": [
        {"id": "b1", "lane": 1, "worker": "w", "fence": 1, "attempt": 1, "entries": 1, "digest": "d", "begun_at": 1.0}
    ],
    "payload": [
        {"lane": 1, "codec": "zlib", "data": zlib.compress(f"{MARKER} old".encode(), 0)},
        {"lane": 1, "codec": "zlib", "data": zlib.compress(f"{MARKER} {GONE}".encode() * 20_000, 0)},
    ],
    "delivery": [
        {"resource": 1, "lane": 1, "state": state, "event": 1.0, "next_at": 9.0, "settled_at": settled, "attempts": 1}
        | {"looks": 0, "bundle": "b1", "reason": "", "version": "1", "revision": REVISION, "action": "put"}
        | {"rank": f"1{RANK:0>20}", "content": "x", "mapping": "1.0", "urgent": False, "run": "run-0", "payload": 1}
        | {"enqueued_at": 1.0, "start": 0, "length": len(MARKER), "subject": f'["{MARKER}"]', "decision": 1}
        for state, settled in (("acked", 2.0), ("queued", None))
    ],
    "event": [
        {
            "resource": 1,
            "delivery": 1,
            "at": 1.0,
            "event": "again",
            "before": "in_flight",
            "after": "queued",
            "reason": "",
        }
        | {"bundle": "b1", "decision": 1}
    ],
    "kept": [
        {"scope": "marks", "name": f"{MARKER}.ndjson", "value": MARKER, "at": 1.0},
        {"scope": f"limits:{SITE}", "name": "entries", "value": "50", "at": 1.0},
    ],
}


def in_clear(url: str) -> None:
    """Make it, with something deleted that its pages still hold."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        content = hashlib.sha256(b"body|" + MARKER.encode()).hexdigest()
        consents = [row | {"content": content} for row in CLEAR["consent"]]
        filled(connection, "0002", CLEAR | {"consent": consents})
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # Some systems build it so that it overwrites what is deleted, and some do not.
            connection.exec_driver_sql("PRAGMA secure_delete = OFF")
        connection.execute(sa.text("DELETE FROM fhirbridge_payload WHERE id = 2"))
        connection.commit()
    engine.dispose()


def test_a_ledger_in_clear_is_sealed_when_it_is_opened_and_no_free_page_keeps_a_word(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    in_clear(url)
    assert set(scanned(tmp_path, MARKER, REVISION, RANK, GONE)["ledger.db"]) == {MARKER, REVISION, RANK, GONE}
    with Ledger.open(url, vault=VAULT) as ledger:
        assert scanned(tmp_path, MARKER, REVISION, RANK, GONE) == {}
        _reads_as_before(ledger)
    assert scanned(tmp_path, MARKER, REVISION, RANK, GONE) == {}


def _reads_as_before(ledger: Ledger) -> None:
    assert not list(ledger.tampered())
    assert set(ledger.sealed_under()) == {VAULT.active}
    (known,) = ledger.known(SITE, [("session", f"{MARKER}-r")])
    assert (known.revision, known.acked_revision, known.subject) == (REVISION, REVISION, f'["{MARKER}"]')
    assert ledger.bodies([1, 2]) == {1: MARKER.encode(), 2: MARKER.encode()}
    (one,) = ledger.consents("p1").evidence
    assert (one.record, one.revision, one.body) == (f"{MARKER}-c", 1, MARKER.encode())
    decided = ledger.decisions(SITE, "session", f"{MARKER}-r")
    assert {(one.consents, one.trail) for one in decided} == {(f"{MARKER}-c@1", f'["{MARKER}"]')}
    assert ledger.mark(f"{MARKER}.ndjson") == MARKER
    assert ledger.limits(SITE) == {"entries": 50}
    story = {one.event for one in ledger.history(SITE, "session", f"{MARKER}-r")}
    assert story == {"enqueue", "begin", "again", "ack"}
    # The same said again is known.
    assert ledger.keep_evidence([Evidence("p1", "", f"{MARKER}-c", 1, MARKER.encode())]) == []


def test_a_ledger_in_clear_reads_the_same_once_it_is_sealed_on_either_store(url: str) -> None:
    in_clear(url)
    with Ledger.open(url, vault=VAULT) as ledger:
        _reads_as_before(ledger)
        with ledger._store.read() as connection:
            for table in metadata.sorted_tables:
                told = repr([tuple(row) for row in connection.execute(sa.select(table))])
                assert MARKER not in told, table.name


def test_a_ledger_in_clear_of_another_id_key_is_left_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    in_clear(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        row = {"name": "key_check", "value": VAULT.id_check}
        connection.execute(sa.insert(sa.Table("fhirbridge_meta", sa.MetaData(), autoload_with=connection)).values(row))
    engine.dispose()
    with pytest.raises(LedgerMismatch) as refused:
        Ledger.open(url, vault=vault_of(b"another id key, of any length"))
    assert refused.value.code == "ledger.key"
    with Ledger.open(url, vault=VAULT) as ledger:
        _reads_as_before(ledger)


def test_a_process_that_died_before_the_file_was_written_anew_leaves_that_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    in_clear(url)

    def dies(self: Store) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "rewrite", dies)
        with pytest.raises(KeyboardInterrupt):
            Ledger.open(url, vault=VAULT)
    with Ledger.open(url, vault=VAULT) as ledger:
        assert scanned(tmp_path, MARKER, REVISION, RANK, GONE) == {}
        _reads_as_before(ledger)
