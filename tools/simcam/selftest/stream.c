/* Frames, buffers, queues and events. */
#include "harness.h"

#include <string.h>
#include <unistd.h>

void test_frames(void) {
    open_library();
    open_stream();
    set(REG_CHUNK_MODE, 1);
    set(REG_ENCODER_DIVIDER, 5);
    for (int cycle = 0; cycle < 20; cycle++) {
        begin();
        uint64_t last = 0, first = cycle ? 1 : 0;
        for (uint64_t n = 0; n < 7; n++) {
            BUFFER_HANDLE b = next();
            size_t count = CHUNK_COUNT, room = 1;
            SINGLE_CHUNK_DATA chunks[CHUNK_COUNT];
            CHECK(info(b, BUFFER_INFO_FRAMEID) >= n && info(b, BUFFER_INFO_TIMESTAMP_NS) > last);
            last = info(b, BUFFER_INFO_TIMESTAMP_NS);
            GOOD(DSGetBufferChunkData(ds, b, NULL, &count));
            BAD(GC_ERR_BUFFER_TOO_SMALL, DSGetBufferChunkData(ds, b, chunks, &room));
            GOOD(DSGetBufferChunkData(ds, b, chunks, &count));
            CHECK(count == CHUNK_COUNT && chunks[0].ChunkID == CHUNK_ID_BASE);
            int64_t encoder;
            memcpy(&encoder, base(b) + chunks[0].ChunkOffset, 8);
            if (!first) CHECK(encoder == (int64_t)info(b, BUFFER_INFO_FRAMEID) * HEIGHT * 5);
            uint64_t row = (uint64_t)encoder / 5 % (IMAGES * HEIGHT);
            for (size_t i = 0; i < WIDTH * HEIGHT; i++)
                CHECK(base(b)[i] == pixel(row + i / WIDTH, i % WIDTH));
            BAD(GC_ERR_INVALID_PARAMETER, DSGetNumBufferParts(ds, b, NULL));
            uint32_t parts = 9;
            GOOD(DSGetNumBufferParts(ds, b, &parts));
            CHECK(parts == 0);
            BAD(GC_ERR_INVALID_INDEX, DSGetBufferPartInfo(ds, b, 0, 0, NULL, NULL, NULL));
            GOOD(DSQueueBuffer(ds, b));
        }
        BAD(GC_ERR_RESOURCE_IN_USE, DSStartAcquisition(ds, 0, GENTL_INFINITE));
        BAD(GC_ERR_ACCESS_DENIED, try_set(REG_WIDTH, (union value){.integer = 32}));
        set(REG_STOP, 1);
        end();
    }
    GOOD(DSClose(ds));
    GOOD(DevClose(dev));
    GOOD(GCCloseLib());
}

void test_formats(void) {
    static const int64_t formats[] = {MONO8, MONO10, MONO12, MONO12P, MONO12PACKED, BAYERRG8, RGB8};
    open_library();
    open_stream();
    for (unsigned f = 0; f < sizeof formats / sizeof *formats; f++)
        for (int offset = 0; offset <= 32; offset += 32)
            for (int padding = 0; padding <= 5; padding += 5) {
                set(REG_PIXEL_FORMAT, formats[f]);
                set(REG_OFFSET_X, offset); /* 32: half of the frame is beyond the source */
                set(REG_PADDING_X, padding);
                set_real(REG_GAIN, f % 2 ? 6 : 0);
                begin();
                BUFFER_HANDLE b = next();
                CHECK(info(b, BUFFER_INFO_PIXELFORMAT) == (uint64_t)formats[f]);
                CHECK(info(b, BUFFER_INFO_SIZE_FILLED) == payload());
                CHECK(info(b, BUFFER_INFO_XPADDING) == (uint64_t)padding);
                end();
            }
    set(REG_SCAN_TYPE, AREASCAN);
    set_real(REG_FRAME_RATE, 2000);
    set(REG_HEIGHT, HEIGHT + 8); /* rows beyond the image */
    set(REG_OFFSET_X, WIDTH);    /* wholly beside it */
    begin();
    GOOD(DSQueueBuffer(ds, next()));
    end();
    GOOD(GCCloseLib());
}

