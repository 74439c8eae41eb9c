/* What a stream and its buffers can be asked. */
#include "simcam.h"

static GC_ERROR stream_info(const struct device *device, int32_t cmd, struct reply reply) {
    const struct stream *stream = &device->stream;
    switch (cmd) {
    case STREAM_INFO_ID: return reply_string(reply, STREAM_ID);
    case STREAM_INFO_NUM_DELIVERED: return reply_uint64(reply, stream->delivered);
    case STREAM_INFO_NUM_UNDERRUN: return reply_uint64(reply, stream->underrun);
    case STREAM_INFO_NUM_ANNOUNCED: return reply_size(reply, stream->announced_count);
    case STREAM_INFO_NUM_QUEUED: return reply_size(reply, stream->input.count);
    case STREAM_INFO_NUM_AWAIT_DELIVERY: return reply_size(reply, stream->output.count);
    case STREAM_INFO_NUM_STARTED: return reply_uint64(reply, stream->started);
    case STREAM_INFO_PAYLOAD_SIZE: return reply_size(reply, remote_layout(device).payload);
    case STREAM_INFO_IS_GRABBING: return reply_bool(reply, stream->running);
    case STREAM_INFO_DEFINES_PAYLOADSIZE: return reply_bool(reply, true);
    case STREAM_INFO_TLTYPE: return reply_string(reply, TL_TYPE);
    case STREAM_INFO_NUM_CHUNKS_MAX: return reply_size(reply, CHUNK_COUNT);
    case STREAM_INFO_BUF_ANNOUNCE_MIN:
    case STREAM_INFO_BUF_ALIGNMENT: return reply_size(reply, 1);
    default: return reply_unknown(cmd);
    }
}

