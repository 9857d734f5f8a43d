"""What LangChain's ChatOpenAI gets from a service: invoke, stream, batch, async, and an error."""

import asyncio
import json
import os

import openai
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

BASE, TOKEN = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
QUESTION = "Could you please hurt me?"
model = ChatOpenAI(base_url=BASE, api_key=TOKEN, model="default", temperature=0, max_retries=0, stream_usage=True)


def refused():
    try:
        ChatOpenAI(base_url=BASE, api_key="wrong", model="default", max_retries=0).invoke("Hi")
    except openai.AuthenticationError:
        return "AuthenticationError"
    return "nothing"


whole = model.invoke([HumanMessage(QUESTION)])
print(
    json.dumps(
        {
            "whole": whole.content,
            "tokens": whole.usage_metadata["output_tokens"],
            "streamed": "".join(chunk.content for chunk in model.stream(QUESTION)),
            "batch": [answer.content for answer in model.batch([QUESTION] * 4)],
            "async": asyncio.run(model.ainvoke(QUESTION)).content,
            "system": model.invoke([SystemMessage("You are a helpful assistant."), HumanMessage(QUESTION)]).content,
            "logprobs": len(model.bind(logprobs=True).invoke(QUESTION).response_metadata["logprobs"]["content"]),
            "wrong_token": refused(),
        }
    )
)
