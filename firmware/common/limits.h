/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_LIMITS_H
#define COMMON_LIMITS_H

/* What this firmware can hold, fixed when it is built; an image beyond it is refused with
 * E_IMAGE_LIMIT.
 *
 * Each limit is the size of a static array, or bounds a product so that checked 64-bit arithmetic
 * cannot overflow. Raise one and build again; the memory table printed after linking shows the
 * price.
 */

/* The decoded program: 160 bytes an op. An 80-layer model without any fusion has about 1500. */
#define LIMIT_OPS 2048u

/* One record a layer that keeps keys and values. */
#define LIMIT_STATES 160u

/* A length and a page-table row each; the KV pages themselves are in the arena. */
#define LIMIT_SESSIONS 64u

/* Rows of one step: the row array, and the linear op's table of row pointers. */
#define LIMIT_ROWS       512u
#define LIMIT_LOGIT_ROWS 512u

/* Input rows of a linear op as scalar kernels multiply with them, 2.5 to 3.5 bytes an element; rows
 * that do not fit are packed again for every tile. */
#define LIMIT_PACKED_BYTES (256u << 10)

/* Per-hart scratch of the attention op: query, accumulator and scores of one KV head's query heads.
 */
#define LIMIT_HEAD_DIM    256u
#define LIMIT_GROUP_HEADS 64u

/* Elements of an activation row, vocabulary entries and positions. 2^24 is the last float that
 * counts. */
#define LIMIT_WIDTH    (1u << 20)
#define LIMIT_VOCAB    (1u << 20)
#define LIMIT_CONTEXT  (1u << 22)
#define LIMIT_POSITION (1u << 24)

/* Records of TENSORS; an op names two at most. */
#define LIMIT_TENSORS 8192u

/* What a typed line's work depends on: merges, bytes of all tokens' texts, and the tokens that are
 * found before anything else, for which four bytes each are kept here. Known tokenizers have up to
 * 600,000, 4 MB and 29,000. */
#define LIMIT_MERGES      (1u << 20)
#define LIMIT_TEXT_BYTES  (1u << 26)
#define LIMIT_ADDED       32768u
#define LIMIT_ADDED_BYTES 512u

/* Bytes of the longest word that WordPiece takes apart: its 100 characters. */
#define LIMIT_WORD_BYTES 512u

/* Of one token's text: what is written to a line at once. */
#define LIMIT_TOKEN_BYTES 4096u

#endif
