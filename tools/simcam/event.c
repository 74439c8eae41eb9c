/* The new-buffer event of a stream: the only event there is. */
#include "simcam.h"

#include <string.h>
#include <time.h>

bool wait_changed(struct device *device, uint64_t deadline_ns) {
    if (deadline_ns == UINT64_MAX) return pthread_cond_wait(&device->changed, &device->lock) == 0;
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                .tv_nsec = (long)(deadline_ns % 1000000000u)};
    return pthread_cond_timedwait(&device->changed, &device->lock, &deadline) == 0;
}

GC_ERROR GCRegisterEvent(EVENTSRC_HANDLE source, int32_t type, EVENT_HANDLE *handle) {
    if (!handle) return fail(GC_ERR_INVALID_PARAMETER, "the handle's pointer is null");
    if (type != EVENT_NEW_BUFFER)
        return fail(GC_ERR_NOT_IMPLEMENTED, "the only event is a stream's new buffer");
    struct device *device = stream_of(source);
    if (!device) return GC_ERR_INVALID_HANDLE;
    struct event *event = &device->stream.event;
    pthread_mutex_lock(&device->lock);
    bool registered = event->registered;
    if (!registered) *event = (struct event){.registered = true};
    pthread_mutex_unlock(&device->lock);
    if (registered) return fail(GC_ERR_RESOURCE_IN_USE, "the event is registered already");
    *handle = event;
    return GC_ERR_SUCCESS;
}

GC_ERROR GCUnregisterEvent(EVENTSRC_HANDLE source, int32_t type) {
    if (type != EVENT_NEW_BUFFER)
        return fail(GC_ERR_NOT_IMPLEMENTED, "the only event is a stream's new buffer");
    struct device *device = stream_of(source);
    if (!device) return GC_ERR_INVALID_HANDLE;
    struct event *event = &device->stream.event;
    pthread_mutex_lock(&device->lock);
    bool registered = event->registered;
    event->registered = false;
    pthread_cond_broadcast(&device->changed);
    while (event->waiting) pthread_cond_wait(&device->changed, &device->lock);
    pthread_mutex_unlock(&device->lock);
    return registered ? GC_ERR_SUCCESS : fail(GC_ERR_INVALID_PARAMETER, "the event is not registered");
}

/* The lock stays held when this finds the event's device. */
static struct device *enter(EVENT_HANDLE handle) {
    struct device *found = NULL;
    pthread_mutex_lock(&library.lock);
    for (unsigned i = 0; i < library.device_count; i++)
        if (handle == &library.devices[i].stream.event && library.devices[i].open)
            found = &library.devices[i];
    if (found) pthread_mutex_lock(&found->lock);
    pthread_mutex_unlock(&library.lock);
    if (found && found->stream.event.registered) return found;
    if (found) pthread_mutex_unlock(&found->lock);
    fail(GC_ERR_INVALID_HANDLE, "not the handle of a registered event");
    return NULL;
}

static uint64_t deadline_after(uint64_t timeout_ms) {
    uint64_t now = now_ns();
    return timeout_ms > (UINT64_MAX - now) / 1000000u ? UINT64_MAX : now + timeout_ms * 1000000u;
}

/* Waits for a filled buffer; the lock is held. */
static GC_ERROR await(struct device *device, uint64_t timeout_ms) {
    struct stream *stream = &device->stream;
    struct event *event = &stream->event;
    uint64_t deadline = deadline_after(timeout_ms);
    event->waiting++;
    bool in_time = timeout_ms > 0;
    while (event->registered && !event->killed && stream->output.count == 0 && in_time)
        in_time = wait_changed(device, deadline);
    event->waiting--;
    if (!event->registered || event->killed) {
        event->killed = false;
        pthread_cond_broadcast(&device->changed);
        return fail(GC_ERR_ABORT, "the wait was ended by EventKill or by closing");
    }
    return stream->output.count
               ? GC_ERR_SUCCESS
               : fail(GC_ERR_TIMEOUT, "no buffer within %llu ms", (unsigned long long)timeout_ms);
}

GC_ERROR EventGetData(EVENT_HANDLE handle, void *out, size_t *size, uint64_t timeout_ms) {
    EVENT_NEW_BUFFER_DATA data;
    if (!out || !size) return fail(GC_ERR_INVALID_PARAMETER, "the buffer or the size's pointer is null");
    if (*size < sizeof data)
        return fail(GC_ERR_BUFFER_TOO_SMALL, "the event's data takes %zu bytes", sizeof data);
    struct device *device = enter(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    GC_ERROR error = await(device, timeout_ms);
    if (!error) {
        struct buffer *buffer = queue_pop(&device->stream.output);
        buffer->queued = false;
        device->stream.delivered++;
        device->stream.event.fired++;
        data = (EVENT_NEW_BUFFER_DATA){buffer, buffer->user};
        memcpy(out, &data, sizeof data);
        *size = sizeof data;
    }
    pthread_mutex_unlock(&device->lock);
    return error;
}

GC_ERROR EventGetDataInfo(EVENT_HANDLE handle, const void *in, size_t in_size, int32_t cmd,
                          INFO_DATATYPE *type, void *out, size_t *size) {
    EVENT_NEW_BUFFER_DATA data;
    if (!in || in_size < sizeof data)
        return fail(GC_ERR_INVALID_PARAMETER, "not the data of a new-buffer event");
    struct device *device = enter(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    pthread_mutex_unlock(&device->lock);
    memcpy(&data, in, sizeof data);
    struct reply reply = {type, out, size};
    switch (cmd) {
    case EVENT_DATA_ID: return reply_pointer(reply, data.BufferHandle);
    case EVENT_DATA_VALUE: return reply_pointer(reply, data.pUserPointer);
    default: return reply_unknown(cmd);
    }
}

GC_ERROR EventGetInfo(EVENT_HANDLE handle, int32_t cmd, INFO_DATATYPE *type, void *out, size_t *size) {
    struct device *device = enter(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    size_t in_queue = device->stream.output.count;
    uint64_t fired = device->stream.event.fired;
    pthread_mutex_unlock(&device->lock);
    struct reply reply = {type, out, size};
    switch (cmd) {
    case EVENT_EVENT_TYPE: return reply_int32(reply, EVENT_NEW_BUFFER);
    case EVENT_NUM_IN_QUEUE: return reply_size(reply, in_queue);
    case EVENT_NUM_FIRED: return reply_uint64(reply, fired);
    case EVENT_SIZE_MAX:
    case EVENT_INFO_DATA_SIZE_MAX: return reply_size(reply, sizeof(EVENT_NEW_BUFFER_DATA));
    default: return reply_unknown(cmd);
    }
}

GC_ERROR EventFlush(EVENT_HANDLE handle) {
    struct device *device = enter(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    struct buffer *buffer;
    while ((buffer = queue_pop(&device->stream.output)) != NULL) buffer->queued = buffer->new_data = false;
    pthread_mutex_unlock(&device->lock);
    return GC_ERR_SUCCESS;
}

GC_ERROR EventKill(EVENT_HANDLE handle) {
    struct device *device = enter(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    device->stream.event.killed = true;
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
    return GC_ERR_SUCCESS;
}
