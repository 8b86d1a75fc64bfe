"""De-identification: pure functions of a record, what is known about its patient, a profile and a project's key.

    profile = Profile.load("shifted")                      # or safe-harbor, limited, or a file of your own
    key = ProjectKey(secret, "KET-OUTCOMES")
    census = Census(profile.codes)                         # first pass: census.add(codes_in(record), identity)
    work = Deidentifier(profile, key, common=census.common())
    person = work.person(identity, first_dose=…, birth_date=…, until=…)
    work.record(record, person)                            # Deidentified(record, paths, reason), .dropped by path
    ResourceDeidentifier(work).resource(tree, person)      # the same for Patient, Condition, Medication…
    demographics(patient_tree, person, profile)            # DemographicRow

    facts = SourceFacts(own=…)                             # while reading: what must not stand in the dataset
    facts.begin(person.pseudonym, work.course(person).clock)
    facts.record(record, person.pseudonym)                 # .resource(tree, pseudonym), .people(tree)
    check = LeakCheck(facts, profile)
    check.check_table(table, columns, "vitals")            # [] or what is wrong; .check_tree, .check_text, .check_file
    kanonymity(table, ["sex", "band", "postcode"])

docs/deidentify.md says what each profile does with each field, and what it does not promise.
"""

from fhirbridge.research.deidentify.codes import Census, codes_in
from fhirbridge.research.deidentify.demographics import DemographicRow, bands, demographics
from fhirbridge.research.deidentify.facts import SourceFacts
from fhirbridge.research.deidentify.kanonymity import KAnonymity, kanonymity
from fhirbridge.research.deidentify.key import ProjectKey
from fhirbridge.research.deidentify.leaks import Leak, LeakCheck
from fhirbridge.research.deidentify.person import Person
from fhirbridge.research.deidentify.profile import Profile
from fhirbridge.research.deidentify.records import Deidentified, Deidentifier, deidentify
from fhirbridge.research.deidentify.references import DOMAIN
from fhirbridge.research.deidentify.resources import DeidentifiedResource, ResourceDeidentifier, labels

__all__ = [
    "DOMAIN",
    "Census",
    "Deidentified",
    "DeidentifiedResource",
    "Deidentifier",
    "DemographicRow",
    "KAnonymity",
    "Leak",
    "LeakCheck",
    "Person",
    "Profile",
    "ProjectKey",
    "ResourceDeidentifier",
    "SourceFacts",
    "bands",
    "codes_in",
    "deidentify",
    "demographics",
    "kanonymity",
    "labels",
]
