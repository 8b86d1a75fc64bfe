"""The papers and people behind a consent: documents, policies, legal bases, witnesses, checks, the time of signing.

Each of these is a list in one release and a single element in the other (trap T4); what has no room rides in an
extension, in the order of the record.
"""

from __future__ import annotations

from collections.abc import Mapping

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Element, Elements, Extensions, Rule, Rules, below, decode_each
from fhirbridge.codec.extension import Complex, Simple, read_each
from fhirbridge.codec.leaf import (
    Codec,
    Inside,
    a_list,
    an_object,
    at,
    boolean,
    concept,
    integer,
    moment,
    reference,
    string,
    wrong_type,
)
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.consent import Consent, SourceDocument, Verification, Witness
from mappings import extensions, published, terms
from mappings.common import term

ABSENT_REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_XVER = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Consent.verification"
# Read only (trap T20): the URL of others for an extension of ours.
XVER_ALIASES = {
    f"{_XVER}.verifiedBy": extensions.VERIFIED_BY,
    f"{_XVER}.verificationType": extensions.VERIFICATION_TYPE,
}


class Integer64:
    """A whole number ⇄ the string that R5's integer64 is in JSON.

    HAPI 8.8 gives it back as a number: that is read too, and stays a residue of the spelling.
    """

    carries: tuple[str, ...] = ()

    def encode(self, value: int) -> Json:
        return str(value)

    def decode(self, node: Json) -> int:
        if type(node) is int:
            return node
        if not isinstance(node, str) or not (node.isascii() and node.isdigit()) or len(node) > len(str(2**63)):
            raise wrong_type("a whole number in quotes")
        return int(node)


def _attachment(r5: bool) -> Rules:
    return Rules(
        Element("contentType", "content_type", string),
        Element("language", "language", string),
        Element("url", "url", string),
        Element("size", "size", Integer64() if r5 else integer),
        Element("hash", "hash", string),
        Element("title", "title", string),
        Element("creation", "creation", moment),
    )


class Sources:
    """The signed documents. R4: the first is ``source[x]``. R5: references, then attachments, as far as they stand in
    this order, are ``sourceReference`` and ``sourceAttachment``. Any further one is an extension."""

    name = "source"
    fields = only_with = ("sources",)

    def __init__(self, binding: Binding) -> None:
        self._r5 = binding.release.is_r5
        self._attachment = _attachment(self._r5)
        self._url = extensions.ADDITIONAL_SOURCE.written_url(binding)
        self._urls = (extensions.ADDITIONAL_SOURCE.written_url(binding),)
        self._codecs: Mapping[str, Codec] = {"reference": reference, "attachment": self._attachment}
        stems = ("source", *(f"extension({url}).value" for url in self._urls))
        self.carries = tuple(
            path
            for stem in stems
            for member, codec in self._codecs.items()
            for path in below(f"{stem}{member.capitalize()}", codec.carries)
        )

    def _encode(self, source: SourceDocument) -> tuple[str, Tree]:
        """The end of the member's name, and the node."""
        if source.reference is not None:
            return "Reference", reference.encode(source.reference)
        return "Attachment", self._attachment.encode(source.attachment)

    def _decode(self, node: Tree, stem: str) -> Tree:
        for member, codec in self._codecs.items():
            name = f"{stem}{member.capitalize()}"
            if name in node:
                return {member: at(name, codec.decode, node[name])}
        raise Refused.at("resource.extension", "value", "the extension has no value of its defined types")

    def write(self, record: Consent, node: Tree, extensions: list[Tree]) -> None:
        native = self._fitting(record.sources) if self._r5 else 1
        for position, source in enumerate(record.sources):
            member, value = self._encode(source)
            if position >= native:
                extensions.append({"url": self._url, f"value{member}": value})
            elif self._r5:
                node.setdefault(f"source{member}", []).append(value)
            else:
                node[f"source{member}"] = value

    def _fitting(self, sources: tuple[SourceDocument, ...]) -> int:
        references = 0
        while references < len(sources) and sources[references].reference is not None:
            references += 1
        fitting = references
        while fitting < len(sources) and sources[fitting].reference is None:
            fitting += 1
        return fitting

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        found: list[Tree] = []
        for member, codec in self._codecs.items():
            name = f"source{member.capitalize()}"
            if name in node:
                if self._r5:
                    decoded = decode_each(name, codec, enumerate(at(name, a_list, node[name])))
                else:
                    decoded = [at(name, codec.decode, node[name])]
                found += [{member: value} for value in decoded]
        found += read_each(extensions, self._urls, lambda item: self._decode(item, "value"))
        if found:
            values["sources"] = found


