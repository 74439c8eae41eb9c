/* The control file: what a test or an operator does to cameras of another process.
 *
 * SIMCAM_CTRL names it; without it each process has a block of its own, which only features reach.
 * Layout, little-endian: 64 bytes of header, then one block of 64 bytes per device. All fields start
 * at 0 and may be changed at any time by either side (each write is one aligned 32-bit store).
 */
#ifndef SIMCAM_CONTROL_H
#define SIMCAM_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { DEVICES_MAX = 16 };

struct control_block {
    /* From outside. */
    _Atomic uint32_t plug_count;      /* odd: unplugged. Counting, not a flag, so that no pull goes unseen. */
    _Atomic uint32_t drop_next;       /* frames still to lose; the camera counts down */
    _Atomic uint32_t incomplete_next; /* frames still to deliver half */
    _Atomic uint32_t corrupt_next;    /* frames still to fill with noise */
    _Atomic uint32_t line0_edges;     /* rising edges on Line0 so far */
    /* From the camera. */
    _Atomic uint32_t opened;    /* how often it was opened */
    _Atomic uint32_t acquiring; /* 1 while AcquisitionStart is in force */
    _Atomic uint32_t frames;    /* frames begun, lost ones too, modulo 2^32 */
    uint32_t reserved[8];
};

struct control {
    char magic[8]; /* "SIMCTRL1"; written by whoever comes first */
    uint32_t reserved[14];
    struct control_block device[DEVICES_MAX];
};

_Static_assert(sizeof(struct control_block) == 64, "the layout is documented");
_Static_assert(sizeof(struct control) == 64 + 64 * DEVICES_MAX, "the layout is documented");

/* Maps the file, creating it if needed; null with errno set. A null path gives the process's own block. */
struct control *control_open(const char *path);
void control_close(struct control *control);
/* Takes one of a count of faults still to commit; false when it is used up. */
bool control_take(_Atomic uint32_t *count);

#endif
