"""The engine on OpenVINO: the model as a compiled graph with paged attention, batched continuously."""
