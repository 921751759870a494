/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/test/cases.h"

#include "common/math.h"
#include "formats/formats.h"
#include "gen/image_format.h"
#include "gen/test_records.h"
#include "kernels/load.h"

#define MAX_GROUPS   18u
#define MAX_COUNT    9u
#define MAX_COLS     (MAX_GROUPS * KERNEL_GROUP)
#define MAX_HEAD_DIM 256u

#define RANDOM_SHAPES 12u

enum values { RANDOM, LARGEST, SMALLEST, EQUAL, ZERO, TINY, MIXED, VALUES };

static const char *const value_names[] = {"random", "largest", "smallest", "equal",
                                          "zero",   "tiny",    "mixed"};

static struct {
    uint8_t weight[KERNEL_TILE * 4 * MAX_COLS];
    int8_t values[MAX_COUNT][MAX_COLS];
    float scales[MAX_COUNT][MAX_GROUPS];
    int32_t sums[MAX_COUNT][MAX_GROUPS];
    float floats[MAX_COUNT][MAX_COLS];
    float acc[MAX_COUNT][KERNEL_TILE];
    float other_acc[MAX_COUNT][KERNEL_TILE];
    uint8_t packed[KERNEL_BLOCK * MAX_GROUPS * 128];
    int8_t page[KERNEL_TILE * MAX_HEAD_DIM];
    float page_f32[KERNEL_TILE * MAX_HEAD_DIM];
} data __attribute__((aligned(64)));

/* Weights of one format and layout: TEST_BLOCKS blocks of 64 rows and 32 columns of each kind. */
struct packed_weights {
    const char *name;
    uint32_t format, layout;
    const uint32_t *blocks;
};

