"""``fhirbridge keys`` for the person who runs it: files for nobody else, and nothing private on the screen."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fhirbridge.cli.main import app
from fhirbridge.client.auth import SigningKey, read_key

PRIVATE = {"d", "p", "q", "dp", "dq", "qi"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments], prog_name="fhirbridge")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FHIRBRIDGE_CONFIG", raising=False)
    return tmp_path


def test_a_new_key_is_for_its_owner_alone_and_is_never_written_over(folder: Path) -> None:
    found = run("new", "--out", "h.pem")
    key = read_key((folder / "h.pem").read_bytes())
    assert found.exit_code == 0
    assert key.algorithm == "ES384"
    assert f"kid {key.kid}" in found.stderr
    assert "fhirbridge keys jwks h.pem" in found.stderr
    assert stat.S_IMODE((folder / "h.pem").stat().st_mode) == 0o600
    before = (folder / "h.pem").read_bytes()
    again = run("new", "--out", "h.pem")
    assert (again.exit_code, (folder / "h.pem").read_bytes()) == (2, before)
    assert "[usage.output]" in again.stderr
    assert run("new", "--out", "nowhere/h.pem").exit_code == 2


def test_a_link_is_not_followed(folder: Path) -> None:
    (folder / "h.pem").symlink_to(folder / "elsewhere")
    assert run("new", "--out", "h.pem").exit_code == 2
    assert not (folder / "elsewhere").exists()


def test_the_jwks_of_files_and_of_a_site_are_the_public_halves_in_order(folder: Path, rs: SigningKey) -> None:
    assert run("new", "--alg", "ES384", "--out", "new.pem").exit_code == 0
    (folder / "old.pem").write_bytes(rs.pem())
    (folder / "fhirbridge.toml").write_text(
        '[clinic]\ndemo = true\n[site.h]\nbase_url = "https://h.example"\n[site.h.auth]\nkind = "smart-backend"\n'
        'client_id = "c"\nkeys = [{ file = "new.pem" }, { file = "old.pem", kid = "2025" }]\n'
        '[site.open]\nbase_url = "https://o.example"\n'
    )
    files, site = run("jwks", "new.pem", "old.pem"), run("jwks", "h")
    assert (files.exit_code, site.exit_code) == (0, 0)
    by_file, by_site = json.loads(files.stdout)["keys"], json.loads(site.stdout)["keys"]
    assert [one["alg"] for one in by_file] == ["ES384", "RS384"]
    assert by_site[0] == by_file[0]
    assert by_site[1] == {**by_file[1], "kid": "2025"}
    assert all(not PRIVATE & one.keys() and one["use"] == "sig" for one in by_site)
    nothing = run("jwks", "open")
    assert (nothing.exit_code, "[usage.key]" in nothing.stderr) == (2, True)
    assert run("jwks", "new.pem", "new.pem").exit_code == 2
    assert "did you mean h?" in run("jwks", "hh").stderr


def test_what_is_no_key_is_told_without_being_shown(folder: Path) -> None:
    (folder / "h.pem").write_text("canary-secret")
    found = run("jwks", "h.pem")
    assert (found.exit_code, "canary" in found.output) == (2, False)
    assert run("jwks", "a.pem", "b.pem").exit_code == 2


def test_a_secret_is_256_bits_and_another_one_each_time(folder: Path) -> None:
    first, second = run("secret"), run("secret")
    assert len(bytes.fromhex(first.stdout)) == len(bytes.fromhex(second.stdout)) == 32
    assert first.stdout != second.stdout
    written = run("secret", "--out", "id.key")
    text = (folder / "id.key").read_text()
    assert len(bytes.fromhex(text)) == 32
    assert text.strip() not in written.output
    assert stat.S_IMODE((folder / "id.key").stat().st_mode) == 0o600
    assert run("secret", "--out", "id.key").exit_code == 2


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_the_mode_is_kept_whatever_the_umask_is(folder: Path) -> None:
    before = os.umask(0)
    try:
        run("secret", "--out", "open.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "open.key").stat().st_mode) == 0o600


def test_each_command_has_an_example() -> None:
    examples = {"new": "keys new --alg RS384", "jwks": "keys jwks hospital", "secret": "keys secret --out"}
    for command, example in examples.items():
        assert example in run(command, "--help").stdout
