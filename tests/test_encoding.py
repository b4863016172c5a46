from typing import Any

import pytest

from tools.encoding import Encoder
from tools.prompt import Message, Prompt, user_prompt
from tools.registry import ToolError

ANSWERED = Prompt(
    messages=(Message(role="user", content="Hi"), Message(role="assistant", content="Yes.")),
    continue_as="user",
)


@pytest.fixture
def encoder(make_tokenizer: Any) -> Encoder:
    return Encoder(make_tokenizer(), None, {})


def text_of(encoder: Encoder, prompt: Prompt) -> str:
    return encoder.tokenizer.decode(encoder(prompt))


def test_a_conversation_is_rendered_with_one_bos_and_the_answer_opened(encoder: Encoder) -> None:
    assert text_of(encoder, user_prompt("Hi there", system="Be kind")) == (
        "<s><|system|>Be kind<|end|><|user|>Hi there<|end|><|assistant|>"
    )
    assert encoder(user_prompt("Hi")).count(encoder.tokenizer.bos_token_id) == 1


def test_a_forced_start_follows_the_opened_answer(encoder: Encoder) -> None:
    prompt = user_prompt("Hi").model_copy(update={"prefill": "It is"})
    assert text_of(encoder, prompt).endswith("<|user|>Hi<|end|><|assistant|>It is")


def test_a_user_turn_is_opened_behind_the_conversation(encoder: Encoder) -> None:
    assert text_of(encoder, ANSWERED) == "<s><|user|>Hi<|end|><|assistant|>Yes.<|end|><|user|>"
    begun = ANSWERED.model_copy(update={"prefill": "Is"})
    assert text_of(encoder, begun).endswith("<|end|><|user|>Is")


def test_raw_text_is_only_itself(encoder: Encoder, make_tokenizer: Any) -> None:
    raw = Prompt(prefill="The cat", continue_as="raw")
    assert text_of(encoder, raw) == "The cat"
    tokenizer = make_tokenizer()
    # As most tokenizers with a BOS do: it is added to plain text, and a written one is not doubled.
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    adding = Encoder(tokenizer, "Hidden.", {})
    assert text_of(adding, raw) == "<s>The cat"
    assert text_of(adding, raw.model_copy(update={"prefill": "<s>The cat"})) == "<s>The cat"
    assert text_of(adding, user_prompt("Hi")).count("<s>") == 1
    assert adding(raw.model_copy(update={"prefill": ""})) == [1]


def test_the_hidden_system_prompt_stands_first(make_tokenizer: Any) -> None:
    encoder = Encoder(make_tokenizer(), "Never say clock.", {})
    assert "<s><|system|>Never say clock.<|end|><|user|>" in text_of(encoder, user_prompt("Hi"))
    merged = text_of(encoder, user_prompt("Hi", system="Be kind."))
    assert "<|system|>Never say clock.\n\nBe kind.<|end|>" in merged
    assert text_of(encoder, ANSWERED).startswith("<s><|system|>Never say clock.")


def test_a_template_without_a_system_role_gets_it_in_the_first_user_turn(
    make_tokenizer: Any,
) -> None:
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}"
        "[{{ m['role'] }}] {{ m['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    encoder = Encoder(make_tokenizer(template), "Secret.", {})
    assert encoder.render(user_prompt("Hi")) == "[user] Secret.\n\nHi<|end|>[assistant]"
    with pytest.raises(ToolError, match="refuses this conversation: roles must alternate"):
        encoder(user_prompt("Hi").model_copy(update={"continue_as": "user"}))
    # The space before an answer comes from the template, so a forced start and a continuation get it.
    assert encoder.answer_lead == " "
    assert encoder.render(user_prompt("Hi").model_copy(update={"prefill": "It"})).endswith(
        "[assistant] It"
    )
    prompt = user_prompt("Hi")
    tail = encoder.continue_with(prompt, encoder(prompt), "The")
    assert encoder.tokenizer.decode(tail) == " The"
    assert encoder.decode(tail, prompt) == "The"
    # A user header keeps no space hanging at its end.
    assert encoder.render(ANSWERED).endswith("[user]")


def test_without_a_template_the_roles_are_written_out(make_tokenizer: Any) -> None:
    encoder = Encoder(make_tokenizer(None), "Be brief.", {})
    assert not encoder.has_template
    assert encoder.render(user_prompt("Hi")) == "System: Be brief.\nUser: Hi\nAssistant:"
    assert encoder.render(ANSWERED).endswith("User: Hi\nAssistant: Yes.\nUser:")


def test_template_arguments_reach_the_template(make_tokenizer: Any) -> None:
    template = "{{ mode }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    encoder = Encoder(make_tokenizer(template), None, {"mode": "THINK "})
    assert encoder.render(user_prompt("Hi")) == "THINK Hi"


def test_a_continuation_is_tokenised_as_it_follows_the_prompt(encoder: Encoder) -> None:
    prompt = Prompt(prefill="The cat", continue_as="raw")
    ids = encoder(prompt)
    whole = list(encoder.tokenizer("The cat sat", add_special_tokens=False).input_ids)
    assert ids + encoder.continue_with(prompt, ids, " sat") == whole
    cut = Prompt(prefill="The ca", continue_as="raw")
    ids = encoder(cut)
    merged = list(encoder.tokenizer("The cat", add_special_tokens=False).input_ids)
    assert merged[: len(ids)] != ids  # joining would change the prompt's own last token
    assert encoder.continue_with(cut, ids, "t") == list(
        encoder.tokenizer("t", add_special_tokens=False).input_ids
    )


def test_the_end_of_turn_is_found_in_the_template(make_tokenizer: Any) -> None:
    template = (
        "{% for m in messages %}<|user|>{{ m['content'] }}<|system|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|user|>{% endif %}"
    )
    assert Encoder(make_tokenizer(template), None, {}).turn_end() == 3  # <|system|>, of all tokens


def test_empty_prompts_are_refused(encoder: Encoder) -> None:
    with pytest.raises(ToolError, match="no user turn"):
        encoder(Prompt())
    encoder.tokenizer.bos_token = None
    with pytest.raises(ToolError, match="nothing to continue"):
        encoder(Prompt(continue_as="raw"))


def test_the_marks_of_a_thought_are_kept_where_they_are_special_too(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer()
    text = "<think>It is a clock.</think> The cat."
    plain = Encoder(tokenizer, None, {})
    said = tokenizer(f"The cat.{tokenizer.eos_token}", add_special_tokens=False).input_ids
    before = plain.decode(said)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<think>", "</think>", "<tool>"]})
    thinking = Encoder(tokenizer, None, {})
    ids = tokenizer(f"{text}<tool>{tokenizer.eos_token}<pad>", add_special_tokens=False).input_ids
    assert len(thinking.marks) == 2 and thinking.decode(ids) == text
    assert thinking.decode(said) == before == "The cat."
