"""A consent, its provisions, and what became of it (specification §3.4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, LiteralString

from pydantic import StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.records.base import (
    REQUIRED,
    Code,
    Coding,
    Concept,
    Count,
    Flag,
    Language,
    Model,
    Period,
    Record,
    Ref,
    Text,
    Uri,
    about,
)
from fhirbridge.records.text import DateTime

# "other" is for consents of others that are about none of these, or do not say: such a consent permits nothing here.
ConsentType = Literal[
    "treatment",
    "privacy_sharing",
    "research",
    "rems_enrollment",
    "recording",
    "touch",
    "telehealth",
    "financial",
    "other",
]
ConsentState = Literal[
    "draft",
    "proposed",
    "active",
    "inactive",
    "refused",
    "withdrawn",
    "superseded",
    "expired",
    "entered_in_error",
    "unknown",
]
Effect = Literal["permit", "deny"]
Purpose = Literal[
    "treatment",
    "emergency_treatment",
    "payment",
    "operations",
    "quality_improvement",
    "patient_safety",
    "research",
    "clinical_trial",
    "public_health",
    "patient_request",
    "coordination_of_care",
    "break_the_glass",
]
Action = Literal["collect", "access", "use", "disclose", "correct"]
Label = Literal[
    "normal",
    "restricted",
    "very_restricted",
    "moderate",
    "low",
    "unrestricted",
    "psychiatry",
    "psychotherapy_notes",
    "mental_health",
    "behavioral_health",
    "substance_use",
    "substance_abuse",
]
ActorRole = Literal["recipient", "primary_recipient", "custodian"]
LegalBasis = Literal["common_rule", "hipaa_authorization", "hipaa_notice", "hipaa_research", "hipaa_restrictions"]
Category = Literal[
    "notice_of_privacy_practices",
    "research",
    "deidentified_data",
    "reidentifiable_data",
    "emergency_only",
    "privacy_acknowledgement",
    "release_of_information",
]
DataMeaning = Literal["instance", "related", "dependents", "authoredby"]
MediaType = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\s/;]+/[^\s/;]+( ?; ?[^\s;]+)*$")]
_BASE64 = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
Base64 = Annotated[str, StringConstraints(min_length=4, max_length=256, pattern=_BASE64)]
# A limit of ours, not of FHIR: no form states exceptions to exceptions much deeper than three levels.
MOST_LEVELS = 8


def refuse_empty(model: Model, reason: LiteralString) -> None:
    """Raise when every field of ``model`` is left out."""
    if all(value is None for value in model.__dict__.values()):
        raise PydanticCustomError("empty", reason)


class Actor(Model):
    """Whom a provision is about."""

    role: ActorRole | Concept = about("Role", example="recipient", default=REQUIRED)
    party: Ref = about("Who", example={"type": "Organization", "identifier": {"value": "UNIV"}}, default=REQUIRED)


class SpecificData(Model):
    """One piece of data a provision is about."""

    meaning: DataMeaning = about("How the reference is meant", example="instance", default=REQUIRED)
    item: Ref = about("The data", example={"type": "Procedure", "identifier": {"value": "6f2c1d0e"}}, default=REQUIRED)


class Provision(Model):
    """One rule: its effect where all its conditions hold, and the exceptions to it."""

    effect: Effect = about("Permit or deny", example="permit", default=REQUIRED)
    period: Period | None = about("When the rule holds", example={"start": "2026-11-01", "end": "2031-11-01"})
    actors: tuple[Actor, ...] = about(
        "For whom",
        example=[{"role": "recipient", "party": {"type": "Organization", "identifier": {"value": "UNIV"}}}],
        default=(),
    )
    actions: tuple[Action | Concept, ...] = about("Which actions", example=["disclose"], default=())
    purposes: tuple[Purpose | Coding, ...] = about("For which purposes", example=["research"], default=())
    labels: tuple[Label | Coding, ...] = about("Data with which labels", example=["psychotherapy_notes"], default=())
    resource_types: tuple[Code, ...] = about("Which FHIR resource types", example=["Observation"], default=())
    document_types: tuple[Coding, ...] = about(
        "Which documents", example=[{"system": "http://loinc.org", "code": "51851-4"}], default=()
    )
    codes: tuple[Concept, ...] = about("Data with which codes", example=[{"text": "ketamine"}], default=())
    data_period: Period | None = about("Data from when", example={"start": "2026-01-01"})
    data: tuple[SpecificData, ...] = about(
        "Which data exactly",
        example=[{"meaning": "instance", "item": {"type": "Procedure", "identifier": {"value": "6f2c1d0e"}}}],
        default=(),
    )
    exceptions: tuple[Provision, ...] = about(
        "Rules within this rule", example=[{"effect": "deny", "labels": ["psychotherapy_notes"]}], default=()
    )

    @property
    def conditional(self) -> bool:
        """Whether the rule has any condition beside its exceptions."""
        return any(value for name, value in self.__dict__.items() if name not in ("effect", "exceptions"))


class Capacity(Model):
    """Who gave the consent, and whether they could."""

    relationship: Concept | None = about("Relationship to the patient", example={"text": "mother"})
    capable: Flag | None = about("Whether the grantor had capacity", example=True)
    assessed_by: Ref | None = about(
        "Who assessed it", example={"type": "Practitioner", "identifier": {"value": "MD-2"}}
    )
    assessed_at: DateTime | None = about("When", example="2026-11-01T09:20:00-05:00")

    @model_validator(mode="after")
    def _says_something(self) -> Capacity:
        refuse_empty(self, "the capacity of the grantor needs at least one statement")
        return self


class Attachment(Model):
    """A signed document, by its address and fingerprint, never its content."""

    url: Uri | None = about("Where it lies", example="https://clinic.example/doc/3")
    content_type: MediaType | None = about("Media type", example="application/pdf")
    language: Language | None = about("Language", example="en")
    title: Text | None = about("Title", example="Research consent v3")
    size: Count | None = about("Bytes", example=48213, unit="By")
    hash: Base64 | None = about("SHA-1 in base64, as FHIR wants it", example="2jmj7l5rSw0yVb/vlWAYkK/YBwk=")
    creation: DateTime | None = about("When it was made", example="2026-11-01")

    @model_validator(mode="after")
    def _says_something(self) -> Attachment:
        refuse_empty(self, "an attachment needs at least a title or an address")
        return self


class SourceDocument(Model):
    """The paper behind the consent: a reference or an attachment."""

    reference: Ref | None = about(
        "Kept as a document", example={"type": "DocumentReference", "identifier": {"value": "DOC-3"}}
    )
    attachment: Attachment | None = about("Kept as a file", example={"title": "Research consent v3"})

    @model_validator(mode="after")
    def _one_of(self) -> SourceDocument:
        if (self.reference is None) == (self.attachment is None):
            raise PydanticCustomError("one_of", "give a reference or an attachment")
        return self


class Policy(Model):
    """The form or policy that was signed."""

    uri: Uri | None = about("Its address and version", example="https://clinic.example/policies/research-consent/v3")
    authority: Uri | None = about("Whose policy", example="https://clinic.example")

    @model_validator(mode="after")
    def _says_something(self) -> Policy:
        if self.uri is None and self.authority is None:
            raise PydanticCustomError("empty", "a policy needs an address or an authority")
        return self


class Witness(Model):
    """Who saw the signature."""

    party: Ref = about("Who", example={"type": "Practitioner", "identifier": {"value": "RN-7"}}, default=REQUIRED)
    at: DateTime | None = about("When", example="2026-11-01T09:30:00-05:00")
    role: Concept | None = about("In which role", example={"text": "impartial witness"})


class Interpreter(Model):
    """Who translated."""

    party: Ref | None = about("Who", example={"type": "Practitioner", "identifier": {"value": "INT-1"}})
    language: Language | None = about("Into which language", example="es")

    @model_validator(mode="after")
    def _says_something(self) -> Interpreter:
        if self.party is None and self.language is None:
            raise PydanticCustomError("empty", "an interpreter needs a party or a language")
        return self


class Verification(Model):
    """A check with the patient or family that the consent stands."""

    verified: Flag = about("Whether it was confirmed", example=True, default=REQUIRED)
    verified_with: Ref | None = about("With whom", example={"type": "Patient", "identifier": {"value": "P-1001"}})
    verified_by: Ref | None = about("By whom", example={"type": "Practitioner", "identifier": {"value": "RN-7"}})
    type: Concept | None = about("Kind of check", example={"text": "by telephone"})
    dates: tuple[DateTime, ...] = about("When", example=["2026-11-02T10:00:00-05:00"], default=())


class Withdrawal(Model):
    """The patient took the consent back."""

    at: DateTime = about("When", example="2026-12-01T08:00:00-05:00", default=REQUIRED)
    by: Ref | None = about("Who", example={"type": "Patient", "identifier": {"value": "P-1001"}})
    reason: Concept | None = about("Why", example={"text": "no longer wants to share"})
    scope: Literal["all", "future_sharing", "research"] | None = about("What is withdrawn", example="future_sharing")
    data_handling: Literal["keep", "retract", "delete", "notify"] | None = about(
        "What happens to data already shared", example="retract"
    )


class Consent(Record):
    """One consent, given or refused, with all its rules."""

    kind: ClassVar[str] = "consent"

    consent_type: ConsentType = about("What it is about", example="research", default=REQUIRED)
    scope: Concept | None = about(
        "How others coded its scope, where that says more than the type", example={"text": "privacy"}
    )
    state: ConsentState = about("Where it stands", example="active", default=REQUIRED)
    decision: Effect = about("What holds where no provision applies", example="deny", default=REQUIRED)
    provisions: tuple[Provision, ...] = about(
        "Exceptions to the decision",
        example=[{"effect": "permit", "purposes": ["research"], "resource_types": ["Observation"]}],
        default=(),
    )
    decision_implied: Literal[True] | None = about(
        "Whether the form states one rule only, so that the decision is no more than its implied opposite", example=True
    )
    period: Period | None = about("When it holds", example={"start": "2026-11-01", "end": "2031-11-01"})
    signed_at: DateTime = about("When it was signed", example="2026-11-01T09:30:00-05:00", default=REQUIRED)
    recorded_at: DateTime | None = about("When the record was made", example="2026-11-01T09:45:00-05:00")
    grantors: tuple[Ref, ...] = about(
        "Who consents: the patient or a guardian",
        example=[{"type": "Patient", "identifier": {"value": "P-1001"}}],
        default=(),
    )
    grantor_capacity: Capacity | None = about("Capacity of the grantor", example={"capable": True})
    custodians: tuple[Ref, ...] = about(
        "Organisation that keeps it", example=[{"type": "Organization", "identifier": {"value": "CLINIC"}}], default=()
    )
    categories: tuple[Category | Concept, ...] = about("Further categories", example=["deidentified_data"], default=())
    sources: tuple[SourceDocument, ...] = about(
        "Signed documents",
        example=[{"reference": {"type": "DocumentReference", "identifier": {"value": "DOC-3"}}}],
        default=(),
    )
    policies: tuple[Policy, ...] = about(
        "Form or policy versions",
        example=[{"uri": "https://clinic.example/policies/research-consent/v3"}],
        default=(),
    )
    legal_bases: tuple[LegalBasis | Concept, ...] = about("Legal bases", example=["common_rule"], default=())
    witnesses: tuple[Witness, ...] = about(
        "Witnesses", example=[{"party": {"type": "Practitioner", "identifier": {"value": "RN-7"}}}], default=()
    )
    interpreter: Interpreter | None = about("Interpreter", example={"language": "es"})
    language: Language | None = about("Language of the form", example="en")
    verifications: tuple[Verification, ...] = about("Checks", example=[{"verified": True}], default=())
    withdrawal: Withdrawal | None = about("Withdrawal", example={"at": "2026-12-01T08:00:00-05:00"})
    supersedes: Ref | None = about("Consent it replaces", example={"type": "Consent", "identifier": {"value": "11"}})
    studies: tuple[Ref, ...] = about(
        "Research studies", example=[{"type": "ResearchStudy", "identifier": {"value": "NCT0"}}], default=()
    )

    @model_validator(mode="after")
    def _withdrawn_says_when(self) -> Consent:
        if self.state == "withdrawn" and self.withdrawal is None:
            raise PydanticCustomError("withdrawal_missing", "a withdrawn consent says when it was withdrawn")
        return self

    @model_validator(mode="after")
    def _expired_says_when(self) -> Consent:
        # FHIR has no status for it: without an end, an expired consent would look as if it held (specification §3.4.1).
        if self.state == "expired" and (self.period is None or self.period.end is None):
            raise PydanticCustomError("end_missing", "an expired consent says in its period when it ended")
        return self

    @model_validator(mode="after")
    def _implied_by_one_rule(self) -> Consent:
        if self.decision_implied:
            rule = self.provisions[0] if len(self.provisions) == 1 else None
            if rule is None or rule.effect == self.decision or not rule.conditional or rule.period is not None:
                raise PydanticCustomError(
                    "decision_implied",
                    "a decision is implied by one rule of the opposite effect, with a condition, without a period",
                )
        return self

    @model_validator(mode="after")
    def _not_too_deep(self) -> Consent:
        if _levels(self.provisions) > MOST_LEVELS:
            raise PydanticCustomError("too_deep", f"rules nest at most {MOST_LEVELS} levels deep")
        return self


def _levels(provisions: Iterable[Provision]) -> int:
    return max((1 + _levels(one.exceptions) for one in provisions), default=0)
