/* What the C files of this folder share: how functions are marked, and medians. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* COLUMNS: the planes that a loop reads and writes do not overlap, so that it may run over many columns at once. */
#if defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define COLUMNS _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define COLUMNS _Pragma("GCC ivdep")
#elif defined(_MSC_VER)
#define INLINE static __forceinline
#define COLUMNS __pragma(loop(ivdep))
#else
#define INLINE static inline
#define COLUMNS
#endif

/* WIDE: compiled once more for processors that work on eight floats at once; the same operations, so the same bytes. */
#if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__))
#define WIDE __attribute__((target("avx2,fma")))
INLINE int is_wide(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
#define WIDE
INLINE int is_wide(void) { return 0; }
#endif

/* The start of a line of the cache in memory that is 64 bytes longer than what is needed. */
INLINE float *aligned(char *memory) { return (float *)(memory + (64 - (uintptr_t)memory % 64)); }

/* ---- medians ---- */

INLINE ptrdiff_t count_up_to(const int32_t *keys, ptrdiff_t n, int32_t limit)
{
    int32_t count = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        count += keys[i] <= limit;
    return count;
}

/* The value of this rank among keys; the next larger key is put in *next. */
INLINE int32_t ranked(const int32_t *keys, ptrdiff_t n, ptrdiff_t rank, int32_t *next)
{
    int32_t low = INT32_MAX, high = INT32_MIN;
    for (ptrdiff_t i = 0; i < n; i++) {
        low = keys[i] < low ? keys[i] : low;
        high = keys[i] > high ? keys[i] : high;
    }
    while (low < high) {
        const int32_t middle = (int32_t)(((int64_t)low + high) >> 1);
        if (count_up_to(keys, n, middle) > rank)
            high = middle;
        else
            low = middle + 1;
    }
    *next = low;
    if (count_up_to(keys, n, low) <= rank + 1) {
        int32_t above = INT32_MAX;
        for (ptrdiff_t i = 0; i < n; i++)
            above = keys[i] > low && keys[i] < above ? keys[i] : above;
        *next = above;
    }
    return low;
}

/* Floats and integers in the same order; its own inverse. */
INLINE int32_t ordered(int32_t bits) { return bits ^ ((bits >> 31) & INT32_MAX); }

INLINE float as_float(int32_t key)
{
    const int32_t bits = ordered(key);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The median of n > 0 floats, which are lost: their bits are put in order in place. */
INLINE float median(int32_t *keys, ptrdiff_t n)
{
    COLUMNS
    for (ptrdiff_t i = 0; i < n; i++)
        keys[i] = ordered(keys[i]);
    int32_t next;
    const float low = as_float(ranked(keys, n, (n - 1) / 2, &next));
    return n % 2 ? low : (low + as_float(next)) / 2;
}
