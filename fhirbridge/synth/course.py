"""Physiology of one session, and the truth that an analysis of the records should find again.

Blood pressure and dissociation rise after the dose to a peak near 40 minutes and settle by two hours. One curve serves
all routes; only its height differs. Two facts are known exactly:

* the systolic pressure peaks ``Course.peak_minute`` minutes after the dose, on average at ``PEAK_MINUTE``;
* the CADSS total at 40 minutes has the mean ``expected_dissociation(modality, systolic_40)``: it grows by
  ``DISSOCIATION_PER_MMHG`` points per mm[Hg] of the systolic pressure recorded at 40 minutes, whatever the route.
  What is recorded scatters around it with the standard deviation ``DISSOCIATION_SPREAD``.

CADSS-6 scores are CADSS totals times ``CADSS6_SHARE``, rounded.
"""

from __future__ import annotations

from typing import NamedTuple

from fhirbridge.synth.chance import Chance

PEAK_MINUTE = 40.0
DISSOCIATION_PER_MMHG = 0.35
DISSOCIATION_SPREAD = 4.0
SYSTOLIC_REFERENCE = 145
CADSS6_SHARE = 24 / 92
_LARGEST_CADSS = 92


class Response(NamedTuple):
    """What a route does: mean rise of the systolic pressure (mm[Hg]) and CADSS total at ``SYSTOLIC_REFERENCE``."""

    rise: float
    dissociation: float


RESPONSES: dict[str, Response] = {
    "iv_infusion": Response(22, 26),
    "iv_push": Response(26, 30),
    "im": Response(24, 30),
    "kap": Response(23, 31),
    "sc": Response(18, 24),
    "intranasal": Response(15, 22),
    "esketamine_intranasal": Response(18, 24),
    "sublingual": Response(12, 20),
    "oral": Response(11, 19),
    "other": Response(12, 20),
}


class Course(NamedTuple):
    """One session: resting values, rise of the systolic pressure, when it peaks, what is recorded at 40 minutes."""

    systolic: float
    diastolic: float
    heart_rate: float
    rise: float
    peak_minute: float
    systolic_40: int
    dissociation_40: int

    def effect(self, minute: float) -> float:
        """Share of the peak effect (0 to 1) so many minutes after the dose; 0 before it."""
        if minute <= 0:
            return 0.0
        share = minute / self.peak_minute
        # 1 at the peak, 0.08 at 15 minutes, 0.17 at 90, 0.05 at 120; products only, so that all machines agree.
        ratio = 2 * share / (1 + share * share)
        square = ratio * ratio
        return square * square * square

    def systolic_at(self, minute: float) -> float:
        """The true systolic pressure, mm[Hg], before the error of the cuff."""
        return self.systolic + self.rise * self.effect(minute)

    def diastolic_at(self, minute: float) -> float:
        """The true diastolic pressure, mm[Hg]."""
        return self.diastolic + 0.55 * self.rise * self.effect(minute)

    def heart_rate_at(self, minute: float) -> float:
        """The true heart rate, beats per minute."""
        return self.heart_rate + 0.4 * self.rise * self.effect(minute)


class Body(NamedTuple):
    """What a patient brings along: resting blood pressure (mm[Hg]), heart rate (/min) and reactivity (1 is average)."""

    systolic: float
    diastolic: float
    heart_rate: float
    reactivity: float


def draw_body(chance: Chance) -> Body:
    """A patient's resting values."""
    systolic = min(max(chance.normal(123, 9), 100), 146)
    diastolic = 0.6 * systolic + chance.normal(2, 4)
    reactivity = max(0.5, chance.normal(1, 0.22))
    # A few react far more strongly than the others; they are the ones whom the monitoring is for.
    return Body(systolic, diastolic, chance.normal(73, 8), reactivity + 0.9 if chance.happens(0.03) else reactivity)


def expected_dissociation(modality: str, systolic_40: float) -> float:
    """Mean CADSS total (0 to 92) at 40 minutes after ``modality`` for this systolic pressure (mm[Hg]) at 40 minutes."""
    return RESPONSES[modality].dissociation + DISSOCIATION_PER_MMHG * (systolic_40 - SYSTOLIC_REFERENCE)


def draw_course(chance: Chance, body: Body, modality: str) -> Course:
    """One session of a patient with ``body``."""
    systolic = body.systolic + chance.normal(0, 4)
    rise = max(3.0, RESPONSES[modality].rise * body.reactivity + chance.normal(0, 3))
    course = Course(
        systolic=systolic,
        diastolic=body.diastolic + chance.normal(0, 3),
        heart_rate=body.heart_rate + chance.normal(0, 4),
        rise=rise,
        peak_minute=chance.normal(PEAK_MINUTE, 1.8),
        systolic_40=0,
        dissociation_40=0,
    )
    systolic_40 = round(course.systolic_at(40) + chance.normal(0, 2.5))
    dissociation = round(expected_dissociation(modality, systolic_40) + chance.normal(0, DISSOCIATION_SPREAD))
    return course._replace(systolic_40=systolic_40, dissociation_40=min(max(dissociation, 0), _LARGEST_CADSS))
