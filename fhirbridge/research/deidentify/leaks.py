"""The leak check: a dataset is looked at as a stranger would look at it, with what the source says in hand.

Every column must be declared and hold only what its class allows; no value of a patient may be one of that patient's
identifiers, or one of their moments that was not moved; no name, phone or address of anybody may stand anywhere, in
metadata and in the bytes of the finished files included. What is found is told by table, column and rule, never by
value.

Moved dates meet others by chance: with a shift of seven days, one weekly session stands where the next was. So a moment
that equals one of the source is a find only if it is not itself another moment of that patient, moved.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.text import DateTime
from fhirbridge.research.columns import Column
from fhirbridge.research.deidentify.facts import SourceFacts, key
from fhirbridge.research.deidentify.key import PSEUDONYM
from fhirbridge.research.deidentify.profile import Profile
from fhirbridge.research.deidentify.tokens import SHORTEST

if TYPE_CHECKING:
    import pyarrow as pa

RuleName: TypeAlias = Literal[
    "undeclared", "missing", "type", "pseudonym", "vocabulary", "code", "band", "year", "class", "date", "identifier",
    "name",
]  # fmt: skip
_BAND = re.compile(r"[0-9]{1,5}|[0-9]{1,3}-[0-9]{1,3}|[0-9]{1,3}\+|\?|unknown")
_LONGEST_CODE = 64
_FIRST_YEAR, _LAST_YEAR = 1850, 2200
# Fewer digits are a measured number that happens to equal somebody's short number.
_SHORTEST_NUMBER = 10_000
# Four letters meet by chance in compressed bytes; eight do not.
_SHORTEST_IN_BYTES = 8
_BINARY = frozenset({".parquet", ".duckdb", ".db", ".gz", ".zst"})
_CHUNK = 1 << 22
_OVERLAP = 256
_EPOCH = dt.date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that must not be there: where, which rule it breaks, and how often."""

    place: str
    column: str
    rule: RuleName
    count: int = 1

    def __str__(self) -> str:
        return f"{self.place}{'.' if self.column else ''}{self.column}: {self.rule} ({self.count})"


