"""Health check of the container, ``ready.py PORT``: the server gives its metrics once every model is loaded.

Whether a model still answers is not seen here; workers find out by a real inference (`inference.triton`).
"""

import sys
import urllib.request

urllib.request.urlopen(f"http://127.0.0.1:{int(sys.argv[1])}/metrics", timeout=4).close()
