# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's side as a process: ``python -m tools.bench.beside.llama_child MODEL.gguf THREADS``.

Says in a line of JSON what it is; then answers each line {"tokens": ids, "generate": n} with the seconds of the run. It
writes its log to stderr.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from typing import Any

CONTEXT = 512
GREEDY = {"temperature": 0.0, "samplers": ["top_k"], "top_k": 1, "ignore_eos": True, "cache_prompt": False}


def open_server(xllamacpp: Any, model: str, threads: int) -> Any:
    """A server with one slot that keeps no prompts; all else is llama.cpp's default: repacking, flash attention."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx, params.n_parallel = CONTEXT, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_prompt, params.cache_ram_mib, params.n_ctx_checkpoints = False, 0, 0
    return xllamacpp.Server(params)


def answer(server: Any, tokens: list[int], generate: int) -> dict[str, Any]:
    """Run one request; its first token is sampled where the prompt's time ends."""
    before = time.process_time()
    result = server.handle_completions({"prompt": tokens, "n_predict": generate, **GREEDY})
    cpu = time.process_time() - before
    timings = result.get("timings") or {}
    if (timings.get("prompt_n"), timings.get("predicted_n")) != (len(tokens), generate):
        return {"error": f"{len(tokens)} and {generate} tokens asked for: {json.dumps(result)[:400]}"}
    first = timings["prompt_ms"] / 1e3
    return {"cpu": cpu, "first": first, "total": first + timings["predicted_ms"] / 1e3}


def main() -> None:
    """Open the model and answer until stdin ends."""
    import xllamacpp

    server = open_server(xllamacpp, sys.argv[1], int(sys.argv[2]))
    version, system = importlib.metadata.version("xllamacpp"), " ".join(xllamacpp.get_system_info().split())
    print(json.dumps({"version": version, "system": system.rstrip("| ")}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(answer(server, asked["tokens"], asked["generate"])), flush=True)


if __name__ == "__main__":
    main()
