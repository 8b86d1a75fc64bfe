"""Adverse events: what R4 and R4B say otherwise than R5 (specification §3.5, §4.1)."""

from __future__ import annotations

from collections.abc import Iterable

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Extensions, below, decode_each
from fhirbridge.codec.extension import Complex, Simple, read_each
from fhirbridge.codec.leaf import a_list, an_object, at, identifier, moment, period, reference
from fhirbridge.errors import Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.adverse_event import AdverseEvent, may_contribute, target_of
from mappings import extensions as own
from mappings import published
from mappings.adverse_event_items import each
from mappings.adverse_event_words import participant_function

# The clinic's words in FHIR's codes; of two with one code, the first is what the code alone means.
STATUS = {
    "in_progress": "in-progress",
    "completed": "completed",
    "entered_in_error": "entered-in-error",
    "unknown": "unknown",
    "draft": "in-progress",
    "amended": "completed",
}
_ERROR = "entered-in-error"


class IdentityR4:
    """The record's own id ⇄ ``identifier``, of which R4 has one; further ones ride in extensions (trap T7)."""

    name = "identifier"
    fields = ("id", "additional_identifiers")

    def __init__(self, binding: Binding) -> None:
        self._system = binding.sid("adverse-event")
        self._others = Simple(binding, own.ADDITIONAL_IDENTIFIER, "additional_identifiers")
        self.carries = self._others.carries

    def write(self, record: AdverseEvent, node: Tree, extensions: list[Tree]) -> None:
        node["identifier"] = {"system": self._system, "value": record.id}
        self._others.write(record, node, extensions)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        self._others.read(node, extensions, values)
        if "identifier" not in node:
            return
        one = at("identifier", an_object, node["identifier"])
        if one.get("system") == self._system and isinstance(one.get("value"), str):
            values["id"] = one["value"]
        else:
            others = values.get("additional_identifiers", [])
            values["additional_identifiers"] = [at("identifier", identifier.decode, one), *others]


class StatusR4:
    """Where the record stands, for which R4 has no element (trap T10).

    A void record says so in the guide's modifier extension, so that whoever does not know it leaves the event alone;
    all other states stand in a plain extension, so that whoever does not know it still reads the event. Both are read
    under every URL there is, and so is R5's element; without any of them the state is unknown.
    """

    name = "status"
    fields = ("record_status",)

    def __init__(self, binding: Binding) -> None:
        self._url = own.AE_STATUS.written_url(binding)
        self._finer_url = own.INTERNAL_STATUS.written_url(binding)
        self._finer_urls = (own.INTERNAL_STATUS.written_url(binding),)
        self.modifiers = (published.AE4["status"].url, published.XVER_STATUS)
        self._urls = frozenset((own.AE_STATUS.written_url(binding), *self.modifiers))
        self._words: dict[str, str] = {}
        for word, code in STATUS.items():
            self._words.setdefault(code, word)
        self.carries = tuple(f"extension({url}).valueCode" for url in self._finer_urls)

    def write(self, record: AdverseEvent, node: Tree, extensions: list[Tree]) -> None:
        code = STATUS[record.record_status]
        if code == _ERROR:
            node["modifierExtension"] = [{"url": self.modifiers[0], "valueCode": code}]
        else:
            extensions.append({"url": self._url, "valueCode": code})
        if self._words[code] != record.record_status:
            extensions.append({"url": self._finer_url, "valueCode": record.record_status})

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        codes = dict(self._spoken(node, extensions))
        for where, code in codes.items():
            if not isinstance(code, str) or code not in self._words:
                reason = "not a code the record knows"
                raise Refused.at("resource.status", where, reason, f"one of {', '.join(self._words)}")
        if len(set(codes.values())) > 1:
            raise Refused.at("resource.contradiction", next(iter(codes)), "the resource names several states")
        code = next(iter(codes.values()), "unknown")
        word = self._words[code]
        for url in self._finer_urls:
            for position, item in extensions.get(url, ()):
                finer = item.get("valueCode")
                if not isinstance(finer, str) or STATUS.get(finer) != code:
                    raise Refused.at("resource.contradiction", f"extension[{position}]", "it contradicts the status")
                word = finer
        values["record_status"] = word

    def _spoken(self, node: Tree, extensions: Extensions) -> Iterable[tuple[str, Json]]:
        if "status" in node:
            yield "status", node["status"]
        for where, item in each("modifierExtension", node):
            if isinstance(item, dict) and item.get("url") in self.modifiers:
                yield f"{where}.valueCode", item.get("valueCode")
        for url in self._urls:
            for position, item in extensions.get(url, ()):
                yield f"extension[{position}].valueCode", item.get("valueCode")


