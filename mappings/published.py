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
RESEARCH_STUDY = Definition(
    "workflow-researchStudy",
    ("Consent",),
    "Research study",
    types=(Type("Reference"),),
    many=True,
    url=f"{_HL7}/workflow-researchStudy",
)


def _guide(root: str, simple: dict[str, str], many: frozenset[str] = frozenset()) -> dict[str, Definition]:
    """The extensions of one of the two adverse-event guides by name: those that both have, and ``simple`` ones."""
    url = f"{root}/StructureDefinition"
    both = {"ae-grade": "CodeableConcept", "caused-subject-to-discontinue-study": "boolean"}
    found = {
        name: Definition(name, ("AdverseEvent",), name, types=(Type(code),), many=name in many, url=f"{url}/{name}")
        for name, code in (both | simple).items()
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
        url=f"{url}/seriousness-criteria",
    )
    return found


_BACKPORT = "http://hl7.org/fhir/uv/ae-research-backport-ig"
# The guides share names but not roots (specification §5): AE4 is for R4 and R4B, AE5 for R5.
AE4 = _guide(
    _BACKPORT,
    {
        "status": "code",
        "resolve-date": "dateTime",
        "note": "Annotation",
        "expected-in-research-study": "boolean",
        "resultingEffect": "Reference",
    },
    frozenset({"note", "resultingEffect"}),
)
AE4["participant"] = Definition(
    "participant",
    ("AdverseEvent",),
    "Who took part",
    parts={
        "function": PartDefinition(Type("CodeableConcept"), "In which function"),
        "actor": PartDefinition(Type("Reference"), "Who"),
    },
    many=True,
    url=f"{_BACKPORT}/StructureDefinition/participant",
)
AE5 = _guide("http://hl7.org/fhir/uv/ae-research-ig", {"ae-severity": "CodeableConcept"})

# Each holds one part, ``item``, that is a CodeableConcept or a Reference: R5's ``item[x]``.
MITIGATING_ACTION = f"{_BACKPORT}/StructureDefinition/mitigating-action"
CONTRIBUTING_FACTOR = f"{_BACKPORT}/StructureDefinition/contributing-factor"
AE_SUPPORTING_INFO = f"{_BACKPORT}/StructureDefinition/supporting-info"
# Holds R5's ``suspectEntity`` part by part. The profile of the guide wants it in place of the native element.
SUSPECT_ENTITY = f"{_BACKPORT}/StructureDefinition/suspect-entity"

# What HL7's cross-version package calls elements of R5 in R4: read, never written (trap T20).
_XVER = "http://hl7.org/fhir/5.0/StructureDefinition/extension-AdverseEvent"
XVER_STATUS = f"{_XVER}.status"
XVER_OCCURRENCE = f"{_XVER}.occurrence"
