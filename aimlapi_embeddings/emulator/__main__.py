"""Serve an emulator of the AI/ML API and of Nugen on 127.0.0.1 until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import time

from aimlapi_embeddings.emulator import Emulator, running


def main() -> None:
    """Parse the options, then serve."""
    parser = argparse.ArgumentParser(
        prog="python -m aimlapi_embeddings.emulator", description=__doc__
    )
    parser.add_argument("--port", type=int, default=8765, help="0: any free port (%(default)s)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds for each request")
    parser.add_argument("--latency-per-text", type=float, default=0.0, help="seconds for each text")
    parser.add_argument("--max-in-flight", type=int, help="answer 429 above this many requests")
    parser.add_argument("--lenient", action="store_true", help="serve models that are not known")
    options = parser.parse_args()
    emulator = Emulator(
        strict=not options.lenient,
        latency=options.latency,
        latency_per_text=options.latency_per_text,
        max_in_flight=options.max_in_flight,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        try:
            url = stack.enter_context(running(emulator, port=options.port))
        except (OSError, OverflowError) as error:  # it is in use, reserved, or no port at all
            parser.error(
                f"port {options.port} cannot be used ({error}); choose another with --port, or "
                "--port 0 for any that is free"
            )
        print(f"Serving on {url}; the vectors are only lexical: they compare words, not meaning.")
        print(f"export AIMLAPI_API_BASE={url}/v1 AIMLAPI_API_KEY=offline")
        print(
            f"export NUGEN_API_BASE={url}/api/v3/inference NUGEN_API_KEY=offline",
            flush=True,
        )
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
