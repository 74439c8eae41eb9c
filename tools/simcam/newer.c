/* Entry points of GenTL 1.6 that consumers look up by name and warn about when they are missing. */
#include "simcam.h"

static GC_ERROR not_implemented(void) {
    return fail(GC_ERR_NOT_IMPLEMENTED, "this producer speaks GenTL 1.5");
}

GC_ERROR DSAnnounceCompositeBuffer(DS_HANDLE stream, size_t segments, void **memory, size_t *sizes,
                                   void *user, BUFFER_HANDLE *buffer) {
    (void)stream, (void)segments, (void)memory, (void)sizes, (void)user, (void)buffer;
    return not_implemented();
}

GC_ERROR DSGetNumFlows(DS_HANDLE stream, uint32_t *count) {
    (void)stream, (void)count;
    return not_implemented();
}

GC_ERROR DSGetFlowInfo(DS_HANDLE stream, uint32_t flow, int32_t cmd, INFO_DATATYPE *type, void *out,
                       size_t *size) {
    (void)stream, (void)flow, (void)cmd, (void)type, (void)out, (void)size;
    return not_implemented();
}

GC_ERROR DSGetNumBufferSegments(DS_HANDLE stream, BUFFER_HANDLE buffer, uint32_t *count) {
    (void)stream, (void)buffer, (void)count;
    return not_implemented();
}

GC_ERROR DSGetBufferSegmentInfo(DS_HANDLE stream, BUFFER_HANDLE buffer, uint32_t segment, int32_t cmd,
                                INFO_DATATYPE *type, void *out, size_t *size) {
    (void)stream, (void)buffer, (void)segment, (void)cmd, (void)type, (void)out, (void)size;
    return not_implemented();
}
