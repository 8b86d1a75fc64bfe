"""A software bill of materials: the lock as a CycloneDX document, with hashes and licences."""

from __future__ import annotations

from collections.abc import Iterable

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from fhirbridge import __version__
from supply_chain.licences import licence_of
from supply_chain.lock import Pinned


def sbom(locked: Iterable[Pinned]) -> str:
    """The document as JSON text."""
    licences = LicenseFactory()
    bom = Bom()
    bom.metadata.component = Component(name="fhirbridge", version=__version__, type=ComponentType.APPLICATION)
    for one in locked:
        component = Component(
            name=one.name,
            version=one.version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", name=one.name, version=one.version),
            bom_ref=f"{one.name}=={one.version}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in one.digests],
            licenses=[licences.make_from_string(licence_of(one.name))],
        )
        bom.components.add(component)
        bom.register_dependency(bom.metadata.component, [component])
    return JsonV1Dot6(bom).output_as_string(indent=1)
