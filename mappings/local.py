"""The project's own code systems (specification §6): a code and its display a line."""

from __future__ import annotations

from dataclasses import dataclass

from fhirbridge.binding import Binding
from fhirbridge.codec.leaf import coding_node, concept_node
from fhirbridge.fhir.json import Tree
from mappings.terms import Coded, label


@dataclass(frozen=True, slots=True)
class LocalCodeSystem:
    """A code system of ours. The record's word is the code with underscores for hyphens."""

    name: str
    title: str
    table: dict[str, Coded]

    def codings(self, binding: Binding) -> dict[str, Tree]:
        """The Coding of every word."""
        system = binding.code_system(self.name)
        return {word: coding_node(system, *coded) for word, coded in self.table.items()}

    def concepts(self, binding: Binding) -> dict[str, Tree]:
        """The CodeableConcept of every word, with the word as its text (decision D7)."""
        system = binding.code_system(self.name)
        return {word: concept_node([(system, *coded)], label(word)) for word, coded in self.table.items()}

    def words(self, binding: Binding) -> dict[tuple[str, str], str]:
        """The word of each ``(system, code)``."""
        system = binding.code_system(self.name)
        return {(system, coded.code): word for word, coded in self.table.items()}

    def codes(self) -> dict[str, str]:
        """Word to code, for elements of type code."""
        return {word: coded.code for word, coded in self.table.items()}


def _system(name: str, title: str, text: str) -> LocalCodeSystem:
    table = {}
    for line in text.strip().splitlines():
        code, display = (cell.strip() for cell in line.split("|"))
        table[code.replace("-", "_")] = Coded(code, display)
    return LocalCodeSystem(name, title, table)


SESSION_TYPE = _system(
    "session-type",
    "Kinds of session",
    """
ketamine-iv-infusion  | Ketamine IV infusion session
ketamine-iv-push      | Ketamine IV push session
ketamine-im           | Ketamine IM session
ketamine-sc           | Ketamine SC session
ketamine-intranasal   | Ketamine intranasal session
esketamine-intranasal | Esketamine intranasal session
ketamine-oral         | Ketamine oral session
ketamine-sublingual   | Ketamine sublingual session
kap-session           | Ketamine-assisted psychotherapy session
""",
)
TREATMENT_PHASE = _system(
    "treatment-phase",
    "Phases of treatment",
    """
induction    | Induction
optimization | Optimization
maintenance  | Maintenance
taper        | Taper
single       | Single
research     | Research
""",
)
PERFORMER_FUNCTION = _system(
    "performer-function",
    "Functions of performers",
    """
supervising   | Supervising clinician
administering | Administering clinician
monitoring    | Monitoring clinician
therapist     | Therapist
prescriber    | Prescriber
observer      | Observer
""",
)
NOMINAL_TIMEPOINT = _system(
    "nominal-timepoint",
    "Planned times of measurement",
    """
baseline        | Baseline
pre-dose        | Before dose
during-infusion | During infusion
end-of-infusion | End of infusion
post-15min      | 15 min after dose
post-30min      | 30 min after dose
post-40min      | 40 min after dose
post-60min      | 60 min after dose
post-90min      | 90 min after dose
post-120min     | 120 min after dose
pre-discharge   | Before discharge
follow-up-24h   | 24 h follow-up
unscheduled     | Unscheduled
""",
)
O2_DELIVERY = _system(
    "o2-delivery",
    "Ways of oxygen delivery",
    """
room-air       | Room air
nasal-cannula  | Nasal cannula
simple-mask    | Simple mask
non-rebreather | Non rebreather
other          | Other
""",
)
SCALE = _system(
    "scale",
    "Scales without a LOINC code",
    """
madrs-total     | MADRS total score
qids-sr16-total | QIDS-SR16 total score
cadss-total     | CADSS total score
cadss-6-total   | CADSS-6 total score
bprs-total      | BPRS total score
bprs-positive-4 | BPRS positive symptoms, 4 items
moaa-s          | MOAA/S score
rass            | RASS score
""",
)
CONSENT_KIND = _system(
    "consent-kind",
    "Kinds of consent",
    """
treatment       | Treatment
privacy-sharing | Privacy and sharing
research        | Research
rems-enrollment | REMS enrolment
recording       | Recording
touch           | Touch
telehealth      | Telehealth
financial       | Financial
""",
)
ACTION_TAKEN = _system(
    "action-taken",
    "Actions taken with the drug",
    """
dose-not-changed | Dose not changed
dose-reduced     | Dose reduced
dose-increased   | Dose increased
drug-interrupted | Drug interrupted
drug-withdrawn   | Drug withdrawn
not-applicable   | Not applicable
unknown          | Unknown
""",
)
EXPECTEDNESS = _system(
    "expectedness",
    "Expectedness of adverse events",
    """
expected   | Expected
unexpected | Unexpected
unknown    | Unknown
""",
)
AESI = _system(
    "aesi",
    "Adverse events of special interest",
    """
sedation               | Sedation
dissociation           | Dissociation
bp-increase            | Blood pressure increase
respiratory-depression | Respiratory depression
abuse-misuse           | Abuse or misuse
suicidality            | Suicidality
bladder                | Bladder symptoms
loss-of-consciousness  | Loss of consciousness
""",
)
REMS_PROGRAM = _system(
    "rems-program",
    "REMS programmes",
    """
spravato | SPRAVATO REMS
""",
)
CONCOMITANT_CLASS = _system(
    "concomitant-class",
    "Classes of concomitant medicines",
    """
benzodiazepine              | Benzodiazepine
non-benzo-sedative-hypnotic | Non-benzodiazepine sedative-hypnotic
opioid                      | Opioid
psychostimulant             | Psychostimulant
maoi                        | Monoamine oxidase inhibitor
""",
)
MAPPING_VERSION = _system(
    "mapping-version",
    "Versions of the mapping",
    """
1.0 | Mapping 1.0
""",
)
DERIVATION = _system(
    "derivation",
    "How a value came about",
    """
measured         | Measured
calculated       | Calculated
device           | Device
patient-reported | Patient reported
estimated        | Estimated
""",
)
DOSING_WEIGHT_KIND = _system(
    "dosing-weight-kind",
    "Kinds of dosing weight",
    """
actual   | Actual
ideal    | Ideal
adjusted | Adjusted
""",
)

CODE_SYSTEMS = tuple(value for value in list(globals().values()) if isinstance(value, LocalCodeSystem))
