/* Positions between the nodes of a lattice, and the interpolation of pixels there.

   A plain shared library, called by georeg/resampling.py, which says what each argument is. No result depends on the window
   it is computed in: every pixel is the same sequence of operations on the same numbers. */

#ifndef REAL

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#define INLINE __forceinline
#else
#define EXPORT __attribute__((visibility("default")))
#define INLINE inline __attribute__((always_inline))
#endif

#define MAX_TAPS 6
#define AT_ONCE 8
#define STRIP 160

#if defined(__GNUC__) || defined(__clang__)
/* Several numbers at once, wherever they lie: each is computed as one alone would be. */
#define VECTOR(real) __attribute__((vector_size(32), aligned(sizeof(real)), may_alias))
#endif

#if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__))
#define WIDE __attribute__((target("avx2"))) /* not FMA, which would round differently */
static int is_wide(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}
#endif

/* Bilinear between nodes (2, n_rows, n_cols); NaN beyond them. low and high: of what is not NaN, x then y. */
EXPORT int georeg_positions_v1(const double *nodes, int64_t n_rows, int64_t n_cols, double first_row, double first_col,
                               double step, int64_t height, int64_t width, double *out, double *low, double *high)
{
    int64_t *node = malloc((size_t)width * sizeof *node);
    double *across = malloc((size_t)width * sizeof *across), *line = malloc((size_t)n_cols * sizeof *line);
    if (!node || !across || !line) {
        free(node), free(across), free(line);
        return -1;
    }
    for (int64_t col = 0; col < width; col++) {
        double at = ((double)col + first_col + 0.5) / step;
        int64_t before = at < 0 ? 0 : (int64_t)at;
        node[col] = before > n_cols - 2 ? n_cols - 2 : before;
        across[col] = at >= 0 && at <= (double)(n_cols - 1) ? at - (double)node[col] : NAN;
    }
    for (int axis = 0; axis < 2; axis++) {
        low[axis] = INFINITY, high[axis] = -INFINITY;
        for (int64_t row = 0; row < height; row++) {
            double at = ((double)row + first_row + 0.5) / step;
            int64_t before = at < 0 ? 0 : (int64_t)at;
            before = before > n_rows - 2 ? n_rows - 2 : before;
            double down = at >= 0 && at <= (double)(n_rows - 1) ? at - (double)before : NAN;
            const double *above = nodes + (axis * n_rows + before) * n_cols, *below = above + n_cols;
            for (int64_t k = 0; k < n_cols; k++)
                line[k] = above[k] * (1 - down) + below[k] * down;
            double *to = out + (axis * height + row) * width;
            for (int64_t col = 0, next; col < width; col = next) {
                const double before_it = line[node[col]], after_it = line[node[col] + 1];
                for (next = col + 1; next < width && node[next] == node[col]; next++)
                    ;
                for (int64_t k = col; k < next; k++)
                    to[k] = before_it * (1 - across[k]) + after_it * across[k];
                int64_t ends[2] = {col, next - 1}; /* between these it only rises or falls */
                while (ends[0] < ends[1] && isnan(to[ends[0]]))
                    ends[0]++;
                while (ends[0] < ends[1] && isnan(to[ends[1]]))
                    ends[1]--;
                for (int k = 0; k < 2; k++) {
                    if (to[ends[k]] < low[axis]) low[axis] = to[ends[k]];
                    if (to[ends[k]] > high[axis]) high[axis] = to[ends[k]];
                }
            }
        }
    }
    free(node), free(across), free(line);
    return 0;
}

/* A position in pixels from the first centre, rounded to 2^-20 of one (which is the last bit of numbers about 2^32), so that a
   whole number is subtracted from it without loss. */
static INLINE double centred(double src_px, double reduce)
{
    const double unit = 6442450944.0; /* 1.5 * 2^32 */
    return ((reduce == 1 ? src_px : src_px / reduce) - 0.5 + unit) - unit;
}

#define REAL float
#define NAME(name) name##_f32_v2
#include "_resample.c"
#undef REAL
#undef NAME
#define REAL double
#define NAME(name) name##_f64_v2
#include "_resample.c"

#else

