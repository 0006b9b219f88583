"""Health check of the container: the server gives its metrics once every model is loaded.

Whether a model still answers is not seen here; workers find out by a real inference (`inference.triton`).
"""

import os
import urllib.request

port = os.environ.get("TRITON_METRICS_PORT", "8002")
urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=4).close()
