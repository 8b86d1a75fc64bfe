"""Verifying: what was changed is named by file and line, and by what it means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fhirbridge.audit import files
from fhirbridge.audit.checkpoint import Checkpoint, Checkpoints, read_checkpoints
from fhirbridge.audit.head import head_of
from fhirbridge.audit.keys import Keys
from fhirbridge.audit.line import write
from fhirbridge.audit.verify import verify
from fhirbridge.errors import AuditError
from tests.audit.tamper import STRANGER, run
from tests.audit.trails import CLINIC, ID_KEY, KEYS, SECRET, trail_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of three events each."""
    for file in range(3):
        trail = trail_in(tmp_path / "trail")
        for event in range(3):
            trail.append("event", b'{"file":%d,"event":%d}' % (file, event))
        trail.close()
    return tmp_path / "trail"


def names(folder: Path) -> list[str]:
    return files.names_in(folder)[0]


def checkpoints(folder: Path, kept: Path) -> list[Checkpoint]:
    Checkpoints(kept, KEYS, CLINIC, 1).add([head_of(folder / name, KEYS) for name in names(folder)], 2e9)
    return read_checkpoints(kept, KEYS)


def lines(path: Path, change: Callable[[list[bytes]], object]) -> None:
    """Change the lines of a file."""
    found = path.read_bytes().splitlines(keepends=True)
    change(found)
    path.write_bytes(b"".join(found))


def faults(folder: Path, *kept: Checkpoint) -> list[tuple[str, str, int | None]]:
    return [(one.code, one.file, one.line) for one in verify(folder, KEYS, kept).faults]


def test_one_of_each_of_many_random_changes_is_found() -> None:
    """The small size of ``python -m tests.audit.tamper``, which makes as many as it is told."""
    made, found, _ = run(150, seed=7)
    assert made.total() - found.total() == 0


def test_an_edited_line_is_named(folder: Path) -> None:
    second = names(folder)[1]
    lines(folder / second, lambda found: found.__setitem__(2, found[2].replace(b'"event":1', b'"event":7')))
    assert faults(folder) == [("audit.edited", second, 3)]


def test_a_deleted_line_is_named_by_the_one_behind_it(folder: Path) -> None:
    first, *_ = names(folder)
    lines(folder / first, lambda found: found.pop(2))
    assert faults(folder) == [("audit.lines_missing", first, 3)]


def test_a_first_line_that_is_gone_is_named(folder: Path) -> None:
    first, *_ = names(folder)
    lines(folder / first, lambda found: found.pop(0))
    assert faults(folder) == [("audit.lines_missing", first, 1)]


def test_lines_out_of_order_are_named(folder: Path) -> None:
    first, *_ = names(folder)
    lines(folder / first, lambda found: found.insert(3, found[1]))
    assert faults(folder) == [("audit.order", first, 4)]


def test_a_line_of_another_file_with_the_right_number_is_named(folder: Path) -> None:
    first, second, _ = names(folder)
    theirs = (folder / second).read_bytes().splitlines(keepends=True)
    lines(folder / first, lambda found: found.__setitem__(2, theirs[2]))
    assert faults(folder) == [("audit.order", first, 3)]


def test_a_forged_line_at_the_end_is_named(folder: Path) -> None:
    *_, newest = names(folder)

    def forge(found: list[bytes]) -> None:
        found[-1] = write(4, found[3][-67:-3].decode(), "event", b"{}", STRANGER)[0]

    lines(folder / newest, forge)
    assert faults(folder) == [("audit.edited", newest, 5)]


def test_a_removed_file_is_told_by_whoever_remembers_it(folder: Path) -> None:
    first, second, _ = names(folder)
    (folder / first).unlink()
    (found,) = verify(folder, KEYS).faults
    assert (found.code, found.file) == ("audit.gone", first)
    assert second in found.meaning


def test_a_renamed_file_and_a_stray_one_are_told(folder: Path) -> None:
    first, *_ = names(folder)
    (folder / first).rename(folder / "notes.txt")
    assert {code for code, _, _ in faults(folder)} == {"audit.stray", "audit.gone"}
    (folder / "notes.txt").rename(folder / files.new_name(1e9, []))
    assert {code for code, _, _ in faults(folder)} == {"audit.renamed", "audit.gone"}


def test_the_newest_end_is_guarded_by_a_checkpoint_only(folder: Path, tmp_path: Path) -> None:
    """Its last lines, and the file itself: without a checkpoint they were never there."""
    *_, newest = names(folder)
    kept = checkpoints(folder, tmp_path / "kept.ndjson")
    whole = (folder / newest).read_bytes()
    lines(folder / newest, lambda found: found.__delitem__(slice(3, None)))
    assert faults(folder) == []
    assert faults(folder, *kept) == [("audit.truncated", newest, 4)]
    (folder / newest).unlink()
    assert faults(folder) == []
    assert faults(folder, *kept) == [("audit.gone", newest, None)]
    (folder / newest).write_bytes(whole)
    assert faults(folder, *kept) == []


def test_what_somebody_with_the_key_rewrote_is_told_by_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    *_, newest = names(folder)
    kept = checkpoints(folder, tmp_path / "kept.ndjson")

    def rewrite(found: list[bytes]) -> None:
        mac = found[0][-67:-3].decode()
        for place, says in ((1, "event"), (2, "event"), (3, "event"), (4, "closes")):
            found[place], mac = write(place, mac, says, b'{"rewritten":true}', KEYS)  # type: ignore[arg-type]

    lines(folder / newest, rewrite)
    assert faults(folder) == []
    assert faults(folder, *kept) == [("audit.rewritten", newest, 5)]


def test_files_that_were_put_away_are_named_by_a_checkpoint_of_their_own(folder: Path, tmp_path: Path) -> None:
    first, *_ = names(folder)
    away = checkpoints(folder, tmp_path / "away.ndjson")
    (folder / first).unlink()
    found = verify(folder, KEYS, (), away)
    assert [(one.code, one.file) for one in found.findings] == [("audit.archived", first)]
    assert found.intact


def test_an_older_copy_of_a_file_is_found(folder: Path) -> None:
    """A whole file put back to what it once was: the files behind it know better."""
    first, *_ = names(folder)
    lines(folder / first, lambda found: found.__delitem__(slice(2, None)))
    assert faults(folder) == [("audit.truncated", first, 3)]


def test_another_key_is_told_as_that(folder: Path) -> None:
    found = verify(folder, Keys([b"another secret that is long enough"], ID_KEY, CLINIC))
    assert {one.code for one in found.faults} == {"audit.key"}
    assert verify(folder, Keys([b"a new one that is long enough", SECRET], ID_KEY, CLINIC)).intact


def test_another_clinic_with_the_same_secret_is_another_key(folder: Path) -> None:
    assert {one.code for one in verify(folder, Keys([SECRET], ID_KEY, "other.example")).faults} == {"audit.key"}


def test_a_changed_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.ndjson"
    checkpoints(folder, kept)
    kept.write_bytes(kept.read_bytes().replace(b'"n":4', b'"n":3', 1))
    with pytest.raises(AuditError, match=r"audit\.checkpoint"):
        read_checkpoints(kept, KEYS)
    for nothing in (b"", b"\n", b"{}\n", b"\xff\xfe\n"):
        kept.write_bytes(nothing)
        with pytest.raises(AuditError, match=r"audit\.checkpoint"):
            read_checkpoints(kept, KEYS)


def test_an_empty_folder_and_none_at_all_are_intact(tmp_path: Path) -> None:
    assert verify(tmp_path, KEYS).intact
    assert verify(tmp_path / "nowhere", KEYS).intact
