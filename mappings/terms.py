"""Every code and every table, once (specification §6, §7).

Only codes that were verified are here; those seen in secondary sources only stand in ``SECONDARY`` tables and are written
when a site opts in. A line of a table is: the record's word, the code, the code's display. A display is the preferred
term, never SNOMED's fully specified name, and is left out where editions differ (trap T17).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fhirbridge.codec.leaf import coding_node, concept_node
from fhirbridge.fhir.json import Tree

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
NCIT = "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"
HL7 = "http://terminology.hl7.org/CodeSystem"
RESOURCE_TYPES_R4 = "http://hl7.org/fhir/resource-types"
RESOURCE_TYPES_R5 = "http://hl7.org/fhir/fhir-types"
PROFILE = "http://hl7.org/fhir/StructureDefinition"


class Coded(NamedTuple):
    """A code and its display."""

    code: str
    display: str


def rows(text: str) -> dict[str, Coded]:
    """Read a table: ``word | code | display`` a line."""
    table = {}
    for line in text.strip().splitlines():
        word, code, display = (cell.strip() for cell in line.split("|"))
        table[word] = Coded(code, display)
    return table


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words of the record in one code system."""

    system: str
    table: Mapping[str, Coded]

    def coding(self, word: str) -> Tree:
        """The Coding of a word."""
        return coding_node(self.system, *self.table[word])

    def codings(self) -> dict[str, Tree]:
        """The Coding of every word."""
        return {word: self.coding(word) for word in self.table}

    def concepts(self) -> dict[str, Tree]:
        """The CodeableConcept of every word, with the word as its text (decision D7)."""
        return {word: concept_node([(self.system, *coded)], label(word)) for word, coded in self.table.items()}

    def key(self, word: str) -> tuple[str, str]:
        """``(system, code)`` of a word."""
        return self.system, self.table[word].code


def label(word: str) -> str:
    """A word of the record as people read it."""
    return word.replace("_", " ")


# ------------------------------------------------------------------------------------------------ sessions
SESSION_PROCEDURE = Vocabulary(SNOMED, rows("""
iv_infusion           | 14152002  | Intravenous infusion
iv_push               | 386358000 | Administration of drug or medicament via intravenous route
im                    | 76601001  | Intramuscular injection
sc                    | 386362006 | Administration of drug or medicament via subcutaneous route
intranasal            | 18629005  | Administration of drug or medicament
esketamine_intranasal | 18629005  | Administration of drug or medicament
oral                  | 18629005  | Administration of drug or medicament
sublingual            | 18629005  | Administration of drug or medicament
kap                   | 18629005  | Administration of drug or medicament
"""))  # fmt: skip
PSYCHOTHERAPY = Coded("75516001", "Psychotherapy")
PSYCHIATRY_SERVICE = Coded("24642003", "Psychiatry procedure or service")
BILLING = Vocabulary(
    HCPCS,
    rows("""
G2082 | G2082 |
G2083 | G2083 |
"""),
)
ROUTE = Vocabulary(
    SNOMED,
    rows("""
intravenous   | 47625008 | Intravenous route
intramuscular | 78421000 | Intramuscular route
subcutaneous  | 34206005 | Subcutaneous route
intranasal    | 46713006 | Nasal route
oral          | 26643006 | Oral route
sublingual    | 37839007 | Sublingual route
buccal        | 54471007 | Buccal route
rectal        | 37161004 | Rectal route
"""),
)
DRUG = Vocabulary(
    SNOMED,
    rows("""
ketamine               | 373464007 | Ketamine
ketamine_hydrochloride | 31706007  | Ketamine hydrochloride
"""),
)
# Esketamine has no verified code at all: it goes as text (specification §7, §11).
UNCODED_DRUGS = ("esketamine",)
SECONDARY_DRUG = Vocabulary(
    RXNORM,
    rows("""
ketamine   | 6130    | ketamine
esketamine | 2201623 | esketamine Nasal Spray
"""),
)
INDICATION = Vocabulary(
    SNOMED,
    rows("""
major_depression                | 370143000 | Major depressive disorder
major_depression_single_episode | 36923009  | Major depression, single episode
major_depression_recurrent      | 66344007  | Recurrent major depression
ptsd                            | 47505003  | Posttraumatic stress disorder
complex_ptsd                    | 443919007 | Complex posttraumatic stress disorder
generalized_anxiety             | 21897009  | Generalized anxiety disorder
anxiety_disorder                | 197480006 | Anxiety disorder
ocd                             | 191736004 | Obsessive-compulsive disorder
bipolar_depression              | 49468007  | Depressed bipolar I disorder
chronic_pain                    | 82423001  | Chronic pain
chronic_pain_syndrome           | 373621006 | Chronic pain syndrome
suicidal_thoughts               | 6471006   | Suicidal thoughts
"""),
)
SESSION_OUTCOME = Vocabulary(
    SNOMED,
    rows("""
successful           | 385669000 | Successful
partially_successful | 385670004 | Partially successful
unsuccessful         | 385671000 | Unsuccessful
"""),
)

