"""A trained model as one GGUF file, and llama.cpp's own word that it is the model that was trained."""
