"""A server and a small clinic that delivers to it, as the tests of the contract see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from fhirbridge import config
from fhirbridge.demo.patients import seed_patients
from fhirbridge.demo.round_trip import added_on_the_way, by_value
from fhirbridge.fhir.bundle import Address
from fhirbridge.fhir.json import Tree, canonical, dump
from fhirbridge.records import to_json
from fhirbridge.site import Site
from fhirbridge.sources.lines import Line, read_record
from fhirbridge.sync import RecordOutcome, pull, push
from fhirbridge.sync.opening import open_ledger
from fhirbridge.synth import Options, records

# What each kind calls the field that says that a record never should have been.
STATUS = {
    "session": "status",
    "vital_sign": "status",
    "assessment": "status",
    "consent": "state",
    "adverse_event": "record_status",
}


class Hospital:
    """One server, one clinic's records. Every look at the server is a request of its own."""

    def __init__(self, base: str, release: str, options: Options, folder: Path, *, keeps_digits: bool) -> None:
        self.keeps_digits = keeps_digits
        self.options = options
        site: Tree = {"base_url": base, "release": release, "page_size": 20, "bundle_entries": 40}
        # These tests are about delivery: nothing has to be permitted first.
        site["consent"] = {"act": "store"}
        tree: Tree = {"clinic": {"demo": True, "domain": options.domain}, "site": {"hospital": site}}
        self._settings = tree
        self.folder = folder
        settings = config.Config(config.parse(tree), folder, {})
        self.site = Site.open("hospital", settings)
        self.ledger = open_ledger(settings)
        self.records = list(records(options))
        self._models = {name: kind.record for name, kind in self.site.mappings.kinds.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.site.client.close()
        self.ledger.close()

    def register_patients(self) -> None:
        """Make the clinic's patients known."""
        assert sum(seed_patients(self.site, self.options)) == self.options.patients

    def configuration(self) -> Path:
        """The same settings as a file, for the command line."""
        clinic, site = self._settings["clinic"], self._settings["site"]["hospital"]
        path = self.folder / "fhirbridge.toml"
        lines = ["[clinic]", *map(_toml, clinic.items()), "[site.hospital]", *map(_toml, site.items())]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    def file(self, trees: Iterable[Tree]) -> Path:
        """Records as an NDJSON file."""
        path = self.folder / "records.ndjson"
        path.write_bytes(b"".join(dump(tree) + b"\n" for tree in trees))
        return path

    def push(self, trees: Iterable[Tree]) -> dict[tuple[str, str], RecordOutcome]:
        """Deliver records; one outcome for each, by kind and id."""
        lines = [Line("test", number, *read_record(tree, self._models)) for number, tree in enumerate(trees, 1)]
        outcomes = list(push(lines, self.site, self.ledger))
        assert len(outcomes) == len(lines)
        return {key(to_json(outcome.line.record)): outcome for outcome in outcomes if outcome.line.record is not None}

    def addresses(self, trees: Iterable[Tree]) -> dict[tuple[str, str], list[Address]]:
        """Where the resources of each record are, the primary first."""
        return {
            key(tree): [
                Address(part.resource_type, part.id)
                for part in self.site.mappings.to_fhir(read_record(tree, self._models)[0]).parts
            ]
            for tree in trees
        }

    def read_back(self, trees: Iterable[Tree]) -> dict[tuple[str, str], Tree]:
        """What a pull makes of these records' resources, all of them whole: nothing is left over as residue."""
        wanted = {str(addresses[0]): one for one, addresses in self.addresses(trees).items()}
        found: dict[tuple[str, str], Tree] = {}
        for pulled in pull(self.site, self.ledger):
            if pulled.address in wanted:
                assert pulled.reading is not None, pulled.faults
                left = [entry.path for entry in pulled.reading.residue if not added_on_the_way(entry)]
                assert not left, f"{pulled.resource_type}: {left}"
                assert wanted[pulled.address] not in found, f"the pages give a {pulled.resource_type} twice"
                found[wanted[pulled.address]] = to_json(pulled.reading.record)
        return found

    def versions(self, trees: Iterable[Tree]) -> dict[Address, str]:
        """The server's version of each resource of these records."""
        found = {}
        for address in [one for several in self.addresses(trees).values() for one in several]:
            resource = self.resource(address)
            found[address] = resource["meta"]["versionId"]
        return found

    def text(self, tree: Tree) -> bytes:
        """What equality of records means here: canonical JSON text, to the digit where the server keeps digits."""
        return canonical(tree if self.keeps_digits else by_value(tree))

    def resource(self, address: Address) -> Tree:
        """A resource as the server holds it now."""
        resource = self.site.client.read(address)
        assert resource is not None, f"{address.type} is not on the server"
        return resource

    def totals(self) -> Counter[str]:
        """How many resources of each type the server says it has."""
        types = {*self.site.types, "MedicationAdministration", "Patient"}
        found: Counter[str] = Counter()
        for one in types:
            page = self.site.client.search(one, {"_summary": "count", "_total": "accurate"})
            found[one] = page["total"]
        return found


def key(tree: Tree) -> tuple[str, str]:
    """Which record it is."""
    return tree["kind"], tree["id"]


def by_kind(trees: Iterable[Tree]) -> dict[str, Tree]:
    """The last record of each kind."""
    return {tree["kind"]: tree for tree in trees}


def _toml(pair: tuple[str, Any]) -> str:
    name, value = pair
    if isinstance(value, dict):
        return f"{name} = {{ {', '.join(map(_toml, value.items()))} }}"
    shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else value
    return f'{name} = "{shown}"' if isinstance(value, str) else f"{name} = {shown}"