# ------------------------------------------------------------------------------------- observations
VITAL = Vocabulary(
    LOINC,
    rows("""
blood_pressure          | 85354-9 | Blood pressure panel with all children optional
systolic                | 8480-6  | Systolic blood pressure
diastolic               | 8462-4  | Diastolic blood pressure
mean                    | 8478-0  | Mean blood pressure
heart_rate              | 8867-4  | Heart rate
respiratory_rate        | 9279-1  | Respiratory rate
oxygen_saturation       | 2708-6  | Oxygen saturation in Arterial blood
pulse_oximetry          | 59408-5 | Oxygen saturation in Arterial blood by Pulse oximetry
fio2                    | 3150-0  | Inhaled oxygen concentration
o2_flow                 | 3151-8  | Inhaled oxygen flow rate
temperature             | 8310-5  | Body temperature
etco2                   | 19891-1 | Carbon dioxide [Partial pressure] in Exhaled gas --at end expiration
etco2_fraction          | 19889-5 | Carbon dioxide/Gas.total.at end expiration in Exhaled gas
weight                  | 29463-7 | Body weight
height                  | 8302-2  | Body height
bmi                     | 39156-5 | Body mass index (BMI) [Ratio]
heart_rhythm            | 8884-9  | Heart rate rhythm
level_of_consciousness  | 80288-4 | Level of consciousness
level_of_responsiveness | 67775-7 | Level of responsiveness
"""),
)
# The profile the specification applies by code (trap T8); the other signs have none.
VITAL_PROFILE: Mapping[str, str] = {
    "blood_pressure": "bp",
    "heart_rate": "heartrate",
    "respiratory_rate": "resprate",
    "oxygen_saturation": "oxygensat",
    "temperature": "bodytemp",
    "weight": "bodyweight",
    "height": "bodyheight",
    "bmi": "bmi",
}
OBSERVATION_CATEGORY = Vocabulary(
    f"{HL7}/observation-category",
    rows("""
vital_signs | vital-signs | Vital Signs
survey      | survey      | Survey
exam        | exam        | Exam
procedure   | procedure   | Procedure
therapy     | therapy     | Therapy
"""),
)
ABSENT_REASON = Vocabulary(
    f"{HL7}/data-absent-reason",
    rows("""
unknown        | unknown        | Unknown
asked_unknown  | asked-unknown  | Asked But Unknown
temp_unknown   | temp-unknown   | Temporarily Unknown
not_asked      | not-asked      | Not Asked
asked_declined | asked-declined | Asked But Declined
masked         | masked         | Masked
not_applicable | not-applicable | Not Applicable
unsupported    | unsupported    | Unsupported
as_text        | as-text        | As Text
error          | error          | Error
not_performed  | not-performed  | Not Performed
not_permitted  | not-permitted  | Not Permitted
"""),
)
INTERPRETATION = Vocabulary(
    f"{HL7}/v3-ObservationInterpretation",
    rows("""
normal          | N  | Normal
high            | H  | High
low             | L  | Low
critically_high | HH | Critical high
critically_low  | LL | Critical low
abnormal        | A  | Abnormal
"""),
)
POSITION = Vocabulary(
    SNOMED,
    rows("""
sitting   | 33586001  | Sitting position
supine    | 40199007  | Supine body position
recumbent | 102538003 | Recumbent body position
standing  | 10904000  | Orthostatic body position
"""),
)
SCALE_LOINC = Vocabulary(
    LOINC,
    rows("""
phq9           | 44261-6 | Patient Health Questionnaire 9 item (PHQ-9) total score [Reported]
phq2           | 55758-7 | Patient Health Questionnaire 2 item (PHQ-2) total score [Reported]
gad7           | 70274-6 | Generalized anxiety disorder 7 item (GAD-7) total score [Reported.PHQ]
cssrs_ideation | 93293-9 | Most severe suicidal ideation 1 month
cssrs_risk     | 93374-7 | Suicide risk level
pain_nrs       | 72514-3 | Pain severity - 0-10 verbal numeric rating [Score] - Reported
"""),
)
SECONDARY_SCALE = Vocabulary(
    LOINC,
    rows("""
pcl5 | 101698-9 | PTSD PCL-5 score [PCL-5]
"""),
)
SCALE_NAME: Mapping[str, str] = {
    "phq9": "PHQ-9",
    "phq2": "PHQ-2",
    "gad7": "GAD-7",
    "madrs": "MADRS",
    "qids_sr16": "QIDS-SR16",
    "pcl5": "PCL-5",
    "cssrs_ideation": "C-SSRS ideation",
    "cssrs_risk": "C-SSRS risk",
    "cadss": "CADSS",
    "cadss6": "CADSS-6",
    "bprs": "BPRS",
    "bprs_positive4": "BPRS positive symptoms",
    "moaas": "MOAA/S",
    "rass": "RASS",
    "pain_nrs": "pain NRS",
}
# Scales without a LOINC code, by their code in our own system.
SCALE_LOCAL: Mapping[str, str] = {
    "madrs": "madrs_total",
    "qids_sr16": "qids_sr16_total",
    "cadss": "cadss_total",
    "cadss6": "cadss_6_total",
    "bprs": "bprs_total",
    "bprs_positive4": "bprs_positive_4",
    "moaas": "moaa_s",
    "rass": "rass",
}
SCALE_PANEL = Vocabulary(
    LOINC,
    rows("""
phq9           | 44249-1 | PHQ-9 quick depression assessment panel [Reported.PHQ]
phq2           | 55757-9 | Patient Health Questionnaire 2 item (PHQ-2) [Reported]
gad7           | 69737-5 | Generalized anxiety disorder 7 item (GAD-7)
cssrs_ideation | 93373-9 | Columbia - suicide severity rating scale screener - recent [C-SSRS]
"""),
)
# Items by their id in the record; the wording of the questions stays out (specification §11, licences).
SCALE_ITEM = Vocabulary(
    LOINC,
    rows("""
phq9-1          | 44250-9 | Little interest or pleasure in doing things in last 2 weeks
phq9-2          | 44255-8 | Feeling down, depressed, or hopeless in last 2 weeks
phq9-3          | 44259-0 | Trouble falling or staying asleep, or sleeping too much in last 2 weeks [Reported.PHQ]
phq9-4          | 44254-1 | Feeling tired or having little energy in last 2 weeks [Reported.PHQ]
phq9-5          | 44251-7 | Poor appetite or overeating in last 2 weeks [Reported.PHQ]
phq9-6          | 44258-2 |
phq9-7          | 44252-5 |
phq9-8          | 44253-3 |
phq9-9          | 44260-8 |
phq9-difficulty | 69722-7 |
gad7-1          | 69725-0 | Feeling nervous, anxious or on edge
gad7-2          | 68509-9 | Not able to stop or control worrying
gad7-3          | 69733-4 | Worrying too much about different things
gad7-4          | 69734-2 | Trouble relaxing
gad7-5          | 69735-9 | Being so restless that it is hard to sit still
gad7-6          | 69689-8 | Becoming easily annoyed or irritable
gad7-7          | 69736-7 | Feeling afraid as if something awful might happen
cssrs-1         | 93246-7 |
cssrs-2         | 93247-5 |
"""),
)

