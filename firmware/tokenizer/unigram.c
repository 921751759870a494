/* SPDX-License-Identifier: Apache-2.0 */
/* Unigram: of all ways to cut a piece into tokens the one of the greatest sum of scores, of equal
 * ones that whose tokens are found first from the left. Sums are f64, as the host's are. */
#include <string.h>

#include "tokenizer/characters.h"
#include "tokenizer/parts.h"

static double score_of(const struct tokenizer *t, uint32_t id)
{
    uint64_t bits = le_u64(t->scores + 8u * id);
    double score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

static struct tokenizer_text sorted_text(const struct tokenizer *t, uint32_t place)
{
    return tokenizer_bytes(t, le_u32(t->sorted + 4u * place));
}

/* The first place in low..high-1 whose text's byte at `at` is not below `byte`; shorter texts stand
 * before. */
static uint32_t bound(const struct tokenizer *t, uint32_t low, uint32_t high, uint32_t at,
                      uint32_t byte)
{
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        struct tokenizer_text text = sorted_text(t, middle);
        if (text.size <= at || text.at[at] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void offer(struct tokenizer_end *end, double score, uint32_t start, uint32_t id)
{
    if (end->start == IMAGE_NO_TENSOR || score > end->score)
        *end = (struct tokenizer_end){score, start, id};
}

/* Every token that the piece has at `start`. Returns whether one is a single character. */
static int offer_tokens(struct tokenizer *t, struct tokenizer_text piece, uint32_t start,
                        uint32_t character)
{
    uint32_t low = 0, high = t->sorted_count;
    double before = t->work.ends[start].score;
    int single = 0;
    for (uint32_t size = 1; start + size <= piece.size; size++) {
        uint32_t byte = piece.at[start + size - 1];
        low = bound(t, low, high, size - 1, byte);
        high = bound(t, low, high, size - 1, byte + 1u);
        if (low == high)
            break;
        if (sorted_text(t, low).size != size)
            continue;
        uint32_t id = le_u32(t->sorted + 4u * low);
        offer(&t->work.ends[start + size], score_of(t, id) + before, start, id);
        single |= size == character;
    }
    return single;
}

static int put_unknown(const struct tokenizer *t, struct tokenizer_text text,
                       struct tokenizer_output *out)
{
    int error = 0;
    if (!(t->flags & IMAGE_TOKENS_FLAG_FALLBACK))
        return tokenizer_put_id(out, t->unknown);
    for (uint32_t i = text.size; i-- > 0 && !error;)
        error = tokenizer_put_id(out, le_u32(t->byte_ids + 4u * text.at[i]));
    return error;
}

/* The best way, from its end on, which is turned round afterwards. */
static int put_way(const struct tokenizer *t, struct tokenizer_text piece,
                   struct tokenizer_output *out)
{
    uint32_t from = out->count, before = IMAGE_NO_TENSOR;
    int error = 0;
    for (uint32_t at = piece.size; at && !error;) {
        struct tokenizer_end end = t->work.ends[at];
        int fused = t->flags & IMAGE_TOKENS_FLAG_FUSE_UNKNOWN && before == t->unknown &&
                    !(t->flags & IMAGE_TOKENS_FLAG_FALLBACK);
        struct tokenizer_text text = {piece.at + end.start, at - end.start};
        if (end.id != t->unknown)
            error = tokenizer_put_id(out, end.id);
        else if (!fused)
            error = put_unknown(t, text, out);
        before = end.id;
        at = end.start;
    }
    for (uint32_t i = from, k = out->count; !error && i + 1 < k; i++) {
        uint32_t id = out->ids[--k];
        out->ids[k] = out->ids[i];
        out->ids[i] = id;
    }
    return error;
}

int tokenizer_unigram(struct tokenizer *t, struct tokenizer_text piece,
                      struct tokenizer_output *out)
{
    struct tokenizer_end *ends = t->work.ends;
    for (uint32_t i = 0; i <= piece.size; i++)
        ends[i] = (struct tokenizer_end){0.0, IMAGE_NO_TENSOR, t->unknown};
    for (uint32_t at = 0; at < piece.size;) {
        uint32_t size = character_at(piece.at + at, piece.size - at).size;
        if (!offer_tokens(t, piece, at, size))
            offer(&ends[at + size], t->unknown_score + ends[at].score, at, t->unknown);
        at += size;
    }
    return put_way(t, piece, out);
}
