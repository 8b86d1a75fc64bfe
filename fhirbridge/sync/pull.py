"""Pull: pages of resources from a site → records with residue. One bad resource never stops a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fhirbridge.client.paging import pages
from fhirbridge.errors import Fault, ResourceRefused
from fhirbridge.fhir.bundle import resources
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Reading
from fhirbridge.site import Site
from fhirbridge.sync.references import without_literals

# What one server says of its own copy, which no other copy has.
_THE_SERVERS = frozenset({"meta.versionId", "meta.lastUpdated"})


@dataclass(frozen=True, slots=True)
class Pulled:
    """One resource of a site: its reading, or the faults that keep it from being a record."""

    resource_type: str
    id: str
    resource: Tree = field(repr=False)
    reading: Reading | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def address(self) -> str:
        """``Type/id``, as far as the server said."""
        return f"{self.resource_type}/{self.id}"


def pull(site: Site, types: Iterable[str] = ()) -> Iterator[Pulled]:
    """Read every resource of ``types`` (else of the site's types) and map each one back.

    Our own projections are skipped: they say nothing that their record does not. Raises :class:`SiteError` when the
    site does not answer properly, :class:`ConfigError` when it speaks another release.
    """
    site.check()
    parameters = {"_count": str(site.settings.page_size)}
    for resource_type in dict.fromkeys(types or site.types):
        for page in pages(site.client, site.client.search(resource_type, parameters)):
            for resource in resources(page):
                if not site.mappings.is_projection(resource):
                    yield _pulled(resource, site)


def _pulled(resource: Tree, site: Site) -> Pulled:
    named, own = resource.get("resourceType"), resource.get("id")
    place = (named if isinstance(named, str) else "", own if isinstance(own, str) else "")
    try:
        reading = site.mappings.from_fhir(without_literals(resource))
    except ResourceRefused as refused:
        return Pulled(*place, resource, faults=refused.faults)
    residue = tuple(entry for entry in reading.residue if entry.path not in _THE_SERVERS)
    return Pulled(*place, resource, Reading(reading.record, residue))