class Policies:
    """R5: the policies. The first is ``policyBasis``, its authority an extension; further ones have an address only."""

    name = "policyBasis"
    fields = only_with = ("policies",)

    def __init__(self, binding: Binding) -> None:
        self._authority = extensions.POLICY_AUTHORITY.written_url(binding)
        self._authorities = (extensions.POLICY_AUTHORITY.written_url(binding),)
        self._further = extensions.ADDITIONAL_POLICY.written_url(binding)
        self._furthers = (extensions.ADDITIONAL_POLICY.written_url(binding),)
        self._uri = Inside("valueUri", string)
        urls = (*self._authorities, *self._furthers)
        self.carries = ("policyBasis.url", *(f"extension({url}).valueUri" for url in urls))

    def write(self, record: Consent, node: Tree, extensions: list[Tree]) -> None:
        for position, policy in enumerate(record.policies):
            if position == 0:
                if policy.uri is not None:
                    node["policyBasis"] = {"url": policy.uri}
                if policy.authority is not None:
                    extensions.append({"url": self._authority, "valueUri": policy.authority})
            elif policy.authority is not None:
                path = f"policies[{position}].authority"
                raise Refused.at("consent.policy", path, "R5 has room for the authority of the first policy only")
            else:
                extensions.append({"url": self._further, "valueUri": policy.uri})

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        first: Tree = {}
        if "policyBasis" in node and "url" in at("policyBasis", an_object, node["policyBasis"]):
            first["uri"] = at("policyBasis.url", string.decode, node["policyBasis"]["url"])
        authorities = read_each(extensions, self._authorities, self._uri.decode)
        if len(authorities) > 1:
            raise Refused.at("resource.too_many", "extension", "the extension policy-authority may stand once only")
        if authorities:
            first["authority"] = authorities[0]
        further = [{"uri": uri} for uri in read_each(extensions, self._furthers, self._uri.decode)]
        if first or further:
            values["policies"] = [first, *further] if first else further


class PolicyRule:
    """R4: the legal bases. The first is ``policyRule``, further ones are extensions.

    R4 wants a policy or a policy rule (invariant ppc-1, trap T13): where the record has neither, the rule says that it
    is unknown, and nothing else.
    """

    name = "policyRule"
    fields = ("legal_bases",)

    def __init__(self, binding: Binding) -> None:
        self._term = term(terms.LEGAL_BASIS)
        definition = extensions.ADDITIONAL_REGULATORY_BASIS
        self._url = definition.written_url(binding)
        self._further = Inside("valueCodeableConcept", self._term)
        self._unknown = {"extension": [{"url": ABSENT_REASON, "valueCode": "unknown"}]}
        self.carries = (
            *below("policyRule", self._term.carries),
            *below(f"extension({self._url})", self._further.carries),
        )

    def write(self, record: Consent, node: Tree, extensions: list[Tree]) -> None:
        if bases := record.legal_bases:
            node["policyRule"] = self._term.encode(bases[0])
            if len(bases) > 1:
                extensions += [{"url": self._url, **self._further.encode(one)} for one in bases[1:]]
        elif not record.policies:
            node["policyRule"] = self._unknown

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        found = []
        if "policyRule" in node:
            rule = at("policyRule", an_object, node["policyRule"])
            if "coding" in rule or "text" in rule:
                found.append(at("policyRule", self._term.decode, rule))
        found += read_each(extensions, (self._url,), self._further.decode)
        if found:
            values["legal_bases"] = found


class Witnesses:
    """The witnesses. The first goes into HL7's extension, which holds a party and no more; the others into ours."""

    name = "witness"
    fields = only_with = ("witnesses",)
    # The targets of HL7's extension: a PractitionerRole is none of them.
    _TYPES = (None, "Organization", "Patient", "Practitioner", "RelatedPerson")

    def __init__(self, binding: Binding) -> None:
        self._first = Inside("valueReference", reference)
        self._others = Complex(binding, extensions.WITNESS, "witnesses")
        self._url = published.CONSENT_WITNESS.url
        self.carries = (*below(f"extension({self._url})", self._first.carries), *self._others.carries)

    def _is_plain(self, witness: Witness) -> bool:
        return witness.at is None and witness.role is None and witness.party.type in self._TYPES

    def write(self, record: Consent, node: Tree, extensions: list[Tree]) -> None:
        for position, witness in enumerate(record.witnesses):
            if position == 0 and self._is_plain(witness):
                extensions.append({"url": self._url, **self._first.encode(witness.party)})
            else:
                extensions.append(self._others.encode(witness))

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        self._others.read(node, extensions, values)
        first = read_each(extensions, (self._url,), self._first.decode)
        if first:
            values["witnesses"] = [*({"party": party} for party in first), *values.get("witnesses", ())]


