"""One target, led by coverage: ``python -m tests.fuzz.one NAME FOLDER -runs=N …`` (options of libFuzzer)."""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    """Search; libFuzzer ends the process."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["fhirbridge", "mappings"]):
        from tests.fuzz.targets import TARGETS

    target = next(one for one in TARGETS if one.name == name)
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
