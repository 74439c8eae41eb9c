/* Ports: the registers and GenApi descriptions of the five modules. */
#include "simcam.h"

#include <stdio.h>
#include <string.h>

enum module { MODULE_SYSTEM, MODULE_INTERFACE, MODULE_DEVICE, MODULE_STREAM, MODULE_REMOTE, MODULE_COUNT };

static const struct {
    const char *port_name, *module;
} MODULES[MODULE_COUNT] = {
    [MODULE_SYSTEM] = {"TLPort", "TLSystem"},     [MODULE_INTERFACE] = {"InterfacePort", "TLInterface"},
    [MODULE_DEVICE] = {"DevicePort", "TLDevice"}, [MODULE_STREAM] = {"StreamPort", "TLDataStream"},
    [MODULE_REMOTE] = {"Device", "Device"},
};

static char *descriptions[MODULE_COUNT]; /* GenApi XML, made when the library starts */

void ports_discard(void) {
    for (int m = 0; m < MODULE_COUNT; m++) {
        free(descriptions[m]);
        descriptions[m] = NULL;
    }
}

GC_ERROR ports_prepare(void) {
    for (int m = 0; m < MODULE_COUNT; m++) {
        descriptions[m] = m == MODULE_REMOTE ? remote_device_xml() : empty_xml(MODULES[m].port_name);
        if (!descriptions[m]) return fail(GC_ERR_OUT_OF_MEMORY, "no memory for the GenApi descriptions");
    }
    return GC_ERR_SUCCESS;
}

/* Which module a port handle belongs to, and its device if it has one. */
static GC_ERROR find(PORT_HANDLE port, enum module *module, struct device **device) {
    GC_ERROR error = GC_ERR_SUCCESS;
    *device = NULL;
    pthread_mutex_lock(&library.lock);
    if (port == &library.tl_handle && library.tl_open) {
        *module = MODULE_SYSTEM;
    } else if (port == &library.interface_handle && library.interface_open) {
        *module = MODULE_INTERFACE;
    } else {
        for (unsigned i = 0; i < library.device_count && !*device; i++) {
            struct device *d = &library.devices[i];
            *module = port == d ? MODULE_DEVICE : port == &d->stream ? MODULE_STREAM : MODULE_REMOTE;
            if (d->open && (port == d || port == &d->stream || port == &d->remote_port)) *device = d;
        }
        if (!*device) error = fail(GC_ERR_INVALID_HANDLE, "not the handle of an open port");
    }
    pthread_mutex_unlock(&library.lock);
    return error;
}

static GC_ERROR read_description(enum module module, uint64_t address, void *out, size_t size) {
    size_t length = strlen(descriptions[module]);
    uint64_t offset = address - XML_ADDRESS;
    if (size > length || offset > length - size)
        return fail(GC_ERR_INVALID_ADDRESS, "no %zu bytes at 0x%llx of the description", size,
                    (unsigned long long)address);
    memcpy(out, descriptions[module] + offset, size);
    return GC_ERR_SUCCESS;
}

GC_ERROR GCReadPort(PORT_HANDLE port, uint64_t address, void *out, size_t *size) {
    if (!out || !size) return fail(GC_ERR_INVALID_PARAMETER, "the buffer or the size's pointer is null");
    enum module module;
    struct device *device;
    GC_ERROR error = find(port, &module, &device);
    if (error) return error;
    if (address >= XML_ADDRESS) return read_description(module, address, out, *size);
    if (module == MODULE_REMOTE) return remote_read(device, address, out, *size);
    return fail(GC_ERR_INVALID_ADDRESS, "the %s has no registers", MODULES[module].module);
}

GC_ERROR GCWritePort(PORT_HANDLE port, uint64_t address, const void *in, size_t *size) {
    if (!in || !size) return fail(GC_ERR_INVALID_PARAMETER, "the buffer or the size's pointer is null");
    enum module module;
    struct device *device;
    GC_ERROR error = find(port, &module, &device);
    if (error) return error;
    if (module == MODULE_REMOTE) return remote_write(device, address, in, *size);
    return fail(GC_ERR_INVALID_ADDRESS, "the %s has no registers", MODULES[module].module);
}

typedef GC_ERROR access_one(PORT_HANDLE port, const PORT_REGISTER_STACK_ENTRY *entry);

static GC_ERROR read_one(PORT_HANDLE port, const PORT_REGISTER_STACK_ENTRY *entry) {
    size_t size = entry->Size;
    return GCReadPort(port, entry->Address, entry->pBuffer, &size);
}

static GC_ERROR write_one(PORT_HANDLE port, const PORT_REGISTER_STACK_ENTRY *entry) {
    size_t size = entry->Size;
    return GCWritePort(port, entry->Address, entry->pBuffer, &size);
}

