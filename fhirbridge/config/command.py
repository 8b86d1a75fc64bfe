"""Secrets that a command prints, such as ``vault read``: no shell, an end in time, a bound on what it prints."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from fhirbridge.errors import ConfigError

# Seconds; it may ask for a second factor, or wake a smart card.
LONGEST = 30.0


def run(
    command: Sequence[str], environ: Mapping[str, str], directory: Path, largest: int, longest: float = LONGEST
) -> bytes:
    """What a command writes to standard output, ``largest`` bytes at most, with its own standard error thrown away.

    It runs in ``directory`` with nothing on standard input. Raises :class:`ConfigError`: it cannot be run, fails, takes
    longer than ``longest`` seconds, or writes more. The program is named in the message, its arguments are not.
    """
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(  # noqa: S603 - a list of words out of the operator's own configuration, no shell
            list(command),
            cwd=directory,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # So that what it has started itself ends with it.
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "cannot be run"
        raise _wrong(name, reason.lower()) from None
    found = bytearray()
    reader = threading.Thread(target=_read, args=(process, found, largest), daemon=True)
    reader.start()
    try:
        # Standard output ends when the command and all that it has started have closed it.
        reader.join(longest)
        if reader.is_alive():
            raise _wrong(name, f"took longer than {longest:g} s")
        if len(found) > largest:
            raise _wrong(name, "wrote far too much")
        code = process.wait(longest)
    except subprocess.TimeoutExpired:
        raise _wrong(name, f"took longer than {longest:g} s") from None
    finally:
        _end(process)
    if code != 0:
        raise _wrong(name, f"ended with {code}", "run it by hand: its own words are not shown here")
    return bytes(found)


def _read(process: subprocess.Popen[bytes], found: bytearray, largest: int) -> None:
    assert process.stdout is not None
    with process.stdout as pipe:
        found += pipe.read(largest + 1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command with what it has started, if it still runs."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wrong(name: str, reason: str, hint: str = "run it by hand") -> ConfigError:
    return ConfigError(f"the command {name} for a secret: {reason}", code="config.secret_command", hint=hint)