# -------------------------------------------------------------------------------------------- labels
CONFIDENTIALITY = f"{HL7}/v3-Confidentiality"
ACT_CODE = f"{HL7}/v3-ActCode"
RESTRICTED = Coded("R", "restricted")
PSYCHIATRY = Coded("PSY", "psychiatry disorder information sensitivity")
SENSITIVITY = Vocabulary(
    ACT_CODE,
    rows("""
psychotherapy_notes | PSYTHPN | psychotherapy note information sensitivity
mental_health       | MH      | mental health information sensitivity
behavioral_health   | BH      | behavioral health information sensitivity
substance_use       | SUD     | substance use disorder information sensitivity
substance_abuse     | ETH     | substance abuse information sensitivity
"""),
)
CONFIDENTIALITY_LABEL = Vocabulary(
    CONFIDENTIALITY,
    rows("""
normal          | N | normal
restricted      | R | restricted
very_restricted | V | very restricted
moderate        | M | moderate
low             | L | low
unrestricted    | U | unrestricted
"""),
)

# ------------------------------------------------------------------------------------------ consents
CONSENT_SCOPE = Vocabulary(
    f"{HL7}/consentscope",
    rows("""
treatment       | treatment       | Treatment
patient_privacy | patient-privacy | Privacy Consent
research        | research        | Research
"""),
)
PATIENT_CONSENT = Coded("59284-0", "Patient Consent")
CONSENT_CATEGORY = Vocabulary(
    f"{HL7}/consentcategorycodes",
    rows("""
notice_of_privacy_practices | npp      | Notice of Privacy Practices
research                    | research | Research Information Access
deidentified_data           | rsdid    | De-identified Information Access
reidentifiable_data         | rsreid   | Re-identifiable Information Access
emergency_only              | emrgonly |
"""),
)
CONSENT_CATEGORY_LOINC = Vocabulary(
    LOINC,
    rows("""
privacy_acknowledgement | 57016-8 | Privacy policy acknowledgement Document
release_of_information  | 64292-6 | Release of information consent
"""),
)
LEGAL_BASIS = Vocabulary(
    f"{HL7}/consentpolicycodes",
    rows("""
common_rule         | cric               | Common Rule Informed Consent
hipaa_authorization | hipaa-auth         | HIPAA Authorization
hipaa_notice        | hipaa-npp          | HIPAA Notice of Privacy Practices
hipaa_research      | hipaa-research     | HIPAA Research Authorization
hipaa_restrictions  | hipaa-restrictions | HIPAA Restrictions
"""),
)
CONSENT_ACTION = Vocabulary(
    f"{HL7}/consentaction",
    rows("""
collect  | collect  | Collect
access   | access   | Access
use      | use      | Use
disclose | disclose | Disclose
correct  | correct  | Access and Correct
"""),
)
PURPOSE = Vocabulary(
    f"{HL7}/v3-ActReason",
    rows("""
treatment            | TREAT    | treatment
emergency_treatment  | ETREAT   | Emergency Treatment
payment              | HPAYMT   | healthcare payment
operations           | HOPERAT  | healthcare operations
quality_improvement  | HQUALIMP | health quality improvement
patient_safety       | PATSFTY  | patient safety
research             | HRESCH   | healthcare research
clinical_trial       | CLINTRCH | clinical trial research
public_health        | PUBHLTH  | public health
patient_request      | PATRQT   | patient requested
coordination_of_care | COC      | coordination of care
break_the_glass      | BTG      | break the glass
"""),
)
PARTICIPATION = f"{HL7}/v3-ParticipationType"
ACTOR_ROLE = Vocabulary(
    PARTICIPATION,
    rows("""
recipient         | IRCP | information recipient
primary_recipient | PRCP | primary information recipient
custodian         | CST  | custodian
"""),
)
OPT_IN, OPT_OUT = Coded("OPTIN", "opt-in"), Coded("OPTOUT", "op-out")

