"""Trails are changed at random in every way that somebody without the key can, and verified: nothing may be missed.

    python -m tests.audit.tamper --count 10000

A checkpoint of the untouched trail is kept elsewhere, as the documents ask; how many of the changes are found without
one is told beside it. The exit code is 1 if any was missed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from fhirbridge.audit import files
from fhirbridge.audit.checkpoint import Checkpoint, Checkpoints, read_checkpoints
from fhirbridge.audit.head import head_of
from fhirbridge.audit.keys import Keys
from fhirbridge.audit.line import write
from fhirbridge.audit.verify import verify
from tests.audit.trails import CLINIC, KEYS, event_text, lived

Content: TypeAlias = dict[str, bytes]
Mutation: TypeAlias = Callable[[Content, random.Random], None]
# Changes made to one trail before the next one is written.
_EACH = 100
STRANGER = Keys([b"the key of somebody else"], b"the id key of somebody else", CLINIC)


def flip(content: Content, rng: random.Random) -> None:
    name = _some(content, rng)
    place = rng.randrange(len(content[name]))
    data = bytearray(content[name])
    data[place] ^= 1 << rng.randrange(8)
    content[name] = bytes(data)


def delete(content: Content, rng: random.Random) -> None:
    name, lines = _lines(content, rng)
    del lines[rng.randrange(len(lines))]
    content[name] = b"".join(lines)


def duplicate(content: Content, rng: random.Random) -> None:
    name, lines = _lines(content, rng)
    lines.insert(rng.randrange(len(lines) + 1), lines[rng.randrange(len(lines))])
    content[name] = b"".join(lines)


def swap(content: Content, rng: random.Random) -> None:
    name, lines = _lines(content, rng, least=2)
    one, other = rng.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    content[name] = b"".join(lines)


def truncate(content: Content, rng: random.Random) -> None:
    name = _some(content, rng)
    content[name] = content[name][: rng.randrange(len(content[name]))]


def cut_lines(content: Content, rng: random.Random) -> None:
    name, lines = _lines(content, rng)
    content[name] = b"".join(lines[: rng.randrange(len(lines))])


def remove(content: Content, rng: random.Random) -> None:
    del content[_some(content, rng)]


def rename(content: Content, rng: random.Random) -> None:
    content[files.new_name(rng.random() * 2e9, [])] = content.pop(_some(content, rng))


def copy(content: Content, rng: random.Random) -> None:
    content[files.new_name(rng.random() * 2e9, [])] = content[_some(content, rng)]


def exchange(content: Content, rng: random.Random) -> None:
    one, other = rng.sample([name for name in sorted(content) if content[name]], 2)
    content[one], content[other] = content[other], content[one]


def transplant(content: Content, rng: random.Random) -> None:
    """A whole line of another file takes the place of one, or comes between."""
    (name, lines), (other, theirs) = _lines(content, rng), _lines(content, rng)
    while other == name:
        other, theirs = _lines(content, rng)
    if rng.random() < 0.5:
        # With the right number.
        place = rng.randrange(min(len(lines), len(theirs)))
        lines[place] = theirs[place]
    else:
        place = rng.randrange(len(lines))
        lines[place : place + rng.randrange(2)] = [rng.choice(theirs)]
    content[name] = b"".join(lines)


def forge(content: Content, rng: random.Random) -> None:
    """A line that is right in everything but the key, anywhere, or at the end."""
    name, lines = _lines(content, rng)
    place = rng.randrange(len(lines) + 1)
    before = lines[place - 1] if place else b""
    mac = before[-67:-3].decode() if place else "0" * 64
    lines[place : place + rng.randrange(2)] = [write(place, mac, "event", event_text(rng), STRANGER)[0]]
    content[name] = b"".join(lines)


def forge_file(content: Content, rng: random.Random) -> None:
    raw, _ = write(0, "0" * 64, "opens", b'{"heads":[],"since":""}', STRANGER)
    content[files.new_name(rng.random() * 2e9, [])] = raw


def append(content: Content, rng: random.Random) -> None:
    name = _some(content, rng)
    content[name] += rng.randbytes(rng.randrange(1, 200)).replace(b"\0", b"x")


MUTATIONS: dict[str, Mutation] = {
    "a bit flipped": flip,
    "a line deleted": delete,
    "a line doubled": duplicate,
    "two lines swapped": swap,
    "a file cut anywhere": truncate,
    "a file cut between lines": cut_lines,
    "a file removed": remove,
    "a file renamed": rename,
    "a file copied": copy,
    "two files exchanged": exchange,
    "a line of another file": transplant,
    "a line without the key": forge,
    "a file without the key": forge_file,
    "bytes appended": append,
}


class Field:
    """One trail with its checkpoint, to be changed and put back."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.trail, self._rng = folder / "trail", rng
        for one in lived(self.trail, rng, rng.randint(2, 4), rng.randint(20, 50)):
            one.close()
        names, _ = files.names_in(self.trail)
        self.content = {name: (self.trail / name).read_bytes() for name in names}
        kept = folder / "checkpoints.ndjson"
        Checkpoints(kept, KEYS, CLINIC, 1).add([head_of(self.trail / name, KEYS) for name in names], 2e9)
        self.checkpoints = read_checkpoints(kept, KEYS)
        assert not verify(self.trail, KEYS, self.checkpoints).faults

    def tampered(self, mutation: Mutation) -> tuple[bool, bool]:
        """Whether one change is found, with the checkpoint and without."""
        changed = dict(self.content)
        while changed == self.content:
            mutation(changed, self._rng)
        touched = [name for name in {*changed, *self.content} if changed.get(name) != self.content.get(name)]
        self._put(touched, changed)
        found = self._finds(self.checkpoints), self._finds([])
        self._put(touched, self.content)
        return found

    def _finds(self, checkpoints: list[Checkpoint]) -> bool:
        return not verify(self.trail, KEYS, checkpoints).intact

    def _put(self, names: list[str], content: Content) -> None:
        for name in names:
            if name in content:
                (self.trail / name).write_bytes(content[name])
            else:
                (self.trail / name).unlink()


