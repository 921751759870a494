/* SPDX-License-Identifier: Apache-2.0 */
/* The port for Linux, and for this machine ("native"): a process with the link on stdio, a tty or
 * TCP. */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/pool.h"
#include "gen/board.h"
#include "gen/errors.h"
#include "port/hosted_harts.h"
#include "port/hosted_kernels.h"
#include "port/hosted_line.h"
#include "port/vector.h"

#define IDLE_MS   20 /* repetitions are due after 150 */
#define HUGE_PAGE ((uint64_t)2 << 20)
#define USAGE                                                                                      \
    "usage: firmware --image FILE [--arena-size BYTES[K|M|G]] [--harts N]\n"                       \
    "                [--image-area BYTES[K|M|G]] [--kernels FAMILY]\n"                             \
    "                [--tty PATH [--baud N] | --tcp HOST:PORT]\n"                                  \
    "Serves the model over stdin and stdout, a serial line, or one TCP connection at a time.\n"    \
    "With --image-area an image can come over the link (host load), and --image may be left "      \
    "out.\n"

static struct hosted_options {
    const char *image;
    const char *tty;
    const char *tcp;
    const char *kernels;
    uint64_t arena_size;
    uint64_t image_area;
    uint32_t harts;
    uint32_t baud;
} options = {.arena_size = BOARD_ARENA_SIZE, .harts = BOARD_HARTS_DEFAULT, .baud = 115200};

static struct hosted_line line;
static int counter_fd[2] = {-1, -1};
static struct port port;
static struct hosted_harts harts;

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "firmware: %s%s%s%s%s\n", what, name ? " " : "", name ? name : "",
            errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static int port_read(uint8_t *to, uint32_t size)
{
    return line_read(&line, to, size);
}

static int port_write(const uint8_t *from, uint32_t size)
{
    return line_write(&line, from, size);
}

static void port_idle(void)
{
    line_wait(&line, IDLE_MS);
}

static void port_exit(int code)
{
    fflush(NULL);
    _exit(code);
}

/* One counter of this thread; -1 where the kernel or the machine has none. */
static int open_counter(uint64_t config)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_HARDWARE, .size = sizeof attr, .config = config};
    attr.exclude_kernel = 1;
    attr.exclude_hv = 1;
    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static uint64_t read_counter(int fd)
{
    uint64_t value = 0;
    return fd >= 0 && read(fd, &value, sizeof value) == sizeof value ? value : 0;
}

static uint64_t port_instret(void)
{
    return read_counter(counter_fd[0]);
}

static uint64_t port_cycles(void)
{
    return read_counter(counter_fd[1]);
}

/* In huge pages where there are any: a decoded token reads every weight, and a table of small pages
 * is beyond what a core remembers of it. */
static void *map_memory(uint64_t size, const char *option)
{
    uint8_t *at = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        fail("cannot map so much memory; give less for", option);
    at += -(uintptr_t)at % HUGE_PAGE;
    madvise(at, size, MADV_HUGEPAGE);
    return at;
}

/* All of the file, which may change or shrink meanwhile: a hash finds the one, the end of the file
 * the other. */
static void read_file(int fd, uint8_t *to, uint64_t size)
{
    while (size) {
        ssize_t got = read(fd, to, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            fail("cannot read image", options.image);
        if (got == 0)
            fail("the file became shorter while it was read:", options.image);
        to += got;
        size -= (uint64_t)got;
    }
}

/* The image is read, not mapped: what was checked once is trusted, and a mapped file would change
 * or end (SIGBUS) whenever somebody writes to it. */
static void read_image(void)
{
    int fd = open(options.image, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts))
        fail("cannot open image", options.image);
    errno = 0;
    if (!S_ISREG(facts.st_mode) || facts.st_size == 0)
        fail("not an image file:", options.image);
    uint64_t size = (uint64_t)facts.st_size;
    if (options.image_area && size > options.image_area)
        fail("--image-area is smaller than", options.image);
    uint8_t *at = options.image_area ? port.image_area : map_memory(size, "--image");
    read_file(fd, at, size);
    close(fd);
    port.memory.image = at;
    port.memory.image_limit = options.image_area ? options.image_area : size;
}

