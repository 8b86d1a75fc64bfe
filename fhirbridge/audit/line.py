"""One line of a trail: a number, the MAC of the line before, what it says, and the MAC over exactly these bytes.

    {"n":17,"previous":"<64 hex>","event":{…AuditEvent…},"mac":"<64 hex>"}

What a line says is one member: ``opens`` (the first line of a file), ``event``, ``outcome`` (of an event before it) or
``closes`` (the last line). The MAC covers the bytes as they stand, so another spelling of the same JSON is an edit.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias, get_args

from fhirbridge.audit.keys import Keys
from fhirbridge.errors import JsonError
from fhirbridge.fhir.json import Tree, dump, parse_object

Says: TypeAlias = Literal["opens", "event", "outcome", "closes"]
_SAYS: tuple[Says, ...] = get_args(Says)
# What the first line of a file names as the MAC before it.
NOTHING = "0" * 64
# Bytes. The longest that is written is the event of a bundle with thousands of entries.
LONGEST = 64 * 2**20
_DOMAIN = b"fhirbridge audit line\0"
_LINE = re.compile(
    rb'(\{"n":(0|[1-9][0-9]{0,17}),"previous":"([0-9a-f]{64})","(opens|event|outcome|closes)":(\{.*\}))'
    rb',"mac":"([0-9a-f]{64})"\}',
    re.DOTALL,
)


class Line(NamedTuple):
    """A line whose MAC is right. ``key`` is the id of the key that sealed it."""

    n: int
    previous: str
    says: Says
    text: bytes
    mac: str
    key: str

    @property
    def tree(self) -> Tree:
        """What it says. Raises :class:`JsonError` only for what was never written by us."""
        return parse_object(self.text)


def write(n: int, previous: str, says: Says, text: bytes, keys: Keys) -> tuple[bytes, str]:
    """A line with its line end, and its MAC; ``text`` is one JSON object."""
    sealed = b'{"n":%d,"previous":"%b","%b":%b' % (n, previous.encode(), says.encode(), text)
    mac = keys.seal(_DOMAIN + sealed)
    return b'%b,"mac":"%b"}\n' % (sealed, mac.encode()), mac


def read(raw: bytes, keys: Keys, key: str | None = None) -> Line | None:
    """A line without its line end; ``None`` where it is no line of ours, or the MAC of none of the keys is on it."""
    found = _LINE.fullmatch(raw)
    if found is None:
        return None
    sealed, n, previous, word, text, mac = found.groups()
    by = keys.holds(_DOMAIN + sealed, mac.decode(), key)
    says = next(one for one in _SAYS if one.encode() == word)
    return None if by is None else Line(int(n), previous.decode(), says, text, mac.decode(), by)


def claimed_key(raw: bytes) -> str | None:
    """The id of the key that a first line says it was sealed with, believed or not."""
    found = _LINE.fullmatch(raw)
    if found is None:
        return None
    try:
        said = parse_object(found[5]).get("key")
    except JsonError:
        return None
    return said if isinstance(said, str) else None


def is_torn(tail: bytes, n: int, previous: str) -> bool:
    """Whether ``tail``, bytes without a line end behind the last line, is what a writer leaves that was killed.

    ``n`` and ``previous`` are those of the line that was being written. A system that lost power may leave zeros.
    """
    begins = b'{"n":%d,"previous":"%b","' % (n, previous.encode())
    cut = tail.startswith(begins) or begins.startswith(tail)
    whole = re.search(rb',"mac":"[0-9a-f]{64}"\}', tail)
    return not tail.strip(b"\0") or (cut and (whole is None or whole.end() == len(tail)))


def object_of(**members: object) -> bytes:
    """The text of one JSON object."""
    return dump(members)
