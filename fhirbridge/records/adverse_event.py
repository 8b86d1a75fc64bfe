"""An adverse event or a near miss (specification §3.5)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.records.base import (
    REQUIRED,
    Amount,
    Code,
    Coding,
    Concept,
    Flag,
    Identifier,
    Model,
    Record,
    Ref,
    Text,
    about,
    check_order,
)
from fhirbridge.records.plausible import check_amount
from fhirbridge.records.text import DateTime

EventStatus = Literal["draft", "in_progress", "completed", "amended", "entered_in_error", "unknown"]
EventTerm = Literal[
    "nausea", "vomiting", "dizziness", "vertigo", "headache", "anxiety", "panic_attack", "sedation", "drowsiness",
    "blood_pressure_increased", "hypotension", "tachycardia", "bradycardia", "palpitations", "chest_pain", "syncope",
    "loss_of_consciousness", "hypoventilation", "apnea", "hypoxemia", "dyspnea", "disorientation", "confusion",
    "acute_confusion", "hallucinations", "psychotic_disorder", "drug_induced_psychosis", "mania", "hypomania",
    "agitation", "blurred_vision", "diplopia", "nystagmus", "dysgeusia", "hypoesthesia", "numbness", "paresthesia",
    "hypersalivation", "anaphylaxis", "ataxia", "dysarthria", "tremor", "amnesia", "memory_impairment",
    "impaired_cognition", "fatigue", "nightmares", "cystitis", "hemorrhagic_cystitis", "dysuria", "urinary_urgency",
    "urinary_frequency", "misuse", "drug_abuse", "drug_dependence", "ketamine_anxiety_disorder", "fall",
    "suicidal_thoughts", "dissociation",
]  # fmt: skip
MishapCategory = Literal[
    "medication_mishap", "procedure_mishap", "wrong_patient", "clinical_research", "device", "unsafe_environment",
    "product_problem", "product_quality", "product_use_error", "wrong_dose", "wrong_technique", "wrong_route",
    "wrong_rate", "wrong_duration", "wrong_time", "expired_drug", "incorrect_prescribing_information",
    "device_use_error",
]  # fmt: skip
Severity = Literal["mild", "moderate", "severe"]
EventOutcome = Literal["resolved", "recovering", "ongoing", "resolved_with_sequelae", "fatal", "unknown"]
SeriousnessCriterion = Literal[
    "death",
    "life_threatening",
    "hospitalization",
    "disability",
    "birth_defect",
    "other_important",
    "intervention_required",
]
CausalityAssessment = Literal["certain", "probable", "possible", "unlikely", "conditional", "unassessable"]
Relatedness = Literal["not_related", "unlikely_related", "possibly_related", "related"]
CausalityMethod = Literal["probability_scale", "bayesian", "checklist"]
ParticipantFunction = Literal["informant", "witness", "author"]
ActionTaken = Literal[
    "dose_not_changed",
    "dose_reduced",
    "dose_increased",
    "drug_interrupted",
    "drug_withdrawn",
    "not_applicable",
    "unknown",
]
Expectedness = Literal["expected", "unexpected", "unknown"]
SpecialInterest = Literal[
    "sedation",
    "dissociation",
    "bp_increase",
    "respiratory_depression",
    "abuse_misuse",
    "suicidality",
    "bladder",
    "loss_of_consciousness",
]
Grade = Annotated[int, Strict(), Field(ge=1, le=5)]
# Never the other way round: a grade says more than a severity (specification §3.5).
SEVERITY_OF_GRADE: dict[int, Severity] = {1: "mild", 2: "moderate", 3: "severe", 4: "severe", 5: "severe"}


# R4 lists only these as contributors (specification §3.5); anybody else took part in another way.
CONTRIBUTORS = ("Practitioner", "PractitionerRole", "Device")


def target_of(type_: str | None, literal: str | None) -> str | None:
    """The FHIR type that a reference with this ``type`` and this literal address points to, as far as it says."""
    if type_ is not None or literal is None or "/" not in literal:
        return type_
    return literal.partition("/_history")[0].split("/")[-2]


def may_contribute(target: str | None) -> bool:
    """Whether somebody without a function counts as a contributor."""
    return target is None or target in CONTRIBUTORS


def each_once(values: Iterable[Hashable], what: str) -> None:
    """Refuse a list that says the same thing twice."""
    values = list(values)
    if len(values) > 1 and len(set(values)) != len(values):
        raise PydanticCustomError("repeated", "{what} is listed twice", {"what": what})


class Detail(Model):
    """A part of a record in which no field is required, but one must be there."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise PydanticCustomError("empty", "at least one field is needed here")
        return self


