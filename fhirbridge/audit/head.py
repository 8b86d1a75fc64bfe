"""How far a file has come: what other files and checkpoints remember of it, and what it has to be held to for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeAlias, get_args

from fhirbridge.audit import files, line, locks
from fhirbridge.audit.keys import Keys
from fhirbridge.audit.line import NOTHING, Line
from fhirbridge.errors import JsonError
from fhirbridge.fhir.json import Tree

# open: its writer lives. closed: it ends with its own closing line. sealed: its writer died, and whoever opened the
# next file wrote down where it ends. broken: its end was no line of ours already when the next file was opened.
State: TypeAlias = Literal["open", "closed", "sealed", "broken"]
_STATES: tuple[State, ...] = get_args(State)
_TAIL = 32


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of ``file``, its number (-1: it has none) and MAC. ``tail`` is a digest of torn bytes behind."""

    file: str
    n: int
    mac: str
    state: State
    tail: str = ""

    @property
    def final(self) -> bool:
        """Whether nothing may ever come behind it."""
        return self.state != "open"

    def as_json(self) -> Tree:
        """The head as one object."""
        tree: Tree = {"file": self.file, "n": self.n, "mac": self.mac, "state": self.state}
        return tree | ({"tail": self.tail} if self.tail else {})

    @classmethod
    def read(cls, tree: object) -> Self:
        """A head as :meth:`as_json` wrote it. Raises :class:`JsonError` for anything else."""
        match tree:
            case {"file": str(file), "n": int(n), "mac": str(mac), "state": str(state), **more}:
                tail = more.get("tail", "")
                known = next((one for one in _STATES if one == state), None)
                if known is not None and isinstance(tail, str):
                    return cls(file, n, mac, known, tail)
        raise JsonError("that is no head of a file of the trail")


class Opening(NamedTuple):
    """What a first line remembers: the heads of files before it, and that every file named before ``since`` has ended
    and is remembered by an earlier one."""

    heads: tuple[Head, ...]
    since: str


def tail_digest(tail: bytes) -> str:
    """What stands for torn bytes; nothing for none."""
    return hashlib.sha256(tail).hexdigest()[:_TAIL] if tail else ""


def head_of(path: Path, keys: Keys) -> Head:
    """How far a file has come; what it was when this was asked is durable. Raises :class:`OSError`."""
    alive = locks.is_alive(path)
    raw, tail = files.last_line(path)
    if raw is None:
        return Head(path.name, -1, NOTHING, "open" if alive else "sealed", "" if alive else tail_digest(tail))
    last = line.read(raw, keys)
    if last is None:
        return Head(path.name, -1, NOTHING, "broken")
    if last.says == "closes" and not tail:
        return Head(path.name, last.n, last.mac, "closed")
    # What a living writer is about to finish is none of the file's yet.
    return Head(path.name, last.n, last.mac, "open" if alive else "sealed", "" if alive else tail_digest(tail))


def opening_of(path: Path, keys: Keys) -> Opening | None:
    """What the first line of a file remembers; ``None`` where it is none of ours. Raises :class:`OSError`."""
    raw = files.first_line(path)
    first = None if raw is None else line.read(raw, keys)
    return None if first is None or first.says != "opens" else opened(first)


def opened(first: Line) -> Opening:
    """What a first line remembers. Raises :class:`JsonError` for what was never written by us."""
    match first.tree:
        case {"heads": list(heads), "since": str(since)}:
            return Opening(tuple(map(Head.read, heads)), since)
    raise JsonError("that is no first line of a file of the trail")


def survey(folder: Path, names: Sequence[str], keys: Keys) -> Opening:
    """What a file that is opened now has to remember: each file that no other one remembers as ended.

    Files before the newest ``since`` are not looked at, so a folder may hold as many as it likes. ``since`` is empty
    where all of them have ended. Raises :class:`OSError`.
    """
    since = next((one.since for one in (opening_of(folder / name, keys) for name in reversed(names)) if one), "")
    candidates = [name for name in names if name >= since]
    remembered = {
        head.file
        for name in candidates
        if (one := opening_of(folder / name, keys)) is not None
        for head in one.heads
        if head.final
    }
    heads = tuple(head_of(folder / name, keys) for name in candidates if name not in remembered)
    return Opening(heads, min(_living(heads), default=""))


def _living(heads: Iterable[Head]) -> list[str]:
    return [one.file for one in heads if not one.final]
