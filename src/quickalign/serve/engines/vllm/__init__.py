"""The engine on vLLM: a server of its own environment, asked for tokens over a loopback port."""
