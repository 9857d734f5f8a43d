"""The OpenAI dialect under `/v1`: object shapes, ids, statuses and errors of the published API."""
