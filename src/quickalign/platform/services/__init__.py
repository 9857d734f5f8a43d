"""Services: named models behind an OpenAI-compatible endpoint, their revisions and the processes that answer."""