#define PACKED(name, FORMAT, LAYOUT, blocks)                                                       \
    {#name, IMAGE_FORMAT_##FORMAT, IMAGE_LAYOUT_##LAYOUT, blocks},
static const struct packed_weights packed_weights[] = {TEST_RECORDS(PACKED)};

static const struct test_port *port;
static uint64_t seed;

static uint32_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

/* In -1..1. */
static float next_float(void)
{
    return ((float)(int32_t)(next() % 65537u) - 32768.0f) * 0x1p-15f;
}

/* ---- a line ---- */

static struct {
    char text[96];
    uint32_t size;
} line;

static void line_word(const char *word)
{
    if (line.size)
        line.text[line.size++] = ' ';
    while (*word && line.size < sizeof line.text - 1)
        line.text[line.size++] = *word++;
    line.text[line.size] = 0;
}

static void line_number(uint64_t value, uint32_t base)
{
    char digits[24];
    uint32_t at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    line_word(digits + at);
}

static void line_end(uint64_t checksum, uint64_t instructions)
{
    line_number(checksum, 16);
    line_number(instructions, 10);
    port->put(line.text);
    line.size = 0;
}

static uint64_t checksum(const void *bytes, uint32_t size)
{
    uint64_t hash = 0xCBF29CE484222325ull;
    for (const uint8_t *p = bytes; size; size--)
        hash = (hash ^ *p++) * 0x100000001B3ull;
    return hash;
}

/* ---- data ---- */

static int32_t pick(enum values kind, int32_t limit)
{
    static const enum values mixed[] = {RANDOM, LARGEST, SMALLEST, ZERO};
    if (kind == MIXED)
        kind = mixed[next() % 4];
    if (kind == LARGEST)
        return limit;
    if (kind == SMALLEST)
        return -limit;
    if (kind == EQUAL)
        return limit / 3;
    if (kind == ZERO)
        return 0;
    return (int32_t)(next() % (uint32_t)(2 * limit + 1)) - limit;
}

static void fill_activations(uint32_t groups, enum values kind)
{
    for (uint32_t t = 0; t < MAX_COUNT; t++)
        for (uint32_t g = 0; g < groups; g++) {
            int32_t sum = 0;
            for (uint32_t k = 0; k < KERNEL_GROUP; k++) {
                int32_t q = pick(kind, 127);
                data.values[t][g * KERNEL_GROUP + k] = (int8_t)q;
                data.floats[t][g * KERNEL_GROUP + k] = (float)q * next_float();
                sum += q;
            }
            data.sums[t][g] = sum;
            data.scales[t][g] = next_float();
        }
}

/* ---- cases ---- */

struct shape {
    uint32_t groups, count, row0, row1;
};

static const struct shape shapes[] = {
    {1, 1, 0, 64},  {3, 5, 16, 48}, {2, 4, 48, 64}, {18, 1, 0, 64}, {18, 2, 0, 64},
    {18, 3, 0, 64}, {18, 8, 0, 64}, {5, 9, 0, 16},  {2, 7, 16, 64},
};

/* `groups` times 32 columns of one tile: blocks of this kind by turns, as the host packed them. */
static struct kernel_weight make_weight(const struct packed_weights *p, uint32_t groups,
                                        enum values kind)
{
    const struct format_record *record = format_find(p->format, p->layout);
    uint32_t block = KERNEL_GROUP / record->columns * record->bytes;
    struct kernel_weight w = {data.weight,           p->format,     p->layout, KERNEL_TILE,
                              groups * KERNEL_GROUP, record->bytes, 0};
    w.tile_stride = (uint64_t)block * groups;
    for (uint32_t g = 0; g < groups; g++) {
        const uint8_t *from =
            (const uint8_t *)p->blocks + (kind * TEST_BLOCKS + g % TEST_BLOCKS) * block;
        __builtin_memcpy(data.weight + g * block, from, block);
    }
    return w;
}

/* Instructions of a call for rows as they lie, or if there is a version for packed rows, of that,
 * in which case both must agree. */
static uint64_t call_linear_q8a(const struct kernel_weight *w, const struct shape *s)
{
    struct kernel_q8a x[MAX_COUNT];
    for (uint32_t t = 0; t < MAX_COUNT; t++)
        x[t] = (struct kernel_q8a){data.values[t], data.scales[t], data.sums[t]};
    uint64_t before = port->instret();
    kernels.linear_q8a(w->format, w->layout)(w, x, s->count, s->row0, s->row1, data.acc[0],
                                             KERNEL_TILE);
    uint64_t after = port->instret();
    const struct kernel_packed *version = kernels.packed(w->format, w->layout);
    if (!version || s->count > KERNEL_BLOCK)
        return after - before;
    __builtin_memcpy(data.other_acc, data.acc, sizeof data.acc);
    __builtin_memset(data.acc, 0, sizeof data.acc);
    uint32_t half = s->groups / 2;
    version->pack(x, s->count, 0, half, data.packed);
    version->pack(x, s->count, half, s->groups, data.packed + half * s->count * version->record);
    before = port->instret();
    version->linear(w, data.packed, s->count, s->row0, s->row1, data.acc[0], KERNEL_TILE);
    after = port->instret();
    if (checksum(data.acc, sizeof data.acc) != checksum(data.other_acc, sizeof data.acc))
        line_word("packed_differs");
    return after - before;
}

static uint64_t call_linear(const struct kernel_weight *w, const struct shape *s)
{
    const float *x[MAX_COUNT];
    if (format_find(w->format, w->layout)->activations == IMAGE_FORMAT_Q8A)
        return call_linear_q8a(w, s);
    for (uint32_t t = 0; t < MAX_COUNT; t++)
        x[t] = data.floats[t];
    uint64_t before = port->instret();
    kernels.linear_f32(w->format)(w, x, s->count, s->row0, s->row1, data.acc[0], KERNEL_TILE);
    return port->instret() - before;
}

static void test_shape(const struct packed_weights *p, const struct shape *s, enum values kind)
{
    fill_activations(s->groups, kind);
    struct kernel_weight w = make_weight(p, s->groups, kind);
    __builtin_memset(data.acc, 0, sizeof data.acc);
    uint64_t instructions = call_linear(&w, s);
    line_word(p->name);
    line_word(value_names[kind]);
    line_number(s->groups * KERNEL_GROUP, 10);
    line_number(s->count, 10);
    line_number(s->row1 - s->row0, 10);
    line_end(checksum(data.acc, sizeof data.acc), instructions);
}

static void test_linear(const struct packed_weights *p)
{
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint32_t kind = 0; kind < (shapes[i].groups < 4 ? MIXED : 1); kind++) {
            seed = 88172645463325252ull + 64 * i + kind;
            test_shape(p, &shapes[i], kind);
        }
    for (uint32_t i = 0; i < RANDOM_SHAPES; i++) {
        seed = 362436069362436069ull + i;
        uint32_t units = KERNEL_TILE / 16, first = next() % units;
        uint32_t last = first + 1 + next() % (units - first);
        struct shape s = {1 + next() % 6, 1 + next() % MAX_COUNT, 16 * first, 16 * last};
        test_shape(p, &s, MIXED);
    }
}

