"""De-identified resources: the records of a dataset in FHIR once more, for those whose tools read that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.errors import NotExpressible
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.mapping import Mappings
from fhirbridge.records import Record
from fhirbridge.research.columns import Column
from fhirbridge.research.deidentify.person import Person
from fhirbridge.research.deidentify.records import Deidentifier
from fhirbridge.research.deidentify.references import DOMAIN
from fhirbridge.research.deidentify.resources import ResourceDeidentifier, labels

RESOURCES = "resources"
# Not a table of the dataset: texts that wait to be put in order.
RESOURCE_COLUMNS = (
    Column("type", "Resource type", "pseudonym"),
    Column("id", "Its id", "pseudonym"),
    Column("body", "Its text", "pseudonym"),
)


class Given(NamedTuple):
    """A resource that no record is made of, de-identified: type, id and text, and the paths that were left out."""

    row: tuple[str, str, str] | None
    paths: tuple[str, ...]


class Released:
    """Writes de-identified records as resources of R4, whatever release they came in: one set of views serves all."""

    def __init__(self, work: Deidentifier) -> None:
        self._work = work
        # Not secret: what it hashes are pseudonyms. It makes ids of the form that servers take.
        self._mappings = Mappings(Binding(Clinic(DOMAIN, work.key.pseudonym("ids", "").encode()), Release.R4))
        self._labels = labels(work.profile)
        self._others = ResourceDeidentifier(work)

    def of_record(self, record: Record, patient: str) -> Iterator[tuple[str, str, str]]:
        """Type, id and text of each resource of a de-identified record; none where the release cannot say it."""
        try:
            written = self._mappings.to_fhir(record)
        except NotExpressible:
            return
        for part in written.parts:
            resource = self._labelled(part.resource)
            for name in ("subject", "patient"):
                if name in resource:
                    resource[name] = {"reference": f"Patient/{patient}", **resource[name]}
            yield part.resource_type, part.id, dump(resource).decode()

    def of_resource(self, resource: Tree, person: Person) -> Given:
        """The same of a resource that no record is made of."""
        found = self._others.resource(resource, person)
        given = found.resource
        return Given(None if given is None else (given["resourceType"], given["id"], dump(given).decode()), found.paths)

    def _labelled(self, resource: Tree) -> Tree:
        meta = resource.get("meta", {})
        return {**resource, "meta": {**meta, "security": [*meta.get("security", ()), *self._labels]}}
