"""What the profiles of IHE BALP 1.1.3 demand, read from their sources and checked by hand: this is no validator.

Of each profile: type, subtypes, action, outcome, the agents that must be there with what they must have, and the
entities that must be there exactly once.
"""

from __future__ import annotations

from typing import Any

from fhirbridge.fhir.json import Tree

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_REST = ("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest")
_RESTFUL = "http://hl7.org/fhir/restful-interaction"
_SOURCE, _DESTINATION, _APPLICATION = (_DCM, "110153"), (_DCM, "110152"), (_DCM, "110150")
_CUSTODIAN = ("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "custodian")
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_OBJECTS = frozenset({"3", "4", "20"})
PREFIX = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."

# Client, server, action, subtypes of which one is there.
_RESTFUL_PROFILES: dict[str, tuple[tuple[str, str], tuple[str, str], str, frozenset[str]]] = {
    "Query": (_SOURCE, _DESTINATION, "E", frozenset({"search", "search-type", "search-system"})),
    "Read": (_DESTINATION, _SOURCE, "R", frozenset({"read", "vread"})),
    "Create": (_SOURCE, _DESTINATION, "C", frozenset({"create"})),
    "Update": (_SOURCE, _DESTINATION, "U", frozenset({"update", "patch"})),
    "Delete": (_APPLICATION, _CUSTODIAN, "D", frozenset({"delete"})),
}


def breaches(event: Tree) -> list[str]:
    """What an R4 event lacks for the profile that it claims; empty for one that claims none."""
    (claimed,) = event.get("meta", {}).get("profile", [""])
    name = claimed.removeprefix(PREFIX)
    if not claimed:
        return []
    found = list(_everywhere(event))
    plain = name.removeprefix("Patient")
    if plain in _RESTFUL_PROFILES:
        found += _restful(event, plain)
    elif name == "AuthZconsent":
        found += _decision(event)
    elif name == "PrivacyDisclosure.Source":
        found += _disclosure(event)
    else:
        found.append(f"no such profile: {name}")
    if name.startswith(("Patient", "AuthZ", "Privacy")):
        found += _patient(event)
    return found


def _everywhere(event: Tree) -> list[str]:
    wanted = {"type": dict, "action": str, "recorded": str, "outcome": str, "agent": list, "source": dict}
    found = [f"{name} is missing" for name, kind in wanted.items() if not isinstance(event.get(name), kind)]
    found += [] if "observer" in event["source"] else ["source.observer is missing"]
    return found + [
        f"agent[{n}].requestor is missing" for n, one in enumerate(event["agent"]) if "requestor" not in one
    ]


def _restful(event: Tree, name: str) -> list[str]:
    client, server, action, subtypes = _RESTFUL_PROFILES[name]
    found = [] if _pair(event["type"]) == _REST else ["type is not rest"]
    said = {one["code"] for one in event.get("subtype", ()) if one["system"] == _RESTFUL}
    found += [] if said & subtypes else ["subtype is wrong"]
    found += ["a delete has one subtype"] if name == "Delete" and len(event["subtype"]) != 1 else []
    found += [] if event["action"] == action else ["action is wrong"]
    found += [] if event["outcome"] == "0" else ["outcome is not success"]
    for role in (client, server):
        (agent,) = _agents(event, role) or [{}]
        found += [f"the agent {role[1]} lacks {part}" for part in ("who", "network") if not agent.get(part)]
        found += ["an agent of a request has media"] if "media" in agent else []
    things = [one for one in event["entity"] if _code(one, "type") == (_ENTITY, "2")]
    if len(things) != 1:
        return [*found, "there is not exactly one object"]
    (thing,) = things
    if name == "Query":
        found += [] if _code(thing, "role")[1] == "24" and thing.get("query") else ["the query is missing"]
        return found + [f"the query has {part}" for part in ("what", "lifecycle", "detail") if part in thing]
    found += [] if _code(thing, "role")[1] in _OBJECTS and thing.get("what") else ["the object is missing"]
    return found + (["the object of a delete has more"] if name == "Delete" and thing.keys() - _DELETED else [])


_DELETED = frozenset({"type", "role", "what", "securityLabel"})


def _decision(event: Tree) -> list[str]:
    found = [] if _pair(event["type"]) == (_DCM, "110113") else ["type is no security alert"]
    found += [] if event["subtype"][0]["code"] == "AuthZ-Consent" else ["subtype is no consent decision"]
    found += [] if event["action"] == "E" else ["action is wrong"]
    v3 = "http://terminology.hl7.org/CodeSystem/v3-"
    wanted = {
        _APPLICATION: ("who", "network"),
        (f"{v3}ParticipationType", "IRCP"): ("who",),
        (f"{v3}RoleClass", "PROV"): ("who",),
        ("http://terminology.hl7.org/CodeSystem/extra-security-role-type", "authserver"): ("who",),
    }
    for role, parts in wanted.items():
        agents = _agents(event, role)
        found += [] if len(agents) == 1 else [f"there is not exactly one agent {role[1]}"]
        found += [f"the agent {role[1]} lacks {part}" for one in agents for part in parts if not one.get(part)]
    (authorizer,) = _agents(event, ("http://terminology.hl7.org/CodeSystem/extra-security-role-type", "authserver"))
    found += [] if authorizer["who"] == event["source"]["observer"] else ["the authorizer is not the source"]
    types = [_code(one, "type") for one in event["entity"]]
    consents = types.count(("http://hl7.org/fhir/resource-types", "Consent"))
    found += [] if consents >= 1 else ["there is no consent"]
    # Its entities are a closed list: patient, consents, token.
    return found + ([] if consents + types.count((_ENTITY, "1")) == len(types) else ["there are other entities"])


def _disclosure(event: Tree) -> list[str]:
    found = [] if _pair(event["type"]) == (_DCM, "110106") else ["type is no export"]
    found += [] if any(one["code"] == "disclose" for one in event["subtype"]) else ["subtype is no disclosure"]
    found += [] if event["action"] == "R" else ["action is wrong"]
    for role in (_SOURCE, _DESTINATION):
        (agent,) = _agents(event, role) or [{}]
        found += [f"the agent {role[1]} lacks {part}" for part in ("who", "network") if not agent.get(part)]
    (source,) = _agents(event, _SOURCE)
    found += [] if source["who"] == event["source"]["observer"] else ["the source agent is not the source"]
    return found + ([] if len(event["entity"]) >= 2 else ["there are fewer than two entities"])


def _patient(event: Tree) -> list[str]:
    patients = [one for one in event["entity"] if _code(one, "type") == (_ENTITY, "1")]
    if len(patients) != 1:
        return ["there is not exactly one patient"]
    (one,) = patients
    found = [] if _code(one, "role")[1] == "1" else ["the patient has another role"]
    return found + ([] if one["what"].get("type") == "Patient" else ["the patient is no Patient"])


def _pair(coding: Tree) -> tuple[str, str]:
    return coding["system"], coding["code"]


def _code(node: Tree, name: str) -> tuple[str, str]:
    found: Any = node.get(name)
    return _pair(found) if found else ("", "")


def _agents(event: Tree, role: tuple[str, str]) -> list[Tree]:
    return [one for one in event["agent"] if any(_pair(coding) == role for coding in one["type"]["coding"])]