static void fill_floats(uint32_t n, enum values kind)
{
    for (uint32_t i = 0; i < n; i++)
        data.floats[0][i] = kind == EQUAL  ? -3.0f
                            : kind == ZERO ? 0.0f
                            : kind == TINY ? next_float() * 0x1p-120f
                                           : next_float() * 100.0f;
}

static void test_vectors(uint32_t n, enum values kind)
{
    seed = 424242 + n;
    fill_floats(n, kind);
    if (kind == LARGEST || kind == SMALLEST)
        data.floats[0][n / 2] = kind == LARGEST ? __builtin_inff() : __builtin_nanf("");
    const float *x = data.floats[0];
    __builtin_memset(data.values[0], 1, sizeof data.values[0]);
    __builtin_memset(data.scales[0], 0, sizeof data.scales[0]);
    __builtin_memset(data.sums[0], 0, sizeof data.sums[0]);
    uint64_t before = port->instret();
    kernels.quantize(x, n, data.values[0], data.scales[0], data.sums[0]);
    uint64_t after = port->instret();
    line_word("quantize");
    line_word(value_names[kind]);
    line_number(n, 10);
    line_end(checksum(data.values[0], sizeof data.values[0]) ^
                 checksum(data.scales[0], sizeof data.scales[0]) * 3 ^
                 checksum(data.sums[0], sizeof data.sums[0]) * 5,
             after - before);
    /* The bits of a NaN that an operation makes differ between targets. */
    if (kind == LARGEST || kind == SMALLEST)
        return;
    float *y = data.floats[1];
    uint64_t hash = 0;
    for (uint32_t i = 0; i < 4; i++) {
        kernels.normalize(x, n, 0.75f, 3.0f, i & 1 ? x : 0, i & 2 ? data.floats[2] : 0, y);
        hash = 31 * hash + checksum(y, n * sizeof(float));
    }
    line_word("normalize");
    line_word(value_names[kind]);
    line_number(n, 10);
    line_end(hash, 0);
    float sums[2] = {kernels.sum(x, n), kernels.sum_squares(x, 0.25f, n)};
    line_word("sums");
    line_word(value_names[kind]);
    line_number(n, 10);
    line_end(checksum(sums, sizeof sums), 0);
}

/* Functions over whole rows, in place. */
static void test_rows(uint32_t n, enum values kind)
{
    float *x = data.floats[0];
    seed = 31337 + n;
    fill_floats(n, kind);
    if (kind == LARGEST)
        x[n / 2] = -__builtin_inff();
    uint32_t best = kernels.argmax(x, n);
    line_word("argmax");
    line_word(value_names[kind]);
    line_number(n, 10);
    line_end(best, 0);
    for (uint32_t act = IMAGE_ACTIVATION_NONE; act <= IMAGE_ACTIVATION_TANH; act++) {
        fill_floats(n, kind);
        uint64_t t0 = port->instret();
        kernels.activate(x, n, act);
        uint64_t t1 = port->instret();
        line_word("activate");
        line_word(value_names[kind]);
        line_number(act, 10);
        line_number(n, 10);
        line_end(checksum(x, n * sizeof(float)), t1 - t0);
    }
}

/* The sampler's, with what logits may be among the values. */
static void test_sampler(uint32_t n, enum values kind)
{
    static const float factors[] = {0.0f, 0.1f, 1.0f, 0x1p127f};
    float *x = data.floats[0], *w = data.floats[1];
    uint32_t *indices = (uint32_t *)(void *)data.page_f32, count = 0;
    uint64_t hash = 0, weigh = 0, measure = 0, before;
    seed = 2718 + n;
    fill_floats(n, kind);
    if (kind == LARGEST || kind == SMALLEST)
        x[n / 2] = kind == LARGEST ? -__builtin_inff() : __builtin_nanf("");
    float best = x[kernels.argmax(x, n)];
    best = best == best ? best : 0.0f;
    for (uint32_t i = 0; i < sizeof factors / sizeof *factors; i++) {
        before = port->instret();
        kernels.weigh(x, n, best, factors[i], w);
        weigh += port->instret() - before;
        hash = 31 * hash + checksum(w, n * sizeof(float));
        before = port->instret();
        hash = 31 * hash + kernels.measure(x, w, n, i & 1 ? -__builtin_inff() : x[0], &count);
        measure += port->instret() - before;
    }
    before = port->instret();
    uint32_t found = kernels.find(x, n, x[0] - 20.0f, x[0] + 9.0f, indices);
    uint64_t find = port->instret() - before;
    line_word("weigh");
    line_word(value_names[kind]);
    line_number(n, 10);
    line_end(hash, weigh / 4);
    line_word("measure");
    line_word(value_names[kind]);
    line_number(n, 10);
    line_end(31 * hash + count, measure / 4);
    line_word("find");
    line_word(value_names[kind]);
    line_number(n, 10);
    line_end(31 * found + checksum(indices, found * sizeof *indices), find);
}

