"""Where an interpretation goes beyond its statement: words that code can look up, for a reader to ask about.

A finding can be computed honestly and read falsely: the contrast is one of order, and the sentence
beneath it speaks of version numbers. Code does not understand the sentence. It looks for four things:
what the model wants or how it works inside, which no contrast of prompts looks into; factors and levels
of the case, and rivals, that were not tested or were excluded; the verdict read otherwise
(`agent/against_verdict.py`); and, where none of these is found, a reading that names nothing of what
was changed. That nothing is told does not mean that the sentence is true.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.against_verdict import Shown, against
from agent.citations import Prose
from agent.controls import Control
from agent.investigation import Investigation
from agent.plain_words import (
    SHORT,
    as_said,
    clauses,
    denies,
    has,
    is_common,
    is_denied,
    is_left_open,
    stem,
    stems,
    telling,
)
from agent.population import Population
from agent.prediction import Prediction
from agent.wording import aspects, describe_arm, differing_edits, listed
from agent.wording import name as in_ticks
from tools.measures import ProbeReading, words
from tools.prompt import Arm

IN_VALUES = 2
"""A word stands for a level when so many of its values have it, half of them at least, and no other level's."""
FEWEST_STRANGE = 2
"""So many telling words that stand nowhere else, in a reading that names nothing of what was changed."""
INSIDE = (
    "attention", "attends", "head", "neuron", "circuit", "residual", "embedding", "activation", "representation",
    "represents", "encodes", "internal", "internally", "weights", "memory", "memorised", "memorized", "introspects",
)  # fmt: skip
"""Words for what goes on in a model, which a contrast of prompts does not look into."""
TAKES = re.compile(
    r"\b(?:it|model|subject|he|they) (?:\w+ly )?(takes?|reads?|treats?|hears?|sees?|mistakes?|confuses?|interprets?|"
    r"construes?)\b[^.;:]*\b(?:for|as|with)\b"
)
"""How a model takes what it is given."""
MIND = re.compile(
    r"\b(?P<any>wants?|wanting|wish(es)?|desires?|fears?|afraid|scared|believes?|beliefs?|understands?|inten(ds?|t|tions?)|"
    r"aware(ness)?|conscious\w*|decei\w+|decepti\w+|pretends?|deliberate\w*|on purpose|preserv\w+|surviv\w+|"
    r"reali[sz]es|loyal\w*)\b|"
    r"\b(?:it|model|subject) (?:\w+ly )?"
    r"(?P<its>thinks|feels|hopes|plans|cares|trusts|likes|hates|prefers|decides|expects|tries)\b"
)
"""Words for what a model wants, feels or understands."""
OF_TESTS = re.compile(r"\b(rivals?|explanations?|hypothes[ie]s|challenges?|tests?)\b")
TESTED = "no tested statement and none of the controls holds"
LAYER = re.compile(r"\blayers?\s+(\d+)")


@dataclass(frozen=True)
class Known:
    """A name that the case has for something that may matter."""

    what: str
    """What it is a name of, in words."""
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
    shown: Shown = Shown("")
    changed: str = " "
    """What was done in any arm, what was excluded and what was claimed."""
    rivals: tuple[str, ...] = ()
    """Telling stems of the rivals that the investigator named and that were excluded."""
    what: str = "neither the statement nor its controls hold"
    """What is said of a name that is not held."""


def names_of(investigation: Investigation) -> dict[str, Known]:
    """Return the stems of every name that a case has for what may matter, slots and levels first."""
    found: dict[str, Known] = {}
    for text, known in every_name(investigation):
        key = stems([text]).strip()
        if key and key not in SHORT:
            found.setdefault(key, known)
    return found


def every_name(investigation: Investigation) -> Iterator[tuple[str, Known]]:
    """Yield every name with what it is a name of."""
    for population in investigation.populations.values():
        for slot, levels in levels_of(population).items():
            of = in_ticks(slot)
            yield slot, Known(f"a slot of the case, {of}")
            yield from ((level, Known(f"a level of {of}")) for level in levels)
            for word, counts in words_of_levels(levels).items():
                (level, count), *more = counts.items()
                if not more and count >= max(IN_VALUES, len(levels[level]) / 2):
                    yield word, Known(f"said at level {in_ticks(level)} of {of}", (level,))
    for registration in investigation.registrations.values():
        for edit in differing_edits(registration.prediction):
            yield from ((each, Known("what another test was about")) for each in aspects(edit))


def said_at(known: dict[str, Known]) -> dict[str, list[str]]:
    """Return the words that only the values of a level have, by level."""
    found: dict[str, list[str]] = {}
    for key, name in known.items():
        for level in name.within:
            found.setdefault(level, []).append(key)
    return found


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


def held_by(
    statement: str, prediction: Prediction, controls: Sequence[Control], claim: str, shown: Shown
) -> Held:
    """Return what a finding stands on; `claim` is its hypothesis, `shown` what its data decided."""
    arms = [prediction.treatment, *([prediction.control] if prediction.control else [])]
    edits = differing_edits(prediction)
    of_edits = [aspect for edit in edits for aspect in aspects(edit)]
    intervened = any(arm.intervention is not None for arm in arms)
    rivals: dict[bool, list[str]] = {True: [], False: []}
    for control in controls:
        gone = control.passed and control.kind != "check"
        rivals[gone] += [control.name, control.detail]
    for registered, control in zip(prediction.rivals, controls, strict=False):
        if registered.arm is not None:
            rivals[control.passed] += [describe_arm(registered.arm)]
    core = stems(
        [
            statement,
            *(arm.model_dump_json() for arm in arms),
            *of_edits,
            prediction.measure.model_dump_json(),
        ]
    )
    named = [each.name for each in controls if each.passed and each.kind == "named rival"]
    return Held(
        core=core,
        excluded=stems(rivals[True]),
        other=stems(rivals[False]),
        inside=intervened or isinstance(prediction.measure, ProbeReading),
        shown=shown,
        changed=stems(
            [*(each for arm in arms for each in done_in(arm)), *of_edits, claim]
            + [each for some in rivals.values() for each in some]
        ),
        rivals=tuple(dict.fromkeys(stem(w) for each in named for w in words(each) if telling(w))),
    )


