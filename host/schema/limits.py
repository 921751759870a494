# SPDX-License-Identifier: Apache-2.0
"""What firmware/common/limits.h allows as shipped: refused on the host, where it can be explained.

A test compares the numbers with the header's.
"""

LIMIT_ROWS = 512
LIMIT_LOGIT_ROWS = 512
LIMIT_SESSIONS = 64
LIMIT_STATES = 160
LIMIT_OPS = 2048
LIMIT_HEAD_DIM = 256
LIMIT_GROUP_HEADS = 64
LIMIT_WIDTH = 1 << 20
LIMIT_VOCAB = 1 << 20
LIMIT_CONTEXT = 1 << 22
LIMIT_TENSORS = 8192
LIMIT_MERGES = 1 << 20
LIMIT_TEXT_BYTES = 1 << 26
LIMIT_ADDED = 32768
LIMIT_ADDED_BYTES = 512
LIMIT_TOKEN_BYTES = 4096
HEAD_DIM_STEP = 8