#ifdef VECTOR
typedef REAL NAME(Lanes) VECTOR(REAL);
#define LANES(place) (*(const NAME(Lanes) *)(place))
#endif

static INLINE void NAME(weights)(const REAL *table, int64_t taps, int64_t cells, double beyond, REAL *out)
{
    double at = beyond * (double)cells;
    int64_t cell = (int64_t)at;
    const REAL part = (REAL)(at - (double)cell), *row = table + cell * taps;
    for (int64_t k = 0; k < taps; k++)
        out[k] = row[k] + part * (row[k + taps] - row[k]);
}

static INLINE int64_t NAME(inside)(int64_t first, int64_t last) { return first < 0 ? 0 : first > last ? last : first; }

/* Pixels of one row of the output whose places in the source are alike but for a whole number of columns, `n` of them from
   (x, y): each the same operations as in `run`, on many at once. All that is needed of the source is inside it. */
static INLINE void NAME(shifted)(const REAL *coefficients, int64_t width, int64_t n, int64_t first, const REAL *across,
                                 const REAL *down, const int64_t taps, REAL *restrict out)
{
    const REAL *corner = coefficients + first;
    const int64_t to_middle = (taps / 2) * (width + 1);
    int64_t k = 0;
#ifdef VECTOR
    const int64_t lanes = sizeof(NAME(Lanes)) / sizeof(REAL);
    for (; k + 2 * lanes <= n; k += 2 * lanes)
        for (int v = 0; v < 2; v++) {
            const REAL *at = corner + k + v * lanes;
            const NAME(Lanes) middle = LANES(at + to_middle);
            NAME(Lanes) sum = middle - middle;
            for (int64_t i = 0; i < taps; i++) {
                NAME(Lanes) column = down[0] * (LANES(at + i) - middle);
                for (int64_t j = 1; j < taps; j++)
                    column += down[j] * (LANES(at + j * width + i) - middle);
                sum += across[i] * column;
            }
            *(NAME(Lanes) *)(out + k + v * lanes) = middle + sum;
        }
#endif
    for (; k < n; k++) {
        const REAL middle = corner[to_middle + k];
        REAL sum = 0;
        for (int64_t i = 0; i < taps; i++) {
            REAL column = down[0] * (corner[k + i] - middle);
            for (int64_t j = 1; j < taps; j++)
                column += down[j] * (corner[j * width + k + i] - middle);
            sum += across[i] * column;
        }
        out[k] = middle + sum;
    }
}

/* How many pixels from the first on lie one column further each than the one before, in one row, with their taps inside. */
static INLINE int64_t NAME(alike)(const double *x_px, const double *y_px, int64_t n, double reduce, int64_t height,
                                  int64_t width, double left, double top, int64_t taps)
{
    const double x = centred(x_px[0], reduce) - left, y = centred(y_px[0], reduce) - top;
    const int64_t half = taps / 2;
    if (!(x >= (double)(half - 1) && y >= (double)(half - 1) && x < (double)(width - half) && y < (double)(height - half)))
        return 0;
    const int64_t room = width - half - (int64_t)x;
    if (n > room)
        n = room;
    int64_t k = 1;
#define IS_ALIKE(m) ((centred(x_px[m], reduce) - left == x + (double)(m)) & (centred(y_px[m], reduce) - top == y))
    while (k + AT_ONCE <= n && IS_ALIKE(k)) {
        int same = 1;
        for (int64_t m = k; m < k + AT_ONCE; m++)
            same &= IS_ALIKE(m);
        if (!same)
            break;
        k += AT_ONCE;
    }
    while (k < n && IS_ALIKE(k))
        k++;
#undef IS_ALIKE
    return k;
}

