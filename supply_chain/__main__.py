"""The commands; see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from supply_chain import licences
from supply_chain.audit import audit
from supply_chain.lock import LOCK, pinned
from supply_chain.sbom import sbom

_HEADING = """# Licences

Written by `make supply-chain`. What an installation of fhirbridge brings along, with all its extras for users, and
under which licence, as each package says itself. Versions and hashes stand in `requirements/dev.lock`.
"""


def main() -> int:
    """0 when nothing is wrong; 1 for a licence that is not allowed or a known fault."""
    parser = argparse.ArgumentParser(
        prog="python -m supply_chain", description="licences, bill of materials, known faults"
    )
    parser.add_argument("what", choices=("licences", "sbom", "audit"))
    parser.add_argument("--write", type=Path, help="write it there")
    given = parser.parse_args()
    return {"licences": _licences, "sbom": _sbom, "audit": _audit}[given.what](given.write)


def _licences(target: Path | None) -> int:
    found = licences.packages()
    _give(f"{_HEADING}\n{licences.table(found)}\n", target)
    wrong = [one for one in found if not one.is_allowed]
    for one in wrong:
        sys.stderr.write(f"{one.name}: {one.licence} is not on the list\n")
    return 1 if wrong else 0


def _sbom(target: Path | None) -> int:
    locked = list(pinned(LOCK.read_text("utf-8")))
    _give(sbom(locked) + "\n", target)
    sys.stderr.write(f"{len(locked)} packages\n")
    return 0


def _audit(target: Path | None) -> int:
    found = audit()
    lines = [f"{found.audited} packages looked up: {len(found.faults)} with known faults", *found.faults]
    if found.skipped:
        lines.append(f"{found.skipped} packages NOT audited: the database did not answer for them")
    _give("".join(f"{line}\n" for line in lines), target)
    return 1 if found.faults else 0


def _give(text: str, target: Path | None) -> None:
    if target is None:
        sys.stdout.write(text)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