static void line_attention(const char *name, uint32_t heads, uint32_t head_dim, uint32_t count,
                           enum values kind)
{
    line_word(name);
    line_word(value_names[kind]);
    line_number(heads, 10);
    line_number(head_dim, 10);
    line_number(count, 10);
}

static void test_quantize_head(uint32_t head_dim, enum values kind)
{
    seed = 555 + head_dim;
    fill_floats(head_dim, kind);
    __builtin_memset(data.page, 1, sizeof data.page);
    uint64_t t0 = port->instret();
    float scale = kernels.quantize_head(data.floats[0], head_dim, data.page, 3);
    uint64_t t1 = port->instret();
    line_attention("quantize_head", 1, head_dim, 1, kind);
    line_end(checksum(data.page, sizeof data.page) ^ checksum(&scale, sizeof scale), t1 - t0);
}

/* `queries` queries of one KV head; their weights are made of what is in data.floats. */
static void test_attention_i8(uint32_t queries, uint32_t head_dim, uint32_t count, enum values kind)
{
    static float scores[KERNEL_QUERIES][KERNEL_TILE], sums[KERNEL_QUERIES][MAX_HEAD_DIM + 3];
    static uint64_t packed[KERNEL_QUERY_WORDS(KERNEL_QUERIES, MAX_HEAD_DIM)];
    static uint64_t weights[KERNEL_WEIGHT_WORDS(KERNEL_QUERIES)];
    static int8_t q[KERNEL_QUERIES * MAX_HEAD_DIM];
    static float scales[KERNEL_TILE], max[KERNEL_QUERIES], sum[KERNEL_QUERIES];
    static float factors[KERNEL_QUERIES], keep[KERNEL_QUERIES];
    seed = 777 + head_dim + count + queries;
    for (uint32_t i = 0; i < queries * head_dim; i++)
        q[i] = (int8_t)pick(kind, 127);
    for (uint32_t i = 0; i < KERNEL_TILE * head_dim; i++)
        data.page[i] = (int8_t)pick(kind, 127);
    for (uint32_t i = 0; i < KERNEL_TILE; i++)
        scales[i] = kind == TINY ? 0x1p-126f * (float)i : 0.5f + 0.5f * next_float();
    for (uint32_t h = 0; h < queries; h++) {
        factors[h] = h % 3 ? 0.01f * (float)h : 0x1p-126f;
        keep[h] = h % 4 ? 1.0f - 0.01f * (float)h : 0.0f;
        max[h] = h % 3 == 0 ? -__builtin_inff() : h % 3 == 1 ? 50.0f : 0.0f;
        sum[h] = 0.0f;
    }
    uint64_t t0 = port->instret();
    kernels.pack_queries(q, queries, head_dim, packed);
    uint64_t t1 = port->instret();
    line_attention("pack_queries", queries, head_dim, count, kind);
    line_end(0, t1 - t0);
    t0 = port->instret();
    kernels.score_i8(packed, factors, queries, data.page, scales, head_dim, count, scores[0]);
    t1 = port->instret();
    uint64_t hash = 0;
    for (uint32_t h = 0; h < queries; h++)
        hash = 31 * hash + checksum(scores[h], count * sizeof(float));
    line_attention("score_i8", queries, head_dim, count, kind);
    line_end(hash, t1 - t0);
    for (uint32_t h = 0; h < queries; h++) {
        fill_floats(KERNEL_TILE, kind);
        __builtin_memcpy(scores[h], data.floats[0], sizeof scores[h]);
        if (kind == LARGEST)
            scores[h][count / 2] = h == 1 ? __builtin_nanf("") : -__builtin_inff();
    }
    /* A query of which all is masked, one whose sum is too great, and one of which it is no number.
     */
    for (uint32_t j = 0; kind == SMALLEST && j < KERNEL_TILE; j++)
        scores[0][j] = -__builtin_inff(), scales[j] = j == count / 2 ? __builtin_inff() : scales[j];
    t0 = port->instret();
    kernels.weigh_i8(scores[0], queries, count, scales, max, sum, weights, factors);
    t1 = port->instret();
    line_attention("weigh_i8", queries, head_dim, count, kind);
    line_end(checksum(max, queries * sizeof *max) ^ 3 * checksum(sum, queries * sizeof *sum) ^
                 5 * checksum(factors, queries * sizeof *factors),
             t1 - t0);
    for (uint32_t i = 0; i < KERNEL_QUERIES * (MAX_HEAD_DIM + 3); i++)
        sums[0][i] = next_float();
    for (uint32_t h = 0; h < queries; h++)
        factors[h] = factors[h] < 1e30f ? factors[h] : 1.0f;
    t0 = port->instret();
    kernels.values_i8(weights, factors, keep, queries, data.page, head_dim, count, sums[0],
                      MAX_HEAD_DIM + 3);
    t1 = port->instret();
    line_attention("values_i8", queries, head_dim, count, kind);
    line_end(checksum(sums, sizeof sums), t1 - t0);
}

