"""The house itself: what is installed, what is locked, and what must never stand in a file."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import entry_points, files, requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import fhirbridge
import mappings
from fhirbridge.mapping import kinds

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "dev.lock"
NOT_OURS = frozenset({".git", ".venv", "__pycache__", "target"})
# Spelt so that this file does not hold what it looks for.
REGISTRIES = re.compile(
    r"py[p]i\.org|python[h]osted\.org|npm[j]s\.org|repo[0-9]*\.mav[e]n|proxy\.gol[a]ng|deb\.deb[i]an\.org|crat[e]s\.io"
)
MACHINE_PATHS = re.compile(r"(?:^|[^\w./-])/(?:wor[k]|hom[e]|roo[t]|User[s])/")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture
def checkout() -> Path:
    if not (ROOT / "fhirbridge").is_dir():
        pytest.skip("the suite runs against an installed wheel; there is no checkout here")
    return ROOT


def ours() -> Iterator[Path]:
    """Every text file of the project."""
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT)
        hidden = any(part.startswith(".") and part != ".ci" for part in inside.parts)
        if path.is_file() and not hidden and NOT_OURS.isdisjoint(inside.parts):
            yield path


def test_the_installed_version_is_that_of_the_code() -> None:
    assert version("fhirbridge") == fhirbridge.__version__


def test_every_record_kind_comes_in_through_its_entry_point() -> None:
    assert kinds().keys() >= {"session", "vital_sign", "assessment", "consent", "adverse_event"}
    assert {point.name for point in entry_points(group="fhirbridge.mappings")} == kinds().keys()


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="fhirbridge")
    assert callable(command.load())


@pytest.mark.parametrize("package", [fhirbridge, mappings], ids=["fhirbridge", "mappings"])
def test_type_checkers_may_trust_the_annotations(package: Any) -> None:
    assert (Path(package.__file__).parent / "py.typed").is_file()


def test_the_wheel_holds_the_two_packages_and_nothing_else(tmp_path: Path, checkout: Path) -> None:
    """No ``tests`` or ``examples`` at the top level of somebody's environment, and no module left out."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(checkout)]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2_000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    own = f"fhirbridge-{fhirbridge.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"fhirbridge", "mappings", own}
    modules = {
        str(path.relative_to(checkout)) for top in ("fhirbridge", "mappings") for path in (checkout / top).rglob("*.py")
    }
    assert modules <= names
    assert any(name.startswith(f"{own}/") and name.endswith("LICENSE") for name in names)


def test_outside_a_checkout_the_code_comes_from_the_wheel() -> None:
    if (ROOT / "fhirbridge").is_dir():
        pytest.skip("this is a checkout")
    assert ROOT not in Path(fhirbridge.__file__).resolve().parents
    assert any(str(one) == "fhirbridge/__init__.py" for one in files("fhirbridge") or ())


def locked() -> dict[str, Version]:
    text = LOCK.read_text("utf-8")
    pairs = re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {canonicalize_name(name): Version(number) for name, number in pairs}


def test_the_lock_names_every_package_with_its_hashes_and_no_address(checkout: Path) -> None:
    text = LOCK.read_text("utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if entry]
    assert entries
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
    assert "://" not in text


def test_the_lock_satisfies_what_the_package_asks_for(checkout: Path) -> None:
    held = locked()
    wanted = [Requirement(text) for text in requires("fhirbridge") or ()]
    development = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": "dev"})]
    assert development
    for one in development:
        assert held[canonicalize_name(one.name)] in one.specifier, one.name


def test_the_licence_is_apache(project: dict[str, Any], checkout: Path) -> None:
    assert project["project"]["license"] == "Apache-2.0"
    assert "Apache License\n" in (checkout / "LICENSE").read_text("utf-8")


@pytest.mark.parametrize("unwanted", [REGISTRIES, MACHINE_PATHS], ids=["package registries", "paths of one machine"])
def test_no_file_names(unwanted: re.Pattern[str]) -> None:
    """A clone works with any registry and on any machine."""
    found = []
    for path in ours():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(text.splitlines(), 1) if unwanted.search(line)
        ]
    assert found == []


def test_the_scripts_of_the_harness_can_be_run() -> None:
    scripts = [*ROOT.glob("tests/harness/**/*.sh"), *ROOT.glob(".ci/run")]
    assert scripts
    for script in scripts:
        assert script.stat().st_mode & 0o111, script.name


def test_make_help_lists_every_target(checkout: Path) -> None:
    text = (checkout / "Makefile").read_text("utf-8")
    targets = set(re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split())  # type: ignore[index]
    assert targets == set(re.findall(r"^([a-z-]+):[^#\n]*## ", text, re.MULTILINE))
