"""What the platform says, in Chinese: the patterns are those of the code, and values stay as they are."""

import ast
import gzip
import re
from pathlib import Path

import pytest
from pydantic_core._pydantic_core import list_all_errors

from quickalign.console import sentences
from quickalign.console.language import words_of
from quickalign.console.said import SAID
from quickalign.console.sentences import Sentences, sentences_of
from quickalign.console.service_form import spec_of
from quickalign.console.told import PHASE, TOLD
from quickalign.core import options, storage
from quickalign.core.errors import OptionError, QuickalignError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.hub.folder import check_config, no_safetensors
from quickalign.platform.devices import Device
from quickalign.platform.queue.needs import resources
from quickalign.serve.engines.registry import resolve_engine

ROOT = Path(sentences.__file__).parents[1]
ROOMS = ("core", "data", "hub", "platform", "console", "train", "evaluate", "export", "serve", "api/gateway")
TELLING = (
    "platform/jobs",
    "platform/services",
    "platform/queue",
    "platform/executors/wrapper.py",
    "data/advice.py",
    "train/journal.py",
)
"""What tells of jobs, services and data, besides what an observer of a run is told."""
SAYING = {
    "train/samples.py": "_remarks", "train/closing.py": "_sentence", "train/load.py": "_sizes", "train/metrics.py": "update",
    "train/suggest.py": "_changes", "train/plan.py": "_remedy", "export/run.py": "sentence",
}  # fmt: skip
"""Functions that make what an observer is told."""
OBSERVED = ("note", "warning")


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
            if file.name in ("said.py", "told.py", "script_texts.py"):
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if (text := written(node)) is not None:
                    found |= {shape(text), shape(text).strip(), *map(shape, sentences._BETWEEN_SENTENCES.split(text))}
    return found


