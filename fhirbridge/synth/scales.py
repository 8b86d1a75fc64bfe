"""Rating scales and monitoring scores (specification §3.3): around a session, and over the weeks."""

from __future__ import annotations

from fhirbridge.fhir.json import Tree
from fhirbridge.synth.chance import Chance
from fhirbridge.synth.clock import Day
from fhirbridge.synth.course import CADSS6_SHARE, Course
from fhirbridge.synth.plan import Plan, Visit
from fhirbridge.synth.vitals import OFFSETS

# The planned times of a session at which a rater asks; before the dose there is hardly any dissociation.
MONITORED = frozenset({"pre_dose", "post_15min", "post_40min", "post_60min", "post_120min"})
_MISSING = 0.01
_PTSD = ("ptsd", "complex_ptsd")
_PAIN = ("chronic_pain", "chronic_pain_syndrome")
_PHQ9 = {"url": "https://loinc.org/q/44249-1", "language": "en-US", "recall": "last 2 weeks"}
_PHQ9_BANDS = ((4, "minimal"), (9, "mild"), (14, "moderate"), (19, "moderately severe"), (27, "severe"))
_MADRS_BANDS = ((6, "normal"), (19, "mild"), (34, "moderate"), (60, "severe"))
_PHQ9_ITEMS = tuple(tuple({"item": f"phq9-{item}", "value": points} for points in range(4)) for item in range(1, 10))
_PHQ9_DECLINED = {"item": "phq9-9", "absent_reason": "asked_declined"}
# Highest total, spread of one rating, by whom.
_TOTALS = {
    "phq9": (27, 1.6), "phq2": (6, 0.6), "gad7": (21, 1.5), "madrs": (60, 2.8), "qids_sr16": (27, 1.5),
    "pcl5": (80, 4.0), "pain_nrs": (10, 0.9),
}  # fmt: skip
_RATED = frozenset({"madrs"})


def _band(bands: tuple[tuple[int, str], ...], score: int) -> str:
    return next(name for most, name in bands if score <= most)


class Interviews:
    """The scales of one patient at one time that is no planned time of a session, or at the start of one."""

    __slots__ = ("_at", "_chance", "_head", "_ordinal", "_plan", "_tail")

    def __init__(self, chance: Chance, plan: Plan, day: Day, minute: int, visit: Visit | None = None) -> None:
        self._chance = chance
        self._plan = plan
        self._ordinal = day.ordinal
        self._at = day.at(minute, chance.below(60)), day.at(minute + 5)
        self._head: Tree = {"patient": plan.patient}
        self._tail: Tree = {}
        if visit is not None:
            self._head["encounter"] = plan.directory.ref("Encounter", "encounter", visit.encounter)
            self._tail["session"] = plan.directory.ref("Procedure", "treatment-session", visit.session)

    def ask(self, scale: str, timepoint: str = "", mode: str = "") -> Tree:
        """One scale whose total follows the patient's burden of symptoms."""
        most, spread = _TOTALS[scale]
        expected = most * self._plan.burden_on(self._ordinal)
        score = min(max(round(expected + self._chance.normal(0, spread)), 0), most)
        rated = scale in _RATED
        tree = self._blank(scale, timepoint, self._plan.directory.staff("MD-1") if rated else self._plan.patient)
        result: Tree = {"score": score}
        if self._chance.random() < _MISSING:
            result = {"absent_reason": self._chance.pick(("asked_declined", "not_asked", "temp_unknown"))}
        elif scale == "phq9":
            result = self._phq9(score)
        elif scale == "madrs":
            result["severity_band"] = _band(_MADRS_BANDS, score)
        tree |= result
        tree["administration_mode"] = mode or ("interview" if rated else "self_administered")
        return tree

    def suicide_risk(self, timepoint: str = "") -> list[Tree]:
        """The Columbia scale: the risk, and the level of ideation where there is any."""
        rater = self._plan.directory.staff("MD-1")
        level = 0
        if self._plan.suicidal:
            expected = 4.2 * self._plan.burden_on(self._ordinal) + self._chance.normal(0, 0.7)
            level = min(max(round(expected), 0), 5)
        risk = self._blank("cssrs_risk", timepoint, rater)
        risk["score"] = (level + 1) // 2
        risk["administration_mode"] = "interview"
        if not level:
            return [risk]
        ideation = self._blank("cssrs_ideation", timepoint, rater)
        ideation["score"] = level
        ideation["administration_mode"] = "interview"
        return [risk, ideation]

    def weekly(self, timepoint: str = "") -> list[Tree]:
        """What a patient fills in every week."""
        records = [self.ask("phq9", timepoint), self.ask("gad7", timepoint)]
        if self._plan.indication in _PAIN:
            records.append(self.ask("pain_nrs", timepoint))
        return records

    def thorough(self, timepoint: str = "") -> list[Tree]:
        """What is asked before the series and after it."""
        records = [*self.weekly(timepoint), self.ask("madrs", timepoint)]
        if self._plan.index % 3 == 0:
            records.append(self.ask("qids_sr16", timepoint))
        if self._plan.indication in _PTSD:
            records.append(self.ask("pcl5", timepoint))
        return records

    def _blank(self, scale: str, timepoint: str, performer: Tree) -> Tree:
        return {
            "kind": "assessment",
            "id": self._chance.identifier(),
            "revision": 1,
            **self._head,
            "status": "final",
            "measured_at": self._at[0],
            "recorded_at": self._at[1],
            **self._tail,
            **({"timepoint": timepoint} if timepoint else {}),
            "performers": [performer],
            "scale": scale,
        }

    def _phq9(self, score: int) -> Tree:
        ninth = min(max(round(score / 9) - (0 if self._plan.suicidal else 1), score - 24, 0), 3)
        points = _spread(self._chance, score - ninth)
        items = [_PHQ9_ITEMS[item][value] for item, value in enumerate((*points, ninth))]
        if self._chance.random() < _MISSING:
            # Without the ninth item there is no total.
            return {"items": [*items[:8], _PHQ9_DECLINED], "instrument": _PHQ9}
        return {"score": score, "items": items, "severity_band": _band(_PHQ9_BANDS, score), "instrument": _PHQ9}