class Causality(Detail):
    """One assessment of whether a suspect caused the event."""

    assessment: CausalityAssessment | Concept | None = about("WHO-UMC category", example="probable")
    relatedness: Relatedness | None = about("Relatedness as research asks for it", example="related")
    relatedness_text: Text | None = about("Relatedness in words", example="started 10 min after the dose")
    method: CausalityMethod | Concept | None = about("Method of the assessment", example="checklist")
    author: Ref | None = about("Who assessed", example={"type": "Practitioner", "identifier": {"value": "MD-2"}})

    @model_validator(mode="after")
    def _words_once(self) -> Causality:
        # R5 has one text for the assessment and for the relatedness in words (trap T1).
        if isinstance(self.assessment, Concept) and self.assessment.text is not None:
            raise PydanticCustomError("one_of", "the words of an assessment stand in relatedness_text")
        return self


class Suspect(Model):
    """What may have caused the event: a session, an administration, a drug."""

    instance: Ref | None = about("The thing", example={"type": "Procedure", "identifier": {"value": "6f2c1d0e"}})
    drug: Concept | None = about("A drug known only by its code", example={"text": "ketamine"})
    causality: tuple[Causality, ...] = about("Assessments", example=[{"assessment": "probable"}], default=())

    @model_validator(mode="after")
    def _one_of(self) -> Suspect:
        if (self.instance is None) == (self.drug is None):
            raise PydanticCustomError("one_of", "give an instance or a drug")
        return self


class Participant(Model):
    """Who saw, told or wrote down the event, in which function; or who took part without being staff or a device."""

    actor: Ref = about("Who", example={"type": "Practitioner", "identifier": {"value": "RN-7"}}, default=REQUIRED)
    function: ParticipantFunction | Concept | None = about("Function", example="informant")

    @model_validator(mode="after")
    def _took_part(self) -> Participant:
        if self.function is None and may_contribute(target_of(self.actor.type, self.actor.literal)):
            raise PydanticCustomError("function", "give a function, or list them under contributors")
        return self


class Action(Model):
    """What was done about the event."""

    taken: ActionTaken | None = about("Action taken with the drug", example="drug_interrupted")
    text: Text | None = about("The action in words", example="Infusion paused 10 min")
    treatment: Concept | None = about("Treatment given, as a concept", example={"text": "ondansetron 4 mg"})
    given: Ref | None = about(
        "Treatment given, as a record", example={"type": "MedicationAdministration", "identifier": {"value": "MA-9"}}
    )

    @model_validator(mode="before")
    @classmethod
    def _without_echo(cls, data: Any) -> Any:
        # Words that only repeat the action say nothing more than the action, and would be taken for its label.
        taken = data.get("taken") if isinstance(data, dict) else None
        if isinstance(taken, str) and data.get("text") == taken.replace("_", " "):
            return {name: value for name, value in data.items() if name != "text"}
        return data

    @model_validator(mode="after")
    def _one_of(self) -> Action:
        if (self.taken is not None) + (self.treatment is not None) + (self.given is not None) != 1:
            raise PydanticCustomError("one_of", "give taken, treatment or given")
        if self.taken is None and self.text is not None:
            raise PydanticCustomError("one_of", "text belongs to taken")
        return self


class Expected(Model):
    """Whether the event was to be expected."""

    value: Expectedness | Concept = about("Expected or not", example="expected", default=REQUIRED)
    reference: Text | None = about("By which safety information", example="US label")


class Ctcae(Detail):
    """Term and grade of the Common Terminology Criteria for Adverse Events."""

    version: Text | None = about("Version", example="5.0")
    term: Concept | None = about("Term", example={"text": "Hypertension"})
    grade: Grade | None = about("Grade", example=2)


