/* SPDX-License-Identifier: Apache-2.0 */

/* The linear op on a simulated core, in cycles: every case once from memory that was never touched
 * and once more from the cache, as a line on the UART:
 *
 *   name columns inputs outputs bytes cold_cycles cold_instructions warm_cycles warm_instructions
 *
 * "read" is a loop of plain 64-bit loads, the memory speed that the core can see at all; "barrier"
 * is a call of an empty function on all harts, its barrier included; "norm" and "gelu" stand for
 * the ops that are not linear, on hart 0. CASES, HARTS, NORM_WIDTH and the bytes of all
 * cases' weights are given when it is compiled.
 */

#include "common/pool.h"
#include "gen/image_format.h"
#include "kernels/load.h"
#include "ops/linear.c"
#include "ops/norm.c"

#define UART     ((volatile uint8_t *)0x10000000)
#define FINISHER ((volatile uint32_t *)0x100000)
#define PASS     0x5555u

#define MAX_INPUTS  8u
#define MAX_COLS    1536u
#define MAX_OUTPUTS 4096u
#define WARM_COLS   64u
#define WARM_BYTES  65536u /* more than a warm-up's weights */
#define READ_BYTES  131072u

struct run_case {
    const char *name;
    uint32_t format, layout, record; /* bytes of a tile's group */
    uint32_t cols, inputs, outputs;
};

static const struct run_case cases[] = {CASES};

/* Not initialized, so that no part of it is in a cache. */
static uint8_t weights[WARM_BYTES + WEIGHT_BYTES + READ_BYTES] __attribute__((aligned(4096)));
static struct {
    uint8_t values[MAX_INPUTS][MAX_COLS + MAX_COLS / KERNEL_GROUP * 8];
    float dst[MAX_INPUTS][MAX_OUTPUTS];
    float weight[NORM_WIDTH], bias[NORM_WIDTH];
} rows __attribute__((aligned(64)));

/* Harts only spin here. */
static void hart_nothing(struct pool *pool, uint32_t hart)
{
    (void)pool;
    (void)hart;
}

static struct port port = {.harts = HARTS, .hart_sleep = hart_nothing, .hart_wake = hart_nothing};
static struct pool pool;
static uint8_t packed[LIMIT_PACKED_BYTES] __attribute__((aligned(64)));
static struct op op;
static struct step step = {.pool = &pool, .packed = packed};
static uint64_t used;
static uint32_t started;

static uint64_t cycles(void)
{
    uint64_t v;
    __asm__ volatile("fence\n\tcsrr %0, mcycle" : "=r"(v)::"memory");
    return v;
}

static uint64_t instructions(void)
{
    uint64_t v;
    __asm__ volatile("csrr %0, minstret" : "=r"(v)::"memory");
    return v;
}

static void put_word(const char *word)
{
    while (*word)
        *UART = (uint8_t)*word++;
    *UART = ' ';
}

static void put_number(uint64_t value)
{
    char digits[24], *at = digits + sizeof digits - 1;
    *at = 0;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    put_word(at);
}

static void run_op(void *context, uint32_t hart, uint32_t harts)
{
    (void)context;
    op.run(&op, &step, hart, harts);
}

static void run_nothing(void *context, uint32_t hart, uint32_t harts)
{
    (void)context;
    (void)hart;
    (void)harts;
}

/* This hart's share of `bytes` of fresh weights, one load a word. */
static void run_read(void *context, uint32_t hart, uint32_t harts)
{
    uint64_t share = *(const uint64_t *)context / harts / 64 * 64, sum = 0;
    const uint64_t *p = (const uint64_t *)(const void *)(weights + used + hart * share);
    for (uint64_t i = 0; i < share / 8; i += 8)
        sum += p[i] + p[i + 1] + p[i + 2] + p[i + 3] + p[i + 4] + p[i + 5] + p[i + 6] + p[i + 7];
    __asm__ volatile("" ::"r"(sum));
}

