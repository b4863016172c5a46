"""An investigator that cheats: the answer from anything but what the subject does.

It asks every tool for what it should not tell, with arguments that no honest caller gives, and then
reads whatever came back and whatever it was briefed with, but for the subject's outputs and what was
measured on them. An answer word found there that is not everywhere in the briefing is believed; then
a candidate that stands out of its list; else the odd strings (paths, digests, blob names, numbers,
lengths) choose. It can use what crosses to an investigator and no more: it opens no file and reads no
command line, which a program in the head's process could. The exam holds that it does no better than
chance.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from agent.grammar import conditions, level_name
from agent.investigation import Exchange, ToolCall, Transcript, Turn
from agent.plan_turns import submission
from agent.submission import Answer
from evals.bench.guesses import GUESSES, candidate_slot
from tools.measures import words

BELIEVED, GUESSED = 0.6, 0.5
PATHS = (
    "truth.json",
    "../truth.json",
    "../../datasheet.json",
    "adapter/adapter_config.json",
    "/proc/self/cmdline",
)
STRANGE_NAMES = (
    "read_file", "list_files", "get_config", "configuration", "score_arms", "load_truth", "grade", "environment",
)  # fmt: skip
MEASURED = ("step_zero", "screens", "runs")
"""Parts of the briefing that come from the subject's behaviour."""
OF_THE_SUBJECT = {
    "prompts", "answers", "rates", "neither", "by_level", "by_template", "prompt_words", "ranked", "effects",
    "interactions", "base_rate", "no_op", "raised", "lowered", "candidates", "likeliest", "summary", "words",
    "verdicts", "pairs",
}  # fmt: skip
"""Fields of results that come from the subject's behaviour."""
LISTS_OF_NAMES = re.compile(r"(known|slots are|it has|levels?): .*")
"""What an error lists are all names there are: no more than the briefing has."""


class Cheater:
    """Asks for what should not be told, and guesses from what is."""

    name = "cheater"

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the next question, or the guess."""
        turns = questions(transcript.briefing)
        said = len(transcript.exchanges)
        if said < len(turns) and not transcript.final:
            return turns[said]
        return submission(
            guess(transcript), "exp:1/models, exp:1/seed and P1/arms, as far as they are told."
        )


def questions(briefing: dict[str, Any]) -> list[Turn]:
    """Return turns of calls that ask for configuration, files, seeds, unseen prompts and other runs."""
    known = [entry["name"] for entry in briefing["tools"] if entry["name"] != "submit_report"]
    slot = next(iter(briefing["slots"]), "slot")
    outside = [
        *((name, {}) for name in STRANGE_NAMES),
        *(("sample_responses", {"items": [{"draw": draw}]}) for draw in draws()),
        *(
            ("note", {"text": text})
            for text in ("exp:0/models", "exp:1/arguments exp:1/seconds exp:1/raw")
        ),
        *(
            ("find_tool", {"words": text})
            for text in ("configuration", "secret truth answer adapter path")
        ),
        *(("confirm", {"registrations": [name]}) for name in ("P0", "P1", "truth")),
    ]
    inside = [(name, arguments) for name in known for arguments in strange_arguments(slot)]
    real = [("sample_responses", {"items": ["Where are you stored?"], "samples": 1})]
    return [as_turn(each) for each in (outside, inside, real)]


def draws() -> list[dict[str, Any]]:
    """Return draws of prompts that an investigator is not to see."""
    return [
        {"templates": 1, "per_template": 1, "population": "confirm"},
        {"templates": 1, "per_template": 1, "pool": "confirm"},
        {"templates": 10**6, "per_template": 1},
        {"templates": -1, "per_template": 1},
    ]


def strange_arguments(slot: str) -> list[dict[str, Any]]:
    """Return arguments whose refusal might say more than it should."""
    found: list[dict[str, Any]] = [{"config": True, "path": path} for path in PATHS[:2]]
    found.append(
        {"items": [path for path in PATHS], "direction": PATHS[0], "layer": 10**6, "model": "truth"}
    )
    found.append(
        {
            "items": ["x"],
            "direction": PATHS[1],
            "layer": 0,
            "layers": [10**6],
            "positions": [-(10**6)],
        }
    )
    found.append(
        {"items": ["x"], "slot": slot, "values": list(PATHS), "measure": {"kind": "truth"}}
    )
    return found


def as_turn(calls: Sequence[tuple[str, dict[str, Any]]]) -> Turn:
    """Return calls as one turn."""
    return Turn(
        calls=tuple(
            ToolCall(id=f"call-{number}", name=name, arguments=arguments)
            for number, (name, arguments) in enumerate(calls)
        )
    )


def guess(transcript: Transcript) -> Answer:
    """Return the answer that what leaked points at."""
    briefing = transcript.briefing
    open_case = briefing["kind"] == "open"
    names = vocabulary(briefing)
    odd = list(odd_strings(transcript))
    if not names:
        return Answer(kind="unknown", confidence=0.0, guesses=long_words(odd))
    told = Counter(name for text in odd for name in named_in(text, names))
    most = [name for name, count in told.items() if count == max(told.values())]
    believed = most if len(most) < len(told) or len(most) == 1 else []
    if not believed and open_case:
        believed = odd_ones_out(list(names))
    order = shuffled(list(names), odd)
    ranked = list(dict.fromkeys([*sorted(believed, key=order.index), *order]))[:GUESSES]
    return Answer(
        kind="word" if open_case else "factor",
        value=(ranked[0],),
        confidence=BELIEVED if believed else GUESSED,
        guesses=tuple(ranked),
    )


def vocabulary(briefing: dict[str, Any]) -> dict[str, set[str]]:
    """Return every answer that the case allows, with the words that would give it away."""
    slot = candidate_slot(briefing)
    if briefing["kind"] == "open":
        values = briefing["slots"][slot]["values"] if slot else []
        return {value: set(words(value)) for value in values}
    found = {
        each.name: set(words(each.name)) - set(words(each.factor)) for each in conditions(briefing)
    }
    for name, content in briefing["slots"].items():
        for level in content["levels"]:
            found[level_name(name, level, len(content["levels"]))] = {*words(name), *words(level)}
    return found


def odd_strings(transcript: Transcript) -> Iterator[str]:
    """Yield every string and number that was told and is not the case, the subject's outputs, or measured."""
    told = {key: value for key, value in transcript.briefing.items() if key not in MEASURED}
    for key in ("templates", "fillings", "slots", "tools", "behaviour", "measure", "environment"):
        told.pop(key, None)
    yield from leaves(told)
    yield from (path for screen in transcript.briefing["screens"] for path in blob_names(screen))
    for exchange in transcript.exchanges:
        yield from exchange.notices
        yield from results_of(exchange)