/* Up to the first that fails; the count becomes that of the entries done. */
static GC_ERROR access_all(access_one *access, PORT_HANDLE port, PORT_REGISTER_STACK_ENTRY *entries,
                           size_t *count) {
    if (!entries || !count)
        return fail(GC_ERR_INVALID_PARAMETER, "the entries or the count's pointer are null");
    size_t wanted = *count;
    for (*count = 0; *count < wanted; ++*count) {
        GC_ERROR error = access(port, &entries[*count]);
        if (error) return error;
    }
    return GC_ERR_SUCCESS;
}

GC_ERROR GCReadPortStacked(PORT_HANDLE port, PORT_REGISTER_STACK_ENTRY *entries, size_t *count) {
    return access_all(read_one, port, entries, count);
}

GC_ERROR GCWritePortStacked(PORT_HANDLE port, PORT_REGISTER_STACK_ENTRY *entries, size_t *count) {
    return access_all(write_one, port, entries, count);
}

/* ---- descriptions --------------------------------------------------------------------------- */

static GC_ERROR url_info(enum module module, int32_t cmd, struct reply reply) {
    char file[64], url[128];
    snprintf(file, sizeof file, "simcam_%s.xml", MODULES[module].port_name);
    snprintf(url, sizeof url, "local:///%s;%x;%zx", file, (unsigned)XML_ADDRESS,
             strlen(descriptions[module]));
    switch (cmd) {
    case URL_INFO_URL: return reply_string(reply, url);
    case URL_INFO_FILENAME: return reply_string(reply, file);
    case URL_INFO_SCHEMA_VER_MAJOR:
    case URL_INFO_SCHEMA_VER_MINOR:
    case URL_INFO_FILE_VER_MAJOR: return reply_int32(reply, 1);
    case URL_INFO_FILE_VER_MINOR:
    case URL_INFO_FILE_VER_SUBMINOR: return reply_int32(reply, 0);
    case URL_INFO_FILE_REGISTER_ADDRESS: return reply_uint64(reply, XML_ADDRESS);
    case URL_INFO_FILE_SIZE: return reply_uint64(reply, strlen(descriptions[module]));
    case URL_INFO_SCHEME: return reply_int32(reply, URL_SCHEME_LOCAL);
    default: return reply_unknown(cmd);
    }
}

GC_ERROR GCGetPortURL(PORT_HANDLE port, char *url, size_t *size) {
    enum module module;
    struct device *device;
    GC_ERROR error = find(port, &module, &device);
    return error ? error : url_info(module, URL_INFO_URL, (struct reply){NULL, url, size});
}

GC_ERROR GCGetNumPortURLs(PORT_HANDLE port, uint32_t *count) {
    if (!count) return fail(GC_ERR_INVALID_PARAMETER, "the count's pointer is null");
    enum module module;
    struct device *device;
    GC_ERROR error = find(port, &module, &device);
    if (!error) *count = 1;
    return error;
}

GC_ERROR GCGetPortURLInfo(PORT_HANDLE port, uint32_t index, int32_t cmd, INFO_DATATYPE *type, void *out,
                          size_t *size) {
    enum module module;
    struct device *device;
    GC_ERROR error = find(port, &module, &device);
    if (error) return error;
    if (index != 0) return fail(GC_ERR_INVALID_INDEX, "a port has one description, no number %u", index);
    return url_info(module, cmd, (struct reply){type, out, size});
}

GC_ERROR GCGetPortInfo(PORT_HANDLE port, int32_t cmd, INFO_DATATYPE *type, void *out, size_t *size) {
    enum module module;
    struct device *device;
    GC_ERROR error = find(port, &module, &device);
    if (error) return error;
    struct reply reply = {type, out, size};
    switch (cmd) {
    case PORT_INFO_ID: return reply_string(reply, device ? device->id : MODULES[module].module);
    case PORT_INFO_PORTNAME: return reply_string(reply, MODULES[module].port_name);
    case PORT_INFO_VENDOR: return reply_string(reply, DEVICE_VENDOR);
    case PORT_INFO_MODEL: return reply_string(reply, DEVICE_MODEL);
    case PORT_INFO_TLTYPE: return reply_string(reply, TL_TYPE);
    case PORT_INFO_MODULE: return reply_string(reply, MODULES[module].module);
    case PORT_INFO_LITTLE_ENDIAN:
    case PORT_INFO_ACCESS_READ: return reply_bool(reply, true);
    case PORT_INFO_ACCESS_WRITE: return reply_bool(reply, module == MODULE_REMOTE);
    case PORT_INFO_BIG_ENDIAN:
    case PORT_INFO_ACCESS_NA:
    case PORT_INFO_ACCESS_NI: return reply_bool(reply, false);
    case PORT_INFO_VERSION: return reply_string(reply, PRODUCER_VERSION);
    default: return reply_unknown(cmd);
    }
}
