"""What fhirbridge is built of is locked, free to use, and told."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply_chain.audit import told
from supply_chain.licences import Package, packages, table
from supply_chain.lock import LOCK, pinned
from supply_chain.sbom import sbom

ROOT = Path(__file__).parent.parent


def test_everything_that_is_asked_for_is_locked_by_version_and_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *(one for name in ("dev",) for one in project["optional-dependencies"][name])]
    locked = {one.name: one for one in pinned((ROOT / LOCK).read_text("utf-8"))}
    for text in asked:
        need = Requirement(text)
        assert locked[canonicalize_name(need.name)].version in need.specifier


@pytest.mark.parametrize("entry", ["requests", "requests==2.32.0", "requests>=2 \\\n  --hash=sha256:" + "0" * 64])
def test_a_lock_without_version_or_hash_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="requests"):
        list(pinned(entry))


def test_a_clinic_gets_nothing_under_a_licence_that_is_not_on_the_list() -> None:
    found = packages()
    assert {"requests", "psycopg", "pyarrow"} <= {one.name for one in found}
    assert [one for one in found if not one.is_allowed] == []


@pytest.mark.parametrize(
    ("licence", "is_allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0", True),
        ("MIT AND GPL-2.0-only", False),
        ("BSD License; GNU General Public License v3 (GPLv3)", False),
        ("LGPL-3.0-only", False),
        ("unknown", False),
    ],
)
def test_a_licence_is_allowed_by_each_of_its_parts(licence: str, is_allowed: bool) -> None:
    assert Package("some-package", licence, ("core",)).is_allowed is is_allowed


def test_the_licences_in_the_documents_are_those_of_the_packages() -> None:
    """By name; a package may be told otherwise on another system."""
    written = (ROOT / "docs" / "licences.md").read_text("utf-8")
    missing = [one.name for one in packages(()) if f"| {one.name} |" not in written]
    assert not missing, "run make supply-chain"
    assert table([Package("a", "MIT", ("core",))]).endswith("| a | MIT | core |")


def test_the_bill_of_materials_names_every_package_of_the_lock_with_its_hashes() -> None:
    locked = list(pinned((ROOT / LOCK).read_text("utf-8")))
    tree = json.loads(sbom(locked))
    assert tree["bomFormat"] == "CycloneDX"
    hashes = {one["name"]: {each["content"] for each in one["hashes"]} for one in tree["components"]}
    assert hashes == {one.name: set(one.digests) for one in locked}


def test_what_could_not_be_looked_up_is_not_called_audited() -> None:
    report = {
        "dependencies": [
            {"name": "good", "version": "1", "vulns": []},
            {"name": "bad", "version": "2", "vulns": [{"id": "CVE-1"}, {"id": "CVE-2"}]},
            {"name": "hidden", "skip_reason": "no answer"},
        ]
    }
    found = told(report)
    assert (found.audited, found.skipped, found.faults) == (2, 1, ("bad 2: CVE-1, CVE-2",))