void test_buffers_and_queues(void) {
    BUFFER_HANDLE own, many[BUFFERS_MAX], out;
    void *back = &nothing, *user = NULL;
    open_library();
    open_stream();
    BAD(GC_ERR_INVALID_PARAMETER, DSAnnounceBuffer(ds, NULL, 10, NULL, &out));
    BAD(GC_ERR_INVALID_PARAMETER, DSAnnounceBuffer(ds, folder, 0, NULL, &out));
    BAD(GC_ERR_INVALID_PARAMETER, DSAllocAndAnnounceBuffer(ds, 0, NULL, &out));
    GOOD(DSAllocAndAnnounceBuffer(ds, 100, &user, &own));
    GOOD(DSGetBufferID(ds, 0, &out));
    CHECK(out == own);
    BAD(GC_ERR_NO_DATA, DSGetBufferChunkData(ds, own, NULL, &(size_t){0}));
    BAD(GC_ERR_INVALID_PARAMETER, DSGetBufferChunkData(ds, own, NULL, NULL));
    GOOD(DSQueueBuffer(ds, own));
    BAD(GC_ERR_BUSY, DSQueueBuffer(ds, own));
    BAD(GC_ERR_BUSY, DSRevokeBuffer(ds, own, &back, &user));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_INPUT_TO_OUTPUT));
    CHECK(next() == own && !info(own, BUFFER_INFO_NEW_DATA));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_UNQUEUED_TO_INPUT));
    BAD(GC_ERR_BUSY, DSRevokeBuffer(ds, own, NULL, NULL));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_INPUT_TO_OUTPUT));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_OUTPUT_DISCARD));
    CHECK(!info(own, BUFFER_INFO_IS_QUEUED));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_ALL_TO_INPUT));
    CHECK(info(own, BUFFER_INFO_IS_QUEUED));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_ALL_DISCARD));
    GOOD(DSRevokeBuffer(ds, own, &back, &user));
    CHECK(back == NULL);
    BAD(GC_ERR_INVALID_HANDLE, DSRevokeBuffer(ds, own, NULL, NULL));

    for (int i = 0; i < BUFFERS_MAX; i++) GOOD(DSAllocAndAnnounceBuffer(ds, 8, NULL, &many[i]));
    BAD(GC_ERR_RESOURCE_EXHAUSTED, DSAllocAndAnnounceBuffer(ds, 8, NULL, &out));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_ALL_TO_INPUT));
    GOOD(DSFlushQueue(ds, ACQ_QUEUE_ALL_DISCARD));
    for (int i = 0; i < BUFFERS_MAX; i += 2)
        GOOD(DSRevokeBuffer(ds, many[i], NULL, NULL)); /* the rest goes with the stream */

    /* A buffer that is too small gets the rows that fit. */
    GOOD(DSAllocAndAnnounceBuffer(ds, WIDTH * 10 + 1, NULL, &own));
    GOOD(DSQueueBuffer(ds, own));
    GOOD(DSStartAcquisition(ds, 0, 1));
    set(REG_START, 1);
    CHECK(next() == own);
    CHECK(info(own, BUFFER_INFO_IS_INCOMPLETE) && info(own, BUFFER_INFO_DATA_LARGER_THAN_BUFFER));
    CHECK(info(own, BUFFER_INFO_DELIVERED_IMAGEHEIGHT) == 10 &&
          info(own, BUFFER_INFO_SIZE_FILLED) == WIDTH * 10);
    CHECK(info(own, BUFFER_INFO_DATA_SIZE) == WIDTH * HEIGHT);
    GOOD(DSQueueBuffer(ds, own));
    CHECK(nothing_comes()); /* one frame was asked for */
    GOOD(DSClose(ds));      /* with a buffer queued and the camera acquiring */
    GOOD(GCCloseLib());
}

void test_events(void) {
    EVENT_NEW_BUFFER_DATA data;
    size_t size = sizeof data;
    open_library();
    open_stream();
    BAD(GC_ERR_INVALID_PARAMETER, EventGetData(event, NULL, &size, 0));
    BAD(GC_ERR_BUFFER_TOO_SMALL, EventGetData(event, &data, &(size_t){4}, 0));
    BAD(GC_ERR_TIMEOUT, EventGetData(event, &data, &size, 0));
    CHECK(nothing_comes());
    GOOD(EventKill(event)); /* nobody waits: the next wait ends */
    BAD(GC_ERR_ABORT, EventGetData(event, &data, &size, GENTL_INFINITE));
    begin();
    next();
    while (info(buffers[1], BUFFER_INFO_NEW_DATA) == 0) usleep(100);
    GOOD(EventFlush(event));
    end();
    GOOD(GCUnregisterEvent(ds, EVENT_NEW_BUFFER));
    BAD(GC_ERR_INVALID_PARAMETER, GCUnregisterEvent(ds, EVENT_NEW_BUFFER));
    BAD(GC_ERR_INVALID_HANDLE, EventGetData(event, &data, &size, 0));
    GOOD(GCRegisterEvent(ds, EVENT_NEW_BUFFER, &event));
    GOOD(GCCloseLib());
}

static void *wait_for_ever(void *result) {
    EVENT_NEW_BUFFER_DATA data;
    GC_ERROR error;
    do error = EventGetData(event, &data, &(size_t){sizeof data}, GENTL_INFINITE);
    while (error == GC_ERR_SUCCESS);
    *(GC_ERROR *)result = error;
    return NULL;
}

/* A thread waiting for buffers is let go by a kill, by unregistering, and by closing anything above it. */
void test_waits_end(void) {
    for (int way = 0; way < 6; way++) {
        GC_ERROR error = 0;
        pthread_t thread;
        open_library();
        open_stream();
        struct event *inside = &library.devices[0].stream.event;
        CHECK(pthread_create(&thread, NULL, wait_for_ever, &error) == 0);
        for (unsigned waiting = 0; !waiting; usleep(100)) {
            pthread_mutex_lock(&library.devices[0].lock);
            waiting = inside->waiting;
            pthread_mutex_unlock(&library.devices[0].lock);
        }
        switch (way) {
        case 0: GOOD(EventKill(event)); break;
        case 1: GOOD(GCUnregisterEvent(ds, EVENT_NEW_BUFFER)); break;
        case 2: GOOD(DSClose(ds)); break;
        case 3: GOOD(DevClose(dev)); break;
        case 4: GOOD(TLClose(tl)); break;
        case 5: break;
        }
        if (way < 5) pthread_join(thread, NULL);
        GOOD(GCCloseLib());
        if (way == 5) pthread_join(thread, NULL);
        CHECK(error == GC_ERR_ABORT);
    }
}
