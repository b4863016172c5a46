"""A subject that is a table: declared behaviours with known effects, for tests that need no model.

It answers through the same methods as a language model, ten thousands of times a second, and its
truth can be read off its table. It is never an organism of the exam. It has no inside: whatever
looks there is refused in one line.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, NoReturn, Self

from pydantic import ValidationError

from tools.behaviour_table import BehaviourTable, fill_known, holds, template_pattern
from tools.experiment import canonical_json
from tools.faults import SubjectRefused
from tools.prompt import NUMBER, Prompt
from tools.registry import ToolError, describe_faults

WHITE_BOX = "this tool looks inside the model: white-box tools need a local model"
UNSAID_LOGPROB = -14.0
"""Log-probability, in nats, of a continuation that the table never says."""
FILLED_ID = re.compile(r"(.+)-[0-9a-f]{12}")
ModelName = Literal["subject", "reference"]


class Generation(NamedTuple):
    """One sampled answer, with the fields of the model's own record."""

    text: str
    tokens: int
    """Words, here."""
    finished: bool


class Reading(NamedTuple):
    """What the table makes of a prompt, before any draw."""

    logit: float
    shown: tuple[str, ...]
    otherwise: tuple[str, ...]
    template: str | None
    wording: str
    """The prompt with its slot values taken out: the same for all items under one edit."""
    goes_on: bool = False
    """What is said is a piece of the answer only."""


