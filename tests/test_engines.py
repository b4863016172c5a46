"""Two engines never stand in one contrast, and each is given only what it has a use for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent import session
from agent.case import Case, CaseError, load_case
from agent.engines import check_engines
from tests.llm_server import forget_environment
from tests.synthetic_cases import number_case
from tests.test_commands import toml

LOCAL = {"model": "./somewhere"}
SCRIPT = {"tools": [{"name": "look", "description": "", "results": [{"result": "ok"}]}]}


def api(name: str = "openai-chat/m", **changes: Any) -> dict[str, Any]:
    return {"model": f"api:{name}", "base_url": "http://127.0.0.1:8000/v1", **changes}


def case_of(subject: dict[str, Any], reference: dict[str, Any] | None, **changes: Any) -> Case:
    return number_case(**{"subject": subject, "reference": reference, **changes})


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_environment(monkeypatch)


@pytest.mark.parametrize(
    ("subject", "reference"),
    [
        (api(), LOCAL),
        (LOCAL, api()),
        (api(), {"model": "synthetic:table.toml"}),
        (api(), api("openai/m")),
        (api(), api(base_url="http://127.0.0.1:9000/v1")),
        (api(), {"model": "api:openai-chat/m"}),
    ],
)
def test_two_engines_are_refused(subject: dict[str, Any], reference: dict[str, Any]) -> None:
    with pytest.raises(CaseError, match="two engines") as caught:
        check_engines(case_of(subject, reference))
    assert "\n" not in str(caught.value) and "--reference none" in str(caught.value)


@pytest.mark.parametrize(
    ("subject", "reference"),
    [
        (LOCAL, LOCAL),
        (LOCAL, None),
        (api(), None),
        (api(), api("openai-chat/other", system="a secret")),
        (api(), api(base_url="http://127.0.0.1:8000/v1/")),
        ({"model": "api:openai/m"}, {"model": "api:openai/n", "thinking": False}),
    ],
)
def test_one_engine_is_fine(subject: dict[str, Any], reference: dict[str, Any] | None) -> None:
    check_engines(case_of(subject, reference))


@pytest.mark.parametrize(
    ("locator", "field"),
    [
        (api(adapter="./lora"), "adapter"),
        (api(revision="main"), "revision"),
        (api(dtype="float32"), "dtype"),
        (api(device="cpu"), "device"),
        (api(digest="0"), "digest"),
        (api(chat_template_arguments={"enable_thinking": True}), "chat_template_arguments"),
        ({**LOCAL, "base_url": "http://127.0.0.1:8000"}, "base_url"),
        ({**LOCAL, "thinking": True}, "thinking"),
        ({**LOCAL, "key_env": "KEY"}, "key_env"),
    ],
)
def test_what_an_engine_has_no_use_for_is_refused(locator: dict[str, Any], field: str) -> None:
    with pytest.raises(CaseError, match=f"`{field}` means nothing") as caught:
        check_engines(case_of(locator, None))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "anthropic", "anthropic/", "mistral/m", "openai/"])
def test_a_name_without_a_provider_is_refused(name: str) -> None:
    with pytest.raises(CaseError, match="api:anthropic/MODEL"):
        check_engines(case_of(api(name), None))


def test_an_environment_needs_an_api() -> None:
    check_engines(case_of(api(), None, environment=SCRIPT))
    with pytest.raises(CaseError, match="serve the model with vLLM"):
        check_engines(case_of(LOCAL, None, environment=SCRIPT))


def test_the_command_line_is_checked_with_the_case_and_mends_it(tmp_path: Path) -> None:
    fields = case_of(LOCAL, LOCAL).model_dump(mode="json", exclude_none=True)
    path = tmp_path / "case.toml"
    path.write_text("\n".join(f"{name} = {toml(value)}" for name, value in fields.items()))
    assert load_case(path).reference is not None
    url = "http://127.0.0.1:8000/v1"
    with pytest.raises(CaseError, match="two engines"):
        session.changed_case(path, session.Models(subject="api:openai-chat/m", url=url), {})
    models = session.Models(
        subject="api:openai-chat/m", reference="none", url=url, key_env="THE_KEY"
    )
    found = session.changed_case(path, models, {}).subject
    assert (found.model, found.base_url, found.key_env) == ("api:openai-chat/m", url, "THE_KEY")
    both = session.Models(subject="api:openai-chat/m", reference="api:openai-chat/n", url=url)
    reference = session.changed_case(path, both, {}).reference
    assert reference is not None and reference.base_url == url
