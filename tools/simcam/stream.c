/* The data stream: buffers and their queues. */
#include "simcam.h"

#include <string.h>

struct device *stream_of(DS_HANDLE handle) {
    struct device *found = NULL;
    pthread_mutex_lock(&library.lock);
    for (unsigned i = 0; i < library.device_count; i++) {
        struct device *device = &library.devices[i];
        if (handle != &device->stream || !device->open) continue;
        pthread_mutex_lock(&device->lock);
        if (device->stream.open) found = device;
        pthread_mutex_unlock(&device->lock);
    }
    pthread_mutex_unlock(&library.lock);
    if (!found) fail(GC_ERR_INVALID_HANDLE, "not the handle of an open stream");
    return found;
}

struct buffer *queue_pop(struct queue *queue) {
    if (queue->count == 0) return NULL;
    struct buffer *buffer = queue->items[queue->first];
    queue->first = (queue->first + 1) % BUFFERS_MAX;
    queue->count--;
    return buffer;
}

void queue_push(struct queue *queue,
                struct buffer *buffer) { /* never full: no more buffers exist than places */
    queue->items[(queue->first + queue->count++) % BUFFERS_MAX] = buffer;
}

struct buffer *enter_buffer(DS_HANDLE stream, BUFFER_HANDLE handle, struct device **device, GC_ERROR *error) {
    *device = stream_of(stream);
    *error = GC_ERR_INVALID_HANDLE;
    if (!*device) return NULL;
    pthread_mutex_lock(&(*device)->lock);
    struct stream *s = &(*device)->stream;
    for (unsigned i = 0; i < s->announced_count; i++)
        if (s->announced[i] == handle) return s->announced[i];
    pthread_mutex_unlock(&(*device)->lock);
    *error = fail(GC_ERR_INVALID_HANDLE, "not the handle of a buffer announced to this stream");
    return NULL;
}

static GC_ERROR announce(DS_HANDLE stream, void *memory, size_t size, void *user, bool ours,
                         BUFFER_HANDLE *handle) {
    struct device *device = stream_of(stream);
    if (!device) return GC_ERR_INVALID_HANDLE;
    struct buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer) return fail(GC_ERR_OUT_OF_MEMORY, "no memory for a buffer's state");
    *buffer = (struct buffer){.memory = memory, .size = size, .user = user, .ours = ours};
    GC_ERROR error = GC_ERR_SUCCESS;
    pthread_mutex_lock(&device->lock);
    if (device->stream.announced_count == BUFFERS_MAX)
        error = fail(GC_ERR_RESOURCE_EXHAUSTED, "a stream takes %d buffers", BUFFERS_MAX);
    else
        device->stream.announced[device->stream.announced_count++] = buffer;
    pthread_mutex_unlock(&device->lock);
    if (error)
        free(buffer);
    else
        *handle = buffer;
    return error;
}

GC_ERROR DSAnnounceBuffer(DS_HANDLE stream, void *memory, size_t size, void *user, BUFFER_HANDLE *buffer) {
    if (!memory || !size || !buffer)
        return fail(GC_ERR_INVALID_PARAMETER, "a buffer needs memory, a size and a handle's pointer");
    return announce(stream, memory, size, user, false, buffer);
}

GC_ERROR DSAllocAndAnnounceBuffer(DS_HANDLE stream, size_t size, void *user, BUFFER_HANDLE *buffer) {
    if (!size || !buffer)
        return fail(GC_ERR_INVALID_PARAMETER, "a buffer needs a size and a handle's pointer");
    if (!stream_of(stream)) return GC_ERR_INVALID_HANDLE;
    void *memory = calloc(1, size);
    if (!memory) return fail(GC_ERR_OUT_OF_MEMORY, "no memory for a buffer of %zu bytes", size);
    GC_ERROR error = announce(stream, memory, size, user, true, buffer);
    if (error) free(memory);
    return error;
}

static void free_buffer(struct buffer *buffer) {
    if (buffer->ours) free(buffer->memory);
    free(buffer);
}

GC_ERROR DSRevokeBuffer(DS_HANDLE stream, BUFFER_HANDLE handle, void **memory, void **user) {
    struct device *device;
    GC_ERROR error;
    struct buffer *buffer = enter_buffer(stream, handle, &device, &error);
    if (!buffer) return error;
    struct stream *s = &device->stream;
    bool queued = buffer->queued;
    if (!queued) {
        unsigned at = 0;
        while (s->announced[at] != buffer) at++;
        memmove(&s->announced[at], &s->announced[at + 1], (--s->announced_count - at) * sizeof *s->announced);
    }
    pthread_mutex_unlock(&device->lock);
    if (queued) return fail(GC_ERR_BUSY, "a queued buffer can't be revoked: flush the queues first");
    if (memory) *memory = buffer->ours ? NULL : buffer->memory;
    if (user) *user = buffer->user;
    free_buffer(buffer);
    return GC_ERR_SUCCESS;
}