GC_ERROR DSGetInfo(DS_HANDLE handle, int32_t cmd, INFO_DATATYPE *type, void *out, size_t *size) {
    struct device *device = stream_of(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    pthread_mutex_lock(&device->lock);
    GC_ERROR error = stream_info(device, cmd, (struct reply){type, out, size});
    pthread_mutex_unlock(&device->lock);
    return error;
}

GC_ERROR DSGetBufferID(DS_HANDLE handle, uint32_t index, BUFFER_HANDLE *buffer) {
    if (!buffer) return fail(GC_ERR_INVALID_PARAMETER, "the handle's pointer is null");
    struct device *device = stream_of(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    pthread_mutex_lock(&device->lock);
    bool exists = index < device->stream.announced_count;
    if (exists) *buffer = device->stream.announced[index];
    pthread_mutex_unlock(&device->lock);
    return exists ? GC_ERR_SUCCESS : fail(GC_ERR_INVALID_INDEX, "no buffer number %u is announced", index);
}

static GC_ERROR buffer_info(const struct device *device, const struct buffer *buffer, int32_t cmd,
                            struct reply reply) {
    const struct frame *frame = &buffer->frame;
    switch (cmd) {
    case BUFFER_INFO_BASE: return reply_pointer(reply, buffer->memory);
    case BUFFER_INFO_SIZE: return reply_size(reply, buffer->size);
    case BUFFER_INFO_USER_PTR: return reply_pointer(reply, buffer->user);
    case BUFFER_INFO_TIMESTAMP:
    case BUFFER_INFO_TIMESTAMP_NS: return reply_uint64(reply, frame->timestamp_ns);
    case BUFFER_INFO_NEW_DATA: return reply_bool(reply, buffer->new_data);
    case BUFFER_INFO_IS_QUEUED: return reply_bool(reply, buffer->queued);
    case BUFFER_INFO_IS_ACQUIRING: return reply_bool(reply, device->stream.filling == buffer);
    case BUFFER_INFO_IS_INCOMPLETE: return reply_bool(reply, frame->incomplete);
    case BUFFER_INFO_TLTYPE: return reply_string(reply, TL_TYPE);
    case BUFFER_INFO_SIZE_FILLED: return reply_size(reply, frame->filled);
    case BUFFER_INFO_DATA_SIZE: return reply_size(reply, frame->payload);
    case BUFFER_INFO_WIDTH: return reply_size(reply, frame->width);
    case BUFFER_INFO_HEIGHT: return reply_size(reply, frame->height);
    case BUFFER_INFO_XOFFSET: return reply_size(reply, frame->offset_x);
    case BUFFER_INFO_XPADDING: return reply_size(reply, frame->padding_x);
    case BUFFER_INFO_YOFFSET:
    case BUFFER_INFO_YPADDING:
    case BUFFER_INFO_IMAGEOFFSET: return reply_size(reply, 0);
    case BUFFER_INFO_FRAMEID: return reply_uint64(reply, frame->id);
    case BUFFER_INFO_IMAGEPRESENT: return reply_bool(reply, frame->rows > 0);
    case BUFFER_INFO_PAYLOADTYPE: return reply_size(reply, PAYLOAD_TYPE_IMAGE);
    case BUFFER_INFO_PIXELFORMAT: return reply_uint64(reply, frame->pixel_format);
    case BUFFER_INFO_PIXELFORMAT_NAMESPACE: return reply_uint64(reply, PIXELFORMAT_NAMESPACE_PFNC_32BIT);
    case BUFFER_INFO_DELIVERED_IMAGEHEIGHT: return reply_size(reply, frame->rows);
    case BUFFER_INFO_DELIVERED_CHUNKPAYLOADSIZE:
        return reply_size(reply, CHUNK_BYTES * (size_t)frame->chunks);
    case BUFFER_INFO_PIXEL_ENDIANNESS: return reply_int32(reply, PIXELENDIANNESS_LITTLE);
    case BUFFER_INFO_DATA_LARGER_THAN_BUFFER: return reply_bool(reply, frame->too_large);
    case BUFFER_INFO_CONTAINS_CHUNKDATA: return reply_bool(reply, frame->chunks > 0);
    default: return reply_unknown(cmd);
    }
}

GC_ERROR DSGetBufferInfo(DS_HANDLE stream, BUFFER_HANDLE handle, int32_t cmd, INFO_DATATYPE *type, void *out,
                         size_t *size) {
    struct device *device;
    GC_ERROR error;
    struct buffer *buffer = enter_buffer(stream, handle, &device, &error);
    if (!buffer) return error;
    error = buffer_info(device, buffer, cmd, (struct reply){type, out, size});
    pthread_mutex_unlock(&device->lock);
    return error;
}

static GC_ERROR chunk_data(const struct frame *frame, SINGLE_CHUNK_DATA *chunks, size_t *count) {
    if (frame->chunks == 0) return fail(GC_ERR_NO_DATA, "the buffer holds no chunks");
    size_t room = *count;
    *count = frame->chunks;
    if (!chunks) return GC_ERR_SUCCESS;
    if (room < frame->chunks)
        return fail(GC_ERR_BUFFER_TOO_SMALL, "the buffer holds %u chunks", frame->chunks);
    for (unsigned i = 0; i < frame->chunks; i++)
        chunks[i] = (SINGLE_CHUNK_DATA){frame->chunk_id[i], (ptrdiff_t)frame->chunk_offset[i], CHUNK_BYTES};
    return GC_ERR_SUCCESS;
}

GC_ERROR DSGetBufferChunkData(DS_HANDLE stream, BUFFER_HANDLE handle, SINGLE_CHUNK_DATA *chunks,
                              size_t *count) {
    if (!count) return fail(GC_ERR_INVALID_PARAMETER, "the count's pointer is null");
    struct device *device;
    GC_ERROR error;
    struct buffer *buffer = enter_buffer(stream, handle, &device, &error);
    if (!buffer) return error;
    error = chunk_data(&buffer->frame, chunks, count);
    pthread_mutex_unlock(&device->lock);
    return error;
}

GC_ERROR DSGetNumBufferParts(DS_HANDLE stream, BUFFER_HANDLE handle, uint32_t *count) {
    if (!count) return fail(GC_ERR_INVALID_PARAMETER, "the count's pointer is null");
    struct device *device;
    GC_ERROR error;
    if (!enter_buffer(stream, handle, &device, &error)) return error;
    pthread_mutex_unlock(&device->lock);
    *count = 0;
    return GC_ERR_SUCCESS;
}

GC_ERROR DSGetBufferPartInfo(DS_HANDLE stream, BUFFER_HANDLE handle, uint32_t part, int32_t cmd,
                             INFO_DATATYPE *type, void *out, size_t *size) {
    (void)cmd, (void)type, (void)out, (void)size;
    struct device *device;
    GC_ERROR error;
    if (!enter_buffer(stream, handle, &device, &error)) return error;
    pthread_mutex_unlock(&device->lock);
    return fail(GC_ERR_INVALID_INDEX, "buffers are single images, there is no part %u", part);
}

GC_ERROR DSGetParentDev(DS_HANDLE stream, DEV_HANDLE *handle) {
    if (!handle) return fail(GC_ERR_INVALID_PARAMETER, "the handle's pointer is null");
    struct device *device = stream_of(stream);
    if (!device) return GC_ERR_INVALID_HANDLE;
    *handle = device;
    return GC_ERR_SUCCESS;
}
