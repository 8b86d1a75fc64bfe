"""Secrets: read from four places, bounded in size and time, and never shown."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from fhirbridge.config import Config, Secret, parse
from fhirbridge.config.command import run
from fhirbridge.errors import ConfigError

CANARY = "canary-7f3a9"


def read(tree: dict[str, Any], folder: Path = Path(), environ: dict[str, str] | None = None) -> bytes:
    return Secret.model_validate(tree).read(environ or dict(os.environ), folder)


def wrong(tree: dict[str, Any], folder: Path = Path()) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(tree, folder)
    assert CANARY not in f"{caught.value} {caught.value!r}"
    return caught.value


def program(text: str) -> dict[str, Any]:
    return {"command": [sys.executable, "-c", text]}


@given(st.binary(min_size=1, max_size=100).filter(lambda data: data.rstrip(b"\r\n") == data))
def test_a_file_and_a_command_lose_their_line_end_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("secret")
    (folder / "s").write_bytes(data + b"\n")
    assert read({"file": "s"}, folder) == data


def test_a_command_runs_beside_the_configuration_without_a_shell(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(CANARY)
    assert read(program("print(open('token').read())"), tmp_path) == CANARY.encode()
    # Its words are words, whatever stands in them.
    echo = {"command": [sys.executable, "-c", "import sys; print(sys.argv[1])", "$(id); `id` && id"]}
    assert read(echo) == b"$(id); `id` && id"
    assert read(program("import sys; print(repr(sys.stdin.read()))")) == b"''"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"import sys; print('{CANARY}'); sys.exit('{CANARY}')", "ended with 1"),
        ("import os; os.kill(os.getpid(), 9)", "ended with -9"),
        (f"print('{CANARY}' * 10_000)", "too much"),
        ("import itertools, sys\nfor _ in itertools.count(): sys.stdout.write('x' * 65536)", "too much"),
        ("pass", "empty"),
    ],
)
def test_a_command_that_fails_is_told_without_its_words(text: str, why: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert why in str(wrong(program(text)))
    assert capfd.readouterr() == ("", "")


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    error = wrong({"command": [str(tmp_path / "nowhere"), CANARY]}, tmp_path)
    assert error.code == "config.secret_command"


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Also one that has closed its output, and one whose child keeps the output open."""
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    for text in ("import time; time.sleep(60)", "import os, time; os.close(1); time.sleep(60)", f"{child}.wait()"):
        with pytest.raises(ConfigError, match="took longer"):
            run([sys.executable, "-c", text], os.environ, tmp_path, 100, longest=0.5)


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_a_file_that_anybody_may_write_is_refused_and_one_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    """Containers mount secrets readable for all; no sane place has them writable."""
    path = tmp_path / "s"
    path.write_text(CANARY * 3)
    tree = {"clinic": {"id_key": {"file": "s"}}}
    for mode, warned in ((0o600, False), (0o400, False), (0o640, True), (0o444, True)):
        path.chmod(mode)
        config = Config(parse(tree), tmp_path, {})
        assert config.id_key()
        assert any("chmod 600 s" in one and "clinic.id_key" in one for one in config.warnings) == warned
    path.chmod(0o602)
    assert wrong({"file": "s"}, tmp_path).code == "config.secret_writable"


class Drawer(KeyringBackend):
    """A keyring with one drawer."""

    priority = 1  # type: ignore[assignment]
    locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked(CANARY)
        return CANARY if (service, username) == ("fhirbridge/prod", "token") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError


@pytest.fixture
def drawer() -> Iterator[Drawer]:
    before, made = keyring.get_keyring(), Drawer()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def test_a_keyring_gives_out_what_it_has(drawer: Drawer) -> None:
    assert read({"keyring": "fhirbridge/prod/token"}) == CANARY.encode()
    assert "fhirbridge/prod/other" in str(wrong({"keyring": "fhirbridge/prod/other"}))
    drawer.locked = True
    assert wrong({"keyring": "fhirbridge/prod/token"}).code == "config.keyring"


def test_without_the_package_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    error = wrong({"keyring": "fhirbridge/token"})
    assert (error.code, error.hint) == ("config.keyring", 'pip install "fhirbridge[keyring]"')


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"env": "A", "file": "b"},
        {"keyring": "a/b", "command": ["c"]},
        {"keyring": "no-user"},
        {"keyring": "/user"},
        {"command": []},
        {"command": [""]},
        {"command": f"echo {CANARY}"},
        {"env": f"{CANARY} x"},
    ],
)
def test_a_place_that_is_none_is_refused_without_being_quoted(tree: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"clinic": {"id_key": tree}})
    assert "clinic.id_key" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_configuration_is_not_pickled_as_it_holds_the_environment() -> None:
    config = Config(parse({"clinic": {"demo": True}}), Path(), {"TOKEN": CANARY})
    assert CANARY not in repr(config)
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        pickle.dumps(config)
