#include "simcam.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static _Thread_local GC_ERROR last_code;
static _Thread_local char last_text[512];

GC_ERROR fail(GC_ERROR code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_text, sizeof last_text, format, arguments);
    va_end(arguments);
    last_code = code;
    return code;
}

GC_ERROR GCGetLastError(GC_ERROR *code, char *text, size_t *size) {
    if (!code || !size) return GC_ERR_INVALID_PARAMETER; /* asking must not change the answer */
    size_t length = strlen(last_text) + 1;
    *code = last_code;
    if (text && *size < length) return GC_ERR_BUFFER_TOO_SMALL;
    if (text) memcpy(text, last_text, length);
    *size = length;
    return GC_ERR_SUCCESS;
}

static GC_ERROR reply_bytes(struct reply reply, INFO_DATATYPE type, const void *value, size_t length) {
    if (!reply.size) return fail(GC_ERR_INVALID_PARAMETER, "the size's pointer is null");
    if (reply.type) *reply.type = type;
    if (reply.out && *reply.size < length) {
        size_t given = *reply.size;
        *reply.size = length;
        return fail(GC_ERR_BUFFER_TOO_SMALL, "the answer takes %zu bytes, the buffer has %zu", length, given);
    }
    if (reply.out) memcpy(reply.out, value, length);
    *reply.size = length;
    return GC_ERR_SUCCESS;
}

GC_ERROR reply_string(struct reply reply, const char *text) {
    return reply_bytes(reply, INFO_DATATYPE_STRING, text, strlen(text) + 1);
}
GC_ERROR reply_int32(struct reply reply, int32_t value) {
    return reply_bytes(reply, INFO_DATATYPE_INT32, &value, sizeof value);
}
GC_ERROR reply_uint32(struct reply reply, uint32_t value) {
    return reply_bytes(reply, INFO_DATATYPE_UINT32, &value, sizeof value);
}
GC_ERROR reply_uint64(struct reply reply, uint64_t value) {
    return reply_bytes(reply, INFO_DATATYPE_UINT64, &value, sizeof value);
}
GC_ERROR reply_size(struct reply reply, size_t value) {
    return reply_bytes(reply, INFO_DATATYPE_SIZET, &value, sizeof value);
}
GC_ERROR reply_bool(struct reply reply, bool value) {
    bool8_t byte = value;
    return reply_bytes(reply, INFO_DATATYPE_BOOL8, &byte, sizeof byte);
}
GC_ERROR reply_pointer(struct reply reply, void *value) {
    return reply_bytes(reply, INFO_DATATYPE_PTR, &value, sizeof value);
}
GC_ERROR reply_unknown(int32_t cmd) {
    return fail(GC_ERR_NOT_AVAILABLE, "information %d is not available here", (int)cmd);
}

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}
