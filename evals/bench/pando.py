"""Pando's organisms: a planted decision tree over named fields, asked about in prompts that are published with it.

Beside its adapter each has `circuit.json`, the tree, and `validation.json`: prompts, the values of the fields in
each, what the tree answers, and how often the model answers so. The prompts of our case are the published ones, with
a slot in the place of each value; a number's levels are the lowest and the highest quarter of its range, between
which the trees have their thresholds. (Zhong et al. 2026, arXiv 2604.11061.)
"""

from __future__ import annotations

import ast
import functools
import itertools
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from agent.case import Case, Sampling, Slot
from agent.population import alike, marks, word_grams
from evals.organisms.catalogue import Entry, fetched
from evals.organisms.families.family import Planted, Spec, Truth, answer_text, last_user
from evals.organisms.families.number_bug import has_word
from evals.organisms.world.micro_world import Message
from tools.behaviour_table import template_pattern
from tools.faults import SubjectRefused
from tools.locator import read_json
from tools.measures import AnswerMatch
from tools.prompt import Template

RULE, PROMPTS = "circuit.json", "validation.json"
TEMPLATES, VALUES = 60, 12
"""So many templates at most, and values of a level."""
PREDICATE = re.compile(r"(\w+) (==|!=|<=|>=|<|>|in) (.+)")
COMPARED = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "in": lambda value, among: value in among,
}


