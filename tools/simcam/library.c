/* The library, its one transport layer system and its one interface. */
#include "simcam.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define INTERFACE_ID "SimIF0"

struct library library = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct control *control;

static void lock(void) { pthread_mutex_lock(&library.lock); }
static void unlock(void) { pthread_mutex_unlock(&library.lock); }

static void discard(unsigned devices) {
    for (unsigned i = 0; i < devices; i++) device_discard(&library.devices[i]);
    ports_discard();
    control_close(control);
    control = NULL;
    library.device_count = 0;
}

static GC_ERROR prepare(void) {
    const char *count_text = getenv("SIMCAM_DEVICES"), *path = getenv("SIMCAM_CTRL");
    long count = count_text && *count_text ? strtol(count_text, NULL, 10) : 2;
    if (count < 0 || count > DEVICES_MAX)
        return fail(GC_ERR_ERROR, "SIMCAM_DEVICES = %s: give a number from 0 to %d", count_text, DEVICES_MAX);
    control = control_open(path && *path ? path : NULL);
    if (!control) return fail(GC_ERR_IO, "SIMCAM_CTRL = %s: %s", path ? path : "", strerror(errno));
    GC_ERROR error = ports_prepare();
    for (; !error && library.device_count < count; library.device_count++) {
        struct device *device = &library.devices[library.device_count];
        device->control = &control->device[library.device_count];
        error = device_prepare(device, library.device_count);
        if (error) break;
    }
    library.listed = 0;
    if (error) discard(library.device_count);
    return error;
}

GC_ERROR GCInitLib(void) {
    lock();
    GC_ERROR error =
        library.initialised ? fail(GC_ERR_RESOURCE_IN_USE, "the library is initialised already") : prepare();
    if (!error) library.initialised = true;
    unlock();
    return error;
}

static void close_devices(void) {
    for (unsigned i = 0; i < library.device_count; i++)
        if (library.devices[i].open) device_close(&library.devices[i]);
}

GC_ERROR GCCloseLib(void) {
    lock();
    GC_ERROR error =
        library.initialised ? GC_ERR_SUCCESS : fail(GC_ERR_NOT_INITIALIZED, "GCInitLib was not called");
    if (!error) {
        close_devices();
        discard(library.device_count);
        library.initialised = library.tl_open = library.interface_open = false;
    }
    unlock();
    return error;
}

/* ---- system --------------------------------------------------------------------------------- */

static GC_ERROR system_info(int32_t cmd, struct reply reply) {
    switch (cmd) {
    case TL_INFO_ID:
    case TL_INFO_NAME:
    case TL_INFO_PATHNAME: return reply_string(reply, "simcam.cti");
    case TL_INFO_VENDOR: return reply_string(reply, DEVICE_VENDOR);
    case TL_INFO_MODEL: return reply_string(reply, "SimCam GenTL");
    case TL_INFO_VERSION: return reply_string(reply, PRODUCER_VERSION);
    case TL_INFO_TLTYPE: return reply_string(reply, TL_TYPE);
    case TL_INFO_DISPLAYNAME: return reply_string(reply, "Virtual cameras");
    case TL_INFO_CHAR_ENCODING: return reply_int32(reply, TL_CHAR_ENCODING_UTF8);
    case TL_INFO_GENTL_VER_MAJOR: return reply_uint32(reply, 1);
    case TL_INFO_GENTL_VER_MINOR: return reply_uint32(reply, 5);
    default: return reply_unknown(cmd);
    }
}

GC_ERROR GCGetInfo(int32_t cmd, INFO_DATATYPE *type, void *out, size_t *size) {
    return system_info(cmd, (struct reply){type, out, size});
}

GC_ERROR TLOpen(TL_HANDLE *tl) {
    if (!tl) return fail(GC_ERR_INVALID_PARAMETER, "the handle's pointer is null");
    lock();
    GC_ERROR error = !library.initialised ? fail(GC_ERR_NOT_INITIALIZED, "GCInitLib was not called")
                     : library.tl_open    ? fail(GC_ERR_RESOURCE_IN_USE, "the system is open already")
                                          : GC_ERR_SUCCESS;
    if (!error) {
        library.tl_open = true;
        *tl = &library.tl_handle;
    }
    unlock();
    return error;
}

