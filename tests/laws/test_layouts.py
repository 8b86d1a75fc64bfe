"""Reading by layout gives what the plain way gives, or nothing; the two never disagree."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.errors import FhirbridgeError, NotExpressible
from fhirbridge.fhir.json import canonical, dump, parse_object
from fhirbridge.mapping import Mappings, Reading
from fhirbridge.records import to_json
from fhirbridge.synth import Options, records
from tests.kinds import BINDINGS, CASES, KINDS, Case
from tests.laws.test_laws import MAPPINGS, cases, plain_bindings, record_of

Told = tuple[bytes, list[bytes]]


def said(reading: Reading) -> Told:
    return canonical(to_json(reading.record)), [canonical(entry.as_json()) for entry in reading.residue]


def plainly(mappings: Mappings, body: bytes) -> Told | None:
    try:
        return said(mappings.from_fhir(parse_object(body)))
    except FhirbridgeError:
        return None


def changed(body: bytes, chance: random.Random) -> bytes:
    """The body with another value somewhere: a digit, a whole text, a byte, a piece of itself."""
    places = [index for index, byte in enumerate(body) if chr(byte).isdigit()]
    quotes = [index for index, byte in enumerate(body) if byte == ord('"')]
    way = chance.randrange(5)
    if way < 2 and places:
        at = chance.choice(places)
        return body[:at] + str(chance.randrange(10)).encode() + body[at + 1 :]
    first, last = sorted(chance.sample(quotes, 2))
    if way == 2:
        return body[: first + 1] + body[last:]
    if way == 3:
        return body[:first] + body[first:last] + body[first:last] + body[last:]
    at = chance.randrange(len(body))
    return body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]


@cases
@plain_bindings
@given(data=st.data())
def test_a_known_layout_reads_as_the_plain_way_reads(case: Case, binding: str, data: st.DataObject) -> None:
    plain = MAPPINGS[binding]
    mappings = Mappings(BINDINGS[binding], KINDS)
    bodies = []
    for tree in data.draw(st.lists(case.trees, min_size=2, max_size=3)):
        try:
            bodies.append(dump(mappings.to_fhir(record_of(case, tree)).parts[0].resource))
        except NotExpressible:
            continue
    chance = random.Random(data.draw(st.integers(0, 2**32)))  # noqa: S311 - an edit, not a secret
    for body in bodies:
        mappings.read(body)
    for body in bodies:
        # An edit of an edit: times and numbers stay plausible, and whole layouts meet values that they never had.
        other = changed(body, chance)
        for one in (body, other, changed(other, chance)):
            expected = plainly(plain, one)
            try:
                assert said(mappings.read(one)) == expected
            except FhirbridgeError:
                assert expected is None


@plain_bindings
def test_the_resources_of_a_clinic_are_read_by_layout(binding: str) -> None:
    """Nearly all of them, and also with another value somewhere: a reader that knew no layout would keep the law above
    as well."""
    plain = MAPPINGS[binding]
    mappings = Mappings(BINDINGS[binding], KINDS)
    chance = random.Random(3)  # noqa: S311 - an edit, not a secret
    known = read = edited = 0
    for tree in records(Options(patients=8, seed=3)):
        record = record_of(CASES[tree["kind"]], {name: value for name, value in tree.items() if name != "kind"})
        try:
            body = dump(mappings.to_fhir(record).parts[0].resource)
        except NotExpressible:
            continue
        found = mappings._layouts.read(body)
        if found is not None:
            known += 1
            assert dump(to_json(found)) == dump(to_json(record))
        assert said(mappings.read(body)) == plainly(plain, body)
        other = changed(body, chance)
        found = mappings._layouts.read(other)
        if found is not None:
            edited += 1
            assert (canonical(to_json(found)), []) == plainly(plain, other)
        read += 1
    assert known > read * 0.6
    assert edited > read * 0.05
