"""What is fed with bytes, with seeds that it accepts; ``weight`` is its share of all inputs."""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fhirbridge import config
from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.client import patience
from fhirbridge.client.origin import within
from fhirbridge.consent import subject_of
from fhirbridge.crosswalk import read_crosswalk
from fhirbridge.errors import FhirbridgeError
from fhirbridge.fhir import bundle, capability, outcome
from fhirbridge.fhir.json import canonical, dump, parse, parse_object
from fhirbridge.ledger.revision import rank
from fhirbridge.mapping import Mappings
from fhirbridge.residue import Entry, lay
from fhirbridge.site import policies
from fhirbridge.sources import SourceShape, open_documents, open_source, write_reject
from fhirbridge.sources.documents import from_array, from_lines
from fhirbridge.sources.lines import read_record
from fhirbridge.sources.position import Position
from fhirbridge.synth import Options, records

Run = Callable[[bytes], object]
_BASE = "https://hospital.example/fhir/tenantA"
# In memory where the system has such a place: a file for each input.
_FOLDER = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())  # noqa: S108


@dataclass(frozen=True, slots=True)
class Target:
    """A reader of bytes. Only a :class:`FhirbridgeError` may come out of it."""

    name: str
    run: Run
    seeds: Callable[[], Sequence[bytes]]
    weight: int = 4

    def __call__(self, data: bytes) -> None:
        """Feed it. Raises whatever is not allowed."""
        try:
            self.run(data)
        except FhirbridgeError:
            return


@cache
def _mappings(release: str) -> Mappings:
    return Mappings(Binding(Clinic("clinic.example", b"an id key for tests, 32 bytes ok"), Release(release)))


@cache
def _lines() -> list[bytes]:
    """A record of each kind and shape, as lines."""
    by_shape: dict[tuple[str, ...], bytes] = {}
    for tree in records(Options(patients=4, sessions=2, corrections=0.2)):
        by_shape.setdefault((tree["kind"], *sorted(tree)), dump(tree))
    return list(by_shape.values())


@cache
def _resources(release: str) -> list[bytes]:
    bound = _mappings(release)
    models = {name: kind.record for name, kind in bound.kinds.items()}
    found = [read_record(parse_object(line), models)[0] for line in _lines()]
    return [dump(part.resource) for one in found for part in bound.to_fhir(one).parts]


@contextmanager
def _file(data: bytes, suffix: str) -> Iterator[str]:
    path = _FOLDER / f"fhirbridge-fuzz-{os.getpid()}{suffix}"
    path.write_bytes(data)
    try:
        yield str(path)
    finally:
        path.unlink()


def _json(data: bytes) -> None:
    tree = parse(data)
    # What is taken in is given out the same: text of numbers, order of members.
    assert canonical(parse(dump(tree))) == canonical(tree)


def _record(data: bytes) -> None:
    models = {name: kind.record for name, kind in _mappings("r4").kinds.items()}
    record, residue = read_record(parse_object(data), models)
    for release in ("r4", "r5"):
        _mappings(release).to_fhir(record, residue)


def _source(suffix: str, shape: SourceShape | None = None) -> Run:
    def run(data: bytes) -> None:
        models = {name: kind.record for name, kind in _mappings("r4").kinds.items()}
        with _file(data, suffix) as path, open_source(path, models, shape) as lines:
            for line in lines:
                assert (line.record is None) != (not line.faults), "a line is a record or has faults"
                if line.faults and line.raw is not None:
                    write_reject(line)

    return run


def _documents(data: bytes) -> None:
    for read in (from_lines, from_array):
        for document in read(io.BytesIO(data), "-", 10_000):
            assert len(document.data) <= 10_000


def _resource(release: str) -> Run:
    def run(data: bytes) -> None:
        bound = _mappings(release)
        try:
            by_layout = bound.read(data)
        except FhirbridgeError:
            by_layout = None
        plain = None
        try:
            plain = bound.from_fhir(parse_object(data))
        except FhirbridgeError:
            if by_layout is not None:
                raise AssertionError("read by layout what the plain way refuses") from None
            return
        assert by_layout == plain, "two readings of one resource"
        bound.to_fhir(plain.record, plain.residue)
        subject_of(parse_object(data), plain.record.kind, _policies(), state=None)

    return run


@cache
def _policies() -> object:
    return policies(config.Config(config.parse({"clinic": {"demo": True}}), Path(), {}))


def _bundle(data: bytes) -> None:
    tree = parse(data)
    asked = [bundle.Address("Observation", "a1"), bundle.Address("Procedure", "b2")]
    bundle.next_link(tree)
    bundle.answered(tree)
    for read in (bundle.match, bundle.match_reads):
        try:
            read(asked, tree)
        except FhirbridgeError:
            continue
    for resource in bundle.resources(tree):
        outcome.signals(outcome.issues(resource))


def _statement(data: bytes) -> None:
    tree = parse(data)
    capability.capabilities(tree).of("Observation")
    capability.smart_configuration(tree)
    outcome.signals(outcome.issues(tree))


