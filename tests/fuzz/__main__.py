"""The search over all targets: how many inputs each was fed, and what was found. Needs atheris (Linux)."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS, Target

# Seconds after which an input counts as a hang, megabytes that a target may take, bytes of the longest input.
_LIMITS = ("-timeout=5", "-rss_limit_mb=2048", "-max_len=16384")
_DONE = re.compile(r"Done (\d+) (?:runs|in)|stat::number_of_executed_units: (\d+)")


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one target."""

    name: str
    inputs: int
    code: int
    words: str

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return self.code == 0


def search(target: Target, inputs: int, kept: Path) -> Finding:
    """Feed a target; what it cannot take lies in ``kept`` afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds()):
            (Path(folder) / str(number)).write_bytes(seed)
        command = [sys.executable, "-m", "tests.fuzz.one", target.name, folder, f"-runs={inputs}", *_LIMITS]
        command += ["-print_final_stats=1", f"-artifact_prefix={kept}/{target.name}-"]
        run = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    said = f"{run.stdout}\n{run.stderr}"
    counts = [int(one or two) for one, two in _DONE.findall(said)]
    words = "" if run.returncode == 0 else said[-3000:]
    return Finding(target.name, max(counts, default=0), run.returncode, words)


def main() -> int:
    """0 when nothing was found and every input was tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000_000, help="in all; each target has its share")
    parser.add_argument("--target", action="append", choices=[one.name for one in TARGETS])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="where inputs go that broke something")
    given = parser.parse_args()
    chosen = [one for one in TARGETS if given.target is None or one.name in given.target]
    whole = sum(one.weight for one in chosen)
    given.keep.mkdir(exist_ok=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        waiting = [pool.submit(search, one, -(-given.inputs * one.weight // whole), given.keep) for one in chosen]
        found = [one.result() for one in waiting]
    for one in found:
        sys.stdout.write(f"{one.name:20} {one.inputs:>12,} inputs  {'clean' if one.is_clean else 'FOUND SOMETHING'}\n")
        sys.stdout.write(one.words)
    total = sum(one.inputs for one in found)
    sys.stdout.write(f"{total:,} inputs in all, {sum(not one.is_clean for one in found)} targets with findings\n")
    if not any(given.keep.iterdir()):
        given.keep.rmdir()
    return 0 if total >= given.inputs and all(one.is_clean for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