static INLINE void NAME(run)(const REAL *samples, const REAL *coefficients, const uint8_t *valid, int64_t bands,
                             int64_t height, int64_t width, const double *src_px, int64_t rows, int64_t columns,
                             double reduce, int64_t left, int64_t top, const REAL *table, const int64_t taps,
                             int64_t cells, REAL *out, uint8_t *known)
{
    const int64_t plane = height * width, n = rows * columns;
    for (int64_t k = 0; k < n; k++) {
        double x = centred(src_px[k], reduce) - (double)left, y = centred(src_px[n + k], reduce) - (double)top;
        if (!(x >= -0.5 && y >= -0.5 && x < (double)width - 0.5 && y < (double)height - 0.5)) {
            for (int64_t band = 0; band < bands; band++)
                out[band * n + k] = 0, known[band * n + k] = 0;
            continue;
        }
        const int64_t floor_x = (int64_t)(x + 1) - 1, floor_y = (int64_t)(y + 1) - 1; /* neither is below -1 */
        const int64_t nearest = (int64_t)(y + 0.5) * width + (int64_t)(x + 0.5);
        const int64_t alike = NAME(alike)(src_px + k, src_px + n + k, columns - k % columns, reduce, height, width,
                                          (double)left, (double)top, taps);
        if (x == (double)floor_x && y == (double)floor_y) {
            const int64_t same = alike ? alike : 1;
            for (int64_t band = 0; band < bands; band++)
                for (int64_t m = 0; m < same; m++) {
                    out[band * n + k + m] = samples[band * plane + nearest + m];
                    known[band * n + k + m] = valid[band * plane + nearest + m];
                }
            k += same - 1;
            continue;
        }
        const int64_t col = NAME(inside)(floor_x - taps / 2 + 1, width - taps);
        const int64_t row = NAME(inside)(floor_y - taps / 2 + 1, height - taps);
        REAL across[MAX_TAPS], down[MAX_TAPS];
        NAME(weights)(table, taps, cells, x - (double)floor_x, across);
        NAME(weights)(table, taps, cells, y - (double)floor_y, down);
        if (alike > 1) {
            for (int64_t band = 0; band < bands; band++) {
                NAME(shifted)(coefficients + band * plane, width, alike, row * width + col, across, down, taps,
                              out + band * n + k);
                for (int64_t m = 0; m < alike; m++)
                    known[band * n + k + m] = valid[band * plane + nearest + m];
            }
            k += alike - 1;
            continue;
        }
        for (int64_t band = 0; band < bands; band++) {
            const REAL *corner = coefficients + band * plane + row * width + col;
            const REAL middle = corner[(taps / 2) * (width + 1)]; /* what is constant stays so to the last bit */
            REAL column[MAX_TAPS], sum = 0;
            for (int64_t i = 0; i < taps; i++)
                column[i] = down[0] * (corner[i] - middle);
            for (int64_t j = 1; j < taps; j++)
                for (int64_t i = 0; i < taps; i++)
                    column[i] += down[j] * (corner[j * width + i] - middle);
            for (int64_t i = 0; i < taps; i++)
                sum += across[i] * column[i];
            out[band * n + k] = middle + sum;
            known[band * n + k] = valid[band * plane + nearest];
        }
    }
}

static INLINE int NAME(resample)(const REAL *samples, const REAL *coefficients, const uint8_t *valid, int64_t bands,
                                 int64_t height, int64_t width, const double *src_px, int64_t rows, int64_t columns,
                                 double reduce, int64_t left, int64_t top, const REAL *table, int64_t taps,
                                 int64_t cells, REAL *out, uint8_t *known)
{
    switch (taps) { /* known to the compiler, each is unrolled */
#define CASE(number) \
    case number: \
        NAME(run)(samples, coefficients, valid, bands, height, width, src_px, rows, columns, reduce, left, top, table, \
                  number, cells, out, known); \
        return 0;
        CASE(2)
        CASE(4)
        CASE(6)
#undef CASE
    }
    return -1;
}

/* Symmetric taps of 2 radius + 1 lines, `lines` pointing to the middle one, at each of n places. Differences are added up, so
   that what is constant stays so. */
