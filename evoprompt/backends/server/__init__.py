"""A model behind an HTTP server: vLLM, llama.cpp, SGLang, or any that echoes log-probabilities."""
