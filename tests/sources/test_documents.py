"""Cutting a stream into JSON texts: whatever the chunks, whatever is wrong with one text, the others come through."""

from __future__ import annotations

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.errors import SourceError
from fhirbridge.sources import open_documents
from fhirbridge.sources.documents import from_array, from_lines

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


class Dribble(io.RawIOBase):
    """A stream that gives as many bytes at a time as it likes."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._data, self._random = io.BytesIO(data), random.Random(seed)  # noqa: S311 - repeatable

    def read(self, size: int = -1) -> bytes:
        return self._data.read(self._random.randint(1, 7))


@given(st.lists(VALUES, max_size=6), st.integers(), st.sampled_from([None, 1]), st.booleans())
def test_an_array_is_cut_into_its_items(items: list[Any], seed: int, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    found = list(from_array(Dribble(text, seed), "f"))  # type: ignore[arg-type]
    assert [json.loads(one.data) for one in found] == json.loads(text)
    assert [one.fault for one in found] == [None] * len(found)


@given(st.lists(VALUES, min_size=1, max_size=6), st.integers())
def test_every_item_names_the_line_it_begins_on(items: list[Any], seed: int) -> None:
    text = "[" + ",".join(f"\n{json.dumps(item)}" for item in items) + "]"
    found = list(from_array(Dribble(text.encode(), seed), "f"))  # type: ignore[arg-type]
    assert [one.line for one in found] == list(range(2, len(items) + 2))


@given(st.binary(max_size=200), st.integers())
def test_no_bytes_crash_a_reader(data: bytes, seed: int) -> None:
    for one in (*from_array(Dribble(b"[" + data, seed), "f"), *from_lines(io.BytesIO(data), "f")):  # type: ignore[arg-type]
        assert one.line >= 1


@given(st.lists(VALUES, max_size=6))
def test_lines_are_texts_and_blank_lines_are_none(items: list[Any]) -> None:
    data = b"\n  \n".join(json.dumps(item).encode() for item in items)
    found = list(from_lines(io.BytesIO(data), "f"))
    assert [json.loads(one.data) for one in found] == items
    assert [one.line for one in found] == [2 * number + 1 for number in range(len(items))]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (b"[1,]", [None, "json.empty_item"]),
        (b"[,1]", ["json.empty_item", None]),
        (b"[1", ["json.unclosed"]),
        (b'[1,"', [None, "json.unclosed"]),
        (b"[1] 2", [None, "json.after"]),
        (b"[]", []),
        (b"", []),
        (b'{"a":\n1}', [None]),
    ],
)
def test_a_broken_array_is_a_fault_in_its_place(text: bytes, codes: list[str | None]) -> None:
    assert [one.fault and one.fault.code for one in from_array(io.BytesIO(text), "f")] == codes


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"a":"\x00"}', "source.nul"),
        (b'{"a":"\xff"}', "source.utf8"),
        (b'\xef\xbb\xbf{"a":1}', "source.bom"),
        (b'{"a":"' + b"x" * 100 + b'"}', "source.too_long"),
    ],
)
def test_a_bad_line_is_a_fault_with_its_number_and_the_next_line_is_read(line: bytes, code: str) -> None:
    found = list(from_lines(io.BytesIO(b"{}\n" + line + b"\n{}\n"), "f", limit=64))
    assert [(one.line, one.fault and one.fault.code) for one in found] == [(1, None), (2, code), (3, None)]


def test_an_item_that_is_too_long_costs_only_itself() -> None:
    text = b'[1,"' + b"x" * 500 + b'",2]'
    assert [one.fault and one.fault.code for one in from_array(io.BytesIO(text), "f", limit=64)] == [
        None,
        "source.too_long",
        None,
    ]


def test_an_endless_line_is_not_held_in_memory() -> None:
    class Endless(io.RawIOBase):
        left = 200

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.left = max(self.left - 1, 0)
            buffer[:] = b"x" * len(buffer)
            return len(buffer) if self.left else 0

    found = list(from_lines(io.BufferedReader(Endless(), 1 << 16), "f", limit=1 << 16))
    assert [one.fault and one.fault.code for one in found] == ["source.too_long"]
    assert found[0].data == b""


def test_gzip_is_read_as_it_is_and_a_cut_one_ends_in_a_fault(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"a":1}\n' * 20_000, mtime=0)
    (tmp_path / "f.ndjson.gz").write_bytes(whole)
    with open_documents(str(tmp_path / "f.ndjson.gz")) as found:
        assert sum(one.fault is None for one in found) == 20_000
    (tmp_path / "cut").write_bytes(whole[:-20])
    with open_documents(str(tmp_path / "cut")) as found:
        faults = [one.fault for one in found if one.fault]
    assert [fault.code for fault in faults] == ["source.cut"]


def test_a_byte_order_mark_at_the_start_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_bytes(b'\xef\xbb\xbf[{"a":1}]')
    with open_documents(str(tmp_path / "f.json")) as found:
        assert [one.data for one in found] == [b'{"a":1}']


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"PK\x03\x04rest", "source.binary"),
        (b"\x89PNG\r\n\x1a\n", "source.binary"),
        (bytes(range(32)) * 8, "source.binary"),
        ('{"a":1}'.encode("utf-16"), "source.encoding"),
        (gzip.compress(b"PAR1" + bytes(100), mtime=0), "source.binary"),
        (b"\x1f\x8b\x08 not gzip", "source.open"),
        # A good header before damaged data.
        (gzip.compress(b"x" * 99, mtime=0)[:10] + b"\xff" * 40, "source.open"),
    ],
)
def test_what_is_no_text_is_refused_at_once(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(SourceError) as caught, open_documents(str(tmp_path / "f")) as found:
        list(found)
    assert caught.value.code == code


def test_a_directory_or_nothing_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(SourceError), open_documents(str(path)):
            pass
