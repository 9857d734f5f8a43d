"""HTTP: the native API, the OpenAI dialect, and the server program. Translates to calls of the platform."""