static void measure_twice(pool_fn fn, void *context)
{
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t c = cycles(), n = instructions();
        pool_run(&pool, fn, context);
        uint64_t after = cycles();
        put_number(after - c);
        put_number(instructions() - n);
    }
    *UART = '\n';
}

/* Returns the bytes of its weight. */
static uint64_t make_op(const struct run_case *c)
{
    uint32_t groups = c->cols / KERNEL_GROUP;
    struct op_linear linear = {
        .src_q8a = {rows.values[0], sizeof rows.values[0], c->cols, c->cols + 4 * groups},
        .dst = {rows.dst[0], MAX_OUTPUTS},
        .weight = {weights + used, c->format, c->layout, c->outputs, c->cols, c->record,
                   (uint64_t)c->record * groups},
        .src_format = IMAGE_FORMAT_Q8A,
        .k = c->cols,
        .n = c->outputs,
        .activation = IMAGE_ACTIVATION_NONE,
    };
    op = (struct op){.id = IMAGE_OP_ID_LINEAR, .run = op_linear};
    op_put(&op, &linear, sizeof linear);
    step.row_count = c->inputs;
    return linear.weight.tile_stride * (c->outputs / KERNEL_TILE);
}

static void put_case(const char *name, const struct run_case *c, uint64_t bytes)
{
    put_word(name);
    put_number(c->cols);
    put_number(c->inputs);
    put_number(c->outputs);
    put_number(bytes);
}

static void run_case(const struct run_case *c)
{
    uint64_t bytes = make_op(c);
    put_case(c->name, c, bytes);
    measure_twice(run_op, NULL);
    used += bytes;
}

static void make_norm(void)
{
    for (uint32_t i = 0; i < NORM_WIDTH; i++)
        rows.dst[0][i] = (float)(int32_t)(i % 41u - 20u) * 0.25f;
    struct op_norm norm = {
        .src = {rows.dst[0], MAX_OUTPUTS},
        .dst_q8a = {rows.values[0], sizeof rows.values[0], NORM_WIDTH,
                    NORM_WIDTH + 4 * NORM_WIDTH / KERNEL_GROUP},
        .weight = rows.weight,
        .bias = rows.bias,
        .kind = IMAGE_NORM_KIND_LAYER,
        .width = NORM_WIDTH,
        .segments = 1,
        .eps = 1e-5f,
        .dst_format = IMAGE_FORMAT_Q8A,
    };
    op = (struct op){.id = IMAGE_OP_ID_NORM, .run = op_norm};
    op_put(&op, &norm, sizeof norm);
    step.row_count = 1;
}

static void run_gelu(void *context, uint32_t hart, uint32_t harts)
{
    (void)context;
    (void)harts;
    if (hart == 0)
        kernels.activate(rows.dst[0], NORM_WIDTH, IMAGE_ACTIVATION_GELU_TANH);
}

static void run_others(void)
{
    make_norm();
    put_case("norm", &(struct run_case){0}, 0);
    measure_twice(run_op, NULL);
    put_case("gelu", &(struct run_case){0}, 0);
    measure_twice(run_gelu, NULL);
    uint64_t bytes = READ_BYTES;
    put_case("read", &(struct run_case){0}, bytes);
    measure_twice(run_read, &bytes);
    put_case("barrier", &(struct run_case){0}, 0);
    measure_twice(run_nothing, NULL);
}

void bare_main(uint32_t hart);
void bare_main(uint32_t hart)
{
    if (hart) {
        while (!__atomic_load_n(&started, __ATOMIC_ACQUIRE))
            ;
        pool_worker(&pool, hart);
    }
    pool_init(&pool, &port);
    __atomic_store_n(&started, 1, __ATOMIC_RELEASE);
    /* The code into the cache, on weights of its own. */
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct run_case first = cases[i];
        first.cols = WARM_COLS;
        first.outputs = KERNEL_TILE * HARTS;
        used = make_op(&first);
        pool_run(&pool, run_op, NULL);
    }
    used = WARM_BYTES;
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(&cases[i]);
    run_others();
    *FINISHER = PASS;
    for (;;)
        ;
}
