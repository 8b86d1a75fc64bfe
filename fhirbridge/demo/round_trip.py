"""A clinic's records to a server and back: what went out, what came back equal, what a second push did."""

from __future__ import annotations

import decimal
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from fhirbridge.errors import Fault
from fhirbridge.fhir.json import Json, Tree, canonical
from fhirbridge.ledger import Ledger
from fhirbridge.records import Decimal, to_json
from fhirbridge.residue import Entry
from fhirbridge.site import Site
from fhirbridge.sources.lines import Line, read_record
from fhirbridge.sync import Pulled, RecordOutcome, pull, push
from fhirbridge.sync.outcomes import DELIVERED
from fhirbridge.sync.plan import revision_key
from fhirbridge.synth import Options, records

_MOST_PROBLEMS = 20
_CHANGED = ("created", "updated")
_WRITTEN_BY_SERVERS = frozenset({"meta.versionId", "meta.lastUpdated", "meta.source"})


def added_on_the_way(entry: Entry) -> bool:
    """Whether residue is no more than servers and delivery do to any resource.

    Servers stamp versions, sort labels (which are a set), merge tags so that earlier revisions stay on, and give an
    integer64 as a number (both HAPI); delivery adds literal references.
    """
    if entry.op == "order":
        return entry.path in ("meta.security", "meta.tag")
    if entry.path.startswith("meta.tag["):
        return isinstance(entry.value, dict) and str(entry.value.get("system")).endswith("/CodeSystem/revision")
    if entry.op == "set" and entry.path.endswith("].size"):
        return isinstance(entry.value, int)
    return entry.path in _WRITTEN_BY_SERVERS or entry.path.endswith(".reference")


def by_value(tree: Json) -> Json:
    """The tree with each number in one spelling (0.50 as 0.5), for servers that do not keep a number's digits."""
    if isinstance(tree, dict):
        return {name: by_value(member) for name, member in tree.items()}
    if isinstance(tree, list):
        return [by_value(item) for item in tree]
    if isinstance(tree, str | bool) or tree is None:
        return tree
    return Decimal(f"{decimal.Decimal(str(tree)).normalize():f}")


@dataclass(slots=True)
class Row:
    """What happened to the records of one kind. ``respelt`` are equal but for digits that the server dropped."""

    records: int = 0
    resources: int = 0
    equal: int = 0
    respelt: int = 0
    created_again: int = 0
    changed_again: int = 0


@dataclass(slots=True)
class _Sent:
    revision: int | str
    text: bytes
    value: bytes
    pulled: bool = False


@dataclass(slots=True)
class RoundTrip:
    """Push, pull, push again, in this order; each step is an iterator so that its progress can be shown.

    ``rows`` counts by kind. ``problems`` names what went wrong by kind, path and code, never by content; at most 20 are
    kept and ``more`` counts the rest.
    """

    site: Site
    options: Options
    ledger: Ledger
    rows: dict[str, Row] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    more: int = 0
    _sent: dict[tuple[str, str], _Sent] = field(default_factory=dict)

    def lines(self) -> Iterator[Line]:
        """The clinic's records, read as a source's lines are."""
        models = {name: kind.record for name, kind in self.site.mappings.kinds.items()}
        for number, tree in enumerate(records(self.options), 1):
            record, residue = read_record(tree, models)
            yield Line("synthetic clinic", number, record, residue)

    def first_push(self) -> Iterator[RecordOutcome]:
        """Deliver everything."""
        for outcome in push(self._remembered(), self.site, self.ledger):
            row = self.rows.setdefault(outcome.kind, Row())
            row.resources += sum(entry.state == "created" for _, entry in outcome.resources)
            if outcome.state not in DELIVERED:
                self._problem(f"{outcome.kind}: {outcome.state}", outcome.faults)
            yield outcome

    def read_back(self) -> Iterator[Pulled]:
        """Read everything back and compare it, record by record, as canonical JSON; numbers by their value."""
        for pulled in pull(self.site, self.ledger):
            if pulled.reading is None:
                self._problem(f"{pulled.resource_type}: not read", pulled.faults)
            else:
                record, residue = pulled.reading.record, pulled.reading.residue
                self._compare(record.kind, record.id, to_json(record))
                for entry in residue:
                    if not added_on_the_way(entry):
                        self._problem(f"{record.kind}: residue at {entry.path}")
            yield pulled
        for (kind, _), sent in self._sent.items():
            if not sent.pulled:
                self._problem(f"{kind}: not on the server")

    def second_push(self) -> Iterator[RecordOutcome]:
        """Deliver the same again, and see that the server has nothing new."""
        for outcome in push(self.lines(), self.site, self.ledger):
            row = self.rows[outcome.kind]
            row.created_again += sum(entry.state == "created" for _, entry in outcome.resources)
            row.changed_again += sum(entry.state in _CHANGED for _, entry in outcome.resources)
            if outcome.state not in DELIVERED:
                self._problem(f"{outcome.kind}: {outcome.state} on the second push", outcome.faults)
            yield outcome

    @property
    def succeeded(self) -> bool:
        """Whether every record came back equal and the second push changed nothing."""
        return (
            bool(self.rows)
            and not self.problems
            and all(row.equal == row.records and not row.changed_again for row in self.rows.values())
        )

    def _remembered(self) -> Iterator[Line]:
        for line in self.lines():
            record = line.record
            assert record is not None
            key = record.kind, record.id
            if key not in self._sent:
                self.rows.setdefault(record.kind, Row()).records += 1
            known = self._sent.get(key)
            if known is None or revision_key(known.revision) < revision_key(record.revision):
                tree = to_json(record)
                self._sent[key] = _Sent(record.revision, _digest(tree), _digest(by_value(tree)))
            yield line

    def _compare(self, kind: str, id_: str, tree: Tree) -> None:
        sent = self._sent.get((kind, id_))
        if sent is None or sent.pulled:
            self._problem(f"{kind}: {'unknown here' if sent is None else 'twice on the server'}")
            return
        sent.pulled = True
        if sent.value == _digest(by_value(tree)):
            self.rows[kind].equal += 1
            self.rows[kind].respelt += sent.text != _digest(tree)
        else:
            self._problem(f"{kind}: came back different")

    def _problem(self, what: str, faults: tuple[Fault, ...] = ()) -> None:
        told = "; ".join(map(str, faults))
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(f"{what}: {told}" if told else what)
        else:
            self.more += 1


def _digest(tree: Tree) -> bytes:
    return hashlib.sha256(canonical(tree)).digest()
