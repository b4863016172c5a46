"""Where an interpretation goes beyond its statement: words that code can look up, for a reader to ask about.

A finding can be computed honestly and read falsely: the contrast is one of order, and the sentence
beneath it speaks of version numbers. Code does not understand the sentence. It knows the names that
this run has for what may matter (factors and levels, what was answered and guessed, the words of its
hypotheses, tools, layers), and what the statement and its controls hold; a name that is in the
sentence and in neither of these is told. That nothing is told does not mean that the sentence is true.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.citations import Prose
from agent.controls import Control
from agent.investigation import Investigation
from agent.population import Population
from agent.prediction import Prediction
from agent.wording import aspects, describe_arm, differing_edits, listed
from agent.wording import name as in_ticks
from tools.measures import ProbeReading, words

FEWEST_LETTERS = 4
IN_VALUES = 2
"""A word stands for a level when so many of the level's values have it, and no other level's."""
ENDINGS = ("ing", "ed", "ly")
SHORTEST_STEM = 3
ORDINARY_WORDS = """
able about above according across actual actually added affect after again against alone along also although always
among amount another answer apart appear around asked away base beat because become been before begin behave behaviour
being below beside besides best better between beyond both bring call came cannot carry case cause certain chance
change clear close come compare condition confirm contain contrast control could data decide depend describe differ
difference different direct does doing done down each effect either else enough error even ever every evidence exactly
example except excluded experiment explain extra fact fail false family fewer find finding first fixed follow found
from full further gain general gets give given goes gone good group grow half happen hardly have having held help
hence here high hold however hypothesis idea increase indeed independent instead interval into just keep kept kind
know large larger last later lead least left less level like little long look lower made main make many mark matter
maybe mean meaning means measure mere merely might model more moreover most much must name near nearly need neither
never next noise none nor normal nothing noticed number occur often once only other otherwise over overall pair part
particular place play point position possible predict prediction present prompt question quite raise random range rate
rather reach read real reason reference register remain report result right rival role rule said same sample scale
score second seem seen self sense sentence several shift show shown side similar simply since single size small
smaller some something sort speak stand start state statement still strong stronger subject such suffice support sure
take tell template test text than that their them then there therefore these they thing think this those though three
through thus time together told toward treatment true turn type under unless unlike unseen until unusual upon usual
value very weak well were what whatever when where whether which while whole whose wide will with within without word
wording work would wrong yield
"""
ORDINARY = frozenset(ORDINARY_WORDS.split())
"""Words that any sentence on an experiment may have."""
SHORT_WORDS = (
    "who why how all any one two yes not off low few own new old use way out set see say raw top"
)
SHORT = frozenset(SHORT_WORDS.split())
INSIDE = (
    "attention", "attends", "head", "neuron", "circuit", "residual", "embedding", "activation", "representation",
    "represents", "encodes", "internal", "internally", "weights", "believes", "understands", "intends", "intention",
    "aware", "remembers", "deceives", "introspects",
)  # fmt: skip
"""Words for what goes on in a model, which a contrast of prompts does not look into."""
CAUSES = re.compile(
    r"\b(because|causes?|caused|due to|driven by|drives|explains|responsible for)\b"
)
NEGATED = re.compile(r"\b(not|no|nor|neither|never|without|nothing|rather than)\b|n't\b")
CLAUSE = re.compile(r"[.,;:!?()]|\bbut\b|\band\b")
TESTED = "no tested statement and none of the controls holds"
LAYER = re.compile(r"\blayers?\s+(\d+)")


@dataclass(frozen=True)
class Known:
    """A name that the run has for something that may matter."""

    what: str
    """What it is a name of, in words."""
    plain: bool
    """A name of the case's own; else a word of the investigator's, which counts only where it stands nowhere."""
    within: tuple[str, ...] = ()
    """Levels whose values have it: where one of these is held, it is held too."""


@dataclass(frozen=True)
class Held:
    """What a finding stands on, as stems with spaces around them."""

    core: str
    """The statement, what was done and what was measured."""
    excluded: str
    """The rivals that were excluded."""
    other: str
    """The rivals that were not, and the checks."""
    inside: bool
    """Whether it looks into the model."""
    opened: bool
    """Whether an effect was shown and its cause is open."""
    what: str = "neither the statement nor its controls hold"
    """What is said of a name that is not held."""


def stem(word: str) -> str:
    """Return a word without its common endings, so that "versions" and "version" are one."""
    if word.endswith("ies"):
        return f"{word.removesuffix('ies')}y"
    word = word.removesuffix("s") if not word.endswith("ss") else word
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            word = word.removesuffix(ending)
    return word.rstrip("e") if len(word) > SHORTEST_STEM else word


COMMON = frozenset(map(stem, ORDINARY))


def stems(texts: Iterable[str]) -> str:
    """Return the stems of texts, one space before, between and behind them."""
    return f" {' '.join(stem(word) for text in texts for word in words(text))} "


def telling(word: str) -> bool:
    """Say whether a word says something in particular."""
    return len(word) >= FEWEST_LETTERS and stem(word) not in COMMON


def names_of(investigation: Investigation) -> dict[str, Known]:
    """Return the stems of every name that a run has for what may matter, the case's own names first."""
    found: dict[str, Known] = {}
    for text, known in every_name(investigation):
        key = stems([text]).strip()
        if key and key not in SHORT:
            found.setdefault(key, known)
    return found


