"""Reading by layout gives what the plain way gives, or nothing; the two never disagree. Both leaves are held to it, the
compiled one and the one in Python."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.errors import FhirbridgeError, NotExpressible
from fhirbridge.fhir.json import canonical, dump, parse_object
from fhirbridge.layout import Layouts
from fhirbridge.mapping import Mappings, Reading
from fhirbridge.records import to_json
from fhirbridge.synth import Options, records
from tests.kinds import BINDINGS, CASES, KINDS, Case
from tests.laws.hammer import bodies, rearranged
from tests.laws.leaves import LEAVES
from tests.laws.test_laws import MAPPINGS, cases, plain_bindings, record_of

Told = tuple[bytes, list[bytes]]


def readers(binding: str) -> dict[str, Mappings]:
    """Mappings that have read nothing yet, for each leaf that is here."""
    found = {name: Mappings(BINDINGS[binding], KINDS) for name in LEAVES}
    for name, mappings in found.items():
        mappings._layouts = Layouts(LEAVES[name])
    return found


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
    plain, by_layout = MAPPINGS[binding], readers(binding).values()
    bodies = []
    for tree in data.draw(st.lists(case.trees, min_size=2, max_size=3)):
        try:
            bodies.append(dump(plain.to_fhir(record_of(case, tree)).parts[0].resource))
        except NotExpressible:
            continue
    chance = random.Random(data.draw(st.integers(0, 2**32)))  # noqa: S311 - an edit, not a secret
    for body in bodies:
        for mappings in by_layout:
            mappings.read(body)
    for body in bodies:
        # An edit of an edit: times and numbers stay plausible, and whole layouts meet values that they never had.
        other = changed(body, chance)
        for one in (body, other, changed(other, chance)):
            expected = plainly(plain, one)
            for mappings in by_layout:
                try:
                    assert said(mappings.read(one)) == expected
                except FhirbridgeError:
                    assert expected is None


@plain_bindings
def test_the_resources_of_a_clinic_are_read_by_layout(binding: str) -> None:
    """Nearly all of them, and also with another value somewhere: a reader that knew no layout would keep the law above
    as well. All leaves know the same."""
    plain, by_layout = MAPPINGS[binding], list(readers(binding).values())
    chance = random.Random(3)  # noqa: S311 - an edit, not a secret
    known = read = edited = 0
    for tree in records(Options(patients=8, seed=3)):
        record = record_of(CASES[tree["kind"]], {name: value for name, value in tree.items() if name != "kind"})
        try:
            body = dump(plain.to_fhir(record).parts[0].resource)
        except NotExpressible:
            continue
        other = changed(body, chance)
        before = [mappings._layouts.read(body) for mappings in by_layout]
        for mappings, found in zip(by_layout, before, strict=True):
            if found is not None:
                assert dump(to_json(found)) == dump(to_json(record))
            assert said(mappings.read(body)) == plainly(plain, body)
        after = [mappings._layouts.read(other) for mappings in by_layout]
        for found in after:
            if found is not None:
                assert (canonical(to_json(found)), []) == plainly(plain, other)
        for one in (before, after):
            assert len({found is None for found in one}) == 1
        known += before[0] is not None
        edited += after[0] is not None
        read += 1
    assert known > read * 0.6
    assert edited > read * 0.05


@plain_bindings
def test_a_resource_that_was_rearranged_is_read_as_the_plain_way_reads(binding: str) -> None:
    """Members and items that are missing, doubled, in another order or another resource's: whole atoms that are known
    stand where they never stood."""
    plain, by_layout = MAPPINGS[binding], readers(binding).values()
    chance = random.Random(5)  # noqa: S311 - an edit, not a secret
    whole = bodies(plain, 4)
    for body in whole:
        for mappings in by_layout:
            mappings.read(body)
    by_type: dict[bytes, list[bytes]] = {}
    for body in whole:
        by_type.setdefault(body[:30], []).append(body)
    for body in chance.sample(whole, min(len(whole), 120)):
        other = rearranged(body, chance.choice(by_type[body[:30]]), chance)
        expected = plainly(plain, other)
        for mappings in by_layout:
            found = mappings._layouts.read(other)
            assert found is None or (canonical(to_json(found)), []) == expected


def test_a_day_of_signing_is_not_read_as_a_moment_of_signing() -> None:
    """R5 writes the day into one element and the moment into another, if there is a moment: a layout with both is none
    of a day."""
    plain, by_layout = MAPPINGS["r5-plain"], readers("r5-plain").values()
    consents = [body for body in bodies(plain, 6) if body.startswith(b'{"resourceType":"Consent"')]
    for mappings in by_layout:
        for body in consents:
            mappings.read(body)
        known = [body for body in consents if mappings._layouts.read(body) is not None]
        assert known
        for body in known:
            day = parse_object(body)["date"].encode()
            start = body.index(b'"' + day + b"T") + 1 + len(day)
            cut = body[:start] + body[body.index(b'"', start) :]
            other = body.replace(b'"date":"' + day, b'"date":"1999-12-31')
            for one in (cut, other):
                found = mappings._layouts.read(one)
                assert found is None or (canonical(to_json(found)), []) == plainly(plain, one)
