"""Corrections: some records are written with a slip first and come again, put right, with the next revision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fhirbridge.fhir.json import Tree
from fhirbridge.records.vitals import SCALE_RANGES
from fhirbridge.synth.chance import Chance

# How far the number first typed is from the one read.
_SLIPS = {"blood_pressure": 10, "heart_rate": 10, "respiratory_rate": 2, "oxygen_saturation": -10, "etco2": 1}
_LATER_STATUS = (("corrected", 0.6), ("amended", 0.3), ("entered_in_error", 0.1))


def spread(chance: Chance, share: float, blocks: Iterable[list[Tree]]) -> Iterator[Tree]:
    """The records of one patient, block by block; a ``share`` of them (0 to 1) with a slip that is put right after the
    patient's next appointment."""
    found: list[Tree] = []
    for block in blocks:
        put_right: list[Tree] = []
        for record in block:
            pair = _split(chance, record) if chance.random() < share else None
            yield record if pair is None else pair[0]
            if pair is not None:
                put_right.append(pair[1])
        yield from found
        found = put_right
    yield from found


def _split(chance: Chance, record: Tree) -> tuple[Tree, Tree] | None:
    """The record as it was written first, and the corrected one as revision 2; ``None`` where no slip fits.

    Apart from revision and status the corrected one equals ``record``, so that the newest revisions of a clinic say
    what a clinic without corrections says. A void measurement (``entered_in_error``) equals it too.
    """
    kind = record["kind"]
    if kind == "vital_sign":
        first = _misread(record)
        return None if first is None else (first, {**record, "revision": 2, "status": chance.weighted(_LATER_STATUS)})
    if kind == "assessment":
        first = _miscounted(record)
        return None if first is None else (first, {**record, "revision": 2, "status": chance.weighted(_LATER_STATUS)})
    if kind == "session":
        first = _without_lot(record)
        return None if first is None else (first, {**record, "revision": 2})
    if kind == "adverse_event" and "resolved_at" in record:
        first = {name: value for name, value in record.items() if name != "resolved_at"}
        return first | {"record_status": "in_progress", "outcome": "ongoing"}, {
            **record, "revision": 2, "record_status": "amended",
        }  # fmt: skip
    return None


def _misread(record: Tree) -> Tree | None:
    slip = _SLIPS.get(record["sign"])
    readings = record.get("readings")
    if slip is None or readings is None or "value" not in readings[0]:
        return None
    wrong = {**readings[0], "value": readings[0]["value"] + slip}
    return {**record, "readings": [wrong, *readings[1:]]}


def _miscounted(record: Tree) -> Tree | None:
    if "score" not in record:
        return None
    score = record["score"]
    wrong = score - 1 if score > SCALE_RANGES[record["scale"]].low else score + 1
    return {**record, "score": wrong}


def _without_lot(record: Tree) -> Tree | None:
    doses = record.get("administrations")
    if not doses:
        return None
    first = {name: value for name, value in doses[0].items() if name not in ("lot_number", "expiry")}
    return {**record, "administrations": [first, *doses[1:]]}
