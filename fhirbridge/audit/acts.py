"""What can happen, in the codes of FHIR and IHE BALP 1.1.3: one row for each sort of event."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from fhirbridge.audit.interaction import Interaction

REST = ("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest")
RESTFUL = "http://hl7.org/fhir/restful-interaction"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
BALP = "https://profiles.ihe.net/ITI/BALP"
PROFILES = f"{BALP}/StructureDefinition/IHE.BasicAudit."

Coded: TypeAlias = tuple[str, str]
# Who is who in an event: who sends data, who searches, who reads, who has data removed, who decides, who gives
# data away, and who works on what the clinic itself keeps.
Roles: TypeAlias = Literal["sends", "searches", "reads", "deletes", "decides", "exports", "keeps"]


class Act(NamedTuple):
    """A sort of event: FHIR's type and subtypes, its action code, who is who, and the BALP profile that it follows when
    it succeeds, without and with a patient; none where BALP has none."""

    type: Coded
    subtypes: tuple[Coded, ...]
    action: Literal["C", "R", "U", "D", "E"]
    roles: Roles
    profile: str = ""
    of_patient: str = ""


def _rest(codes: tuple[str, ...], action: Literal["C", "R", "U", "D", "E"], roles: Roles, profile: str = "") -> Act:
    return Act(REST, tuple((RESTFUL, one) for one in codes), action, roles, profile, profile and f"Patient{profile}")


REQUESTS: dict[Interaction, Act] = {
    "read": _rest(("read",), "R", "reads", "Read"),
    "vread": _rest(("vread",), "R", "reads", "Read"),
    "search": _rest(("search",), "E", "searches", "Query"),
    "create": _rest(("create",), "C", "sends", "Create"),
    "update": _rest(("update",), "U", "sends", "Update"),
    "delete": _rest(("delete",), "D", "deletes", "Delete"),
    "batch": _rest(("batch",), "E", "sends"),
    "transaction": _rest(("transaction",), "E", "sends"),
    "operation": _rest(("operation",), "E", "sends"),
    "history": _rest(("history",), "R", "reads"),
    "capabilities": _rest(("capabilities",), "R", "reads"),
}
# A bundle of ours, by its form and by whether everything in it was new: BALP's Create and Update.
BUNDLES: dict[tuple[str, bool], Act] = {
    ("transaction", True): _rest(("create", "transaction"), "C", "sends", "Create"),
    ("transaction", False): _rest(("update", "transaction"), "U", "sends", "Update"),
    ("batch", True): _rest(("create", "batch"), "C", "sends", "Create"),
    ("batch", False): _rest(("update", "batch"), "U", "sends", "Update"),
}
DENIAL = Act(
    (DCM, "110113"), ((f"{BALP}/CodeSystem/AuthZsubType", "AuthZ-Consent"),), "E", "decides", "", "AuthZconsent"
)
EXPORT = Act((DCM, "110106"), ((LIFECYCLE, "disclose"),), "R", "exports", "", "PrivacyDisclosure.Source")
PURGE = Act((LIFECYCLE, "destroy"), (), "D", "keeps")
REKEY = Act((LIFECYCLE, "encrypt"), (), "U", "keeps")