static INLINE void NAME(weigh)(const REAL **lines, const REAL *taps, int64_t radius, int64_t n, REAL *restrict out)
{
    int64_t col = 0;
#ifdef VECTOR
    const int64_t lanes = sizeof(NAME(Lanes)) / sizeof(REAL);
    for (; col + 4 * lanes <= n; col += 4 * lanes) {
        NAME(Lanes) sum[4], twice[4];
        for (int v = 0; v < 4; v++) {
            sum[v] = LANES(lines[0] + col + v * lanes);
            twice[v] = sum[v] + sum[v];
        }
        for (int64_t k = 1; k <= radius; k++) {
            const REAL *before = lines[-k] + col, *after = lines[k] + col, tap = taps[k];
            for (int v = 0; v < 4; v++)
                sum[v] += tap * ((LANES(before + v * lanes) + LANES(after + v * lanes)) - twice[v]);
        }
        for (int v = 0; v < 4; v++)
            *(NAME(Lanes) *)(out + col + v * lanes) = sum[v];
    }
#endif
    for (; col < n; col++) {
        REAL sum = lines[0][col];
        const REAL twice = 2 * sum;
        for (int64_t k = 1; k <= radius; k++)
            sum += taps[k] * ((lines[-k][col] + lines[k][col]) - twice);
        out[col] = sum;
    }
}

/* Symmetric taps (the middle first), whose sum is 1, along rows, then along columns; beyond the image its last pixel goes on. */
static INLINE int NAME(filter)(const REAL *image, int64_t height, int64_t width, const REAL *taps, int64_t radius, REAL *out)
{
    REAL *padded = malloc((size_t)(width + 2 * radius) * sizeof *padded);
    REAL *rows = malloc((size_t)(height * width) * sizeof *rows);
    const REAL **lines = malloc((size_t)(2 * radius + 1) * sizeof *lines);
    if (!padded || !rows || !lines) {
        free(padded), free(rows), free(lines);
        return -1;
    }
    for (int64_t row = 0; row < height; row++) {
        const REAL *from = image + row * width;
        for (int64_t col = 0; col < radius; col++)
            padded[col] = from[0], padded[radius + width + col] = from[width - 1];
        memcpy(padded + radius, from, (size_t)width * sizeof *padded);
        for (int64_t k = -radius; k <= radius; k++)
            lines[radius + k] = padded + radius + k;
        NAME(weigh)(lines + radius, taps, radius, width, rows + row * width);
    }
    for (int64_t col = 0; col < width; col += STRIP) /* narrow, so that its lines stay at hand */
        for (int64_t row = 0; row < height; row++) {
            for (int64_t k = -radius; k <= radius; k++)
                lines[radius + k] = rows + NAME(inside)(row + k, height - 1) * width + col;
            NAME(weigh)(lines + radius, taps, radius, width - col < STRIP ? width - col : STRIP, out + row * width + col);
        }
    free(padded), free(rows), free(lines);
    return 0;
}

/* The exported functions, for any processor and, with the same operations, for those that take more numbers at once. */
#define RESAMPLE (const REAL *samples, const REAL *coefficients, const uint8_t *valid, int64_t bands, int64_t height, \
                  int64_t width, const double *src_px, int64_t rows, int64_t columns, double reduce, int64_t left, \
                  int64_t top, const REAL *table, int64_t taps, int64_t cells, REAL *out, uint8_t *known)
#define FILTER (const REAL *image, int64_t height, int64_t width, const REAL *taps, int64_t radius, REAL *out)
#define RESAMPLED NAME(resample)(samples, coefficients, valid, bands, height, width, src_px, rows, columns, reduce, left, \
                                 top, table, taps, cells, out, known)
#define FILTERED NAME(filter)(image, height, width, taps, radius, out)

#ifdef WIDE
WIDE static int NAME(resample_wide) RESAMPLE { return RESAMPLED; }
WIDE static int NAME(filter_wide) FILTER { return FILTERED; }
#endif

EXPORT int NAME(georeg_resample) RESAMPLE
{
#ifdef WIDE
    if (is_wide())
        return NAME(resample_wide)(samples, coefficients, valid, bands, height, width, src_px, rows, columns, reduce, left,
                                   top, table, taps, cells, out, known);
#endif
    return RESAMPLED;
}

EXPORT int NAME(georeg_filter) FILTER
{
#ifdef WIDE
    if (is_wide())
        return NAME(filter_wide)(image, height, width, taps, radius, out);
#endif
    return FILTERED;
}

#undef LANES
#undef RESAMPLE
#undef FILTER
#undef RESAMPLED
#undef FILTERED

#endif