def run(count: int, seed: int) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """How many changes of each sort were made, found, and found without the checkpoint."""
    rng = random.Random(seed)  # noqa: S311 - to be repeatable
    made, found, alone = Counter[str](), Counter[str](), Counter[str]()
    while made.total() < count:
        with tempfile.TemporaryDirectory() as folder:
            field = Field(Path(folder), rng)
            for _ in range(min(_EACH, count - made.total())):
                sort = rng.choice(sorted(MUTATIONS))
                with_one, without = field.tampered(MUTATIONS[sort])
                made[sort] += 1
                found[sort] += with_one
                alone[sort] += without
    return made, found, alone


def _some(content: Content, rng: random.Random) -> str:
    return rng.choice([name for name in sorted(content) if content[name]])


def _lines(content: Content, rng: random.Random, least: int = 1) -> tuple[str, list[bytes]]:
    """A file with so many whole lines, and its lines; torn bytes behind them are the last."""
    names = [name for name in sorted(content) if content[name].count(b"\n") >= least]
    name = rng.choice(names)
    return name, content[name].splitlines(keepends=True)


def main() -> None:
    """Change, verify, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    made, found, alone = run(options.count, options.seed)
    sys.stdout.write(f"{'':26}{'made':>7}{'found':>7}{'missed':>8}{'without checkpoint':>20}\n")
    for sort in sorted(made):
        missed = made[sort] - found[sort]
        sys.stdout.write(f"{sort:26}{made[sort]:7}{found[sort]:7}{missed:8}{alone[sort]:20}\n")
    missed = made.total() - found.total()
    sys.stdout.write(f"{'all':26}{made.total():7}{found.total():7}{missed:8}{alone.total():20}\n")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
