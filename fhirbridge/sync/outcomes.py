"""What became of each record: one outcome per record, made of one per resource. No patient data but the record's id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fhirbridge.errors import Fault
from fhirbridge.fhir.bundle import EntryOutcome, State
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Part
from fhirbridge.sources.lines import Line

# From the worst to the best: a record is only as well off as the worst of its resources.
_WORST_FIRST: tuple[State, ...] = ("unknown", "failed", "refused", "blocked", "created", "updated", "unchanged")
DELIVERED = frozenset({"created", "updated", "unchanged"})


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """One record's outcome.

    ``unchanged``: the site holds this revision, or a newer one, already. ``refused``: the record must change before it
    is sent again. ``failed``: it was not accepted now and may be sent again as it is. ``unknown``: it may have arrived.
    ``blocked``: some of it waits in the ledger for the patient's consent, and goes by itself when that comes.
    ``before_start``: it is from before the site's backfill begins, and was not queued.
    """

    line: Line = field(repr=False)
    state: State | Literal["before_start"]
    resources: tuple[tuple[Part, EntryOutcome], ...] = field(default=(), repr=False)
    faults: tuple[Fault, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of the record; empty when the line could not be read as one."""
        return self.line.record.kind if self.line.record is not None else ""

    def as_json(self) -> Tree:
        """The outcome as one line of the outcomes file."""
        record = self.line.record
        tree: Tree = {} if record is None else {"kind": record.kind, "id": record.id, "revision": record.revision}
        tree |= {"file": self.line.file, "line": self.line.line, "state": self.state}
        if self.resources:
            tree["resources"] = [_resource(part, outcome) for part, outcome in self.resources]
        if self.faults:
            tree["faults"] = [fault.as_json() for fault in self.faults]
        if self.dropped:
            tree["dropped"] = list(self.dropped)
        return tree


def _resource(part: Part, outcome: EntryOutcome) -> Tree:
    tree: Tree = {"role": part.role, "resource": f"{part.resource_type}/{part.id}", "state": outcome.state}
    if outcome.status is not None:
        tree["status"] = outcome.status
    if outcome.version is not None:
        tree["version"] = outcome.version
    return tree


def combine(
    line: Line, resources: Sequence[tuple[Part, EntryOutcome]], faults: tuple[Fault, ...], dropped: tuple[str, ...]
) -> RecordOutcome:
    """The outcome of a record from those of its resources; ``faults`` are what was said about the whole delivery."""
    states = {outcome.state for _, outcome in resources}
    state = next(state for state in _WORST_FIRST if state in states)
    if state in DELIVERED:
        return RecordOutcome(line, state, tuple(resources), dropped=dropped)
    said = (issue.as_fault() for _, outcome in resources if outcome.state == state for issue in outcome.issues)
    reasons = tuple(dict.fromkeys((*said, *faults))) or (_UNEXPLAINED[state],)
    return RecordOutcome(line, state, tuple(resources), reasons, dropped)


_UNEXPLAINED: dict[State, Fault] = {
    "unknown": Fault("site.unknown", "", "the site's answer proves nothing about this record", "push it again"),
    "failed": Fault("site.failed", "", "the site could not take the record", "push it again"),
    "refused": Fault("site.refused", "", "the site refused the record without a reason", "ask the site"),
    "blocked": Fault("consent.blocked", "", "the patient's consents do not permit it", "fhirbridge consent explain"),
}


class Summary:
    """Counts by kind and state."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.resources: dict[str, Counter[str]] = {}

    def add(self, outcome: RecordOutcome) -> None:
        """Count one outcome."""
        kind = outcome.kind or "(unreadable)"
        self.counts.setdefault(kind, Counter())[outcome.state] += 1
        states = self.resources.setdefault(kind, Counter())
        states.update(entry.state for _, entry in outcome.resources)

    def total(self, states: Iterable[str]) -> int:
        """How many records ended in one of these states."""
        return sum(counter[state] for counter in self.counts.values() for state in states)

    def as_json(self) -> Tree:
        """The counts for ``--json``: records and resources by kind and state."""
        return {
            kind: {"records": dict(sorted(counter.items())), "resources": dict(sorted(self.resources[kind].items()))}
            for kind, counter in sorted(self.counts.items())
        }
