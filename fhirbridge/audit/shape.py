"""AuditEvents, in R4 and R4B, and in R5, where other elements say the same. What is constant is written once.

Only what is checked or made here stands in an event: hex digits, ids of ours, types, codes; never a text of a record.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterable, Sequence

from fhirbridge import __version__
from fhirbridge.audit.acts import BALP, DCM, Act, Coded, Roles
from fhirbridge.audit.interaction import Place
from fhirbridge.binding import Binding
from fhirbridge.fhir.json import Tree, dump

_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_ROLE_CLASS = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
_EXTRA = "http://terminology.hl7.org/CodeSystem/extra-security-role-type"
_CUSTODIAN = ("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "custodian")
_SOURCE, _DESTINATION, _APPLICATION = (DCM, "110153"), (DCM, "110152"), (DCM, "110150")
_SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_OUTCOME = "http://terminology.hl7.org/CodeSystem/audit-event-outcome"
_TYPES = "http://hl7.org/fhir/resource-types"
_REQUEST_ID = (f"{BALP}/CodeSystem/BasicAuditEntityType", "XrequestId")
_PERSON, _THING = (_ENTITY, "1"), (_ENTITY, "2")
_IS_PATIENT, _IS_RESOURCE, _IS_JOB, _IS_QUERY = ((_ROLE, code) for code in ("1", "4", "20", "24"))
_MACHINE, _URI = "1", "5"


class Shape:
    """Writes events at one site, called ``name`` at ``base``; or of the clinic itself, where both are empty."""

    def __init__(self, binding: Binding, name: str, base: str) -> None:
        self._binding, self._r5 = binding, binding.release.is_r5
        self._name, self._base = name, base
        version = f"fhirbridge-{__version__}"
        device = {"system": binding.sid("device"), "value": version}
        self._device: Tree = {"type": "Device", "identifier": device, "display": f"fhirbridge {__version__}"}
        domain = binding.clinic.domain
        self._clinic: Tree = {
            "type": "Organization",
            "identifier": {"system": binding.sid("organization"), "value": domain},
        }
        self._server: Tree = {"identifier": {"value": base}, "display": name} if base else {}
        self._host = socket.gethostname() or "localhost"
        self._patient_system = binding.sid("patient-key")
        self._address_system = binding.sid("address-key")
        self._constants: dict[Act, tuple[bytes, bytes]] = {}
        patient = dump(self.patient("\0"))
        before, after = patient.split(b"\\u0000")
        self._patient_parts = before, after

    def event(self, act: Act, own: str, recorded: str, entities: Iterable[bytes], *, patient: str = "") -> bytes:
        """An event as JSON. ``own`` is its id, ``recorded`` an instant, ``patient`` the key of the one it concerns."""
        head, agents = self._constant(act)
        concerned = b""
        if patient and self._r5:
            concerned = b'"patient":%b,' % dump(self._whom(patient))
        listed = b",".join(entities)
        return b'{"resourceType":"AuditEvent","id":"%b",%b"recorded":"%b",%b%b%b}' % (
            own.encode(), head, recorded.encode(), concerned, agents, b',"entity":[%b]' % listed if listed else b"",
        )  # fmt: skip

    # Entities.

    def patient(self, key: str) -> Tree:
        """The patient with this key, for whom nobody without the clinic's key can be found."""
        return self._entity(_PERSON, _IS_PATIENT, what=self._whom(key))

    def patient_text(self, key: str) -> bytes:
        """The same as JSON; ``key`` is made of hex digits."""
        before, after = self._patient_parts
        return before + key.encode() + after

    def transaction(self, own: str) -> bytes:
        """The value of ``X-Request-Id``."""
        if self._r5:
            return dump(self._entity(None, _REQUEST_ID, what={"identifier": {"value": own}}))
        return dump(self._entity(_REQUEST_ID, None, what={"identifier": {"value": own}}))

    def query(self, text: str) -> bytes:
        """A search, as it was asked."""
        return dump(self._entity(_THING, _IS_QUERY, query=base64.b64encode(text.encode()).decode()))

    def data(self, place: Place) -> bytes:
        """The resource that an event is about."""
        return dump(self._entity(_THING, _IS_RESOURCE, what=self._what(place)))

    def bundle(self, own: str) -> bytes:
        """The bundle that an event is about, by the id that the ledger has of it."""
        what = {"type": "Bundle", "identifier": {"system": self._binding.sid("bundle"), "value": own}}
        return dump(self._entity(_THING, _IS_JOB, what=what))

    def members(self, places: Sequence[Place]) -> list[bytes]:
        """Resources beside the one thing that an event is about: the entries of a bundle, the content of a file."""
        return [
            b'{"what":{"reference":"%b/%b"}}' % (one.type.encode(), one.id.encode())
            if one.id
            else dump({"what": self._what(one)})
            for one in places
        ]

    def references(self, places: Sequence[str]) -> list[bytes]:
        """The same of many addresses of ours at once."""
        joined = '"}},{"what":{"reference":"'.join(places)
        return [f'{{"what":{{"reference":"{joined}"}}}}'.encode()] if places else []

    def consent(self, place: Place) -> bytes:
        """A consent by which it was decided."""
        entity = self._entity((_TYPES, "Consent"), None, what=self._what(place))
        return dump(entity)

    def subject(self, key: str, details: Sequence[tuple[str, str]]) -> bytes:
        """The patient, together with what was decided about: words of ours, ids of ours, numbers."""
        named = [
            {"type": {"text": name} if self._r5 else name, "valueString": value} for name, value in details if value
        ]
        return dump(self.patient(key) | ({"detail": named} if named else {}))

    def kept(self, details: Sequence[tuple[str, str]]) -> bytes:
        """What was done to the clinic's own keeping: words of ours and numbers."""
        named = [{"type": {"text": name} if self._r5 else name, "valueString": value} for name, value in details]
        return dump(self._entity(_THING, _IS_JOB, what={"display": "ledger"}) | ({"detail": named} if named else {}))

    def outcome(self, code: str, words: str) -> Tree:
        """The members that say how an event ended."""
        return outcome(code, words, r5=self._r5)

    # What is constant.

    def _constant(self, act: Act) -> tuple[bytes, bytes]:
        found = self._constants.get(act)
        if found is None:
            head: Tree = (
                {
                    "category": [_concept(act.type)],
                    "code": _concept(*(act.subtypes or (act.type,))),
                    "action": act.action,
                }
                if self._r5
                else {
                    "type": _coding(act.type),
                    **({"subtype": [_coding(one) for one in act.subtypes]} if act.subtypes else {}),
                    "action": act.action,
                }
            )
            who = {"agent": self._agents(act.roles), "source": self._source(act.roles)}
            found = self._constants[act] = (dump(head)[1:-1] + b",", dump(who)[1:-1])
        return found

    def _source(self, roles: Roles) -> Tree:
        kind = (_SOURCE_TYPE, "6" if roles == "decides" else "4")
        domain = self._binding.clinic.domain
        if self._r5:
            return {"site": {"display": domain}, "observer": self._device, "type": [_concept(kind)]}
        return {"site": domain, "observer": self._device, "type": [_coding(kind)]}

    def _agents(self, roles: Roles) -> list[Tree]:
        here, there = (self._host, _MACHINE), (self._base, _URI)
        server = self._server
        match roles:
            case "sends" | "searches":
                part = "CST" if roles == "sends" else "IRCP"
                return [
                    self._agent(_SOURCE, self._device, here),
                    self._agent(_DESTINATION, server, there),
                    self._agent((_PARTICIPATION, part), self._clinic, None, requestor=True),
                ]
            case "reads":
                return [
                    self._agent(_DESTINATION, self._device, here),
                    self._agent(_SOURCE, server, there),
                    self._agent((_PARTICIPATION, "IRCP"), self._clinic, None, requestor=True),
                ]
            case "deletes":
                return [
                    self._agent(_APPLICATION, self._device, here),
                    self._agent(_CUSTODIAN, server, there),
                    self._agent((_PARTICIPATION, "CST"), self._clinic, None, requestor=True),
                ]
            case "decides":
                return [
                    self._agent(_APPLICATION, self._device, here),
                    self._agent((_PARTICIPATION, "IRCP"), server, None, requestor=True),
                    self._agent((_ROLE_CLASS, "PROV"), self._clinic, None),
                    self._agent((_EXTRA, "authserver"), self._device, None),
                ]
            case "exports":
                operator = {"display": "who started the command"}
                custodian = [self._agent(_CUSTODIAN, server, None)] if server else []
                return [
                    self._agent(_SOURCE, self._device, here),
                    self._agent(_DESTINATION, operator, here, requestor=True),
                    *custodian,
                ]
            case "keeps":
                return [
                    self._agent(_APPLICATION, self._device, here),
                    self._agent((_PARTICIPATION, "CST"), self._clinic, None, requestor=True),
                ]

    def _agent(self, role: Coded, who: Tree, network: tuple[str, str] | None, *, requestor: bool = False) -> Tree:
        agent: Tree = {"type": _concept(role), "who": who, "requestor": requestor}
        if network is not None:
            address, kind = network
            if not self._r5:
                agent["network"] = {"address": address, "type": kind}
            else:
                agent["networkUri" if kind == _URI else "networkString"] = address
        return agent

    def _entity(self, kind: Coded | None, role: Coded | None, **members: object) -> Tree:
        entity: Tree = dict(members)
        if kind is not None and not self._r5:
            entity["type"] = _coding(kind)
        if role is not None:
            entity["role"] = _concept(role) if self._r5 else _coding(role)
        return entity

    def _whom(self, key: str) -> Tree:
        return {"type": "Patient", "identifier": {"system": self._patient_system, "value": key}}

    def _what(self, place: Place) -> Tree:
        if place.id:
            return {"reference": f"{place.type}/{place.id}"}
        if not place.keyed:
            return {"type": place.type, "display": "by a condition, or with an id that the server gives"}
        return {"type": place.type, "identifier": {"system": self._address_system, "value": place.keyed}}


def outcome(code: str, words: str, *, r5: bool) -> Tree:
    """The members of an event that say how it ended: 0 well, 4 refused, 8 failed; ``words`` are ours."""
    if r5:
        detail = {"detail": [{"text": words}]} if words else {}
        return {"outcome": {"code": _coding((_OUTCOME, code))} | detail}
    return {"outcome": code} | ({"outcomeDesc": words} if words else {})


def _coding(one: Coded) -> Tree:
    system, code = one
    return {"system": system, "code": code}


def _concept(*several: Coded) -> Tree:
    return {"coding": [_coding(one) for one in several]}