# ------------------------------------------------------------------------------------ adverse events
EVENT = Vocabulary(
    SNOMED,
    rows("""
nausea                    | 422587007 | Nausea
vomiting                  | 422400008 | Vomiting
dizziness                 | 404640003 | Dizziness
vertigo                   | 399153001 | Vertigo
headache                  | 25064002  | Headache
anxiety                   | 48694002  | Anxiety
panic_attack              | 225624000 | Panic attack
sedation                  | 17971005  | Sedated
drowsiness                | 271782001 | Drowsy
blood_pressure_increased  | 24184005  | Finding of increased blood pressure
hypotension               | 45007003  | Low blood pressure
tachycardia               | 3424008   | Tachycardia
bradycardia               | 48867003  | Bradycardia
palpitations              | 80313002  | Palpitations
chest_pain                | 29857009  | Chest pain
syncope                   | 271594007 | Syncope
loss_of_consciousness     | 418107008 | Unconscious
hypoventilation           | 31515003  | Hypoventilation
apnea                     | 1023001   | Apnea
hypoxemia                 | 389087006 | Hypoxemia
dyspnea                   | 267036007 | Dyspnea
disorientation            | 62476001  | Disorientated
confusion                 | 286933003 | Confusional state
acute_confusion           | 130987000 | Acute confusion
hallucinations            | 7011001   | Hallucinations
psychotic_disorder        | 69322001  | Psychotic disorder
drug_induced_psychosis    | 191483003 | Drug-induced psychosis
mania                     | 231494001 | Mania
hypomania                 | 231496004 | Hypomania
agitation                 | 24199005  | Feeling agitated
blurred_vision            | 111516008 | Blurring of visual image
diplopia                  | 24982008  | Diplopia
nystagmus                 | 563001    | Nystagmus
dysgeusia                 | 271801002 | Taste sense altered
hypoesthesia              | 397974008 | Hypesthesia
numbness                  | 44077006  | Numbness
paresthesia               | 91019004  | Paresthesia
hypersalivation           | 53827007  | Excessive salivation
anaphylaxis               | 39579001  | Anaphylaxis
ataxia                    | 20262006  | Ataxia
dysarthria                | 8011004   | Dysarthria
tremor                    | 26079004  | Tremor
amnesia                   | 48167000  | Amnesia
memory_impairment         | 386807006 | Memory impairment
impaired_cognition        | 386806002 | Impaired cognition
fatigue                   | 84229001  | Fatigue
nightmares                | 419145002 | Nightmares
cystitis                  | 38822007  | Cystitis
hemorrhagic_cystitis      | 87696004  | Hemorrhagic cystitis
dysuria                   | 49650001  | Dysuria
urinary_urgency           | 75088002  | Urgent desire to urinate
urinary_frequency         | 162116003 | Increased frequency of urination
misuse                    | 361055000 | Misuses drugs
drug_abuse                | 26416006  | Drug abuse
drug_dependence           | 191816009 | Drug dependence
ketamine_anxiety_disorder | 724723002 | Anxiety disorder caused by ketamine
fall                      | 1912002   | Fall
suicidal_thoughts         | 6471006   | Suicidal thoughts
dissociation              | 79499004  | Depersonalization
"""),
)
SEVERITY = Vocabulary(
    f"{HL7}/adverse-event-severity",
    rows("""
mild     | mild     | Mild
moderate | moderate | Moderate
severe   | severe   | Severe
"""),
)
OUTCOME_R4 = Vocabulary(
    f"{HL7}/adverse-event-outcome",
    rows("""
resolved               | resolved              | Resolved
recovering             | recovering            | Recovering
ongoing                | ongoing               | Ongoing
resolved_with_sequelae | resolvedWithSequelae  | Resolved with Sequelae
fatal                  | fatal                 | Fatal
unknown                | unknown               | Unknown
"""),
)
OUTCOME_NCIT = Vocabulary(
    NCIT,
    rows("""
resolved               | C49498 | Recovered/Resolved
recovering             | C49496 | Recovering/Resolving
ongoing                | C49494 | Not recovering/not resolved
resolved_with_sequelae | C49495 | Recovered/Resolved with sequelae
fatal                  | C48275 | Fatal
"""),
)
# THO spells these in lower case, the R4 core's own code systems do not (trap T5).
SERIOUSNESS = Vocabulary(
    f"{HL7}/adverse-event-seriousness",
    rows("""
serious     | serious     | Serious
non_serious | non-serious | Non-serious
"""),
)
SERIOUSNESS_R4_CORE = Vocabulary(
    f"{HL7}/adverse-event-seriousness",
    rows("""
serious     | Serious     | Serious
non_serious | Non-serious | Non-serious
"""),
)
SERIOUSNESS_REASON_R4_CORE = Vocabulary(
    f"{HL7}/adverse-event-seriousness",
    rows("""
death                 | SeriousResultsInDeath            | Results in death
life_threatening      | SeriousIsLifeThreatening         | Is Life-threatening
hospitalization       | SeriousResultsInHospitalization  | Requires or prolongs inpatient hospitalization
disability            | SeriousResultsInDisability       | Results in persistent or significant disability/incapacity
birth_defect          | SeriousIsBirthDefect             | Is a congenital anomaly/birth defect
intervention_required | SeriousRequiresPreventImpairment | Requires intervention to prevent permanent impairment
"""),
)
SERIOUSNESS_CRITERION = Vocabulary(
    NCIT,
    rows("""
death                 | C48275  | Results In Death
life_threatening      | C84266  | Is Life Threatening
hospitalization       | C83052  | Requires Inpatient Hospitalization
disability            | C11338  | Results In Persistent Or Significant Disability
birth_defect          | C83117  | Congenital Anomaly or Birth Defect
other_important       | C82521  | Other Medically Important Condition
intervention_required | C201939 | Required Intervention to Prevent Permanent Impairment/damage
"""),
)
GRADE = Vocabulary(
    NCIT,
    rows("""
1 | C41338 | Grade 1 Mild Adverse Event
2 | C41339 | Grade 2 Moderate Adverse Event
3 | C41340 | Grade 3 Severe Adverse Event
4 | C41337 | Grade 4 Life Threatening or Disabling Adverse Event
5 | C48275 | Grade 5
"""),
)
CAUSALITY = Vocabulary(
    f"{HL7}/adverse-event-causality-assess",
    rows("""
certain      | certain                     | Certain
probable     | probably-likely             | Probably/Likely
possible     | possible                    | Possible
unlikely     | unlikely                    | Unlikely
conditional  | conditional-classified      | Conditional/Classified
unassessable | unassessable-unclassifiable | Unassessable/Unclassifiable
"""),
)
CAUSALITY_R4_CORE = Vocabulary(
    f"{HL7}/adverse-event-causality-assess",
    rows("""
certain      | Certain                     | Certain
probable     | Probably-Likely             | Probably/Likely
possible     | Possible                    | Possible
unlikely     | Unlikely                    | Unlikely
conditional  | Conditional-Classified      | Conditional/Classified
unassessable | Unassessable-Unclassifiable | Unassessable/Unclassifiable
"""),
)
RELATEDNESS = Vocabulary(
    NCIT,
    rows("""
not_related      | C53256 | Not Related
unlikely_related | C53257 | Unlikely Related
possibly_related | C53258 | Possibly Related
related          | C53260 | Related
"""),
)
CAUSALITY_METHOD = Vocabulary(
    f"{HL7}/adverse-event-causality-method",
    rows("""
probability_scale | probability-scale | Probability Scale
bayesian          | bayesian          | Bayesian
checklist         | checklist         | Checklist
"""),
)
CAUSALITY_METHOD_R4_CORE = Vocabulary(
    f"{HL7}/adverse-event-causality-method",
    rows("""
probability_scale | ProbabilityScale | Probability Scale
bayesian          | Bayesian         | Bayesian
checklist         | Checklist        | Checklist
"""),
)
MISHAP = Vocabulary(
    f"{HL7}/adverse-event-category",
    rows("""
medication_mishap  | medication-mishap           | Medication Mishap
procedure_mishap   | procedure-mishap            | Procedure Mishap
wrong_patient      | wrong-patient               | Wrong Patient
clinical_research  | clinical-research           | Clinical Research
device             | device                      | Device
unsafe_environment | unsafe-physical-environment | Unsafe Physical Environment
"""),
)
MISHAP_R4_CORE = Vocabulary(
    f"{HL7}/adverse-event-category",
    rows("""
product_problem                   | product-problem                   | Product Problem
product_quality                   | product-quality                   | Product Quality
product_use_error                 | product-use-error                 | Product Use Error
wrong_dose                        | wrong-dose                        | Wrong Dose
wrong_technique                   | wrong-technique                   | Wrong Technique
wrong_route                       | wrong-route-of-administration     | Wrong Route of Administration
wrong_rate                        | wrong-rate                        | Wrong Rate
wrong_duration                    | wrong-duration                    | Wrong Duration
wrong_time                        | wrong-time                        | Wrong Time
expired_drug                      | expired-drug                      | Expired Drug
incorrect_prescribing_information | incorrect-prescribing-information | Incorrect Prescribing Information
device_use_error                  | medical-device-use-error          | Medical Device Use Error
"""),
)
PARTICIPANT_FUNCTION = Vocabulary(
    PARTICIPATION,
    rows("""
informant | INF | informant
witness   | WIT | witness
author    | AUT | author (originator)
"""),
)
ACTION_WITHDRAWN_NCIT = Coded("C49502", "DRUG WITHDRAWN")
