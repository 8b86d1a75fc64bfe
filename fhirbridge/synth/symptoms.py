"""What may go wrong after a dose: words, frequencies, times (minutes after the dose) and consequences."""

from __future__ import annotations

from typing import NamedTuple

# CTCAE grade from severity (specification §3.5, "grade").
GRADES = {"mild": 1, "moderate": 2, "severe": 3}
LIFE_THREATENING_GRADE = 4
_MILD = (("mild", 0.74), ("moderate", 0.23), ("severe", 0.03))
_HARDER = (("mild", 0.35), ("moderate", 0.5), ("severe", 0.15))
_SEVERE = (("severe", 1.0),)


class Symptom(NamedTuple):
    """One thing that may happen after a dose: how often per session, how it is told, when it starts, how long it lasts.

    ``dissociative``: it comes the more often the stronger the dissociation is. Minutes after the dose.
    """

    term: str
    share: float
    verbatim: tuple[str, ...]
    severities: tuple[tuple[str, float], ...]
    earliest: int
    latest: int
    lasting: int
    special: tuple[str, ...] = ()
    dissociative: bool = False
    treatment: str = ""
    criteria: tuple[str, ...] = ()


SYMPTOMS = (
    Symptom(
        "nausea",
        0.09,
        ("nausea", "felt sick", "queasy — “like on a boat”"),
        _MILD,
        15,
        70,
        60,
        treatment="ondansetron 4 mg",
    ),
    Symptom("vomiting", 0.02, ("vomited once", "vomiting"), _HARDER, 25, 80, 20, treatment="ondansetron 4 mg"),
    Symptom("dizziness", 0.07, ("dizzy", "lightheaded on standing"), _MILD, 10, 60, 70, dissociative=True),
    Symptom("headache", 0.05, ("headache",), _MILD, 40, 110, 180, treatment="paracetamol 500 mg"),
    Symptom("confusion", 0.015, ("confused about the place", "confusion"), _HARDER, 20, 50, 40, dissociative=True),
    Symptom("anxiety", 0.03, ("anxious during the dose",), _MILD, 8, 35, 30, dissociative=True),
    Symptom("sedation", 0.03, ("hard to rouse for a few minutes", "sedated"), _HARDER, 20, 50, 45, ("sedation",)),
    Symptom("blurred_vision", 0.02, ("blurred vision", "saw double"), _MILD, 10, 40, 40),
    Symptom("paresthesia", 0.02, ("tingling around the mouth",), _MILD, 5, 30, 30),
    Symptom("dysgeusia", 0.015, ("bad taste",), _MILD, 1, 15, 45),
    Symptom("fatigue", 0.02, ("worn out",), _MILD, 60, 110, 240),
    Symptom(
        "hypoxemia",
        0.002,
        ("oxygen saturation 88 % for a minute",),
        _HARDER,
        15,
        45,
        5,
        ("respiratory_depression",),
        treatment="oxygen 2 L/min",
    ),
    Symptom(
        "panic_attack", 0.002, ("panic attack",), _HARDER, 10, 35, 25, dissociative=True, treatment="lorazepam 1 mg"
    ),
    Symptom(
        "loss_of_consciousness",
        0.0006,
        ("did not respond to voice",),
        _SEVERE,
        15,
        45,
        8,
        ("loss_of_consciousness", "sedation"),
        criteria=("other_important",),
    ),
    Symptom(
        "apnea",
        0.0002,
        ("stopped breathing for 20 seconds",),
        _SEVERE,
        3,
        30,
        2,
        ("respiratory_depression",),
        treatment="bag-mask ventilation",
        criteria=("life_threatening", "intervention_required"),
    ),
    Symptom(
        "anaphylaxis",
        0.0001,
        ("anaphylaxis",),
        _SEVERE,
        2,
        20,
        90,
        treatment="epinephrine 0.5 mg",
        criteria=("life_threatening",),
    ),
    Symptom("syncope", 0.001, ("fainted on the way to the bathroom",), _HARDER, 60, 115, 5),
)
RISE = Symptom("blood_pressure_increased", 0, ("blood pressure increased",), _MILD, 38, 42, 45, ("bp_increase",))
CRISIS = RISE._replace(severities=_SEVERE, criteria=("other_important",), treatment="labetalol 10 mg")
DISSOCIATED = Symptom(
    "dissociation", 0, ("felt outside the body", "dissociation"), _HARDER, 18, 38, 60, ("dissociation",)
)
STRONG_DISSOCIATION = 38
# What comes to light days after a visit, told by the patient.
LATE = (
    Symptom(
        "suicidal_thoughts",
        0.0012,
        ("suicidal thoughts, taken to hospital",),
        _SEVERE,
        1,
        4,
        0,
        ("suicidality",),
        criteria=("hospitalization",),
    ),
    Symptom("urinary_frequency", 0.004, ("must go more often",), _MILD, 1, 6, 0, ("bladder",)),
    Symptom("cystitis", 0.001, ("pain on passing water",), _HARDER, 1, 6, 0, ("bladder",)),
    Symptom("misuse", 0.002, ("took a friend’s ketamine",), _HARDER, 1, 6, 0, ("abuse_misuse",)),
    Symptom("nightmares", 0.006, ("bad dreams",), _MILD, 1, 3, 0),
)
