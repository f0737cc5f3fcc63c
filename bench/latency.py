"""A wire that is long: passes bytes on to a server, each piece that a client sends some time later.

python -m bench.latency UPSTREAM_PORT MILLISECONDS    prints the port that it listens at, and serves until it is killed
"""

import asyncio
import sys


async def serve(upstream_port: int, latency_s: float) -> None:
    """Listen on a free port of this machine."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", upstream_port)
        await asyncio.gather(_pass_on(reader, back, latency_s), _pass_on(there, writer, 0.0))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency_s: float) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await reader.read(1 << 20):
            if latency_s:
                loop.call_later(latency_s, writer.write, data)
            else:
                writer.write(data)
                await writer.drain()
        await asyncio.sleep(latency_s)
    except ConnectionError:
        return
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