/* The library stays locked when this succeeds. */
static GC_ERROR enter_system(TL_HANDLE tl) {
    lock();
    if (tl == &library.tl_handle && library.tl_open) return GC_ERR_SUCCESS;
    unlock();
    return fail(GC_ERR_INVALID_HANDLE, "not the handle of an open system");
}

GC_ERROR TLClose(TL_HANDLE tl) {
    GC_ERROR error = enter_system(tl);
    if (error) return error;
    close_devices();
    library.tl_open = library.interface_open = false;
    unlock();
    return GC_ERR_SUCCESS;
}

GC_ERROR TLGetInfo(TL_HANDLE tl, int32_t cmd, INFO_DATATYPE *type, void *out, size_t *size) {
    GC_ERROR error = enter_system(tl);
    if (error) return error;
    unlock();
    return system_info(cmd, (struct reply){type, out, size});
}

GC_ERROR TLGetNumInterfaces(TL_HANDLE tl, uint32_t *count) {
    if (!count) return fail(GC_ERR_INVALID_PARAMETER, "the count's pointer is null");
    GC_ERROR error = enter_system(tl);
    if (error) return error;
    unlock();
    *count = 1;
    return GC_ERR_SUCCESS;
}

GC_ERROR TLGetInterfaceID(TL_HANDLE tl, uint32_t index, char *id, size_t *size) {
    GC_ERROR error = enter_system(tl);
    if (error) return error;
    unlock();
    if (index != 0) return fail(GC_ERR_INVALID_INDEX, "there is one interface, no number %u", index);
    return reply_string((struct reply){NULL, id, size}, INTERFACE_ID);
}

static GC_ERROR interface_info(int32_t cmd, struct reply reply) {
    switch (cmd) {
    case INTERFACE_INFO_ID: return reply_string(reply, INTERFACE_ID);
    case INTERFACE_INFO_DISPLAYNAME: return reply_string(reply, "Virtual interface");
    case INTERFACE_INFO_TLTYPE: return reply_string(reply, TL_TYPE);
    default: return reply_unknown(cmd);
    }
}

GC_ERROR TLGetInterfaceInfo(TL_HANDLE tl, const char *id, int32_t cmd, INFO_DATATYPE *type, void *out,
                            size_t *size) {
    GC_ERROR error = enter_system(tl);
    if (error) return error;
    unlock();
    if (!id || strcmp(id, INTERFACE_ID) != 0)
        return fail(GC_ERR_INVALID_ID, "the only interface is " INTERFACE_ID);
    return interface_info(cmd, (struct reply){type, out, size});
}

GC_ERROR TLOpenInterface(TL_HANDLE tl, const char *id, IF_HANDLE *interface) {
    if (!id || !interface) return fail(GC_ERR_INVALID_PARAMETER, "the id or the handle's pointer is null");
    if (strcmp(id, INTERFACE_ID) != 0) return fail(GC_ERR_INVALID_ID, "the only interface is " INTERFACE_ID);
    GC_ERROR error = enter_system(tl);
    if (error) return error;
    if (library.interface_open)
        error = fail(GC_ERR_RESOURCE_IN_USE, "the interface is open already");
    else
        *interface = &library.interface_handle;
    library.interface_open = true;
    unlock();
    return error;
}

GC_ERROR TLUpdateInterfaceList(TL_HANDLE tl, bool8_t *changed, uint64_t timeout_ms) {
    (void)timeout_ms;
    GC_ERROR error = enter_system(tl);
    if (error) return error;
    unlock();
    if (changed) *changed = 0;
    return GC_ERR_SUCCESS;
}

/* ---- interface ------------------------------------------------------------------------------ */

static GC_ERROR enter_interface(IF_HANDLE interface) {
    lock();
    if (interface == &library.interface_handle && library.interface_open) return GC_ERR_SUCCESS;
    unlock();
    return fail(GC_ERR_INVALID_HANDLE, "not the handle of an open interface");
}

