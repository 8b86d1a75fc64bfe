"""Known faults of locked packages, by pip-audit; and of how many nothing could be learnt."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from supply_chain.lock import LOCK


@dataclass(frozen=True, slots=True)
class Audit:
    """What pip-audit said: packages it looked up, packages that it could not, faults as ``name version: ids``."""

    audited: int
    skipped: int
    faults: tuple[str, ...]


def audit() -> Audit:
    """Ask for every package of the lock. Raises ``ValueError`` where pip-audit fails altogether."""
    options = [
        "--requirement",
        str(LOCK),
        "--no-deps",
        "--disable-pip",
        "--progress-spinner",
        "off",
        "--format",
        "json",
    ]
    run = subprocess.run([sys.executable, "-m", "pip_audit", *options], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    try:
        return told(json.loads(run.stdout))
    except json.JSONDecodeError:
        raise ValueError(f"pip-audit failed: {run.stderr.strip().splitlines()[-1:]}") from None


def told(report: Any) -> Audit:
    """The report of pip-audit, in short."""
    looked_up = [one for one in report["dependencies"] if "skip_reason" not in one]
    faults = [
        f"{one['name']} {one['version']}: {', '.join(fault['id'] for fault in one['vulns'])}"
        for one in looked_up
        if one["vulns"]
    ]
    return Audit(len(looked_up), len(report["dependencies"]) - len(looked_up), tuple(faults))
