"""OpenAI's HTTP dialect over an `Engine`."""
