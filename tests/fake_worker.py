"""Speaks the protocol of ``georeg serve`` without georeg: how it greets and what it does are words of its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import Any


def say(**values: Any) -> None:
    """One line on standard output."""
    print(json.dumps(values), flush=True)


def work(job: Any, words: list[str]) -> None:
    """What a job asks for by its first word."""
    if words[0] == "garbage":
        print("Segmentation fault", flush=True)
    elif words[0] == "die":
        print("something broke\nlast words", file=sys.stderr, flush=True)
        os._exit(7)
    elif words[0] == "refuse":
        say(
            type="error",
            id=job,
            code="MatchError",
            exit_code=1,
            message="3 tie points found, 9 needed; widen it",
            hint="widen it",
        )
    elif words[0] in ("hang", "stubborn"):
        if len(words) > 1:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            with open(words[1], "w", encoding="utf-8") as file:
                file.write(str(child.pid))
        say(type="progress", id=job, stage="match", done=1, total=2, elapsed_s=0.1, eta_s=0.1)
    else:
        say(type="progress", id=job, stage="match", done=1, total=2, elapsed_s=0.1, eta_s=None)
        say(type="log", id=job, level="info", message="hello ä")
        say(type="result", id="another", verb="align", output=None, values={})
        say(type="result", id=job, verb=words[0], output=None, values={"words": words, "environment": dict(os.environ)})


def greet(how: str) -> None:
    """The first line."""
    if how == "silent":
        print("No module named 'georeg'", file=sys.stderr)
        sys.exit(1)
    ok = how != "broken"
    protocol = 2 if how == "new" else 1
    say(
        type="hello", protocol=protocol, georeg="0", python="3", software={}, self_test={"ok": ok, "message": "no PROJ"}
    )


def main() -> None:
    """Until standard input ends."""
    greet(sys.argv[1])
    running: list[str] = []
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["type"] == "run":
            running = asked["arguments"]
            threading.Thread(target=work, args=(asked["id"], running), daemon=True).start()
        elif asked["type"] == "cancel" and running[0] != "stubborn":
            say(
                type="error",
                id=asked["id"],
                code="cancelled",
                exit_code=1,
                message="asked to stop. No file was changed",
                hint="",
            )
            return
    if running and running[0] == "stubborn":
        time.sleep(60)


if __name__ == "__main__":
    main()
