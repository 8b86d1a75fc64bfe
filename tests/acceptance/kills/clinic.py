"""The clinic that is delivered: records, corrections after them, and what the server must hold then."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

from fhirbridge import config
from fhirbridge.demo.patients import seed_patients
from fhirbridge.demo.round_trip import by_value
from fhirbridge.fhir.bundle import Address
from fhirbridge.fhir.json import Tree, canonical, dump
from fhirbridge.mapping import PRIMARY
from fhirbridge.records import Record, to_json
from fhirbridge.site import Site
from fhirbridge.sources.lines import read_record
from fhirbridge.sync.plan import RevisionKey, own_pointers, revision_key
from fhirbridge.sync.references import Pointer
from fhirbridge.synth import Options, records_of
from tests.faults.identity import content_hash

SITE = "hospital"
LEDGER = "ledger.db"
# Small bundles, so that a kill meets a patient's records half delivered.
_BUNDLE = 20
# Share of the records that come again, corrected.
_CORRECTED = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """One resource that the server must hold.

    ``revision``: the first that says what the newest does, for a newer one that says the same is not sent. ``writes``:
    how often what it says changed. ``says``: a digest of the record for a primary resource, ``None`` for a projection.
    """

    address: Address
    pointer: Pointer
    key: str
    revision: RevisionKey
    writes: int
    says: bytes | None
    resource: Tree = field(repr=False)


class Clinic:
    """A made-up clinic where nobody forbids anything, of whole patients with ``count`` records or a few more.

    It is for a server at ``base``; its files go to ``folder``.
    """

    def __init__(self, folder: Path, base: str, release: str, count: int, seed: int) -> None:
        self.config, self.ledger = folder / "fhirbridge.toml", folder / LEDGER
        self.files: Sequence[Path] = (folder / "records.ndjson", folder / "corrections.ndjson")
        options = Options(count, seed, "kills.example", "all-permit", _CORRECTED, sessions=1, vitals="rems")
        seen: set[tuple[str, str]] = set()
        firsts: list[Tree] = []
        later: list[Tree] = []
        for self.patients in range(1, count + 1):
            for tree in records_of(options, self.patients - 1):
                key = tree["kind"], tree["id"]
                (later if key in seen else firsts).append(tree)
                seen.add(key)
            if len(seen) >= count:
                break
        self.count = len(firsts)
        self.corrections = len(later)
        self._trees: Sequence[Tree] = [*firsts, *later]
        self._options = replace(options, patients=self.patients)
        # Corrections come when what they correct has been delivered, so they are updates.
        for file, trees in zip(self.files, (firsts, later), strict=True):
            file.write_bytes(b"".join(dump(tree) + b"\n" for tree in trees))
        lines = (
            f'[clinic]\ndemo = true\ndomain = "{options.domain}"',
            f'[ledger]\nurl = "sqlite:///{LEDGER}"',
            f'[site.{SITE}]\nbase_url = "{base}"\nrelease = "{release}"\nbundle_entries = {_BUNDLE}\n',
        )
        self.config.write_text("\n".join(lines), "utf-8")

    def open(self) -> Site:
        """The site, for whoever registers patients or judges."""
        return Site.open(SITE, config.load(self.config, {}, self.config.parent))

    def register_patients(self) -> None:
        """Make the patients known to the server."""
        with self.open() as site:
            assert sum(seed_patients(site, self._options)) == self.patients

    @cached_property
    def wanted(self) -> dict[Address, Wanted]:
        """What the server must hold in the end, by address."""
        found: dict[Address, Wanted] = {}
        with self.open() as site:
            keys = site.mappings.binding.code_system("record-key")
            models = {name: kind.record for name, kind in site.mappings.kinds.items()}
            for record in (read_record(tree, models)[0] for tree in self._trees):
                for part in site.mappings.to_fhir(record).parts:
                    address = Address(part.resource_type, part.id)
                    before = found.get(address)
                    if before is not None and content_hash(before.resource) == content_hash(part.resource):
                        continue
                    (key,) = (tag["code"] for tag in part.resource["meta"]["tag"] if tag["system"] == keys)
                    (pointer,) = own_pointers(part.resource)
                    writes = 1 if before is None else before.writes + 1
                    says = digest(record) if part.role == PRIMARY else None
                    revision = revision_key(record.revision)
                    found[address] = Wanted(address, pointer, key, revision, writes, says, part.resource)
        return found

    @property
    def writes(self) -> int:
        """How many writes bring the server there, if each is done once."""
        return sum(one.writes for one in self.wanted.values())

    def types(self) -> Iterator[str]:
        """The types of which the server's totals are asked, patients and provenance among them."""
        yield from dict.fromkeys(chain((one.type for one in self.wanted), ("Patient", "Provenance")))


def digest(record: Record) -> bytes:
    """What a record says in any revision, whatever way its numbers are spelt: SEKMET makes 0.5 of 0.50."""
    said = {name: value for name, value in to_json(record).items() if name != "revision"}
    return hashlib.sha256(canonical(by_value(said))).digest()