class Meddra(Detail):
    """MedDRA coding, where the clinic is licensed for it."""

    version: Text | None = about("Version", example="27.0")
    llt: Coding | None = about("Lowest level term", example={"system": "https://www.meddra.org", "code": "10005750"})
    pt: Coding | None = about("Preferred term", example={"system": "https://www.meddra.org", "code": "10005750"})
    soc: Coding | None = about("System organ class", example={"system": "https://www.meddra.org", "code": "10022891"})


class RegulatoryReport(Detail):
    """A report to an authority or a programme."""

    authority: Concept | None = about("To whom", example={"text": "SPRAVATO REMS"})
    submitted_at: DateTime | None = about("When", example="2026-11-22T09:00:00-05:00")
    number: Identifier | None = about("Its number", example={"system": "https://fda.example/reports", "value": "1"})
    status: Code | None = about("Its status", example="submitted")


class AdverseEvent(Record):
    """One adverse event, or one that nearly happened."""

    kind: ClassVar[str] = "adverse_event"

    record_status: EventStatus = about("Where the record stands", example="completed", default=REQUIRED)
    actuality: Literal["actual", "potential"] = about("Happened, or a near miss", example="actual", default=REQUIRED)
    verbatim: Text = about("The event in the reporter's words", example="blood pressure increased", default=REQUIRED)
    term: EventTerm | None = about("The clinic's word for it", example="blood_pressure_increased")
    codings: tuple[Coding, ...] = about(
        "Further codes", example=[{"system": "http://snomed.info/sct", "code": "24184005"}], default=()
    )
    meddra: Meddra | None = about("MedDRA coding", example={"version": "27.0"})
    categories: tuple[MishapCategory | Concept, ...] = about(
        "Kind of mishap", example=["medication_mishap"], default=()
    )
    onset: DateTime | None = about("When it began", example="2026-11-20T10:41:00-05:00")
    resolved_at: DateTime | None = about("When it was over", example="2026-11-20T11:30:00-05:00")
    onset_offset: Amount | None = about(
        "Time from the dose to the onset", example={"value": 41, "unit": "min"}, unit="min"
    )
    detected_at: DateTime | None = about("When it was noticed", example="2026-11-20T10:41:00-05:00")
    recorded_at: DateTime | None = about("When it was recorded", example="2026-11-20T12:10:00-05:00")
    recorded_by: Ref | None = about(
        "Who recorded it", example={"type": "Practitioner", "identifier": {"value": "RN-7"}}
    )
    contributors: tuple[Ref, ...] = about(
        "Who else reported it", example=[{"type": "Practitioner", "identifier": {"value": "MD-2"}}], default=()
    )
    participants: tuple[Participant, ...] = about(
        "Who took part, in which function",
        example=[{"actor": {"type": "Patient", "identifier": {"value": "P-1001"}}, "function": "informant"}],
        default=(),
    )
    location: Ref | None = about("Where", example={"type": "Location", "identifier": {"value": "ROOM-1"}})
    serious: Flag | None = about("Serious in the regulatory sense", example=True)
    seriousness_criteria: tuple[SeriousnessCriterion | Concept, ...] = about(
        "Why serious", example=["other_important"], default=()
    )
    criteria_ruled_out: tuple[SeriousnessCriterion | Concept, ...] = about(
        "Criteria of seriousness that were looked at and not met", example=["life_threatening"], default=()
    )
    severity: Severity | None = about("Severity; follows from the grade when left out", example="moderate")
    grade: Grade | None = about("CTCAE grade", example=2)
    ctcae: Ctcae | None = about("CTCAE term", example={"version": "5.0", "grade": 2})
    outcome: EventOutcome | Concept | None = about(
        "How it ended; a concept of somebody else's can be written in R5 only", example="resolved"
    )
    suspects: tuple[Suspect, ...] = about(
        "What may have caused it",
        example=[{"instance": {"type": "Procedure", "identifier": {"value": "6f2c1d0e"}}}],
        default=(),
    )
    expectedness: Expected | None = about("Expected or not", example={"value": "expected", "reference": "US label"})
    expected_in_study: Flag | None = about("Expected in the research study", example=False)
    actions: tuple[Action, ...] = about(
        "What was done", example=[{"taken": "drug_interrupted", "text": "Infusion paused 10 min"}], default=()
    )
    dechallenge: Concept | None = about("What happened when the drug was stopped", example={"text": "positive"})
    rechallenge: Concept | None = about("What happened when it was given again", example={"text": "not done"})
    preventive_actions: tuple[Concept, ...] = about(
        "To prevent the next", example=[{"text": "slower infusion"}], default=()
    )
    resulting_conditions: tuple[Ref, ...] = about(
        "Diagnoses that resulted", example=[{"type": "Condition", "identifier": {"value": "D-2"}}], default=()
    )
    resulting_findings: tuple[Ref, ...] = about(
        "Findings that resulted", example=[{"type": "Observation", "identifier": {"value": "VS-1"}}], default=()
    )
    medical_history: tuple[Ref, ...] = about(
        "Relevant history", example=[{"type": "Condition", "identifier": {"value": "D-1"}}], default=()
    )
    documents: tuple[Ref, ...] = about(
        "Documents", example=[{"type": "DocumentReference", "identifier": {"value": "DOC-5"}}], default=()
    )
    supporting_info: tuple[Concept | Ref, ...] = about(
        "Whatever else bears on the event", example=[{"text": "fasting since midnight"}], default=()
    )
    contributing_factors: tuple[Concept | Ref, ...] = about(
        "What contributed", example=[{"text": "missed antihypertensive"}], default=()
    )
    studies: tuple[Ref, ...] = about(
        "Research studies", example=[{"type": "ResearchStudy", "identifier": {"value": "NCT0"}}], default=()
    )
    discontinued_study: Flag | None = about("Whether it ended the patient's part in the study", example=False)
    regulatory_reports: tuple[RegulatoryReport, ...] = about(
        "Reports to authorities", example=[{"authority": {"text": "FDA MedWatch"}}], default=()
    )
    special_interest: tuple[SpecialInterest, ...] = about(
        "Of special interest (REMS)", example=["bp_increase"], default=()
    )

    @model_validator(mode="before")
    @classmethod
    def _severity_of_grade(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("severity") is None:
            grade, ctcae = data.get("grade"), data.get("ctcae")
            if grade is None:
                grade = ctcae.get("grade") if isinstance(ctcae, dict) else getattr(ctcae, "grade", None)
            if type(grade) is int and grade in SEVERITY_OF_GRADE:
                return {**data, "severity": SEVERITY_OF_GRADE[grade]}
        return data

    @model_validator(mode="after")
    def _holds_together(self) -> AdverseEvent:
        check_order(self.onset, self.resolved_at)
        check_amount(self.onset_offset, "offset")
        if self.seriousness_criteria and not self.serious:
            raise PydanticCustomError("seriousness", "criteria of seriousness belong to a serious event")
        if self.grade is not None and self.ctcae is not None and self.ctcae.grade not in (None, self.grade):
            raise PydanticCustomError("grade", "the two grades differ")
        each_once((*self.seriousness_criteria, *self.criteria_ruled_out), "a criterion of seriousness")
        each_once(self.special_interest, "a special interest")
        each_once(((suspect.instance, suspect.drug) for suspect in self.suspects), "a suspect")
        return self

    @model_validator(mode="after")
    def _in_its_list(self) -> AdverseEvent:
        # Other releases and other lists tell these apart by the type of the target alone.
        if not all(may_contribute(target_of(ref.type, ref.literal)) for ref in self.contributors):
            raise PydanticCustomError("target", "contributors are staff or devices; list others under participants")
        if any(target_of(ref.type, ref.literal) == "Observation" for ref in self.resulting_conditions):
            raise PydanticCustomError("target", "list an Observation under resulting_findings")
        if not all(target_of(ref.type, ref.literal) == "Observation" for ref in self.resulting_findings):
            raise PydanticCustomError("target", "resulting_findings are of type Observation")
        return self
