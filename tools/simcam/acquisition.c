/* The camera at work: one thread per acquiring stream, which sees frames at their pace and fills buffers. */
#include "simcam.h"

#include <string.h>

enum { POLL_MS = 2 }; /* what other processes change (feed, control file) is looked at this often */

/* How a frame goes wrong. */
enum fate { FATE_GOOD, FATE_LOST, FATE_INCOMPLETE, FATE_CORRUPT };

static uint64_t ms(uint64_t milliseconds) { return milliseconds * 1000000u; }

static void count_line0(struct device *device) {
    uint32_t edges = atomic_load(&device->control->line0_edges);
    if (device->reg[REG_TRIGGER_SOURCE].integer == TRIGGER_LINE0)
        device->triggers += edges - device->line0_seen;
    device->line0_seen = edges;
}

/* Something has to happen before a frame can begin: a start, a trigger, a plug. */
static bool at_rest(struct device *device) {
    if (!device->acquiring || device_lost(device)) return true;
    if (device->frames_to_start == 0 || device->stream.frames_left == 0) return true;
    count_line0(device);
    return device->reg[REG_TRIGGER_MODE].integer && device->triggers == 0;
}

/* Waits until the next frame is complete: `due` is when, 0 while the camera rests. False when it shall stop.
 */
static bool await_frame(struct device *device, uint64_t *due) {
    bool dry = false;
    while (!device->stream.stop) {
        uint64_t now = now_ns();
        if (at_rest(device)) {
            *due = 0;
            wait_changed(device, now + ms(POLL_MS));
            continue;
        }
        if (*due == 0) *due = now + (uint64_t)(1e9 * remote_frame_period_s(device));
        if (now < *due) {
            uint64_t look = now + ms(POLL_MS);
            wait_changed(device, *due < look ? *due : look);
            continue;
        }
        if (source_ready(device->source, (size_t)device->reg[REG_HEIGHT].integer)) {
            if (dry) *due = now; /* the line stood still; it does not make up for it */
            return true;
        }
        dry = true;
        wait_changed(device, now + ms(POLL_MS) / 2);
    }
    return false;
}

static bool every(const struct device *device, enum reg reg) {
    uint64_t n = (uint64_t)device->reg[reg].integer;
    return n > 0 && device->block_id % n == n - 1;
}

static enum fate decide_fate(struct device *device) {
    if (every(device, REG_DROP_EVERY) || control_take(&device->control->drop_next)) return FATE_LOST;
    if (every(device, REG_INCOMPLETE_EVERY) || control_take(&device->control->incomplete_next))
        return FATE_INCOMPLETE;
    if (every(device, REG_CORRUPT_EVERY) || control_take(&device->control->corrupt_next)) return FATE_CORRUPT;
    return FATE_GOOD;
}

/* ---- one frame ------------------------------------------------------------------------------ */

static void write_rows(const struct source *source, bool by_image, const struct frame_layout *layout,
                       const struct tone *tone, uint8_t *out, size_t rows) {
    for (size_t row = 0; row < rows;) {
        struct run run = source_run(source, by_image, row);
        size_t count = run.rows && run.rows < rows - row ? run.rows : rows - row;
        if (run.rows == 0 || run.width <= layout->offset_x) {
            pixels_write_dark(out, layout, count);
        } else {
            size_t seen = run.width - layout->offset_x;
            pixels_write(out, layout, tone, run.pixels + layout->offset_x, run.width,
                         seen < layout->width ? seen : layout->width, row, count);
        }
        row += count;
        out += count * layout->row_bytes;
    }
}

static void write_chunks(uint8_t *memory, const struct frame_layout *layout, struct frame *frame) {
    const uint64_t values[CHUNK_COUNT] = {
        [CHUNK_ENCODER_VALUE] = (uint64_t)frame->encoder,
        [CHUNK_TIMESTAMP] = frame->timestamp_ns,
        [CHUNK_FRAME_ID] = frame->id,
    };
    for (unsigned k = 0; k < CHUNK_COUNT; k++) {
        if (!(layout->chunks >> k & 1)) continue;
        size_t offset = layout->chunk_start + CHUNK_BYTES * (size_t)frame->chunks;
        memcpy(memory + offset, &values[k], CHUNK_BYTES);
        frame->chunk_id[frame->chunks] = CHUNK_ID_BASE + k;
        frame->chunk_offset[frame->chunks++] = offset;
    }
}

