"""How models are prepared, served and called.

In reading order: `embedder` turns texts into vectors with ONNX Runtime, `minilm` holds the model it runs,
`embedding_cache` remembers what was computed, and `hashing` embeds without a model, for load tests.
"""
