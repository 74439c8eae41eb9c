/* What the producer's files share. Locks: the library's is taken before a device's, never after. */
#ifndef SIMCAM_H
#define SIMCAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "control.h"
#include "features.h"
#include "gentl.h"
#include "pixels.h"
#include "source.h"

#define DEVICE_VENDOR "SimCam"
#define DEVICE_MODEL "SimLine"
#define PRODUCER_VERSION "1.0.0"
#define TL_TYPE "Custom"
#define STREAM_ID "Stream0"

enum { BUFFERS_MAX = 512, ID_LENGTH = 16, PATH_LENGTH = 4096 };

/* ---- reply.c: how every entry point answers ------------------------------------------------- */

/* Remembers code and sentence for GCGetLastError of this thread; returns the code. */
GC_ERROR fail(GC_ERROR code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Where an info function's answer goes: the caller's type, memory and size. */
struct reply {
    INFO_DATATYPE *type;
    void *out;
    size_t *size;
};
GC_ERROR reply_string(struct reply reply, const char *text);
GC_ERROR reply_int32(struct reply reply, int32_t value);
GC_ERROR reply_uint32(struct reply reply, uint32_t value);
GC_ERROR reply_uint64(struct reply reply, uint64_t value);
GC_ERROR reply_size(struct reply reply, size_t value);
GC_ERROR reply_bool(struct reply reply, bool value);
GC_ERROR reply_pointer(struct reply reply, void *value);
GC_ERROR reply_unknown(int32_t cmd);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

/* ---- the objects ---------------------------------------------------------------------------- */

/* What the camera wrote into a buffer. */
struct frame {
    uint64_t id, timestamp_ns;
    int64_t encoder; /* count at the first row */
    size_t width, height, offset_x, padding_x;
    size_t rows;    /* delivered; fewer than height when incomplete */
    size_t filled;  /* bytes written */
    size_t payload; /* bytes a whole frame takes */
    uint32_t pixel_format;
    bool incomplete, too_large;
    unsigned chunks; /* how many of the next two are set */
    uint64_t chunk_id[CHUNK_COUNT];
    size_t chunk_offset[CHUNK_COUNT];
};

struct buffer {
    uint8_t *memory;
    size_t size;
    void *user;
    bool ours;   /* from DSAllocAndAnnounceBuffer: we free it */
    bool queued; /* in the input pool, the output queue, or being filled */
    bool new_data;
    struct frame frame;
};

struct queue {
    struct buffer *items[BUFFERS_MAX];
    unsigned first, count;
};

struct event {
    bool registered, killed;
    unsigned waiting; /* threads inside EventGetData */
    uint64_t fired;
};

struct stream {
    bool open;
    bool running; /* between DSStartAcquisition and DSStopAcquisition */
    bool stop;    /* tells the thread to end */
    pthread_t thread;
    struct buffer *announced[BUFFERS_MAX];
    unsigned announced_count;
    struct queue input, output;
    struct buffer *filling;
    uint64_t frames_left; /* of DSStartAcquisition's number */
    uint64_t started, delivered, underrun;
    struct event event;
};

struct device {
    char id[ID_LENGTH];
    unsigned index;
    bool open; /* guarded by the library's lock */
    int lock_file;
    uint32_t plug_count; /* the control block's when opened: any change since means the cable was out */
    struct control_block *control;
    char remote_port;          /* its address is the port's handle */
    pthread_mutex_t lifecycle; /* one start, stop or close at a time; taken before the lock */
    pthread_mutex_t lock;      /* guards all below */
    pthread_cond_t changed;
    union value reg[REG_COUNT];
    unsigned chunk_mask;
    bool acquiring;           /* between AcquisitionStart and AcquisitionStop */
    uint64_t frames_to_start; /* of AcquisitionMode */
    uint64_t block_id, triggers;
    uint32_t line0_seen;
    int64_t encoder_zero; /* row */
    struct source *source;
    struct stream stream;
};

extern struct library {
    pthread_mutex_t lock; /* guards what is open */
    bool initialised, tl_open, interface_open;
    unsigned device_count;
    unsigned listed; /* bit mask of the devices found by the last IFUpdateDeviceList */
    struct device devices[DEVICES_MAX];
    char tl_handle, interface_handle; /* their addresses are the handles */
} library;

/* ---- device.c ------------------------------------------------------------------------------- */

GC_ERROR device_prepare(struct device *device, unsigned index);
void device_discard(struct device *device);
/* With the library's lock held. */
GC_ERROR device_open(struct device *device);
void device_close(struct device *device);
GC_ERROR device_info(struct device *device, int32_t cmd, struct reply reply);
/* Null, with the error set, when the handle is not an open device's. */
struct device *device_of(DEV_HANDLE handle);
/* The cable is out, or was out since the device was opened: only opening it anew helps. */
bool device_lost(const struct device *device);
bool device_plugged(const struct device *device);

/* ---- remote.c: the remote device's registers ------------------------------------------------ */

void remote_reset(struct device *device);
GC_ERROR remote_read(struct device *device, uint64_t address, void *out, size_t size);
GC_ERROR remote_write(struct device *device, uint64_t address, const void *in, size_t size);
/* With the device's lock held. */
struct frame_layout remote_layout(const struct device *device);
double remote_frame_period_s(const struct device *device);

/* ---- port.c --------------------------------------------------------------------------------- */

GC_ERROR ports_prepare(void);
void ports_discard(void);

/* ---- stream.c, acquisition.c ---------------------------------------------------------------- */

struct device *stream_of(DS_HANDLE handle);
/* The announced buffer of this handle, with its device locked; else null, unlocked, with the error set. */
struct buffer *enter_buffer(DS_HANDLE stream, BUFFER_HANDLE handle, struct device **device, GC_ERROR *error);
struct buffer *queue_pop(struct queue *queue);
void queue_push(struct queue *queue, struct buffer *buffer);
/* Ends acquisition, forgets all buffers; the lifecycle lock is the caller's. */
void stream_close(struct device *device);
GC_ERROR acquisition_begin(struct device *device, uint64_t frames);
/* Joins the thread; false if none was running. */
bool acquisition_end(struct device *device);
/* Waits on the device's condition, lock held, at most until the monotonic deadline; false when it passed. */
bool wait_changed(struct device *device, uint64_t deadline_ns);

#endif