def written(node):
    """The text of a literal, with {} for its values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def told_in_code():
    """The sentences that events, reasons and reports are made of: not those of errors, of the log and of docstrings."""
    for place in TELLING:
        for file in [ROOT / place] if place.endswith(".py") else (ROOT / place).glob("*.py"):
            yield from told_by(ast.parse(file.read_text()))
    for name, function in SAYING.items():
        tree = ast.parse((ROOT / name).read_text())
        yield from told_by(next(one for one in ast.walk(tree) if getattr(one, "name", "") == function))
    for room in ("train", "evaluate", "export"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in OBSERVED:
                    yield from filter(None, map(written, node.args))


def told_by(tree):
    passed = set()
    for node in ast.walk(tree):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Raise) or called.endswith(("Error", "missing")) or called.startswith("_LOG."):
            passed |= set(ast.walk(node))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed.add(node.value)
        if isinstance(node, ast.JoinedStr):
            passed |= set(node.values)
    for node in ast.walk(tree):
        text = written(node) if node not in passed else None
        if text and text.rstrip().endswith(".") and text.replace("{}", "").strip().count(" "):
            yield text


def test_every_pattern_is_said_somewhere():
    known = said_in_code()
    assert [text for text in (*SAID, *TOLD) if shape(text).replace("%%", "%") not in known] == []


def test_whatever_is_told_has_a_pattern():
    """Whoever lets a job, a service or a report tell something new adds it to `told.py`, and the catalogues follow."""
    known = {shape(text).replace("%%", "%").strip() for text in (*SAID, *TOLD)}
    told = set(told_in_code())
    assert len(told) > 80
    assert sorted(text for text in told if shape(text).strip() not in known) == []


@pytest.mark.parametrize("text", TOLD)
def test_what_is_told_is_said_in_chinese(text):
    number = dict.fromkeys(sentences._NUMBERS, "7") | dict.fromkeys(sentences._WORDS_OF_OURS, "")
    values = {name: number.get(name, "X") for name in re.findall(r"%\((\w+)\)s", text)}
    said = sentences_of("zh").say(text % values)
    assert re.search(r"[\u4e00-\u9fff]", said), said
    assert not re.search(r"[a-z]{2} [a-z]{2}", said), said


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            "It was killed by SIGKILL. The system does that when memory runs out. Its last words: step 3. It goes on "
            "from step 40 in 2 seconds.",
            "它被 SIGKILL 杀死。内存耗尽时系统会这样做。最后的输出：step 3. 2 秒后从第 40 步继续。",
        ),
        (
            "3 rows have exactly what an earlier row has, and counts twice.",
            "3 行与之前某一行完全相同，会被计两次。",
        ),
        (
            "The chosen answer is the longer one in 71% of the pairs (mean 80 tokens chosen, 41 rejected): the model will "
            "also learn to write longer answers.",
            "在 71% 的偏好对中，优选回答更长（平均优选 80 个词元，劣选 41 个）：模型也会学着写更长的回答。",
        ),
        ("Validation at step 20: loss 0.6931, accuracy 0.512.", "第 20 步的验证：损失 0.6931，准确率 0.512。"),
        ("Keeps the base in 4 bits. A smaller model of the same family.", "基座以 4 比特保存。同一系列的更小的模型。"),
        ("Traceback (most recent call last). Nobody knows.", "Traceback (most recent call last). Nobody knows."),
    ],
)
def test_what_is_told_keeps_its_values(told, expected):
    assert sentences_of("zh").say(told) == expected
    assert sentences_of("en").say(told) == told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "row 4: found malformed JSON (invalid literal, expected 'null') near 'no', expected one JSON object.",
            "第 4 行：实际为有误的 JSON（invalid literal, expected 'null'），在 'no' 附近，应为一个 JSON 对象。",
        ),
        (
            "3 prompts are the same ids; [5, 6] end answers. The system prompt is another one.",
            "3 个提示的词元编号相同；结束词元为 [5, 6]。系统提示词不同。",
        ),
    ],
)
def test_sentences_within_sentences(text, expected):
    assert sentences_of("zh").say(text) == expected


def test_phases_are_named():
    phase = sentences_of("zh").phase
    assert phase("train") == "训练"
    assert phase("samples: answers before training") == "样例：训练前的回答"
    assert phase("load: Qwen2, lora, fp32") == "加载：Qwen2, lora, fp32"
    assert phase("something else") == "something else"
    assert sentences_of("en").phase("samples: answers before training") == "samples: answers before training"
    assert PHASE in words_of("zh").texts


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"learning_rate": 7}, "learning_rate=7 不可行：应小于或等于"),
        ({"lora_dim": "8.5"}, "lora_dim='8.5' 不可行：应为整数"),
        ({"lora_rank": 3}, "没有选项 'lora_rank'。这里它叫做 'lora_dim'。"),
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


FILES = {
    "gbk.csv": "prompt,chosen,rejected\n你好,很好,不好\n".encode("gbk"),
    "gbk.json": '[{"prompt": "你好吗", "chosen": "很好", "rejected": "不好"}]'.encode("gbk"),
    "utf-16.csv": "prompt,chosen,rejected\n你好,很好,不好\n".encode("utf-16"),
    "zip.json": b"PK\x03\x04" + bytes(40),
    "short.jsonl.gz": gzip.compress(b'{"prompt": "a"}\n' * 900)[:40],
    "names.csv": b"prompt,prompt\na,b\n",
    "quotes.csv": b'prompt,chosen,rejected\n"a" b,c,d\n',
    "pretty.jsonl": b'{\n"prompt": "a"\n}\n',
    "further.json": b'[{"prompt": "a", "chosen": "b", "rejected": "c"}] more',
    "blank.json": b" " * 40,
    "words.txt": b"Once upon a time.\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_refused_in_chinese(platform, name):
    with platform.files.begin(name) as incoming:
        incoming.write(FILES[name])
        file = incoming.commit().id
    with pytest.raises(QuickalignError) as refused:
        platform.files.report(file)
    is_chinese(refused.value, name, "',' expected after '\"'")


def is_chinese(error, *values):
    """Whether nothing English is left of an error, but for values of the user and what others' libraries say."""
    problem = sentences_of("zh").problem(error)
    for text in filter(None, (problem.message, problem.remedy)):
        own = re.sub("|".join([*map(re.escape, values), r"['“\[{].*?['”\]}]"]), "", text)
        assert re.search(r"[\u4e00-\u9fff]", own), text
        assert not re.search(r"[a-z]{2} [a-z]{2}", own), text


def refused_by(call):
    with pytest.raises(QuickalignError) as refused:
        call()
    return refused.value


ANSWERED = (
    "The service 'base' is stopped and cannot answer now. It was stopped; start brings it back.",
    "The service 'base' is starting and cannot answer now. None of its replicas is ready.",
    "The token's limit is 3 requests a minute. Send it again in 4 s.",
    "The token does not open this service, or was revoked. Send the service's token as `Authorization: Bearer <token>`; "
    "`quickalign services token` shows it.",
    "This model's context is 64 tokens. The prompt has 60 tokens and 256 for the answer; shorten one of them.",
    "This model's context is 64 tokens. The prompt has 70 tokens; shorten one of them.",
    "temperature: Input should be less than or equal to 2.",
    "The engine gave up: The replica is shutting down.",
)
"""What services answer instead of their model, as the gateway and the replica join it."""


