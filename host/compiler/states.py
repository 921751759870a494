# SPDX-License-Identifier: Apache-2.0
"""The state table: what every session keeps of each layer."""

from __future__ import annotations

from host.ir.graph import Graph
from host.ir.lowering import PlanOptions, StateRecord
from host.schema.image import Overflow, page_bytes, state_pages


def state_records(graph: Graph, options: PlanOptions) -> list[StateRecord]:
    """The KV caches of the graph's layers. Under SLIDE every layer without a window gets one behind the sinks.

    A layer that has a window was trained without sinks and keeps both so. A window that is no shorter than the context
    cuts nothing, so it is none.
    """
    records = []
    for spec in graph.states:
        window, sinks = spec.window if spec.window < options.context else 0, 0
        if options.overflow == Overflow.SLIDE and not window:
            window, sinks = options.context - options.sinks, options.sinks
        pages = state_pages(options.context, options.max_rows, window, sinks, options.overflow)
        size = page_bytes(options.kv_format, spec.kv_heads, spec.head_dim)
        records.append(StateRecord(options.kv_format, spec.kv_heads, spec.head_dim, window, sinks, pages, size))
    return records