class OnsetR4:
    """Onset and end ⇄ ``date`` and the guide's ``resolve-date``; the cross-version extension is read (trap T20)."""

    name = "date"
    fields = ("onset", "resolved_at")

    def __init__(self, binding: Binding) -> None:
        self._end = Simple(binding, published.AE4["resolve-date"], "resolved_at")
        # Not the date: where the cross-version extension says it, the source has none, and that is residue.
        self.carries: tuple[str, ...] = ()

    def write(self, record: AdverseEvent, node: Tree, extensions: list[Tree]) -> None:
        if record.onset is not None:
            node["date"] = str(record.onset)
        self._end.write(record, node, extensions)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if "date" in node:
            values["onset"] = at("date", moment.decode, node["date"])
        self._end.read(node, extensions, values)
        for position, item in extensions.get(published.XVER_OCCURRENCE, ()):
            if "valuePeriod" not in item:
                continue
            where = f"extension[{position}].valuePeriod"
            span = at(where, period.decode, item["valuePeriod"])
            for name, field in (("start", "onset"), ("end", "resolved_at")):
                if name in span and values.setdefault(field, span[name]) != span[name]:
                    raise Refused.at("resource.contradiction", f"{where}.{name}", "the resource gives two times")


class ParticipantsR4:
    """Staff and devices ⇄ ``contributor``; whoever has a function, and all others ⇄ the guide's ``participant``."""

    name = "contributor"
    fields = ("contributors", "participants")

    def __init__(self, binding: Binding) -> None:
        codecs = {"function": participant_function()}
        self._others = Complex(binding, published.AE4["participant"], "participants", codecs=codecs)
        # Not the extension's: one that names a contributor is written in the other place, and stays as residue.
        self.carries = below("contributor", reference.carries)

    def write(self, record: AdverseEvent, node: Tree, extensions: list[Tree]) -> None:
        if record.contributors:
            node["contributor"] = [reference.encode(one) for one in record.contributors]
        self._others.write(record, node, extensions)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        contributors: list[Tree] = []
        if "contributor" in node:
            items = at("contributor", a_list, node["contributor"])
            contributors = decode_each("contributor", reference, enumerate(items))
        participants = []
        for one in read_each(extensions, (self._others.url,), self._others.decode):
            if "actor" not in one:
                raise Refused.at("resource.missing", "extension", "a participant without an actor")
            if "function" not in one and may_contribute(target_of_tree(one["actor"])):
                contributors.append(one["actor"])
            else:
                participants.append(one)
        if contributors:
            values["contributors"] = contributors
        if participants:
            values["participants"] = participants


class ResultsR4:
    """Diagnoses ⇄ ``resultingCondition``; findings, which R4 has no element for ⇄ the guide's ``resultingEffect``."""

    name = "resultingCondition"
    fields = ("resulting_conditions", "resulting_findings")

    def __init__(self, binding: Binding) -> None:
        self._findings = Simple(binding, published.AE4["resultingEffect"], "resulting_findings")
        # Not the extension's: one that names a diagnosis is written in the other place, and stays as residue.
        self.carries = below("resultingCondition", reference.carries)

    def write(self, record: AdverseEvent, node: Tree, extensions: list[Tree]) -> None:
        if record.resulting_conditions:
            node["resultingCondition"] = [reference.encode(one) for one in record.resulting_conditions]
        self._findings.write(record, node, extensions)

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        conditions: list[Tree] = []
        if "resultingCondition" in node:
            items = at("resultingCondition", a_list, node["resultingCondition"])
            conditions = decode_each("resultingCondition", reference, enumerate(items))
        self._findings.read(node, extensions, values)
        effects = values.pop("resulting_findings", [])
        findings = [one for one in effects if target_of_tree(one) == "Observation"]
        conditions += [one for one in effects if one not in findings]
        if conditions:
            values["resulting_conditions"] = conditions
        if findings:
            values["resulting_findings"] = findings


def target_of_tree(ref: Tree) -> str | None:
    """The type that a decoded reference points to, as far as it says."""
    type_, literal = ref.get("type"), ref.get("literal")
    return target_of(type_ if isinstance(type_, str) else None, literal if isinstance(literal, str) else None)
