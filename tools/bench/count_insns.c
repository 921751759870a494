/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin for QEMU's user mode that counts the guest's executed instructions, those of all threads
 * together.
 *
 * usage: qemu-riscv64 -plugin count_insns.so,out=FILE PROGRAM ...
 * The number is written to FILE, in decimal, when the program ends. Distributions' QEMU comes
 * without its header, so the few declarations needed stand here; PLUGIN_VERSION is 1 up to QEMU 8
 * and 2 from QEMU 9 on.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_info;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
                                          void (*cb)(unsigned int vcpu, void *data), int flags,
                                          void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, void *),
                                    void *data);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
                               char **argv);

#define NO_REGISTERS 0 /* QEMU_PLUGIN_CB_NO_REGS */

static uint64_t executed;
static char out[4096];

static void block_run(unsigned int vcpu, void *data)
{
    (void)vcpu;
    __atomic_fetch_add(&executed, (uint64_t)(uintptr_t)data, __ATOMIC_RELAXED);
}

static void block_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, block_run, NO_REGISTERS,
                                         (void *)(uintptr_t)qemu_plugin_tb_n_insns(tb));
}

static void at_exit(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    FILE *file = fopen(out, "w");
    if (!file)
        return;
    fprintf(file, "%" PRIu64 "\n", executed);
    fclose(file);
}

/* Returns 0, or -1 without out=FILE. */
int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4) && strlen(argv[i] + 4) < sizeof out)
            strcpy(out, argv[i] + 4);
    if (!out[0])
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, block_translated);
    qemu_plugin_register_atexit_cb(id, at_exit, NULL);
    return 0;
}
