"""Which templates are filled in without running them, and that the outcome is the same text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickalign.data.plain_template import writes_texts_as_they_are
from quickalign.data.records import Message
from quickalign.data.template import ChatTemplate
from tests.support import tokenizers as toys
from tests.support.chat import CHATML

MINIMAL = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.mark.parametrize("source", [toys.QWEN2, toys.THINKING_PROMPT, toys.FORGETS_SYSTEM, CHATML, MINIMAL])
def test_templates_that_only_write_texts_are_proved(source):
    assert writes_texts_as_they_are(source)


@pytest.mark.parametrize(
    "source",
    [
        toys.THINKING_ANSWER,
        toys.NO_SYSTEM,
        toys.INST,
        "{% for m in messages %}{{ m.content | trim }}{% endfor %}",
        "{% for m in messages %}{{ m.content.strip() }}{% endfor %}",
        "{% for m in messages %}{{ m['content'][1:] }}{% endfor %}",
        "{% for m in messages %}{% if m.content %}{{ m.content }}{% endif %}{% endfor %}",
        "{% for m in messages %}{{ 'a' if m.content else 'b' }}{% endfor %}",
        "{% for m in messages %}{{ m.get('content') | trim }}{% endfor %}",
        "{% for m in messages %}{% for k, v in m.items() %}{{ v | upper }}{% endfor %}{% endfor %}",
        "{% for m in messages %}{% set t = m.content %}{{ t | trim }}{% endfor %}",
        "{% for m in messages %}{% set o = m %}{{ o.content | trim }}{% endfor %}",
        "{% set x = messages %}{% for m in x %}{{ m.content | trim }}{% endfor %}",
        "{% for m in messages[1:] %}{{ m.content | trim }}{% endfor %}",
        "{% for m in messages %}{{ loop.previtem.content | trim if loop.previtem else '' }}{% endfor %}",
        "{% for m in messages %}{{ (loop | attr('nextitem')) }}{% endfor %}",
        "{% for m in messages %}{% filter trim %}{{ m.content }}{% endfilter %}{% endfor %}",
        "{% for m in messages %}{% set t %}{{ m.content }}{% endset %}{{ t | trim }}{% endfor %}",
        "{% macro f(m) %}{{ m.content | trim }}{% endmacro %}{% for m in messages %}{{ f(m) }}{% endfor %}",
        "{{ messages | tojson }}",
        "{{ messages[0] }}",
        "{% if 'x' in messages[0]['content'] %}{{ messages[0].content }}{% endif %}",
        "{% if messages[-1].content == 'x' %}y{% endif %}",
        "{% for m in messages %}{{ m['con' ~ 'tent'] | trim }}{% endfor %}",
        "{{ broken",
    ],
)
def test_templates_that_do_anything_else_with_a_text_are_run(source):
    assert not writes_texts_as_they_are(source)


texts = st.text(alphabet="ab {}%<|>\n\ue000\ue0010 好'\"", max_size=20)


@given(
    st.sampled_from([toys.QWEN2, toys.THINKING_PROMPT, CHATML, MINIMAL]), st.lists(texts, min_size=1, max_size=5), texts
)
@settings(max_examples=150, deadline=None)
def test_filling_in_gives_what_running_the_template_gives(source, contents, system):
    tokenizer = toys.qwen2_like(source)
    template = ChatTemplate(tokenizer, "")
    talk = [Message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(contents)]
    talk = [Message("system", system), *talk] if system else talk
    chat = [{"role": m.role, "content": m.content} for m in talk]
    expected = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert template.prompts([tuple(talk)]) == [expected]
