/* Cameras: found, opened by one consumer at a time on this machine, closed. */
#include "simcam.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

GC_ERROR device_prepare(struct device *device, unsigned index) {
    struct control_block *control = device->control;
    memset(device, 0, sizeof *device);
    device->control = control;
    device->index = index;
    device->lock_file = -1;
    snprintf(device->id, sizeof device->id, "SIM%04u", index + 1);
    pthread_condattr_t monotonic; /* a clock set back must not stop the camera */
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    int error = pthread_cond_init(&device->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (error) return fail(GC_ERR_RESOURCE_EXHAUSTED, "camera %s: %s", device->id, strerror(error));
    pthread_mutex_init(&device->lock, NULL);
    pthread_mutex_init(&device->lifecycle, NULL);
    return GC_ERR_SUCCESS;
}

void device_discard(struct device *device) {
    pthread_cond_destroy(&device->changed);
    pthread_mutex_destroy(&device->lock);
    pthread_mutex_destroy(&device->lifecycle);
}

bool device_plugged(const struct device *device) {
    return atomic_load(&device->control->plug_count) % 2 == 0;
}

bool device_lost(const struct device *device) {
    return atomic_load(&device->control->plug_count) != device->plug_count;
}

/* ---- one consumer at a time ----------------------------------------------------------------- */

static int open_lock_file(const struct device *device, char path[PATH_LENGTH]) {
    const char *folder = getenv("SIMCAM_LOCK_DIR");
    if (!folder || !*folder) folder = getenv("TMPDIR");
    if (!folder || !*folder) folder = "/tmp";
    snprintf(path, PATH_LENGTH, "%s/simcam-%s.lock", folder, device->id);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
}

/* An OFD lock belongs to the open file, not to the process: it also keeps a second opening here out, it goes
 * with a killed process, and it can be looked at without being taken. */
static GC_ERROR take_lock(struct device *device) {
    char path[PATH_LENGTH];
    int file = open_lock_file(device, path);
    if (file < 0) return fail(GC_ERR_IO, "lock file %s: %s", path, strerror(errno));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file, F_OFD_SETLK, &lock) != 0) {
        close(file);
        return fail(GC_ERR_ACCESS_DENIED, "camera %s is in use by another process", device->id);
    }
    device->lock_file = file;
    return GC_ERR_SUCCESS;
}