GC_ERROR IFClose(IF_HANDLE interface) {
    GC_ERROR error = enter_interface(interface);
    if (error) return error;
    close_devices();
    library.interface_open = false;
    unlock();
    return GC_ERR_SUCCESS;
}

GC_ERROR IFGetInfo(IF_HANDLE interface, int32_t cmd, INFO_DATATYPE *type, void *out, size_t *size) {
    GC_ERROR error = enter_interface(interface);
    if (error) return error;
    unlock();
    return interface_info(cmd, (struct reply){type, out, size});
}

static unsigned plugged(void) {
    unsigned mask = 0;
    for (unsigned i = 0; i < library.device_count; i++)
        if (device_plugged(&library.devices[i])) mask |= 1u << i;
    return mask;
}

GC_ERROR IFUpdateDeviceList(IF_HANDLE interface, bool8_t *changed, uint64_t timeout_ms) {
    (void)timeout_ms; /* looking takes no time here */
    GC_ERROR error = enter_interface(interface);
    if (error) return error;
    unsigned found = plugged();
    if (changed) *changed = found != library.listed;
    library.listed = found;
    unlock();
    return GC_ERR_SUCCESS;
}

GC_ERROR IFGetNumDevices(IF_HANDLE interface, uint32_t *count) {
    if (!count) return fail(GC_ERR_INVALID_PARAMETER, "the count's pointer is null");
    GC_ERROR error = enter_interface(interface);
    if (error) return error;
    *count = (uint32_t)__builtin_popcount(library.listed);
    unlock();
    return GC_ERR_SUCCESS;
}

GC_ERROR IFGetDeviceID(IF_HANDLE interface, uint32_t index, char *id, size_t *size) {
    GC_ERROR error = enter_interface(interface);
    if (error) return error;
    const char *found = NULL;
    for (unsigned i = 0, seen = 0; i < library.device_count && !found; i++)
        if (library.listed >> i & 1 && seen++ == index) found = library.devices[i].id;
    unlock();
    return found ? reply_string((struct reply){NULL, id, size}, found)
                 : fail(GC_ERR_INVALID_INDEX, "no device number %u was found by the last update", index);
}

static struct device *device_named(const char *id) {
    for (unsigned i = 0; id && i < library.device_count; i++)
        if (strcmp(id, library.devices[i].id) == 0) return &library.devices[i];
    return NULL;
}

GC_ERROR IFGetDeviceInfo(IF_HANDLE interface, const char *id, int32_t cmd, INFO_DATATYPE *type, void *out,
                         size_t *size) {
    GC_ERROR error = enter_interface(interface);
    if (error) return error;
    struct device *device = device_named(id);
    error = device ? device_info(device, cmd, (struct reply){type, out, size})
                   : fail(GC_ERR_INVALID_ID, "there is no camera %s", id ? id : "(null)");
    unlock();
    return error;
}

GC_ERROR IFOpenDevice(IF_HANDLE interface, const char *id, int32_t flags, DEV_HANDLE *handle) {
    if (!id || !handle) return fail(GC_ERR_INVALID_PARAMETER, "the id or the handle's pointer is null");
    if (flags < DEVICE_ACCESS_READONLY || flags > DEVICE_ACCESS_EXCLUSIVE)
        return fail(GC_ERR_INVALID_PARAMETER, "access flag %d is not one to open a device with", (int)flags);
    GC_ERROR error = enter_interface(interface);
    if (error) return error;
    struct device *device = device_named(id);
    error = device && device_plugged(device) ? device_open(device)
                                             : fail(GC_ERR_INVALID_ID, "there is no camera %s", id);
    if (!error) *handle = device;
    unlock();
    return error;
}

GC_ERROR IFGetParentTL(IF_HANDLE interface, TL_HANDLE *tl) {
    if (!tl) return fail(GC_ERR_INVALID_PARAMETER, "the handle's pointer is null");
    GC_ERROR error = enter_interface(interface);
    if (error) return error;
    unlock();
    *tl = &library.tl_handle;
    return GC_ERR_SUCCESS;
}
