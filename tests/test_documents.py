"""The documents say what is so: their examples run, their links lead somewhere, their lists are complete.

A fenced block is told by what stands behind its language:

    ```sh                   is run, in a folder of its own for each document; it must end with 0
    ```sh exit=1            must end with 1
    ```sh site              the same, with a real server in the place of https://hospital.example/fhir
    ```text stderr          each line must stand in what the last commands wrote to standard error
    ```toml file=NAME       is written to that file first (any language)
    ```json holds=NAME      must be what stands in that file
    ```python               is run as a program
    ```python in=PATH       must stand in that file of the project, as it is (any language)
    ```console, ```         is for reading only
"""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import fhirbridge
import mappings
from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.client.rest import Client
from fhirbridge.client.transport import Transport
from fhirbridge.config import (
    DEMO_DOMAIN,
    DEMO_ID_KEY,
    CanSettings,
    ClinicSettings,
    OverlaySettings,
    SiteSettings,
    SourceSettings,
    load,
)
from fhirbridge.demo.patients import patient_resource
from fhirbridge.demo.server import sekmet_server
from fhirbridge.mapping import kinds
from fhirbridge.synth import Options, patients

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", *ROOT.glob("C*.md"), *ROOT.glob("examples/**/*.md")])
PLACEHOLDER = "https://hospital.example/fhir"
_BLOCK = re.compile(r"^```([a-z]*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


class Block(NamedTuple):
    """A fenced block: its language, its marks (``exit=1`` as a pair, ``site`` with nothing), its text."""

    language: str
    marks: dict[str, str]
    text: str

    @property
    def is_program(self) -> bool:
        return self.language == "python" and not self.marks.keys() & {"in", "file"}


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document."""
    found = []
    for language, marks, text in _BLOCK.findall(path.read_text("utf-8")):
        pairs = (mark.partition("=") for mark in marks.split())
        found.append(Block(language, {name: value for name, _, value in pairs}, text))
    return found


class Shell:
    """A folder in which the blocks of one document are carried out one after the other."""

    def __init__(self, folder: Path, base: str | None) -> None:
        self._folder, self._base = folder / "work", base
        self._folder.mkdir()
        programs = folder / "bin"
        programs.mkdir()
        command = programs / "fhirbridge"
        program = "from fhirbridge.cli.main import main; main()"
        command.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-c", program])} "$@"\n')
        command.chmod(0o755)
        roots = [str(ROOT / "examples" / "sleep_diary"), *([str(ROOT)] if (ROOT / "fhirbridge").is_dir() else [])]
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "FHIRBRIDGE_CONFIG"},
            "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": os.pathsep.join([*roots, *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        self._said = ""

    def carry_out(self, block: Block) -> None:
        if "file" in block.marks:
            text = block.text.replace(PLACEHOLDER, self._base) if self._base else block.text
            (self._folder / block.marks["file"]).write_text(text, "utf-8")
        elif "holds" in block.marks:
            self._compare((self._folder / block.marks["holds"]).read_text("utf-8"), block.text)
        elif "stderr" in block.marks:
            for line in block.text.splitlines():
                assert line in self._said
        elif block.language == "sh":
            self._run(["bash", "-euo", "pipefail", "-c", block.text], int(block.marks.get("exit", "0")))
        elif block.is_program:
            self._run([sys.executable, "-c", block.text], 0)

    def _run(self, command: list[str], wanted: int) -> None:
        done = subprocess.run(
            command, check=False, cwd=self._folder, env=self._environment, capture_output=True, text=True
        )
        self._said = done.stderr.replace(f"{self._folder}/", "")
        assert done.returncode == wanted, f"{command[-1]}\n{done.stdout}\n{done.stderr}"

    def _compare(self, found: str, wanted: str) -> None:
        lines = found.replace(f"{self._folder}/", "").splitlines()
        assert [json.loads(line) for line in lines] == [json.loads(line) for line in wanted.splitlines()]


def carried_out(path: Path, folder: Path, base: str | None = None) -> None:
    shell = Shell(folder, base)
    for block in blocks(path):
        shell.carry_out(block)


def needs_a_site(path: Path) -> bool:
    return any("site" in block.marks for block in blocks(path))


@pytest.mark.parametrize(
    "path",
    [path for path in DOCUMENTS if not needs_a_site(path)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_examples_run(path: Path, tmp_path: Path) -> None:
    """Each block does what the document says, in the order of the document."""
    carried_out(path, tmp_path)


@pytest.fixture(scope="module")
def hospital() -> Iterator[str]:
    """A server that knows the patients of the documents' clinic."""
    everybody = patients(Options(2, seed=7, domain=DEMO_DOMAIN))
    with sekmet_server() as server:
        client = Client(Transport(server.base))
        for person in everybody:
            client.update(patient_resource(person, Binding(Clinic(DEMO_DOMAIN, DEMO_ID_KEY), Release.R4)))
        client.close()
        yield server.base


@pytest.mark.xdist_group("documents")
@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if needs_a_site(path)], ids=lambda path: str(path.relative_to(ROOT))
)
def test_the_examples_run_against_a_real_server(path: Path, tmp_path: Path, hospital: str) -> None:
    carried_out(path, tmp_path, hospital)