static bool taken_elsewhere(const struct device *device) {
    char path[PATH_LENGTH];
    int file = open_lock_file(device, path);
    if (file < 0) return false;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool taken = fcntl(file, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(file);
    return taken;
}

/* ---- open and close ------------------------------------------------------------------------- */

GC_ERROR device_open(struct device *device) {
    if (device->open) return fail(GC_ERR_RESOURCE_IN_USE, "camera %s is open already", device->id);
    GC_ERROR error = take_lock(device);
    if (error) return error;
    char problem[512];
    struct source *source = source_open(device->index + 1, problem, sizeof problem);
    if (!source) {
        close(device->lock_file);
        return fail(GC_ERR_IO, "camera %s: %s", device->id, problem);
    }
    pthread_mutex_lock(&device->lock);
    device->source = source;
    device->plug_count = atomic_load(&device->control->plug_count);
    remote_reset(device);
    pthread_mutex_unlock(&device->lock);
    atomic_fetch_add(&device->control->opened, 1);
    device->open = true;
    return GC_ERR_SUCCESS;
}

void device_close(struct device *device) {
    pthread_mutex_lock(&device->lifecycle);
    stream_close(device);
    pthread_mutex_lock(&device->lock);
    source_close(device->source);
    device->source = NULL;
    pthread_mutex_unlock(&device->lock);
    close(device->lock_file);
    device->lock_file = -1;
    device->open = false;
    pthread_mutex_unlock(&device->lifecycle);
}

static bool is_open(DEV_HANDLE handle) {
    for (unsigned i = 0; i < library.device_count; i++)
        if (handle == &library.devices[i]) return library.devices[i].open;
    return false;
}

struct device *device_of(DEV_HANDLE handle) {
    pthread_mutex_lock(&library.lock);
    bool open = is_open(handle);
    pthread_mutex_unlock(&library.lock);
    if (!open) fail(GC_ERR_INVALID_HANDLE, "not the handle of an open camera");
    return open ? handle : NULL;
}

GC_ERROR DevClose(DEV_HANDLE handle) {
    pthread_mutex_lock(&library.lock);
    bool open = is_open(handle);
    if (open) device_close(handle);
    pthread_mutex_unlock(&library.lock);
    return open ? GC_ERR_SUCCESS : fail(GC_ERR_INVALID_HANDLE, "not the handle of an open camera");
}

/* ---- questions ------------------------------------------------------------------------------ */

static int32_t access_status(struct device *device) {
    if (!device_plugged(device) || (device->open && device_lost(device)))
        return DEVICE_ACCESS_STATUS_NOACCESS;
    if (device->open) return DEVICE_ACCESS_STATUS_OPEN_READWRITE;
    return taken_elsewhere(device) ? DEVICE_ACCESS_STATUS_BUSY : DEVICE_ACCESS_STATUS_READWRITE;
}

GC_ERROR device_info(struct device *device, int32_t cmd, struct reply reply) {
    char name[32];
    switch (cmd) {
    case DEVICE_INFO_ID:
    case DEVICE_INFO_SERIAL_NUMBER: return reply_string(reply, device->id);
    case DEVICE_INFO_VENDOR: return reply_string(reply, DEVICE_VENDOR);
    case DEVICE_INFO_MODEL: return reply_string(reply, DEVICE_MODEL);
    case DEVICE_INFO_TLTYPE: return reply_string(reply, TL_TYPE);
    case DEVICE_INFO_DISPLAYNAME:
        snprintf(name, sizeof name, DEVICE_MODEL " %s", device->id);
        return reply_string(reply, name);
    case DEVICE_INFO_ACCESS_STATUS: return reply_int32(reply, access_status(device));
    case DEVICE_INFO_USER_DEFINED_NAME:
        snprintf(name, sizeof name, "camera %u", device->index + 1);
        return reply_string(reply, name);
    case DEVICE_INFO_VERSION: return reply_string(reply, PRODUCER_VERSION);
    case DEVICE_INFO_TIMESTAMP_FREQUENCY: return reply_uint64(reply, 1000000000u);
    default: return reply_unknown(cmd);
    }
}

GC_ERROR DevGetInfo(DEV_HANDLE handle, int32_t cmd, INFO_DATATYPE *type, void *out, size_t *size) {
    pthread_mutex_lock(&library.lock);
    GC_ERROR error = is_open(handle) ? device_info(handle, cmd, (struct reply){type, out, size})
                                     : fail(GC_ERR_INVALID_HANDLE, "not the handle of an open camera");
    pthread_mutex_unlock(&library.lock);
    return error;
}

GC_ERROR DevGetPort(DEV_HANDLE handle, PORT_HANDLE *port) {
    if (!port) return fail(GC_ERR_INVALID_PARAMETER, "the handle's pointer is null");
    struct device *device = device_of(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    *port = &device->remote_port;
    return GC_ERR_SUCCESS;
}

GC_ERROR DevGetNumDataStreams(DEV_HANDLE handle, uint32_t *count) {
    if (!count) return fail(GC_ERR_INVALID_PARAMETER, "the count's pointer is null");
    if (!device_of(handle)) return GC_ERR_INVALID_HANDLE;
    *count = 1;
    return GC_ERR_SUCCESS;
}

GC_ERROR DevGetDataStreamID(DEV_HANDLE handle, uint32_t index, char *id, size_t *size) {
    if (!device_of(handle)) return GC_ERR_INVALID_HANDLE;
    if (index != 0) return fail(GC_ERR_INVALID_INDEX, "a camera has one stream, no number %u", index);
    return reply_string((struct reply){NULL, id, size}, STREAM_ID);
}

GC_ERROR DevGetParentIF(DEV_HANDLE handle, IF_HANDLE *interface) {
    if (!interface) return fail(GC_ERR_INVALID_PARAMETER, "the handle's pointer is null");
    if (!device_of(handle)) return GC_ERR_INVALID_HANDLE;
    *interface = &library.interface_handle;
    return GC_ERR_SUCCESS;
}

GC_ERROR DevOpenDataStream(DEV_HANDLE handle, const char *id, DS_HANDLE *stream) {
    if (!id || !stream) return fail(GC_ERR_INVALID_PARAMETER, "the id or the handle's pointer is null");
    if (strcmp(id, STREAM_ID) != 0) return fail(GC_ERR_INVALID_ID, "the only stream is " STREAM_ID);
    struct device *device = device_of(handle);
    if (!device) return GC_ERR_INVALID_HANDLE;
    pthread_mutex_lock(&device->lock);
    bool free_to_open = !device->stream.open;
    device->stream.open = true;
    pthread_mutex_unlock(&device->lock);
    if (!free_to_open) return fail(GC_ERR_RESOURCE_IN_USE, "the stream is open already");
    *stream = &device->stream;
    return GC_ERR_SUCCESS;
}
