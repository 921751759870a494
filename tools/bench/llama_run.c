/* SPDX-License-Identifier: Apache-2.0 */
/* llama.cpp as peers.py measures it: a prompt in one batch, then decoded tokens, greedy, one
 * thread.
 *
 * usage: llama_run MODEL.gguf PROMPT_TOKENS DECODED_TOKENS
 * The prompt's ids are those of `host bench`; one token of it is an empty context. Prints the
 * seconds of both phases.
 */
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void quiet(enum ggml_log_level level, const char *text, void *data)
{
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

static llama_token likeliest(const float *logits, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static struct llama_context *open_context(struct llama_model *model, int tokens, int prompt)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)tokens;
    params.n_batch = params.n_ubatch = (uint32_t)(prompt > 1 ? prompt : 1);
    params.n_threads = params.n_threads_batch = 1;
    return llama_init_from_model(model, params);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    int prompt = atoi(argv[2]), decode = atoi(argv[3]);
    if (prompt < 1 || decode < 0)
        return 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    struct llama_context *context = model ? open_context(model, 512, prompt) : NULL;
    llama_token *tokens = malloc((size_t)prompt * sizeof *tokens);
    if (!context || !tokens)
        return 1;
    int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < prompt; i++)
        tokens[i] = (llama_token)(((long)i * 7919 + 1) % vocab);
    double start = now();
    if (llama_decode(context, llama_batch_get_one(tokens, prompt)))
        return 1;
    llama_token token = likeliest(llama_get_logits_ith(context, -1), vocab);
    double first = now();
    for (int i = 0; i < decode; i++) {
        if (llama_decode(context, llama_batch_get_one(&token, 1)))
            return 1;
        token = likeliest(llama_get_logits_ith(context, -1), vocab);
    }
    printf("%.6f %.6f\n", first - start, now() - first);
    fflush(stdout);
    return 0;
}
