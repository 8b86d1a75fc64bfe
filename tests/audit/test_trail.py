"""Writing: whatever writers do and whatever ends them, what they wrote verifies; a line that is not written is told."""

from __future__ import annotations

import errno
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirbridge.audit import files
from fhirbridge.audit.checkpoint import read_checkpoints
from fhirbridge.audit.head import opening_of
from fhirbridge.audit.verify import verify
from fhirbridge.errors import AuditUnavailable
from tests.audit.trails import KEYS, event_text, killed, lived, trail_in

EVENT = b'{"resourceType":"AuditEvent"}'


@given(seed=st.integers(0, 2**32), writers=st.integers(1, 4), steps=st.integers(0, 40))
def test_what_any_writers_wrote_verifies_however_they_ended(seed: int, writers: int, steps: int) -> None:
    """Lines, ends, new beginnings and kills in any order; a line that breaks off is told, and is no fault."""
    rng = random.Random(seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        trails = lived(Path(folder), rng, writers, steps)
        assert verify(Path(folder), KEYS).faults == []
        for one in trails:
            one.close()
        assert verify(Path(folder), KEYS).faults == []


def test_a_line_that_was_announced_is_synced_before_append_returns(tmp_path: Path, syncs: list[int]) -> None:
    trail = trail_in(tmp_path)
    trail.append("event", EVENT)
    before = len(syncs)
    trail.append("event", EVENT)
    assert len(syncs) == before, "what nobody waits for is synced with the next that somebody waits for"
    trail.append("event", EVENT, durable=True)
    assert len(syncs) == before + 1


def test_threads_that_wait_at_the_same_time_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one sync is under way others write; the next sync is for all of them."""
    trail, count = trail_in(tmp_path), 8
    trail.append("event", EVENT)
    first, done, syncs = threading.Event(), threading.Event(), []

    def slow(descriptor: int) -> None:
        syncs.append(descriptor)
        first.set()
        assert done.wait(20)

    monkeypatch.setattr(os, "fsync", slow)
    threads = [
        threading.Thread(target=trail.append, args=("event", EVENT), kwargs={"durable": True}) for _ in range(count)
    ]
    threads[0].start()
    assert first.wait(20)
    for one in threads[1:]:
        one.start()
    file = trail._file
    assert file is not None
    while file.n < count + 1:
        done.wait(0.001)
    done.set()
    for one in threads:
        one.join(20)
    assert len(syncs) == 2
    trail.close()
    assert verify(tmp_path, KEYS).events == count + 1


def test_a_forked_process_writes_a_file_of_its_own(tmp_path: Path) -> None:
    trail = trail_in(tmp_path)
    trail.append("event", EVENT)
    child = os.fork()
    if child == 0:
        try:
            trail.append("event", EVENT)
            trail.close()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    trail.append("event", EVENT)
    trail.close()
    found = verify(tmp_path, KEYS)
    assert (found.files, found.events, found.findings) == (2, 3, [])


def test_a_folder_of_many_files_is_opened_by_looking_at_few(tmp_path: Path) -> None:
    """A file remembers the ended ones that no other file remembers, so the first line does not grow with the folder."""
    for _ in range(30):
        trail = trail_in(tmp_path)
        trail.append("event", EVENT)
        trail.close()
    names, _ = files.names_in(tmp_path)
    openings = [opening_of(tmp_path / name, KEYS) for name in names]
    assert [len(one.heads) if one else None for one in openings] == [0, *([1] * 29)]
    assert verify(tmp_path, KEYS).findings == []


def test_a_clock_that_is_set_back_neither_reorders_files_nor_loses_one(tmp_path: Path) -> None:
    now = [2_000_000_000.0]
    for _ in range(3):
        trail = trail_in(tmp_path, clock=lambda: now[0])
        trail.append("event", EVENT)
        now[0] -= 86_400
        trail.append("event", EVENT)
        trail.close()
    found = verify(tmp_path, KEYS)
    assert (found.files, found.events, found.findings) == (6, 6, [])
    for name in files.names_in(tmp_path)[0][:-1]:
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        assert [one.code for one in verify(tmp_path, KEYS).faults] == ["audit.gone"]
        (tmp_path / name).write_bytes(kept)


def test_a_file_is_ended_after_a_day(tmp_path: Path) -> None:
    now = [2_000_000_000.0]
    trail = trail_in(tmp_path, clock=lambda: now[0])
    for _ in range(3):
        trail.append("event", EVENT)
        now[0] += 86_400
    trail.close()
    assert verify(tmp_path, KEYS).files == 3


def full_after(monkeypatch: pytest.MonkeyPatch, left: list[int]) -> None:
    """A disk that takes ``left[0]`` bytes more."""
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        taken = min(len(data), left[0])
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= taken
        return real(descriptor, bytes(data[:taken]))

    monkeypatch.setattr(os, "write", write)


@given(room=st.integers(0, 3_000))
def test_a_disk_that_is_full_is_told_each_time_and_nothing_is_spoilt(room: int) -> None:
    """Wherever it is full, the line was not written; when there is room again it goes on, and all of it verifies."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        trail, told, left = trail_in(Path(folder) / "trail"), 0, [room]
        full_after(patched, left)
        for _ in range(6):
            try:
                trail.append("event", EVENT)
                told += 1
            except AuditUnavailable:
                continue
        left[0] = 1_000_000
        trail.append("event", EVENT)
        trail.close()
        found = verify(Path(folder) / "trail", KEYS)
        assert found.faults == []
        assert found.events == told + 1


def test_the_limit_of_a_file_ends_as_a_full_disk_does(tmp_path: Path) -> None:
    """A real limit of the system, in a process of its own: its error reaches the caller, and the trail stays sound."""
    program = (
        "import resource, sys; from pathlib import Path; from tests.audit.trails import trail_in\n"
        "from fhirbridge.errors import AuditUnavailable\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "trail, refused = trail_in(Path(sys.argv[1])), 0\n"
        "for number in range(40):\n"
        "    try: trail.append('event', b'{\"resourceType\":\"AuditEvent\"}', durable=True)\n"
        "    except AuditUnavailable: refused += 1\n"
        "print(refused)\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True)
    found = verify(tmp_path, KEYS)
    assert int(run.stdout) > 0
    assert (found.faults, found.events) == ([], 40 - int(run.stdout))


def test_a_disk_that_refused_a_sync_is_not_believed_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systems forget what a failed sync was for: the file is left, the next line goes into another."""
    trail = trail_in(tmp_path)
    trail.append("event", EVENT)

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(AuditUnavailable):
            trail.append("event", EVENT, durable=True)
    trail.append("event", EVENT, durable=True)
    trail.close()
    found = verify(tmp_path, KEYS)
    assert (found.files, found.faults) == (2, [])


@pytest.mark.parametrize("spoil", [lambda path: path.write_text("x"), lambda path: path.symlink_to("/nowhere/at/all")])
def test_a_folder_that_cannot_be_one_is_told(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    spoil(tmp_path / "trail")
    with pytest.raises(AuditUnavailable, match=r"audit\.unavailable"):
        trail_in(tmp_path / "trail").append("event", EVENT)


def test_files_are_for_their_owner_only_and_named_by_nothing_but_time_and_chance(tmp_path: Path) -> None:
    trail = trail_in(tmp_path / "trail")
    trail.append("event", EVENT)
    names, strays = files.names_in(tmp_path / "trail")
    assert (len(names), strays) == (1, [])
    assert (tmp_path / "trail").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "trail" / names[0]).stat().st_mode & 0o777 == 0o600


def test_checkpoints_are_added_while_it_is_written_and_at_the_end(tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere.ndjson"
    trail = trail_in(tmp_path / "trail", checkpoints=kept, every=4)
    for _ in range(9):
        trail.append("event", EVENT)
    assert [one.heads[0].n for one in read_checkpoints(kept, KEYS)] == [4, 8]
    trail.close()
    (*_, last) = read_checkpoints(kept, KEYS)
    assert (last.heads[0].state, last.heads[0].n) == ("closed", 10)
    assert verify(tmp_path / "trail", KEYS, read_checkpoints(kept, KEYS)).findings == []


def test_a_checkpoint_that_broke_off_is_passed_over(tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere.ndjson"
    for cut in (0, 40):
        trail = trail_in(tmp_path / "trail", checkpoints=kept)
        trail.append("event", EVENT)
        trail.close()
        data = kept.read_bytes()
        kept.write_bytes(data[: len(data) - cut])
    trail = trail_in(tmp_path / "trail", checkpoints=kept)
    trail.append("event", EVENT)
    trail.close()
    assert len(read_checkpoints(kept, KEYS)) == 2


def test_nothing_is_announced_where_the_place_for_checkpoints_is_away(tmp_path: Path) -> None:
    trail = trail_in(tmp_path / "trail", checkpoints=tmp_path / "away" / "checkpoints.ndjson")
    with pytest.raises(AuditUnavailable):
        trail.append("event", EVENT)


def test_a_killed_writers_file_is_sealed_by_the_next(tmp_path: Path) -> None:
    """Until then its end is told as unguarded; afterwards a line that is taken away, or added, is found."""
    rng = random.Random(3)  # noqa: S311
    trail = trail_in(tmp_path)
    for _ in range(3):
        trail.append("event", event_text(rng))
    killed(trail, rng)
    (name,), _ = files.names_in(tmp_path)
    (told,) = verify(tmp_path, KEYS).findings
    assert (told.code, told.fault) == ("audit.unclosed", False)
    assert "nothing guards" in told.meaning
    nxt = trail_in(tmp_path)
    nxt.append("event", EVENT)
    nxt.close()
    (told,) = verify(tmp_path, KEYS).findings
    assert (told.code, told.fault) == ("audit.unclosed", False)
    assert "nothing guards" not in told.meaning
    lines = (tmp_path / name).read_bytes().splitlines(keepends=True)
    (tmp_path / name).write_bytes(b"".join(lines[:3]))
    assert [one.code for one in verify(tmp_path, KEYS).faults] == ["audit.truncated"]
