"""The project's own extensions (specification §5), each said once.

The rules of the mappings take URL and type from here, and the StructureDefinitions that a hospital installs are generated
from here, so neither can say what the other does not. Only datatypes that R4, R4B and R5 share are used (decision D3).
"""

from __future__ import annotations

from fhirbridge.codec.extension import Definition, PartDefinition, Type

RECORDS = ("Procedure", "Observation", "Consent", "AdverseEvent")

INTERNAL_STATUS = Definition(
    "internal-status",
    RECORDS,
    "Status in the clinic's record, where the FHIR status is coarser",
    types=(Type("code"),),
)
RECORDED_AT = Definition(
    "recorded-at",
    (
        "Consent",
        "Procedure",
    ),
    "When the record was made (Procedure: R4 and R4B)",
    types=(Type("dateTime"),),
)
NOTE = Definition(
    "note",
    ("Consent",),
    "Note on the consent",
    types=(Type("Annotation"),),
    many=True,
)
RELATED_ENCOUNTER = Definition(
    "related-encounter",
    ("Consent",),
    "Encounter in which the consent was given",
    types=(Type("Reference", targets=("Encounter",)),),
)
ADDITIONAL_IDENTIFIER = Definition(
    "additional-identifier",
    ("AdverseEvent",),
    "Further identifier (R4 and R4B allow one)",
    types=(Type("Identifier"),),
    many=True,
)
SESSION_NUMBER = Definition(
    "session-number",
    ("Procedure",),
    "Number of the session within its series",
    types=(Type("positiveInt"),),
)
TREATMENT_SERIES = Definition(
    "treatment-series",
    ("Procedure",),
    "Series of sessions that this one belongs to",
    parts={
        "identifier": PartDefinition(Type("Identifier"), "Identifier of the series"),
        "phase": PartDefinition(
            Type("CodeableConcept", value_set="treatment-phase", strength="extensible"), "Phase of treatment"
        ),
        "plannedSessions": PartDefinition(Type("positiveInt"), "Number of sessions planned"),
        "protocol": PartDefinition(Type("string"), "Protocol"),
    },
)
KETAMINE_ADMINISTRATION = Definition(
    "ketamine-administration",
    ("Procedure",),
    "One drug given in the session",
    parts={
        "identifier": PartDefinition(Type("Identifier"), "Identifier of this administration"),
        "medication": PartDefinition(Type("CodeableConcept"), "Drug given"),
        "route": PartDefinition(Type("CodeableConcept"), "Route of administration"),
        "dose": PartDefinition(Type("Quantity"), "Dose given, in mg"),
        "dosePerWeight": PartDefinition(Type("Quantity"), "Dose by body weight, in mg/kg"),
        "dosingWeight": PartDefinition(Type("Quantity"), "Body weight that the dose was calculated with"),
        "dosingWeightKind": PartDefinition(
            Type("code", value_set="dosing-weight-kind"), "Kind of weight: actual, ideal or adjusted"
        ),
        "rate": PartDefinition(Type("Quantity"), "Rate of the infusion"),
        "period": PartDefinition(Type("Period"), "Start and end of the administration"),
        "formulation": PartDefinition(Type("CodeableConcept"), "Formulation"),
        "concentration": PartDefinition(Type("Quantity"), "Concentration, in mg/mL"),
        "volume": PartDefinition(Type("Quantity"), "Volume given, in mL"),
        "deviceCount": PartDefinition(Type("positiveInt"), "Number of nasal devices"),
        "lotNumber": PartDefinition(Type("string"), "Lot number"),
        "expiry": PartDefinition(Type("date"), "Expiry date"),
        "product": PartDefinition(Type("CodeableConcept"), "Product, e.g. by NDC"),
        "site": PartDefinition(Type("CodeableConcept"), "Site, e.g. nostril or muscle"),
        "selfAdministered": PartDefinition(Type("boolean"), "Whether the patient gave it to themselves"),
        "wasted": PartDefinition(Type("Quantity"), "Amount wasted"),
        "status": PartDefinition(
            Type("code", value_set="http://hl7.org/fhir/ValueSet/medication-admin-status"),
            "Status of this administration",
        ),
        "statusReason": PartDefinition(Type("CodeableConcept"), "Reason for the status"),
    },
    many=True,
)
DOSE_PER_WEIGHT = Definition(
    "dose-per-weight",
    ("MedicationAdministration.dosage",),
    "Dose by body weight, in mg/kg",
    types=(Type("Quantity"),),
)
SUPPORTING_RECORD = Definition(
    "supporting-record",
    ("Procedure",),
    "Record that the session rests on (R4 and R4B have no element)",
    types=(Type("Reference"),),
    many=True,
)
PERFORMER_PERIOD = Definition(
    "performer-period",
    ("Procedure.performer",),
    "When the performer took part (R4 and R4B have no element)",
    types=(Type("Period"),),
)
PERFORMER_ON_BEHALF_OF = Definition(
    "performer-on-behalf-of",
    ("Procedure.performer",),
    "Organization a practitioner acted for (R5 invariant prc-1 forbids the element)",
    types=(Type("Reference", targets=("Organization",)),),
)
MONITORING_PERIOD = Definition(
    "monitoring-period",
    ("Procedure",),
    "From the first dose to the end of monitoring",
    types=(Type("Period"),),
)
DISCHARGE_READINESS = Definition(
    "discharge-readiness",
    ("Procedure",),
    "Readiness to leave the clinic",
    parts={
        "ready": PartDefinition(Type("boolean"), "Whether the patient was ready to leave"),
        "assessedAt": PartDefinition(Type("dateTime"), "When that was assessed"),
        "assessedBy": PartDefinition(
            Type(
                "Reference",
                targets=(
                    "Practitioner",
                    "PractitionerRole",
                ),
            ),
            "Who assessed it",
        ),
        "tool": PartDefinition(Type("CodeableConcept"), "Scale used"),
        "score": PartDefinition(Type("Quantity"), "Score on that scale"),
        "escortPresent": PartDefinition(Type("boolean"), "Whether an escort was present"),
        "leftAt": PartDefinition(Type("dateTime"), "When the patient left"),
        "minutesToReady": PartDefinition(Type("Duration"), "Time from the dose until the patient was ready"),
    },
)
REMS_SESSION = Definition(
    "rems-session",
    ("Procedure",),
    "REMS data of the session",
    parts={
        "program": PartDefinition(
            Type("CodeableConcept", value_set="rems-program", strength="extensible"), "REMS programme"
        ),
        "enrolled": PartDefinition(Type("boolean"), "Whether the patient is enrolled"),
        "firstTreatment": PartDefinition(Type("boolean"), "Whether this is the first treatment"),
        "enrollmentId": PartDefinition(Type("Identifier"), "Enrolment identifier"),
        "formSubmittedAt": PartDefinition(Type("dateTime"), "When the monitoring form was submitted"),
        "formId": PartDefinition(Type("Identifier"), "Identifier of the monitoring form"),
    },
)
CONCOMITANT_MEDICATION_FLAG = Definition(
    "concomitant-medication-flag",
    ("Procedure",),
    "Concomitant medicines by class",
    parts={
        "class": PartDefinition(
            Type("CodeableConcept", value_set="concomitant-class", strength="extensible"), "Class of medicines"
        ),
        "taking": PartDefinition(Type("boolean"), "Whether the patient takes one"),
    },
    many=True,
)
VITALS_ACCEPTABLE = Definition(
    "vitals-acceptable",
    ("Procedure",),
    "Whether vital signs were acceptable",
    parts={
        "preAdministration": PartDefinition(Type("boolean"), "Acceptable before administration"),
        "preCompletion": PartDefinition(Type("boolean"), "Acceptable before completion"),
    },
)
KAP_DETAIL = Definition(
    "kap-detail",
    ("Procedure",),
    "Details of ketamine-assisted psychotherapy",
    parts={
        "phase": PartDefinition(Type("code"), "Phase of ketamine-assisted psychotherapy"),
        "setting": PartDefinition(Type("CodeableConcept"), "Setting"),
        "touchConsent": PartDefinition(Type("Reference", targets=("Consent",)), "Consent to touch"),
        "music": PartDefinition(Type("boolean"), "Whether music was played"),
        "integrationDate": PartDefinition(Type("dateTime"), "Date of the integration session"),
    },
)
ADVERSE_EVENT_REF = Definition(
    "adverse-event-ref",
    ("Procedure",),
    "Adverse event of the session",
    types=(Type("Reference", targets=("AdverseEvent",)),),
    many=True,
)
FOLLOW_UP_DATE = Definition(
    "follow-up-date",
    ("Procedure",),
    "Date of the next visit",
    types=(Type("dateTime"),),
)
NOMINAL_TIMEPOINT = Definition(
    "nominal-timepoint",
    ("Observation",),
    "Planned time of the measurement",
    types=(Type("CodeableConcept", value_set="nominal-timepoint", strength="extensible"),),
)
OFFSET_FROM_DOSE = Definition(
    "offset-from-dose",
    (
        "Observation",
        "AdverseEvent",
    ),
    "Time since the dose; may be negative",
    types=(Type("Duration"),),
)
REPLICATE_NUMBER = Definition(
    "replicate-number",
    ("Observation",),
    "Number of the repeat measurement",
    types=(Type("positiveInt"),),
)
DERIVATION = Definition(
    "derivation",
    (
        "Observation",
        "Observation.component",
    ),
    "How the value came about",
    types=(Type("code", value_set="derivation"),),
)
O2_DELIVERY = Definition(
    "o2-delivery",
    ("Observation",),
    "Oxygen delivery during the measurement",
    types=(Type("CodeableConcept", value_set="o2-delivery", strength="extensible"),),
)
O2_FLOW = Definition(
    "o2-flow",
    ("Observation",),
    "Oxygen flow during the measurement, in L/min",
    types=(Type("Quantity"),),
)
CUFF_SIZE = Definition(
    "cuff-size",
    ("Observation",),
    "Cuff size",
    types=(Type("CodeableConcept"),),
)
ORIGINAL_QUANTITY = Definition(
    "original-quantity",
    (
        "Observation",
        "Observation.component",
    ),
    "Value as recorded, before conversion",
    types=(Type("Quantity"),),
)
INSTRUMENT = Definition(
    "instrument",
    ("Observation",),
    "Instrument that a score belongs to",
    parts={
        "url": PartDefinition(Type("uri"), "Canonical URL of the instrument"),
        "version": PartDefinition(Type("string"), "Version of the instrument"),
        "language": PartDefinition(Type("code"), "Language in which it was used"),
        "recall": PartDefinition(Type("string"), "Recall period"),
    },
)
ADMINISTRATION_MODE = Definition(
    "administration-mode",
    ("Observation",),
    "How the instrument was administered",
    types=(Type("code"),),
)
CONSENTED_AT = Definition(
    "consented-at",
    ("Consent",),
    "Time of signing (R5 has only a date)",
    types=(Type("dateTime"),),
)
PROVISION_EFFECT = Definition(
    "provision-effect",
    (
        "Consent.provision",
        "Consent.provision.provision",
    ),
    "Effect of the provision (R5 has no element)",
    types=(Type("code", value_set="http://hl7.org/fhir/ValueSet/consent-provision-type"),),
)
WITHDRAWAL = Definition(
    "withdrawal",
    ("Consent",),
    "Withdrawal of the consent",
    parts={
        "at": PartDefinition(Type("dateTime"), "When consent was withdrawn"),
        "by": PartDefinition(
            Type(
                "Reference",
                targets=(
                    "Practitioner",
                    "PractitionerRole",
                    "Patient",
                    "RelatedPerson",
                    "Organization",
                ),
            ),
            "Who withdrew it",
        ),
        "reason": PartDefinition(Type("CodeableConcept"), "Reason"),
        "scope": PartDefinition(Type("code"), "Scope of the withdrawal"),
        "dataHandling": PartDefinition(Type("code"), "What happens to data already shared"),
    },
)
WITNESS = Definition(
    "witness",
    ("Consent",),
    "Witness of the consent",
    parts={
        "party": PartDefinition(
            Type(
                "Reference",
                targets=(
                    "Practitioner",
                    "PractitionerRole",
                    "Patient",
                    "RelatedPerson",
                    "Organization",
                ),
            ),
            "Witness",
        ),
        "at": PartDefinition(Type("dateTime"), "When they witnessed"),
        "role": PartDefinition(Type("CodeableConcept"), "Their role"),
    },
    many=True,
)
GRANTOR_CAPACITY = Definition(
    "grantor-capacity",
    ("Consent",),
    "Capacity of the grantor",
    parts={
        "relationship": PartDefinition(Type("CodeableConcept"), "Relationship of the grantor to the patient"),
        "capable": PartDefinition(Type("boolean"), "Whether the grantor had capacity"),
        "assessedBy": PartDefinition(
            Type(
                "Reference",
                targets=(
                    "Practitioner",
                    "PractitionerRole",
                ),
            ),
            "Who assessed it",
        ),
        "assessedAt": PartDefinition(Type("dateTime"), "When it was assessed"),
    },
)
SUPERSEDES = Definition(
    "supersedes",
    ("Consent",),
    "Consent that this one replaces",
    types=(Type("Reference", targets=("Consent",)),),
)
INTERPRETER = Definition(
    "interpreter",
    ("Consent",),
    "Interpreter",
    parts={
        "party": PartDefinition(
            Type(
                "Reference",
                targets=(
                    "Practitioner",
                    "PractitionerRole",
                    "Patient",
                    "RelatedPerson",
                    "Organization",
                ),
            ),
            "Interpreter",
        ),
        "language": PartDefinition(Type("code"), "Language"),
    },
)
ADDITIONAL_SOURCE = Definition(
    "additional-source",
    ("Consent",),
    "Further source document (R4 and R4B allow one)",
    types=(
        Type(
            "Reference",
            targets=(
                "Consent",
                "DocumentReference",
                "Contract",
                "QuestionnaireResponse",
            ),
        ),
        Type("Attachment"),
    ),
    many=True,
)
ADDITIONAL_POLICY = Definition(
    "additional-policy",
    ("Consent",),
    "Further policy (R5 allows one)",
    types=(Type("uri"),),
    many=True,
)
POLICY_AUTHORITY = Definition(
    "policy-authority",
    ("Consent",),
    "Authority of the policy (R5 has no element)",
    types=(Type("uri"),),
)
ADDITIONAL_REGULATORY_BASIS = Definition(
    "additional-regulatory-basis",
    ("Consent",),
    "Further legal basis (R4 and R4B allow one)",
    types=(Type("CodeableConcept"),),
    many=True,
)
VERIFICATION_DATE = Definition(
    "verification-date",
    ("Consent.verification",),
    "Further date of the verification (R4 and R4B allow one)",
    types=(Type("dateTime"),),
    many=True,
)
VERIFIED_BY = Definition(
    "verified-by",
    ("Consent.verification",),
    "Who verified (R4 and R4B have no element)",
    types=(
        Type(
            "Reference",
            targets=(
                "Organization",
                "Practitioner",
                "PractitionerRole",
            ),
        ),
    ),
)
VERIFICATION_TYPE = Definition(
    "verification-type",
    ("Consent.verification",),
    "Kind of verification (R4 and R4B have no element)",
    types=(Type("CodeableConcept"),),
)
AE_STATUS = Definition(
    "ae-status",
    ("AdverseEvent",),
    "Status of the record (R4 and R4B have no element)",
    types=(Type("code", value_set="ae-status"),),
)
EXPECTEDNESS = Definition(
    "expectedness",
    ("AdverseEvent",),
    "Expectedness of the event",
    parts={
        "value": PartDefinition(
            Type("CodeableConcept", value_set="expectedness", strength="extensible"), "Whether the event was expected"
        ),
        "reference": PartDefinition(Type("string"), "By which reference safety information"),
    },
)
CTCAE = Definition(
    "ctcae",
    ("AdverseEvent",),
    "CTCAE term and grade",
    parts={
        "version": PartDefinition(Type("string"), "Version of CTCAE"),
        "term": PartDefinition(Type("CodeableConcept"), "CTCAE term"),
        "grade": PartDefinition(Type("positiveInt"), "Grade 1 to 5"),
    },
)
MEDDRA = Definition(
    "meddra",
    ("AdverseEvent",),
    "MedDRA coding of the event",
    parts={
        "version": PartDefinition(Type("string"), "Version of MedDRA"),
        "llt": PartDefinition(Type("Coding"), "Lowest level term"),
        "pt": PartDefinition(Type("Coding"), "Preferred term"),
        "soc": PartDefinition(Type("Coding"), "System organ class"),
    },
)
DECHALLENGE = Definition(
    "dechallenge",
    ("AdverseEvent",),
    "Result of dechallenge",
    types=(Type("CodeableConcept"),),
)
RECHALLENGE = Definition(
    "rechallenge",
    ("AdverseEvent",),
    "Result of rechallenge",
    types=(Type("CodeableConcept"),),
)
PREVENTIVE_ACTION = Definition(
    "preventive-action",
    ("AdverseEvent",),
    "Preventive action (R4 and R4B have no element)",
    types=(Type("CodeableConcept"),),
    many=True,
)
SUPPORTING_INFO_ROLE = Definition(
    "supporting-info-role",
    ("AdverseEvent.supportingInfo",),
    "R4 element that the item came from (R5)",
    types=(Type("code"),),
)
REGULATORY_REPORT = Definition(
    "regulatory-report",
    ("AdverseEvent",),
    "Report to an authority",
    parts={
        "authority": PartDefinition(Type("CodeableConcept"), "Authority or programme"),
        "submittedAt": PartDefinition(Type("dateTime"), "When the report was submitted"),
        "number": PartDefinition(Type("Identifier"), "Number of the report"),
        "status": PartDefinition(Type("code"), "Status of the report"),
    },
    many=True,
)
AESI = Definition(
    "aesi",
    ("AdverseEvent",),
    "Adverse event of special interest",
    types=(Type("code", value_set="aesi"),),
    many=True,
)

EXTENSIONS = tuple(value for value in list(globals().values()) if isinstance(value, Definition))
