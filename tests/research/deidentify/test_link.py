"""The link file opens with its key and project alone, and tells nothing without."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.errors import ConfigError, SourceError
from fhirbridge.research.deidentify.link import open_sealed, seal

KEY = bytes(range(32))
LINKS = {"A" * 20: "https://clinic.example/sid/patient|P-4711"}


@given(st.dictionaries(st.text("ABC234567", min_size=20, max_size=20), st.text(max_size=30), max_size=20))
def test_what_was_sealed_is_opened(links: dict[str, str]) -> None:
    assert open_sealed(seal(links, KEY, "P"), KEY, "P") == links


def test_sealed_nothing_can_be_read_and_two_files_differ() -> None:
    sealed = seal(LINKS, KEY, "P")
    assert b"4711" not in sealed
    assert b"AAAA" not in sealed
    assert sealed != seal(LINKS, KEY, "P")
    assert len(sealed) == len(seal({}, KEY, "P"))


@pytest.mark.parametrize(("key", "project"), [(KEY[::-1], "P"), (KEY, "Q")])
def test_another_key_or_project_does_not_open_it(key: bytes, project: str) -> None:
    with pytest.raises(SourceError) as refused:
        open_sealed(seal(LINKS, KEY, "P"), key, project)
    assert refused.value.code == "source.link"


@given(st.integers(0, 4_000))
def test_a_changed_byte_is_noticed(where: int) -> None:
    sealed = bytearray(seal(LINKS, KEY, "P"))
    sealed[where] ^= 1
    with pytest.raises(SourceError):
        open_sealed(bytes(sealed), KEY, "P")


@pytest.mark.parametrize("data", [b"", b"fhirbridge link 1\n", b"other"])
def test_what_is_no_link_file_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError):
        open_sealed(data, KEY, "P")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        seal(LINKS, b"short", "P")
    assert refused.value.code == "config.link_key"
