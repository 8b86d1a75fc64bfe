"""From a resource as a server gave it to a record: what only that server's copy has is taken away before it is read.

What is taken away is a version, a time of storage, and the address beside a reference that also has an identifier. It
is taken out of the text, for a resource without it is read by its layout, without parsing. An address that stays means
something at its own server only, so where there are several the server gets into the id.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TypeVar

from fhirbridge.fhir.json import Tree, parse_object
from fhirbridge.fhir.subject import named_patient
from fhirbridge.mapping import Mappings, Reading
from fhirbridge.records import Record, Ref
from fhirbridge.residue import Entry

R = TypeVar("R", bound=Record)
_STAMP = re.compile(
    rb'"meta":\{(?:"versionId":"[^"\\]{1,64}",)?(?:"lastUpdated":"[^"\\]{1,40}",)?(?="(?:source|profile|security|tag)":)'
)
# A quote within a text has a backslash before it, so none of these stands in one.
_ADDRESS = re.compile(rb'"reference":"[^"\\]*",(?="type":"[A-Za-z]+","identifier":\{"(?:use|type|system|value)":)')
_RELATIVE = re.compile(rb'"reference":"([A-Z][A-Za-z]+)/([^"\\/]+)"')
_HEAD_BYTES = 400
# How a record is called whose resource has no identifier of the clinic's.
_OF_SERVERS = ("Observation/", "Procedure/", "Consent/", "AdverseEvent/")
# What one server says of its own copy, which no other copy has.
_THE_SERVERS = frozenset({"meta.versionId", "meta.lastUpdated"})


def bare(body: bytes, origin: str = "") -> bytes:
    """The text of a resource without what only one server's copy has; relative addresses tell their ``origin``."""
    if b'"lastUpdated"' in body or b'"versionId"' in body:
        # Only the resource's own meta, which stands at the beginning; a contained resource keeps its.
        body = _STAMP.sub(b'"meta":{', body[:_HEAD_BYTES], count=1) + body[_HEAD_BYTES:]
    if b'"reference":"' in body:
        body = _ADDRESS.sub(b"", body)
        if origin:
            body = _RELATIVE.sub(b'"reference":"\\1/%b.\\2"' % _mark(origin).encode(), body)
    return body


def read(mappings: Mappings, body: bytes, origin: str = "") -> Reading:
    """The record of a resource's text. Raises :class:`JsonError` and :class:`ResourceRefused`."""
    reading = mappings.read(bare(body, origin))
    record = told_apart(reading.record, origin)
    residue = tuple(entry for entry in reading.residue if not _is_the_servers(entry)) if reading.residue else ()
    return Reading(record, residue)


def tree_of(body: bytes, origin: str = "") -> Tree:
    """The resource as a tree. Raises :class:`JsonError`."""
    return parse_object(bare(body, origin))


def address(origin: str, relative: str) -> str:
    """An address at a server, as it stands for the whole source."""
    type_, _, own = relative.partition("/")
    return f"{type_}/{_mark(origin)}.{own}" if origin else relative


def told_apart(record: R, origin: str) -> R:
    """The record with a name that no record of another server has, where it is named by its address."""
    if origin and record.id.startswith(_OF_SERVERS):
        return record.model_copy(update={"id": address(origin, record.id)})
    return record


def alias(patient: Ref) -> str:
    """How a record calls its patient: by identifier, else by address."""
    named = patient.identifier
    if named is not None and named.value is not None:
        return f"{named.system or ''}|{named.value}"
    return (patient.literal or "").partition("/_history/")[0]


def alias_in(resource: Tree) -> str | None:
    """The same of a resource, as far as it names somebody."""
    named = named_patient(resource)
    if isinstance(named, str):
        return named.partition("/_history/")[0]
    return None if named is None else "|".join(named)


def _mark(origin: str) -> str:
    """The server as a part of an id, whatever characters its name has."""
    return blake2b(origin.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def _is_the_servers(entry: Entry) -> bool:
    return entry.path in _THE_SERVERS
