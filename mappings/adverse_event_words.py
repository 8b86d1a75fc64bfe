"""Adverse events: the clinic's words ⇄ CodeableConcepts, in every spelling there is (traps T5, T6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Extensions, decode_each
from fhirbridge.codec.extension import Complex
from fhirbridge.codec.leaf import Term, a_list, an_object, at, coding, concept, concept_node, keys_of
from fhirbridge.errors import Fault, Refused
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.records.adverse_event import AdverseEvent
from fhirbridge.records.base import Concept
from mappings import local, terms
from mappings.common import two_codings
from mappings.terms import Vocabulary

Keys = Mapping[tuple[str, str], str]


def spellings(*vocabularies: Vocabulary) -> dict[tuple[str, str], str]:
    """``(system, code)`` to word, over all spellings of a table."""
    return {vocabulary.key(word): word for vocabulary in vocabularies for word in vocabulary.table}


def coded_or_said(words: Iterable[str], vocabulary: Vocabulary) -> dict[str, Tree]:
    """The concepts of ``words``; one that the code system does not have is said in words alone (decision D7)."""
    concepts = vocabulary.concepts()
    return {word: concepts.get(word) or {"text": terms.label(word)} for word in words}


class Word(Term):
    """One of the clinic's words ⇄ a CodeableConcept. A concept without a coding is read by its text.

    What a foreign concept says beside the word is residue. A concept of a record that means one of the words is refused
    when written, for it would come back as the word; ``field`` is where the record holds it.
    """

    def __init__(self, field: str, nodes: Mapping[str, Tree], spelled: Keys | None = None, *, or_concept: bool = False):
        super().__init__(nodes, spelled, or_concept=or_concept)
        self.carries: tuple[str, ...] = ()
        self._field = field
        self._said = {terms.label(word): word for word in nodes}

    def word_of(self, node: Json) -> str | None:
        word = super().word_of(node)
        if word is None and isinstance(node, dict) and "coding" not in node and isinstance(node.get("text"), str):
            return self._said.get(node["text"].casefold())
        return word

    def encode(self, value: str | Concept) -> Json:
        if isinstance(value, str):
            return self.nodes[value]
        node = concept.encode(value)
        words = f"one of {', '.join(self.nodes)}"
        if self.word_of(node) is not None:
            raise Refused.at("record.word", self._field, "the concept is one of the record's words: write that", words)
        if not self.or_concept:
            raise Refused.at("record.word", self._field, "this release knows no other codes here", words)
        return node


class EventCode:
    """What happened: the reporter's words, the clinic's term and further codes ⇄ ``event`` (R5 ``code``)."""

    fields = ("verbatim", "term", "codings")
    _nodes = terms.EVENT.codings()
    _terms = spellings(terms.EVENT)

    def __init__(self, name: str) -> None:
        self.name = name
        self.carries = (f"{name}.coding.system", f"{name}.coding.code")

    def write(self, record: AdverseEvent, node: Tree, extensions: list[Tree]) -> None:
        term = record.term
        codings = [] if term is None else [self._nodes[term]]
        if record.codings:
            codings += map(coding.encode, record.codings)
        if term is None:
            for position, key in enumerate(keys_of({"coding": codings})):
                if key in self._terms:
                    reason = "the code is one of the record's terms"
                    raise Refused.at(
                        "record.word", f"codings[{position}]", reason, "write the term instead of the code"
                    )
        event: Tree = {"coding": codings} if codings else {}
        event["text"] = record.verbatim
        node[self.name] = event

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        if self.name not in node:
            raise Refused.at("resource.missing", self.name, "an event must be called something")
        event = at(self.name, an_object, node[self.name])
        codings: list[Tree] = []
        if "coding" in event:
            items = at(f"{self.name}.coding", a_list, event["coding"])
            codings = decode_each(f"{self.name}.coding", coding, enumerate(items))
        # Every item is an object by now, but its members may still be anything.
        keys = keys_of({"coding": codings})
        known = next((key for key in keys if key in self._terms), None)
        verbatim = event.get("text") or next((one["display"] for one in codings if "display" in one), None)
        if known is not None:
            values["term"] = self._terms[known]
            verbatim = verbatim or terms.label(values["term"])
            own = next(one for one in codings if (one.get("system"), one.get("code")) == known)
            codings = [one for one in codings if one is not own]
        verbatim = verbatim or next((one["code"] for one in codings if "code" in one), None)
        if verbatim is None:
            raise Refused.at("resource.missing", f"{self.name}.text", "an event must be called something")
        values["verbatim"] = verbatim
        if codings:
            values["codings"] = codings


_TRUTH = {"serious": True, "non_serious": False}


class Seriousness:
    """Serious or not, and by which criteria ⇄ ``seriousness`` and the guides' ``seriousness-criteria``.

    The R4 core's reasons (``SeriousResultsInDeath`` …) are read as the criteria they name.
    """

    name = "seriousness"
    fields = ("serious", "seriousness_criteria", "criteria_ruled_out")
    carries: tuple[str, ...] = ()

    def __init__(self, binding: Binding, guide: Mapping[str, Any], vocabulary: Vocabulary) -> None:
        self._nodes = {_TRUTH[word]: node for word, node in vocabulary.concepts().items()}
        self._words = spellings(terms.SERIOUSNESS, terms.SERIOUSNESS_R4_CORE)
        self._reasons = spellings(terms.SERIOUSNESS_REASON_R4_CORE)
        criterion = Word("seriousness_criteria", terms.SERIOUSNESS_CRITERION.concepts(), or_concept=True)
        self._criterion = Complex(
            binding,
            guide["seriousness-criteria"],
            "seriousness_criteria",
            codecs={"criterionCode": criterion},
            fields={"criterionCode": "code", "criterionPresent": "present"},
        )
        self._code = criterion

    def write(self, record: AdverseEvent, node: Tree, extensions: list[Tree]) -> None:
        if (serious := record.serious) is not None:
            node["seriousness"] = self._nodes[serious]
        if met := record.seriousness_criteria:
            extensions += [self._extension(one, True) for one in met]
        if ruled_out := record.criteria_ruled_out:
            extensions += [self._extension(one, False) for one in ruled_out]

    def _extension(self, criterion: str | Concept, present: bool) -> Tree:
        parts = [
            {"url": "criterionCode", "valueCodeableConcept": self._code.encode(criterion)},
            {"url": "criterionPresent", "valueBoolean": present},
        ]
        return {"url": self._criterion.url, "extension": parts}

    def read(self, node: Tree, extensions: Extensions, values: Tree) -> None:
        criteria: dict[bool, list[Json]] = {True: [], False: []}
        for position, item in extensions.get(self._criterion.url, ()):
            value = at(f"extension[{position}]", self._criterion.decode, item)
            if "code" not in value or "present" not in value:
                reason = "a criterion needs its code and whether it is met"
                raise Refused.at("resource.missing", f"extension[{position}]", reason)
            if type(value["present"]) is not bool:
                raise Refused.at("resource.type", f"extension[{position}]", "true or false is wanted here")
            criteria[value["present"]].append(value["code"])
        if "seriousness" in node:
            values["serious"], reasons = at("seriousness", self._decode, node["seriousness"])
            criteria[True] += [reason for reason in reasons if reason not in criteria[True]]
        if criteria[True]:
            values["seriousness_criteria"] = criteria[True]
        if criteria[False]:
            values["criteria_ruled_out"] = criteria[False]

    def _decode(self, node: Json) -> tuple[bool, list[str]]:
        keys = keys_of(an_object(node))
        reasons = list(dict.fromkeys(self._reasons[key] for key in keys if key in self._reasons))
        said = {_TRUTH[self._words[key]] for key in keys if key in self._words} | ({True} if reasons else set())
        text = node.get("text")
        if not said and "coding" not in node and isinstance(text, str):
            said = {truth for word, truth in _TRUTH.items() if text.casefold().replace("-", " ") == terms.label(word)}
        if len(said) != 1:
            code = "resource.contradiction" if said else "resource.unknown_code"
            raise Refused.at(code, "coding", "neither serious nor non-serious", "one of serious, non-serious")
        return said.pop(), reasons


class Grade:
    """A CTCAE grade from 1 to 5 ⇄ its NCIt concept."""

    carries: tuple[str, ...] = ()

    def __init__(self) -> None:
        nodes = {
            grade: concept_node([(terms.NCIT, *coded)], f"grade {grade}") for grade, coded in terms.GRADE.table.items()
        }
        self._term = Term(nodes)

    def encode(self, value: int) -> Json:
        return self._term.nodes[str(value)]

    def decode(self, node: Json) -> int:
        return int(self._term.decode(node))


def severity() -> Word:
    """Severity: a required binding in R4, so nothing but its three codes."""
    return Word("severity", terms.SEVERITY.concepts())


def outcome(binding: Binding) -> Word:
    """The outcome: R4 requires one of HL7's codes and the guides one of NCIt's, so both stand in one concept (trap T6).

    R5 keeps the R4 coding for the way back (trap T22), and there a concept of somebody else's is allowed.
    """
    spelled = spellings(terms.OUTCOME_R4, terms.OUTCOME_NCIT)
    if binding.release.is_r5:
        return Word("outcome", two_codings(terms.OUTCOME_NCIT, terms.OUTCOME_R4), spelled, or_concept=True)
    if binding.overlay.single_coding_required_bindings:
        return Word("outcome", terms.OUTCOME_R4.concepts(), spelled)
    return Word("outcome", two_codings(terms.OUTCOME_R4, terms.OUTCOME_NCIT), spelled)


def core_codes(binding: Binding) -> bool:
    """Whether this server knows the R4 core's spellings alone (trap T5)."""
    return binding.overlay.r4_core_ae_codes and not binding.release.is_r5