def _spread(chance: Chance, total: int) -> list[int]:
    """Eight items from 0 to 3 that add up to ``total``."""
    level, more = divmod(total, 8)
    points = [level + (item < more) for item in range(8)]
    for _ in range(6):
        giver, taker = chance.below(8), chance.below(8)
        if giver != taker and points[giver] > 0 and points[taker] < 3:
            points[giver] -= 1
            points[taker] += 1
    return points


class Rater:
    """Watches one session: dissociation and alertness at the planned times."""

    __slots__ = ("_chance", "_course", "_head", "_link", "_nurse", "_plan", "_visit")

    def __init__(self, chance: Chance, plan: Plan, visit: Visit, course: Course) -> None:
        self._chance = chance
        self._plan = plan
        self._visit = visit
        self._course = course
        self._nurse = [plan.directory.staff(visit.nurse)]
        self._link = plan.directory.ref("Procedure", "treatment-session", visit.session)
        self._head: Tree = {
            "kind": "assessment",
            "id": "",
            "revision": 1,
            "patient": plan.patient,
            "encounter": plan.directory.ref("Encounter", "encounter", visit.encounter),
        }

    def at(self, timepoint: str, minute: int) -> list[Tree]:
        """The scores at one planned time."""
        if timepoint not in MONITORED:
            return []
        records = [self._dissociation(timepoint, minute), self._alertness(timepoint, minute)]
        if minute == 40 and self._plan.indication == "bipolar_depression":
            records.append(self._score("bprs_positive4", timepoint, minute, self._chance.below(4)))
        return records

    def _dissociation(self, timepoint: str, minute: int) -> Tree:
        course = self._course
        if minute == 40:
            total = float(course.dissociation_40)
        else:
            total = course.dissociation_40 * course.effect(minute) + self._chance.below(2)
        if self._plan.short_dissociation_scale:
            return self._score("cadss6", timepoint, minute, min(round(total * CADSS6_SHARE), 24))
        return self._score("cadss", timepoint, minute, min(round(total), 92))

    def _alertness(self, timepoint: str, minute: int) -> Tree:
        drowsy = round(self._course.effect(minute) * (self._course.dissociation_40 / 24) * self._chance.random())
        if self._visit.site == "second":
            return self._score("rass", timepoint, minute, -min(drowsy, 4))
        return self._score("moaas", timepoint, minute, 5 - min(drowsy, 4))

    def _score(self, scale: str, timepoint: str, minute: int, score: int) -> Tree:
        chance = self._chance
        clock, at = self._visit.dose_minute + minute + 1, self._visit.day.at
        second = chance.below(60)
        tree = self._head.copy()
        tree["id"] = chance.identifier()
        tree["status"] = "final"
        tree["measured_at"] = at(clock, second)
        tree["recorded_at"] = at(clock + 1, second)
        tree["session"] = self._link
        tree["timepoint"] = timepoint
        tree["offset_from_dose"] = OFFSETS[minute + 1]
        tree["performers"] = self._nurse
        tree["scale"] = scale
        if chance.random() < _MISSING:
            tree["absent_reason"] = chance.pick(("not_performed", "asked_declined", "unknown"))
        else:
            tree["score"] = score
        tree["administration_mode"] = "interview"
        return tree
