#!/usr/bin/env python3
"""Every public symbol has a comment: check_documented.py SYMBOLGRAPH… lists those that have none, by file and line, and ends with 1."""
import json
import os
import sys


def undocumented(graph):
    """(file, line, name) of each symbol that someone wrote and did not explain; what the compiler makes has no place."""
    for symbol in graph["symbols"]:
        place = symbol.get("location")
        if symbol["accessLevel"] in ("public", "open") and place and not symbol.get("docComment", {}).get("lines"):
            yield os.path.relpath(place["uri"].removeprefix("file://")), place["position"]["line"] + 1, ".".join(symbol["pathComponents"])


if __name__ == "__main__":
    count, missing = 0, []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            graph = json.load(file)
        count += len(graph["symbols"])
        missing += undocumented(graph)
    for file, line, name in sorted(missing):
        print(f"{file}:{line}: {name} is public and not documented")
    if not count:
        sys.exit("no symbols")
    print(f"{count} public symbols, {len(missing)} without a comment")
    sys.exit(1 if missing else 0)