class SyntheticSubject:
    """The table, with the methods of a subject."""

    n_layers = d_model = vocab_size = 0
    machine: Mapping[str, str] = {"processor": "a table"}
    """It answers alike on every machine."""

    def __init__(self, table: BehaviourTable, name: ModelName = "subject") -> None:
        self.table, self.name = table, name
        content = canonical_json(table.model_dump(mode="json"))
        self.digest = hashlib.sha256(f"{name}\0{content}".encode()).hexdigest()
        self.reference: SyntheticSubject | None = None
        if name == "subject" and table.reference:
            self.reference = SyntheticSubject(table, "reference")
        self.digests = {"subject": self.digest}
        if self.reference is not None:
            self.digests["reference"] = self.reference.digest
        self.readers = [template_pattern(text, table.slots) for text in table.templates]
        self.read = functools.lru_cache(maxsize=100_000)(self.read_text)
        self.offset = functools.lru_cache(maxsize=100_000)(self.draw_offset)

    @property
    def facts(self) -> dict[str, Any]:
        """What an investigator may know about the model."""
        return {
            "n_layers": self.n_layers,
            "d_model": self.d_model,
            "vocab_size": self.vocab_size,
            "has_reference": self.reference is not None,
            "chat": True,
        }

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a table from a TOML file; raise `SubjectRefused` in one line for what is none."""
        try:
            return cls.from_table(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise SubjectRefused(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SubjectRefused(f"{path}: not a TOML file: {error}") from None

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Make a subject of a table given as a dictionary; raise `SubjectRefused` for a faulty one."""
        try:
            return cls(BehaviourTable.model_validate(table))
        except ValidationError as error:
            faults = describe_faults("behaviour table", BehaviourTable, error)
            raise SubjectRefused("; ".join(faults)) from None

    def arm(self, name: ModelName) -> SyntheticSubject:
        """Return this subject or its reference; raise `ToolError` when there is no reference."""
        if name == self.name:
            return self
        if self.reference is None:
            raise ToolError("there is no reference model; compare prompts of the subject instead")
        return self.reference

    def generate(
        self,
        prompts: Sequence[Prompt],
        keys: Sequence[str],
        *,
        seed: int,
        samples: int = 1,
        max_new_tokens: int = 32,
        temperature: float = 1.0,
        edits: Sequence[object] = (),
    ) -> list[list[Generation]]:
        """Return `samples` answers to each prompt.

        The noise of an answer comes from SHA256(seed, key, sample) and nothing else, so the arms of a
        contrast share it. Temperature 0 gives the likelier answer.
        """
        check_request(prompts, edits)
        answers: list[list[Generation]] = []
        for prompt, key in zip(prompts, keys, strict=True):
            reading = self.read(prompt.text())
            if reading.goes_on:
                lucks = [f"{seed}\0{key}\0{sample}" for sample in range(samples)]
                found = [
                    self.piece_by_piece(prompt.text(), key, luck, max_new_tokens, temperature)
                    for luck in lucks
                ]
                answers.append(found)
                continue
            logit = self.logit(reading, key)
            shown = [cut(text, max_new_tokens) for text in reading.shown]
            otherwise = [cut(text, max_new_tokens) for text in reading.otherwise]
            if temperature == 0:
                answers.append([shown[0] if logit > 0 else otherwise[0]] * samples)
                continue
            threshold = int(logistic(logit / temperature) * 2**64)
            row: list[Generation] = []
            start = hashlib.sha256(f"{seed}\0{key}\0".encode())
            for sample in range(samples):
                noise = start.copy()
                noise.update(b"%d" % sample)
                digest = noise.digest()
                texts = shown if int.from_bytes(digest[:8], "big") < threshold else otherwise
                row.append(texts[int.from_bytes(digest[8:16], "big") % len(texts)])
            answers.append(row)
        return answers

    def piece_by_piece(
        self, text: str, key: str, luck: str, tokens: int, temperature: float
    ) -> Generation:
        """Return an answer whose pieces are said one by one, each with its own noise."""
        said = ""
        for step in range(tokens):
            reading = self.read(text + said)
            digest = hashlib.sha256(f"{luck}\0{step}".encode()).digest()
            logit = self.logit(reading, key)
            share = float(logit > 0) if temperature == 0 else logistic(logit / temperature)
            happens = int.from_bytes(digest[:8], "big") < int(share * 2**64)
            pieces = reading.shown if happens else reading.otherwise
            place = int.from_bytes(digest[8:16], "big") if temperature > 0 else 0
            said += pieces[place % len(pieces)]
            if not reading.goes_on:
                return cut(said, tokens)
        return Generation(said, tokens, finished=False)

    def continuation_logprobs(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[str]],
        edits: Sequence[object] = (),
    ) -> list[list[float]]:
        """Return log P(the answer begins with the continuation), in nats.

        There are no keys here: templates are told apart by the table's `templates` or by wording, and
        items by their text, so that intercepts by key differ from those of sampled answers.
        """
        check_request(prompts, edits)
        return [
            [self.logprob(prompt, text) for text in texts]
            for prompt, texts in zip(prompts, continuations, strict=True)
        ]

    def logprob(self, prompt: Prompt, continuation: str) -> float:
        """Return the log-probability that the answer begins with these whole words."""
        reading = self.read(prompt.text())
        rate = logistic(self.logit(reading, None, prompt.text()))
        begins = re.compile(rf"{re.escape(continuation.strip())}(?!\w)(?!\.\d)")
        total = 0.0
        for share, texts in ((rate, reading.shown), (1 - rate, reading.otherwise)):
            total += share * sum(begins.match(text) is not None for text in texts) / len(texts)
        return max(math.log(total), UNSAID_LOGPROB) if total > 0 else UNSAID_LOGPROB

    def probability(self, prompt: Prompt, key: str) -> float:
        """Return the truth: how likely the behaviour is on this prompt, its intercepts included."""
        return logistic(self.logit(self.read(prompt.text()), key))

    def logit(self, reading: Reading, key: str | None, text: str = "") -> float:
        """Return the log-odds of the behaviour: the table's effects and all random intercepts."""
        scatter = self.table.scatter
        filled = FILLED_ID.fullmatch(key) if key is not None else None
        template = reading.template or (filled[1] if filled else key) or reading.wording
        return (
            reading.logit
            + self.offset(scatter.template, "template", template)
            + self.offset(scatter.template_by_model, "by_model", template, self.name)
            + self.offset(scatter.template_by_wording, "by_wording", template, reading.wording)
            + self.offset(scatter.item, "item", key if key is not None else text)
        )

    def draw_offset(self, share: float, *what: str) -> float:
        """Return the random intercept of one template or item, in logits: normal, fixed by its name."""
        if share == 0:
            return 0.0
        name = "\0".join([str(self.table.scatter.seed), *what])
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
        return self.table.scatter.deviation(share) * NormalDist().inv_cdf((number + 0.5) / 2**48)

    def read_text(self, text: str) -> Reading:
        """Return what the table makes of a prompt's words."""
        template, slots, wording = self.find_template(text)
        numbers = NUMBER.findall(text)
        if numbers:
            slots |= {
                "first_number": numbers[0],
                "last_number": numbers[-1],
                "largest_number": max(numbers, key=float),
                "smallest_number": min(numbers, key=float),
            }
        for behaviour in self.table.behaviours:
            found = re.search(behaviour.match, text, re.IGNORECASE)
            if found is None:
                continue
            known = slots | {name: value for name, value in found.groupdict().items() if value}
            texts = [*behaviour.shown, *behaviour.otherwise]
            filled = [fill_known(each, known) for each in texts]
            if None in filled:
                continue
            said = tuple(each for each in filled if each is not None)
            logit = behaviour.logit + math.fsum(
                effect.logit
                for effect in behaviour.effects
                if effect.model in ("both", self.name) and holds(effect, text, known)
            )
            shown = len(behaviour.shown)
            return Reading(logit, said[:shown], said[shown:], template, wording, behaviour.goes_on)
        return Reading(0.0, ("I do not know.",), ("I do not know.",), template, wording)

    def find_template(self, text: str) -> tuple[str | None, dict[str, str], str]:
        """Return a prompt's template, its slots, and its wording without them."""
        for name, pattern in zip(self.table.templates, self.readers, strict=True):
            found = pattern.search(text)
            if found is not None:
                wording = f"{text[: found.start()]}{{}}{text[found.end() :]}"
                return name, found.groupdict(), wording
        return None, {}, NUMBER.sub("{}", text)

    def refuse(self, *_: object, **__: object) -> NoReturn:
        """Refuse to be looked into."""
        raise ToolError(WHITE_BOX)

    encode = capture = next_token_logprobs = token_logprobs = lens = edits_for = weight_edits = (
        refuse
    )
    tokenizer = property(refuse)


def check_request(prompts: Sequence[Prompt], edits: Sequence[object]) -> None:
    """Refuse an empty request, and interventions on activations."""
    if not prompts:
        raise ToolError("no prompts were given")
    if edits:
        raise ToolError(WHITE_BOX)


@functools.lru_cache(maxsize=10_000)
def cut(text: str, tokens: int) -> Generation:
    """Return an answer cut to so many words."""
    words = text.split()
    if len(words) <= tokens:
        return Generation(text, len(words), finished=True)
    return Generation(" ".join(words[:tokens]), tokens, finished=False)


def logistic(value: float) -> float:
    """Return 1 / (1 + exp(-value)) without overflow."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))
