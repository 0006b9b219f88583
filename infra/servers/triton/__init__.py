"""The Triton inference server on this machine's processors: installed by pip, no containers."""

from infra.servers.triton.install import TRITON_VERSION, TritonParts, install_triton
from infra.servers.triton.server import TritonServer, remove_left

__all__ = ["TRITON_VERSION", "TritonParts", "TritonServer", "install_triton", "remove_left"]
