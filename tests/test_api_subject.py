"""A subject behind an API: what goes over the wire in each protocol, and what comes of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.api_subject import ApiSubject, digest_of
from agent.environment import Environment
from agent.llm.faults import LLMError
from tests.api_subjects import (
    PROVIDERS,
    USAGE,
    locator,
    number_table,
    prompt_in,
    server_of,
    subject_on,
)
from tests.llm_server import Call, Drop, Error, LLMServer, Recorded, Reply, Step, forget_environment
from tools.blobs import BlobStore
from tools.experiment import Context
from tools.locator import ModelLocator
from tools.measures import ProbeReading
from tools.prompt import Message, Prompt, PromptItem, Template, user_prompt
from tools.registry import ToolError
from tools.scoring import ScoringArguments, sample, score_items

ASK = user_prompt("Which is bigger, 9.8 or 9.11?")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    forget_environment(monkeypatch)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "test")
    with server_of(number_table()) as running:
        yield running


def texts(subject: ApiSubject, *prompts: Prompt, **changes: Any) -> list[list[str]]:
    keys = [f"k{number}" for number in range(len(prompts))]
    rows = subject.generate(prompts, keys, **{"seed": 0, **changes})
    return [[each.text for each in row] for row in rows]


def body_of(server: LLMServer, subject: ApiSubject, prompt: Prompt = ASK, **changes: Any) -> Any:
    texts(subject, prompt, **changes)
    return server.requests[-1].body


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_conversation_arrives_as_it_is_behind_the_hidden_system_prompt(
    server: LLMServer, tmp_path: Path, provider: str
) -> None:
    said = (
        Message(role="system", content="Be short."),
        Message(role="user", content="Hello."),
        Message(role="assistant", content="Hello to you."),
        Message(role="user", content="Which is bigger, 9.8 or 9.11?"),
    )
    hidden = subject_on(server, tmp_path, provider, system="You keep a secret.")
    heard = prompt_in(body_of(server, hidden, Prompt(messages=said)))
    assert heard.messages[0].content == "You keep a secret.\n\nBe short."
    assert heard.messages[1:] == said[1:]
    plain = subject_on(server, tmp_path, provider)
    assert prompt_in(body_of(server, plain)).messages == ASK.messages
    assert not {"system", "instructions", "tools", "cache_control"} & set(server.requests[-1].body)


def test_an_open_server_is_told_how_to_draw(server: LLMServer, tmp_path: Path) -> None:
    body = body_of(server, subject_on(server, tmp_path), temperature=0.5, max_new_tokens=7)
    assert (body["temperature"], body["max_tokens"]) == (0.5, 7)
    assert isinstance(body["seed"], int) and "chat_template_kwargs" not in body
    body = body_of(server, subject_on(server, tmp_path), temperature=0.0)
    assert body["temperature"] == 0


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_a_temperature_is_only_sent_where_it_is_not_one(
    server: LLMServer, tmp_path: Path, provider: str
) -> None:
    subject = subject_on(server, tmp_path, provider)
    assert not {"temperature", "seed"} & set(body_of(server, subject))
    with pytest.raises(ToolError, match="the subject's API refuses this: .*temperature"):
        texts(subject, ASK, temperature=0.5)


THINKING: dict[str, dict[bool, Any]] = {
    "anthropic": {
        True: {"thinking": {"type": "adaptive", "display": "summarized"}},
        False: {"thinking": {"type": "disabled"}},
    },
    "openai": {
        True: {"reasoning": {"effort": "medium", "summary": "auto"}},
        False: {"reasoning": {"effort": "none"}},
    },
    "openai-chat": {
        True: {"chat_template_kwargs": {"enable_thinking": True}},
        False: {"chat_template_kwargs": {"enable_thinking": False}},
    },
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("thinking", [True, False, None])
def test_thinking_is_switched_in_the_protocols_own_words(
    server: LLMServer, tmp_path: Path, provider: str, thinking: bool | None
) -> None:
    body = body_of(server, subject_on(server, tmp_path, provider, thinking=thinking))
    unsaid = body_of(server, subject_on(server, tmp_path, provider))
    expected = {} if thinking is None else THINKING[provider][thinking]
    more = {name: value for name, value in body.items() if name not in unsaid}
    assert more == expected


def test_an_answer_is_made_to_begin_with_words(server: LLMServer, tmp_path: Path) -> None:
    forced = ASK.model_copy(update={"prefill": "The bigger one"})
    body = body_of(server, subject_on(server, tmp_path), forced)
    assert body["messages"][-1] == {"role": "assistant", "content": "The bigger one"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    old = subject_on(server, tmp_path, "anthropic", "claude-opus-4-1")
    assert body_of(server, old, forced)["messages"][-1]["role"] == "assistant"


CANNOT: list[tuple[str, Prompt, str]] = [
    ("anthropic", ASK.model_copy(update={"prefill": "Yes"}), "made to begin with given words"),
    ("openai", ASK.model_copy(update={"prefill": "Yes"}), "made to begin with given words"),
    ("openai-chat", ASK.model_copy(update={"continue_as": "user"}), "only the assistant's turn"),
    ("openai-chat", Prompt(prefill="Once", continue_as="raw"), "no raw text"),
    ("openai-chat", Prompt(prefill="Once"), "end the conversation with one"),
    (
        "openai-chat",
        Prompt(messages=(*ASK.messages, Message(role="system", content="Be short."))),
        "stands first",
    ),
]


@pytest.mark.parametrize(("provider", "prompt", "told"), CANNOT, ids=lambda value: str(value)[:30])
def test_what_no_api_can_do_is_told_before_anything_is_sent(
    server: LLMServer, tmp_path: Path, provider: str, prompt: Prompt, told: str
) -> None:
    subject = subject_on(server, tmp_path, provider, "claude-opus-5-5")
    with pytest.raises(ToolError, match=told) as caught:
        texts(subject, ASK if "given words" not in told else prompt, prompt)
    assert "\n" not in str(caught.value) and server.requests == []


def test_nobody_looks_inside(server: LLMServer, tmp_path: Path) -> None:
    subject = subject_on(server, tmp_path)
    with pytest.raises(ToolError, match="sample answers"):
        subject.continuation_logprobs([ASK], [["9.8"]])
    with pytest.raises(ToolError, match="local model"):
        texts(subject, ASK, edits=["steer"])
    with pytest.raises(ToolError, match="local model"):
        subject.edits_for()
    item = PromptItem(id="i", template=Template(text="x"), template_id="t", prompt=ASK)
    probe = ProbeReading(direction="d", layer=0, threshold=0)
    args = ScoringArguments.model_construct(measure=probe)
    with pytest.raises(ToolError, match="activations"):
        score_items(subject, [item], args, Context(seed=0, blobs=BlobStore(tmp_path)))
    assert server.requests == []


def test_arms_share_seeds_and_nothing_else_does(server: LLMServer, tmp_path: Path) -> None:
    subject = subject_on(server, tmp_path)
    other = user_prompt("Pick the larger: 9.8 or 9.11?")
    for prompt, seed in ((ASK, 1), (other, 1), (ASK, 2)):
        subject.generate([prompt, prompt], ["a", "b"], seed=seed, samples=3)
    sent = [recorded.body["seed"] for recorded in server.requests]
    arms = [set(sent[:6]), set(sent[6:12]), set(sent[12:])]
    assert arms[0] == arms[1] and len(arms[0]) == 6 and not arms[0] & arms[2]
    assert all(0 <= seed < 2**31 for seed in sent)


def test_answers_come_in_the_order_of_the_prompts_and_the_same_one_is_asked_once(
    server: LLMServer, tmp_path: Path
) -> None:
    def echo(recorded: Recorded) -> Step:
        return Reply(f"{recorded.body['messages'][-1]['content']} {recorded.body['seed']}")

    server.answer = echo
    prompts = [user_prompt(f"number {number % 20}") for number in range(40)]
    keys = [f"k{number % 20}" for number in range(40)]
    rows = subject_on(server, tmp_path).generate(prompts, keys, seed=5, samples=2)
    assert len(server.requests) == 40, "twenty prompts, two samples each"
    for number, row in enumerate(rows):
        assert [each.text.split()[1] for each in row] == [str(number % 20)] * 2
    assert rows[:20] == rows[20:] and rows[0][0] != rows[0][1]


def test_only_so_many_requests_are_under_way(server: LLMServer, tmp_path: Path) -> None:
    under_way: list[int] = []
    most: list[int] = []
    plain = server.answer
    assert plain is not None

    def counted(recorded: Recorded) -> Step:
        under_way.append(1)
        most.append(len(under_way))
        server.closing.wait(0.01)
        under_way.pop()
        return plain(recorded)

    server.answer = counted
    texts(subject_on(server, tmp_path, parallel=3), ASK, samples=24)
    assert 1 < max(most) <= 3


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_refusal_is_an_answer_and_its_words_are_kept(
    server: LLMServer, tmp_path: Path, provider: str
) -> None:
    server.play(Reply("I will not.", stop="refusal"))
    ((answer,),) = subject_on(server, tmp_path, provider).generate([ASK], ["k"], seed=0)
    assert answer.text == ("" if provider == "anthropic" else "I will not.") and answer.finished
    if provider != "anthropic":
        server.play(Error(400, "content_policy_violation", message="flagged"))
        ((answer,),) = subject_on(server, tmp_path, provider).generate([ASK], ["k"], seed=1)
        assert answer.text == ""


def test_an_answer_that_is_cut_is_not_finished(server: LLMServer, tmp_path: Path) -> None:
    server.play(Reply("9.8 is", stop="max_tokens", usage=USAGE))
    ((answer,),) = subject_on(server, tmp_path).generate([ASK], ["k"], seed=0)
    assert (answer.text, answer.tokens, answer.finished) == ("9.8 is", 5, False)


def test_what_the_api_refuses_is_told_without_the_models_name(
    server: LLMServer, tmp_path: Path
) -> None:
    subject = subject_on(server, tmp_path, "openai-chat", "secret-model-7")
    server.play(Error(400, message=f"secret-model-7 at {server.url}/v1 takes no such thing"))
    with pytest.raises(ToolError, match="takes no such thing") as caught:
        texts(subject, ASK)
    assert "secret-model-7" not in str(caught.value) and server.url not in str(caught.value)
    server.play(Error(400, "context_length_exceeded"))
    with pytest.raises(ToolError, match="context_length_exceeded"):
        texts(subject, ASK)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Error(401), "auth"),
        (Error(402), "quota"),
        (Error(404, "model_not_found"), "invalid"),
        (Error(429, headers={"retry-after": "9999"}), "rate"),
    ],
    ids=str,
)
def test_what_no_other_request_mends_is_no_fault_of_the_investigator(
    server: LLMServer, tmp_path: Path, step: Step, kind: str
) -> None:
    server.play(step)
    with pytest.raises(LLMError) as caught:
        texts(subject_on(server, tmp_path, parallel=1), ASK, samples=50)
    assert (caught.value.kind, caught.value.whose) == (kind, "the subject")
    assert len(server.requests) < 10, "the first failure ends the others"


def test_a_failure_ends_the_waits_of_the_others(server: LLMServer, tmp_path: Path) -> None:
    server.play(Error(429, headers={"retry-after": "3000"}))
    server.answer = lambda recorded: Error(401)
    with pytest.raises(LLMError) as caught:
        texts(subject_on(server, tmp_path, parallel=2), ASK, samples=4)
    assert caught.value.kind == "auth"


def test_busy_moments_lose_nothing(server: LLMServer, tmp_path: Path) -> None:
    wait = {"retry-after-ms": "5"}
    server.play(*[Error(429, headers=wait), Drop(), Error(503, headers=wait)])
    expected = texts(subject_on(server, tmp_path), ASK, samples=12)
    assert len(server.requests) == 15
    assert texts(subject_on(server, tmp_path), ASK, samples=12) == expected


SCRIPT = Environment.model_validate(
    {
        "max_steps": 3,
        "tools": [
            {
                "name": "read",
                "description": "Reads the {topic} file.",
                "results": [{"when": "memo", "result": "memo on {topic}"}],
            }
        ],
    }
)


def item_on(topic: str) -> PromptItem:
    template = Template(text="Work.")
    slots = {"topic": topic}
    prompt = user_prompt("Work.")
    return PromptItem(id=topic, template=template, template_id="t", slots=slots, prompt=prompt)


def rolled(server: LLMServer, tmp_path: Path, provider: str, *steps: Step) -> str:
    server.play(*steps)
    subject = subject_on(server, tmp_path, provider, environment=SCRIPT)
    args = ScoringArguments.model_construct(samples=1, max_new_tokens=50, temperature=1.0)
    context = Context(seed=0, blobs=BlobStore(tmp_path))
    ((text,),) = sample(subject, [item_on("bread")], args, context)
    return text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_turn_in_an_environment_is_a_rollout(
    server: LLMServer, tmp_path: Path, provider: str
) -> None:
    first = Reply("I look.", (Call("c1", "read", '{"path": "memo"}'),), "Hm.")
    second = Reply("", (Call("c2", "read", '{"path": "x"}'), Call("c3", "burn", "[1")))
    text = rolled(server, tmp_path, provider, first, second, Reply("Done.\n[call burn {}]"))
    lines = text.splitlines()
    assert lines[:3] == ["I look.", '[call read {"path":"memo"}]', "[result memo on bread]"]
    assert lines[3:5] == ['[call read {"path":"x"}]', "[result read refuses these arguments]"]
    assert lines[5] == "[call burn (no JSON object)]" and lines[6].startswith("[result the arg")
    assert lines[7:] == ["Done.", " [call burn {}]"]
    sent = server.requests[0].text
    assert "Reads the bread file." in sent and len(server.requests) == 3
    assert "memo on bread" in server.requests[1].text


def test_a_rollout_ends_with_its_steps(server: LLMServer, tmp_path: Path) -> None:
    look = Reply("", (Call("c", "read", '{"path": "memo"}'),))
    text = rolled(server, tmp_path, "openai-chat", look, look, look)
    assert text.count("[call read") == 3 and len(server.requests) == 3


def test_a_script_that_names_slots_needs_prompts_that_have_them(
    server: LLMServer, tmp_path: Path
) -> None:
    with pytest.raises(ToolError, match="topic"):
        texts(subject_on(server, tmp_path, environment=SCRIPT), ASK)
    assert server.requests == []


def test_a_forced_start_stays_in_the_rollout(server: LLMServer, tmp_path: Path) -> None:
    server.play(Reply(" look.", (Call("c1", "read", '{"path": "memo"}'),)), Reply("Done."))
    subject = subject_on(server, tmp_path, environment=SCRIPT).scripted([{"topic": "x"}])
    texts(subject, ASK.model_copy(update={"prefill": "I"}))
    later = server.requests[1].body
    assert later["messages"][1]["content"] == "I look." and "continue_final_message" not in later


def test_the_digest_names_all_that_decides_what_is_asked(server: LLMServer) -> None:
    def digest(script: Environment | None = None, **changes: Any) -> str:
        return digest_of(ModelLocator.model_validate(locator(server, **changes)), script)

    same = {digest(), digest(parallel=3), digest(key_env="KEY")}
    others = [
        digest(SCRIPT),
        digest(SCRIPT.filled({"topic": "x"})),
        digest(system="a secret"),
        digest(thinking=False),
        digest(thinking=True),
        digest(model="another"),
        digest(provider="openai"),
        digest(base_url="http://127.0.0.1:9/v1"),
    ]
    assert len(same) == 1 and len({*same, *others}) == 9


def test_the_facts_say_what_cannot_be_checked(server: LLMServer, tmp_path: Path) -> None:
    facts = subject_on(server, tmp_path, system="a secret").facts
    assert (facts["n_layers"], facts["d_model"], facts["vocab_size"]) == (0, 0, 0)
    assert "nobody can check" in facts["weights"]
    assert "secret" not in str(facts) and "table-of-tests" not in str(facts)
