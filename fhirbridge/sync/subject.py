"""What a decision looks at, as text beside a delivery: so a claim decides without the resource, which stays packed.

Two lines of JSON. The first is what many resources share (codes, labels), and is read once for all of them; the second
is of one resource (times, names). The text is written by :func:`text_of` and read by nobody but :class:`Subjects`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from fhirbridge.consent import Subject, subject_of
from fhirbridge.errors import LedgerError
from fhirbridge.mapping import PRIMARY, Part
from fhirbridge.records import Consent, Identifier, Record, Ref
from fhirbridge.records.base import filler

# A reference: type, system and value of its identifier, literal address.
Name: TypeAlias = tuple[str | None, str | None, str | None, str | None]
Pair: TypeAlias = tuple[str, str]
# A clinic has as many of them as it has sorts of resources; foreign ones may differ more.
_MOST_SHARED = 10_000


class _Shared(msgspec.Struct, frozen=True, array_like=True):
    codes: tuple[Pair, ...]
    labels: tuple[str, ...]
    documents: tuple[Pair, ...]


class _Own(msgspec.Struct, frozen=True, array_like=True):
    start: str | None
    end: str | None
    own: tuple[Name, ...]
    related: tuple[Name, ...]
    authors: tuple[Name, ...]
    state: str | None


_encode = msgspec.json.Encoder().encode
_read_shared = msgspec.json.Decoder(_Shared).decode
_read_own = msgspec.json.Decoder(_Own).decode
_new_ref, _new_identifier = filler(Ref), filler(Identifier)


def text_of(record: Record, part: Part) -> str:
    """The subject that one resource of a record is, as text for the ledger. Its labels stand in it already."""
    state = record.state if isinstance(record, Consent) and part.role == PRIMARY else None
    return written(subject_of(part.resource, record.kind, state=state))


def written(subject: Subject) -> str:
    """A subject as text."""
    shared = _Shared(tuple(sorted(subject.codes)), tuple(sorted(subject.labels)), tuple(sorted(subject.document_types)))
    own = _Own(
        subject.start,
        subject.end,
        _names(subject.own),
        _names(subject.related),
        _names(subject.authors),
        subject.state,
    )
    return (_encode(shared) + b"\n" + _encode(own)).decode()


def shared_in(text: str) -> str:
    """The part of a text that resources share; the same part means the same codes, labels and sort of document."""
    return text[: text.find("\n")]


class Subjects:
    """Reads texts back. Not to be shared by threads."""

    def __init__(self) -> None:
        self._shared: dict[str, tuple[frozenset[Pair], frozenset[str], frozenset[Pair]]] = {}

    def read(self, kind: str, resource_type: str, text: str, *, own: bool = True, names: bool = True) -> Subject:
        """The subject of a delivery; without its ``own`` times and names, or its ``names``, where nobody looks at them.

        Raises :class:`LedgerError` for text that :func:`text_of` has not written.
        """
        first, _, second = text.partition("\n")
        try:
            codes, labels, documents = self._shared.get(first) or self._read_shared(first)
            if not own:
                return Subject(kind, resource_type, codes, labels, document_types=documents)
            one = _read_own(second)
        except msgspec.DecodeError:
            raise LedgerError("the subject of a delivery cannot be read", code="ledger.subject") from None
        return Subject(
            kind,
            resource_type,
            codes,
            labels,
            one.start,
            one.end,
            _refs(one.own) if names else (),
            _refs(one.related) if names else (),
            _refs(one.authors) if names else (),
            documents,
            frozenset(),
            one.state,
        )

    def _read_shared(self, text: str) -> tuple[frozenset[Pair], frozenset[str], frozenset[Pair]]:
        read = _read_shared(text)
        found = frozenset(read.codes), frozenset(read.labels), frozenset(read.documents)
        if len(self._shared) >= _MOST_SHARED:
            self._shared.clear()
        self._shared[text] = found
        return found


def _names(refs: Sequence[Ref]) -> tuple[Name, ...]:
    return tuple(
        (
            one.type,
            one.identifier.system if one.identifier is not None else None,
            one.identifier.value if one.identifier is not None else None,
            one.literal,
        )
        for one in refs
    )


def _refs(names: Sequence[Name]) -> tuple[Ref, ...]:
    return tuple(_ref(*one) for one in names)


def _ref(type_: str | None, system: str | None, value: str | None, literal: str | None) -> Ref:
    named = None if value is None else _new_identifier({"system": system, "value": value, "type": None, "use": None})
    made: Ref = _new_ref({"type": type_, "identifier": named, "display": None, "literal": literal})
    return made
