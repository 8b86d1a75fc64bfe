"""Broken Consents: changed bodies, and what must hold of the decisions on them.

    python -m tests.consent.mutations --count 100000 [--seed 1]

What is claimed of every changed body, in R4 and R5:

1. One that cannot be read permits nothing.
2. One that was made of a consent which denies permits nothing, however it was changed. The changes never write a word
   that permits, and those consents hold none: there a permit could only come of a mistake.
3. One that was made of a consent which permits may still permit, where it is still a consent that says so (somebody may
   sign just that). So a permit is only accepted where a second reading, straight from the JSON and strict
   (``straight.py``), finds that the changed body plainly says it, and the typed models of ``fhir.resources`` accept it
   as well formed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json as stdlib
import random
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from fhir.resources.consent import Consent as ConsentR5
from fhir.resources.R4B.consent import Consent as ConsentR4B

from fhirbridge.binding import Release
from fhirbridge.consent import Act, Decider, Evidence, Subject, Unreadable, evidence_of
from fhirbridge.errors import JsonError
from fhirbridge.fhir import json
from fhirbridge.records import Consent
from tests.consent.forms import read, resource
from tests.consent.plain import ref, signed
from tests.consent.straight import Asked, permits
from tests.laws.trees import at as node_at
from tests.laws.trees import copied, places

DENIES = (
    "sharing active deny",
    "sharing active deny policy=ACT|OPTOUT",
    "sharing active deny period=2026-01-01..2030-01-01 by=MOTHER-1 capable=yes",
    "sharing refused deny",
    "sharing inactive deny",
    "research active deny study=KET-1",
    "other active deny",
)
PERMITS = (
    "sharing active permit",
    "sharing active permit period=2026-01-01..2027-01-01",
    "sharing active permit\n  deny labelled=substance_use",
    "sharing active permit\n  deny to=HOSPITAL-1\n    permit for=treatment\n      deny labelled=substance_use",
    "sharing active deny\n  permit to=HOSPITAL-1 for=treatment\n    deny labelled=substance_use,psychotherapy_notes",
    "sharing active deny\n  permit for=treatment type=Observation,Procedure\n  permit to=HOSPITAL-2",
    "sharing active permit\n  deny type=AdverseEvent\n  deny to=INSURER-1 for=payment",
)
# R4 alone can say a root with conditions.
IMPLIED = ("sharing active deny implied\n  permit to=HOSPITAL-1 for=treatment\n    deny labelled=substance_use",)
MODELS: dict[Release, Any] = {Release.R4: ConsentR4B, Release.R5: ConsentR5}
AT = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
ACT = Act("treat", (ref("HOSPITAL-1"),))
QUESTIONS = [
    (Subject("x", type_, labels=frozenset({label})), Asked(type_, label, "2026-11-20"))
    for type_ in ("Procedure", "AdverseEvent")
    for label in ("SUD", "HIV")
]
# Nothing here permits, opts in or is active.
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, "", " ", "x", "Deny", "DENY", "deny ", "allow", "rejected", "2026-02-30", "1999", [],
    {}, [[]], [None], [{}], {"coding": 3}, {"value": []}, {"code": "TREAT"}, {"reference": "Organization/1"},
    {"start": "2031"}, {"end": "1999-01-01"}, "Consent", {"coding": [{"system": "x", "code": "y"}]},
)  # fmt: skip
_ELEMENTS = (
    "actor",
    "purpose",
    "code",
    "data",
    "dataPeriod",
    "period",
    "foo",
    "type2",
    "_status",
    "_decision",
    "_type",
)


class Base(NamedTuple):
    """A body to change; ``denies``: nothing may make it permit."""

    release: Release
    body: Any
    denies: bool


def bases() -> list[Base]:
    """The bodies that are changed: consents of this project as R4 and R5."""
    found = []
    for release in (Release.R4, Release.R5):
        implied = IMPLIED if release is Release.R4 else ()
        for text in (*DENIES, *PERMITS, *implied):
            (one,) = signed(text)
            assert isinstance(one, Consent)
            found.append(Base(release, resource(release, one), text in DENIES))
    return found


def mutated(body: Any, chance: random.Random) -> bytes:
    """The bytes of a changed body."""
    tree = copied(body)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
        _change(tree, chance)
    data = json.dump(tree)
    if chance.random() < 0.15:
        return _broken(data, chance)
    return data


def _change(tree: Any, chance: random.Random) -> None:
    path = chance.choice([path for path, _ in places(tree) if path] or [()])
    if not path:
        tree["status"] = None
        return
    parent, key = node_at(tree, path[:-1]), path[-1]
    node = parent[key]
    kind = chance.randrange(10)
    if kind == 0:
        parent[key] = copied(chance.choice(JUNK))
    elif kind == 1:
        del parent[key]
    elif kind == 2:
        parent[key] = [node]
    elif kind == 3 and isinstance(node, list) and node:
        parent[key] = node[0]
    elif kind == 4 and isinstance(parent, dict):
        parent[_misspelt(str(key), chance)] = parent.pop(key)
    elif kind == 5 and isinstance(node, str) and node:
        parent[key] = chance.choice((node.upper(), node.title(), f" {node}", f"{node}x", node[:-1], node[::-1]))
    elif kind == 6 and isinstance(node, dict):
        node[chance.choice(_ELEMENTS)] = copied(chance.choice(JUNK))
    elif kind == 7 and isinstance(node, dict):
        node[chance.choice(("modifierExtension", "implicitRules"))] = [{"url": "https://x.example", "valueCode": "y"}]
    elif kind == 8 and isinstance(parent, list):
        parent.append(copied(node))
    else:
        others = [place for place, _ in places(tree) if place and place[: len(path)] != path]
        if others:
            # A value that stands in the wrong place.
            parent[key] = copied(node_at(tree, chance.choice(others)))


def _misspelt(name: str, chance: random.Random) -> str:
    return chance.choice((name.upper(), f"{name}s", f"_{name}", name[:-1] or "x", f"{name} "))


def _broken(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    kind = chance.randrange(3)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
    return data[:place] + data[place + chance.randrange(1, 9) :]


def evidence(release: Release, data: bytes) -> Evidence:
    """What a gate makes of the bytes."""
    try:
        tree = json.parse_object(data)
    except JsonError as error:
        return Unreadable("X", error.code)
    return evidence_of(tree, partial(read, release), r5=release.is_r5, origin="a server", may_permit=True)


def run(count: int, seed: int) -> Counter[str]:
    """Judge ``count`` changed bodies; the counts by outcome. Raises ``AssertionError`` where a claim does not hold."""
    chance = random.Random(seed)  # noqa: S311
    sources = bases()
    outcomes: Counter[str] = Counter()
    for number in range(count):
        base = sources[number % len(sources)]
        data = mutated(base.body, chance)
        outcomes[judged(base, data)] += 1
    return outcomes


def judged(base: Base, data: bytes) -> str:
    """The outcome of one changed body. Raises ``AssertionError``, or the models' own error, for a false permit."""
    one = evidence(base.release, data)
    decider = Decider([one])
    answers = [decider.judge(ACT, subject, AT).permitted for subject, _ in QUESTIONS]
    if isinstance(one, Unreadable):
        assert not any(answers), f"unreadable, and permitted: {data!r}"
        return "refused by the reader"
    if base.denies:
        assert not any(answers), f"denied, and now permitted: {data!r}"
        return "read, denied as before"
    if not any(answers):
        return "read, no longer permitted"
    body = json.parse_object(data)
    # Who wrote these models has not read ours: what they call malformed is malformed.
    MODELS[base.release].model_validate(stdlib.loads(data))
    for answer, (_, asked) in zip(answers, QUESTIONS, strict=True):
        if answer:
            assert permits(body, base.release.is_r5, asked), f"{base.release}: permitted, but not plainly: {data!r}"
    return "read, and plainly permits"


def lines(outcomes: Counter[str]) -> Iterator[str]:
    """The outcomes as a table."""
    for outcome, number in sorted(outcomes.items()):
        yield f"{number:>10,}  {outcome}"
    yield f"{sum(outcomes.values()):>10,}  changed bodies, 0 permits that no consent states"


def main() -> None:
    parser = argparse.ArgumentParser(description="Decide on broken Consents.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    sys.stdout.write("\n".join(lines(run(chosen.count, chosen.seed))) + "\n")


if __name__ == "__main__":
    main()
