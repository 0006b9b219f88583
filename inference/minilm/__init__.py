"""all-MiniLM-L6-v2 as an ONNX graph, built and quantized from its safetensors weights without torch."""
