"""The rules of a consent ⇄ ``provision``: who is permitted or denied what (specification §3.4.3, traps T2, T3, T19).

R4 states the effect of each nested rule. R5 states one decision, and each level of rules is the opposite of the level
above; a rule with the effect of its parent cannot be said there. Whatever leaves the effect or the conditions of a rule
in doubt is refused, both ways: a consent that is half understood must not become a permission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Element, Elements, Extensions, Many, Rules, Slots, below, by_url, decode_each
from fhirbridge.codec.extension import read_each
from fhirbridge.codec.leaf import (
    CodedTerm,
    Inside,
    Table,
    a_list,
    an_object,
    at,
    coding,
    coding_node,
    concept,
    keys_of,
    period,
    reference,
    string,
)
from fhirbridge.errors import Fault, Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.base import Concept
from fhirbridge.records.consent import MOST_LEVELS, Consent, Provision
from mappings import extensions, terms
from mappings.common import term

EFFECT = Table({"permit": "permit", "deny": "deny"})
OPPOSITE = {"permit": "deny", "deny": "permit"}
# What a base policy says by itself; the policies are read, never made up (specification §3.4.3, step 5).
POLICY = {(terms.ACT_CODE, terms.OPT_IN.code): "permit", (terms.ACT_CODE, terms.OPT_OUT.code): "deny"}
# Only here does silence mean no: a treatment consent without a decision is no refusal of treatment.
SILENCE_IS_DENIAL = ("privacy_sharing", "research")
_MEANING = Table({word: word for word in ("instance", "related", "dependents", "authoredby")})
_LABELS = {
    **terms.CONFIDENTIALITY_LABEL.codings(),
    "psychiatry": coding_node(terms.ACT_CODE, *terms.PSYCHIATRY),
    **terms.SENSITIVITY.codings(),
}


class ResourceType:
    """The name of a resource type ⇄ a Coding, in the code system that the release binds (trap T19)."""

    carries = ("system", "code")

    def __init__(self, system: str) -> None:
        self.system = system

    def encode(self, value: str) -> Json:
        return {"system": self.system, "code": value}

    def decode(self, node: Json) -> Any:
        if not self.claims(an_object(node)):
            raise Refused.at("resource.unknown_code", "system", "no resource type the record knows", self.system)
        return at("code", string.decode, node.get("code"))

    def claims(self, item: Json) -> bool:
        """Whether a Coding names a resource type."""
        return isinstance(item, dict) and item.get("system") == self.system


def _conditions(r5: bool) -> Rules:
    resource_type = ResourceType(terms.RESOURCE_TYPES_R5 if r5 else terms.RESOURCE_TYPES_R4)
    if r5:
        classes = [
            Elements("documentType", "document_types", coding),
            Elements("resourceType", "resource_types", resource_type),
        ]
    else:
        types = Many("resource_types", resource_type, resource_type.claims)
        classes = [Slots("class", types, Many("document_types", coding))]  # type: ignore[list-item]
    return Rules(
        Element("period", "period", period),
        Elements(
            "actor",
            "actors",
            Rules(
                Element("role", "role", term(terms.ACTOR_ROLE), required=True),
                Element("reference", "party", reference, required=True),
            ),
        ),
        Elements("action", "actions", term(terms.CONSENT_ACTION)),
        Elements("securityLabel", "labels", CodedTerm(_LABELS)),
        Elements("purpose", "purposes", CodedTerm(terms.PURPOSE.codings())),
        *classes,
        Elements("code", "codes", concept),
        Element("dataPeriod", "data_period", period),
        Elements(
            "data",
            "data",
            Rules(
                Element("meaning", "meaning", _MEANING, required=True),
                Element("reference", "item", reference, required=True),
            ),
        ),
    )


class StatedEffect:
    """R4: each nested rule says its own effect."""

    carries = elements = ("type",)

    def write(self, effect: str, node: Tree) -> None:
        node["type"] = effect

    def read(self, node: Tree, parent: str) -> str:
        if "type" not in node:
            raise Refused.at("resource.polarity", "type", "a nested rule does not say whether it permits or denies")
        return str(at("type", EFFECT.decode, node["type"]))


class AlternatingEffect:
    """R5: a rule is the opposite of what it stands in; our extension repeats the effect and may not contradict."""

    elements: tuple[str, ...] = ()

    def __init__(self, binding: Binding) -> None:
        definition = extensions.PROVISION_EFFECT
        self._urls = (definition.written_url(binding),)
        self._nodes = {word: [{"url": definition.written_url(binding), "valueCode": word}] for word in OPPOSITE}
        self.carries = tuple(f"extension({url}).valueCode" for url in self._urls)

    def write(self, effect: str, node: Tree) -> None:
        node["extension"] = self._nodes[effect]

    def read(self, node: Tree, parent: str) -> str:
        effect = OPPOSITE[parent]
        said = read_each(by_url(node), self._urls, Inside("valueCode", EFFECT).decode)
        if any(one != effect for one in said):
            raise Refused.at("resource.polarity", "extension", "the effect is not the opposite of the level above")
        return effect


class Nested:
    """A rule with its exceptions, and theirs: the codec of :class:`~fhirbridge.records.Provision`."""

    def __init__(self, binding: Binding) -> None:
        self.conditions = _conditions(binding.release.is_r5)
        self._effect = AlternatingEffect(binding) if binding.release.is_r5 else StatedEffect()
        # Elements of the rules above are all named after what they hold.
        self.names = frozenset(rule.name for rule in self.conditions.rules)  # type: ignore[attr-defined]
        self._known = self.names | {"id", "extension", "modifierExtension", "provision", *self._effect.elements}

    def carried(self, prefix: str, levels: int = MOST_LEVELS) -> tuple[str, ...]:
        """The carried paths of rules that stand at ``prefix``, at every level."""
        own = (*self.conditions.carries, *self._effect.carries)
        return tuple(path for level in range(levels) for path in below(prefix + ".provision" * level, own))

    def encode(self, rule: Provision) -> Tree:
        """The node of a rule."""
        node = self.conditions.encode(rule)
        self._effect.write(rule.effect, node)
        if rule.exceptions:
            node["provision"] = [self.encode(one) for one in rule.exceptions]
        return node

    def decode(self, node: Json, parent: str) -> Tree:
        """The values of a rule that stands in a rule, or a decision, of the effect ``parent``."""
        tree = an_object(node)
        faults = list(self.strangers(tree))
        value: Tree = {}
        effect = OPPOSITE[parent]
        try:
            effect = self._effect.read(tree, parent)
        except Refused as refused:
            faults += refused.faults
        try:
            value = self.conditions.decode(tree)
        except Refused as refused:
            faults += refused.faults
        try:
            value["exceptions"] = self.decode_all(tree, effect)
        except Refused as refused:
            faults += refused.faults
        if faults:
            raise Refused(faults)
        value["effect"] = effect
        return value

    def decode_all(self, node: Tree, effect: str) -> list[Tree]:
        """The values of the rules within ``node``, which has the effect ``effect``."""
        values, faults = [], []
        for position, item in enumerate(at("provision", a_list, node["provision"]) if "provision" in node else ()):
            try:
                values.append(self.decode(item, effect))
            except Refused as refused:
                faults += refused.under(f"provision[{position}]")
        if faults:
            raise Refused(faults)
        return values

    def strangers(self, node: Tree) -> Iterator[Fault]:
        """A fault for each element that is no condition the record knows: without it, a rule would say more or less."""
        for name in node:
            if name not in self._known and not name.startswith("_"):
                place = name if name.isalnum() and name.isascii() else ""
                yield Fault("resource.condition", place, "a condition of the rule that the record cannot hold")


def policy_effect(rule: Json) -> str | None:
    """What the codings of a base policy decide, or ``None``. Raises :class:`Refused` when they disagree."""
    said = {POLICY[key] for key in keys_of(rule) if key in POLICY}
    if len(said) > 1:
        raise Refused.at("resource.polarity", "", "opt-in and opt-out at once")
    return said.pop() if said else None


class StatedDecision:
    """R4: the decision, the period and the rules ⇄ the root ``provision``.

    A root with a type is the decision; without one, an opt-in or opt-out policy decides; without either, sharing and
    research are denied. What was concluded and not read shows in the residue: there, ``provision.type`` is absent. A
    root with a type *and* conditions is a single rule: the decision is its opposite, which ``decision_implied`` says. A
    rule that denies does not by itself permit the rest: that takes an opt-in policy.
    """

    name = "provision"
    fields = ("decision", "provisions", "decision_implied", "period")

    def __init__(self, binding: Binding) -> None:
        self._nested = Nested(binding)
        # Not the root's type: it is always read when it is there, so a residue can but say that it was not.
        self.carries = (
            *below("provision", self._nested.conditions.carries),
            *self._nested.carried("provision.provision"),
        )

    def write(self, record: Consent, node: Tree, extensions: list[Tree]) -> None:
        fields, policy = record.__dict__, None
        decision, provisions, bases = fields["decision"], fields["provisions"], fields["legal_bases"]
        if bases and isinstance(bases[0], Concept):
            policy = at("legal_bases[0]", policy_effect, concept.encode(bases[0]))
        if fields["decision_implied"]:
            if decision == "permit" and policy != "permit":
                reason = "a rule that denies does not permit the rest"
                raise _unsaid("decision_implied", reason, "add the opt-in policy to the legal bases")
            root = self._nested.encode(provisions[0])
        else:
            if decision == "permit" and policy == "deny":
                raise _unsaid("decision", "the decision permits, the policy is opt-out", "correct the one or the other")
            root = {"type": decision}
            if provisions:
                root["provision"] = [self._nested.encode(one) for one in provisions]
        if (span := fields["period"]) is not None:
            root["period"] = period.encode(span)
        node["provision"] = root

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        policy = at("policyRule", policy_effect, node.get("policyRule"))
        root = at("provision", an_object, node["provision"]) if "provision" in node else {}
        try:
            self._read_root(root, policy, values)
        except Refused as refused:
            raise Refused(refused.under("provision")) from None

    def _read_root(self, root: Tree, policy: str | None, values: Tree) -> None:
        faults = list(self._nested.strangers(root))
        stated = at("type", EFFECT.decode, root["type"]) if "type" in root else None
        is_rule = not self._nested.names.isdisjoint(root.keys() - {"period"})
        if is_rule and stated is None:
            reason = "a root with conditions does not say whether it permits or denies them"
            raise Refused([*faults, Fault("resource.polarity", "type", reason)])
        if "period" in root:
            values["period"] = at("period", period.decode, root["period"])
        if is_rule:
            assert stated is not None
            if stated == "deny" and policy != "permit":
                faults.append(Fault("resource.polarity", "type", "a rule that denies does not permit the rest"))
            conditions = {name: member for name, member in root.items() if name != "period"}
            rule = self._nested.conditions.decode(conditions)
            rule |= {"effect": stated, "exceptions": self._nested.decode_all(root, stated)}
            values |= {"decision": OPPOSITE[stated], "provisions": [rule], "decision_implied": True}
        elif stated == "permit" and policy == "deny":
            faults.append(Fault("resource.polarity", "type", "the root permits, the policy is opt-out"))
        else:
            decision = stated or policy or silence(values, "type")
            values |= {"decision": decision, "provisions": self._nested.decode_all(root, decision)}
        if faults:
            raise Refused(faults)


def silence(values: Tree, path: str) -> str:
    """The decision of a consent that states none: denial of sharing and of research; anything else is refused."""
    if values.get("consent_type") not in SILENCE_IS_DENIAL:
        raise Refused.at("resource.polarity", path, "nothing says whether the consent was given or refused")
    return "deny"


def _unsaid(path: str, reason: str, hint: str) -> Refused:
    return Refused.at("consent.polarity", path, reason, hint)


class AlternatingDecision:
    """R5: the decision ⇄ ``decision``, the rules ⇄ ``provision``."""

    name = "decision"
    fields = ("decision", "provisions", "decision_implied")

    def __init__(self, binding: Binding) -> None:
        self._nested = Nested(binding)
        # Not the decision, for the same reason as the root's type in R4.
        self.carries = self._nested.carried("provision")

    def write(self, record: Consent, node: Tree, extensions: list[Tree]) -> None:
        if record.decision_implied:
            raise _unsaid(
                "decision_implied",
                "R5 states a decision, and the form states none",
                "leave decision_implied out to state the decision as it is understood",
            )
        faults = list(_same_as_parent(record.provisions, record.decision, "provisions"))
        if faults:
            raise Refused(faults)
        node["decision"] = record.decision
        if record.provisions:
            node["provision"] = [self._nested.encode(one) for one in record.provisions]

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if "decision" in node:
            decision = at("decision", EFFECT.decode, node["decision"])
        elif "provision" in node:
            raise Refused.at("resource.polarity", "decision", "rules without a decision may permit or deny")
        else:
            decision = silence(values, "decision")
        values |= {"decision": decision, "provisions": self._nested.decode_all(node, decision)}


def _same_as_parent(rules: Iterable[Provision], parent: str, path: str) -> Iterator[Fault]:
    for position, rule in enumerate(rules):
        where = f"{path}[{position}]"
        if rule.effect == parent:
            yield Fault(
                "consent.polarity",
                f"{where}.effect",
                "in R5 a rule is always the opposite of what it stands in",
                "restate the rules so that each level is the opposite of the one above, or send R4",
            )
        yield from _same_as_parent(rule.exceptions, rule.effect, f"{where}.exceptions")


def recipients(rules: Iterable[Any], get: Callable[[Any, str], Any]) -> Iterator[Any]:
    """The parties that rules of any depth permit to receive, in order; ``get`` gives a member of a record or a tree."""
    for rule in rules:
        if get(rule, "effect") == "permit":
            for actor in get(rule, "actors"):
                if get(actor, "role") in ("recipient", "primary_recipient"):
                    yield get(actor, "party")
        yield from recipients(get(rule, "exceptions"), get)


class Grantees:
    """R5: ``grantee`` names once more the recipients that the rules permit; a list that names others is refused, for a
    rule may then be meant for them alone."""

    name = "grantee"
    fields: tuple[str, ...] = ()
    carries: tuple[str, ...] = ()

    def write(self, record: Consent, node: Tree, extensions: list[Tree]) -> None:
        found: list[Json] = []
        for party in recipients(record.provisions, getattr):
            ref = reference.encode(party)
            if ref not in found:
                found.append(ref)
        if found:
            node["grantee"] = found

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if "grantee" not in node:
            return
        listed = decode_each("grantee", reference, enumerate(at("grantee", a_list, node["grantee"])))
        rules = values.get("provisions", ())
        permitted = [_target(party) for party in recipients(rules, lambda tree, name: tree.get(name, ()))]
        named = [_target(one) for one in listed]
        if any(one not in permitted for one in named) or any(one not in named for one in permitted):
            raise Refused.at("resource.grantee", "grantee", "the grantees are not the recipients that the rules permit")


def _target(ref: Tree) -> tuple[Json, ...]:
    """What makes two references point to the same thing."""
    own = ref.get("identifier")
    if own is not None:
        return own.get("system"), own.get("value")
    return ("literal", ref["literal"]) if "literal" in ref else ("display", ref.get("display"))
