"""Hammers the compiled leaf with broken bodies, and holds each answer against the leaf in Python.

    python -m tests.laws.hammer --count 1000000

For the address sanitizer, compile fhirbridge/layout/native/leaf.c with -fsanitize=address in place of the leaf, and run
with LD_PRELOAD=libasan.so, PYTHONMALLOC=malloc and ASAN_OPTIONS=detect_leaks=0.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter

from fhirbridge.errors import NotExpressible
from fhirbridge.fhir.json import dump, parse_object
from fhirbridge.layout import Layouts
from fhirbridge.mapping import Mappings
from fhirbridge.records import Record, to_json
from fhirbridge.synth import Options, records
from tests.kinds import BINDINGS, CASES, KINDS
from tests.laws.leaves import LEAVES
from tests.laws.test_laws import record_of

_PLACES = b'"\\{}[]:,.-+eE09TZ \x00\x1f\x7f\x80\xc3\xff'


def bodies(mappings: Mappings, patients: int) -> list[bytes]:
    """The resources of a small clinic."""
    found = []
    for tree in records(Options(patients=patients, seed=11)):
        record = record_of(CASES[tree["kind"]], {name: value for name, value in tree.items() if name != "kind"})
        try:
            found.append(dump(mappings.to_fhir(record).parts[0].resource))
        except NotExpressible:
            continue
    return found


def broken(body: bytes, other: bytes, chance: random.Random) -> bytes:
    """The body cut off, with bytes changed, doubled or left out, or with a piece of another one."""
    way, first = chance.randrange(12), chance.randrange(len(body))
    last = min(len(body), first + chance.choice((1, 1, 2, 5, 40)))
    if way == 0:
        return body[:first]
    if way == 1:
        return body[:first] + bytes([chance.choice(_PLACES)]) + body[first + 1 :]
    if way == 2:
        return body[:first] + body[last:]
    if way == 3:
        return body[:last] + body[first:]
    if way == 4:
        at = chance.randrange(len(other))
        return body[:first] + other[at : at + chance.randrange(60)] + body[last:]
    if way == 5:
        return body[:first] + other[min(first, len(other)) :]
    if way == 6:
        return chance.randbytes(chance.randrange(200))
    if way == 7:
        return body[:first] + str(chance.randrange(10**6)).encode() + body[last:]
    # Another digit: what is most likely still a resource.
    digits = [at for at, byte in enumerate(body) if 48 <= byte <= 57] or [0]
    first = chance.choice(digits)
    return body[:first] + str(chance.randrange(10)).encode() + body[first + 1 :]


def rearranged(body: bytes, other: bytes, chance: random.Random) -> bytes:
    """The resource with a member or an item of its extension left out, doubled, moved, or taken from another one."""
    tree, foreign = parse_object(body), parse_object(other)
    if chance.random() < 0.5 and "extension" in tree:
        items = tree["extension"]
        at, way = chance.randrange(len(items)), chance.randrange(4)
        item = items.pop(at) if way < 2 else items[at]
        if way:
            items.insert(chance.randrange(len(items) + 1), item)
        if way == 3 and "extension" in foreign:
            items[at] = chance.choice(foreign["extension"])
        return dump(tree)
    names = list(tree)[1:]
    name, way = chance.choice(names), chance.randrange(3)
    if way == 0:
        del tree[name]
    elif way == 1:
        tree[name] = tree.pop(name)
    elif name in foreign:
        tree[name] = foreign[name]
    return dump(tree)


def told(record: Record | None) -> bytes | None:
    """A record as text, so that two can be compared digit for digit."""
    return None if record is None else dump(to_json(record))


def main() -> None:
    parser = argparse.ArgumentParser(description="Hammer the compiled leaf with broken bodies.")
    parser.add_argument("--count", type=int, default=100_000, help="bodies (default 100,000)")
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args()
    if "compiled" not in LEAVES:
        raise SystemExit("the leaf is not compiled here")
    chance = random.Random(said.seed)  # noqa: S311 - edits, not secrets
    outcomes: Counter[str] = Counter()
    for name in ("r4-plain", "r5-plain"):
        mappings = Mappings(BINDINGS[name], KINDS)
        whole = bodies(mappings, 12)
        layouts = []
        for leaf in LEAVES.values():
            mappings._layouts = Layouts(leaf)
            for body in whole:
                mappings.read(body)
            layouts.append(mappings._layouts)
        for _ in range(said.count // 2):
            edited = rearranged if chance.random() < 0.3 else broken
            body = edited(chance.choice(whole), chance.choice(whole), chance)
            if chance.random() < 0.2:
                body = broken(body or b" ", chance.choice(whole), chance)
            answers = {told(one.read(body)) for one in layouts}
            if len(answers) != 1:
                raise SystemExit(f"the leaves disagree on a body of {len(body)} bytes (seed {said.seed})")
            outcomes["not known" if answers == {None} else "read"] += 1
    sys.stdout.write(f"{said.count} bodies, all leaves say the same: {dict(outcomes)}\n")


if __name__ == "__main__":
    main()
