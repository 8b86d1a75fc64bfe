"""Consents as the ledger keeps them: the evidence that every decision about a patient's data is made of.

A consent counts wherever it was read: also where the site's release cannot say it, and where it is older than the
start of a backfill. One that cannot be read counts too: its patient's data are not sent until it is corrected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from fhirbridge.consent import Evidence as Read
from fhirbridge.consent import Found, Unreadable
from fhirbridge.errors import JsonError, Refused
from fhirbridge.fhir.json import Tree, canonical, parse_object
from fhirbridge.ledger import Consents, Evidence, Ledger
from fhirbridge.records import Consent, Instant, Record, Ref, parse, to_json
from fhirbridge.sources.lines import Line
from fhirbridge.sync.identity import lane_of
from fhirbridge.sync.plan import revision_key, revision_of

# The source of evidence: the clinic itself. A site's name stands for what was found there.
CLINIC = ""
# Why a consent could not be read.
REFUSED = "consent.unreadable"


def evidence_of(lines: Iterable[Line], key: bytes) -> Iterator[Evidence]:
    """The consents among lines; ``key`` is the clinic's id key."""
    for line in lines:
        found = _unread(line, key) if line.record is None else of_record(line.record, key)
        if found is not None:
            yield found


def of_record(record: Record, key: bytes, source: str = CLINIC) -> Evidence | None:
    """A consent as evidence; ``None`` for any other record."""
    if not isinstance(record, Consent):
        return None
    return Evidence(lane_of(record.patient, key), source, record.id, record.revision, canonical(to_json(record)))


def with_moved(evidence: Iterable[Evidence], ledger: Ledger) -> list[Evidence]:
    """The evidence, and what voids consents of it that were once recorded under another patient: they never were that
    one's.

    Raises :class:`LedgerError`.
    """
    given = list(evidence)
    voids: list[Evidence] = []
    for one in given:
        others = [key for key in ledger.patient_of(Consent.kind, one.record) if key != one.patient]
        if others and one.body is not None:
            void = canonical(parse_object(one.body) | {"state": "entered_in_error"})
            voids += (replace(one, patient=key, body=void) for key in others)
    return given + voids


def _unread(line: Line, key: bytes) -> Evidence | None:
    """A line that is a consent and no record: evidence as far as it says whose it is, and which."""
    if not isinstance(line.raw, str):
        return None
    try:
        tree = parse_object(line.raw.encode("utf-8", "surrogatepass"))
        if tree.get("kind") != Consent.kind:
            return None
        fields = tree["record"] if isinstance(tree.get("record"), dict) else tree
        patient = parse(Ref, fields["patient"] if isinstance(fields.get("patient"), dict) else {})
    except (JsonError, Refused):
        return None
    own, revision = fields.get("id"), _revision(fields)
    if not isinstance(own, str) or not own or revision is None:
        return None
    return Evidence(lane_of(patient, key), CLINIC, own, revision, None, REFUSED)


def _revision(fields: Tree) -> int | str | None:
    said = fields.get("revision")
    if isinstance(said, int) and not isinstance(said, bool) and said >= 0:
        return said
    try:
        return Instant(said) if isinstance(said, str) else None
    except ValueError:
        return None


def read(consents: Consents, trusted: str | None = None) -> list[Read]:
    """A patient's consents as a decision wants them: what was found at a site may forbid, and permits nothing.

    Unless it is the site ``trusted``, for what is read from there.
    """
    return [_read(one, trusted) for one in consents.evidence]


def with_newer(consents: Consents, came: Iterable[Evidence]) -> Consents:
    """The consents as they would be with those that came: of each the newest revision."""
    newest = {(one.source, one.record): one for one in consents.evidence}
    for one in came:
        held = newest.get((one.source, one.record))
        if held is None or revision_key(revision_of(str(held.revision))) <= revision_key(one.revision):
            newest[one.source, one.record] = one
    return replace(consents, evidence=tuple(newest.values()))


def _read(one: Evidence, trusted: str | None) -> Read:
    if one.body is None:
        return Unreadable(one.record, one.reason, one.source)
    tree = parse_object(one.body)
    try:
        consent = parse(Consent, {name: value for name, value in tree.items() if name != "kind"})
    except Refused:
        # Another version of fhirbridge could read it.
        return Unreadable(one.record, REFUSED, one.source)
    return consent if one.source == CLINIC else Found(consent, one.source, may_permit=one.source == trusted)