class VerificationDates:
    """R4: the dates of a check. The first is ``verificationDate``, further ones are extensions."""

    name = "verificationDate"
    fields = only_with = ("dates",)

    def __init__(self, binding: Binding) -> None:
        definition = extensions.VERIFICATION_DATE
        self._url = definition.written_url(binding)
        self._further = Inside("valueDateTime", moment)
        self.carries = ("verificationDate", f"extension({self._url}).valueDateTime")

    def write(self, record: Verification, node: Tree, extensions: list[Tree]) -> None:
        if record.dates:
            node["verificationDate"] = str(record.dates[0])
        extensions += [{"url": self._url, **self._further.encode(one)} for one in record.dates[1:]]

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        found = [at("verificationDate", moment.decode, node["verificationDate"])] if "verificationDate" in node else []
        found += read_each(extensions, (self._url,), self._further.decode)
        if found:
            values["dates"] = found


class SignedAt:
    """R5: the time of signing. ``date`` has room for the day, an extension holds the time (trap T4)."""

    name = "date"
    fields = ("signed_at",)

    def __init__(self, binding: Binding) -> None:
        self._exact = Simple(binding, extensions.CONSENTED_AT, "signed_at")
        self.carries = ("date", *self._exact.carries)

    def write(self, record: Consent, node: Tree, extensions: list[Tree]) -> None:
        node["date"] = str(record.signed_at)[:10]
        if "T" in record.signed_at:
            self._exact.write(record, node, extensions)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if "date" not in node:
            raise Refused.at("resource.missing", "date", "a required element is missing")
        day = at("date", moment.decode, node["date"])
        self._exact.read(node, extensions, values)
        if values.setdefault("signed_at", day)[:10] != day:
            raise Refused.at("resource.contradiction", "date", "the time of signing lies on another day")


class Custodians:
    """R5: the custodians are both ``manager`` and ``controller``; where both stand, they must be the same."""

    name = "manager"
    fields = ("custodians",)

    def __init__(self) -> None:
        self._rules = (Elements("manager", "custodians", reference), Elements("controller", "custodians", reference))
        self.carries = tuple(path for rule in self._rules for path in rule.carries)

    def write(self, record: Consent, node: Tree, extensions: list[Tree]) -> None:
        for rule in self._rules:
            rule.write(record, node, extensions)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        found: list[Tree] = [{}, {}]
        for rule, into in zip(self._rules, found, strict=True):
            rule.read(node, extensions, into)
        manager, controller = found
        if manager and controller and manager != controller:
            raise Refused.at("resource.contradiction", "controller", "manager and controller are not the same")
        values |= manager or controller


def papers(binding: Binding) -> tuple[Rule, ...]:
    """The rules of this module for one release."""
    if binding.release.is_r5:
        verification = Rules(
            Element("verified", "verified", boolean, required=True),
            Element("verificationType", "type", concept),
            Element("verifiedBy", "verified_by", reference),
            Element("verifiedWith", "verified_with", reference),
            Elements("verificationDate", "dates", moment),
        )
        own: tuple[Rule, ...] = (
            SignedAt(binding),
            Elements("grantor", "grantors", reference),
            Custodians(),
            Elements("regulatoryBasis", "legal_bases", term(terms.LEGAL_BASIS)),
            Policies(binding),
        )
    else:
        verification = Rules(
            Element("verified", "verified", boolean, required=True),
            Element("verifiedWith", "verified_with", reference),
            VerificationDates(binding),
            Simple(binding, extensions.VERIFIED_BY, "verified_by"),
            Simple(binding, extensions.VERIFICATION_TYPE, "type"),
        )
        own = (
            Element("dateTime", "signed_at", moment, required=True),
            Elements("performer", "grantors", reference),
            Elements("organization", "custodians", reference),
            Elements(
                "policy", "policies", Rules(Element("authority", "authority", string), Element("uri", "uri", string))
            ),
            PolicyRule(binding),
        )
    return (*own, Sources(binding), Elements("verification", "verifications", verification), Witnesses(binding))