def every_name(investigation: Investigation) -> Iterator[tuple[str, Known]]:
    """Yield every name with what it is a name of."""
    said: dict[str, set[str]] = {}
    for population in investigation.populations.values():
        for slot, levels in levels_of(population).items():
            of = in_ticks(slot)
            yield slot, Known(f"a slot of the case, {of}", plain=True)
            yield from ((level, Known(f"a level of {of}", plain=True)) for level in levels)
            for word, counts in words_of_levels(levels).items():
                said.setdefault(word, set()).update(counts)
                if len(counts) == 1 and counts.total() >= IN_VALUES:
                    (level,) = counts
                    yield word, Known(f"said at level {in_ticks(level)} of {of}", True, (level,))
    for registration in investigation.registrations.values():
        for edit in differing_edits(registration.prediction):
            other = Known("what another test was about", plain=True)
            yield from ((each, other) for each in aspects(edit))
    for tool in investigation.offered():
        yield tool["name"], Known("a tool", plain=True)
    for text in investigators_words(investigation):
        for word in filter(telling, words(text)):
            within = tuple(sorted(said.get(stem(word), ())))
            yield word, Known("from the investigator's own hypotheses or answer", False, within)


def levels_of(population: Population) -> dict[str, dict[str, set[str]]]:
    """Return every slot with its levels and their values, of all pools; a plain slot has no levels."""
    found: dict[str, dict[str, set[str]]] = {}
    for pool in population.pools.values():
        for slot, content in pool.slots.items():
            levels = found.setdefault(slot, {})
            for level, values in content.levels.items():
                levels.setdefault(level, set()).update(values)
    return found


def words_of_levels(levels: Mapping[str, Iterable[str]]) -> dict[str, Counter[str]]:
    """Return the stems of telling words, each with how many values of each level have it."""
    found: dict[str, Counter[str]] = {}
    for level, values in levels.items():
        for value in values:
            for word in {stem(each) for each in words(value) if telling(each)}:
                found.setdefault(word, Counter())[level] += 1
    return found


def investigators_words(investigation: Investigation) -> Iterator[str]:
    """Yield what the investigator proposed and answered."""
    for hypothesis in investigation.hypotheses.values():
        yield from (hypothesis.claim, *hypothesis.rivals)
    if investigation.submission is not None:
        yield from investigation.submission.answer.value
        yield from investigation.submission.answer.guesses


def held_by(
    statement: str, prediction: Prediction, controls: Sequence[Control], status: str | None
) -> Held:
    """Return what a finding stands on; `status` is what its data decided."""
    arms = [prediction.treatment, *([prediction.control] if prediction.control else [])]
    edits = differing_edits(prediction)
    intervened = any(arm.intervention is not None for arm in arms)
    rivals: dict[bool, list[str]] = {True: [], False: []}
    for control in controls:
        gone = control.passed and control.kind != "check"
        rivals[gone] += [control.name, control.detail]
    for registered, control in zip(prediction.rivals, controls, strict=False):
        if registered.arm is not None:
            rivals[control.passed] += [describe_arm(registered.arm)]
    return Held(
        core=stems(
            [
                statement,
                *(arm.model_dump_json() for arm in arms),
                *(aspect for edit in edits for aspect in aspects(edit)),
                prediction.measure.model_dump_json(),
            ]
        ),
        excluded=stems(rivals[True]),
        other=stems(rivals[False]),
        inside=intervened or isinstance(prediction.measure, ProbeReading),
        opened=status == "effect shown, cause open",
    )


