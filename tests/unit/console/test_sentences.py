"""What the platform says, in Chinese: the patterns are those of the code, and values stay as they are."""

import ast
import re
from pathlib import Path

import pytest
from pydantic_core._pydantic_core import list_all_errors

from quickalign.console import sentences
from quickalign.console.language import words_of
from quickalign.console.said import SAID
from quickalign.console.sentences import Sentences, sentences_of
from quickalign.core import options
from quickalign.core.errors import OptionError, QuickalignError

ROOT = Path(sentences.__file__).parents[1]
ROOMS = ("core", "data", "hub", "platform", "console")


def shape(text):
    """A sentence with its values left open, whatever they are called."""
    return re.sub(r"(%\(\w+\)s|\{[^{}]*\})+", "{}", text)


def said_in_code():
    """The shapes of all texts in the rooms that speak, and in pydantic."""
    found = {shape(error["message_template_python"]) for error in list_all_errors()}
    # pydantic writes these endings itself
    found |= {text.replace("character{}", "character") for text in found} | {
        text.replace("character{}", "characters") for text in found
    }
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            if file.name in ("said.py", "script_texts.py"):
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
                elif isinstance(node, ast.JoinedStr):
                    found.add(shape("".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)))
    return found


def test_every_pattern_is_said_somewhere():
    known = said_in_code()
    assert [text for text in SAID if shape(text).replace("%%", "%") not in known] == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"learning_rate": 7}, "learning_rate=7 不可行:应小于或等于"),
        ({"lora_dim": "8.5"}, "lora_dim='8.5' 不可行:应为整数"),
        ({"lora_rank": 3}, "没有选项 'lora_rank'。 这里它叫做 'lora_dim'。"),
        ({"load_in_4bit": True, "load_in_8bit": True}, "互斥。"),
        ({"training_strategy": "sft", "dpo_beta": 0.5}, "dpo_beta=0.5 不起作用。"),
    ],
)
def test_options_are_refused_in_chinese(values, expected):
    with pytest.raises(OptionError) as refused:
        options.parse(values)
    problem = sentences_of("zh").problem(refused.value)
    assert expected in problem.text
    assert not re.search(r"[a-z] [a-z]+ [a-z]", problem.text), problem.text
    assert sentences_of("en").problem(refused.value).text == str(refused.value)


def test_what_users_wrote_stays():
    say = sentences_of("zh").say
    assert say("There is no file 'running %(x)s 100%'.") == "没有文件 'running %(x)s 100%'。"
    assert say("The job job-1 is running and cannot be resumed.") == (
        "任务 job-1 处于“运行中”状态,不能执行此操作(继续)。"
    )
    assert say("The job is paused: It was paused; no step was done.") == "任务已暂停:已暂停;没有完成任何一步。"
    output = f"There is no file {'=' * 5000}."
    assert say(output) == output
    assert say("Something else: nobody has translated it.") == "Something else: nobody has translated it."


def test_a_pattern_without_a_translation_changes_nothing():
    found = Sentences(words_of("en")).problem(QuickalignError("There is no file 'x'.", field="train"))
    assert (found.message, found.remedy, found.field) == ("There is no file 'x'.", None, "train")


def test_a_form_is_refused_in_chinese(browser, change):
    headers = {"HX-Request": "true", "Accept-Language": "zh"}
    asked = {"model": "qwen2-tiny-instruct", "train": "relative.json", "option.training_strategy": "dpo"}
    answer = change("/train", **asked, headers=headers).text
    assert "是相对路径" in answer
    assert "请给出绝对路径" in answer
    answer = change("/services", source="model:qwen2-tiny-instruct", name="A B", headers=headers).text
    assert "请更正该字段" in answer
    assert "name" in answer
    answer = browser.post(
        "/console/files",
        params={"filename": ".."},
        content=b"x",
        headers={"X-CSRF-Token": browser.csrf, "Accept": "application/json", "Accept-Language": "zh"},
    )
    assert "不能作为文件名" in answer.json()["problem"]["message"]


def test_bad_rows_are_described_in_chinese(browser, platform):
    with platform.files.begin("pairs.jsonl") as incoming:
        incoming.write(
            b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": "a", "chosen": 4, "rejected": ["d"]}\n'
        )
        file = incoming.commit().id
    report = browser.get(
        f"/console/datasets/{file}/report", headers={"Accept-Language": "zh", "HX-Request": "true"}
    ).text
    assert "数字 4" in report
    assert "<td>文本</td>" in report
