"""The synthetic clinic's patients as FHIR Patients, so that a server knows whose records arrive.

fhirbridge itself never writes a Patient: a hospital has its own. Only a server that starts empty needs this.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from fhirbridge.binding import Binding
from fhirbridge.errors import SiteUntrusted
from fhirbridge.fhir.bundle import address_of, match, puts
from fhirbridge.fhir.json import Tree
from fhirbridge.site import Site
from fhirbridge.synth import Demographics, Options, patients

_BUNDLE = 100


def seed_patients(site: Site, options: Options) -> Iterator[int]:
    """Register the clinic's patients on an empty server, in transactions; yields how many each one carried.

    Raises :class:`SiteError` where the server does not take them.
    """
    everybody = (patient_resource(one, site.mappings.binding) for one in patients(options))
    while some := list(islice(everybody, _BUNDLE)):
        response = site.client.post_bundle(puts("transaction", site.client.base, some))
        outcomes = match([address_of(patient) for patient in some], response)
        if any(outcome.state not in ("created", "updated", "unchanged") for outcome in outcomes):
            raise SiteUntrusted("the server did not confirm the patients", code="site.patients")
        yield len(some)


def patient_resource(person: Demographics, binding: Binding) -> Tree:
    """One Patient, with an id made like those of records. The same in every release."""
    return {
        "resourceType": "Patient",
        "id": binding.resource_id("patient", person["id"]),
        "identifier": [person["identifier"]],
        "active": True,
        "name": [{"family": person["family"], "given": [person["given"]]}],
        "gender": person["sex"],
        "birthDate": person["birth_date"],
    }
