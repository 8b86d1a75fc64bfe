"""What is particular to consents: polarity, the traps of the specification, worked examples, the consents of others."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.errors import NotExpressible, RecordRefused, ResourceRefused
from fhirbridge.fhir import json
from fhirbridge.mapping import Mappings, Reading, Written
from fhirbridge.records import Consent, parse, to_json
from mappings.consent import KIND, STATUS_R4, STATUS_R5
from tests.strategies import consent as strategy
from tests.strategies.base import DOMAIN, Tree

OTHER_BASE = "https://old.example/fhir"
MAPPINGS = {
    release: Mappings(Binding(Clinic(DOMAIN, b"k" * 32, other_bases=(OTHER_BASE,)), release), {"consent": KIND})
    for release in Release
}
R4, R5 = Release.R4, Release.R5
releases = pytest.mark.parametrize("release", list(Release))
MINIMAL: Tree = {
    "id": "12",
    "revision": 1,
    "patient": {"type": "Patient", "identifier": {"system": "https://clinic.example/sid/patient", "value": "P-1001"}},
    "consent_type": "privacy_sharing",
    "state": "active",
    "decision": "deny",
    "signed_at": "2026-11-01T09:30:00-05:00",
}
PERMIT: Tree = {"effect": "permit", "purposes": ["research"]}
DENY: Tree = {"effect": "deny", "labels": ["psychotherapy_notes"]}
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
BASE = "https://fhirbridge.example/fhir/StructureDefinition"


def record(**fields: Any) -> Consent:
    return parse(Consent, MINIMAL | fields)


def write(release: Release, one: Consent, residue: Any = ()) -> Tree:
    return json.parse_object(json.dump(MAPPINGS[release].to_fhir(one, residue).parts[0].resource))


def read(release: Release, resource: Tree) -> Reading:
    return MAPPINGS[release].from_fhir(resource)


def same(one: Any, other: Any) -> bool:
    return json.canonical(one) == json.canonical(other)


def faults(release: Release, resource: Tree) -> list[tuple[str, str]]:
    with pytest.raises(ResourceRefused) as caught:
        read(release, resource)
    return [(fault.code, fault.path) for fault in caught.value.faults]


def foreign_r4(**elements: Any) -> Tree:
    """An R4 consent of others, about sharing."""
    scope = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
    resource: Tree = {
        "resourceType": "Consent",
        "id": "theirs",
        "status": "active",
        "scope": {"coding": [scope]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/1"},
        "dateTime": "2026-11-01",
        "policyRule": {"coding": [{"system": ACT_CODE, "code": "INFA"}]},
    }
    return {name: one for name, one in (resource | elements).items() if one is not None}


def policy(code: str) -> Tree:
    return {"coding": [{"system": ACT_CODE, "code": code}]}


def back_to_source(release: Release, source: Tree) -> Reading:
    """The reading of ``source``, after checking that it is written back as it came."""
    reading = read(release, source)
    written = MAPPINGS[release].to_fhir(reading.record, reading.residue)
    assert written.dropped == ()
    assert same(written.parts[0].resource, source)
    return reading


# ------------------------------------------------------------------------------------------------ polarity
def test_t3_r4_states_the_effect_of_the_root_and_of_every_nested_rule() -> None:
    one = record(provisions=[PERMIT | {"exceptions": [DENY]}])
    root = write(R4, one)["provision"]
    assert (root["type"], root["provision"][0]["type"], root["provision"][0]["provision"][0]["type"]) == (
        "deny",
        "permit",
        "deny",
    )


def test_t3_r5_says_the_decision_and_repeats_each_effect_in_our_extension() -> None:
    resource = write(R5, record(provisions=[PERMIT | {"exceptions": [DENY]}]))
    rule = resource["provision"][0]
    assert resource["decision"] == "deny"
    assert rule["extension"] == [{"url": f"{BASE}/provision-effect", "valueCode": "permit"}]
    assert rule["provision"][0]["extension"][0]["valueCode"] == "deny"


def test_t3_r5_refuses_every_rule_that_has_the_effect_of_its_parent_and_r4_says_it() -> None:
    """Decision D6: what would change its meaning is refused, all of it at once."""
    one = record(provisions=[{"effect": "deny", "purposes": ["payment"]}, PERMIT | {"exceptions": [PERMIT]}])
    assert [one["type"] for one in write(R4, one)["provision"]["provision"]] == ["deny", "permit"]
    with pytest.raises(NotExpressible) as caught:
        write(R5, one)
    assert [(fault.code, fault.path) for fault in caught.value.faults] == [
        ("consent.polarity", "provisions[0].effect"),
        ("consent.polarity", "provisions[1].exceptions[0].effect"),
    ]


@given(tree=strategy.r4_only)
def test_t3_r5_says_a_record_that_reads_back_equal_or_refuses_it(tree: Tree) -> None:
    one = parse(Consent, tree)
    try:
        resource = write(R5, one)
    except NotExpressible as refused:
        if any(fault.code not in ("consent.polarity", "consent.scope") for fault in refused.faults):
            raise
        return
    assert same(to_json(read(R5, resource).record), to_json(one))


def test_a_nested_rule_without_its_effect_is_refused_in_r4() -> None:
    source = foreign_r4(provision={"type": "deny", "provision": [{"purpose": [{"code": "TREAT"}]}]})
    assert faults(R4, source) == [("resource.polarity", "Consent.provision.provision[0].type")]


def test_an_effect_that_contradicts_the_alternation_is_refused_in_r5() -> None:
    resource = write(R5, record(provisions=[PERMIT]))
    resource["provision"][0]["extension"][0]["valueCode"] = "deny"
    assert faults(R5, resource) == [("resource.polarity", "Consent.provision[0].extension")]


def test_an_r5_rule_without_our_extension_is_the_opposite_of_its_parent() -> None:
    resource = write(R5, record(provisions=[PERMIT | {"exceptions": [DENY]}]))
    for rule in (resource["provision"][0], resource["provision"][0]["provision"][0]):
        del rule["extension"]
    said = back_to_source(R5, resource).record.provisions[0]  # type: ignore[attr-defined]
    assert (said.effect, said.exceptions[0].effect) == ("permit", "deny")


def test_rules_without_a_decision_are_refused_in_r5_for_they_may_permit_or_deny() -> None:
    resource = write(R5, record(provisions=[PERMIT]))
    del resource["decision"]
    assert faults(R5, resource) == [("resource.polarity", "Consent.decision")]


@pytest.mark.parametrize("release", [R4, R5])
@pytest.mark.parametrize("consent_type", ["privacy_sharing", "research"])
def test_silence_denies_sharing_and_research(release: Release, consent_type: str) -> None:
    """Nothing states the decision: it is read as deny, and the residue says that it was concluded."""
    resource = write(release, record(consent_type=consent_type))
    resource.pop("decision", None)
    resource.pop("provision", None)
    reading = back_to_source(release, resource)
    assert reading.record.decision == "deny"  # type: ignore[attr-defined]
    assert [entry.op for entry in reading.residue] == ["absent"]


@pytest.mark.parametrize("release", [R4, R5])
@pytest.mark.parametrize("consent_type", ["treatment", "touch", "telehealth", "other"])
def test_silence_about_anything_else_is_refused(release: Release, consent_type: str) -> None:
    resource = write(release, record(consent_type=consent_type))
    resource.pop("decision", None)
    resource.pop("provision", None)
    assert [code for code, _ in faults(release, resource)] == ["resource.polarity"]


@pytest.mark.parametrize(("code", "decision"), [("OPTIN", "permit"), ("OPTOUT", "deny")])
def test_a_policy_decides_where_the_root_states_nothing(code: str, decision: str) -> None:
    source = foreign_r4(policyRule=policy(code), provision={"period": {"start": "2026-01-01"}})
    assert back_to_source(R4, source).record.decision == decision  # type: ignore[attr-defined]


def test_a_root_that_permits_under_an_opt_out_policy_is_refused_both_ways() -> None:
    source = foreign_r4(policyRule=policy("OPTOUT"), provision={"type": "permit"})
    assert faults(R4, source) == [("resource.polarity", "Consent.provision.type")]
    with pytest.raises(NotExpressible):
        write(R4, record(decision="permit", legal_bases=[strategy.OPT_OUT]))


def test_opt_in_and_opt_out_at_once_are_refused() -> None:
    both = {"coding": [*policy("OPTIN")["coding"], *policy("OPTOUT")["coding"]]}
    assert ("resource.polarity", "Consent.policyRule") in faults(R4, foreign_r4(policyRule=both))


def test_a_typed_root_with_conditions_is_a_single_rule_under_the_opposite_decision() -> None:
    """Permit only for X is deny, but permit X (specification §3.4.3); it is written back as it stood."""
    purpose = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}
    source = foreign_r4(provision={"type": "permit", "period": {"end": "2027"}, "purpose": [purpose]})
    one = back_to_source(R4, source).record
    assert isinstance(one, Consent)
    assert (one.decision, one.decision_implied, one.provisions[0].effect) == ("deny", True, "permit")
    assert one.period is not None
    assert one.period.end == "2027"
    with pytest.raises(NotExpressible, match=r"consent\.polarity"):
        write(R5, one)


def test_a_single_rule_that_denies_permits_the_rest_only_under_an_opt_in_policy() -> None:
    root = {"type": "deny", "securityLabel": [{"system": ACT_CODE, "code": "PSY"}]}
    assert faults(R4, foreign_r4(provision=root)) == [("resource.polarity", "Consent.provision.type")]
    assert back_to_source(R4, foreign_r4(provision=root, policyRule=policy("OPTIN"))).record.decision == "permit"  # type: ignore[attr-defined]
    with pytest.raises(NotExpressible, match=r"consent\.polarity"):
        write(R4, record(decision="permit", decision_implied=True, provisions=[DENY]))


def test_conditions_at_a_root_without_an_effect_are_refused() -> None:
    source = foreign_r4(policyRule=policy("OPTIN"), provision={"purpose": [{"code": "TREAT"}]})
    assert faults(R4, source) == [("resource.polarity", "Consent.provision.type")]


@pytest.mark.parametrize(
    ("release", "element"),
    [(R5, "expression"), (R5, "type"), (R5, "class"), (R4, "resourceType"), (R4, "documentType")],
)
def test_a_condition_that_the_record_cannot_hold_refuses_the_rule(release: Release, element: str) -> None:
    """Left out, it would make a permission wider."""
    resource = write(release, record(provisions=[PERMIT]))
    rules = resource["provision"] if release.is_r5 else resource["provision"]["provision"]
    rules[0][element] = "permit" if element == "type" else {"language": "text/cql"}
    place = "Consent.provision[0]" if release.is_r5 else "Consent.provision.provision[0]"
    assert faults(release, resource) == [("resource.condition", f"{place}.{element}")]


@releases
def test_an_unknown_modifier_within_a_rule_refuses_the_consent(release: Release) -> None:
    resource = write(release, record(provisions=[PERMIT]))
    rules = resource["provision"] if release.is_r5 else resource["provision"]["provision"]
    rules[0]["modifierExtension"] = [{"url": "https://elsewhere.example/not", "valueBoolean": True}]
    assert {code for code, _ in faults(release, resource)} == {"resource.modifier"}


@releases
def test_rules_nest_to_a_limit_and_no_further(release: Release) -> None:
    rule: Tree = {}
    for level in range(8):
        rule = {"effect": ("deny", "permit")[level % 2]} | ({"exceptions": [rule]} if rule else {})
    one = record(decision="deny", provisions=[rule])
    resource = write(release, one)
    assert same(to_json(read(release, resource).record), to_json(one))
    with pytest.raises(RecordRefused, match="too_deep"):
        record(decision="permit", provisions=[{"effect": "deny", "exceptions": [rule]}])


def laid(release: Release, reading: Reading, **edit: Any) -> Written:
    tree = {name: one for name, one in to_json(reading.record).items() if name != "kind"} | edit
    return MAPPINGS[release].to_fhir(
        parse(Consent, {name: one for name, one in tree.items() if one is not None}), reading.residue
    )


def test_a_residue_never_changes_what_is_permitted_after_an_edit() -> None:
    """The decision that a policy gave is stated once the policy is gone; the dropped residue is reported."""
    reading = read(R4, foreign_r4(policyRule=policy("OPTIN"), provision={"period": {"start": "2026"}}))
    written = laid(R4, reading, legal_bases=None)
    assert written.parts[0].resource["provision"]["type"] == "permit"
    assert "provision.type" in written.dropped
    assert laid(R4, reading, decision="deny").parts[0].resource["provision"]["type"] == "deny"


@releases
def test_a_residue_that_somebody_forged_cannot_turn_a_denial_into_a_permission(release: Release) -> None:
    one = record()
    permitted = write(release, record(decision="permit"))
    reading = read(release, write(release, one) | {"text": {"status": "empty"}})
    forged = permitted["decision"] if release.is_r5 else permitted["provision"]["type"]
    path = "decision" if release.is_r5 else "provision.type"
    denied = MAPPINGS[release].to_fhir(one).parts[0].resource
    entry = type(reading.residue[0])("absent", path, None, "")
    bad = [type(entry)("add", "decision" if release.is_r5 else "provision.type", forged)]
    written = MAPPINGS[release].to_fhir(one, (*reading.residue, entry, *bad)).parts[0].resource
    assert written.get("decision", written.get("provision", {}).get("type")) == "deny"
    assert same(written.get("provision"), denied.get("provision"))


# ------------------------------------------------------------------------------------------------ the other traps
@releases
def test_t2_the_decision_survives_and_the_patient_who_consents_is_performer_or_grantor(release: Release) -> None:
    one = record(decision="permit", grantors=[MINIMAL["patient"]])
    resource = write(release, one)
    assert resource["grantor" if release.is_r5 else "performer"] == [MINIMAL["patient"]]
    assert "grantee" not in resource
    assert same(to_json(read(release, resource).record), to_json(one))


def test_t2_grantees_are_the_recipients_that_the_rules_permit() -> None:
    def actor(role: str, value: str) -> Tree:
        return {"role": role, "party": {"type": "Organization", "identifier": {"system": "s", "value": value}}}

    inner = {"effect": "permit", "actors": [actor("primary_recipient", "B"), actor("recipient", "A")]}
    denied = {"effect": "deny", "actors": [actor("recipient", "C")], "exceptions": [inner]}
    rules = [{"effect": "permit", "actors": [actor("recipient", "A"), actor("custodian", "D")], "exceptions": [denied]}]
    resource = write(R5, record(provisions=rules))
    assert [one["identifier"]["value"] for one in resource["grantee"]] == ["A", "B"]
    resource["grantee"].append({"reference": "Organization/somebody-else"})
    assert faults(R5, resource) == [("resource.grantee", "Consent.grantee")]


def test_t4_r5_keeps_the_time_of_signing_in_an_extension_only_where_there_is_a_time() -> None:
    resource = write(R5, record())
    assert resource["date"] == "2026-11-01"
    assert {"url": f"{BASE}/consented-at", "valueDateTime": MINIMAL["signed_at"]} in resource["extension"]
    assert "extension" not in write(R5, record(signed_at="2026-11"))
    resource["date"] = "2026-11-02"
    assert faults(R5, resource) == [("resource.contradiction", "Consent.date")]


def test_t4_what_r4_has_room_for_once_keeps_its_order_in_extensions() -> None:
    documents = [{"reference": {"type": "DocumentReference", "display": str(n)}} for n in range(3)]
    resource = write(R4, record(sources=documents, legal_bases=["common_rule", "hipaa_research"]))
    assert resource["sourceReference"]["display"] == "0"
    assert [one["valueReference"]["display"] for one in resource["extension"] if "valueReference" in one] == ["1", "2"]
    assert resource["policyRule"]["coding"][0]["code"] == "cric"


def test_t4_documents_of_r5_that_two_lists_cannot_order_go_into_extensions() -> None:
    paper, file = (
        {"reference": {"type": "DocumentReference", "display": "a"}},
        {"attachment": {"title": "b", "size": 7}},
    )
    resource = write(R5, record(sources=[paper, file, paper]))
    assert (len(resource["sourceReference"]), len(resource["sourceAttachment"])) == (1, 1)
    assert [one["url"] for one in resource["extension"] if "valueReference" in one] == [f"{BASE}/additional-source"]
    assert resource["sourceAttachment"][0]["size"] == "7", "an integer64 is a string in JSON"


def test_the_authority_of_a_second_policy_is_refused_in_r5() -> None:
    one = record(policies=[{"uri": "https://a"}, {"uri": "https://b", "authority": "https://c"}])
    assert write(R4, one)["policy"][1] == {"uri": "https://b", "authority": "https://c"}
    with pytest.raises(NotExpressible, match=r"consent\.policy"):
        write(R5, one)


@releases
def test_t12_no_profile_is_claimed(release: Release) -> None:
    assert "profile" not in write(release, record())["meta"]


@pytest.mark.parametrize("release", [R4, Release.R4B])
def test_t13_a_consent_without_policy_says_that_the_rule_is_unknown_and_reads_back_to_nothing(release: Release) -> None:
    resource = write(release, record())
    assert resource["policyRule"] == {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    reading = read(release, resource)
    assert reading.residue == ()
    assert reading.record.legal_bases == ()  # type: ignore[attr-defined]
    assert "policyRule" not in write(release, record(policies=[{"uri": "https://clinic.example/form"}]))


@pytest.mark.parametrize("element", ["status", "scope", "patient", "dateTime"])
def test_t13_each_element_that_a_record_needs_is_missed_by_path(element: str) -> None:
    assert f"Consent.{element}" in [path for _, path in faults(R4, foreign_r4(**{element: None}))]


def test_t19_resource_types_have_the_code_system_of_the_release_and_the_other_one_is_read() -> None:
    one = record(
        provisions=[PERMIT | {"resource_types": ["Observation"], "document_types": [{"code": "x", "system": "s"}]}]
    )
    r4, r5 = write(R4, one)["provision"]["provision"][0], write(R5, one)
    assert r4["class"][0] == {"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}
    assert r5["provision"][0]["resourceType"] == [{"system": "http://hl7.org/fhir/fhir-types", "code": "Observation"}]
    assert r5["provision"][0]["documentType"] == [{"system": "s", "code": "x"}]
    r5["provision"][0]["resourceType"][0]["system"] = "http://hl7.org/fhir/resource-types"
    reading = back_to_source(R5, r5)
    assert same(to_json(reading.record), to_json(one))
    edited = laid(R5, reading, provisions=None)
    assert "provision" not in edited.parts[0].resource


@pytest.mark.parametrize("release", [R4, Release.R4B])
def test_t20_cross_version_urls_are_read_and_written_back_as_they_came(release: Release) -> None:
    check = {
        "verified": True,
        "verified_by": {"type": "Practitioner", "display": "a"},
        "type": {"text": "by telephone"},
    }
    resource = write(release, record(verifications=[check]))
    xver = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Consent.verification"
    for extension, name in zip(
        resource["verification"][0]["extension"], ("verifiedBy", "verificationType"), strict=True
    ):
        assert extension["url"].startswith(BASE), "never written (they are errors where the package is missing)"
        extension["url"] = f"{xver}.{name}"
    reading = back_to_source(release, resource)
    assert same(to_json(reading.record), to_json(record(verifications=[check])))
    edited = laid(release, reading, verifications=[check | {"verified_by": {"type": "Practitioner", "display": "b"}}])
    assert '"a"' not in json.dump(edited.parts[0].resource).decode()


@releases
def test_extensions_under_a_further_base_of_ours_are_read_and_written_back(release: Release) -> None:
    resource = write(release, record(withdrawal={"at": "2026-12-01"}, state="withdrawn"))
    for extension in resource["extension"]:
        if extension["url"] == f"{BASE}/withdrawal":
            extension["url"] = f"{OTHER_BASE}/StructureDefinition/withdrawal"
    assert back_to_source(release, resource).record.withdrawal.at == "2026-12-01"  # type: ignore[attr-defined]


def test_t22_the_recipient_keeps_its_code_in_r5() -> None:
    party = {"type": "Organization", "display": "a"}
    resource = write(R5, record(provisions=[PERMIT | {"actors": [{"role": "recipient", "party": party}]}]))
    assert resource["provision"][0]["actor"][0]["role"]["coding"][0]["code"] == "IRCP"


# ------------------------------------------------------------------------------------------------ state and kind
@releases
@pytest.mark.parametrize("state", list(STATUS_R4))
def test_every_state_has_its_code_and_reads_back(release: Release, state: str) -> None:
    """Specification §3.4.1; no state but ``active`` and, until its end, ``expired`` looks active to others."""
    more: Tree = {"withdrawal": {"at": "2026"}} if state == "withdrawn" else {}
    one = record(state=state, period={"end": "2026-12-01"}, **more)
    resource = write(release, one)
    assert resource["status"] == (STATUS_R5 if release.is_r5 else STATUS_R4)[state]
    assert (resource["status"] == "active") == (state in ("active", "expired"))
    assert same(to_json(read(release, resource).record), to_json(one))


def test_an_expired_consent_needs_an_end_and_a_withdrawn_one_a_withdrawal() -> None:
    with pytest.raises(RecordRefused, match="end_missing"):
        record(state="expired")
    with pytest.raises(RecordRefused, match="withdrawal_missing"):
        record(state="withdrawn")


@releases
@pytest.mark.parametrize("consent_type", strategy.NAMED_TYPES)
def test_our_code_stands_beside_the_scope_only_where_the_scope_says_less(release: Release, consent_type: str) -> None:
    resource = write(release, record(consent_type=consent_type))
    systems = [one["coding"][0]["system"] for one in resource["category"]]
    finer = consent_type not in ("treatment", "privacy_sharing", "research")
    assert any(one.endswith("/CodeSystem/consent-kind") for one in systems) == finer
    assert systems[-1] == "http://loinc.org"
    assert ("scope" in resource) != release.is_r5


def test_scope_and_our_code_may_not_say_different_types() -> None:
    resource = write(R4, record(consent_type="rems_enrollment"))
    resource["scope"]["coding"][0]["code"] = "research"
    assert faults(R4, resource) == [("resource.contradiction", "Consent.category")]


def test_a_scope_that_nobody_here_knows_is_no_sharing_consent() -> None:
    adr = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "adr"}]}
    reading = back_to_source(R4, foreign_r4(scope=adr, provision={"type": "permit"}))
    assert reading.record.consent_type == "other"  # type: ignore[attr-defined]
    with pytest.raises(NotExpressible, match=r"consent\.scope"):
        write(R5, reading.record)  # type: ignore[arg-type]


def test_manager_and_controller_must_agree() -> None:
    resource = write(R5, record(custodians=[{"type": "Organization", "display": "a"}]))
    other = copy.deepcopy(resource)
    other["controller"] = [{"type": "Organization", "display": "b"}]
    assert faults(R5, other) == [("resource.contradiction", "Consent.controller")]
    del resource["manager"]
    assert back_to_source(R5, resource).record.custodians  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------ goldens and examples
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "consent"


@pytest.mark.parametrize("name", ["rich", "minimal"])
@pytest.mark.parametrize("release", [R4, R5])
def test_golden_records_are_written_and_read_byte_for_byte(name: str, release: Release) -> None:
    tree = json.parse_object((GOLDEN / f"{name}.record.json").read_bytes())
    resource = json.parse_object((GOLDEN / f"{name}.{release}.json").read_bytes())
    assert tree.pop("kind") == "consent"
    one = parse(Consent, tree)
    assert same(write(release, one), resource)
    reading = read(release, resource)
    assert reading.residue == ()
    assert same(to_json(reading.record), {"kind": "consent"} | tree)


def _without_literals(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: _without_literals(one)
            for name, one in node.items()
            if name not in ("reference", "text") or isinstance(one, dict)
        }
    return [_without_literals(one) for one in node] if isinstance(node, list) else node


@pytest.mark.parametrize("release", [R4, R5])
def test_the_worked_example_is_written_from_its_record(release: Release, shared: Path) -> None:
    """The only differences: id, literal references, meta, the ``text`` of concepts, and the order of extensions, which
    means nothing."""
    source = json.parse_object((shared / f"spec/examples/{release.upper()}-Consent.json").read_bytes())
    reading = back_to_source(release, source)
    resource = write(release, reading.record)  # type: ignore[arg-type]
    for one in (source, resource):
        del one["id"], one["meta"]
        one["extension"].sort(key=lambda extension: extension["url"])
    assert same(_without_literals(resource), _without_literals(source))
    kept = [entry for entry in reading.residue if not entry.path.startswith("meta")]
    assert {entry.path.rpartition(".")[2] for entry in kept} <= {"id", "reference", "text", "extension"}


REFUSED = {
    "R4/consent-example-Emergency": "Consent.provision.type",
    "R4/consent-example-Out": "Consent.provision.type",
    "R4/consent-example-grantor": "Consent.provision.type",
    "R4/consent-example-notAuthor": "Consent.provision.type",
    "R4/consent-example-notThem": "Consent.provision.type",
    "R4/consent-example-notThis": "Consent.provision.type",
    "R4/consent-example-pkb": "Consent.provision.type",
    "R4/consent-example-signature": "Consent.provision.type",
    "R5/consent-example-CDA": "Consent.grantee",
}


@pytest.mark.parametrize("release", [R4, R5])
def test_hl7_examples_come_back_as_they_were_or_are_refused_where_their_meaning_is_open(
    release: Release, shared: Path
) -> None:
    folder = shared / "corpora" / "hl7-examples" / release.upper() / "Consent"
    examples = sorted(folder.glob("*.json"))
    assert examples
    for path in examples:
        source = json.parse_object(path.read_bytes())
        place = REFUSED.get(f"{release.upper()}/{path.stem}")
        if place is None:
            back_to_source(release, source)
        else:
            assert place in [where for _, where in faults(release, source)], path.stem


def test_hapi_gives_integer64_as_a_number() -> None:
    """R5 wants the size of a document as a string; HAPI 8.8 answers with a number, which means the same."""
    record = json.parse_object((GOLDEN / "rich.record.json").read_bytes())
    record.pop("kind", None)
    mappings = Mappings(Binding(Clinic(DOMAIN, b"k" * 32), Release.R5), {"consent": KIND})
    source = json.parse_object(json.dump(mappings.to_fhir(parse(Consent, record)).parts[0].resource))
    source["sourceAttachment"][0]["size"] = int(source["sourceAttachment"][0]["size"])
    reading = mappings.from_fhir(source)
    assert json.canonical(to_json(reading.record)) == json.canonical({"kind": "consent", **record})
    assert [entry.path for entry in reading.residue] == ["sourceAttachment[0].size"]
    assert json.canonical(mappings.to_fhir(reading.record, reading.residue).parts[0].resource) == json.canonical(source)
