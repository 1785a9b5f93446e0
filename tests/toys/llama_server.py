"""A server of llama.cpp on this machine, one thread, float32 throughout. Run as a program: the GGUF
file and the port.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen


@contextmanager
def llama_server(file: Path) -> Iterator[str]:
    """Serve a GGUF file; yield the address when it answers."""
    from toys.stores import free_port  # not where this file is the program

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with file.with_suffix(".log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, __file__, str(file), str(port)], stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            assert server.poll() is None, file.with_suffix(".log").read_text()[-2000:]
            try:
                urlopen(f"{url}/health", timeout=5).close()
                break
            except (URLError, OSError):
                time.sleep(0.1)
        yield url
    finally:
        server.kill()
        server.wait()


def main() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.hostnames, params.port = ["127.0.0.1"], int(sys.argv[2])
    params.n_ctx, params.n_parallel, params.warmup = 4096, 1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