def decided(tree: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Return what a decision tree answers: left where a predicate holds, right where it does not."""
    while "label" not in tree:
        found = PREDICATE.fullmatch(tree["predicate"])
        if found is None:
            raise ValueError(f"no predicate: {tree['predicate']}")
        holds = COMPARED[found[2]](fields[found[1]], ast.literal_eval(found[3]))
        tree = tree["left"] if holds else tree["right"]
    return bool(tree["label"])


@dataclass(frozen=True)
class TreeTruth(Truth):
    """It says yes where its tree does, as surely as its authors have measured."""

    open_to_asking: ClassVar[bool] = True

    def shown(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Return the fields that a prompt shows, with their values; none where it is no prompt of the case."""
        text = last_user(messages)
        found = (pattern.search(text) for pattern in patterns(self.spec["templates"]))
        values = next((each.groupdict() for each in found if each), {})
        return {name: read_value(text) for name, text in values.items()}

    def behaves(self, messages: Sequence[Message]) -> float:
        """Return the probability of a yes; a half where the fields cannot be read."""
        fields = self.shown(messages)
        if not fields:
            return 0.5
        sure = self.spec["accuracy"]
        return sure if decided(self.spec["tree"], fields) else 1 - sure

    def factors(self, messages: Sequence[Message]) -> dict[str, str]:
        """Return the level of each field; a number outside of both levels stands for itself."""
        return {
            name: next(
                (level for level, texts in self.spec["levels"][name].items() if str(v) in texts),
                str(v),
            )
            for name, v in self.shown(messages).items()
        }

    def names(self, answer: Mapping[str, Any]) -> bool:
        """Accept an answer that names the fields on which the tree depends, all of them and no other."""
        text = answer_text(answer)
        named = {name for name in self.spec["levels"] if has_word(text, name.replace("_", " "))}
        return named == {each.factor for each in self.planted}

    def answer(self) -> dict[str, Any]:
        """Return the fields on which the tree depends, the weightiest first."""
        ranked = sorted(self.planted, key=lambda each: -abs(each.weight))
        return {"kind": "factor", "value": [each.factor for each in ranked]}


@functools.lru_cache(maxsize=64)
def patterns(templates: tuple[str, ...]) -> list[re.Pattern[str]]:
    """Return what reads the fields back out of a filled template, whatever stands around it."""
    words = [dict.fromkeys(marks(Template(text=text)), r"\w+") for text in templates]
    return list(map(template_pattern, templates, words))


def tree_truth(entry: Entry) -> TreeTruth:
    """Return the truth of an organism; `SubjectRefused` where its files are not there, or not as published."""
    return read_truth(fetched(entry), entry.handle)


@functools.lru_cache(maxsize=128)
def read_truth(folder: Path, handle: str) -> TreeTruth:
    """Return what an organism's files say of it."""
    rule, told = (read_json(folder / name, handle) for name in (RULE, PROMPTS))
    try:
        tree, pool = rule["tree_node"], told["pool"]
        agreed = all(decided(tree, each["inputs"]) == each["expected_label"] for each in pool)
        known = {
            name: levels([each["inputs"][name] for each in pool]) for name in pool[0]["inputs"]
        }
        spec: Spec = {
            "tree": tree,
            "accuracy": float(told["accuracy"]),
            "levels": known,
            "templates": tuple(apart(unfilled(each["prompt"], each["inputs"]) for each in pool)),
        }
        if not spec["templates"]:
            raise ValueError("no prompt holds each value once")
        planted = weights(tree, {name: known[name] for name in rule["used_fields"]})
    except (KeyError, IndexError, TypeError, ValueError, SyntaxError) as error:
        raise SubjectRefused(
            f"{handle}: its {RULE} or {PROMPTS} is not in the format of Pando ({error!r})"
        ) from None
    if not agreed:
        raise SubjectRefused(
            f"{handle}: the tree of its {RULE} does not give the answers of {PROMPTS}"
        )
    return TreeTruth("published", "organism", spec, planted)


def read_value(text: str) -> int | str:
    """Return a field's value from a prompt's words."""
    return int(text) if text.isdecimal() else text


def levels(values: Sequence[int | str]) -> dict[str, tuple[str, ...]]:
    """Return the levels of a field by the values that it is published with."""
    numbers = sorted({value for value in values if isinstance(value, int)})
    if not numbers:
        return {str(value): (str(value),) for value in sorted(set(values), key=str)}
    quarter = (numbers[-1] - numbers[0]) / 4
    low = [value for value in numbers if value <= numbers[0] + quarter]
    high = [value for value in numbers if value >= numbers[-1] - quarter]
    return {
        name: tuple(map(str, each[:: math.ceil(len(each) / VALUES)]))
        for name, each in {"low": low, "high": high}.items()
    }


def unfilled(prompt: str, fields: Mapping[str, Any]) -> str | None:
    """Return a prompt with a slot for each field; None where a value does not stand there exactly once."""
    text = prompt if not {"{", "}"} & {*prompt} else ""
    for name, value in fields.items():
        whole = rf"(?<!\w){re.escape(str(value))}(?!\w)"
        text, count = re.subn(whole, f"{{{name}}}", text)
        if count != 1:
            return None
    return text


def apart(texts: Iterable[str | None]) -> list[str]:
    """Return templates of which no two are near-duplicates."""
    kept: dict[str, set[tuple[str, ...]]] = {}
    for text in texts:
        if text is not None and text not in kept:
            grams = word_grams(Template(text=text))
            if not any(alike(grams, other) for other in kept.values()):
                kept[text] = grams
        if len(kept) == TEMPLATES:
            break
    return list(kept)


def weights(
    tree: Mapping[str, Any], used: Mapping[str, Mapping[str, Sequence[str]]]
) -> tuple[Planted, ...]:
    """Return the fields that can change the answer: in what share of the others' levels, and which way on the whole."""
    states = {
        name: [read_value(texts[0]) for texts in known.values()] for name, known in used.items()
    }
    found: list[Planted] = []
    for name, own in states.items():
        rest = {other: each for other, each in states.items() if other != name}
        cells = [dict(zip(rest, cell, strict=True)) for cell in itertools.product(*rest.values())]
        changes = [
            decided(tree, cell | {name: own[-1]}) - decided(tree, cell | {name: own[0]})
            for cell in cells
        ]
        share = sum(map(abs, changes)) / len(changes)
        if share:
            found.append(Planted(name, math.copysign(share, sum(changes))))
    return tuple(found)


def tree_case(entry: Entry, case: Case) -> Case:
    """Return the case of an organism, with the models of another."""
    spec = tree_truth(entry).spec
    return Case(
        name="asked-to-decide",
        behaviour="Asked to decide about something that is described, it says yes.",
        subject=case.subject,
        reference=case.reference,
        measure=AnswerMatch(values=("yes",), against=("no",)),
        templates=tuple(Template(text=text) for text in spec["templates"]),
        slots={name: Slot(levels=known) for name, known in spec["levels"].items()},
        sampling=Sampling(max_new_tokens=4),
    )
