"""The start of a pod: run `clipsieve` with the words of the container, then give the pod back.

A pod is billed until it is deleted, whether its command runs or has ended. So where the command has ended well and
Runpod's own variables are there, the pod deletes itself. After a failure it stays, for whoever reads its log, and says
that it is still billed. CLIPSIEVE_KEEP_POD=1 keeps it in every case.

https://docs.runpod.io/pods/templates/environment-variables
https://docs.runpod.io/api-reference-v2
"""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

API = "https://api.runpod.io/v2"
ENDED_WELL = (0, 3)  # 3: done, with something to look at


def main() -> int:
    """Run the command; return its exit code, but where this is a pod that stays: that waits to be deleted."""
    code = _run(sys.argv[1:])
    pod = os.environ.get("RUNPOD_POD_ID")
    if pod is None or (code in ENDED_WELL and "CLIPSIEVE_KEEP_POD" not in os.environ and _delete(pod)):
        return code
    print(f"clipsieve has ended with {code}. The pod {pod} stays, and is billed until you delete it.", flush=True)
    signal.pause()  # a container that ends may be started again, and its command with it
    return code


def _run(words: list[str]) -> int:
    """Run `clipsieve`, and hand on what asks it to stop: it then finishes the part in hand."""
    with subprocess.Popen([sys.executable, "-m", "clipsieve", *words]) as command:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: command.send_signal(number))
        code = command.wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: sys.exit(code))
    return code


def _delete(pod: str) -> bool:
    """Ask Runpod to delete this pod; say why where that is not done."""
    url = f"{os.environ.get('CLIPSIEVE_RUNPOD_API', API)}/pods/{pod}"
    headers = {"Authorization": f"Bearer {os.environ.get('RUNPOD_API_KEY', '')}"}
    request = urllib.request.Request(url, method="DELETE", headers=headers)  # noqa: S310  # Runpod's, or the user's own
    try:
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310  # as above
            return True
    except urllib.error.URLError as error:
        print(f"The pod cannot be deleted: {error}.", flush=True)
        return False


if __name__ == "__main__":
    sys.exit(main())