@every_document
def test_excerpts_are_what_stands_in_the_files(path: Path) -> None:
    for block in blocks(path):
        if "in" in block.marks:
            assert block.text.strip() in (ROOT / block.marks["in"]).read_text("utf-8"), block.marks["in"]


@every_document
def test_toml_and_json_are_well_formed(path: Path) -> None:
    for block in blocks(path):
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "json" and block.marks.get("file") != "broken.ndjson":
            for line in block.text.splitlines():
                json.loads(line)


def slugs(path: Path) -> set[str]:
    """The anchors of a document's headings, as forges make them."""
    text = _BLOCK.sub("", path.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_links_lead_somewhere(path: Path) -> None:
    text = _BLOCK.sub("", path.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        if there.parent == ROOT and not (ROOT / "fhirbridge").is_dir():
            continue  # the suite runs against an installed wheel, without the files beside it
        assert there.exists(), target
        assert not anchor or anchor in slugs(there), target


@every_document
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    makefile = ROOT / "Makefile"
    if not makefile.exists():
        pytest.skip("the suite runs against an installed wheel; there is no Makefile here")
    targets = set(re.findall(r"^([a-z-]+):", makefile.read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", path.read_text("utf-8"))) <= targets


# ------------------------------------------------------------------------------------------------- error codes
_AREAS = (
    "resource|record|residue|json|source|config|usage|site|patient|revision|reject|consent|write|retract|conflict|doubt"
    "|audit|vault|dataset(?!\\.duckdb)"
)
_CODE = re.compile(rf"(?:{_AREAS})\.[a-z0-9_]*[a-z0-9]")
_IN_TEXT = re.compile(rf"\[((?:{_AREAS})\.[a-z0-9_]+)\]")


def codes_of(path: Path) -> Iterator[str]:
    """Every code that stands in a module: of faults, of error classes, of the models' own checks."""
    area = "config" if path.parent.name == "config" else "record"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _CODE.fullmatch(node.value):
                yield node.value
            yield from _IN_TEXT.findall(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "PydanticCustomError":
            if isinstance(node.args[0], ast.Constant):
                yield f"{area}.{node.args[0].value!s}"
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            name = getattr(node.targets[0], "id", "")
            if name == "code" and path.name == "errors.py":
                yield str(node.value.value)
            elif name == "_code":
                yield f"{area}.{node.value.value!s}"


def test_every_error_code_is_explained_and_every_explained_code_exists() -> None:
    used: set[str] = set()
    for package in (fhirbridge, mappings):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            used.update(codes_of(path))
    # Made of two words: the tables of the configuration that can be asked for by name.
    used |= {"config.no_site", "config.no_source"}
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    rows = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    listed = {code for row in rows.splitlines() for code in re.findall(r"`([^`]+)`", row.split(" | ")[0])}
    listed = {code for code in listed if not code.endswith(".")}
    plain = set(re.findall(r"`([a-z-]+)`", text.partition("An error that has no finer code")[2].partition("##")[0]))
    assert used - listed - plain == set(), "not explained in docs/errors.md"
    assert listed - used == set(), "explained in docs/errors.md, but nowhere in the code"
    assert plain <= used


# ------------------------------------------------------------------------------------------------- lists
@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("### `[clinic]`", ClinicSettings),
        ("### `[site.NAME]`", SiteSettings),
        ("### `[site.NAME.overlay]`", OverlaySettings),
        ("### `[site.NAME.can]`", CanSettings),
        ("### `[source.NAME]`", SourceSettings),
    ],
)
def test_every_key_of_the_configuration_is_explained(heading: str, model: Any) -> None:
    section = (ROOT / "docs" / "push-and-pull.md").read_text("utf-8").partition(f"{heading}\n")[2].partition("\n##")[0]
    tables = {"overlay", "can"}
    named = set(re.findall(r"^\| `([a-z0-9_]+)`", section, re.MULTILINE)) or set(re.findall(r"`([a-z0-9_]+)`", section))
    assert model.model_fields.keys() - tables <= named
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| `([^`]+)` \|", section, re.MULTILINE)
    for name, shown in rows:
        default = model.model_fields[name].get_default(call_default_factory=True)
        text = {True: "true", False: "false", (): "[]"}.get(default, str(default)) if default != {} else "{}"
        assert shown == text or (name == "source" and default == ""), name


def loaded(path: Path) -> Any:
    """A program of the documents, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_fields_is_what_the_code_says() -> None:
    program = loaded(ROOT / "docs" / "generate_fields.py")
    hint = "run: python docs/generate_fields.py"
    assert (ROOT / "docs" / "fields.md").read_text("utf-8") == program.page(), hint


def test_the_page_of_fields_has_every_field_with_its_elements() -> None:
    """No field of a record without an element in either release: such a field would be lost."""
    text = (ROOT / "docs" / "fields.md").read_text("utf-8")
    for name in loaded(ROOT / "docs" / "generate_fields.py").KINDS:
        section = text.partition(f"## {name} ")[2].partition("\n## ")[0]
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
        assert {row[0].strip("`\\*") for row in rows} == kinds()[name].record.model_fields.keys()
        assert all(len(row) >= 6 and row[-1].strip() and row[-2].strip() for row in rows)


def test_every_sort_of_refused_example_is_explained() -> None:
    with (ROOT / "docs" / "refused-examples.csv").open(encoding="utf-8", newline="") as file:
        refused = {(row["path"].partition(".")[0], row["code"]) for row in csv.DictReader(file)}
    text = (ROOT / "docs" / "foreign-resources.md").read_text("utf-8")
    explained = set(re.findall(r"^\| ([A-Z]\w+) \| `([a-z0-9_.]+)` \|", text, re.MULTILINE))
    assert refused == explained


def test_every_kind_claims_what_the_documents_say() -> None:
    """The table of claims in docs/write-a-mapping.md names every built-in kind."""
    text = (ROOT / "docs" / "write-a-mapping.md").read_text("utf-8").partition("### Claims")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == set(loaded(ROOT / "docs" / "generate_fields.py").KINDS)


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.toml")), ids=lambda path: path.name)
def test_the_example_configurations_are_valid(path: Path) -> None:
    config = load(path, {"FHIRBRIDGE_ID_KEY": "0123456789abcdef"}, path.parent)
    assert len(config.id_key()) >= 16
