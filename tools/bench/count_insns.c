/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin for QEMU that counts the guest's executed instructions.
 *
 * usage: qemu-riscv64 -plugin count_insns.so,out=FILE[,from=ADDRESS,to=ADDRESS ...] PROGRAM ...
 * FILE gets one number in decimal when the program ends, those of all threads together. With
 * addresses (hexadecimal), each pair of which is a part of the program, only instructions within
 * these parts are counted, and FILE gets a line for each thread, of a machine for each hart.
 * Distributions' QEMU comes without its header, so the few declarations needed stand here;
 * PLUGIN_VERSION is 1 up to QEMU 8 and 2 from QEMU 9 on.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_info;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
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

#define MAX_HARTS 64u
#define MAX_PARTS 16u

static uint64_t executed[MAX_HARTS];
static struct {
    uint64_t from, to;
} parts[MAX_PARTS];
static uint32_t part_count, end_count;
static char out[4096];

static void block_run(unsigned int vcpu, void *data)
{
    __atomic_fetch_add(&executed[vcpu % MAX_HARTS], (uint64_t)(uintptr_t)data, __ATOMIC_RELAXED);
}

/* A block ends where the program branches, so it lies in one function. */
static int is_counted(uint64_t address)
{
    for (uint32_t i = 0; i < part_count; i++)
        if (address >= parts[i].from && address < parts[i].to)
            return 1;
    return part_count == 0;
}

static void block_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    if (is_counted(qemu_plugin_tb_vaddr(tb)))
        qemu_plugin_register_vcpu_tb_exec_cb(tb, block_run, NO_REGISTERS,
                                             (void *)(uintptr_t)qemu_plugin_tb_n_insns(tb));
}

static void at_exit(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    uint64_t all = 0;
    FILE *file = fopen(out, "w");
    if (!file)
        return;
    for (uint32_t i = 0; i < MAX_HARTS; i++) {
        all += executed[i];
        if (part_count && executed[i])
            fprintf(file, "%" PRIu64 "\n", executed[i]);
    }
    if (!part_count)
        fprintf(file, "%" PRIu64 "\n", all);
    fclose(file);
}

/* Returns 0, or -1 without out=FILE or with parts that are not whole. */
int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4) && strlen(argv[i] + 4) < sizeof out)
            strcpy(out, argv[i] + 4);
        else if (!strncmp(argv[i], "from=", 5) && part_count < MAX_PARTS)
            parts[part_count++].from = strtoull(argv[i] + 5, NULL, 16);
        else if (!strncmp(argv[i], "to=", 3) && end_count < MAX_PARTS)
            parts[end_count++].to = strtoull(argv[i] + 3, NULL, 16);
        else
            return -1;
    }
    if (!out[0] || part_count != end_count)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, block_translated);
    qemu_plugin_register_atexit_cb(id, at_exit, NULL);
    return 0;
}
