"""peak.py COMMAND…: runs it, and then prints its peak memory as one line of JSON."""

import json
import resource
import subprocess
import sys

status = subprocess.run(sys.argv[1:]).returncode
print("\n" + json.dumps({"peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}), flush=True)
sys.exit(status if status >= 0 else 128 - status)