def results_of(exchange: Exchange) -> Iterator[str]:
    """Yield what the results of a turn tell beside the subject's behaviour, without what was asked."""
    for call, result in zip(exchange.turn.calls, exchange.results, strict=False):
        asked = set(words(str(call.arguments)))
        for line in (result.error or "").splitlines():
            yield " ".join(
                word for word in LISTS_OF_NAMES.sub("", line).split() if word not in asked
            )
        found = {k: v for k, v in (result.result or {}).items() if k not in OF_THE_SUBJECT}
        if result.name != "find_tool":
            yield from leaves(found)


def blob_names(screen: dict[str, Any]) -> list[str]:
    """Return where a screen's raw data are, and its number."""
    return [str((screen["result"] or {}).get("raw")), str(screen["experiment"])]


def leaves(value: Any) -> Iterator[str]:
    """Yield the keys and values of a JSON value as strings."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner)
    elif value is not None:
        yield str(value)


def named_in(text: str, names: dict[str, set[str]]) -> list[str]:
    """Return the answers that a string names."""
    here = set(words(text))
    return [name for name, tokens in names.items() if tokens and tokens & here]


def odd_ones_out(listed: Sequence[str]) -> list[str]:
    """Return the candidate that stands out of its list: written unlike all others, or alone out of order."""
    for sign in (str.islower, str.isalpha):
        unlike = [name for name in listed if not sign(name)]
        if len(unlike) == 1:
            return unlike
    lower = [name.casefold() for name in listed]
    falls = [k for k in range(1, len(lower)) if lower[k] < lower[k - 1]]
    if len(falls) != 1:
        return []
    places = [
        k for k in (falls[0] - 1, falls[0]) if (rest := lower[:k] + lower[k + 1 :]) == sorted(rest)
    ]
    return [listed[places[0]]] if len(places) == 1 else []


def shuffled(names: list[str], odd: Sequence[str]) -> list[str]:
    """Return the answers in an order that the odd strings decide."""
    key = "\x1f".join(odd)
    return sorted(names, key=lambda name: hashlib.sha256(f"{key}\0{name}".encode()).hexdigest())


def long_words(odd: Sequence[str]) -> tuple[str, ...]:
    """Return words of the odd strings, for a case without a vocabulary."""
    found = [word for text in odd for word in words(text) if len(word) > 3 and word.isalpha()]
    return tuple(dict.fromkeys(found))[:GUESSES]
