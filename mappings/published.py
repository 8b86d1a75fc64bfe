"""Extensions that others published and we reuse (specification §5): HL7's own, and those of the adverse-event guides."""

from __future__ import annotations

from fhirbridge.codec.extension import Definition, PartDefinition, Type

_HL7 = "http://hl7.org/fhir/StructureDefinition"

BODY_POSITION = Definition(
    "observation-bodyPosition",
    ("Observation",),
    "Position of the body",
    types=(Type("CodeableConcept"),),
    url=f"{_HL7}/observation-bodyPosition",
)
CONSENT_WITNESS = Definition(
    "consent-Witness",
    ("Consent",),
    "Witness",
    types=(Type("Reference"),),
    url=f"{_HL7}/consent-Witness",
)
SUPPORTING_INFO = Definition(
    "workflow-supportingInfo",
    ("Procedure",),
    "Other records it rests on",
    types=(Type("Reference"),),
    many=True,
    url=f"{_HL7}/workflow-supportingInfo",
)
RESEARCH_STUDY = Definition(
    "workflow-researchStudy",
    ("Consent",),
    "Research study",
    types=(Type("Reference"),),
    many=True,
    url=f"{_HL7}/workflow-researchStudy",
)


def adverse_event_guide(root: str) -> dict[str, Definition]:
    """The extensions of one of the two adverse-event guides, which share names but not roots (specification §5)."""
    simple = {
        "resolve-date": "dateTime",
        "ae-grade": "CodeableConcept",
        "ae-severity": "CodeableConcept",
        "note": "Annotation",
        "status": "code",
        "expected-in-research-study": "boolean",
        "caused-subject-to-discontinue-study": "boolean",
        "resultingEffect": "Reference",
    }
    many = {"note", "resultingEffect"}
    found = {
        name: Definition(
            name,
            ("AdverseEvent",),
            name,
            types=(Type(code),),
            many=name in many,
            url=f"{root}/StructureDefinition/{name}",
        )
        for name, code in simple.items()
    }
    found["seriousness-criteria"] = Definition(
        "seriousness-criteria",
        ("AdverseEvent",),
        "Criterion of seriousness",
        parts={
            "criterionCode": PartDefinition(Type("CodeableConcept"), "Criterion"),
            "criterionPresent": PartDefinition(Type("boolean"), "Whether it is met"),
        },
        many=True,
        url=f"{root}/StructureDefinition/seriousness-criteria",
    )
    return found


AE4 = adverse_event_guide("http://hl7.org/fhir/uv/ae-research-backport-ig")
AE5 = adverse_event_guide("http://hl7.org/fhir/uv/ae-research-ig")