static void test_softmax(uint32_t queries, uint32_t count, enum values kind)
{
    float x[3][KERNEL_TILE], max[3] = {-__builtin_inff(), 50.0f, 0.0f}, sum[3] = {0};
    seed = 888 + count;
    for (uint32_t h = 0; h < queries; h++) {
        fill_floats(KERNEL_TILE, kind);
        __builtin_memcpy(x[h], data.floats[0], sizeof x[h]);
    }
    kernels.softmax(x[0], queries, count, max, sum);
    uint64_t hash = checksum(max, sizeof max) ^ checksum(sum, sizeof sum);
    for (uint32_t h = 0; h < queries; h++)
        hash = 31 * hash + checksum(x[h], count * sizeof(float));
    line_attention("softmax", queries, 0, count, kind);
    line_end(hash, 0);
}

static void test_attention_f32(uint32_t head_dim, uint32_t count)
{
    float dots[KERNEL_TILE] = {0};
    seed = 999 + head_dim + count;
    fill_activations(MAX_GROUPS, RANDOM);
    for (uint32_t i = 0; i < KERNEL_TILE * head_dim; i++)
        data.page_f32[i] = next_float();
    kernels.dot_f32(data.floats[0], data.page_f32, head_dim, count, dots);
    kernels.axpy_f32(data.floats[1], data.page_f32, head_dim, count, data.floats[2]);
    line_word("attention_f32");
    line_number(head_dim, 10);
    line_number(count, 10);
    line_end(checksum(dots, sizeof dots) ^ 3 * checksum(data.floats[2], head_dim * sizeof(float)),
             0);
}

/* The elementary functions from `low` on in n steps of `step`. */
static void test_functions(float low, float step, uint32_t n)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < n; i++) {
        float x = low + step * (float)i, s, c;
        math_sincos(x, &s, &c);
        float y[] = {math_exp(x),
                     math_exp2(-math_abs(x)),
                     math_tanh(x),
                     math_silu(x),
                     math_gelu_tanh(x),
                     math_gelu_erf(x),
                     s,
                     c};
        hash = hash * 31 + checksum(y, sizeof y);
    }
    line_word("functions");
    line_number(n, 10);
    line_end(hash, 0);
}

void test_run(const struct test_port *to)
{
    port = to;
    for (uint32_t i = 0; i < sizeof packed_weights / sizeof *packed_weights; i++)
        test_linear(&packed_weights[i]);
    static const uint32_t sizes[] = {1, 31, 32, 33, 100, 576};
    for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint32_t kind = 0; kind < VALUES; kind++)
            test_vectors(sizes[i], kind), test_rows(sizes[i], kind), test_sampler(sizes[i], kind);
    static const uint32_t heads[][2] = {{8, 1}, {24, 63}, {64, 64}, {128, 33}, {256, 64}};
    for (uint32_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        for (uint32_t kind = 0; kind < (heads[i][0] < 64 ? VALUES : 1); kind++) {
            for (uint32_t q = 1; q <= KERNEL_QUERIES; q += q < 4 || kind == RANDOM ? 1 : 4)
                test_attention_i8(q, heads[i][0], heads[i][1], kind);
            test_softmax(3, heads[i][1], kind);
            test_quantize_head(heads[i][0], kind);
        }
        test_attention_f32(heads[i][0], heads[i][1]);
    }
    test_functions(-110.0f, 0.573f, 390);
    test_functions(-6.0f, 0.0317f, 380);
    test_functions(-1e6f, 5571.7f, 360);
}
