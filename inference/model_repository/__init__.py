"""What the model server serves: a model repository for Triton, generated from the artefacts of `inference`.

In reading order: `generate` writes the folders, `model` runs inside the server, `batching` is shared by both sides.
"""

from inference.model_repository.generate import LANES, ServingPolicy, lane_model, write_model

__all__ = ["LANES", "ServingPolicy", "lane_model", "write_model"]