def _configuration(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    held = config.Config(config.parse(tree), Path("/nowhere"), {})
    for name in held.sites:
        held.site(name)
    repr(held)


def _configuration_file(data: bytes) -> None:
    with _file(data, ".toml") as path:
        config.load(Path(path), {}, _FOLDER)


def _crosswalk(suffix: str) -> Run:
    def run(data: bytes) -> None:
        with _file(data, suffix) as path:
            read_crosswalk(Path(path), "https://clinic.example/sid/patient")

    return run


def _address(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    found = within(_BASE, text)
    assert found == _BASE or found.startswith((f"{_BASE}/", f"{_BASE}?")), "outside of the site"


def _header(data: bytes) -> None:
    text = data.decode("latin-1")
    found = patience.retry_after(text, 1_800_000_000.0).until
    assert found is None or 0 <= found - 1_800_000_000 <= patience.LONGEST_WAIT
    bundle.location_address(text)
    bundle.etag_version(text)
    bundle.is_id(text)
    bundle.search_token("https://clinic.example", text)


def _words(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (rank, Position.read):
        try:
            read(text)
        except FhirbridgeError:
            continue


def _residue(data: bytes) -> None:
    tree = parse_object(data)
    entries = tree.get("residue")
    if isinstance(entries, list):
        written = tree.get("resource")
        lay([Entry.from_json(one) for one in entries], written if isinstance(written, dict) else {})


def _packed(data: bytes) -> None:
    with _file(data, ".ndjson.gz") as path, open_documents(path) as documents:
        for document in documents:
            assert len(document.data) < 2**26


def _with_residue() -> list[bytes]:
    entries = [
        Entry.from_json(
            {"op": "add", "path": "extension[0]", "value": {"url": "http://x.example", "valueString": "y"}}
        ).as_json(),
    ]
    return [json.dumps({"resource": json.loads(one), "residue": entries}).encode() for one in _resources("r4")[:5]]


_SEARCHSET = (
    b'{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"https://hospital.example/fhir?p=2"}],'
    b'"entry":[{"fullUrl":"https://hospital.example/fhir/Observation/a1","resource":{"resourceType":"Observation","id":"a1",'
    b'"meta":{"versionId":"1"}},"search":{"mode":"match"}}]}'
)
_RESPONSE = (
    b'{"resourceType":"Bundle","type":"batch-response","entry":[{"response":{"status":"201 Created","location":'
    b'"Observation/a1/_history/1","etag":"W/\\"1\\"","lastModified":"2026-01-01T00:00:00Z"}},{"response":{"status":"412",'
    b'"outcome":{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"conflict","expression":["a.b"],'
    b'"diagnostics":"HAPI-0550: x"}]}}}]}'
)
_STATEMENT = (
    b'{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{"name":"HAPI","version":"8"},"rest":[{"mode":'
    b'"server","interaction":[{"code":"transaction"}],"resource":[{"type":"Observation","updateCreate":true,"interaction":'
    b'[{"code":"read"}],"searchParam":[{"name":"identifier","type":"token"}],"conditionalCreate":true}]}]}'
)
_TOML = (
    b'[clinic]\ndomain = "clinic.example"\nid_key = {env = "K"}\n[site.north]\nbase_url = "https://h.example/fhir"\n'
    b'release = "r5"\ntypes = ["Observation"]\n[site.north.can]\nbatch = false\n'
    b'[source.a]\npath = "a.csv"\nkind = "session"\n[source.a.columns]\nid = "id"\n'
)
_CSV_SHAPE = SourceShape("csv", "vital_sign", {"id": "id", "patient": "pid"}, {"revision": 1})


def _gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


TARGETS: tuple[Target, ...] = (
    Target("json", _json, lambda: [*_lines(), b"[1e2,-0,1.00,9007199254740993,null]"], 16),
    Target("record", _record, _lines, 12),
    Target("resource-r4", _resource("r4"), lambda: _resources("r4"), 8),
    Target("resource-r5", _resource("r5"), lambda: _resources("r5"), 6),
    Target("ndjson", _source(".ndjson"), lambda: [b"\n".join(_lines()[:3])], 3),
    Target("array", _source(".json"), lambda: [b"[" + b",".join(_lines()[:3]) + b"]"], 3),
    Target("csv", _source(".csv", _CSV_SHAPE), lambda: [b'id,pid\n1,"a;b"\n2,\n'], 4),
    Target("gzip", _packed, lambda: [_gz(b"\n".join(_lines()[:2]))], 3),
    Target("documents", _documents, lambda: [b'{"a":1}\n{"b":"x"}\n', b'[{"a":[1,{"b":"]"}]},2]'], 12),
    Target("bundle", _bundle, lambda: [_SEARCHSET, _RESPONSE], 12),
    Target("statement", _statement, lambda: [_STATEMENT, b'{"token_endpoint":"https://h.example/token"}'], 8),
    Target("configuration", _configuration, lambda: [_TOML], 4),
    Target("configuration-file", _configuration_file, lambda: [_TOML], 1),
    Target("crosswalk-csv", _crosswalk(".csv"), lambda: [b"identifier,hospital\nP-1,H-1\n"], 3),
    Target("crosswalk-ndjson", _crosswalk(".ndjson"), lambda: [b'{"identifier":"P-1","hospital":"H-1"}\n'], 3),
    Target("address", _address, lambda: [b"Observation/1", f"{_BASE}/Observation?_page=2".encode()], 16),
    Target(
        "header", _header, lambda: [b"120", b"Wed, 21 Oct 2026 07:28:00 GMT", b'W/"3"', b"Patient/1/_history/2"], 16
    ),
    Target("words", _words, lambda: [b"12", b"2026-01-02T03:04:05Z", b'{"mark":["int","5"]}'], 8),
    Target("residue", _residue, _with_residue, 6),
)