def category(binding: Binding) -> Word:
    """Kinds of mishap: half of the words have a code in THO only, the others in the R4 core only."""
    vocabulary = terms.MISHAP_R4_CORE if core_codes(binding) else terms.MISHAP
    nodes = coded_or_said((*terms.MISHAP.table, *terms.MISHAP_R4_CORE.table), vocabulary)
    return Word("categories", nodes, spellings(terms.MISHAP, terms.MISHAP_R4_CORE), or_concept=True)


def participant_function() -> Word:
    """The function of a participant."""
    return Word("participants.function", terms.PARTICIPANT_FUNCTION.concepts(), or_concept=True)


def expectedness(binding: Binding) -> Word:
    """Whether an event was to be expected."""
    system = local.EXPECTEDNESS
    return Word("expectedness.value", system.concepts(binding), or_concept=True)


class Assessed:
    """Assessment and relatedness of a cause ⇄ the codings of one concept, WHO-UMC first and NCIt second."""

    def __init__(self, binding: Binding) -> None:
        vocabulary = terms.CAUSALITY_R4_CORE if core_codes(binding) else terms.CAUSALITY
        self._assessments = vocabulary.codings()
        self._relatedness = terms.RELATEDNESS.codings()
        self._words = {
            "assessment": spellings(terms.CAUSALITY, terms.CAUSALITY_R4_CORE),
            "relatedness": spellings(terms.RELATEDNESS),
        }

    def codings(self, assessment: str | Concept | None, relatedness: str | None) -> list[Tree]:
        """The codings that say both. Raises where a concept is one of the words, as which it would come back."""
        found: list[Tree] = []
        if isinstance(assessment, str):
            found.append(self._assessments[assessment])
        elif assessment is not None:
            found += [coding.encode(one) for one in assessment.codings]
            for key in keys_of({"coding": found}):
                for field, words in self._words.items():
                    if key in words:
                        where = "suspects.causality.assessment"
                        hint = f"one of {', '.join(dict.fromkeys(words.values()))} as {field}"
                        raise Refused.at("record.word", where, "the concept is one of the record's words", hint)
        if relatedness is not None:
            found.append(self._relatedness[relatedness])
        return found

    def decode(self, items: Sequence[Json]) -> Tree:
        """``assessment`` and ``relatedness`` as far as the codings say; unknown ones are kept as a concept."""
        others: list[Tree] = []
        said: dict[str, set[str]] = {"assessment": set(), "relatedness": set()}
        for one in decode_each("", coding, enumerate(items)):
            key = (one.get("system"), one.get("code"))
            field = next((name for name in said if keys_of({"coding": [one]}) and key in self._words[name]), None)
            if field is None:
                others.append(one)
            else:
                said[field].add(self._words[field][key])
        faults = [
            Fault("resource.contradiction", "", f"the codings of the {field} mean different things")
            for field, words in said.items()
            if len(words) > 1
        ]
        if faults:
            raise Refused(faults)
        value: Tree = {field: next(iter(words)) for field, words in said.items() if words}
        if others and "assessment" not in value:
            value["assessment"] = {"codings": others}
        return value


def causality_method(binding: Binding) -> Word:
    """By which method a cause was assessed."""
    vocabulary = terms.CAUSALITY_METHOD_R4_CORE if core_codes(binding) else terms.CAUSALITY_METHOD
    spelled = spellings(terms.CAUSALITY_METHOD, terms.CAUSALITY_METHOD_R4_CORE)
    return Word("suspects.causality.method", vocabulary.concepts(), spelled, or_concept=True)