/* Fills the buffer; runs without the lock, for the buffer is ours until it is put out. */
static void fill(struct buffer *buffer, const struct source *source, bool by_image,
                 const struct frame_layout *layout, const struct tone *tone, enum fate fate) {
    struct frame *frame = &buffer->frame;
    size_t fitting = buffer->size / layout->row_bytes;
    frame->too_large = layout->payload > buffer->size;
    frame->incomplete = frame->too_large || fate == FATE_INCOMPLETE;
    frame->rows = fate == FATE_INCOMPLETE ? layout->height / 2 : layout->height;
    if (frame->rows > fitting) frame->rows = fitting;
    frame->filled = frame->rows * layout->row_bytes;
    if (fate == FATE_CORRUPT)
        pixels_write_noise(buffer->memory, frame->filled, frame->id);
    else
        write_rows(source, by_image, layout, tone, buffer->memory, frame->rows);
    if (frame->incomplete) return;
    write_chunks(buffer->memory, layout, frame);
    frame->filled = layout->payload;
}

/* Sees the frame that is due, lock held; it is let go while pixels are copied. */
static void take_frame(struct device *device, struct tone *tone) {
    struct stream *stream = &device->stream;
    struct frame_layout layout = remote_layout(device);
    bool by_image = device->reg[REG_SCAN_TYPE].integer == AREASCAN;
    enum fate fate = decide_fate(device);
    struct frame frame = {
        .id = device->block_id++,
        .timestamp_ns = now_ns(),
        .encoder = ((int64_t)source_row(device->source) - device->encoder_zero) *
                   device->reg[REG_ENCODER_DIVIDER].integer,
        .width = layout.width,
        .height = layout.height,
        .offset_x = layout.offset_x,
        .padding_x = layout.padding_x,
        .payload = layout.payload,
        .pixel_format = layout.pixel_format,
    };
    stream->started++;
    if (device->frames_to_start != UINT64_MAX) device->frames_to_start--;
    if (stream->frames_left != GENTL_INFINITE) stream->frames_left--;
    if (device->triggers) device->triggers--;
    atomic_fetch_add(&device->control->frames, 1);

    struct buffer *buffer = fate == FATE_LOST ? NULL : queue_pop(&stream->input);
    if (buffer) {
        tone_set(tone, layout.pixel_format, device->reg[REG_EXPOSURE_TIME].real, device->reg[REG_GAIN].real);
        buffer->frame = frame;
        stream->filling = buffer;
        pthread_mutex_unlock(&device->lock);
        fill(buffer, device->source, by_image, &layout, tone, fate);
        pthread_mutex_lock(&device->lock);
        stream->filling = NULL;
        buffer->new_data = true;
        queue_push(&stream->output, buffer);
        pthread_cond_broadcast(&device->changed);
    } else if (fate != FATE_LOST) {
        stream->underrun++; /* nobody gave a buffer in time: the web has moved on all the same */
    }
    source_advance(device->source, layout.height);
}

static void *acquire(void *argument) {
    struct device *device = argument;
    struct tone tone = {0};
    uint64_t due = 0;
    pthread_mutex_lock(&device->lock);
    while (await_frame(device, &due)) {
        take_frame(device, &tone);
        due =
            device->reg[REG_TRIGGER_MODE].integer ? 0 : due + (uint64_t)(1e9 * remote_frame_period_s(device));
    }
    pthread_mutex_unlock(&device->lock);
    return NULL;
}

/* ---- begin and end -------------------------------------------------------------------------- */

GC_ERROR acquisition_begin(struct device *device, uint64_t frames) {
    struct stream *stream = &device->stream;
    pthread_mutex_lock(&device->lock);
    GC_ERROR error = GC_ERR_SUCCESS;
    if (stream->running) {
        error = fail(GC_ERR_RESOURCE_IN_USE, "the stream is acquiring already");
    } else {
        stream->stop = false;
        stream->frames_left = frames;
        stream->started = stream->delivered = stream->underrun = 0;
        device->block_id = 0;
        stream->running = pthread_create(&stream->thread, NULL, acquire, device) == 0;
        if (!stream->running) error = fail(GC_ERR_RESOURCE_EXHAUSTED, "no thread to acquire with");
    }
    pthread_mutex_unlock(&device->lock);
    return error;
}

bool acquisition_end(struct device *device) {
    struct stream *stream = &device->stream;
    pthread_mutex_lock(&device->lock);
    bool running = stream->running;
    stream->stop = true;
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
    if (!running) return false;
    pthread_join(stream->thread, NULL);
    pthread_mutex_lock(&device->lock);
    stream->running = false;
    device->acquiring = false;
    atomic_store(&device->control->acquiring, 0);
    pthread_mutex_unlock(&device->lock);
    return true;
}
