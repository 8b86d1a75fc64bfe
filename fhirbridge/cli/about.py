"""``fhirbridge schema``, ``conformance`` and ``version``: what fhirbridge says about itself."""

from __future__ import annotations

import difflib
import json as stdlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.json_schema import models_json_schema

from fhirbridge import __version__
from fhirbridge.binding import MAPPING_VERSION
from fhirbridge.cli.app import configuration
from fhirbridge.cli.console import print_json, say
from fhirbridge.cli.files import STDOUT, open_output
from fhirbridge.errors import UsageError
from fhirbridge.layout import leaf_in_use
from fhirbridge.mapping import Release, kinds
from fhirbridge.records import Record


def schema(
    kind: Annotated[str | None, typer.Argument(help="Kind of record; all of them when left out.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="File to write; - is standard output.")] = STDOUT,
) -> None:
    """Print the JSON Schema of records, with a description, a unit and an example for each field.

    \b
    fhirbridge schema
    fhirbridge schema session -o session.schema.json
    """
    models = {name: one.record for name, one in kinds().items()}
    if kind is not None and kind not in models:
        near = difflib.get_close_matches(kind, models, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(sorted(models))}"
        raise UsageError("there is no record of that kind", code="usage.kind", hint=hint)
    wanted = models if kind is None else {kind: models[kind]}
    with open_output(output) as write:
        write(stdlib.dumps(schema_of(wanted), indent=2, ensure_ascii=False).encode() + b"\n")


def schema_of(models: Mapping[str, type[Record]]) -> dict[str, Any]:
    """One JSON Schema (2020-12) for records of these kinds, each told by its ``kind``."""
    places, shared = models_json_schema([(model, "validation") for model in models.values()])
    definitions = shared["$defs"]
    for name, model in models.items():
        definition = definitions[places[model, "validation"]["$ref"].rpartition("/")[2]]
        constant = {"const": name, "description": "Kind of record"}
        definition["properties"] = {"kind": constant, **definition["properties"]}
        definition["required"] = ["kind", *definition.get("required", [])]
    references = [places[model, "validation"] for model in models.values()]
    root = references[0] if len(references) == 1 else {"oneOf": references}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def conformance(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write to.")],
) -> None:
    """Write the StructureDefinitions, CodeSystems and ValueSets that a hospital installs to understand our resources.

    \b
    fhirbridge conformance -o conformance/
    """
    from fhirbridge.conformance import write

    base = configuration(context).clinic.base
    say(f"{len(write(output, base))} resources written to {output}")


def version(json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Print the version of fhirbridge, of its mappings, the record kinds that are installed, and whether resources are
    read by the compiled reader or by the one in Python.

    \b
    fhirbridge version --json
    """
    facts = {
        "fhirbridge": __version__,
        "mappings": MAPPING_VERSION,
        "releases": {release.value: release.fhir_version for release in Release},
        "kinds": sorted(kinds()),
        "reader": leaf_in_use(),
    }
    if json:
        print_json(facts, to_stdout=True)
    else:
        names = ", ".join(sorted(kinds()))
        typer.echo(f"fhirbridge {__version__}, mappings {MAPPING_VERSION}, reader: {leaf_in_use()}, kinds: {names}")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (schema, conformance, version):
        app.command()(command)