static void map_image_area(void)
{
    port.image_area = map_memory(options.image_area, "--image-area");
    port.image_area_size = options.image_area;
    port.memory.image = port.image_area;
    port.memory.image_limit = options.image_area;
}

static void map_arena(void)
{
    port.memory.arena = map_memory(options.arena_size, "--arena-size");
    port.memory.arena_size = options.arena_size;
}

static uint64_t parse_number(const char *text, const char *option, uint64_t limit)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 0);
    unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    end += shift != 0;
    if (errno || *end || text[0] == '-' || value == 0 || value > limit >> shift) {
        errno = 0;
        fail("not a number in range for", option);
    }
    return value << shift;
}

static void parse_option(const char *name, const char *value)
{
    if (!strcmp(name, "--image"))
        options.image = value;
    else if (!strcmp(name, "--tty"))
        options.tty = value;
    else if (!strcmp(name, "--tcp"))
        options.tcp = value;
    else if (!strcmp(name, "--kernels"))
        options.kernels = value;
    else if (!strcmp(name, "--arena-size"))
        options.arena_size = parse_number(value, name, (uint64_t)1 << 40);
    else if (!strcmp(name, "--image-area"))
        options.image_area = parse_number(value, name, (uint64_t)1 << 40);
    else if (!strcmp(name, "--harts"))
        options.harts = (uint32_t)parse_number(value, name, BOARD_HARTS);
    else if (!strcmp(name, "--baud"))
        options.baud = (uint32_t)parse_number(value, name, 4000000);
    else
        fail("unknown option", name);
}

static void parse_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            fputs(USAGE, stdout);
            exit(0);
        }
        if (i + 1 == argc)
            fail("a value is missing after", argv[i]);
        parse_option(argv[i], argv[i + 1]);
    }
    if ((options.image || options.image_area) && !(options.tty && options.tcp))
        return;
    fputs(USAGE, stderr);
    exit(2);
}

#if KERNELS_RVV
static sigjmp_buf without_vectors;

static void on_illegal(int number)
{
    (void)number;
    siglongjmp(without_vectors, 1);
}

/* The kernel's own word for it came late (AT_HWCAP) and means less than a try. */
static uint32_t read_vlen(void)
{
    struct sigaction before, action = {.sa_handler = on_illegal};
    struct vector_answer vector = {0, 0};
    const char *volatile problem = VECTOR_NONE;
    sigaction(SIGILL, &action, &before);
    if (!sigsetjmp(without_vectors, 1)) {
        vector_ask(&vector);
        problem = vector_problem(&vector);
    }
    sigaction(SIGILL, &before, NULL);
    errno = 0;
    if (problem)
        fail(problem, NULL);
    return (uint32_t)vector.bytes * 8;
}
#else
static uint32_t read_vlen(void)
{
    return 0;
}
#endif

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    const char *problem = hosted_choose_kernels(options.kernels);
    if (problem)
        fail(problem, NULL);
    if (options.image_area)
        map_image_area();
    if (options.image)
        read_image();
    map_arena();
    counter_fd[0] = open_counter(PERF_COUNT_HW_INSTRUCTIONS);
    counter_fd[1] = open_counter(PERF_COUNT_HW_CPU_CYCLES);
    port.board = BOARD_NAME;
    port.isa = BOARD_ISA;
    port.vlen = read_vlen();
    port.harts = options.harts;
    port.read = port_read;
    port.write = port_write;
    port.idle = port_idle;
    port.instret = port_instret;
    port.cycles = port_cycles;
    port.counters = counter_fd[0] >= 0 && counter_fd[1] >= 0;
    port.exit = port_exit;
    errno = 0;
    if (hosted_start_harts(&harts, &port))
        fail("cannot start the harts; give a smaller --harts", NULL);
    problem = line_open(&line, options.tty, options.baud, options.tcp);
    if (problem)
        fail(problem, options.tty ? options.tty : options.tcp);
    device_run(&port);
    return 0;
}
