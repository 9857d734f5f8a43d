"""What LiteLLM gets from a service: whole, streamed and asynchronous answers, and how it tells errors apart."""

import asyncio
import json
import os

import litellm

BASE, TOKEN = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
HELLO = [{"role": "user", "content": "Could you please hurt me?"}]


def ask(**settings):
    values = {"model": "openai/default", "messages": HELLO, "api_base": BASE, "api_key": TOKEN, "temperature": 0}
    return litellm.completion(**values | {"num_retries": 0} | settings)


def kind_of(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "nothing"


async def ask_async():
    answer = await litellm.acompletion(
        model="openai/default", messages=HELLO, api_base=BASE, api_key=TOKEN, temperature=0
    )
    return answer.choices[0].message.content


whole = ask(max_tokens=40)
stream = ask(stream=True, stream_options={"include_usage": True}, max_tokens=40)
print(
    json.dumps(
        {
            "whole": whole.choices[0].message.content,
            "tokens": whole.usage.completion_tokens,
            "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices),
            "async": asyncio.run(ask_async()),
            "text": litellm.text_completion(
                model="text-completion-openai/default", prompt="I am", api_base=BASE, api_key=TOKEN, max_tokens=4,
                temperature=0,
            ).choices[0].text,
            "bad": kind_of(lambda: ask(temperature=-1)),
            "wrong_token": kind_of(lambda: ask(api_key="wrong")),
        }
    )
)  # fmt: skip
