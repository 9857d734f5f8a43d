"""One replica as a plain program: a model in, an endpoint in OpenAI's dialect out. Knows nothing of the platform."""