def done_in(arm: Arm) -> list[str]:
    """Return the words of what an arm does."""
    return [describe_arm(arm), arm.model, *(each.model_dump_json() for each in arm.edits)]


def beyond_any(
    prose: Prose, every: Sequence[Held], known: dict[str, Known], question: str
) -> tuple[str, ...]:
    """Return a sentence for each way in which a text goes beyond all that was tested."""
    core = "".join(each.core + each.excluded + each.other for each in every) or " "
    inside = any(each.inside for each in every)
    return beyond(prose, Held(core, " ", " ", inside, what=TESTED), known, question)


def beyond(prose: Prose, held: Held, known: dict[str, Known], question: str) -> tuple[str, ...]:
    """Return a sentence for each way in which a text goes beyond what it stands on; `question` is the case's."""
    said = "".join(each.text for each in prose.segments if each.kind in ("text", "code", "uncited"))
    coded = stems(each.text for each in prose.segments if each.kind == "code")
    linked = any(each.kind == "link" for each in prose.segments)
    told = [
        *names_beyond(said, coded, held, known),
        *inside_beyond(said, held, stems([question])),
        *against(said, held.shown, linked=linked),
    ]
    if not told and not linked and held.shown.kind in ("effect", "opened"):
        told += names_nothing(said, held, known, stems([question]))
    return tuple(told)


def names_beyond(said: str, coded: str, held: Held, known: dict[str, Known]) -> Iterator[str]:
    """Yield what is told of names: of what was not tested, and of what was excluded."""
    text = stems([said])
    kept = held.core + held.other
    unheld: dict[str, list[str]] = {}
    only_rival: dict[str, list[str]] = {}
    found = {key: each for key, each in known.items() if not is_common(key) or has(coded, [key])}
    found |= {key: Known("a rival's word") for key in held.rivals if key not in known}
    for key, each in found.items():
        own = (key, *(stems([level]).strip() for level in each.within))
        if not has(text, [key]) or has(kept, own):
            continue
        told, passed = (
            (only_rival, is_denied) if has(held.excluded, own) else (unheld, is_left_open)
        )
        if not passed(said, key):
            told.setdefault(each.what, []).append(in_ticks(as_said(said, key)))
    if layers := layers_beyond(said, held.core):
        unheld["a place in the model"] = layers
    if unheld:
        yield f"It names {by_kind(unheld)}, which {held.what}."
    if only_rival:
        yield f"It names {by_kind(only_rival)}, which stands here only in a rival that was excluded."


def by_kind(names: dict[str, list[str]]) -> str:
    """Return names in words, those of one kind together."""
    return listed([f"{listed(each, 'and')} ({what})" for what, each in names.items()], "and")


def inside_beyond(said: str, held: Held, asked: str) -> Iterator[str]:
    """Yield what is told of words for a mind, and for what goes on inside the model."""
    minds = [w for w in unbidden(said, minds_in) if not has(held.core + asked, [stem(w)])]
    insides = [] if held.inside else unbidden(said, insides_in)
    if minds:
        yield (
            f"It speaks of what the model wants, feels or understands ({in_ticks(minds[0])}), which nothing here has "
            "tested."
        )
    if insides:
        yield (
            f"It speaks of what goes on inside the model ({in_ticks(insides[0])}), which a contrast of prompts does "
            "not look into."
        )


def unbidden(text: str, found_in: Callable[[str], list[str]]) -> list[str]:
    """Return the words that are found in the clauses of a text and not denied there."""
    return [w for each in clauses(text) for w in found_in(each) if not denies(each, w)]


def minds_in(clause: str) -> list[str]:
    """Return the words for a mind in a clause; what survives a test, or is a rival that does, has none."""
    found = [found["any"] or found["its"] for found in MIND.finditer(clause)]
    return [w for w in found if not (w.startswith("surviv") and OF_TESTS.search(clause))]


def insides_in(clause: str) -> list[str]:
    """Return the words for the inside of a model in a clause."""
    taken = [found[1] for found in TAKES.finditer(clause)]
    return taken + [w for w in words(clause) if w in INSIDE or stem(w) in INSIDE]


def names_nothing(said: str, held: Held, known: dict[str, Known], asked: str) -> Iterator[str]:
    """Yield that a reading names nothing of what was changed, where it says something in words of its own."""
    found = {stem(word) for word in words(said) if telling(word)}
    ours = {key for key, name in known.items() if has(held.changed, map(stem, name.within))}
    if has(stems([said]), (*held.shown.treatment, *held.shown.control)) or found & ours:
        return
    if any(has(held.changed, [each]) for each in found):
        return
    strange = [each for each in found if not has(held.core + asked, [each])]
    if len(strange) >= FEWEST_STRANGE:
        yield "It names nothing of what was changed here."


def layers_beyond(text: str, core: str) -> list[str]:
    """Return the layers that a text names and the statement does not."""
    named = dict.fromkeys(LAYER.findall(text.lower()))
    return [f"layer {n}" for n in named if not re.search(rf" layer [^a-z]*\b{n} ", core)]