class LeakCheck:
    """``facts`` are what the source says, ``profile`` the one the dataset was made with."""

    def __init__(self, facts: SourceFacts, profile: Profile, *, patient_column: str = "patient") -> None:
        self._facts, self._profile, self._patient = facts, profile, patient_column
        self._tokens = facts.tokens
        self._sets: dict[str, pa.Array] = {}
        self._plain: dict[str, frozenset[int]] = {}

    def check_table(self, table: pa.Table, columns: Iterable[Column], name: str) -> list[Leak]:
        """All that must not be in a table of these columns, metadata included."""
        declared = {one.name: one for one in columns}
        found = [Leak(name, "", "undeclared") for one in table.column_names if one not in declared]
        found += [Leak(name, one, "missing") for one in declared if one not in table.column_names]
        for column in declared.values():
            if column.name in table.column_names:
                rules = _Counts(name, column.name)
                self._column(table, column, rules)
                found += rules.leaks()
        own = {word for one in declared.values() for word in (one.name, one.meaning, one.class_, *one.source)}
        found += [Leak(name, place, "name") for place, text in _metadata(table) if self._names(text, own)]
        return found

    def check_tree(self, tree: Tree, pseudonym: str, place: str) -> list[Leak]:
        """All that must not be in a de-identified resource or record of a patient, as JSON."""
        rules = _Counts(place, "")
        for text in strings(tree):
            if DateTime.pattern.fullmatch(text):
                rules.add("date", self._is_unmoved(text, pseudonym))
            elif PSEUDONYM.fullmatch(text.rpartition("/")[2]) is None:
                rules.add("identifier", self._is_identifier(pseudonym, text))
                rules.add("name", self._names(text, ()))
        return rules.leaks()

    def check_text(self, text: str, place: str) -> list[Leak]:
        """Names, phones and addresses in a text."""
        return [Leak(place, "", "name")] if self._names(text, ()) else []

    def check_file(self, path: Path) -> list[Leak]:
        """Names, phones and addresses in the bytes of a finished file; in Parquet files, the metadata as such too."""
        binary = path.suffix in _BINARY
        shortest = _SHORTEST_IN_BYTES if binary else SHORTEST
        found = 0
        with path.open("rb") as stream:
            rest = b""
            while chunk := stream.read(_CHUNK):
                whole = rest + chunk
                # A word across the border of two chunks is whole in the second.
                rest = whole[-_OVERLAP:]
                text = whole.decode("latin-1" if binary else "utf-8", "replace")
                texts = (text,) if not binary else _printable(whole)
                found += sum(self._tokens.stands_in(one, shortest=shortest) for one in texts)
        leaks = [Leak(path.name, "", "name", found)] if found else []
        if path.suffix == ".parquet":
            leaks += [Leak(path.name, place, "name") for place, one in _parquet(path) if self._names(one, ())]
        return leaks

    def _column(self, table: pa.Table, column: Column, rules: _Counts) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        values = table.column(column.name)
        if pa.types.is_dictionary(values.type):
            values = values.cast(pa.string())
        if not _has_type(values.type, column.type):
            rules.add("type", 1)
            return
        if column.class_ in ("pseudonym", "code", "band"):
            self._text_column(table, column, values, rules)
        elif column.class_ == "year":
            outside = pc.or_(pc.less(values, _FIRST_YEAR), pc.greater(values, _LAST_YEAR))
            rules.add("year", pc.sum(outside).as_py() or 0)
        elif column.class_ == "shifted-time":
            dates = self._profile.times.dates
            if dates == "from-first-dose":
                rules.add("class", 1)
            elif dates == "shift":
                rules.add("date", self._unmoved(table, values))
        elif column.class_ in ("number", "integer", "offset"):
            self._numbers(table, values, rules)

    def _text_column(self, table: pa.Table, column: Column, values: pa.ChunkedArray, rules: _Counts) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        distinct = pc.drop_null(pc.unique(values))
        if column.class_ == "pseudonym":
            shaped = pc.match_substring_regex(distinct, rf"^{PSEUDONYM.pattern}$")
            rules.add("pseudonym", pc.sum(pc.invert(shaped)).as_py() or 0)
            rules.add("identifier", self._identified(table, values))
            return
        if column.vocabulary is not None:
            known = pc.is_in(distinct, value_set=pa.array(column.vocabulary, pa.string()))
            rules.add("vocabulary", pc.sum(pc.invert(known)).as_py() or 0)
            # A word of a closed list would stand there whoever the patient is.
            return
        for text in distinct.to_pylist():
            if column.class_ == "band":
                rules.add("band", _BAND.fullmatch(text) is None)
            else:
                rules.add("code", len(text) > _LONGEST_CODE or re.search(r"\s", text) is not None)
            rules.add("name", self._names(text, ()))
        rules.add("identifier", self._identified(table, values))

    def _numbers(self, table: pa.Table, values: pa.ChunkedArray, rules: _Counts) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        large = pc.fill_null(pc.greater_equal(pc.abs(values), _SHORTEST_NUMBER), False)
        if not pc.any(large).as_py():
            return
        kept = table.filter(large)
        column = values.filter(large)
        whole = pc.equal(column, pc.floor(column)) if pa.types.is_floating(column.type) else None
        if whole is not None:
            kept, column = kept.filter(whole), column.filter(whole)
        rules.add("identifier", self._identified(kept, column.cast(pa.int64()).cast(pa.string())))

    def _identified(self, table: pa.Table, values: pa.ChunkedArray) -> int:
        """How many different pairs of a patient and a value are an identifier of that patient."""
        import pyarrow as pa

        if self._patient not in table.column_names or not len(self._facts.identifiers):
            return 0
        pairs = pa.table({"patient": _plain(table.column(self._patient)), "value": values})
        distinct = pairs.group_by(["patient", "value"]).aggregate([]).drop_null()
        known = self._known("identifiers")
        make = self._tokens.hash
        patients, texts = distinct.column("patient").to_pylist(), distinct.column("value").to_pylist()
        return sum(make(f"{who}|{text}") in known for who, text in zip(patients, texts, strict=True))

    def _unmoved(self, table: pa.Table, values: pa.ChunkedArray) -> int:
        """How many moments are one of the patient's, and not another one of theirs, moved."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._patient not in table.column_names or not self._facts.patients:
            return 0
        numbers = pc.index_in(
            _plain(table.column(self._patient)), value_set=pa.array(list(self._facts.patients), pa.string())
        ).combine_chunks()
        seconds = pc.floor(pc.divide(pc.cast(values, pa.int64()).cast(pa.float64()), _ticks(values.type)))
        seconds = seconds.cast(pa.int64()).combine_chunks()
        moves = pc.take(pa.array(self._facts.moves()[0], pa.int64()), numbers)
        source = self._array("seconds")
        own = _keys(numbers, seconds)
        # A time of a clock whose zone was taken away, and nothing else, is as bad.
        here = pc.or_(pc.is_in(own, value_set=source), pc.is_in(own, value_set=self._array("walls")))
        image = pc.is_in(_keys(numbers, pc.subtract(seconds, moves)), value_set=source)
        known = pc.and_(pc.is_valid(numbers), pc.is_valid(seconds))
        return int(pc.sum(pc.and_(known, pc.and_(here, pc.invert(image)))).as_py() or 0)

    def _is_unmoved(self, text: str, pseudonym: str) -> bool:
        index = self._facts.patients.get(pseudonym)
        if index is None or self._profile.times.dates == "keep" or len(text) < len("2026-11-20"):
            return False
        moves = self._facts.moves()
        if len(text) == len("2026-11-20"):
            number, move, known = dt.date.fromisoformat(text).toordinal() - _EPOCH, moves[1][index], self._known("days")
        else:
            number, move = int(DateTime(text).as_datetime().timestamp() // 1), moves[0][index]
            known = self._known("seconds")
            if key(index, number) in self._known("walls") and key(index, number - move) not in known:
                return True
        return key(index, number) in known and key(index, number - move) not in known

    def _is_identifier(self, pseudonym: str, text: str) -> bool:
        return self._tokens.hash(f"{pseudonym}|{text}") in self._known("identifiers")

    def _names(self, text: str, own: Iterable[str]) -> bool:
        return text not in own and self._tokens.stands_in(text)

    def _array(self, name: str) -> pa.Array:
        import pyarrow as pa

        if name not in self._sets:
            self._sets[name] = pa.array(getattr(self._facts, name), pa.int64()).unique()
        return self._sets[name]

    def _known(self, name: str) -> frozenset[int]:
        if name not in self._plain:
            self._plain[name] = frozenset(getattr(self._facts, name))
        return self._plain[name]


class _Counts:
    """Counts finds of one column."""

    def __init__(self, place: str, column: str) -> None:
        self._place, self._column = place, column
        self._found: dict[RuleName, int] = {}

    def add(self, rule: RuleName, count: int) -> None:
        if count:
            self._found[rule] = self._found.get(rule, 0) + int(count)

    def leaks(self) -> list[Leak]:
        return [Leak(self._place, self._column, rule, count) for rule, count in self._found.items()]


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _keys(numbers: Any, values: Any) -> Any:
    import pyarrow.compute as pc

    return pc.add(pc.multiply(pc.cast(numbers, "int64"), key(1, 0) - key(0, 0)), pc.add(values, key(0, 0)))


def _ticks(type_: Any) -> int:
    return {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[type_.unit]


def _has_type(type_: Any, wanted: str) -> bool:
    import pyarrow as pa

    test = {
        "string": pa.types.is_string,
        "dictionary": pa.types.is_string,
        "double": pa.types.is_floating,
        "int32": pa.types.is_integer,
        "bool": pa.types.is_boolean,
        "timestamp": pa.types.is_timestamp,
    }[wanted]
    return bool(test(type_))


def _metadata(table: pa.Table) -> Iterator[tuple[str, str]]:
    """The words beside the values of a table: of the whole, and of each column that says more than its declaration."""
    for name, value in (table.schema.metadata or {}).items():
        yield "(metadata)", f"{name.decode('utf-8', 'replace')} {value.decode('utf-8', 'replace')}"
    for field in table.schema:
        for name, value in (field.metadata or {}).items():
            yield field.name, name.decode("utf-8", "replace")
            yield field.name, value.decode("utf-8", "replace")


def _parquet(path: Path) -> Iterator[tuple[str, str]]:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    yield "(created by)", metadata.created_by or ""
    for name, value in (metadata.metadata or {}).items():
        # The schema of Arrow is bytes in base64, whose text the table itself was checked for.
        if name != b"ARROW:schema":
            yield "(metadata)", f"{name.decode('utf-8', 'replace')} {value.decode('utf-8', 'replace')}"
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in range(group.num_columns):
            statistics = group.column(column).statistics
            if statistics is not None and statistics.has_min_max:
                for bound in (statistics.min, statistics.max):
                    if isinstance(bound, str):
                        yield f"(statistics) {group.column(column).path_in_schema}", bound


def _printable(data: bytes) -> Iterator[str]:
    """The runs of bytes that can be text, in UTF-8."""
    for found in re.finditer(rb"[\x20-\x7e\x80-\xf4]{8,}", data):
        yield found[0].decode("utf-8", "replace")


def strings(value: Json) -> Iterator[str]:
    """Every text that stands in a tree."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from strings(member)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