@pytest.mark.parametrize("text", ANSWERED)
def test_what_a_service_answers_instead_of_its_model_is_said_in_chinese(text):
    is_chinese(QuickalignError(text), "`Authorization: Bearer <token>`", "`quickalign services token`")


def test_the_gateway_has_a_pattern_for_all_it_refuses():
    """Whoever lets it refuse something new adds it to `said.py`, sentence by sentence."""
    makers = ("ApiError", "refused", "_refusal", "_not_ready")
    said = []
    for file in (ROOT / "api" / "gateway").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())) if file.name != "pages.py" else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in makers:
                said += [text for text in map(written, node.args) if text and text.endswith(".")]
    assert len(said) > 8
    known = {shape(text) for text in SAID} | {shape(text).removeprefix("{} ") for text in SAID}
    parts = {shape(part) for text in said for part in sentences._BETWEEN_SENTENCES.split(text.removeprefix("{} "))} - {
        "{}"
    }
    assert sorted(part for part in parts if part not in known) == []


def test_a_failed_job_says_in_chinese_why():
    why = (
        "/tmp/rows.jsonl has 3 of 26 rows that cannot be used; the first: row 21, field 'chosen': found no such field, "
        "expected a text. Correct the file (`quickalign data check` lists all such rows), or leave such rows out with "
        "--bad-rows drop."
    )
    is_chinese(QuickalignError(why), "/tmp/rows.jsonl", "`quickalign data check`")


REFUSED = {
    "engine": lambda: resolve_engine("none"),
    "empty path": lambda: storage.open_binary("").__enter__(),
    "machine": lambda: storage.open_binary("file://there/rows.json").__enter__(),
    "region": lambda: storage.open_binary("oss://bucket/rows.json").__enter__(),
    "bucket alone": lambda: storage.open_binary("s3://bucket").__enter__(),
    "quantised": lambda: check_config({"quantization_config": {"quant_method": "gptq"}}, "some/model"),
    "own code": lambda: check_config({"auto_map": {"AutoModel": "x"}, "model_type": "unheard"}, "some/model"),
    "pickle": lambda: raised(no_safetensors("some/model", "pytorch_model.bin")),
    "room": lambda: resources("llama-3.1-70b-instruct", Hyperparameters(), None, (Device("cpu", 0, "CPU", 8 << 30, 1),)),
    "source": lambda: spec_of({"source": "model:qwen2-tiny-instruct", "checkpoint": "3"}),
    "other source": lambda: spec_of({"source": "model:qwen2-tiny-instruct", "adapter": "/there"}),
    "nothing": lambda: spec_of({"source": "other:"}),
    "bounds": lambda: spec_of({"source": "model:m", "min_replicas": "5", "max_replicas": "4"}),
    "no upper bound": lambda: spec_of({"source": "model:m", "min_replicas": "5"}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_form_asks_for_is_refused_in_chinese(name, monkeypatch):
    for variable in ("OSS_REGION", "OSS_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)
    is_chinese(refused_by(REFUSED[name]), "executor", "some/model")


def raised(error):
    raise error


def test_chinese_has_its_own_punctuation():
    half = re.compile(r"[\u4e00-\u9fff][,;:?!(]|[,;:?!)][\u4e00-\u9fff]")
    assert [text for text in words_of("zh").texts.values() if half.search(text)] == []


def test_which_variables_to_set_is_said_and_other_remedies_are_left_alone():
    say = sentences_of("zh").say
    assert say("Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.").startswith("请设置 AWS_ACCESS_KEY_ID")
    assert say("Set something to another value.") == "Set something to another value."
    assert say("The fox has four legs.") == "The fox has four legs."


def test_what_users_wrote_stays():
    say = sentences_of("zh").say
    assert say("There is no file 'running %(x)s 100%'.") == "没有文件 'running %(x)s 100%'。"
    assert say("The job job-1 is running and cannot be resumed.") == (
        "任务 job-1 处于“运行中”状态，不能执行此操作（继续）。"
    )
    assert say("The job is paused: It was paused; no step was done.") == "任务已暂停：已暂停；没有完成任何一步。"
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