GC_ERROR DSQueueBuffer(DS_HANDLE stream, BUFFER_HANDLE handle) {
    struct device *device;
    GC_ERROR error;
    struct buffer *buffer = enter_buffer(stream, handle, &device, &error);
    if (!buffer) return error;
    bool queued = buffer->queued;
    if (!queued) {
        buffer->queued = true;
        buffer->new_data = false;
        queue_push(&device->stream.input, buffer);
    }
    pthread_mutex_unlock(&device->lock);
    return queued ? fail(GC_ERR_BUSY, "the buffer is queued already") : GC_ERR_SUCCESS;
}

static void discard(struct queue *queue) {
    struct buffer *buffer;
    while ((buffer = queue_pop(queue)) != NULL) buffer->queued = buffer->new_data = false;
}

static void queue_unqueued(struct stream *stream) {
    for (unsigned i = 0; i < stream->announced_count; i++) {
        struct buffer *buffer = stream->announced[i];
        if (buffer->queued) continue;
        buffer->queued = true;
        buffer->new_data = false;
        queue_push(&stream->input, buffer);
    }
}

static GC_ERROR flush(struct stream *stream, int32_t operation) {
    struct buffer *buffer;
    switch (operation) {
    case ACQ_QUEUE_INPUT_TO_OUTPUT:
        while ((buffer = queue_pop(&stream->input)) != NULL) queue_push(&stream->output, buffer);
        return GC_ERR_SUCCESS;
    case ACQ_QUEUE_OUTPUT_DISCARD: discard(&stream->output); return GC_ERR_SUCCESS;
    case ACQ_QUEUE_ALL_TO_INPUT:
        discard(&stream->output);
        queue_unqueued(stream);
        return GC_ERR_SUCCESS;
    case ACQ_QUEUE_UNQUEUED_TO_INPUT: queue_unqueued(stream); return GC_ERR_SUCCESS;
    case ACQ_QUEUE_ALL_DISCARD:
        discard(&stream->input);
        discard(&stream->output);
        return GC_ERR_SUCCESS;
    default: return fail(GC_ERR_INVALID_PARAMETER, "no flush operation %d", (int)operation);
    }
}

GC_ERROR DSFlushQueue(DS_HANDLE handle, int32_t operation) {
    struct device *device = stream_of(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    pthread_mutex_lock(&device->lock);
    /* A buffer being filled belongs to the camera; it is in no queue until it is done, which is soon. */
    while (device->stream.filling) pthread_cond_wait(&device->changed, &device->lock);
    GC_ERROR error = flush(&device->stream, operation);
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
    return error;
}

/* ---- acquisition ---------------------------------------------------------------------------- */

GC_ERROR DSStartAcquisition(DS_HANDLE handle, int32_t flags, uint64_t frames) {
    if (flags != 0) return fail(GC_ERR_INVALID_PARAMETER, "start flag %d is unknown", (int)flags);
    if (frames == 0) return fail(GC_ERR_INVALID_PARAMETER, "an acquisition of no frames");
    struct device *device = stream_of(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    pthread_mutex_lock(&device->lifecycle);
    GC_ERROR error = acquisition_begin(device, frames);
    pthread_mutex_unlock(&device->lifecycle);
    return error;
}

GC_ERROR DSStopAcquisition(DS_HANDLE handle, int32_t flags) {
    (void)flags; /* KILL or not: the frame begun is finished, it takes under a millisecond */
    struct device *device = stream_of(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    pthread_mutex_lock(&device->lifecycle);
    bool ended = acquisition_end(device);
    pthread_mutex_unlock(&device->lifecycle);
    return ended ? GC_ERR_SUCCESS : fail(GC_ERR_ERROR, "the stream is not acquiring");
}

void stream_close(struct device *device) {
    acquisition_end(device);
    pthread_mutex_lock(&device->lock);
    struct stream *stream = &device->stream;
    stream->event.killed = true; /* let waiting threads go before what they wait on goes */
    pthread_cond_broadcast(&device->changed);
    while (stream->event.waiting) pthread_cond_wait(&device->changed, &device->lock);
    for (unsigned i = 0; i < stream->announced_count; i++) free_buffer(stream->announced[i]);
    memset(stream, 0, sizeof *stream);
    pthread_mutex_unlock(&device->lock);
}

GC_ERROR DSClose(DS_HANDLE handle) {
    struct device *device = stream_of(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    pthread_mutex_lock(&device->lifecycle);
    stream_close(device);
    pthread_mutex_unlock(&device->lifecycle);
    return GC_ERR_SUCCESS;
}
