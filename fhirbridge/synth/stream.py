"""One patient after another: what happened, in time order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from fhirbridge.fhir.json import Tree
from fhirbridge.synth import consents, corrections, events, sessions
from fhirbridge.synth.chance import Chance
from fhirbridge.synth.options import Options
from fhirbridge.synth.plan import Visit, draw_plan
from fhirbridge.synth.scales import Interviews, Rater
from fhirbridge.synth.vitals import SCHEDULES, Bedside, of_intake

_INTAKE_MINUTE = 10 * 60 + 45
_FOLLOW_UP_MINUTE = 15 * 60
_FOLLOW_UP_DAYS = 7
# Numbers of the induction at which the weekly scales are due.
_WEEKLY = frozenset({3, 5, 7})


class _Happening(NamedTuple):
    """Something at a time (ordinal of the day, minutes after midnight); its records are made when its turn comes."""

    ordinal: int
    minute: int
    make: Callable[[], list[Tree]]


def records_of(options: Options, index: int) -> Iterator[Tree]:
    """All records of the patient with this index (from 0), in time order; depends on no other patient.

    A session comes first, then what was measured in it. The trees share parts (references, items of scales): read them,
    do not change them.
    """
    chart = _Chart(options, index)
    blocks = (happening.make() for happening in chart.happenings())
    return corrections.spread(Chance(options.seed, index, "corrections"), options.corrections, blocks)


class _Chart:
    """One patient's appointments."""

    def __init__(self, options: Options, index: int) -> None:
        self._options = options
        self._plan = draw_plan(options, index)
        self._touch_consent = ""

    def happenings(self) -> list[_Happening]:
        """Everything that happens to the patient, in time order."""
        plan = self._plan
        draw = consents.permits if self._options.consent == "all-permit" else consents.filings
        filed, self._touch_consent = draw(self._chance("consents"), plan)
        found = [_Happening(plan.intake.ordinal, _INTAKE_MINUTE, self._intake)]
        late = self._chance("late")
        for visit in plan.visits:
            found.append(_Happening(visit.day.ordinal, visit.dose_minute, partial(self._visit, visit)))
            if visit.course is None:
                continue
            filed += events.after_session(late, plan, visit)
            if visit.first:
                found.append(_Happening(visit.day.ordinal + 1, _FOLLOW_UP_MINUTE, partial(self._next_day, visit)))
            if visit.number == plan.planned_sessions:
                ordinal = visit.day.ordinal + _FOLLOW_UP_DAYS
                found.append(_Happening(ordinal, _FOLLOW_UP_MINUTE, partial(self._follow_up, visit)))
        found += [_Happening(day.ordinal, minute, partial(list, (record,))) for day, minute, record in filed]
        found.sort(key=lambda happening: happening[:2])
        return found

    def _chance(self, *names: int | str) -> Chance:
        return Chance(self._options.seed, self._plan.index, *names)

    def _intake(self) -> list[Tree]:
        plan, chance = self._plan, self._chance("intake")
        interviews = Interviews(chance, plan, plan.intake, _INTAKE_MINUTE)
        return [
            *of_intake(chance, plan, _INTAKE_MINUTE),
            *interviews.thorough("baseline"),
            *interviews.suicide_risk("baseline"),
        ]

    def _visit(self, visit: Visit) -> list[Tree]:
        plan, course, chance = self._plan, visit.course, self._chance("visit", visit.index)
        if course is None:
            return [sessions.missed(chance, plan, visit)]
        happened = events.of_session(chance, plan, visit)
        records = [sessions.given(chance, plan, visit, happened, self._touch_consent)]
        asked_at = visit.dose_minute + sessions.ARRIVAL + 2
        interviews = Interviews(chance, plan, visit.day, asked_at, visit)
        records += interviews.suicide_risk("baseline")
        if visit.phase != "induction":
            records.append(interviews.ask("phq2" if plan.index % 2 else "phq9", "baseline"))
        elif visit.number in _WEEKLY:
            records += interviews.weekly("baseline")
        bedside = Bedside(chance, plan, visit, course)
        rater = Rater(chance, plan, visit, course)
        for timepoint, minute, signs in SCHEDULES[self._options.vitals]:
            records += bedside.at(timepoint, minute, signs)
            records += rater.at(timepoint, minute)
        return records + happened

    def _next_day(self, visit: Visit) -> list[Tree]:
        chance = self._chance("next day")
        interviews = Interviews(chance, self._plan, visit.day.later(1), _FOLLOW_UP_MINUTE)
        return [interviews.ask("madrs", "follow_up_24h", mode="telephone")]

    def _follow_up(self, visit: Visit) -> list[Tree]:
        day = visit.day.later(_FOLLOW_UP_DAYS)
        interviews = Interviews(self._chance("follow-up"), self._plan, day, _FOLLOW_UP_MINUTE)
        return [*interviews.thorough(), *interviews.suicide_risk()]