def beyond_any(
    prose: Prose, every: Sequence[Held], known: dict[str, Known], question: str
) -> tuple[str, ...]:
    """Return a sentence for each way in which a text goes beyond all that was tested."""
    core = "".join(each.core + each.excluded + each.other for each in every) or " "
    inside = any(each.inside for each in every)
    return beyond(prose, Held(core, " ", " ", inside, opened=False, what=TESTED), known, question)


def beyond(prose: Prose, held: Held, known: dict[str, Known], question: str) -> tuple[str, ...]:
    """Return a sentence for each way in which a text goes beyond what it stands on; `question` is the case's."""
    said = "".join(each.text for each in prose.segments if each.kind in ("text", "code", "uncited"))
    coded = stems(each.text for each in prose.segments if each.kind == "code")
    text, asked = stems([said]), stems([question])
    unheld: dict[str, list[str]] = {}
    only_rival: dict[str, list[str]] = {}
    for key, name in known.items():
        if f" {key} " not in text or (is_common(key) and f" {key} " not in coded):
            continue
        own = (key, *(stems([level]).strip() for level in name.within))
        if any(f" {each} " in held.core + held.other for each in own):
            continue
        if not name.plain and f" {key} " in asked + held.excluded:
            continue
        told = in_ticks(as_said(said, key))
        if not any(f" {each} " in held.excluded for each in own):
            unheld.setdefault(name.what, []).append(told)
        elif not is_denied(said, key):
            only_rival.setdefault(name.what, []).append(told)
    if layers := layers_beyond(said, held.core):
        unheld["a place in the model"] = layers
    return tuple(told_of(by_kind(unheld), by_kind(only_rival), said, held))


def by_kind(names: dict[str, list[str]]) -> list[str]:
    """Return names in words, those of one kind together."""
    return [f"{listed(each, 'and')} ({what})" for what, each in names.items()]


def told_of(
    unheld: Sequence[str], only_rival: Sequence[str], said: str, held: Held
) -> Iterator[str]:
    """Yield the sentences."""
    if unheld:
        yield f"It names {listed(unheld, 'and')}, which {held.what}."
    if only_rival:
        yield f"It names {listed(only_rival, 'and')}, which stands here only in a rival that was excluded."
    inside = [] if held.inside else [w for w in words(said) if w in INSIDE or stem(w) in INSIDE]
    if inside:
        yield (
            f"It speaks of what goes on inside the model ({in_ticks(inside[0])}), which a contrast of prompts does not "
            "look into."
        )
    causes = [
        found[0]
        for clause in CLAUSE.split(said.lower())
        if (found := CAUSES.search(clause)) and not NEGATED.search(clause[: found.start()])
    ]
    if held.opened and causes:
        yield f"It speaks of a cause ({in_ticks(causes[0])}), which the verdict leaves open."


def is_common(key: str) -> bool:
    """Say whether a name is a word of every day, which means the name only when it is written as code."""
    return key in COMMON


def as_said(text: str, key: str) -> str:
    """Return the first words of a text that have these stems."""
    found = words(text)
    size = key.count(" ") + 1
    for place in range(len(found) - size + 1):
        if " ".join(map(stem, found[place : place + size])) == key:
            return " ".join(found[place : place + size])
    return key


def is_denied(text: str, key: str) -> bool:
    """Say whether something is denied before the name, in every clause that has it."""
    first = as_said(text, key)
    clauses = [each for each in CLAUSE.split(text.lower()) if f" {key} " in stems([each])]
    return all(NEGATED.search(each.partition(first)[0]) for each in clauses)


def layers_beyond(text: str, core: str) -> list[str]:
    """Return the layers that a text names and the statement does not."""
    named = dict.fromkeys(LAYER.findall(text.lower()))
    return [f"layer {n}" for n in named if not re.search(rf" layer [^a-z]*\b{n} ", core)]
