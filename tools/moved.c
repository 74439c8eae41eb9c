/*
 * Counts what a program copies and takes, by the library that asks for it. Preloaded by tools/moved.py:
 * memcpy, memmove and the allocators of the C library are answered here, and handed on.
 *
 * A row of the table is a shared object: bytes of copies of at least LEAST_COPY, and bytes taken in blocks of at
 * least LEAST_BLOCK. Written to the file that MOVED_OUT names when the program ends. Not seen: what code writes by
 * loops of its own, unless it took memory for it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

enum { LEAST_COPY = 64, LEAST_BLOCK = 4096, SLOTS = 1 << 14, LIBRARIES = 512 };

/* glibc's own, under the names that it keeps for those who stand in front of it */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

typedef struct {
    const char *_Atomic path;
    atomic_ullong copied, taken;
} Library;

static Library libraries[LIBRARIES];
static struct {
    void *_Atomic address; /* of the instruction after a call */
    Library *_Atomic library;
} callers[SLOTS];
static _Thread_local int asking; /* dladdr may copy and take, too */

static Library *named(const char *path)
{
    for (int k = 0; k < LIBRARIES; k++) {
        const char *there = libraries[k].path;
        if (!there) {
            char *kept = strdup(path); /* a library that is closed takes its name with it */
            if (atomic_compare_exchange_strong(&libraries[k].path, &there, kept)) return &libraries[k];
            free(kept);
        }
        if (!strcmp(there, path)) return &libraries[k];
    }
    abort();
}

static Library *library_of(void *caller)
{
    size_t slot = ((size_t)caller >> 2) * 2654435761u % SLOTS;
    for (int tried = 0; tried < 64; tried++, slot = (slot + 1) % SLOTS) {
        void *there = atomic_load(&callers[slot].address);
        if (there == caller) {
            Library *known = atomic_load(&callers[slot].library);
            if (known) return known;
            break; /* another thread is about to tell */
        }
        if (!there && atomic_compare_exchange_strong(&callers[slot].address, &there, caller)) break;
    }
    Dl_info info;
    Library *found = named(dladdr(caller, &info) && info.dli_fname ? info.dli_fname : "code made while running");
    if (atomic_load(&callers[slot].address) == caller) atomic_store(&callers[slot].library, found);
    return found;
}

static void copied(size_t bytes, void *caller)
{
    if (bytes < LEAST_COPY || asking) return;
    asking = 1;
    atomic_fetch_add_explicit(&library_of(caller)->copied, bytes, memory_order_relaxed);
    asking = 0;
}

static void taken(size_t bytes, void *caller)
{
    if (bytes < LEAST_BLOCK || asking) return;
    asking = 1;
    atomic_fetch_add_explicit(&library_of(caller)->taken, bytes, memory_order_relaxed);
    asking = 0;
}

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

static void *move(void *to, const void *from, size_t bytes)
{
    static void *(*_Atomic real)(void *, const void *, size_t);
    void *(*known)(void *, const void *, size_t) = real;
    if (!known) {
        asking++;
        *(void **)&known = dlsym(RTLD_NEXT, "memmove");
        asking--;
        real = known;
    }
    return known(to, from, bytes);
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    copied(bytes, CALLER);
    return move(to, from, bytes);
}

void *memmove(void *to, const void *from, size_t bytes)
{
    copied(bytes, CALLER);
    return move(to, from, bytes);
}

void *__memcpy_chk(void *restrict to, const void *restrict from, size_t bytes, size_t room)
{
    if (bytes > room) abort();
    copied(bytes, CALLER);
    return move(to, from, bytes);
}

void *__memmove_chk(void *to, const void *from, size_t bytes, size_t room)
{
    if (bytes > room) abort();
    copied(bytes, CALLER);
    return move(to, from, bytes);
}

void *malloc(size_t bytes)
{
    taken(bytes, CALLER);
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    taken(count * bytes, CALLER);
    return __libc_calloc(count, bytes);
}

void *realloc(void *block, size_t bytes)
{
    taken(bytes, CALLER);
    return __libc_realloc(block, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    taken(bytes, CALLER);
    return __libc_memalign(alignment, bytes);
}

void *memalign(size_t alignment, size_t bytes)
{
    taken(bytes, CALLER);
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **block, size_t alignment, size_t bytes)
{
    taken(bytes, CALLER);
    void *got = __libc_memalign(alignment, bytes);
    if (!got) return ENOMEM;
    *block = got;
    return 0;
}

__attribute__((destructor)) static void tell(void)
{
    const char *name = getenv("MOVED_OUT");
    FILE *out = name ? fopen(name, "w") : NULL;
    if (!out) return;
    for (int k = 0; k < LIBRARIES && libraries[k].path; k++)
        fprintf(out, "%llu\t%llu\t%s\n", libraries[k].copied, libraries[k].taken, libraries[k].path);
    fclose(out);
}
