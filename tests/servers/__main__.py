"""moto's S3 for a trial by hand: it prints the exports that a shell needs, and serves until Ctrl-C.

python -m tests.servers --bucket photos
"""

import argparse
import shlex
import signal

from tests.servers.moto_server import moto_server


def main() -> None:
    """Serve until interrupted; the state is gone afterwards."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--bucket", action="append", default=[], help="create this bucket; may be repeated")
    arguments = parser.parse_args()
    stop_signals = {signal.SIGINT, signal.SIGTERM}
    # Blocked before any thread starts, so that none of them takes the signal and `sigwait` gets it.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    with moto_server(arguments.port) as server:
        for bucket in arguments.bucket:
            server.client().create_bucket(Bucket=bucket)
        for name, value in server.environment().items():
            print(f"export {name}={shlex.quote(value)}", flush=True)  # noqa: T201 - the output
        signal.sigwait(stop_signals)


if __name__ == "__main__":
    main()
