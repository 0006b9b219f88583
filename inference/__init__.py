"""How models are prepared, served and called.

In reading order: `embedder` turns texts into vectors with ONNX Runtime, `encoding` into the tokens that it needs first,
`minilm` holds the model it runs, `model_repository` writes that model down for a Triton server and `triton` asks one,
`embedding_cache` remembers what was computed, and `hashing` embeds without a model, for load tests. Beside models,
`injection` looks for orders to them in texts, and `personal_data` for what should not be shown.
"""
