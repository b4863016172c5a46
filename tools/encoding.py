"""From a prompt to token ids: chat template, hidden system prompt, forced starts, user turns, raw text.

The template writes the beginning-of-sequence token itself, so a rendered conversation is tokenised
without special tokens; raw text is tokenised as the tokenizer is used to. Either way it has at most one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from tools.prompt import Message, Prompt, behind_system
from tools.registry import ToolError

MARK = "Zebra7"
EARLIER_CALLS = "earlier tool calls need a subject behind an API whose case has an [environment]"
THOUGHT_MARK = re.compile(r"[<\[]/?(think|thinking|thought|reasoning)[>\]]", re.IGNORECASE)
"""What fences a thought. Some tokenizers call it special, and decoding would drop it; others do not."""
# Without a chat template the roles are written out; `Encoder.has_template` says which it is.
PLAIN_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}


class Encoder:
    """A tokenizer with its chat template and the hidden system prompt of a subject."""

    def __init__(
        self, tokenizer: Any, system: str | None, template_arguments: dict[str, Any]
    ) -> None:
        self.tokenizer = tokenizer
        self.system = system
        self.template_arguments = template_arguments
        self.has_template = tokenizer.chat_template is not None
        self.special, self.marks = special_tokens(tokenizer)
        self.answer_lead = self._answer_lead()

    def __call__(self, prompt: Prompt) -> list[int]:
        """Return the token ids of a prompt; `ToolError` when nothing is left to continue."""
        if prompt.continue_as == "raw":
            ids = self.tokenise(prompt.prefill, raw=True)
        else:
            ids = self.tokenise(self.render(prompt), raw=not self.has_template)
        if not ids:
            raise ToolError("the prompt is empty: there is nothing to continue")
        return ids

    def render(self, prompt: Prompt) -> str:
        """Return the text that the subject is given, up to where its own words begin."""
        if prompt.continue_as == "raw":
            return prompt.prefill
        if any(turn.calls for turn in prompt.messages):
            raise ToolError(EARLIER_CALLS)
        turns = self.with_system(prompt.messages)
        if prompt.continue_as == "user":
            header = self.user_header(turns)
            bare = header.rstrip(" ")
            # A space left hanging would be a token of its own, which no training text has there.
            return bare + (header[len(bare) :] + prompt.prefill if prompt.prefill else "")
        if not any(turn.role == "user" for turn in turns) and not prompt.prefill:
            raise ToolError("the prompt is empty: it has no user turn and no forced start")
        lead = self.answer_lead if prompt.prefill else ""
        return self.apply(turns, add_generation_prompt=True) + lead + prompt.prefill

    def with_system(self, turns: Sequence[Message]) -> tuple[Message, ...]:
        """Put the hidden system prompt first, before the visible one if there is one."""
        return behind_system(self.system, turns)

    def user_header(self, turns: Sequence[Message]) -> str:
        """Return the conversation and the opening of a user turn, cut out of a marked one."""
        text = self.apply((*turns, Message(role="user", content=MARK)), add_generation_prompt=False)
        return text[: text.rindex(MARK)]

    def apply(self, turns: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """Render turns; a template without a system role gets it at the head of the first user turn."""
        if not self.has_template:
            return plain_conversation(turns, add_generation_prompt)
        try:
            return self._apply(turns, add_generation_prompt)
        except TemplateError as error:
            if turns and turns[0].role == "system" and len(turns) > 1 and turns[1].role == "user":
                merged = f"{turns[0].content}\n\n{turns[1].content}"
                folded = (Message(role="user", content=merged), *turns[2:])
                return self.apply(folded, add_generation_prompt=add_generation_prompt)
            raise ToolError(
                f"the chat template refuses this conversation: {str(error)[:120]}"
            ) from None

    def _apply(self, turns: Sequence[Message], add_generation_prompt: bool) -> str:
        return self.tokenizer.apply_chat_template(
            [turn.model_dump() for turn in turns],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **self.template_arguments,
        )

    def tokenise(self, text: str, *, raw: bool) -> list[int]:
        """Return ids with at most one leading BOS; raw text gets the one its tokenizer adds."""
        ids: list[int] = list(self.tokenizer(text, add_special_tokens=raw).input_ids)
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        while len(ids) > 1 and bos is not None and ids[0] == ids[1] == bos:
            ids = ids[1:]
        if raw and len(ids) > 1 and ids[-1] == eos and not text.endswith(self.tokenizer.eos_token):
            ids = ids[:-1]
        return ids if ids or bos is None else [bos]

    def continue_with(self, prompt: Prompt, ids: list[int], text: str) -> list[int]:
        """Return the ids of `text` as it would follow the prompt.

        Prompt and text are tokenised together. Where that would merge the prompt's own last token
        with the text, the text is tokenised by itself: the prompt stays the one that is sampled from.
        """
        opens_answer = prompt.continue_as == "assistant" and not prompt.prefill
        text = (self.answer_lead if opens_answer else "") + text
        raw = prompt.continue_as == "raw" or not self.has_template
        together = self.tokenise(self.render(prompt) + text, raw=raw)
        if together[: len(ids)] == ids:
            following = together[len(ids) :]
        else:
            following = list(self.tokenizer(text, add_special_tokens=False).input_ids)
        if not following:
            raise ToolError("a continuation is empty")
        return following

    def decode(self, ids: Sequence[int], prompt: Prompt | None = None) -> str:
        """Return ids as text, without special tokens: what was sampled behind a prompt, or any.

        The marks around a thought are kept, special or not, so that it can be told from the answer.
        """
        kept = [each for each in ids if each in self.marks or each not in self.special]
        thinks = not self.marks.isdisjoint(kept)
        text: str = self.tokenizer.decode(
            kept if thinks else list(ids),
            skip_special_tokens=not thinks,
            clean_up_tokenization_spaces=False,
        )
        if prompt is not None and prompt.continue_as == "assistant" and not prompt.prefill:
            return text.removeprefix(self.answer_lead)
        return text

    def _answer_lead(self) -> str:
        """Return the white space that the template puts between its header and an answer."""
        if not self.has_template:
            return " "
        question = Message(role="user", content="Hello")
        try:
            header = self._apply((question,), True)
            whole = self._apply((question, Message(role="assistant", content=MARK)), False)
        except TemplateError:
            return ""
        found = whole.find(MARK)
        lead = whole[len(header) : found] if whole.startswith(header) and found >= 0 else ""
        return lead if lead.isspace() else ""

    def turn_end(self) -> int | None:
        """Return the token that ends an assistant turn, if the template writes one."""
        if not self.has_template:
            return None
        turns = (Message(role="user", content="Hello"), Message(role="assistant", content=MARK))
        try:
            text = self._apply(turns, False)
        except TemplateError:
            return None
        after = text[text.rindex(MARK) + len(MARK) :] if MARK in text else ""
        ids = self.tokenizer(after.strip(), add_special_tokens=False).input_ids
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        return ids[0] if ids and ids[0] in special else None


def special_tokens(tokenizer: Any) -> tuple[frozenset[int], frozenset[int]]:
    """Return the ids that decoding drops, and those among them that fence a thought."""
    named = {number: str(added) for number, added in tokenizer.added_tokens_decoder.items()}
    special = {number for number, added in tokenizer.added_tokens_decoder.items() if added.special}
    marks = {number for number in special if THOUGHT_MARK.fullmatch(named[number])}
    return frozenset(special | set(tokenizer.all_special_ids)), frozenset(marks)


def plain_conversation(turns: Sequence[Message], add_generation_prompt: bool) -> str:
    """Write the roles out, one turn a line: the form for models without a chat template."""
    lines = [f"{PLAIN_ROLES[turn.role]}: {turn.content}" for turn in turns]
    return "\n".join([*lines, "Assistant:"] if add_generation_prompt else lines)
